//! Moves what waits for a time, when the clock that named it is found to have run ahead: a piece at a time.
//!
//! What was written last by then tells how far ahead the clock was, so a retry comes within its delay after that is
//! found. Positions and ids follow one another whatever the clock says, and need no care here.

use std::{num::NonZeroUsize, time::Duration};

use postrider_core::{
    Attempt, AttemptNumber, Delivery, Effect, EndpointId, Generation, LaneId, More, OrderingMode, Place, Step, Then,
    Timestamp, Transition,
};
use tracing::{error, warn};

use super::{Stop, Transaction};
use crate::{
    Responses, StoreError, StoreErrorKind,
    kv::{
        Partition, codec,
        codec::corrupt,
        keys::{self, Key, meta, table},
        rows::{self, QueueRow, SetBackRow},
    },
};

/// The latest time is written down when it has gone on by this much: a row more, but not with every commit.
const MARK_EVERY: Duration = Duration::from_secs(10);

/// Where times wait, in the order of the tables: the last key that was looked at says where to go on.
const TABLES: [u8; 4] = [table::DUE, table::QUEUE, table::SOFT, table::WAKE];

impl Transaction<'_> {
    /// Takes note of the time. If rows were written by a clock that was ahead of it, those that wait for a later time
    /// are moved back by as much, at most so many now.
    pub(super) fn clock(&mut self, now: Timestamp, rows_max: NonZeroUsize) -> Result<Effect, Stop> {
        let begun = self.rows.get::<SetBackRow>(&Key::Meta(meta::SET_BACK))?;
        let mut set_back = match begun {
            Some(begun) => begun,
            None if now < self.given_out.latest => self.begin(now),
            None => {
                self.has_been(now);
                return Ok(Effect::Purged(More::No));
            }
        };
        let mut left = rows_max.get();
        for table in TABLES {
            let start = keys::all(table);
            let end = keys::end_of(&start);
            let from = start.max(keys::after(&set_back.after));
            let Some(limit) = NonZeroUsize::new(left) else { break };
            for (key, value) in self.rows.scan(Partition::LASTING, &from, &end, limit)? {
                match self.move_row(table, &key, &value, &set_back) {
                    Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                        error!(table = %char::from(table), %error, "row makes no sense and keeps its time");
                    }
                    moved => moved?,
                }
                left -= 1;
                set_back.after = key.to_vec();
            }
        }
        if left > 0 {
            self.rows.delete(&Key::Meta(meta::SET_BACK));
            return Ok(Effect::Purged(More::No));
        }
        self.rows.put(&Key::Meta(meta::SET_BACK), &set_back);
        Ok(Effect::Purged(More::Yes))
    }

    /// It is or was this late.
    pub(super) fn has_been(&mut self, at: Timestamp) {
        if at >= self.given_out.latest + MARK_EVERY {
            self.given_out.latest = at;
        }
    }

    /// When a step happened.
    pub(super) fn happened(&mut self, transition: &Transition) {
        match &transition.step {
            Step::Attempted(Attempt { started, took, .. }) => self.has_been(*started + *took),
            Step::Cancelled(at) => self.has_been(*at),
            Step::GaveUp => {}
        }
    }

    fn begin(&mut self, now: Timestamp) -> SetBackRow {
        // It was later by up to this much more than was written down.
        let by = self.given_out.latest.since(now) + MARK_EVERY;
        warn!(?by, "clock was set back since the store was written, what waits for a later time is moved");
        self.given_out.latest = now;
        SetBackRow { now, by, after: Vec::new() }
    }

    fn move_row(&mut self, table: u8, key: &[u8], value: &[u8], back: &SetBackRow) -> Result<(), StoreError> {
        let mut rest = keys::Suffix(key.get(1..).unwrap_or_default());
        let short = || corrupt("its key is cut short");
        match table {
            table::WAKE => {
                let (at, of) = keys::wake(key).ok_or_else(short)?;
                if let Some(moved) = back.moved(at) {
                    self.rows.delete(&Key::Wake(at, of));
                    self.rows.put(&Key::Wake(moved, of), &of);
                }
            }
            table::SOFT => {
                let of = EndpointId::from_bytes(rest.id().ok_or_else(short)?);
                let soft = rows::soft(value)?;
                let moved = soft.clone().with_times(|at| back.moved(at).unwrap_or(at));
                if moved != soft {
                    self.rows.put_with(&Key::Soft(of), |value| rows::encode_soft(&moved, value));
                }
            }
            table::QUEUE => {
                let of = EndpointId::from_bytes(rest.id().ok_or_else(short)?);
                self.move_first(of, codec::decode(value)?, back)?;
            }
            _ => {
                let of = EndpointId::from_bytes(rest.id().ok_or_else(short)?);
                let generation = Generation(rest.u32().ok_or_else(short)?);
                // What was cut off is purged from its first key to its last: none of it must come to lie behind that.
                if self.queue(of)?.is_some_and(|queue| queue.generation == generation) {
                    let waiting = rows::decode_due(of, generation, rest.0, value)?;
                    self.move_due(&waiting, back)?;
                }
            }
        }
        Ok(())
    }

    /// The whole queue as one lane has no row by time: its first delivery has the time in it.
    fn move_first(&mut self, of: EndpointId, queue: QueueRow, back: &SetBackRow) -> Result<(), StoreError> {
        match queue.ordering {
            OrderingMode::Concurrent | OrderingMode::PerKey(_) => return Ok(()),
            OrderingMode::Fifo(_) => {}
        }
        let prefix = keys::lane(of, queue.generation, LaneId::WHOLE);
        let first = self.rows.scan(Partition::LASTING, &prefix, &keys::end_of(&prefix), NonZeroUsize::MIN)?;
        let Some((key, value)) = first.first() else { return Ok(()) };
        let suffix = keys::queue(table::READY, of, queue.generation).len();
        let first = rows::decode_ready(of, queue.generation, &key[suffix..], value)?;
        self.move_head(&first, back)
    }

    fn move_due(&mut self, waiting: &Delivery, back: &SetBackRow) -> Result<(), StoreError> {
        let place = match waiting.place {
            Place::Ready => return Ok(()),
            Place::Lane { .. } => {
                let key = Key::Ready(waiting.id.endpoint, waiting.generation, waiting.lane, waiting.id.seq);
                let Some(stored) = self.rows.value(&key)? else { return Ok(()) };
                let head = rows::ready(waiting.id, waiting.generation, waiting.lane, &stored)?;
                return if head.due() == waiting.due() { self.move_head(&head, back) } else { Ok(()) };
            }
            Place::Due(at) => back.moved(at).map(Place::Due),
            Place::Manual { at, number } => back.moved(at).map(|at| Place::Manual { at, number }),
        };
        let Some(place) = place else { return Ok(()) };
        self.move_delivery(waiting, place)
    }

    fn move_head(&mut self, head: &Delivery, back: &SetBackRow) -> Result<(), StoreError> {
        match head.place {
            Place::Lane { due: Some(due), held } => match back.moved(due) {
                Some(moved) => self.move_delivery(head, Place::Lane { due: Some(moved), held }),
                None => Ok(()),
            },
            Place::Lane { due: None, .. } | Place::Ready | Place::Due(_) | Place::Manual { .. } => Ok(()),
        }
    }

    fn move_delivery(&mut self, from: &Delivery, place: Place) -> Result<(), StoreError> {
        let to = Delivery { place, ..from.clone() };
        // Its last attempt says where it waits.
        if let (false, Some(was), Some(is)) = (from.next_attempt().is_manual(), from.due(), to.due()) {
            self.is_retried_at(from, was, is)?;
        }
        self.delete_delivery(from)?;
        self.put_delivery(None, &to);
        Ok(())
    }

    fn is_retried_at(&mut self, of: &Delivery, was: Timestamp, is: Timestamp) -> Result<(), StoreError> {
        let number = AttemptNumber(of.attempts);
        let key = Key::Attempt(of.id, of.life, number, of.event);
        let Some(stored) = self.rows.value(&key)? else { return Ok(()) };
        let (attempt, event) = rows::decode_attempt(number, &stored, Responses::Read)?;
        if attempt.then == Then::RetryAt(was) {
            let attempt = Attempt { then: Then::RetryAt(is), ..attempt };
            self.rows.put_with(&key, |value| rows::encode_attempt(event, &attempt, value));
        }
        Ok(())
    }
}

impl SetBackRow {
    /// To when a time is moved; none if it is not a later one.
    fn moved(&self, at: Timestamp) -> Option<Timestamp> {
        (at > self.now).then(|| at.earlier_by(self.by))
    }
}
