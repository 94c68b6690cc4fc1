//! What really happened, kept apart from the machines: what was stored and when it became durable, what was acknowledged,
//! what receivers saw. Invariants are judged by it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use postrider_core::{
    AttemptNumber, Batch, BreakerState, Committed, Delivery, DeliveryId, Effect, EndpointId, EventId, Generation,
    GiveUpReason, IdempotencyKey, LaneId, Life, Place, Replay, Seq, Step, Then, Write,
};

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Delivered,
    GivenUp(GiveUpReason),
    Cancelled,
}

/// One life of a delivery, as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) event: EventId,
    pub(crate) generation: Generation,
    pub(crate) lane: LaneId,
    pub(crate) is_laned: bool,
    pub(crate) life: Life,
    pub(crate) end: Option<End>,
    /// Scheduled attempts that are stored.
    pub(crate) attempts: u32,
    /// Given up, and it holds its lane.
    pub(crate) holds: bool,
    /// A dead letter lies there.
    pub(crate) has_letter: bool,
}

/// One thing that a write changed, and how to take it back.
#[derive(Debug)]
enum Undo {
    Delivery(DeliveryId, Option<Stored>),
    Key(IdempotencyKey),
    Dropped(EndpointId),
}

/// What is stored, as of now or as of the last sync.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// As it is stored now.
    pub(crate) now: BTreeMap<DeliveryId, Stored>,
    /// Whose end would survive a power cut now.
    pub(crate) durable_ends: BTreeSet<DeliveryId>,
    /// How to undo each write since the last synced one.
    unsynced: VecDeque<Vec<Undo>>,
    /// Of every delivery that a publisher was told of: its event.
    pub(crate) acknowledged: BTreeSet<(EndpointId, EventId)>,
    pub(crate) keys: BTreeMap<IdempotencyKey, EventId>,
    pub(crate) breakers: BTreeMap<EndpointId, BreakerState>,
    /// Endpoints that are gone, with everything that was theirs.
    pub(crate) dropped: BTreeSet<EndpointId>,
    pub(crate) sent: u64,
}

impl Ledger {
    /// A group was written: `batches` with what became of them.
    pub(crate) fn written<'b>(&mut self, batches: impl Iterator<Item = (&'b Batch, &'b Committed)>) -> Vec<String> {
        let (mut undo, mut wrong) = (Vec::new(), Vec::new());
        for (batch, committed) in batches {
            for (write, effect) in batch.writes.iter().zip(&committed.effects) {
                self.apply(write, effect, &mut undo, &mut wrong);
            }
        }
        self.unsynced.push_back(undo);
        wrong
    }

    /// All but the last so many writes are on the disk.
    pub(crate) fn synced_but(&mut self, last: usize) {
        while self.unsynced.len() > last {
            for undo in self.unsynced.pop_front().into_iter().flatten() {
                let Undo::Delivery(id, _) = undo else { continue };
                // As it was before those that may still be lost.
                let before = self.unsynced.iter().flatten().find_map(|undo| match undo {
                    Undo::Delivery(later, before) if *later == id => Some(before.as_ref()),
                    Undo::Delivery(..) | Undo::Key(_) | Undo::Dropped(_) => None,
                });
                let stored = before.unwrap_or_else(|| self.now.get(&id));
                if stored.is_some_and(|stored| stored.end.is_some()) {
                    self.durable_ends.insert(id);
                } else {
                    self.durable_ends.remove(&id);
                }
            }
        }
    }

    /// Of the writes since the last sync only the first `keep` were on the disk.
    pub(crate) fn power_was_cut(&mut self, keep: usize) {
        while self.unsynced.len() > keep {
            for undo in self.unsynced.pop_back().into_iter().flatten().rev() {
                match undo {
                    Undo::Delivery(id, Some(before)) => drop(self.now.insert(id, before)),
                    Undo::Delivery(id, None) => drop(self.now.remove(&id)),
                    Undo::Key(key) => drop(self.keys.remove(&key)),
                    Undo::Dropped(endpoint) => drop(self.dropped.remove(&endpoint)),
                }
            }
        }
        self.synced_but(0);
    }

    pub(crate) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Acknowledged deliveries that are not ended, by endpoint.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = (&DeliveryId, &Stored)> {
        self.now.iter().filter(|(id, stored)| stored.end.is_none() && !self.dropped.contains(&id.endpoint))
    }

    /// The one before it in its lane that has not durably ended.
    pub(crate) fn unended_before(&self, delivery: &Delivery) -> Option<Seq> {
        let DeliveryId { endpoint, seq } = delivery.id;
        let ahead = self.now.range(DeliveryId { endpoint, seq: Seq(0) }..DeliveryId { endpoint, seq });
        let mut ahead = ahead.filter(|(_, stored)| {
            stored.is_laned && stored.lane == delivery.lane && stored.generation == delivery.generation
        });
        ahead.find(|(id, _)| !self.durable_ends.contains(id)).map(|(id, _)| id.seq)
    }

    fn change(&mut self, id: DeliveryId, undo: &mut Vec<Undo>, to: Stored) {
        let before = self.now.insert(id, to);
        undo.push(Undo::Delivery(id, before));
    }

    fn apply(&mut self, write: &Write, effect: &Effect, undo: &mut Vec<Undo>, wrong: &mut Vec<String>) {
        match write {
            Write::Accept(acceptance) => {
                let Effect::Accepted(seq, event, full) = effect else { return };
                for to in &acceptance.recipients {
                    let delivery = acceptance.delivery(to, *seq, *event);
                    self.begins(&delivery, undo);
                    if full.contains(&to.endpoint) {
                        self.found_no_room(&delivery, undo);
                    }
                }
                let Some(claim) = &acceptance.key else { return };
                undo.push(Undo::Key(claim.key.clone()));
                if let Some(first) = self.keys.insert(claim.key.clone(), *event) {
                    wrong.push(format!("D4: one key, two events: {first} and {event}"));
                }
            }
            Write::Redrive(letter, _) => {
                let Effect::Queued(delivery) = effect else { return };
                if let Some(dead) = self.now.get(letter).cloned() {
                    self.change(*letter, undo, Stored { has_letter: false, holds: false, ..dead });
                }
                self.begins(delivery, undo);
            }
            Write::Replay(replay) => {
                let Effect::Queued(delivery) = effect else { return };
                self.no_letter_any_more(replay, undo);
                self.begins(delivery, undo);
            }
            Write::Forget(letter) => {
                if let Some(dead) = self.now.get(letter).cloned() {
                    self.change(*letter, undo, Stored { has_letter: false, ..dead });
                }
            }
            Write::Outcome(transition) => {
                let before = &transition.before;
                let is_manual = before.next_attempt().is_manual();
                if let Effect::Ended(row) = effect {
                    // A success by hand ended the life beside which it was tried, dead or alive.
                    self.ended_by_hand(before, row.as_ref(), undo);
                }
                if is_manual {
                    return;
                }
                self.stepped(transition, undo, wrong);
            }
            Write::Soft(endpoint, soft) => drop(self.breakers.insert(*endpoint, soft.breaker)),
            Write::DropEndpoint(endpoint) => {
                if self.dropped.insert(*endpoint) {
                    undo.push(Undo::Dropped(*endpoint));
                }
            }
            Write::Resend(_) | Write::Wake(..) | Write::Purge(..) | Write::Clock(..) => {}
            Write::Document(_) | Write::DropDocument(_) => {}
            Write::Expunge(..) | Write::ExpungeResponse(_) | Write::Agenda(_) | Write::Rescue(..) => {}
            Write::Application(_) | Write::Endpoint(_) => {}
            Write::DropApplication(_) => {}
        }
    }

    /// The next life of an event takes the letter of the one before it.
    fn no_letter_any_more(&mut self, replay: &Replay, undo: &mut Vec<Undo>) {
        let is_its = |(id, stored): &(&DeliveryId, &Stored)| {
            id.endpoint == replay.endpoint && stored.event == replay.event && stored.has_letter
        };
        let letters: Vec<_> = self.now.iter().filter(is_its).map(|(id, stored)| (*id, stored.clone())).collect();
        for (id, dead) in letters {
            self.change(id, undo, Stored { has_letter: false, holds: false, ..dead });
        }
    }

    fn begins(&mut self, delivery: &Delivery, undo: &mut Vec<Undo>) {
        let is_laned = matches!(delivery.place, Place::Lane { .. });
        let (event, generation, lane, life) = (delivery.event, delivery.generation, delivery.lane, delivery.life);
        let fresh =
            Stored { event, generation, lane, is_laned, life, end: None, attempts: 0, holds: false, has_letter: false };
        self.change(delivery.id, undo, fresh);
    }

    /// Its queue was full: it ended before it began.
    fn found_no_room(&mut self, delivery: &Delivery, undo: &mut Vec<Undo>) {
        let Some(stored) = self.now.get(&delivery.id).cloned() else { return };
        let end = Some(End::GivenUp(GiveUpReason::QueueFull));
        self.change(delivery.id, undo, Stored { end, has_letter: true, ..stored });
    }

    fn stepped(&mut self, transition: &postrider_core::Transition, undo: &mut Vec<Undo>, wrong: &mut Vec<String>) {
        let (id, before) = (transition.before.id, &transition.before);
        let Some(stored) = self.now.get(&id).cloned() else {
            return wrong.push(format!("D3: {id:?} has a step, and was never stored"));
        };
        if stored.end.is_some() && !(stored.holds && matches!(transition.step, Step::Cancelled(_))) {
            wrong.push(format!("D3: {id:?} ended as {:?}, and again by {:?}", stored.end, transition.step));
        }
        let mut to = Stored { has_letter: transition.dead.is_some(), ..stored.clone() };
        match &transition.step {
            Step::Attempted(attempt) => {
                let AttemptNumber(number) = attempt.number;
                if number != stored.attempts + 1 || before.life != stored.life {
                    wrong.push(format!("A1: {id:?} has attempt {number} after {}", stored.attempts));
                }
                to.attempts = number;
                to.end = match attempt.then {
                    Then::Delivered => Some(End::Delivered),
                    Then::GivenUp(reason) => Some(End::GivenUp(reason)),
                    Then::RetryAt(_) | Then::Nothing => None,
                };
            }
            Step::GaveUp => {
                to.end = transition.dead.as_ref().map(|dead| End::GivenUp(dead.reason));
            }
            Step::Cancelled(_) => (to.end, to.holds, to.has_letter) = (Some(End::Cancelled), false, false),
        }
        to.holds = transition.after.as_ref().is_some_and(Delivery::is_held);
        self.change(id, undo, to);
    }

    fn ended_by_hand(&mut self, manual: &Delivery, row: Option<&Delivery>, undo: &mut Vec<Undo>) {
        let of_life = |(id, stored): (&DeliveryId, &Stored)| {
            let same = id.endpoint == manual.id.endpoint && stored.event == manual.event && stored.life == manual.life;
            same.then_some(*id)
        };
        let id = row.map(|row| row.id).or_else(|| self.now.iter().find_map(of_life));
        let Some((id, stored)) = id.and_then(|id| Some((id, self.now.get(&id)?.clone()))) else { return };
        if stored.end == Some(End::Cancelled) && row.is_none() {
            return;
        }
        self.change(id, undo, Stored { end: Some(End::Delivered), holds: false, has_letter: false, ..stored });
    }

    /// A publisher was told that its event is stored.
    pub(crate) fn acknowledge(&mut self, event: EventId, endpoints: impl Iterator<Item = EndpointId>) {
        self.acknowledged.extend(endpoints.map(|endpoint| (endpoint, event)));
    }
}
