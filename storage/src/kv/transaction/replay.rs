//! An event once more in a queue: the first life it never had there, or the next one.

use postrider_core::{Delivery, DeliveryId, Effect, LaneId, Life, Place, Refused, Replay, ReplayTo};

use super::{Stop, Transaction};
use crate::{
    StoreError,
    kv::{
        keys::Key,
        rows::{BegunBy, EventHead, LifeRow, NeededBy},
    },
};

impl Transaction<'_> {
    pub(super) fn replay(&mut self, replay: &Replay) -> Result<Effect, Stop> {
        let Replay { application, event, endpoint, generation, at, whom, limit } = *replay;
        let queue = self.queue(endpoint)?.filter(|queue| queue.generation == generation).ok_or(Refused::Generation)?;
        let Some(row) = self.head(application, event)?.filter(|head| !head.is_expunged) else {
            return Ok(Effect::Done);
        };
        let before = self.current_life(&row, endpoint)?;
        let is_wanted = match (&before, whom) {
            (None, _) => true,
            (Some(_), ReplayTo::Missing) => false,
            (Some(life), ReplayTo::All) => !self.is_waiting(&row, life)?,
        };
        if !is_wanted {
            return Ok(Effect::Done);
        }
        let last = Delivery {
            id: DeliveryId { endpoint, seq: before.as_ref().map_or(row.seq, |life| life.seq) },
            event,
            generation,
            lane: LaneId::WHOLE,
            place: Place::Ready,
            attempts: 0,
            life: before.as_ref().map_or(Life(0), |life| life.life),
            since: at,
            bytes: row.bytes,
            priority: row.priority,
        };
        let next = self.at_the_end(&last, &queue, at)?;
        if before.is_some() && self.rows.value(&Key::DeadLetter(last.id))?.is_some() {
            self.rows.delete(&Key::DeadLetter(last.id));
            self.is_needed_no_more(event, last.id)?;
        }
        if limit.is_some_and(|limit| self.counts.is_full(endpoint, generation, limit)) {
            self.put_life(&next, BegunBy::Schedule, 0);
            self.put_dead(application, next.clone(), at)?;
            return Ok(Effect::Dead(next));
        }
        if next.life > Life::FIRST || row.accepted_at < at {
            // A first life that begins late is as old as its event to whoever forgets that by its week.
            self.is_needed(application, &next, NeededBy::Life)?;
        }
        self.put_delivery(Some(application), &next);
        self.put_life(&next, BegunBy::Schedule, 0);
        Ok(Effect::Queued(next))
    }

    /// Whether a life waits in the queue as it is, also as one that holds its lane.
    pub(super) fn is_waiting(&mut self, event: &EventHead, at: &LifeRow) -> Result<bool, StoreError> {
        let LifeRow { endpoint, seq, generation, lane, life, .. } = *at;
        if self.queue(endpoint)?.is_none_or(|queue| queue.generation != generation) {
            return Ok(false);
        }
        let id = DeliveryId { endpoint, seq };
        let (place, since, priority) = (Place::Ready, event.accepted_at, event.priority);
        let (event, attempts, bytes) = (event.id, 0, 0);
        let of = Delivery { id, event, generation, lane, place, attempts, life, since, bytes, priority };
        Ok(self.scheduled(&of, at)?.is_some())
    }
}
