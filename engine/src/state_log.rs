//! What the log says of endpoints at `info` and above: what changed, where, and why.
//!
//! A line is written when a state changes (disabled, enabled, breaker opened and closed), when a delivery is given up,
//! and when this server cannot send and can again; never for each attempt. An endpoint that changes all the time gets a
//! few lines and then one a minute, and all together get some a second; the next line says how many were left out.

use std::{
    num::NonZeroU32,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use postrider_core::{
    Delivery, DisableReason, EndpointId, EndpointStatus, Failure, GiveUpReason, Outcome, Rate, RateLimit, Timestamp,
};
use tracing::{info, warn};

use crate::{About, id_map::IdMap, inner::Inner};

/// Lines of one endpoint at once; then one a minute.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
/// Lines of all endpoints a second, and ten times as many at once.
const ALL_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);
const ALL_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(199);
/// Endpoints whose lines are counted at once.
const KEPT: usize = 10_000;

/// Which lines are written.
#[derive(Debug)]
pub(crate) struct StateLog {
    lines: Mutex<Lines>,
    /// It was said that this server cannot send, and not yet that it can again.
    cannot_send: AtomicBool,
}

#[derive(Debug)]
struct Lines {
    of: IdMap<EndpointId, OfEndpoint>,
    all: RateLimit,
    /// For what is said of this server.
    own: RateLimit,
    own_left_out: u64,
}

#[derive(Debug)]
struct OfEndpoint {
    limit: RateLimit,
    left_out: u64,
}

impl StateLog {
    pub(crate) fn new(now: Timestamp) -> Self {
        let lines = Lines {
            of: IdMap::default(),
            all: RateLimit::of_burst(Rate::per_second(ALL_PER_SECOND).burst(ALL_BURST), now),
            own: RateLimit::of_burst(Rate::per_minute(NonZeroU32::MIN), now),
            own_left_out: 0,
        };
        Self { lines: Mutex::new(lines), cannot_send: AtomicBool::new(false) }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// Whether there is to be a line of this endpoint, and how many were left out before it.
    fn of_endpoint(&mut self, endpoint: EndpointId, now: Timestamp) -> Option<u64> {
        if self.of.len() >= KEPT && !self.of.contains_key(&endpoint) {
            self.of.retain(|_, of| now < of.limit.full_at());
            if self.of.len() >= KEPT {
                // So many at once: what bounds all of them together is enough.
                self.of.clear();
            }
        }
        let fresh = || OfEndpoint {
            limit: RateLimit::of_burst(Rate::per_minute(NonZeroU32::MIN).burst(BURST), now),
            left_out: 0,
        };
        let of = self.of.entry(endpoint).or_insert_with(fresh);
        if of.limit.take(now).and_then(|()| self.all.take(now)).is_err() {
            of.left_out += 1;
            return None;
        }
        Some(std::mem::take(&mut of.left_out))
    }

    fn of_this_server(&mut self, now: Timestamp) -> Option<u64> {
        if self.own.take(now).is_err() {
            self.own_left_out += 1;
            return None;
        }
        Some(std::mem::take(&mut self.own_left_out))
    }
}

/// Left out of a line that has nothing left out before it.
fn shown(left_out: u64) -> Option<u64> {
    Some(left_out).filter(|left_out| *left_out > 0)
}

impl Inner {
    /// The status of an endpoint is another one. A person who changes it knows.
    pub(crate) fn log_status(&self, about: &About, before: EndpointStatus, now: EndpointStatus) {
        let About { application, endpoint, .. } = about;
        match (before, now) {
            (_, EndpointStatus::Disabled(DisableReason::Gone)) => {
                let reason = "the receiver answered 410";
                warn!(%application, %endpoint, reason, "endpoint is disabled, and gets no more messages");
            }
            (_, EndpointStatus::Disabled(DisableReason::FailingTooLong)) => {
                let reason = "all attempts have failed for days";
                warn!(%application, %endpoint, reason, "endpoint is disabled, and gets no more messages");
            }
            (EndpointStatus::Disabled(_), EndpointStatus::Active) => {
                info!(%application, %endpoint, "endpoint is enabled again");
            }
            (_, EndpointStatus::Disabled(DisableReason::ByPerson)) => {
                info!(%application, %endpoint, "endpoint was disabled by a person");
            }
            (_, EndpointStatus::Active | EndpointStatus::Paused | EndpointStatus::Unproven) => {}
        }
    }

    /// Attempts stop until then, or go on.
    pub(crate) fn log_breaker(&self, about: &About, open_until: Option<Timestamp>) {
        let About { application, endpoint, .. } = about;
        let now = self.clock.now();
        let Some(left_out) = self.state_log.lines().of_endpoint(*endpoint, now).map(shown) else { return };
        match open_until {
            Some(until) => {
                let seconds = until.since(now).as_secs();
                let reason = "the last attempts failed";
                warn!(%application, %endpoint, reason, probed_in_seconds = seconds, left_out, "attempts stop: breaker opened");
            }
            None => info!(%application, %endpoint, left_out, "attempts go on: breaker closed"),
        }
    }

    /// A delivery was given up.
    pub(crate) fn log_dead_letter(&self, about: &About, last: &Delivery, reason: GiveUpReason, status: Option<u16>) {
        let About { application, endpoint, .. } = about;
        let lines = self.state_log.lines().of_endpoint(*endpoint, self.clock.now());
        let Some(left_out) = lines.map(shown) else { return };
        let (event, attempts) = (last.event, last.attempts);
        warn!(%application, %endpoint, %event, ?reason, attempts, status, left_out, "delivery was given up: dead letter");
    }

    /// An attempt was made, or could not be.
    pub(crate) fn log_sending(&self, endpoint: EndpointId, outcome: &Outcome) {
        let log = &self.state_log;
        let Outcome::Failure(Failure::NotSent(why)) = outcome else {
            if log.cannot_send.load(Ordering::Relaxed) && log.cannot_send.swap(false, Ordering::Relaxed) {
                info!("this server can send again");
            }
            return;
        };
        let Some(left_out) = log.lines().of_this_server(self.clock.now()).map(shown) else { return };
        log.cannot_send.store(true, Ordering::Relaxed);
        warn!(%endpoint, reason = %why, left_out, "this server could not send: deliveries wait, and use up no attempt");
    }
}

#[cfg(test)]
mod tests;
