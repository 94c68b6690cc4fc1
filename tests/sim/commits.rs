//! What the committer does: groups, written one after another and synced behind, everything made visible before anybody
//! is answered.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use postrider_core::{
    Acceptance, Batch, Committed, Delivery, Durability, Effect, Ended, EndpointId, Input, Leave, Moved, Step,
    StoredEvent, Write,
};
use postrider_storage::{Begun, Verdict};

use crate::{
    faults::Failing,
    process::{InHand, Stage, Who},
    spec::chance,
    world::{Inside, World},
};

/// One is written while the one before it is synced.
const IN_HAND_MAX: usize = 2;

impl World {
    /// There is something to commit, and room for one more group.
    pub(crate) fn ring(&mut self) {
        let process = &self.process;
        let has_room = !process.is_grouping && process.put_off.is_none() && process.in_hand.len() < IN_HAND_MAX;
        let alone = process.in_hand.iter().any(|group| group.retires);
        if has_room && !alone && !process.is_stalled && !process.grouping.is_empty() {
            self.process.is_grouping = true;
            let late = self.late();
            self.inside(late, Inside::Group);
        }
    }

    pub(crate) fn write_group(&mut self) {
        self.process.is_grouping = false;
        if self.process.is_stalled {
            return;
        }
        let group = self.process.grouping.next_group();
        if InHand::retires(&group) && !self.process.in_hand.is_empty() {
            self.process.put_off = Some(group);
            return;
        }
        self.begin_group(group);
    }

    fn begin_group(&mut self, group: Vec<(Batch, Who)>) {
        let changes = self.wake_changes(&group);
        let strictest = group.iter().map(|(batch, _)| batch.durability).max().unwrap_or(Durability::Relaxed);
        // What was written but not synced is synced after a while, whatever comes.
        let durability = if chance(&mut self.dice, 10) { Durability::Synced } else { strictest };
        let (asked, retires) = (group.len(), InHand::retires(&group));
        let (mut batches, who): (Vec<_>, VecDeque<_>) = group.into_iter().unzip();
        if !changes.writes.is_empty() {
            batches.push(Batch::synced(changes.writes).relaxed());
        }
        self.process.groups += 1;
        let mut group = InHand {
            number: self.process.groups,
            batches,
            who,
            asked,
            retires,
            stage: Stage::Synced,
            effects: VecDeque::new(),
            verdicts: VecDeque::new(),
            left_behind: changes.left_behind,
            deleted: changes.deleted,
            woken: changes.woken,
        };
        match self.people.failing.take() {
            Some(Failing::Refuses) => {
                self.process.in_hand.push_back(group);
                return self.stall();
            }
            Some(Failing::LosesItsAnswer) => {
                let _it_is_in_the_page_cache = self.write(&group.batches, durability);
                self.process.in_hand.push_back(group);
                return self.stall();
            }
            None => {}
        }
        let (verdicts, stage) = self.write(&group.batches, durability);
        group.effects = group.batches.iter().cloned().zip(verdicts.iter().cloned()).collect();
        group.verdicts = verdicts.into_iter().take(asked).collect();
        group.stage = stage;
        let number = group.number;
        self.process.in_hand.push_back(group);
        let late = self.late();
        self.inside(late, Inside::Synced(number));
        self.ring();
    }

    /// Writes it, and keeps the books.
    fn write(&mut self, batches: &[Batch], durability: Durability) -> (Vec<Verdict>, Stage) {
        let Begun { verdicts, syncing } = self.begin(batches.to_vec().into(), durability);
        verdicts.iter().flatten().for_each(|committed| self.process.queues_changed(&committed.queued));
        let written = batches.iter().zip(&verdicts);
        let written = written.filter_map(|(batch, verdict)| Some((batch, verdict.as_ref().ok()?)));
        if let Some(wrong) = self.ledger.written(written).first() {
            let (invariant, found) = wrong.split_once(": ").unwrap_or(("D3", wrong));
            self.violated(invariant, found);
        }
        let refused = verdicts.iter().filter(|verdict| verdict.is_err()).count();
        self.note(format_args!("{} batches are written, {durability:?}, {refused} refused", batches.len()));
        (verdicts, syncing.map_or(Stage::Synced, Stage::Written))
    }

    /// As far as it was to be: the disk took it, and everything before it.
    pub(crate) fn synced(&mut self, number: u64) {
        for at in 0..self.process.in_hand.len() {
            if self.process.in_hand[at].number > number {
                break;
            }
            if let Stage::Written(syncing) = std::mem::replace(&mut self.process.in_hand[at].stage, Stage::Synced) {
                self.settle(syncing);
                self.note_durable(at);
            }
        }
        let first = self.process.in_hand.front_mut();
        if first.is_some_and(|first| first.number == number) {
            self.next_visible();
        }
    }

    /// What the medium says of how durable it is goes into the books; and no event is accepted on less.
    fn note_durable(&mut self, at: usize) {
        let later = self.process.in_hand.len() - at - 1;
        self.ledger.synced_but(self.medium.unsynced());
        let accepts = self.process.in_hand[at].effects.iter().any(|(batch, verdict)| {
            verdict.is_ok() && batch.writes.iter().any(|write| matches!(write, Write::Accept(_)))
        });
        if accepts && self.medium.unsynced() > later {
            self.violated("D2", "an event was accepted without a sync");
        }
    }

    /// One thing after another, as other threads see it: first what was written, then the answers.
    pub(crate) fn next_visible(&mut self) {
        let Some(first) = self.process.in_hand.front_mut() else { return };
        if let Stage::Written(_) = first.stage {
            return;
        }
        if let Some((batch, verdict)) = first.effects.pop_front() {
            if let Ok(committed) = &verdict {
                self.make_visible(&batch, committed);
            }
        } else if let (Some(who), Some(verdict)) = (first.who.pop_front(), first.verdicts.pop_front()) {
            self.answer(who, verdict);
        } else {
            let Some(over) = self.process.in_hand.pop_front() else { return };
            self.deleted(over.deleted);
            over.left_behind.iter().for_each(|at| self.process.scanner.note(*at));
            self.look_after(&over.woken);
            self.ring_scanner();
            if self.process.in_hand.is_empty()
                && let Some(group) = self.process.put_off.take()
            {
                self.begin_group(group);
            }
            self.ring();
        }
        // Also if it is over: the one after it may be synced already.
        self.next_visible_soon();
    }

    fn next_visible_soon(&mut self) {
        if self.process.in_hand.front().is_some_and(|first| matches!(first.stage, Stage::Synced)) {
            let late = if chance(&mut self.dice, 70) { Duration::ZERO } else { self.late() };
            self.inside(late, Inside::Visible);
        }
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
                Write::Replay(replay) => {
                    if let Effect::Queued(delivery) = effect {
                        let delivery = delivery.clone();
                        self.with_slot(replay.endpoint, |slot| slot.nudge(delivery, None));
                    }
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
                Write::DropApplication(_) | Write::Clock(..) | Write::Document(_) | Write::DropDocument(_) => {}
                Write::Expunge(..) | Write::ExpungeResponse(_) | Write::Agenda(_) | Write::Rescue(..) => {}
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
                        | Effect::Dead(_)
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
    fn stall(&mut self) {
        self.note(format_args!("the store failed"));
        self.counts[5] += 1;
        self.process.is_stalled = true;
        let mut kept = Vec::new();
        let begun =
            std::mem::take(&mut self.process.in_hand).into_iter().flat_map(|InHand { batches, who, asked, .. }| {
                let left = asked - who.len();
                batches.into_iter().skip(left).zip(who)
            });
        for (batch, who) in begun.chain(self.process.put_off.take().into_iter().flatten()) {
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
        self.process.deleting.clear();
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
