//! A line a request, written at once: it outlives the process that sent, and this one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use super::ReceivedRequest;

#[derive(Debug)]
pub(super) struct RequestLog(Mutex<File>);

impl RequestLog {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Mutex::new(OpenOptions::new().create(true).append(true).open(path)?)))
    }

    /// One call of `write` a line, so that no line is torn by the end of this process.
    pub(super) fn write(&self, request: &ReceivedRequest) -> io::Result<()> {
        let line = request.log_line() + "\n";
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
    }
}
