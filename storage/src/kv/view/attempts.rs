//! Attempts: all of an event, and those of an endpoint in a time, counted.

use std::{collections::BTreeSet, num::NonZeroUsize};

use bytes::Bytes;
use postrider_core::{
    ApplicationId, AttemptNumber, DeliveryId, EndpointId, EventId, Life, Outcome, Seq, Then, Timestamp,
};

use super::{
    View,
    walk::{Place, Walk},
};
use crate::{
    AttemptCounts, AttemptRecord, CountedTime, StoreError,
    kv::{
        Direction, codec,
        keys::{self, Key, Suffix, table, week},
        rows,
    },
};

/// Position, life and number.
pub(super) const OF_DELIVERY: usize = size_of::<Seq>() + size_of::<Life>() + size_of::<AttemptNumber>();
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

    pub(in crate::kv) fn attempt_counts(
        self,
        of: EndpointId,
        time: CountedTime,
        at_most: NonZeroUsize,
    ) -> Result<Option<AttemptCounts>, StoreError> {
        let CountedTime { since, until, age_max } = time;
        let (oldest, prefix) = (week(since.earlier_by(age_max)), keys::under(table::ATTEMPT, of.to_bytes()));
        let newest = self.newest(Some(until))?.map(tried_by);
        let mut walk = Walk::new(self, Direction::Backward, prefix, newest, oldest, COUNTED_AT_ONCE);
        let (mut counts, mut left) = (AttemptCounts::default(), at_most.get());
        while let Some(row) = walk.next()? {
            let Some(fewer) = left.checked_sub(1) else { return Ok(None) };
            left = fewer;
            let attempt = rows::attempt_row(&row.value)?;
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
}

/// The place behind which lies every attempt that was begun by then: no event is tried before it is accepted.
pub(super) fn tried_by(newest: Timestamp) -> Place {
    Place { partition: week(newest), suffix: vec![u8::MAX; OF_DELIVERY] }
}

/// An attempt's row, whose key ends in `suffix` after its endpoint.
pub(super) fn of_delivery(endpoint: EndpointId, suffix: &[u8], value: &[u8]) -> Result<AttemptRecord, StoreError> {
    let mut suffix = Suffix(suffix);
    let (Some(seq), Some(life), Some(number)) = (suffix.u64(), suffix.u32(), suffix.u32()) else {
        return Err(codec::corrupt("its key is cut short"));
    };
    let (attempt, event) = rows::decode_attempt(AttemptNumber(number), value)?;
    Ok(AttemptRecord { delivery: DeliveryId { endpoint, seq: Seq(seq) }, event, life: Life(life), attempt })
}
