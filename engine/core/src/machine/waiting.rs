//! Why a delivery is not being sent: one answer for people, and the same rule for the machine.

use crate::{BreakerState, DisableReason, Seq, Timestamp};

/// Why a delivery is not being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// It is: since then, until its outcome is durable.
    InFlight(Timestamp),
    /// Held by a person.
    Paused,
    /// Its receiver has not proved yet that it wants anything.
    Unproven,
    /// Its endpoint is disabled.
    Disabled(DisableReason),
    /// The receiver asked to be left alone until then.
    ReceiverAskedToWait(Timestamp),
    /// Our own machine could not send (no network, no name server, no descriptor), and tries again then.
    CouldNotSend(Timestamp),
    /// Until then; without a time, until another delivery's probe is back.
    BreakerOpen(Option<Timestamp>),
    /// As many attempts are in flight as the endpoint allows.
    InFlightLimit,
    /// The next token is there by then.
    RateLimited(Timestamp),
    /// This one of its lane goes first.
    Behind(Seq),
    /// It was given up and holds its lane until it is redriven or cancelled.
    Held,
    /// It failed before.
    RetryAt(Timestamp),
    /// Others go first, here or in the engine as a whole.
    Queued,
}

impl Waiting {
    /// Whether it will soon be over, so that events are worth reading along with their rows.
    pub(crate) const fn is_brief(&self) -> bool {
        match self {
            Self::InFlight(_) | Self::InFlightLimit | Self::RateLimited(_) | Self::Behind(_) | Self::Queued => true,
            Self::Paused | Self::Disabled(_) | Self::ReceiverAskedToWait(_) | Self::BreakerOpen(_) => false,
            Self::Held | Self::RetryAt(_) | Self::Unproven | Self::CouldNotSend(_) => false,
        }
    }

    /// When it ends by itself; anything else ends by an input.
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::ReceiverAskedToWait(at) | Self::RateLimited(at) | Self::RetryAt(at) => Some(*at),
            Self::CouldNotSend(at) => Some(*at),
            Self::BreakerOpen(at) => *at,
            Self::InFlight(_) | Self::Paused | Self::Disabled(_) | Self::InFlightLimit => None,
            Self::Behind(_) | Self::Held | Self::Queued | Self::Unproven => None,
        }
    }
}

/// What a machine looks like from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointReport {
    /// The last delivery known to be committed.
    pub tail: Option<Seq>,
    /// Deliveries in memory that could start.
    pub ready: usize,
    /// Deliveries in memory that wait for a time.
    pub waiting: usize,
    /// Lanes in memory.
    pub lanes: usize,
    /// Attempts in flight.
    pub in_flight: usize,
    /// Attempts that ended and whose outcome is not committed yet.
    pub uncommitted: usize,
    /// Reads without an answer.
    pub loads: usize,
    /// Closed, open, or probing.
    pub breaker: BreakerState,
    /// What holds the whole endpoint.
    pub held: Option<Waiting>,
    /// Why our own machine could not send the last time, in words; none once something was sent.
    pub could_not_send: Option<Box<str>>,
    /// When the earliest delivery in memory is due.
    pub next_due: Option<Timestamp>,
}
