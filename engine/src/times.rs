//! Times as others read them.

use jiff::Timestamp as Instant;
use postrider_core::Timestamp;

/// RFC 3339, in UTC; the epoch, if it lies beyond what can be written.
pub fn written(at: Timestamp) -> String {
    Instant::from_nanosecond(i128::from(at.as_nanos())).unwrap_or_default().to_string()
}
