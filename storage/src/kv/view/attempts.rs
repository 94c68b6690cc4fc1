//! Attempts: all of an event, and those of an endpoint from the newest.

use std::{collections::BTreeSet, num::NonZeroUsize};

use bytes::Bytes;
use postrider_core::{ApplicationId, AttemptNumber, DeliveryId, EndpointId, EventId, Life, Outcome, Seq, Then};

use super::{
    PASSED_OVER_MAX, View,
    pages::{self, From},
    walk::{Before, Walk, Walked},
};
use crate::{
    AttemptCounts, AttemptRecord, CountedTime, Cursor, Page, PageRequest, StoreError,
    kv::{
        Partition, codec,
        keys::{self, ID_BYTES, Key, Suffix, table, week},
        rows::{self, IndexRow},
    },
};

/// Position, life and number.
const OF_DELIVERY: usize = size_of::<Seq>() + size_of::<Life>() + size_of::<AttemptNumber>();
/// Where both walks go on.
const CURSOR: usize = 2 * size_of::<Partition>() + OF_DELIVERY + ID_BYTES;

/// Rows read at once by who counts.
const COUNTED_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

impl View<'_> {
    pub(in crate::kv) fn attempts_of_event(
        self,
        owner: ApplicationId,
        event: EventId,
    ) -> Result<Vec<AttemptRecord>, StoreError> {
        let lives = self.lives(owner, event)?;
        let positions: BTreeSet<DeliveryId> =
            lives.iter().map(|life| DeliveryId { endpoint: life.endpoint, seq: life.seq }).collect();
        let mut records = Vec::new();
        for delivery in positions {
            records.extend(self.attempts_at(delivery, event)?);
        }
        records.sort_by_key(|record| std::cmp::Reverse((record.attempt.id, record.delivery)));
        Ok(records)
    }

    /// Every attempt of all lives at one position, by life and number.
    pub(super) fn attempts_at(self, delivery: DeliveryId, event: EventId) -> Result<Vec<AttemptRecord>, StoreError> {
        let prefix = keys::attempts(delivery);
        let partition = Key::Attempt(delivery, Life::FIRST, keys::SCHEDULED, event).partition();
        let found = self.scan(partition, &prefix, &keys::end_of(&prefix), NonZeroUsize::MAX)?;
        let record = |(key, value): &(Bytes, Bytes)| {
            let suffix = &key[prefix.len() - size_of::<Seq>()..];
            of_delivery(delivery.endpoint, suffix, value)
        };
        found.iter().map(record).collect()
    }

    pub(in crate::kv) fn attempts_of_endpoint(
        self,
        of: EndpointId,
        page: &PageRequest,
    ) -> Result<Page<AttemptRecord>, StoreError> {
        let mut places = match pages::from::<CURSOR>(page) {
            From::Start => Places { first: None, indexed: None },
            From::After(cursor) => Places::decode(cursor),
            From::Nowhere => return Ok(Page::default()),
        };
        let walk = |table: u8, from: &Option<Before>| {
            let prefix = keys::under(table, of.to_bytes());
            Walk::new(self, prefix, from.clone(), Partition::FIRST_DROPPABLE, page.limit.saturating_add(1))
        };
        let mut firsts = walk(table::ATTEMPT, &places.first);
        let mut indexed = walk(table::ATTEMPT_INDEX, &places.indexed);
        let (mut items, mut passed_over) = (Vec::new(), 0);
        loop {
            // Attempts that the index brings are passed over where they lie, and so is what is gone with its partition.
            while let Some(row) = firsts.peek()?.filter(|row| !is_first(&row.suffix)) {
                if passed_over >= PASSED_OVER_MAX {
                    return Ok(Page { items, next: Some(places.encode()) });
                }
                places.first = Some(Before::of(row));
                firsts.next()?;
                passed_over += 1;
            }
            let first = firsts.peek()?.map(|row| of_delivery(of, &row.suffix, &row.value)).transpose()?;
            let newer = indexed
                .peek()?
                .filter(|row| first.as_ref().is_none_or(|first| first.attempt.id.to_bytes()[..] < row.suffix[..]));
            let has_more = first.is_some() || newer.is_some();
            if !has_more {
                return Ok(Page { items, next: None });
            }
            if items.len() == page.limit.get() || passed_over >= PASSED_OVER_MAX {
                return Ok(Page { items, next: Some(places.encode()) });
            }
            match newer {
                Some(row) => {
                    places.indexed = Some(Before::of(row));
                    match self.indexed(of, row)? {
                        Some(record) => items.push(record),
                        None => passed_over += 1,
                    }
                    indexed.next()?;
                }
                None => {
                    places.first = firsts.next()?.map(|row| Before::of(&row));
                    items.extend(first);
                }
            }
        }
    }

    pub(in crate::kv) fn attempt_counts(
        self,
        of: EndpointId,
        time: CountedTime,
        at_most: NonZeroUsize,
    ) -> Result<Option<AttemptCounts>, StoreError> {
        let CountedTime { since, until, age_max } = time;
        let (oldest, prefix) = (week(since.earlier_by(age_max)), keys::under(table::ATTEMPT, of.to_bytes()));
        let mut walk = Walk::new(self, prefix, None, oldest, COUNTED_AT_ONCE);
        let (mut counts, mut left) = (AttemptCounts::default(), at_most.get());
        while let Some(row) = walk.next()? {
            let Some(fewer) = left.checked_sub(1) else { return Ok(None) };
            left = fewer;
            let attempt = of_delivery(of, &row.suffix, &row.value)?.attempt;
            if !(since..until).contains(&attempt.started) {
                continue;
            }
            match attempt.outcome {
                Outcome::Success { .. } => counts.succeeded += 1,
                Outcome::Failure(_) => counts.failed += 1,
            }
            counts.given_up += u64::from(matches!(attempt.then, Then::GivenUp(_)));
        }
        Ok(Some(counts))
    }

    /// The attempt that an index row names, unless it went with its partition.
    fn indexed(self, of: EndpointId, row: &Walked) -> Result<Option<AttemptRecord>, StoreError> {
        let IndexRow { event, seq, life, number } = codec::decode(&row.value)?;
        let delivery = DeliveryId { endpoint: of, seq };
        let Some(value) = self.value(&Key::Attempt(delivery, life, number, event))? else { return Ok(None) };
        let (attempt, event) = rows::decode_attempt(number, &value)?;
        Ok(Some(AttemptRecord { delivery, event, life, attempt }))
    }
}

/// An attempt's row, whose key ends in `suffix` after its endpoint.
fn of_delivery(endpoint: EndpointId, suffix: &[u8], value: &[u8]) -> Result<AttemptRecord, StoreError> {
    let mut suffix = Suffix(suffix);
    let (Some(seq), Some(life), Some(number)) = (suffix.u64(), suffix.u32(), suffix.u32()) else {
        return Err(codec::corrupt("its key is cut short"));
    };
    let (attempt, event) = rows::decode_attempt(AttemptNumber(number), value)?;
    Ok(AttemptRecord { delivery: DeliveryId { endpoint, seq: Seq(seq) }, event, life: Life(life), attempt })
}

/// Whether a row is the first scheduled attempt of a first life, which has no row in the index.
fn is_first(suffix: &[u8]) -> bool {
    const FIRST: [u8; 8] = [0, 0, 0, Life::FIRST.0 as u8, 0, 0, 0, 1];
    suffix.ends_with(&FIRST)
}

/// How far the two walks of a list have come; none has not begun.
struct Places {
    first: Option<Before>,
    indexed: Option<Before>,
}

impl Places {
    fn encode(&self) -> Cursor {
        let mut bytes = Vec::with_capacity(CURSOR);
        put(&self.first, OF_DELIVERY, &mut bytes);
        put(&self.indexed, ID_BYTES, &mut bytes);
        Cursor(Bytes::from(bytes))
    }

    fn decode(cursor: &[u8; CURSOR]) -> Self {
        let (first, indexed) = cursor.split_at(size_of::<Partition>() + OF_DELIVERY);
        Self { first: Some(Before::decode(first)), indexed: Some(Before::decode(indexed)) }
    }
}

/// A walk that has not begun goes on before the end of the last partition that there can be.
fn put(place: &Option<Before>, suffix: usize, out: &mut Vec<u8>) {
    let start = || Before { partition: Partition(u32::MAX), suffix: vec![u8::MAX; suffix] };
    place.clone().unwrap_or_else(start).encode(out);
}
