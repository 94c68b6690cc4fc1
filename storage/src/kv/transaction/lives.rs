//! What a person asks for after the end: the next life, one more try, or nothing any more.

use std::{num::NonZeroUsize, time::Duration};

use postrider_core::{
    AttemptNumber, DeadLetter, Delivery, DeliveryId, Effect, EndpointId, EventId, Generation, LaneId, Life,
    OrderingMode, Place, Refused, Resend, Seq, Timestamp,
};

use super::{Stop, Transaction};
use crate::{
    StoreError,
    kv::{
        Partition, codec,
        keys::{self, Key, table},
        rows::{self, BegunBy, EventHead, LifeRow, NeededBy, QueueRow, RecipientRow},
    },
};

impl Transaction<'_> {
    pub(super) fn redrive(&mut self, id: DeliveryId, at: Timestamp) -> Result<Effect, Stop> {
        let letter = self.letter(id)?.ok_or(Refused::NoDeadLetter)?;
        let queue = self.queue(id.endpoint)?.filter(|queue| letter.last.generation >= queue.kept_from);
        let queue = queue.ok_or(Refused::Generation)?;
        let next = match self.holding(&letter)? {
            Some(held) => {
                self.delete_delivery(&held)?;
                let (place, life) = (Place::Lane { due: None, held: false }, held.life.next());
                Delivery { place, attempts: 0, life, since: at, ..held }
            }
            None => self.at_the_end(&letter.last, &queue, at)?,
        };
        self.rows.delete(&Key::DeadLetter(id));
        self.is_needed(queue.application, &next, NeededBy::Life)?;
        if next.id != id {
            self.is_needed_no_more(next.event, id)?;
        }
        self.put_delivery(Some(queue.application), &next);
        self.put_life(&next, BegunBy::Schedule, 0);
        Ok(Effect::Queued(next))
    }

    /// The dead letter of this delivery.
    pub(super) fn letter(&mut self, id: DeliveryId) -> Result<Option<DeadLetter>, StoreError> {
        self.rows.value(&Key::DeadLetter(id))?.as_deref().map(rows::letter).transpose()
    }

    pub(super) fn forget(&mut self, id: DeliveryId) -> Result<Effect, Stop> {
        let letter = self.letter(id)?.ok_or(Refused::NoDeadLetter)?;
        self.rows.delete(&Key::DeadLetter(id));
        match (self.holding(&letter)?, self.queue(id.endpoint)?) {
            // It still holds its lane: whoever calls it off finds it by its event.
            (Some(held), Some(queue)) => self.is_needed(queue.application, &held, NeededBy::Life)?,
            (Some(_) | None, _) => self.is_needed_no_more(letter.last.event, id)?,
        }
        Ok(Effect::Done)
    }

    pub(super) fn resend(&mut self, resend: &Resend) -> Result<Effect, Stop> {
        let Resend { application, event, endpoint, generation, at, limit, tries_max } = *resend;
        let queue = self.queue(endpoint)?.filter(|queue| queue.generation == generation);
        queue.ok_or(Refused::Generation)?;
        let row = self.head(application, event)?.filter(|head| !head.is_expunged).ok_or(Refused::NoEvent)?;
        let life = match self.current_life(&row, endpoint)? {
            Some(life) => life,
            None => LifeRow {
                endpoint,
                life: Life::FIRST,
                seq: self.draw_seq(),
                generation,
                lane: LaneId::WHOLE,
                begun_by: BegunBy::Hand,
                manuals: 0,
            },
        };
        if life.manuals >= tries_max.get() {
            return Err(Refused::TriesUsedUp.into());
        }
        if self.counts.is_full(endpoint, generation, limit) {
            return Err(Refused::QueueFull(endpoint).into());
        }
        let life = LifeRow { manuals: life.manuals.saturating_add(1), ..life };
        let at = self.free_time(DeliveryId { endpoint, seq: life.seq }, generation, at)?;
        let manual = Delivery {
            id: DeliveryId { endpoint, seq: life.seq },
            event,
            generation,
            lane: life.lane,
            place: Place::Manual { at, number: AttemptNumber::manual(life.manuals) },
            attempts: 0,
            life: life.life,
            // It is as old as the wish for it, however old the event is.
            since: at,
            bytes: row.bytes,
            priority: row.priority,
        };
        self.rows.put(&Key::Life(event, endpoint, life.life), &life);
        self.put_delivery(Some(application), &manual);
        Ok(Effect::Queued(manual))
    }

    /// This time, or a nanosecond or so later: machines tell the manual tries of one position apart by their times.
    fn free_time(
        &mut self,
        of: DeliveryId,
        generation: Generation,
        mut at: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        loop {
            let first = Key::Due(of.endpoint, generation, at, of.seq, AttemptNumber(1)).bytes();
            let last = Key::Due(of.endpoint, generation, at, of.seq, AttemptNumber(u32::MAX)).bytes();
            let taken = self.rows.scan(Partition::LASTING, &first, &keys::after(&last), NonZeroUsize::MIN)?;
            if taken.is_empty() {
                return Ok(at);
            }
            at = at + Duration::from_nanos(1);
        }
    }

    /// The row with which a delivery that was given up holds its lane, if it does.
    fn holding(&mut self, letter: &DeadLetter) -> Result<Option<Delivery>, StoreError> {
        let last = &letter.last;
        if !last.is_held() {
            return Ok(None);
        }
        let Some(stored) = self.rows.value(&Key::of(last))? else { return Ok(None) };
        let held = rows::ready(last.id, last.generation, last.lane, &stored)?;
        Ok(Some(held).filter(|held| held.is_held() && held.life == last.life))
    }

    /// The next life of a delivery, behind everything that waits, where the endpoint's ordering says now.
    pub(super) fn at_the_end(
        &mut self,
        last: &Delivery,
        queue: &QueueRow,
        at: Timestamp,
    ) -> Result<Delivery, StoreError> {
        let seq = self.draw_seq();
        let in_lane = Place::Lane { due: None, held: false };
        let (lane, place) = match queue.ordering {
            OrderingMode::Concurrent => (LaneId::unordered(last.priority), Place::Ready),
            OrderingMode::Fifo(_) => (LaneId::WHOLE, in_lane),
            OrderingMode::PerKey(_) if last.lane.is_keyed() => (last.lane, in_lane),
            OrderingMode::PerKey(_) => (self.lane_of(queue, last.event, seq)?, in_lane),
        };
        let id = DeliveryId { endpoint: last.id.endpoint, seq };
        let Delivery { event, bytes, life, priority, .. } = *last;
        let generation: Generation = queue.generation;
        Ok(Delivery { id, event, generation, lane, place, attempts: 0, life: life.next(), since: at, bytes, priority })
    }

    /// The lane of an event whose endpoint did not order by key before.
    fn lane_of(&mut self, queue: &QueueRow, event: EventId, seq: Seq) -> Result<LaneId, StoreError> {
        let alone = LaneId::alone(seq);
        let Some(head) = self.head(queue.application, event)? else { return Ok(alone) };
        Ok(head.ordering_key.as_ref().map_or(alone, LaneId::of))
    }

    pub(super) fn put_life(&mut self, of: &Delivery, begun_by: BegunBy, manuals: u32) {
        let Delivery { id: DeliveryId { endpoint, seq }, event, generation, lane, life, .. } = *of;
        let row = LifeRow { endpoint, life, seq, generation, lane, begun_by, manuals };
        self.rows.put(&Key::Life(event, endpoint, life), &row);
    }

    /// The latest life of an event at an endpoint, if it had any.
    pub(super) fn current_life(&self, event: &EventHead, endpoint: EndpointId) -> Result<Option<LifeRow>, StoreError> {
        let first = Key::Life(event.id, endpoint, Life(0));
        let (partition, from) = (first.partition(), first.bytes());
        let to = keys::end_of(&from[..from.len() - size_of::<u32>()]);
        if let Some((_, value)) = self.rows.scan(partition, &from, &to, NonZeroUsize::MAX)?.last() {
            return codec::decode(value).map(Some);
        }
        let recipient = self.recipient(event, endpoint)?;
        Ok(recipient.map(|recipient| LifeRow::first(&recipient, event.seq, event.priority)))
    }

    /// The recipient of an event at one endpoint, however many there are.
    fn recipient(&self, event: &EventHead, at: EndpointId) -> Result<Option<RecipientRow>, StoreError> {
        let (inside, is_all) = event.recipient(at);
        if is_all {
            return Ok(inside);
        }
        let end = keys::end_of(&keys::under(table::RECIPIENTS, event.id.to_bytes()));
        for key in [Key::Recipients(event.id, at), Key::KeptRecipients(event.id, at)] {
            if let Some((_, value)) = self.rows.scan(key.partition(), &key.bytes(), &end, NonZeroUsize::MIN)?.first() {
                return Ok(rows::recipient(&codec::decode::<Vec<_>>(value)?, at));
            }
        }
        Ok(None)
    }
}
