//! Writes what the engine logs to standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::fmt;

use crate::config::{Log, LogFormat};

/// Begins to log. Only the first call has an effect.
pub(crate) fn start(log: &Log) {
    let to_stderr = fmt().with_env_filter(log.level.filter()).with_writer(io::stderr);
    // A second subscriber is refused; the first one goes on.
    let _first = match log.format {
        LogFormat::Text => to_stderr.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => to_stderr.json().flatten_event(true).try_init(),
    };
}
