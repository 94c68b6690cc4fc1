//! Rows in memory that leave remains when they are deleted, as a store on disk does until it has compacted them away: a
//! scan has to step over them, one by one, and that is counted.

use std::{
    num::NonZeroUsize,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use postrider_core::Durability;

use crate::{
    OrderedKv, StoreError,
    kv::{Direction, MemoryKv, Partition, Row, Snapshot, Ticket},
};

/// What stands for a deleted row. No value begins so: the first byte of one is its version.
const DELETED: &[u8] = b"\xff deleted";
/// Rows and remains read at once.
const AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

/// Rows in memory, with the remains of those that were deleted. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct WithRemains {
    rows: MemoryKv,
    stepped_over: Arc<AtomicUsize>,
}

impl WithRemains {
    /// How many remains were stepped over since this was last asked.
    pub fn stepped_over(&self) -> usize {
        self.stepped_over.swap(0, Ordering::Relaxed)
    }

    fn shown<'a>(&'a self, snapshot: Box<dyn Snapshot + 'a>) -> Box<dyn Snapshot + 'a> {
        Box::new(Shown { snapshot, of: self })
    }
}

impl OrderedKv for WithRemains {
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        Ok(self.shown(self.rows.snapshot()?))
    }

    fn write(&self, rows: &[Row], durability: Durability) -> Result<(), StoreError> {
        let left = |(partition, key, value): &Row| {
            let value = value.clone().unwrap_or(Bytes::from_static(DELETED));
            (*partition, key.clone(), Some(value))
        };
        self.rows.write(&rows.iter().map(left).collect::<Vec<_>>(), durability)
    }

    fn settle(&self, begun: Ticket) -> Result<(), StoreError> {
        self.rows.settle(begun)
    }

    fn partitions(&self) -> Result<Vec<Partition>, StoreError> {
        self.rows.partitions()
    }

    fn drop_partition(&self, partition: Partition) -> Result<(), StoreError> {
        self.rows.drop_partition(partition)
    }

    fn blocks(&self) -> bool {
        false
    }
}

struct Shown<'a> {
    snapshot: Box<dyn Snapshot + 'a>,
    of: &'a WithRemains,
}

impl Snapshot for Shown<'_> {
    fn get(&self, partition: Partition, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.snapshot.get(partition, key)?.filter(|value| *value != DELETED))
    }

    fn scan(
        &self,
        partition: Partition,
        keys: Range<&[u8]>,
        direction: Direction,
        limit: NonZeroUsize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let (mut from, mut to, mut found) = (keys.start.to_vec(), keys.end.to_vec(), Vec::new());
        loop {
            let rows = self.snapshot.scan(partition, &from..&to, direction, AT_ONCE)?;
            let is_last = rows.len() < AT_ONCE.get();
            for (key, value) in rows {
                match direction {
                    Direction::Forward => from = [&key[..], b"\0"].concat(),
                    Direction::Backward => to = key.to_vec(),
                }
                if value == DELETED {
                    self.of.stepped_over.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                found.push((key, value));
                if found.len() == limit.get() {
                    return Ok(found);
                }
            }
            if is_last {
                return Ok(found);
            }
        }
    }
}
