//! A store in memory that counts what is read and written.

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
use postrider::{
    core::Durability,
    storage::{
        KvStore, OpenStore, Store, StoreError,
        kv::{Direction, MemoryKv, OrderedKv, Partition, Row, Snapshot},
    },
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Counting {
    rows: MemoryKv,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    rows_read: AtomicUsize,
    rows_written: AtomicUsize,
    bytes_written: AtomicUsize,
}

impl Counting {
    /// Rows read, rows written and bytes written since it was asked last.
    pub(crate) fn take(&self) -> (usize, usize, usize) {
        let Counts { rows_read, rows_written, bytes_written } = &*self.counts;
        let take = |count: &AtomicUsize| count.swap(0, Ordering::Relaxed);
        (take(rows_read), take(rows_written), take(bytes_written))
    }
}

struct CountingSnapshot<'a>(Box<dyn Snapshot + 'a>, &'a Counts);

impl Snapshot for CountingSnapshot<'_> {
    fn get(&self, partition: Partition, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.1.rows_read.fetch_add(1, Ordering::Relaxed);
        self.0.get(partition, key)
    }

    fn scan(
        &self,
        partition: Partition,
        keys: Range<&[u8]>,
        direction: Direction,
        limit: NonZeroUsize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let rows = self.0.scan(partition, keys, direction, limit)?;
        self.1.rows_read.fetch_add(1 + rows.len(), Ordering::Relaxed);
        Ok(rows)
    }
}

impl OrderedKv for Counting {
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        Ok(Box::new(CountingSnapshot(self.rows.snapshot()?, &self.counts)))
    }

    fn write(&self, rows: &[Row], durability: Durability) -> Result<(), StoreError> {
        let bytes = rows.iter().map(|(_, key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum();
        self.counts.rows_written.fetch_add(rows.len(), Ordering::Relaxed);
        self.counts.bytes_written.fetch_add(bytes, Ordering::Relaxed);
        self.rows.write(rows, durability)
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

#[async_trait]
impl OpenStore for Counting {
    async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(KvStore::over(self.clone())?))
    }
}
