//! SIGTERM and SIGINT: the first asks for a graceful end, the second ends at once.

use std::{io, process};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of a daemon that was told to stop twice.
const IMPATIENT: i32 = 1;

/// Both signals, from the moment this was made.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over. Fails if the operating system does not let us.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one's name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// From now on a signal ends the process, whatever it does.
    pub(crate) fn exit_on_next(self) {
        self.on_next(|signal| {
            eprintln!("error: stopped at once by a second signal, {signal}; what was in flight is sent again");
            process::exit(IMPATIENT);
        });
    }

    fn on_next(mut self, then: impl FnOnce(&'static str) + Send + 'static) {
        drop(tokio::spawn(async move { then(self.next().await) }));
    }
}

#[cfg(test)]
mod tests;
