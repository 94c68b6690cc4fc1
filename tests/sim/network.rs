//! Receivers: they answer, fail, are slow, ask to wait, hang, take an event and say nothing.

use std::{collections::BTreeSet, time::Duration};

use postrider_core::{EndpointId, EventId, Failure, Outcome, SplitMix};

use crate::spec::{below, chance};

/// How receivers behave, and what they took.
#[derive(Debug)]
pub(crate) struct Network {
    fail_percent: u64,
    /// Events that a receiver got and answered with 2xx, whether or not anybody heard the answer.
    pub(crate) taken: BTreeSet<(EndpointId, EventId)>,
}

impl Network {
    pub(crate) fn of(dice: &mut SplitMix) -> Self {
        Self {
            fail_percent: [0, 10, 40, 70][usize::try_from(below(dice, 4)).unwrap_or_default()],
            taken: BTreeSet::new(),
        }
    }

    /// Everybody is well from now on.
    pub(crate) const fn make_peace(&mut self) {
        self.fail_percent = 0;
    }

    /// What a request comes to, how long that takes, and whether it went out at all.
    pub(crate) fn answer(&self, dice: &mut SplitMix) -> (Outcome, Duration, bool) {
        let slow = if below(dice, 8) == 0 { 3_000 } else { 20 };
        let took = Duration::from_millis(1 + below(dice, slow));
        if !chance(dice, self.fail_percent) {
            return (Outcome::Success { status: 200 }, took, true);
        }
        let status = |code, retry_after| Failure::Status { code, retry_after };
        let failure = match below(dice, 14) {
            0 => return (Outcome::Failure(Failure::NotSent("no descriptor".into())), took, false),
            1 => return (Outcome::Failure(Failure::Blocked("forbidden".into())), took, false),
            2 => return (Outcome::Failure(Failure::TimedOut), Duration::from_secs(10), true),
            3 => Failure::Network("connection was reset".into()),
            4 => status(429, Some(Duration::from_secs(2))),
            5 => status(503, None),
            6 => status(400, None),
            7 if below(dice, 6) == 0 => status(410, None),
            _ => status(500, None),
        };
        (Outcome::Failure(failure), took, true)
    }

    pub(crate) fn received(&mut self, endpoint: EndpointId, event: EventId, outcome: &Outcome) {
        if let Outcome::Success { .. } = outcome {
            self.taken.insert((endpoint, event));
        }
    }
}
