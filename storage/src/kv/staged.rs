//! The rows of one group before they are written: what a batch writes is read by the batches that follow it, and goes
//! again if its batch is refused.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
};

use bytes::{Bytes, BytesMut};
use foldhash::HashMap;
use serde::{Serialize, de::DeserializeOwned};

use super::{Direction, Partition, Row, Snapshot, cache::Cache, codec, keys::Key, keys::table};
use crate::StoreError;

/// Bytes of the partition in front of a key.
const PARTITION_BYTES: usize = size_of::<u32>();
/// Keys and small values are cut out of pieces of so many bytes.
const PIECE_BYTES: usize = 16 * 1024;
/// Larger values get memory of their own, so that a small row that is kept does not keep them.
const SMALL_BYTES: usize = 512;
/// Rows read at once by a scan over what is stored and what is staged.
const SCAN_ROWS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Memory that is used again from group to group.
#[derive(Default)]
pub(super) struct Buffers {
    piece: BytesMut,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// A row to be written.
struct Entry {
    /// Partition and key.
    row: Bytes,
    value: Option<Bytes>,
    /// The entry for the same row that this one replaces.
    replaces: Option<usize>,
    replaced: bool,
}

/// Where a batch begins.
#[derive(Clone, Copy)]
pub(super) struct Mark(usize);

/// Rows to be written, over those that are stored.
pub(super) struct Staged<'a> {
    snapshot: &'a dyn Snapshot,
    cache: &'a mut Cache,
    buffers: &'a mut Buffers,
    entries: Vec<Entry>,
    latest: HashMap<Bytes, usize>,
    /// The rows of `latest` in their order, once something was looked for by that.
    ordered: OnceCell<BTreeSet<Bytes>>,
}

impl<'a> Staged<'a> {
    pub(super) fn new(snapshot: &'a dyn Snapshot, cache: &'a mut Cache, buffers: &'a mut Buffers) -> Self {
        let (entries, latest) = (Vec::new(), HashMap::default());
        Self { snapshot, cache, buffers, entries, latest, ordered: OnceCell::new() }
    }

    /// How it stands before a batch.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.entries.len())
    }

    /// Takes back what was staged since.
    pub(super) fn roll_back(&mut self, to: Mark) {
        while self.entries.len() > to.0 {
            let Some(entry) = self.entries.pop() else { break };
            match entry.replaces {
                Some(earlier) => {
                    self.entries[earlier].replaced = false;
                    self.latest.insert(entry.row, earlier);
                }
                None => {
                    self.latest.remove(&entry.row);
                    self.ordered.get_mut().map(|ordered| ordered.remove(&entry.row));
                }
            }
        }
    }

    /// The rows to write, each once, in their order: neighbours are looked for and inserted one after another.
    pub(super) fn into_rows(self) -> StagedRows {
        let entries = self.entries.into_iter().filter(|entry| !entry.replaced);
        let mut rows: Vec<_> = entries.map(|entry| (entry.row, entry.value)).collect();
        rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        StagedRows(rows)
    }

    /// The value as it will be.
    pub(super) fn value(&mut self, key: &Key<'_>) -> Result<Option<Bytes>, StoreError> {
        let Self { buffers: Buffers { key: row, .. }, .. } = self;
        let partition = key.partition();
        row.clear();
        row.extend_from_slice(&partition.0.to_be_bytes());
        key.encode(row);
        if let Some(entry) = self.latest.get(&row[..]) {
            return Ok(self.entries[*entry].value.clone());
        }
        let bare = &row[PARTITION_BYTES..];
        if !bare.first().is_some_and(|table| Cache::keeps(*table)) {
            return self.snapshot.get(partition, bare);
        }
        if let Some(known) = self.cache.get(row) {
            return Ok(known);
        }
        let value = self.snapshot.get(partition, bare)?;
        self.cache.put_lasting(row, value.as_deref());
        Ok(value)
    }

    /// The row as it will be.
    pub(super) fn get<T: DeserializeOwned>(&mut self, key: &Key<'_>) -> Result<Option<T>, StoreError> {
        self.value(key)?.as_deref().map(codec::decode).transpose()
    }

    /// Writes a row.
    pub(super) fn put<T: Serialize>(&mut self, key: &Key<'_>, row: &T) {
        self.put_with(key, |value| codec::encode(row, value));
    }

    /// Writes a row whose value `encode` appends.
    pub(super) fn put_with(&mut self, key: &Key<'_>, encode: impl FnOnce(&mut Vec<u8>)) {
        let Buffers { value, piece, .. } = &mut *self.buffers;
        value.clear();
        encode(value);
        let value = if value.len() > SMALL_BYTES { Bytes::copy_from_slice(value) } else { cut(piece, value) };
        self.stage(key, Some(value));
    }

    /// Deletes a row, be it there or not.
    pub(super) fn delete(&mut self, key: &Key<'_>) {
        self.stage(key, None);
    }

    /// Deletes a row that was found by a scan.
    pub(super) fn delete_found(&mut self, partition: Partition, key: &[u8]) {
        let Buffers { key: row, piece, .. } = &mut *self.buffers;
        row.clear();
        row.extend_from_slice(&partition.0.to_be_bytes());
        row.extend_from_slice(key);
        let row = cut(piece, row);
        self.push(row, None);
    }

    fn stage(&mut self, key: &Key<'_>, value: Option<Bytes>) {
        let Buffers { key: row, piece, .. } = &mut *self.buffers;
        row.clear();
        row.extend_from_slice(&key.partition().0.to_be_bytes());
        key.encode(row);
        let row = cut(piece, row);
        self.push(row, value);
    }

    fn push(&mut self, row: Bytes, value: Option<Bytes>) {
        let replaces = self.latest.insert(row.clone(), self.entries.len());
        if replaces.is_none()
            && let Some(ordered) = self.ordered.get_mut()
        {
            ordered.insert(row.clone());
        }
        if let Some(earlier) = replaces {
            self.entries[earlier].replaced = true;
        }
        self.entries.push(Entry { row, value, replaces, replaced: false });
    }

    /// The first rows with `from <= key < to` as they will be, in order, at most `limit`. The first of a group puts what
    /// is staged in order: not for what happens with every delivery.
    pub(super) fn scan(
        &self,
        partition: Partition,
        from: &[u8],
        to: &[u8],
        limit: NonZeroUsize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let ordered = self.ordered.get_or_init(|| self.latest.keys().cloned().collect());
        let row = |key: &[u8]| Bytes::from([&partition.0.to_be_bytes()[..], key].concat());
        let staged = ordered.range(row(from)..row(to));
        let value = |row: &Bytes| self.latest.get(row).and_then(|entry| self.entries[*entry].value.clone());
        let mut staged: BTreeMap<Bytes, Option<Bytes>> =
            staged.map(|row| (row.slice(PARTITION_BYTES..), value(row))).collect();
        // As many as may be hidden by what is staged, and what is asked for.
        let at_once = SCAN_ROWS.min(limit.saturating_add(staged.len()));
        let (mut found, mut next) = (Vec::new(), from.to_vec());
        loop {
            let stored = self.snapshot.scan(partition, &next..to, Direction::Forward, at_once)?;
            let is_last = stored.len() < at_once.get();
            next = stored.last().map(|(key, _)| super::keys::after(key)).unwrap_or_default();
            for (key, value) in stored {
                // What is staged before this row comes first, and what is staged for it replaces it.
                let later = staged.split_off(&key);
                found.extend(
                    std::mem::replace(&mut staged, later).into_iter().filter_map(|(key, value)| Some((key, value?))),
                );
                match staged.remove(&key) {
                    Some(Some(staged)) => found.push((key, staged)),
                    Some(None) => {}
                    None => found.push((key, value)),
                }
            }
            if is_last {
                found.extend(std::mem::take(&mut staged).into_iter().filter_map(|(key, value)| Some((key, value?))));
            }
            if is_last || found.len() >= limit.get() {
                found.truncate(limit.get());
                return Ok(found);
            }
        }
    }
}

/// Copies bytes into the current piece, or a new one.
fn cut(piece: &mut BytesMut, bytes: &[u8]) -> Bytes {
    if piece.capacity() < bytes.len() {
        *piece = BytesMut::with_capacity(PIECE_BYTES.max(bytes.len()));
    }
    piece.extend_from_slice(bytes);
    piece.split().freeze()
}

/// The rows of a group, ready to be written.
pub(super) struct StagedRows(Vec<(Bytes, Option<Bytes>)>);

impl StagedRows {
    /// As a backend takes them.
    pub(super) fn to_write(&self) -> Vec<Row> {
        let to_write = |(row, value): &(Bytes, Option<Bytes>)| {
            let partition = row.first_chunk().map_or(0, |partition| u32::from_be_bytes(*partition));
            (Partition(partition), row.slice(PARTITION_BYTES..), value.clone())
        };
        self.0.iter().map(to_write).collect()
    }

    /// They are stored.
    pub(super) fn fill(self, cache: &mut Cache) {
        for (row, value) in self.0 {
            match row.get(PARTITION_BYTES).copied() {
                Some(table::QUEUE | table::ROUTING) => cache.put_lasting(&row, value.as_deref()),
                Some(kept) if Cache::keeps(kept) => cache.put(row, value),
                Some(_) | None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
