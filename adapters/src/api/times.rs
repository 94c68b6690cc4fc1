//! Times on the wire: RFC 3339 in UTC.

use jiff::Timestamp as Instant;
use postrider::Timestamp;

/// As clients read it; the epoch, if it lies beyond what can be written.
pub(super) fn written(at: Timestamp) -> String {
    Instant::from_nanosecond(i128::from(at.as_nanos())).unwrap_or_default().to_string()
}
