//! Rows in memory that count what is read and written: what something costs a store, for tests that hold it.

use std::{
    num::NonZeroUsize,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use postrider_core::Durability;

use crate::{
    KvStore, OpenStore, OrderedKv, Store, StoreError,
    kv::{Direction, MemoryKv, Partition, Row, Snapshot, Ticket, is_of_the_store},
};

/// Rows in memory, with counts of what was asked of them. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Counting {
    rows: MemoryKv,
    counts: Arc<Counts>,
}

/// What was read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Single rows and scans asked for.
    pub asked: usize,
    /// Rows that scans gave.
    pub scanned: usize,
    /// Bytes of the values that were given, by scans and one by one.
    pub value_bytes_read: usize,
    /// Rows written or deleted, all of them.
    pub rows_written: usize,
    /// Those among them that are about the store itself, such as its format.
    pub of_the_store: usize,
    /// Bytes of the keys and values written.
    pub bytes_written: usize,
}

#[derive(Debug, Default)]
struct Counts {
    asked: AtomicUsize,
    scanned: AtomicUsize,
    value_bytes_read: AtomicUsize,
    rows_written: AtomicUsize,
    of_the_store: AtomicUsize,
    bytes_written: AtomicUsize,
}

impl Counting {
    /// What was counted since this was last asked.
    pub fn take(&self) -> Counted {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::Relaxed);
        let Counts { asked, scanned, value_bytes_read, rows_written, of_the_store, bytes_written } = &*self.counts;
        Counted {
            asked: take(asked),
            scanned: take(scanned),
            value_bytes_read: take(value_bytes_read),
            rows_written: take(rows_written),
            of_the_store: take(of_the_store),
            bytes_written: take(bytes_written),
        }
    }
}

fn add(count: &AtomicUsize, by: usize) {
    count.fetch_add(by, Ordering::Relaxed);
}

impl OrderedKv for Counting {
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        Ok(Box::new(CountingSnapshot { snapshot: self.rows.snapshot()?, counts: &self.counts }))
    }

    fn write(&self, rows: &[Row], durability: Durability) -> Result<(), StoreError> {
        for (_, key, value) in rows {
            add(&self.counts.rows_written, 1);
            add(&self.counts.of_the_store, usize::from(is_of_the_store(key)));
            add(&self.counts.bytes_written, key.len() + value.as_ref().map_or(0, Bytes::len));
        }
        self.rows.write(rows, durability)
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

struct CountingSnapshot<'a> {
    snapshot: Box<dyn Snapshot + 'a>,
    counts: &'a Counts,
}

impl Snapshot for CountingSnapshot<'_> {
    fn get(&self, partition: Partition, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        add(&self.counts.asked, 1);
        let value = self.snapshot.get(partition, key)?;
        add(&self.counts.value_bytes_read, value.as_ref().map_or(0, Bytes::len));
        Ok(value)
    }

    fn scan(
        &self,
        partition: Partition,
        keys: Range<&[u8]>,
        direction: Direction,
        limit: NonZeroUsize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        add(&self.counts.asked, 1);
        let rows = self.snapshot.scan(partition, keys, direction, limit)?;
        add(&self.counts.scanned, rows.len());
        add(&self.counts.value_bytes_read, rows.iter().map(|(_, value)| value.len()).sum());
        Ok(rows)
    }
}

#[async_trait]
impl OpenStore for Counting {
    async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(KvStore::over(self.clone())?))
    }
}
