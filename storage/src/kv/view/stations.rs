//! The endpoints that have or had an event, one after another in the order of their ids, with its lives at each: some of
//! them are read at a time, however many there are.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroUsize,
};

use postrider_core::{ApplicationId, EndpointId, EventId, Life, Priority, Seq};

use super::{View, pages::cut};
use crate::{
    StoreError,
    kv::{
        Direction, Partition, codec,
        keys::{self, Key, table},
        rows::{self, LifeRow, RecipientRow},
    },
};

/// Lives read at once.
const LIVES_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

/// Those of one event.
pub(super) struct Stations<'a> {
    view: View<'a>,
    direction: Direction,
    seq: Seq,
    priority: Priority,
    recipients: VecDeque<RecipientRow>,
    /// Where more recipients lie, in rows of their own.
    more_recipients: Option<(Partition, KeyRange)>,
    lives: VecDeque<LifeRow>,
    more_lives: Option<(Partition, KeyRange)>,
}

type KeyRange = (Vec<u8>, Vec<u8>);

/// An endpoint, and every life of an event there, first to last; there is at least one.
pub(super) type Station = (EndpointId, Vec<LifeRow>);

impl<'a> Stations<'a> {
    /// Those beyond an endpoint in this direction, or all; none if there is no such event.
    pub(super) fn of(
        view: View<'a>,
        (owner, event): (ApplicationId, EventId),
        direction: Direction,
        beyond: Option<EndpointId>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(value) = view.event_value(owner, event)? else { return Ok(None) };
        let (row, more, _) = rows::event_row(&value)?;
        let life = Key::Life(event, EndpointId::from_bytes([0; keys::ID_BYTES]), Life(0));
        let mut lives = whole(table::LIFE, event);
        if let Some(place) = beyond {
            let there = [&keys::under(table::LIFE, event.to_bytes())[..], &place.to_bytes()].concat();
            match direction {
                Direction::Forward => lives.0 = keys::end_of(&there),
                Direction::Backward => lives.1 = there,
            }
        }
        let mut stations = Self {
            view,
            direction,
            seq: row.seq,
            priority: more.marks.priority(),
            recipients: row.recipients.iter().copied().collect(),
            more_recipients: None,
            lives: VecDeque::new(),
            more_lives: Some((life.partition(), lives)),
        };
        if row.recipients.is_empty() {
            stations.look_outside(event, beyond)?;
        }
        stations.keep_beyond(beyond);
        Ok(Some(stations))
    }

    /// The next endpoint.
    pub(super) fn next(&mut self) -> Result<Option<Station>, StoreError> {
        self.read_recipients()?;
        self.read_lives()?;
        let first = self.recipients.front().map(|recipient| recipient.endpoint);
        let tried = self.lives.front().map(|life| life.endpoint);
        let at = match self.direction {
            Direction::Forward => first.into_iter().chain(tried).min(),
            Direction::Backward => first.max(tried),
        };
        let Some(at) = at else { return Ok(None) };
        let mut lives = BTreeMap::new();
        if first == Some(at)
            && let Some(recipient) = self.recipients.pop_front()
        {
            lives.insert(Life::FIRST, LifeRow::first(&recipient, self.seq, self.priority));
        }
        while self.lives.front().is_some_and(|life| life.endpoint == at) {
            lives.extend(self.lives.pop_front().map(|life| (life.life, life)));
            self.read_lives()?;
        }
        Ok(Some((at, lives.into_values().collect())))
    }

    /// Recipients that are many lie in rows of their own, each named by the last of them: in the week of the event, or
    /// where that was rescued to.
    fn look_outside(&mut self, event: EventId, beyond: Option<EndpointId>) -> Result<(), StoreError> {
        let all = whole(table::RECIPIENTS, event);
        for partition in [keys::week(event.time()), Partition::LASTING] {
            if self.view.scan(partition, &all.0, &all.1, NonZeroUsize::MIN)?.is_empty() {
                continue;
            }
            let mut range = all;
            if let Some(place) = beyond {
                // In the row in which the place lies, some come before it and some behind it.
                let from = Key::Recipients(event, place).bytes();
                let around = self.view.scan(partition, &from, &range.1, NonZeroUsize::MIN)?;
                match (around.first(), self.direction) {
                    (Some((key, row)), direction) => {
                        self.recipients = codec::decode(row)?;
                        cut(&mut range, direction, key);
                    }
                    (None, Direction::Forward) => range.0 = from,
                    (None, Direction::Backward) => {}
                }
            }
            self.more_recipients = Some((partition, range));
            break;
        }
        Ok(())
    }

    fn read_recipients(&mut self) -> Result<(), StoreError> {
        while self.recipients.is_empty() {
            let Some((partition, mut range)) = self.more_recipients.take() else { break };
            let rows = self.view.directed(partition, &range.0, &range.1, self.direction, NonZeroUsize::MIN)?;
            let Some((key, row)) = rows.first() else { break };
            cut(&mut range, self.direction, key);
            self.recipients = codec::decode(row)?;
            self.in_order();
            self.more_recipients = Some((partition, range));
        }
        Ok(())
    }

    fn read_lives(&mut self) -> Result<(), StoreError> {
        if !self.lives.is_empty() {
            return Ok(());
        }
        let Some((partition, mut range)) = self.more_lives.take() else { return Ok(()) };
        let rows = self.view.directed(partition, &range.0, &range.1, self.direction, LIVES_AT_ONCE)?;
        self.lives = rows.iter().map(|(_, value)| codec::decode(value)).collect::<Result<_, _>>()?;
        if let Some((last, _)) = rows.last().filter(|_| rows.len() == LIVES_AT_ONCE.get()) {
            cut(&mut range, self.direction, last);
            self.more_lives = Some((partition, range));
        }
        Ok(())
    }

    fn keep_beyond(&mut self, place: Option<EndpointId>) {
        self.in_order();
        let Some(place) = place else { return };
        let direction = self.direction;
        self.recipients.retain(|recipient| match direction {
            Direction::Forward => place < recipient.endpoint,
            Direction::Backward => recipient.endpoint < place,
        });
    }

    fn in_order(&mut self) {
        let recipients = self.recipients.make_contiguous();
        recipients.sort_unstable_by_key(|recipient| recipient.endpoint);
        match self.direction {
            Direction::Forward => {}
            Direction::Backward => recipients.reverse(),
        }
    }
}

/// All rows of a table about an event.
fn whole(table: u8, event: EventId) -> KeyRange {
    let prefix = keys::under(table, event.to_bytes());
    let end = keys::end_of(&prefix);
    (prefix, end)
}
