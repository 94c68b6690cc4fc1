//! What must always be true, by name: the same names in the machines, in tests, in the simulation and in the docs.

use std::fmt;

/// What must always be true. `Display` gives its name and its statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// No loss.
    D1,
    /// Durable before accepted.
    D2,
    /// One end.
    D3,
    /// One idempotency key, one event.
    D4,
    /// Order of first attempts.
    L1,
    /// No overtaking.
    L2,
    /// Always awake in time.
    W1,
    /// Numbered attempts.
    A1,
    /// One attempt at a time.
    A2,
    /// Rate limit.
    R1,
    /// Breaker.
    B1,
    /// Counts.
    Q1,
    /// One id, a signature that verifies.
    S1,
    /// Bounds.
    C1,
}

impl Invariant {
    /// All of them, in the order of their list.
    pub const ALL: [Self; 14] = [
        Self::D1,
        Self::D2,
        Self::D3,
        Self::D4,
        Self::L1,
        Self::L2,
        Self::W1,
        Self::A1,
        Self::A2,
        Self::R1,
        Self::B1,
        Self::Q1,
        Self::S1,
        Self::C1,
    ];

    /// What it says.
    pub const fn statement(self) -> &'static str {
        match self {
            Self::D1 => {
                "once faults stop, every delivery of an acknowledged event is delivered, dead-lettered or cancelled"
            }
            Self::D2 => "publish returns Ok only after the event and all its deliveries are durable",
            Self::D3 => {
                "a life of a delivery ends exactly once, and a dead letter exists if and only if it ended by giving up"
            }
            Self::D4 => "one idempotency key, one event",
            Self::L1 => "in a lane, first attempts happen in Seq order",
            Self::L2 => "no attempt of a later delivery in a lane before the end of its predecessor is durable",
            Self::W1 => {
                "an endpoint with something to do is active, or has a wake row no later than its earliest due time"
            }
            Self::A1 => {
                "attempts of a life are numbered 1, 2, 3 and so on and never exceed the schedule, manual ones apart"
            }
            Self::A2 => "at most one attempt of a delivery is in flight, whatever was restarted meanwhile",
            Self::R1 => "in any time t, at most burst + rate * t attempts",
            Self::B1 => "no attempt while the breaker is open, one probe while it is half-open",
            Self::Q1 => "what is said to wait, at an endpoint and in all, is what a scan of its rows finds",
            Self::S1 => {
                "webhook-id is the same in every attempt of an event, and the signature verifies with a current secret"
            }
            Self::C1 => {
                "memory per endpoint stays within its window, payload bytes within the budget, requests in flight \
                 within the permits"
            }
        }
    }

    /// Panics with what was found. Called by [`check_invariant!`](crate::check_invariant).
    #[cold]
    #[track_caller]
    pub fn broken(self, found: fmt::Arguments<'_>) -> ! {
        panic!("invariant {self} is broken: {found}")
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} ({})", self.statement())
    }
}

/// Panics if the condition does not hold, naming the invariant and what was found: `check_invariant!(D3, was.is_none(),
/// "{seq:?} ended twice")`.
///
/// With debug assertions only, that is in tests and in the simulation. In release builds the condition is compiled but
/// not evaluated: there the store's guards are what keeps an invariant, and a running engine is worth more than a proof.
#[macro_export]
macro_rules! check_invariant {
    ($invariant:ident, $condition:expr, $($found:tt)+) => {
        if cfg!(debug_assertions) && !$condition {
            $crate::Invariant::$invariant.broken(format_args!($($found)+));
        }
    };
}

#[cfg(test)]
mod tests;
