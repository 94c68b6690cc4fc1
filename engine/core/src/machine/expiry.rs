//! Gives up, without an attempt, what is too old or keeps crashing its actor, wherever it waits.

use std::sync::Arc;

use super::{CommandId, EndpointMachine, Phase, aging::Searched, queue::Item};
use crate::{Aged, Batch, Command, Delivery, Durability, GiveUpReason, Guard, LoadId, Timestamp, Write};

impl EndpointMachine {
    /// What could start, and must not any more. Nothing is read for it.
    pub(super) fn end_doomed(&mut self, now: Timestamp) {
        if self.phase == Phase::Restoring || (now < self.next_expiry && self.poisoned.is_none()) {
            return;
        }
        let (age_max, poisoned) = (self.limits.delivery_age_max, self.poisoned);
        let expired = |delivery: &Delivery| delivery.since + age_max <= now;
        let flights = &self.flights;
        let doomed = |delivery: &Delivery| {
            let seq = delivery.id.seq;
            (poisoned == Some(seq) || expired(delivery)) && !flights.is_busy(seq)
        };
        for Item { delivery, .. } in self.queue.take_doomed(now, doomed) {
            let reason = if expired(&delivery) { GiveUpReason::Expired } else { GiveUpReason::Poisoned };
            if poisoned == Some(delivery.id.seq) {
                self.poisoned = None;
            }
            self.flights.begin(delivery.clone(), Arc::clone(self.gate.endpoint()), now);
            self.give_up(&delivery, reason, now);
        }
        self.recall_expiry();
    }

    pub(super) fn recall_expiry(&mut self) {
        let oldest = self.queue.oldest();
        self.next_expiry = oldest.map_or(Timestamp::MAX, |since| since + self.limits.delivery_age_max);
    }

    /// Looks for what is too old where this machine does not see it, if it may be there.
    pub(super) fn search_aged(&mut self, now: Timestamp) {
        if self.phase != Phase::Running {
            return;
        }
        let is_time = |machine: &Self| {
            // Before it rests, it must know when to be woken.
            let must_know = !machine.aging.is_certain() && machine.flights.is_empty() && machine.queue.is_settled();
            must_know || machine.aging.next().is_some_and(|at| at <= now)
        };
        if !self.aging.is_searching() && is_time(self) {
            self.recall_age();
            if is_time(self) {
                self.aging.begin(now);
            }
        }
        // A few at a time: each is an outcome that is not committed yet.
        let room = self.limits.uncommitted_attempts.saturating_sub(self.flights.uncommitted());
        if room * 2 > self.limits.uncommitted_attempts
            && let Some((before, after)) = self.aging.wants()
        {
            let load = self.queue.read_aged(before, after, room);
            self.aging.reads(load);
        }
    }

    pub(super) fn aged_found(&mut self, id: LoadId, found: Aged, now: Timestamp) {
        let Some(searched) = self.queue.aged_read(id).map(|()| self.aging.answered(&found, now)) else { return };
        for delivery in found.rows {
            if !self.queue.shows(&delivery) || self.flights.is_busy(delivery.id.seq) {
                self.aging.met_busy(now);
                continue;
            }
            self.queue.take_aged(&delivery);
            self.flights.begin(delivery.clone(), Arc::clone(self.gate.endpoint()), now);
            self.give_up(&delivery, GiveUpReason::Expired, now);
        }
        self.queue.aged_used();
        if searched == (Searched::Done { note: true }) {
            self.note_soft(now);
        }
    }

    /// If all of the queue is known, so is its age.
    pub(super) fn recall_age(&mut self) {
        if self.queue.is_whole() {
            let oldest = [self.queue.oldest_of_all(), self.flights.oldest()];
            self.aging.knows_all(oldest.into_iter().flatten().min());
        }
    }

    /// So that the next actor begins with it.
    pub(super) fn note_soft(&mut self, now: Timestamp) {
        let heads = self.heads();
        let Some(soft) = self.gate.soft_change(heads, self.aging.stored(now), true) else { return };
        self.noting = true;
        let endpoint = self.gate.endpoint();
        let guards = vec![Guard::Generation(endpoint.id, endpoint.generation)];
        let writes = vec![Write::Soft(endpoint.id, soft)];
        let batch = Batch { guards, writes, durability: Durability::Relaxed };
        self.commands.push_back(Command::Commit(CommandId::Note, batch));
    }
}
