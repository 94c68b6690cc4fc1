//! Times of the runtime's clock that a caller's waits cannot overflow.

use std::time::Duration;

use tokio::time::Instant;

/// As far as a timer can be set: some thirty years.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// After this wait; a longer one than thirty years is taken for that.
pub(crate) fn from_now(wait: Duration) -> Instant {
    Instant::now() + wait.min(FAR)
}
