//! What a receiver remembers, shared by its connections.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{ReceivedRequest, log::RequestLog};

#[derive(Debug)]
pub(super) struct Seen {
    memory: Mutex<Memory>,
    changes: watch::Sender<()>,
    log: Option<RequestLog>,
    forget: bool,
}

#[derive(Debug, Default)]
struct Memory {
    requests: Vec<Arc<ReceivedRequest>>,
    unreadable: Vec<Vec<u8>>,
    connections: usize,
    in_flight: usize,
    in_flight_max: usize,
    /// How often each script was asked.
    turns: BTreeMap<String, usize>,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub(super) struct Answering(Arc<Seen>);

impl Seen {
    pub(super) fn new(log: Option<RequestLog>, forget: bool) -> Self {
        Self { memory: Mutex::default(), changes: watch::Sender::new(()), log, forget }
    }

    /// Notes a request. Logged before it is answered: whoever has an answer finds the line.
    pub(super) fn arrived(self: &Arc<Self>, request: &Arc<ReceivedRequest>) -> io::Result<Answering> {
        if let Some(log) = &self.log {
            log.write(request)?;
        }
        let mut memory = self.memory();
        if !self.forget {
            memory.requests.push(Arc::clone(request));
        }
        memory.in_flight += 1;
        memory.in_flight_max = memory.in_flight_max.max(memory.in_flight);
        drop(memory);
        self.changes.send_replace(());
        Ok(Answering(Arc::clone(self)))
    }

    /// How often `script` was asked before.
    pub(super) fn turn(&self, script: String) -> usize {
        let mut memory = self.memory();
        let turns = memory.turns.entry(script).or_default();
        *turns += 1;
        *turns - 1
    }

    pub(super) fn connected(&self) {
        self.memory().connections += 1;
    }

    pub(super) fn could_not_read(&self, bytes: &[u8]) {
        self.memory().unreadable.push(bytes[..bytes.len().min(64)].to_vec());
        self.changes.send_replace(());
    }

    pub(super) fn requests(&self) -> Vec<Arc<ReceivedRequest>> {
        self.memory().requests.clone()
    }

    pub(super) fn unreadable(&self) -> Vec<Vec<u8>> {
        self.memory().unreadable.clone()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.memory().in_flight
    }

    pub(super) fn in_flight_max(&self) -> usize {
        self.memory().in_flight_max
    }

    pub(super) fn connections(&self) -> usize {
        self.memory().connections
    }

    pub(super) fn clear(&self) {
        let mut memory = self.memory();
        memory.requests.clear();
        memory.unreadable.clear();
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.memory().in_flight -= 1;
        self.0.changes.send_replace(());
    }
}
