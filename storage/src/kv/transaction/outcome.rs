//! Writes a step of a delivery: its row moves or goes, its attempt stays, and what follows from the end of its life.

use postrider_core::{
    ApplicationId, Attempt, AttemptNumber, DeadLetter, Delivery, DeliveryId, Effect, Life, Place, Step, Then,
    Timestamp, Transition,
};

use super::{Stop, Transaction};
use crate::{
    StoreError,
    kv::{
        Partition,
        keys::{self, Key},
        rows::{self, EndRow, IndexRow, LifeRow, NeededBy},
    },
};

impl Transaction<'_> {
    pub(super) fn outcome(&mut self, transition: &Transition) -> Result<Effect, Stop> {
        let Transition { before, after, step, dead } = transition;
        self.delete_delivery(before)?;
        after.iter().for_each(|after| self.put_delivery(None, after));
        if let Some(dead) = dead {
            let first_attempt_at = self.first_attempt_at(before, dead)?;
            let dead = DeadLetter { first_attempt_at, ..dead.clone() };
            self.rows.put_with(&Key::DeadLetter(before.id), |value| rows::encode_letter(&dead, value));
            if let Some(queue) = self.queue(before.id.endpoint)? {
                self.is_needed(queue.application, before, NeededBy::Letter)?;
            }
        } else if after.is_none() && !before.next_attempt().is_manual() && self.may_need(before) {
            self.is_needed_no_more(before.event, before.id)?;
        }
        match (step, before.place) {
            (Step::Attempted(attempt), Place::Manual { .. }) => {
                self.put_attempt(before, attempt);
                match attempt.then {
                    Then::Delivered => return Ok(Effect::Ended(self.end_life(before)?)),
                    Then::RetryAt(_) | Then::GivenUp(_) | Then::Nothing => {}
                }
            }
            (Step::Attempted(attempt), Place::Ready | Place::Due(_)) => self.put_attempt(before, attempt),
            (Step::Attempted(attempt), Place::Lane { .. }) => {
                self.put_attempt(before, attempt);
                self.counts.attempted(before, after.is_none());
            }
            // A manual try that did not happen says nothing about the life beside which it waited.
            (Step::GaveUp | Step::Cancelled(_), Place::Manual { .. }) => {}
            (Step::GaveUp, Place::Ready | Place::Due(_) | Place::Lane { .. }) => {
                if let Some(DeadLetter { reason, dead_at, .. }) = dead {
                    let end = EndRow::GaveUp { reason: *reason, at: *dead_at };
                    self.rows.put(&Key::End(before.id, before.life, before.event), &end);
                }
            }
            (Step::Cancelled(at), Place::Ready | Place::Due(_) | Place::Lane { .. }) => {
                self.rows.put(&Key::End(before.id, before.life, before.event), &EndRow::Cancelled(*at));
                if before.is_held() {
                    // It was given up before; whoever calls it off has no use for its letter.
                    self.rows.delete(&Key::DeadLetter(before.id));
                    self.is_needed_no_more(before.event, before.id)?;
                }
            }
        }
        Ok(Effect::Done)
    }

    /// Writes a delivery where it waits, and what finds it there. An owner is named unless it only moves.
    pub(super) fn put_delivery(&mut self, owner: Option<ApplicationId>, delivery: &Delivery) {
        self.counts.added(owner, delivery);
        self.rows.put_with(&Key::of(delivery), |value| rows::encode_delivery(delivery, value));
        if let Some(index) = Key::due_index(delivery) {
            self.rows.put_with(&index, |value| rows::encode_due_index(delivery, value));
        }
        if let Some(index) = Key::urgent_index(delivery) {
            self.rows.put(&index, &());
        }
    }

    /// Takes a delivery away from where it waits.
    pub(super) fn delete_delivery(&mut self, delivery: &Delivery) -> Result<(), StoreError> {
        // A guard has just looked, so that this is known.
        if self.rows.value(&Key::of(delivery))?.is_some() {
            self.counts.removed(delivery);
        }
        self.rows.delete(&Key::of(delivery));
        let indexes = [Key::due_index(delivery), Key::urgent_index(delivery)];
        indexes.iter().flatten().for_each(|index| self.rows.delete(index));
        Ok(())
    }

    fn put_attempt(&mut self, of: &Delivery, attempt: &Attempt) {
        let key = Key::Attempt(of.id, of.life, attempt.number, of.event);
        self.rows.put_with(&key, |value| rows::encode_attempt(of.event, attempt, value));
        if (of.life, attempt.number) != FIRST {
            let row = IndexRow { event: of.event, seq: of.id.seq, life: of.life, number: attempt.number };
            self.rows.put(&Key::AttemptIndex(of.id.endpoint, attempt.id), &row);
        }
    }

    /// A manual try succeeded: nothing of its life is left to do. The row that waited for that, if there was one.
    fn end_life(&mut self, tried: &Delivery) -> Result<Option<Delivery>, Stop> {
        let DeliveryId { endpoint, .. } = tried.id;
        let Some(queue) = self.queue(endpoint)? else { return Ok(None) };
        if let Some(letter) = self.letter(tried.id)?
            && letter.last.life == tried.life
        {
            self.rows.delete(&Key::DeadLetter(tried.id));
            self.is_needed_no_more(tried.event, tried.id)?;
        }
        let key = Key::Life(tried.event, endpoint, tried.life);
        // It may have gone with its week; the try itself says as much.
        let life = self.rows.get::<LifeRow>(&key)?.unwrap_or_else(|| LifeRow::tried(tried));
        if life.generation != queue.generation {
            return Ok(None);
        }
        let scheduled = self.scheduled(tried, &life)?;
        if let Some(scheduled) = &scheduled {
            self.delete_delivery(scheduled)?;
            if self.may_need(scheduled) {
                self.is_needed_no_more(scheduled.event, scheduled.id)?;
            }
        }
        Ok(scheduled)
    }

    /// The row in which a life waits, among the ready rows or, after a failure, where its last attempt sent it.
    pub(super) fn scheduled(&mut self, tried: &Delivery, at: &LifeRow) -> Result<Option<Delivery>, StoreError> {
        let LifeRow { endpoint, generation, lane, seq, .. } = *at;
        let id = DeliveryId { endpoint, seq };
        if let Some(value) = self.rows.value(&Key::Ready(endpoint, generation, lane, seq))? {
            let found = rows::ready(id, generation, lane, &value)?;
            return Ok(Some(found).filter(|found| found.life == at.life));
        }
        let Some(Then::RetryAt(due)) = self.after_last_scheduled(tried)? else { return Ok(None) };
        let Some(value) = self.rows.value(&Key::Due(endpoint, generation, due, seq, keys::SCHEDULED))? else {
            return Ok(None);
        };
        let found = rows::due(id, generation, due, keys::SCHEDULED, &value)?;
        Ok(Some(found).filter(|found| found.life == at.life))
    }

    /// When the first attempt of a life that is given up was made: who made the last one may not know it any more.
    fn first_attempt_at(&mut self, of: &Delivery, dead: &DeadLetter) -> Result<Option<Timestamp>, StoreError> {
        if dead.first_attempt_at.is_some() || of.attempts == 0 {
            return Ok(dead.first_attempt_at);
        }
        let stored = self.rows.value(&Key::Attempt(of.id, of.life, AttemptNumber(1), of.event))?;
        Ok(stored.as_deref().map(rows::attempt_row).transpose()?.map(|first| first.started))
    }

    /// What followed from the last scheduled attempt of a life.
    fn after_last_scheduled(&self, of: &Delivery) -> Result<Option<Then>, StoreError> {
        let from = Key::Attempt(of.id, of.life, keys::SCHEDULED, of.event);
        let to = Key::Attempt(of.id, of.life, AttemptNumber::manual(0), of.event);
        let partition: Partition = from.partition();
        let found = self.rows.scan(partition, &from.bytes(), &to.bytes(), std::num::NonZeroUsize::MAX)?;
        Ok(found.last().map(|(_, value)| rows::attempt_row(value)).transpose()?.map(|row| row.then))
    }
}

/// The attempt that needs no index: those of an endpoint lie in the order of their deliveries.
const FIRST: (Life, AttemptNumber) = (Life::FIRST, AttemptNumber(1));
