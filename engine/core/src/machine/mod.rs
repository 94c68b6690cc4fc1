//! Decides what one endpoint does next. The store is the queue; this holds a bounded window of it.

mod command;
mod input;
mod waiting;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

pub use command::{AttemptPlan, Command, CommandId, LoadId};
pub use input::{Ended, Finished, Input, Moved, Nudge, Unreadable};
pub use waiting::{EndpointReport, Waiting};

use crate::{Delivery, Dice, Endpoint, Inheritance, Timestamp};

/// How much of a queue one machine holds.
#[derive(Clone, Copy, Debug)]
pub struct WindowLimits {
    /// Deliveries in memory that could start.
    pub ready_deliveries: NonZeroUsize,
    /// Deliveries in memory that wait for a time.
    pub waiting_deliveries: NonZeroUsize,
    /// Lanes in memory.
    pub lanes: NonZeroUsize,
    /// Payload bytes read along with rows, per read.
    pub event_bytes: usize,
    /// How long an idle machine is kept.
    pub linger: Duration,
    /// How old a life may get before it is given up.
    pub delivery_age_max: Duration,
    /// How long an endpoint may only fail before it is disabled.
    pub failing_max: Duration,
}

impl Default for WindowLimits {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        const LIMIT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
        Self {
            ready_deliveries: NonZeroUsize::MIN.saturating_add(1023),
            waiting_deliveries: LIMIT,
            lanes: LIMIT,
            event_bytes: 1 << 20,
            linger: Duration::from_secs(10),
            delivery_age_max: Duration::from_secs(7 * DAY),
            failing_max: Duration::from_secs(5 * DAY),
        }
    }
}

/// What a machine is restored with.
#[derive(Clone, Debug)]
pub struct Restored {
    /// As last committed.
    pub endpoint: Arc<Endpoint>,
    /// What the actor before it left behind.
    pub inheritance: Inheritance,
}

/// Decides what one endpoint does next.
#[derive(Debug)]
pub struct EndpointMachine {
    endpoint: Arc<Endpoint>,
}

impl EndpointMachine {
    /// Knows what still runs, and asks the store for the rest. The bucket starts empty: a crash grants no burst.
    pub fn restore(restored: Restored, limits: WindowLimits, now: Timestamp) -> Self {
        let _ = (limits, now);
        Self { endpoint: restored.endpoint }
    }

    /// Takes note of `input`; then [`poll_command`](Self::poll_command) until it says `None`.
    pub fn handle(&mut self, input: Input, now: Timestamp, dice: &mut dyn Dice) {
        let _ = (input, now, dice);
    }

    /// The next thing to do. Ask again after every [`handle`](Self::handle), until `None`.
    pub fn poll_command(&mut self) -> Option<Command> {
        None
    }

    /// When to say [`Input::DeadlineReached`]. Changes with `handle`, and with nothing else.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Why `delivery` is not being sent: asks the rules, in their order, that start attempts.
    pub fn why_waiting(&self, delivery: &Delivery, now: Timestamp) -> Waiting {
        let _ = (delivery, now);
        Waiting::Queued
    }
}
