//! Writes what the engine logs to standard error, by an outlet that cannot stop it.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use tracing_subscriber::{EnvFilter, fmt as subscriber, reload};

use crate::{
    config::{Log, LogFormat},
    outlet,
};

/// Changes the level of a log that is being written.
pub(crate) struct Level(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

/// Begins to log. Only the first call has an effect.
pub(crate) fn start(log: &Log) -> Level {
    // The subscriber would report an error of its own with `eprintln!`, which panics where there is no standard error.
    let to_stderr = subscriber().with_env_filter(log.level.filter()).log_internal_errors(false);
    let to_stderr = to_stderr.with_writer(outlet::stderr().clone());
    // A second subscriber is refused; the first one goes on.
    match log.format {
        LogFormat::Text => {
            let text = to_stderr.with_ansi(io::stderr().is_terminal()).with_filter_reloading();
            let handle = text.reload_handle();
            let _first = text.try_init();
            Level(Box::new(move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let json = to_stderr.json().flatten_event(true).with_filter_reloading();
            let handle = json.reload_handle();
            let _first = json.try_init();
            Level(Box::new(move |filter| handle.reload(filter)))
        }
    }
}

impl Level {
    /// From now on.
    pub(crate) fn change(&self, log: &Log) -> Result<(), reload::Error> {
        self.0(log.level.filter())
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Level")
    }
}
