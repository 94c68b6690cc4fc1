//! Where the first row lies, in the order of times, of those that a scanner has not read.

use crate::Timestamp;

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    Unknown,
    At(Timestamp),
    Nothing,
}

impl Unread {
    /// There is one at this time, or none.
    pub(crate) fn first(at: Option<Timestamp>) -> Self {
        at.map_or(Self::Nothing, Self::At)
    }

    /// And there is one at this time.
    #[must_use]
    pub(crate) fn with(self, at: Timestamp) -> Self {
        match self {
            Self::Unknown => Self::Unknown,
            Self::At(first) => Self::At(first.min(at)),
            Self::Nothing => Self::At(at),
        }
    }

    /// Whether it is time to read: what is not known may be due.
    pub(crate) fn is_due(self, now: Timestamp) -> bool {
        match self {
            Self::Unknown => true,
            Self::At(at) => at <= now,
            Self::Nothing => false,
        }
    }

    /// When it is, if that is known.
    pub(crate) const fn at(self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Unknown | Self::Nothing => None,
        }
    }
}
