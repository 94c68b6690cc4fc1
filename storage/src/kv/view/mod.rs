//! One snapshot, understood: what is read, and never more of it than is answered.

mod aged;
mod attempts;
mod documents;
mod events;
mod letters;
mod pages;
mod queue;
mod records;
mod stations;
mod tried;
mod walk;
mod window;

pub(super) use self::window::nothing;

use std::num::NonZeroUsize;

use bytes::Bytes;
use postrider_core::{AgendaItem, EndpointId, Generation, Timestamp};
use serde::de::DeserializeOwned;
use tracing::error;

use super::{
    Direction, Partition, Snapshot, codec,
    keys::{self, Key, meta, table},
    rows::{CutRow, QueueRow},
    starts::Start,
};
use crate::StoreError;

/// Rows that a page may pass over because a filter does not want them; then it ends, and the next one goes on.
const PASSED_OVER_MAX: usize = 1024;

/// The rows of one moment.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    snapshot: &'a dyn Snapshot,
    /// The time partitions there are, the newest first.
    partitions: &'a [Partition],
}

impl<'a> View<'a> {
    pub(super) fn new(snapshot: &'a dyn Snapshot, partitions: &'a [Partition]) -> Self {
        Self { snapshot, partitions }
    }

    /// Who is to be looked at until then, after this row.
    pub(super) fn wakes(
        self,
        after: Option<(Timestamp, EndpointId)>,
        until: Timestamp,
        limit: NonZeroUsize,
    ) -> Result<Vec<(Timestamp, EndpointId)>, StoreError> {
        let from = after
            .map_or_else(|| keys::all(table::WAKE), |(at, endpoint)| keys::after(&Key::Wake(at, endpoint).bytes()));
        let to = match until.as_nanos().checked_add(1) {
            Some(next) => [&[table::WAKE][..], &next.to_be_bytes()].concat(),
            None => keys::end_of(&[table::WAKE]),
        };
        let rows = self.scan(Partition::LASTING, &from, &to, limit)?;
        // The key says it all. One that is damaged must not keep all others asleep.
        let understand = |(key, _): &(Bytes, Bytes)| {
            let wake = keys::wake(key);
            if wake.is_none() {
                error!(
                    ?key,
                    "a wake row is damaged and passed over: its endpoint is looked at when it gets its next event"
                );
            }
            wake
        };
        Ok(rows.iter().filter_map(understand).collect())
    }

    /// What is to be done until then, behind this item, soonest first.
    pub(super) fn agenda(
        self,
        after: Option<AgendaItem>,
        until: Timestamp,
        limit: NonZeroUsize,
    ) -> Result<Vec<AgendaItem>, StoreError> {
        let mut from = after.map_or_else(|| keys::all(table::AGENDA), |after| keys::after(&Key::Agenda(after).bytes()));
        let to = match until.as_nanos().checked_add(1) {
            Some(next) => [&[table::AGENDA][..], &next.to_be_bytes()].concat(),
            None => keys::end_of(&[table::AGENDA]),
        };
        let mut items = Vec::new();
        // The key says it all. One that is damaged is passed over, and does not end the list.
        while let Some(left) = NonZeroUsize::new(limit.get() - items.len()) {
            let rows = self.scan(Partition::LASTING, &from, &to, left)?;
            items.extend(rows.iter().filter_map(|(key, _)| keys::agenda(key)));
            match rows.last() {
                Some((last, _)) if rows.len() == left.get() => from = keys::after(last),
                Some(_) | None => break,
            }
        }
        Ok(items)
    }

    /// How late it is or was, as far as it was written down.
    pub(super) fn latest(self) -> Result<Timestamp, StoreError> {
        Ok(self.get(&Key::Meta(meta::LATEST))?.unwrap_or(Timestamp::from_nanos(0)))
    }

    /// Whether rows were written by a clock that ran ahead, and are not all moved.
    pub(super) fn was_ahead_of(self, now: Timestamp) -> Result<bool, StoreError> {
        Ok(now < self.latest()? || self.value(&Key::Meta(meta::SET_BACK))?.is_some())
    }

    /// Endpoints with something to purge.
    pub(super) fn cut_off(self, limit: NonZeroUsize) -> Result<Vec<EndpointId>, StoreError> {
        let prefix = keys::all(table::CUT);
        let rows = self.scan(Partition::LASTING, &prefix, &keys::end_of(&prefix), limit)?;
        let understand = |(key, value): &(Bytes, Bytes)| match codec::decode::<CutRow>(value) {
            Ok(cut) => Some(cut.endpoint),
            Err(error) => {
                error!(?key, %error, "what is to be purged is damaged and stays");
                None
            }
        };
        Ok(rows.iter().filter_map(understand).collect())
    }

    /// Whether the rows of this generation are alive: there is such an endpoint, and it has no later one.
    fn is_current(self, of: EndpointId, generation: Generation) -> Result<bool, StoreError> {
        let queue = self.get::<QueueRow>(&Key::Queue(of))?;
        Ok(queue.is_some_and(|queue| queue.generation == generation))
    }

    /// One row.
    pub(super) fn get<T: DeserializeOwned>(self, key: &Key<'_>) -> Result<Option<T>, StoreError> {
        self.value(key)?.as_deref().map(codec::decode).transpose()
    }

    pub(super) fn value(self, key: &Key<'_>) -> Result<Option<Bytes>, StoreError> {
        self.snapshot.get(key.partition(), &key.bytes())
    }

    /// The first rows with `from <= key < to`; none if that is no range.
    pub(super) fn scan(
        self,
        partition: Partition,
        from: &[u8],
        to: &[u8],
        limit: NonZeroUsize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.directed(partition, from, to, Direction::Forward, limit)
    }

    /// As [`directed`](Self::directed), of rows whose keys begin so, then name lane and position, without stepping over
    /// what lies before lanes begin.
    pub(super) fn scan_lanes(
        self,
        start: &Start,
        prefix: &[u8],
        (from, to): (&[u8], &[u8]),
        direction: Direction,
        limit: NonZeroUsize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if let Some(keys) = start.waiting(prefix, from, to) {
            return match direction {
                Direction::Forward => self.those(keys, limit),
                Direction::Backward => self.those(keys.rev(), limit),
            };
        }
        let mut parts = start.parts(prefix, from, to);
        match direction {
            Direction::Forward => {}
            Direction::Backward => parts.reverse(),
        }
        let mut found = Vec::new();
        for (from, to) in parts {
            let Some(left) = NonZeroUsize::new(limit.get() - found.len()) else { break };
            found.extend(self.directed(Partition::LASTING, &from, &to, direction, left)?);
        }
        Ok(found)
    }

    /// The first of these lasting rows that are there.
    fn those(
        self,
        keys: impl Iterator<Item = Vec<u8>>,
        limit: NonZeroUsize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let mut found = Vec::new();
        for key in keys {
            if let Some(value) = self.snapshot.get(Partition::LASTING, &key)? {
                found.push((Bytes::from(key), value));
            }
            if found.len() == limit.get() {
                break;
            }
        }
        Ok(found)
    }

    fn directed(
        self,
        partition: Partition,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        limit: NonZeroUsize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.snapshot.scan(partition, from..to, direction, limit)
    }
}
