//! How an event stands at its endpoints: which life is current, what was tried in it, and what became of it.

use std::{collections::BTreeMap, num::NonZeroUsize};

use postrider_core::{ApplicationId, Attempt, Delivery, DeliveryId, Endpoint, EndpointId, EventId, Life, Then};

use super::View;
use crate::{
    DeliveryRecord, DeliveryState, Routed, StoreError,
    kv::{
        Partition, codec,
        keys::{self, Key, table},
        rows::{self, BegunBy, EndRow, EventRow, LifeRow, RecipientRow},
    },
};

/// Rows that are looked at for a try by hand.
const LOOKED_AT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);

impl View<'_> {
    pub(in crate::kv) fn application(self, id: ApplicationId) -> Result<Option<Routed>, StoreError> {
        let Some(value) = self.value(&Key::Application(id))? else { return Ok(None) };
        let application = rows::application(&value)?;
        Ok(Some(Routed { application, routing: self.get(&Key::Routing(id))?.unwrap_or_default() }))
    }

    pub(in crate::kv) fn endpoint(self, id: EndpointId) -> Result<Option<Endpoint>, StoreError> {
        self.value(&Key::Endpoint(id))?.map(|value| rows::endpoint(&value)).transpose()
    }

    pub(in crate::kv) fn deliveries(
        self,
        owner: ApplicationId,
        event: EventId,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        // Lives come in their order: the last of each endpoint stays.
        let lives = self.lives(owner, event)?.into_iter().map(|life| (life.endpoint, life));
        let current: BTreeMap<_, _> = lives.collect();
        current.into_values().map(|life| self.record(event, &life)).collect()
    }

    pub(in crate::kv) fn delivery(
        self,
        owner: ApplicationId,
        event: EventId,
        endpoint: EndpointId,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        let Some(value) = self.event_value(owner, event)? else { return Ok(None) };
        let (row, more, _) = rows::event_row(&value)?;
        let first = Key::Life(event, endpoint, Life(0));
        let from = first.bytes();
        let to = keys::end_of(&from[..from.len() - size_of::<Life>()]);
        let later = self.scan(first.partition(), &from, &to, NonZeroUsize::MAX)?;
        let current = match later.last() {
            Some((_, value)) => Some(codec::decode(value)?),
            None => {
                let recipient = self.recipient(&row, endpoint)?;
                recipient.map(|recipient| LifeRow::first(&recipient, row.seq, more.marks.priority()))
            }
        };
        current.map(|life| self.record(event, &life)).transpose()
    }

    /// Everyone for whom an event was published.
    fn recipients(self, event: &EventRow<'_>) -> Result<Vec<RecipientRow>, StoreError> {
        if !event.recipients.is_empty() {
            return Ok(event.recipients.clone());
        }
        let prefix = keys::under(table::RECIPIENTS, event.id.to_bytes());
        let mut all = Vec::new();
        for partition in [keys::week(event.id.time()), Partition::LASTING] {
            for (_, value) in self.scan(partition, &prefix, &keys::end_of(&prefix), NonZeroUsize::MAX)? {
                all.extend(codec::decode::<Vec<RecipientRow>>(&value)?);
            }
            if !all.is_empty() {
                break;
            }
        }
        Ok(all)
    }

    /// The recipient at one endpoint, however many there are.
    fn recipient(self, event: &EventRow<'_>, at: EndpointId) -> Result<Option<RecipientRow>, StoreError> {
        if !event.recipients.is_empty() {
            return Ok(rows::recipient(&event.recipients, at));
        }
        let end = keys::end_of(&keys::under(table::RECIPIENTS, event.id.to_bytes()));
        for key in [Key::Recipients(event.id, at), Key::KeptRecipients(event.id, at)] {
            if let Some((_, value)) = self.scan(key.partition(), &key.bytes(), &end, NonZeroUsize::MIN)?.first() {
                return Ok(rows::recipient(&codec::decode::<Vec<_>>(value)?, at));
            }
        }
        Ok(None)
    }

    /// Every life of an event: those that publishing began, and those that have a row of their own, by endpoint and life.
    pub(super) fn lives(self, owner: ApplicationId, event: EventId) -> Result<Vec<LifeRow>, StoreError> {
        let key = Key::Event(owner, event);
        let Some(value) = self.event_value(owner, event)? else { return Ok(Vec::new()) };
        let (row, more, _) = rows::event_row(&value)?;
        let priority = more.marks.priority();
        let recipients = self.recipients(&row)?;
        let first = recipients.iter().map(|recipient| LifeRow::first(recipient, row.seq, priority));
        let mut lives: BTreeMap<_, LifeRow> = first.map(|life| ((life.endpoint, life.life), life)).collect();
        let prefix = keys::under(table::LIFE, event.to_bytes());
        for (_, value) in self.scan(key.partition(), &prefix, &keys::end_of(&prefix), NonZeroUsize::MAX)? {
            let life: LifeRow = codec::decode(&value)?;
            lives.insert((life.endpoint, life.life), life);
        }
        Ok(lives.into_values().collect())
    }

    fn record(self, event: EventId, life: &LifeRow) -> Result<DeliveryRecord, StoreError> {
        let id = DeliveryId { endpoint: life.endpoint, seq: life.seq };
        let of_life = self.attempts_at(id, event)?.into_iter().filter(|record| record.life == life.life);
        let mut attempts: Vec<Attempt> = of_life.map(|record| record.attempt).collect();
        let is_delivered = attempts.iter().any(|attempt| attempt.then == Then::Delivered);
        let last = attempts.iter().rfind(|attempt| !attempt.number.is_manual()).map(|attempt| attempt.then);
        let row = if is_delivered { None } else { self.pending(life, last)? };
        let (held, pending) = match row {
            Some(row) if row.is_held() => (Some(row), None),
            row => (None, row),
        };
        let state = match (is_delivered, pending, &held) {
            (true, ..) => DeliveryState::Delivered,
            (false, Some(pending), _) => DeliveryState::Pending(pending),
            (false, None, held) => self.ended(id, event, life, last, held.is_some())?,
        };
        attempts.sort_by_key(|attempt| (attempt.started, attempt.id));
        let by_hand = self.by_hand(id, event, life, &attempts)?;
        Ok(DeliveryRecord { id, event, life: life.life, attempts, state, held, by_hand })
    }

    /// The first try by hand that was not made yet, among those that wait for a time; it was asked for after the event came.
    fn by_hand(
        self,
        id: DeliveryId,
        event: EventId,
        life: &LifeRow,
        attempts: &[Attempt],
    ) -> Result<Option<Delivery>, StoreError> {
        let made = attempts.iter().filter(|attempt| attempt.number.is_manual()).count();
        if made >= life.manuals as usize || !self.is_current(id.endpoint, life.generation)? {
            return Ok(None);
        }
        let prefix = keys::queue(table::DUE, id.endpoint, life.generation);
        let from = [&prefix[..], &event.time().as_nanos().to_be_bytes()].concat();
        let found = self.scan(Partition::LASTING, &from, &keys::end_of(&prefix), LOOKED_AT)?;
        for (key, value) in &found {
            let waiting = rows::decode_due(id.endpoint, life.generation, &key[prefix.len()..], value)?;
            if waiting.id == id && waiting.next_attempt().is_manual() {
                return Ok(Some(waiting));
            }
        }
        Ok(None)
    }

    /// How a life ended that is not delivered and does not wait.
    fn ended(
        self,
        id: DeliveryId,
        event: EventId,
        life: &LifeRow,
        last: Option<Then>,
        is_held: bool,
    ) -> Result<DeliveryState, StoreError> {
        match self.get::<EndRow>(&Key::End(id, life.life, event))? {
            Some(EndRow::Cancelled(at)) => return Ok(DeliveryState::Cancelled(at)),
            Some(EndRow::GaveUp { .. }) => return self.given_up(id, life),
            None => {}
        }
        match (last, life.begun_by) {
            (Some(Then::GivenUp(_)), _) => self.given_up(id, life),
            (_, BegunBy::Hand) => Ok(DeliveryState::Manual),
            // What was tried went with its week. It was given up if its letter stayed, or it holds its lane.
            (Some(Then::RetryAt(_) | Then::Nothing | Then::Delivered) | None, BegunBy::Schedule) => {
                Ok(match self.given_up(id, life)? {
                    DeliveryState::GivenUp(None) if !is_held => DeliveryState::CutOff,
                    given_up => given_up,
                })
            }
        }
    }

    fn given_up(self, id: DeliveryId, life: &LifeRow) -> Result<DeliveryState, StoreError> {
        let letter = self.dead_letter(id)?;
        Ok(DeliveryState::GivenUp(letter.filter(|letter| letter.last.life == life.life)))
    }

    /// The row in which a life waits, unless its queue was cut off.
    fn pending(self, life: &LifeRow, last: Option<Then>) -> Result<Option<Delivery>, StoreError> {
        let LifeRow { endpoint, seq, generation, lane, .. } = *life;
        if !self.is_current(endpoint, generation)? {
            return Ok(None);
        }
        let id = DeliveryId { endpoint, seq };
        if let Some(value) = self.value(&Key::Ready(endpoint, generation, lane, seq))? {
            return rows::ready(id, generation, lane, &value).map(Some);
        }
        let Some(Then::RetryAt(due)) = last else { return Ok(None) };
        let value = self.value(&Key::Due(endpoint, generation, due, seq, keys::SCHEDULED))?;
        value.map(|value| rows::due(id, generation, due, keys::SCHEDULED, &value)).transpose()
    }
}
