//! The attempts at an endpoint, from the newest or back to it: first attempts where they lie, in the order of their
//! deliveries, and all others where the index has them, in the order of their times. A page is what two walks meet.
//!
//! A cursor is where both walks stand, and has exactly that length: any other one is not ours, and its page is empty.

use std::{num::NonZeroUsize, ops::Range, time::Duration};

use bytes::Bytes;
use postrider_core::{AttemptId, DeliveryId, EndpointId, Life, Seq, Timestamp};

use super::{
    View,
    attempts::{self, OF_DELIVERY, of_delivery, tried_by},
    pages::{Gathered, Met, direction},
    walk::{Place, Walk, Walked},
};
use crate::{
    AttemptFilter, AttemptQuery, AttemptRecord, Cursor, Page, PageRequest, Responses, StoreError,
    kv::{
        Direction, Partition, codec,
        keys::{self, ID_BYTES, table, week},
        rows::{self, IndexRow},
    },
};

const ONE: usize = size_of::<Partition>() + OF_DELIVERY;
/// Where both walks stand.
const CURSOR: usize = ONE + size_of::<Partition>() + ID_BYTES;
/// First attempts that a walk back looks ahead at, to know which ones are late.
const AHEAD: usize = 32;
/// By how much an id may miss the time at which its attempt began.
const SLACK: Duration = Duration::from_secs(1);

impl View<'_> {
    pub(in crate::kv) fn attempts_of_endpoint(
        self,
        query: &AttemptQuery,
        page: &PageRequest,
    ) -> Result<Page<AttemptRecord>, StoreError> {
        let places = page.part.place().map(|Cursor(bytes)| <&[u8; CURSOR]>::try_from(&bytes[..]));
        let Ok(asked) = places.transpose() else { return Ok(Page::default()) };
        let mut walks = Walks::begin(self, query, page, asked)?;
        let (mut gathered, mut last_in_time) = (Gathered::new(page.limit), None);
        while let Some(row) = walks.next(self)? {
            // What is in the index is met there, or is gone.
            let AttemptFilter { before, after, .. } = query.filter;
            let is_in_time = row.as_ref().is_some_and(|row| attempts::is_in_time(before, after, row.attempt.started));
            let wanted = row.filter(|AttemptRecord { attempt, .. }| {
                attempts::is_wanted(&query.filter, (attempt.started, &attempt.outcome, attempt.then))
            });
            if !gathered.take((), Met::new(is_in_time, wanted)) {
                break;
            }
            walks.advance()?;
            if is_in_time {
                last_in_time = Some(walks.far());
            } else if last_in_time.is_none() {
                walks.begin_here()?;
            }
        }
        let part = page.part.clone().map(drop);
        let found = gathered.page(&part);
        let near = walks.near();
        let far = last_in_time.filter(|_| found.is_last).unwrap_or_else(|| walks.far());
        let (previous, next) = if part.is_back() { (far, near) } else { (near, far) };
        Ok(Page {
            previous: found.previous.map(|()| previous),
            next: found.next.map(|()| next),
            items: found.items,
            is_last: found.is_last,
        })
    }

    /// The attempt that an index row names, unless it went with its partition.
    fn indexed(self, of: EndpointId, row: &Walked, responses: Responses) -> Result<Option<AttemptRecord>, StoreError> {
        let IndexRow { event, seq, life, number } = codec::decode(&row.value)?;
        self.attempt_at(DeliveryId { endpoint: of, seq }, life, number, event, responses)
    }

    /// Behind which row the first attempts lie that began after a time. They begin in about the order of their
    /// deliveries, so that halving finds it.
    fn first_after(self, of: EndpointId, time: Timestamp) -> Result<Option<Place>, StoreError> {
        let prefix = keys::under(table::ATTEMPT, of.to_bytes());
        let end = keys::end_of(&prefix);
        for partition in self.partitions.iter().copied() {
            let one = |from: Seq, direction: Direction| {
                let from = [&prefix[..], &from.0.to_be_bytes()].concat();
                let rows = self.directed(partition, &from, &end, direction, NonZeroUsize::MIN)?;
                let read =
                    |(key, value): &(Bytes, Bytes)| of_delivery(of, &key[prefix.len()..], value, Responses::LeftOut);
                rows.first().map(read).transpose()
            };
            let Some(oldest) = one(Seq(0), Direction::Forward)? else { continue };
            if time < oldest.attempt.started {
                continue;
            }
            let Some(newest) = one(Seq(0), Direction::Backward)? else { continue };
            let (mut behind, mut beyond) = (oldest.delivery.seq.0, newest.delivery.seq.0.saturating_add(1));
            while beyond - behind > 1 {
                let middle = behind + (beyond - behind) / 2;
                match one(Seq(middle), Direction::Forward)? {
                    Some(row) if row.attempt.started <= time => behind = row.delivery.seq.0.max(middle),
                    Some(_) | None => beyond = middle,
                }
            }
            let suffix = [&behind.to_be_bytes()[..], &[u8::MAX; OF_DELIVERY - size_of::<Seq>()]].concat();
            return Ok(Some(Place { partition, suffix }));
        }
        Ok(None)
    }
}

/// The two walks of a page.
struct Walks<'a> {
    of: EndpointId,
    responses: Responses,
    direction: Direction,
    firsts: Side<'a>,
    indexed: Side<'a>,
    /// The next row is of the index.
    is_indexed: bool,
    /// Ids of attempts that the query may want.
    ids: Range<[u8; ID_BYTES]>,
}

impl<'a> Walks<'a> {
    fn begin(
        view: View<'a>,
        query: &AttemptQuery,
        page: &PageRequest,
        asked: Option<&[u8; CURSOR]>,
    ) -> Result<Self, StoreError> {
        let (of, direction) = (query.endpoint, direction(false, &page.part));
        let (first, indexed) = asked.map(|asked| asked.split_at(ONE)).unzip();
        let (first, indexed) = (first.map(Place::decode), indexed.map(Place::decode));
        // An id tells when an attempt began, but for its rounding.
        let after = query.filter.after.map(|after| after.earlier_by(SLACK));
        let before = query.filter.before.map(|before| before + SLACK);
        let id = |time: Timestamp| keys::first_event(time).to_bytes();
        let ids = after.map_or([0; ID_BYTES], id)..before.map_or([u8::MAX; ID_BYTES], id);
        let at = |time: Timestamp| Place { partition: week(time), suffix: id(time).to_vec() };
        // A place outside the time that is asked for is as good as the end of that.
        let (first, indexed) = match direction {
            Direction::Forward => {
                let first = match (first, query.filter.after) {
                    (None, Some(after)) => view.first_after(of, after)?,
                    (first, _) => first,
                };
                (first, indexed.max(after.map(at)))
            }
            Direction::Backward => {
                let newest = view.newest(query.filter.before)?.map(tried_by);
                (first.into_iter().chain(newest).min(), indexed.into_iter().chain(before.map(at)).min())
            }
        };
        let begin = |table: u8, suffix: usize, from: Option<Place>, oldest: Partition, at_once: NonZeroUsize| {
            let prefix = keys::under(table, of.to_bytes());
            let walk = Walk::new(view, direction, prefix, from.clone(), oldest, at_once);
            Side::begin(walk, direction, suffix, from)
        };
        let ahead = match direction {
            Direction::Forward => AHEAD,
            Direction::Backward => 1,
        };
        Ok(Self {
            of,
            responses: query.filter.responses,
            direction,
            firsts: begin(
                table::ATTEMPT,
                OF_DELIVERY,
                first,
                Partition::FIRST_DROPPABLE,
                page.limit.saturating_add(ahead),
            )?,
            indexed: begin(
                table::ATTEMPT_INDEX,
                ID_BYTES,
                indexed,
                after.map_or(Partition::FIRST_DROPPABLE, week),
                page.limit.saturating_add(1),
            )?,
            is_indexed: false,
            ids,
        })
    }

    /// What comes next, without leaving it behind; none of an attempt, if that is in the index or gone with its partition.
    fn next(&mut self, view: View<'_>) -> Result<Option<Option<AttemptRecord>>, StoreError> {
        self.is_indexed = false;
        let first = self.firsts.walk.peek()?.cloned();
        if first.as_ref().is_some_and(|row| !is_first(&row.suffix)) {
            return Ok(Some(None));
        }
        let indexed = self
            .indexed
            .walk
            .peek()?
            .filter(|row| self.ids.start[..] <= row.suffix[..] && row.suffix[..] < self.ids.end[..]);
        let id = match (&first, self.direction) {
            (None, _) => None,
            (Some(row), Direction::Backward) => Some(rows::attempt_row(&row.value)?.id),
            (Some(_), Direction::Forward) => self.firsts.id_in_order()?,
        };
        let is_indexed = |row: &&Walked| id.is_none_or(|id| !is_next(self.direction, id, row));
        match (indexed.filter(is_indexed), first) {
            (Some(row), _) => {
                self.is_indexed = true;
                view.indexed(self.of, row, self.responses).map(Some)
            }
            (None, Some(row)) => {
                of_delivery(self.of, &row.suffix, &row.value, self.responses).map(|record| Some(Some(record)))
            }
            (None, None) => Ok(None),
        }
    }

    /// Leaves behind what came next.
    fn advance(&mut self) -> Result<(), StoreError> {
        if self.is_indexed { self.indexed.advance() } else { self.firsts.advance() }
    }

    /// A page in the other direction goes on with what was met until now.
    fn begin_here(&mut self) -> Result<(), StoreError> {
        self.firsts.begin_here(self.direction)?;
        self.indexed.begin_here(self.direction)
    }

    /// Where a page in the other direction goes on.
    fn near(&self) -> Cursor {
        cursor(&self.firsts.near, &self.indexed.near)
    }

    /// Where a page in this direction goes on.
    fn far(&self) -> Cursor {
        cursor(&self.firsts.far, &self.indexed.far)
    }
}

fn cursor(first: &Place, indexed: &Place) -> Cursor {
    let mut bytes = Vec::with_capacity(CURSOR);
    first.encode(&mut bytes);
    indexed.encode(&mut bytes);
    Cursor(Bytes::from(bytes))
}

/// One of the walks. A place is crossed in neither direction: what lies at one is on the page that it comes from.
struct Side<'a> {
    walk: Walk<'a>,
    /// Where a page in the other direction goes on.
    near: Place,
    /// Where a page in this direction goes on.
    far: Place,
    has_moved: bool,
}

impl<'a> Side<'a> {
    fn begin(mut walk: Walk<'a>, direction: Direction, suffix: usize, from: Option<Place>) -> Result<Self, StoreError> {
        let against = match direction {
            Direction::Forward => Direction::Backward,
            Direction::Backward => Direction::Forward,
        };
        let (near, far) = match (walk.peek()?.map(Place::of), from) {
            // As long as it is not on the page it lies beyond that.
            (Some(seen), _) => (seen.clone(), seen.next_to(against)),
            (None, Some(from)) => (from.next_to(direction), from.next_to(direction)),
            // Whatever comes is newer.
            (None, None) => {
                let oldest = Place { partition: Partition::LASTING, suffix: vec![0; suffix] };
                (oldest.clone(), oldest)
            }
        };
        Ok(Self { walk, near, far, has_moved: false })
    }

    /// What was met until now lies on the page in the other direction.
    fn begin_here(&mut self, direction: Direction) -> Result<(), StoreError> {
        self.near = match self.walk.peek()?.map(Place::of) {
            Some(seen) => seen,
            None if self.has_moved => self.far.next_to(direction),
            None => return Ok(()),
        };
        Ok(())
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        if let Some(row) = self.walk.next()? {
            self.far = Place::of(&row);
            self.has_moved = true;
        }
        Ok(())
    }

    /// The id by which the next first attempt is compared on a way back: one that was made late, long after those of
    /// younger deliveries, is taken for one of theirs, as it lies among them.
    fn id_in_order(&self) -> Result<Option<AttemptId>, StoreError> {
        let firsts = self.walk.ahead().take(AHEAD).filter(|row| is_first(&row.suffix));
        let ids = firsts.map(|row| Ok(rows::attempt_row(&row.value)?.id)).collect::<Result<Vec<_>, StoreError>>()?;
        Ok(ids.into_iter().min())
    }
}

/// Whether a first attempt comes before one in the index.
fn is_next(direction: Direction, first: AttemptId, indexed: &Walked) -> bool {
    match direction {
        Direction::Forward => first.to_bytes()[..] < indexed.suffix[..],
        Direction::Backward => indexed.suffix[..] <= first.to_bytes()[..],
    }
}

/// Whether a row is the first scheduled attempt of a first life, which has no row in the index.
fn is_first(suffix: &[u8]) -> bool {
    const FIRST: [u8; 8] = [0, 0, 0, Life::FIRST.0 as u8, 0, 0, 0, 1];
    suffix.ends_with(&FIRST)
}
