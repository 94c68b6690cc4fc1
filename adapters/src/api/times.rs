//! Times on the wire: RFC 3339, in UTC when we write them.

use jiff::{Timestamp as Instant, fmt::temporal::Pieces};
use postrider::Timestamp;
pub(super) use postrider::written;

/// As clients write it, with any offset; the first or the last time there is, if it lies beyond them. A `+` that came as a blank, because nobody escaped it, is taken for what it was.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    let text = text.replace(' ', "+");
    let Ok(instant) = text.parse::<Instant>() else {
        // What clients write for never, 9999-12-31T23:59:59Z, lies after the last time that can be read.
        let pieces = Pieces::parse(&text).ok()?;
        let is_last = pieces.date().year() == 9999 && pieces.time().is_some() && pieces.offset().is_some();
        return is_last.then_some(Timestamp::from_nanos(u64::MAX));
    };
    let nanos = instant.as_nanosecond().clamp(0, u64::MAX.into());
    u64::try_from(nanos).ok().map(Timestamp::from_nanos)
}
