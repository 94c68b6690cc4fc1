//! How many deliveries may wait at one endpoint, and what becomes of one more: a full endpoint does not punish its
//! neighbours.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

const DELIVERIES_DEFAULT: NonZeroU32 = NonZeroU32::MIN.saturating_add(999_999);

/// What becomes of an event for an endpoint whose queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhenFull {
    /// It is accepted, and its delivery there becomes a dead letter at once.
    #[default]
    DeadLetter,
    /// It is refused, for all its endpoints: its publisher keeps it, and publishes it again later.
    Refuse,
}

/// How many deliveries may wait at one endpoint. Those that hold their lane count, and so do manual tries. After the store
/// was opened, and until its queue is counted beside the commits, as many more may come at most, for none waits for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLimit {
    /// So many.
    pub deliveries: NonZeroU32,
    /// And one more?
    pub when_full: WhenFull,
}

impl Default for QueueLimit {
    /// A million; then dead letters.
    fn default() -> Self {
        Self { deliveries: DELIVERIES_DEFAULT, when_full: WhenFull::default() }
    }
}
