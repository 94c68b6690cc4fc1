//! Output that cannot stop the daemon: text waits in bounded memory for a thread that writes it, and is lost, and counted,
//! where it cannot be written.
//!
//! `println!` and `eprintln!` panic when a pipe is closed, and wait for ever when nothing reads it. Everything that the
//! daemon says while it serves goes through here instead: a closed pipe, a full one or a full disk costs the lines that
//! did not fit, and nothing else. Once lines can be written again, a line says how many are missing.
//!
//! (`tracing-appender` has a writer of this kind. Its guard prints with `println!` when its queue is full at the end, and
//! it bounds lines instead of bytes.)

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

/// Text that waits to be written. More is lost.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// How long the end of the process waits for what is left to be written.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where lines go. Clones are the same outlet. Writing to it neither fails nor waits.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    more: Condvar,
    written: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    is_being_written: bool,
}

/// Standard output.
pub(crate) fn stdout() -> &'static Outlet {
    static STDOUT: LazyLock<Outlet> = LazyLock::new(|| Outlet::over(io::stdout()));
    &STDOUT
}

/// Standard error, where the log goes.
pub(crate) fn stderr() -> &'static Outlet {
    static STDERR: LazyLock<Outlet> = LazyLock::new(|| Outlet::over(io::stderr()));
    &STDERR
}

impl Outlet {
    /// Writes to `out` from a thread of its own.
    fn over(out: impl Write + Send + 'static) -> Self {
        let outlet = Self { shared: Arc::default() };
        let writer = outlet.clone();
        // Without a thread, whatever does not fit is lost; the daemon serves all the same.
        let _none_left = thread::Builder::new().name("output".into()).spawn(move || writer.write_out(out));
        outlet
    }

    /// Takes whole lines, or loses them.
    pub(crate) fn put(&self, lines: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.text.len() + lines.len() > WAITING_BYTES_MAX {
            self.lose(lines);
            return;
        }
        waiting.text.extend_from_slice(lines);
        self.shared.more.notify_one();
    }

    /// Lines that could not be written since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, at most this long.
    pub(crate) fn flush(&self, within: Duration) {
        let is_busy = |waiting: &mut Waiting| waiting.is_being_written || !waiting.text.is_empty();
        drop(self.shared.written.wait_timeout_while(self.waiting(), within, is_busy));
    }

    fn write_out(&self, mut out: impl Write) {
        let (mut chunk, mut told) = (Vec::new(), 0);
        loop {
            {
                let mut waiting = self.waiting();
                waiting.is_being_written = false;
                self.shared.written.notify_all();
                while waiting.text.is_empty() {
                    waiting = self.shared.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                }
                mem::swap(&mut waiting.text, &mut chunk);
                waiting.is_being_written = true;
            }
            match out.write_all(&chunk).and_then(|()| out.flush()) {
                Ok(()) => told = self.tell_of_lost(told),
                Err(_gone_or_full) => self.lose(&chunk),
            }
            chunk.clear();
        }
    }

    /// A line about those that are missing: it goes the way of every other line of the log.
    fn tell_of_lost(&self, told: u64) -> u64 {
        let lost = self.lost();
        if lost > told {
            warn!(lines = lost - told, "lines of output were lost: they came faster than they could be written");
        }
        lost
    }

    fn lose(&self, lines: &[u8]) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count().max(1);
        self.shared.lost.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Outlet {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.put(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Outlet {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests;
