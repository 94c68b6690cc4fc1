//! How much of a queue one machine holds, and what it begins with.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use crate::{Endpoint, Inheritance};

const DAY: u64 = 24 * 3600;

/// How much of a queue one machine holds, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct WindowLimits {
    /// Deliveries in memory that could start; of `Concurrent` endpoints, of each class.
    pub ready_deliveries: NonZeroUsize,
    /// Deliveries in memory that wait for a time.
    pub waiting_deliveries: NonZeroUsize,
    /// Lanes in memory whose head could start or is being read.
    pub lanes: NonZeroUsize,
    /// Payload bytes read along with rows, per read.
    pub event_bytes: usize,
    /// Attempts that ended and whose outcome is not committed yet, beyond those in flight.
    pub uncommitted_attempts: usize,
    /// How long an idle machine is kept.
    pub linger: Duration,
    /// How old a life may get before it is given up.
    pub delivery_age_max: Duration,
}

impl Default for WindowLimits {
    fn default() -> Self {
        const fn at_least_one(n: usize) -> NonZeroUsize {
            NonZeroUsize::MIN.saturating_add(n - 1)
        }
        Self {
            ready_deliveries: at_least_one(1024),
            waiting_deliveries: at_least_one(256),
            lanes: at_least_one(256),
            event_bytes: 1 << 20,
            uncommitted_attempts: 256,
            linger: Duration::from_secs(10),
            delivery_age_max: Duration::from_secs(7 * DAY),
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
