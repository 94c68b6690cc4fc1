//! SIGTERM and SIGINT: the first asks for a graceful end, the second ends at once. SIGHUP asks to read the settings again.

use std::{io, process};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::outlet::{self, LAST_WORDS};

/// Exit code of a daemon that was told to stop twice.
const IMPATIENT: i32 = 1;

/// All of them, from the moment this was made.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To stop; by this signal.
    Stop(&'static str),
    /// To read the settings again.
    Reload,
}

impl Signals {
    /// Takes the signals over. Fails if the operating system does not let us.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// What is asked for next.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// The name of the next one that asks to stop.
    pub(crate) async fn stop(&mut self) -> &'static str {
        loop {
            if let Asked::Stop(signal) = self.next().await {
                return signal;
            }
        }
    }

    /// From now on a signal ends the process, whatever it does.
    pub(crate) fn exit_on_next(self) {
        self.on_next(|signal| {
            let words =
                format!("error: stopped at once by a second signal, {signal}; what was in flight is sent again\n");
            outlet::stderr().put(words.as_bytes());
            outlet::stderr().flush(LAST_WORDS);
            process::exit(IMPATIENT);
        });
    }

    fn on_next(mut self, then: impl FnOnce(&'static str) + Send + 'static) {
        drop(tokio::spawn(async move { then(self.stop().await) }));
    }
}

#[cfg(test)]
mod tests;
