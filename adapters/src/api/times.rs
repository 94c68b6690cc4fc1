//! Times on the wire: RFC 3339, in UTC when we write them.

use jiff::Timestamp as Instant;
use postrider::Timestamp;

/// As clients read it; the epoch, if it lies beyond what can be written.
pub(super) fn written(at: Timestamp) -> String {
    Instant::from_nanosecond(i128::from(at.as_nanos())).unwrap_or_default().to_string()
}

/// As clients write it, with any offset. A `+` that came as a blank, because nobody escaped it, is taken for what it was.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    let instant: Instant = text.replace(' ', "+").parse().ok()?;
    u64::try_from(instant.as_nanosecond()).ok().map(Timestamp::from_nanos)
}
