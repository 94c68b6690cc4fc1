//! What must always hold, a file each; named as in `postrider_core::Invariant`.

mod a1;
mod a2;
mod b1;
mod c1;
mod d1;
mod d2;
mod d3;
mod d4;
mod l1;
mod l2;
mod q1;
mod r1;
mod s1;
mod w1;

use std::time::Duration;

use postrider_core::{AttemptPlan, StoredEvent};

use crate::world::{What, World};

/// Judges with a memory of their own.
#[derive(Debug, Default)]
pub(crate) struct Judges {
    b1: b1::Probes,
    l1: l1::FirstAttempts,
    r1: r1::Buckets,
    s1: s1::Seen,
}

const JUDGED_EVERY: Duration = Duration::from_millis(170);

impl World {
    /// A request goes out.
    pub(crate) fn judge_request(&mut self, plan: &AttemptPlan, event: &StoredEvent) {
        let verdicts = [
            ("L1", self.judges.l1.request(&plan.delivery)),
            ("L2", l2::request(&self.ledger, &plan.delivery)),
            ("A1", a1::request(plan)),
            ("A2", a2::request(&self.process, plan)),
            ("R1", self.judges.r1.request(plan, self.now)),
            ("S1", self.judges.s1.request(plan, event, self.now + self.process.clock_ahead)),
        ];
        self.all_hold(verdicts);
    }

    /// An attempt begins: what was decided then stands, however late its request goes out.
    pub(crate) fn judge_beginning(&mut self, plan: &AttemptPlan) {
        let bounds = c1::bounds(&self.process, &self.limits, plan.delivery.id.endpoint);
        let probes = self.judges.b1.begins(&self.process, &self.ledger, plan);
        self.all_hold([("B1", probes), ("C1", bounds)]);
    }

    /// Every now and then.
    pub(crate) fn judge(&mut self) {
        let counted = q1::what_is_known_is_there(self);
        self.all_hold([("W1", w1::awake(self)), ("Q1", counted)]);
        if !self.process.is_quiet() || self.people.is_publishing() || self.ledger.unfinished().next().is_some() {
            self.plan(JUDGED_EVERY, What::Judge);
        }
    }

    /// A process begins.
    pub(crate) fn judge_what_is_there(&self) {
        self.all_hold([("D2", d2::everything_acknowledged_is_there(self)), ("W1", w1::awake(self))]);
    }

    /// Nothing is left to do.
    pub(crate) fn judge_at_rest(&mut self) {
        let counted = q1::everything_is_known(self);
        self.all_hold([
            ("Q1", counted),
            ("D1", d1::everything_arrived(self)),
            ("D2", d2::everything_acknowledged_is_there(self)),
            ("D3", d3::ends_and_letters_agree(self)),
            ("D4", d4::one_key_one_event(&self.ledger)),
        ]);
    }

    fn all_hold(&self, verdicts: impl IntoIterator<Item = (&'static str, Result<(), String>)>) {
        for (invariant, verdict) in verdicts {
            if let Err(found) = verdict {
                self.violated(invariant, &found);
            }
        }
    }
}
