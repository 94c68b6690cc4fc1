//! What the committer does: groups, one write at a time, everything made visible before anybody is answered.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use postrider_core::{
    Acceptance, Batch, Committed, Delivery, Durability, Effect, Ended, EndpointId, Input, Leave, Moved, Step,
    StoredEvent, Write,
};
use postrider_storage::Verdict;

use crate::{
    faults::Failing,
    process::{InHand, Who},
    spec::chance,
    world::{Inside, World},
};

impl World {
    /// There is something to commit.
    pub(crate) fn ring(&mut self) {
        if !self.process.is_committing && !self.process.is_stalled && !self.process.grouping.is_empty() {
            self.process.is_committing = true;
            let late = self.late();
            self.inside(late, Inside::Group);
        }
    }

    pub(crate) fn write_group(&mut self) {
        let group = self.process.grouping.next_group();
        let changes = self.wake_changes(&group);
        let strictest = group.iter().map(|(batch, _)| batch.durability).max().unwrap_or(Durability::Relaxed);
        // What was written but not synced is synced after a while, whatever comes.
        let durability = if chance(&mut self.dice, 10) { Durability::Synced } else { strictest };
        let asked = group.len();
        let (mut batches, answers): (Vec<_>, VecDeque<_>) = group.into_iter().unzip();
        if !changes.writes.is_empty() {
            batches.push(Batch { durability: Durability::Relaxed, ..Batch::synced(changes.writes) });
        }
        match self.people.failing.take() {
            Some(Failing::Refuses) => return self.stall(batches, answers),
            Some(Failing::LosesItsAnswer) => {
                self.store_group(&batches, durability);
                return self.stall(batches, answers);
            }
            None => {}
        }
        let mut verdicts = self.store_group(&batches, durability);
        let effects = batches.into_iter().zip(verdicts.iter().cloned()).collect();
        verdicts.truncate(asked);
        let answers = answers.into_iter().zip(verdicts).collect();
        self.process.in_hand =
            Some(InHand { effects, answers, left_behind: changes.left_behind, woken: changes.woken });
        let late = self.late();
        self.inside(late, Inside::Visible);
    }

    /// Writes it, and keeps the books.
    fn store_group(&mut self, batches: &[Batch], durability: Durability) -> Vec<Verdict> {
        let verdicts = self.commit(batches.to_vec().into(), durability);
        // Positions were reserved, perhaps, and then all of it is synced.
        let durable = if self.medium.unsynced() == 0 { Durability::Synced } else { Durability::Relaxed };
        let written = batches.iter().zip(&verdicts);
        let written = written.filter_map(|(batch, verdict)| Some((batch, verdict.as_ref().ok()?)));
        if let Some(wrong) = self.ledger.written(written.clone(), durable).first() {
            let (invariant, found) = wrong.split_once(": ").unwrap_or(("D3", wrong));
            self.violated(invariant, found);
        }
        let accepts = written.filter(|(batch, _)| batch.writes.iter().any(|write| matches!(write, Write::Accept(_))));
        if accepts.count() > 0 && durable == Durability::Relaxed {
            self.violated("D2", "an event was accepted without a sync");
        }
        let refused = verdicts.iter().filter(|verdict| verdict.is_err()).count();
        self.note(format_args!("{} batches are written, {durable:?}, {refused} refused", batches.len()));
        verdicts
    }

    /// One thing after another, as other threads see it: first what was written, then the answers.
    pub(crate) fn next_visible(&mut self) {
        let Some(mut in_hand) = self.process.in_hand.take() else { return };
        if let Some((batch, verdict)) = in_hand.effects.pop_front() {
            self.process.in_hand = Some(in_hand);
            if let Ok(committed) = &verdict {
                self.make_visible(&batch, committed);
            }
        } else if let Some((who, verdict)) = in_hand.answers.pop_front() {
            self.process.in_hand = Some(in_hand);
            self.answer(who, verdict);
        } else {
            in_hand.left_behind.iter().for_each(|at| self.process.scanner.note(*at));
            self.look_after(&in_hand.woken);
            self.ring_scanner();
            self.process.is_committing = false;
            return self.ring();
        }
        let late = if chance(&mut self.dice, 70) { Duration::ZERO } else { self.late() };
        self.inside(late, Inside::Visible);
    }

    fn make_visible(&mut self, batch: &Batch, committed: &Committed) {
        for (write, effect) in batch.writes.iter().zip(&committed.effects) {
            match write {
                Write::Accept(acceptance) => {
                    if let Effect::Accepted(seq, id, full) = effect {
                        self.accepted(acceptance, *seq, *id, full);
                    }
                }
                Write::Outcome(transition) => {
                    if let Step::Cancelled(_) = transition.step {
                        let moved = Input::Moved(Moved::Cancelled(transition.before.clone()));
                        self.with_slot(transition.before.id.endpoint, |slot| slot.post(moved));
                    }
                }
                Write::Redrive(letter, _) => {
                    let Effect::Queued(delivery) = effect else { continue };
                    let (delivery, letter): (Delivery, _) = (delivery.clone(), *letter);
                    self.with_slot(letter.endpoint, |slot| match delivery.id == letter {
                        // It held its lane, and has its old place.
                        true => slot.post(Input::Moved(Moved::Revived(delivery))),
                        false => slot.nudge(delivery, None),
                    });
                }
                Write::Resend(resend) => {
                    if let Effect::Queued(delivery) = effect {
                        let moved = Input::Moved(Moved::Resent(delivery.clone()));
                        self.with_slot(resend.endpoint, |slot| slot.post(moved));
                    }
                }
                Write::Application(application) => {
                    let known =
                        self.process.registry.applications.get(&application.id).map_or(0, |(_, routing)| *routing);
                    let stored = (Arc::new((**application).clone()), known);
                    self.process.registry.applications.insert(application.id, stored);
                }
                Write::Endpoint(endpoint) => {
                    self.routed(endpoint.application, effect);
                    self.process.registry.endpoints.insert(endpoint.id, Arc::new((**endpoint).clone()));
                    self.told_of(endpoint.id);
                }
                Write::DropEndpoint(endpoint) => {
                    if let Some(gone) = self.process.registry.endpoints.remove(endpoint) {
                        self.routed(gone.application, effect);
                        self.process.permits.withdraw_all(gone.application, *endpoint);
                    }
                    self.drop_place(*endpoint);
                    self.begin_purge();
                }
                Write::DropApplication(_) | Write::Clock(..) => {}
                Write::Soft(..) | Write::Forget(_) | Write::Purge(..) | Write::Wake(..) => {}
            }
        }
    }

    fn routed(&mut self, owner: postrider_core::ApplicationId, effect: &Effect) {
        if let (Effect::Routed(routing), Some((_, known))) =
            (effect, self.process.registry.applications.get_mut(&owner))
        {
            *known = *routing;
        }
    }

    /// The event rides along, within the budget for payloads.
    fn accepted(
        &mut self,
        acceptance: &Acceptance,
        seq: postrider_core::Seq,
        id: postrider_core::EventId,
        full: &[EndpointId],
    ) {
        let lease = self.process.payloads.lease(acceptance.event.payload.len());
        let event = lease.map(|lease| Arc::new(StoredEvent { lease, ..StoredEvent::of(id, acceptance) }));
        for to in acceptance.recipients.iter().filter(|to| !full.contains(&to.endpoint)) {
            let (delivery, event) = (acceptance.delivery(to, seq, id), event.clone());
            // A nudge that is lost, or comes twice, changes nothing: the wake row and the store have it all.
            let times = if self.faults {
                [1, 1, 1, 1, 1, 1, 1, 2][usize::try_from(crate::spec::below(&mut self.dice, 8)).unwrap_or(0)]
            } else {
                1
            };
            for _ in 0..times {
                let (delivery, event) = (delivery.clone(), event.clone());
                self.with_slot(to.endpoint, |slot| slot.nudge(delivery, event));
            }
        }
    }

    /// Its actor hears of the record as it is now; without an actor, the next one begins with it.
    pub(crate) fn told_of(&mut self, endpoint: EndpointId) {
        let Some(record) = self.process.registry.endpoint(endpoint).cloned() else { return };
        self.with_known_slot(endpoint, |slot| match slot.is_occupied() {
            true => slot.post(Input::Reconfigured(record)),
            false => None,
        });
    }

    fn answer(&mut self, who: Who, verdict: Verdict) {
        match who {
            Who::Publisher(number) => self.publisher_is_answered(number, verdict),
            Who::Machine(endpoint, id) => {
                let ended = verdict.map(|committed| {
                    Ended(committed.effects.into_iter().find_map(|effect| match effect {
                        Effect::Ended(row) => row,
                        Effect::Accepted(..)
                        | Effect::Queued(_)
                        | Effect::Routed(_)
                        | Effect::Purged(_)
                        | Effect::Done => None,
                    }))
                });
                self.with_known_slot(endpoint, |slot| slot.post(Input::Committed(id, ended)));
            }
            Who::Retirement(endpoint, leave, _) => self.retire(endpoint, leave),
            Who::Nobody => {}
        }
    }

    fn retire(&mut self, endpoint: EndpointId, leave: Leave) {
        if self.process.places.get_mut(&endpoint).is_some_and(|place| place.slot.leave(leave)) {
            self.note(format_args!("{endpoint} actor leaves"));
            self.drop_place(endpoint);
            self.ring_scanner();
        }
    }

    /// The store failed: callers come back later, outcomes are kept in their order, every actor ends, and it is opened
    /// again after a while.
    fn stall(&mut self, batches: Vec<Batch>, answers: VecDeque<Who>) {
        self.note(format_args!("the store failed"));
        self.counts[5] += 1;
        self.process.is_stalled = true;
        self.process.is_committing = false;
        let mut kept = Vec::new();
        for (batch, who) in batches.into_iter().zip(answers) {
            match who {
                Who::Publisher(number) => self.publisher_is_turned_away(number),
                Who::Machine(..) => kept.push((batch, who)),
                Who::Retirement(..) | Who::Nobody => {}
            }
        }
        self.process.grouping.push_back_own(kept.into_iter());
        for who in self.process.grouping.take_requests() {
            if let Who::Publisher(number) = who {
                self.publisher_is_turned_away(number);
            }
        }
        let endpoints: Vec<_> = self.process.places.keys().copied().collect();
        endpoints.into_iter().for_each(|endpoint| self.end_actor(endpoint));
        self.inside(Duration::from_millis(200), Inside::Reopen);
    }

    pub(crate) fn reopen(&mut self) {
        self.open_store();
        self.process.is_stalled = false;
        self.process.opened += 1;
        self.process.scanner.store_reopened();
        self.process.places.values_mut().for_each(|place| place.slot.store_reopened());
        let occupied: Vec<_> =
            self.process.places.iter().filter(|(_, place)| place.slot.is_occupied()).map(|(id, _)| *id).collect();
        for endpoint in occupied {
            match self.process.registry.endpoint(endpoint) {
                Some(_) => self.told_of(endpoint),
                None => self.drop_place(endpoint),
            }
        }
        self.note(format_args!("the store is open again"));
        self.ring();
        self.ring_scanner();
        self.begin_purge();
    }
}
