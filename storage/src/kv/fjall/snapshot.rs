//! What is read: the rows as they were at one moment.

use std::{num::NonZeroUsize, ops::Range, sync::Arc};

use bytes::Bytes;
use fjall::Readable;

use super::{FjallKv, Picture, failed};
use crate::{
    StoreError,
    kv::{Direction, Partition, Snapshot},
};

pub(super) struct FjallSnapshot<'a> {
    pub(super) kv: &'a FjallKv,
    pub(super) picture: Arc<Picture>,
}

impl Snapshot for FjallSnapshot<'_> {
    fn get(&self, partition: Partition, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let Some(keyspace) = self.picture.keyspaces.get(&partition) else { return Ok(None) };
        self.kv.health.reading("read", || {
            let value = self.picture.snapshot.get(keyspace, key).map_err(|error| failed("read", error))?;
            Ok(value.map(|value| Bytes::copy_from_slice(&value)))
        })
    }

    fn scan(
        &self,
        partition: Partition,
        keys: Range<&[u8]>,
        direction: Direction,
        limit: NonZeroUsize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let Some(keyspace) = self.picture.keyspaces.get(&partition).filter(|_| keys.start < keys.end) else {
            return Ok(Vec::new());
        };
        let copy = |row: fjall::Guard| {
            let (key, value) = row.into_inner().map_err(|error| failed("scan", error))?;
            Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
        };
        self.kv
            .health
            .reading("scan", || direction.first(self.picture.snapshot.range::<&[u8], _>(keyspace, keys), limit, copy))
    }
}
