//! How an event stands at its endpoints: which life is current, what was tried in it, and what became of it.

use std::{num::NonZeroUsize, ops::ControlFlow};

use postrider_core::{
    ApplicationId, AttemptId, AttemptNumber, Delivery, DeliveryId, Endpoint, EndpointId, EventId, Life, Then, Timestamp,
};

use super::{
    View,
    pages::{Gathered, Met, direction},
    stations::Stations,
};
use crate::{
    DeliveryRecord, DeliveryState, Page, PageRequest, Responses, Routed, StoreError,
    kv::{
        Direction, Partition, codec,
        keys::{self, Key, table},
        rows::{self, BegunBy, EndRow, EventRow, LifeRow, RecipientRow},
    },
};

/// Rows that are looked at for a try by hand.
const LOOKED_AT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);

/// Which lives of an event at an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) enum LivesAt {
    All,
    Last,
}

/// What was tried in a life.
#[derive(Default)]
struct TriedIn {
    count: usize,
    by_hand: u32,
    is_delivered: bool,
    /// What followed from the last attempt by the schedule.
    then: Option<Then>,
    last: Option<(Timestamp, AttemptId, AttemptNumber)>,
}

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
        page: &PageRequest<EndpointId>,
    ) -> Result<Page<DeliveryRecord, EndpointId>, StoreError> {
        let (direction, beyond) = (direction(true, &page.part), page.part.place().copied());
        let mut gathered = Gathered::new(page.limit);
        let Some(mut stations) = Stations::of(self, (owner, event), direction, beyond)? else {
            return Ok(Page::default());
        };
        while let Some((endpoint, lives)) = stations.next()? {
            let Some(current) = lives.last() else { continue };
            if !gathered.has_room() {
                gathered.end_early();
                break;
            }
            gathered.take(endpoint, Met::Wanted(self.record(event, current)?));
        }
        Ok(gathered.page(&page.part))
    }

    pub(in crate::kv) fn delivery(
        self,
        owner: ApplicationId,
        event: EventId,
        endpoint: EndpointId,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        let current = self.lives_at((owner, event), endpoint, LivesAt::Last)?.pop();
        current.map(|life| self.record(event, &life)).transpose()
    }

    /// The lives of an event at one endpoint, first to last; none if it never was there.
    pub(super) fn lives_at(
        self,
        (owner, event): (ApplicationId, EventId),
        endpoint: EndpointId,
        which: LivesAt,
    ) -> Result<Vec<LifeRow>, StoreError> {
        let Some(value) = self.event_value(owner, event)? else { return Ok(Vec::new()) };
        let (row, more, _) = rows::event_row(&value)?;
        let first = Key::Life(event, endpoint, Life(0));
        let from = first.bytes();
        let to = keys::end_of(&from[..from.len() - size_of::<Life>()]);
        let (direction, limit) = match which {
            LivesAt::All => (Direction::Forward, NonZeroUsize::MAX),
            LivesAt::Last => (Direction::Backward, NonZeroUsize::MIN),
        };
        let later = self.directed(first.partition(), &from, &to, direction, limit)?;
        let mut lives = later.iter().map(|(_, value)| codec::decode(value)).collect::<Result<Vec<LifeRow>, _>>()?;
        let has_first = match which {
            LivesAt::All => lives.first().is_some_and(|life| life.life == Life::FIRST),
            LivesAt::Last => !lives.is_empty(),
        };
        if !has_first && let Some(recipient) = self.recipient(&row, endpoint)? {
            lives.insert(0, LifeRow::first(&recipient, row.seq, more.marks.priority()));
        }
        Ok(lives)
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

    fn record(self, event: EventId, life: &LifeRow) -> Result<DeliveryRecord, StoreError> {
        let id = DeliveryId { endpoint: life.endpoint, seq: life.seq };
        let tried = self.tried(id, event, life.life)?;
        let row = if tried.is_delivered { None } else { self.pending(life, tried.then)? };
        let (held, pending) = match row {
            Some(row) if row.is_held() => (Some(row), None),
            row => (None, row),
        };
        let state = match (tried.is_delivered, pending, &held) {
            (true, ..) => DeliveryState::Delivered,
            (false, Some(pending), _) => DeliveryState::Pending(pending),
            (false, None, held) => self.ended(id, event, life, tried.then, held.is_some())?,
        };
        let by_hand = self.by_hand(id, event, life, tried.by_hand)?;
        let last = match tried.last {
            Some((_, _, number)) => self.attempt_at(id, life.life, number, event, Responses::LeftOut)?,
            None => None,
        };
        let last = last.map(|record| record.attempt);
        Ok(DeliveryRecord { id, event, life: life.life, attempts: tried.count, last, state, held, by_hand })
    }

    fn tried(self, id: DeliveryId, event: EventId, life: Life) -> Result<TriedIn, StoreError> {
        let mut tried = TriedIn::default();
        let _all_are_seen = self.each_attempt(id, event, Some(life), |(_, _, number), row| {
            tried.count += 1;
            tried.is_delivered |= row.then == Then::Delivered;
            if number.is_manual() {
                tried.by_hand += 1;
            } else {
                tried.then = Some(row.then);
            }
            tried.last = tried.last.max(Some((row.started, row.id, number)));
            ControlFlow::Continue(())
        })?;
        Ok(tried)
    }

    /// The first try by hand that was not made yet, among those that wait for a time; it was asked for after the event came.
    fn by_hand(
        self,
        id: DeliveryId,
        event: EventId,
        life: &LifeRow,
        made: u32,
    ) -> Result<Option<Delivery>, StoreError> {
        if made >= life.manuals || !self.is_current(id.endpoint, life.generation)? {
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
