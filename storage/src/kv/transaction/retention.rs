//! What of an event is forgotten and what is kept: its payload before its time, and the events of a week that is to be
//! dropped whole, if dead letters or later lives need them.
//!
//! Each of those has a row that says so, so that nothing else is looked at when a week goes.

use std::{num::NonZeroUsize, sync::Arc};

use bytes::Bytes;
use postrider_core::{
    ApplicationId, AttemptPlace, Delivery, DeliveryId, EXPUNGED, Effect, EndpointId, EventId, Life, More, Refused, Week,
};

use super::{Rescue, Stop, Transaction};
use crate::{
    Responses, StoreError, StoreErrorKind,
    kv::{
        Partition,
        keys::{self, ID_BYTES, Key, table, week},
        rows::{self, EventHead, NeededBy, NeededRow},
    },
};

impl Transaction<'_> {
    /// The row of an event, wherever it lies.
    pub(super) fn event(&mut self, owner: ApplicationId, event: EventId) -> Result<Option<Bytes>, StoreError> {
        match self.rows.value(&Key::Event(owner, event))? {
            Some(stored) => Ok(Some(stored)),
            None => self.rows.value(&Key::Kept(owner, event)),
        }
    }

    /// What is asked of an event, read once for all of a group that ask one after another.
    pub(super) fn head(&mut self, owner: ApplicationId, event: EventId) -> Result<Option<Arc<EventHead>>, StoreError> {
        if let Some((of, head)) = &self.head
            && *of == (owner, event)
        {
            return Ok(Some(Arc::clone(head)));
        }
        let Some(stored) = self.event(owner, event)? else { return Ok(None) };
        let head = Arc::new(EventHead::of(&stored)?);
        self.head = Some(((owner, event), Arc::clone(&head)));
        Ok(Some(head))
    }

    /// A dead letter or a later life of this delivery needs its event, also when its week is forgotten.
    pub(super) fn is_needed(&mut self, owner: ApplicationId, of: &Delivery, by: NeededBy) -> Result<(), StoreError> {
        self.rows.put(&Key::Needed(of.event, of.id), &NeededRow { application: owner, by });
        // One that comes behind what was looked at already is put where it lasts at once.
        if self.is_going(of.event) { self.keep(owner, of.event) } else { Ok(()) }
    }

    /// Whether an event may be kept because this delivery waits: a later life, one that holds its lane, or one that began
    /// late. The last cannot be told from others by itself, and counts once its week goes: before that, a reason that is
    /// left behind is found to be none.
    pub(super) fn may_need(&self, of: &Delivery) -> bool {
        of.life > Life::FIRST || of.is_held() || self.is_gone(of.event) || self.is_going(of.event)
    }

    /// It needs its event no more; nor does anybody else, maybe.
    pub(super) fn is_needed_no_more(&mut self, event: EventId, id: DeliveryId) -> Result<(), StoreError> {
        let key = Key::Needed(event, id);
        let before = self.needed(&key)?;
        self.rows.delete(&key);
        let Some(NeededRow { application, .. }) = before else { return Ok(()) };
        // Its week may be there again, with what was tried since: what is kept says whether it had gone.
        if self.rows.value(&Key::Kept(application, event))?.is_none() {
            return Ok(());
        }
        let prefix = keys::under(table::NEEDED, event.to_bytes());
        if self.rows.scan(Partition::LASTING, &prefix, &keys::end_of(&prefix), NonZeroUsize::MIN)?.is_empty() {
            self.rows.delete(&Key::Kept(application, event));
            let recipients = keys::under(table::RECIPIENTS, event.to_bytes());
            let kept =
                self.rows.scan(Partition::LASTING, &recipients, &keys::end_of(&recipients), NonZeroUsize::MAX)?;
            kept.iter().for_each(|(key, _)| self.rows.delete_found(Partition::LASTING, key));
        }
        Ok(())
    }

    /// Why an event is needed. A reason that makes no sense is none, and holds up nothing.
    fn needed(&mut self, key: &Key<'_>) -> Result<Option<NeededRow>, StoreError> {
        match self.rows.get(key) {
            Err(error) if error.kind() == StoreErrorKind::Corrupt => Ok(None),
            read => read,
        }
    }

    /// Looks at the next needed events of this week, and puts them where they last.
    pub(super) fn rescue(&mut self, week: Week, rows_max: NonZeroUsize) -> Result<Effect, Stop> {
        let begun = self.rescue.take().filter(|rescue| rescue.week == week);
        let mut rescue = begun.unwrap_or_else(|| Rescue { week, after: Vec::new() });
        let first = |week: Week| keys::under(table::NEEDED, keys::first_event(week.start()).to_bytes());
        let from = first(week).max(keys::after(&rescue.after));
        let to = first(Week(week.0.saturating_add(1)));
        let found = self.rows.scan(Partition::LASTING, &from, &to, rows_max)?;
        for (key, value) in &found {
            let row = keys::needed(key).zip(crate::kv::codec::decode::<NeededRow>(value).ok());
            // One that makes no sense names nothing that could be kept.
            let Some(((event, id), NeededRow { application, by })) = row else { continue };
            // What cannot be read counts: it is a person's to look at, and holds up no week.
            let is_needed = match by {
                NeededBy::Letter => self.rows.value(&Key::DeadLetter(id))?.is_some(),
                NeededBy::Life => match self.still_waits(application, event, id) {
                    Err(error) if error.kind() == StoreErrorKind::Corrupt => true,
                    looked => looked?,
                },
            };
            if is_needed {
                self.keep(application, event)?;
            } else {
                self.is_needed_no_more(event, id)?;
            }
        }
        let more = if found.len() == rows_max.get() { More::Yes } else { More::No };
        // Until the week is dropped, what comes is kept at once.
        rescue.after = found.last().map_or(rescue.after, |(key, _)| key.to_vec());
        *self.rescue = Some(rescue);
        Ok(Effect::Purged(more))
    }

    /// Whether the current life of an event at an endpoint is this one, and waits, or holds its lane.
    fn still_waits(&mut self, owner: ApplicationId, event: EventId, id: DeliveryId) -> Result<bool, StoreError> {
        let Some(head) = self.head(owner, event)? else { return Ok(false) };
        let Some(life) = self.current_life(&head, id.endpoint)? else { return Ok(false) };
        Ok(life.seq == id.seq && self.is_waiting(&head, &life)?)
    }

    pub(super) fn expunge(&mut self, owner: ApplicationId, event: EventId) -> Result<Effect, Stop> {
        if self.event(owner, event)?.is_none() {
            return Err(Refused::NoEvent.into());
        }
        self.head = None;
        for key in [Key::Event(owner, event), Key::Kept(owner, event)] {
            if let Some(stored) = self.rows.value(&key)? {
                let (row, more, _) = rows::event_row(&stored)?;
                self.rows.put_with(&key, |value| rows::encode_expunged(&row, more, value));
            }
        }
        Ok(Effect::Done)
    }

    pub(super) fn expunge_response(&mut self, place: &AttemptPlace) -> Result<Effect, Stop> {
        let AttemptPlace { delivery, life, number, event } = *place;
        let key = Key::Attempt(delivery, life, number, event);
        let stored = self.rows.value(&key)?.ok_or(Refused::NoEvent)?;
        let (mut attempt, _) = rows::decode_attempt(number, &stored, Responses::Read)?;
        attempt.response = EXPUNGED.into();
        self.rows.put_with(&key, |value| rows::encode_attempt(event, &attempt, value));
        Ok(Effect::Done)
    }

    /// Its week is forgotten.
    fn is_gone(&self, event: EventId) -> bool {
        !self.partitions.contains(&week(event.time()))
    }

    fn is_going(&self, event: EventId) -> bool {
        self.rescue.as_ref().is_some_and(|rescue| rescue.week == Week::of(event.time()))
    }

    fn keep(&mut self, owner: ApplicationId, event: EventId) -> Result<(), StoreError> {
        let kept = Key::Kept(owner, event);
        if self.rows.value(&kept)?.is_none()
            && let Some(stored) = self.rows.value(&Key::Event(owner, event))?
        {
            self.rows.put_with(&kept, |value| value.extend_from_slice(&stored));
            let of = Key::Recipients(event, EndpointId::from_bytes([0; ID_BYTES]));
            let recipients = keys::under(table::RECIPIENTS, event.to_bytes());
            let found = self.rows.scan(of.partition(), &recipients, &keys::end_of(&recipients), NonZeroUsize::MAX)?;
            for (key, some) in found {
                if let Some(last) = key.last_chunk().copied().map(EndpointId::from_bytes) {
                    let kept = Key::KeptRecipients(event, last);
                    self.rows.put_with(&kept, |value| value.extend_from_slice(&some));
                }
            }
        }
        Ok(())
    }
}
