//! Walks over the rows of one list from the newest partition to the oldest, a few at a time.

use std::{collections::VecDeque, num::NonZeroUsize};

use bytes::Bytes;

use super::View;
use crate::{
    StoreError,
    kv::{Direction, Partition, keys},
};

/// Where a walk goes on: before this row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) partition: Partition,
    /// The row's key behind the prefix.
    pub(super) suffix: Vec<u8>,
}

/// A row of a list.
#[derive(Clone, Debug)]
pub(super) struct Walked {
    pub(super) partition: Partition,
    /// Its key behind the prefix.
    pub(super) suffix: Bytes,
    pub(super) value: Bytes,
}

/// Rows of one list, backwards.
pub(super) struct Walk<'a> {
    view: View<'a>,
    prefix: Vec<u8>,
    /// Not begun yet, the newest first.
    partitions: VecDeque<Partition>,
    /// Where to read on in the partition at the front.
    before: Option<Vec<u8>>,
    at_once: NonZeroUsize,
    read: VecDeque<Walked>,
}

impl<'a> Walk<'a> {
    /// Before `from`, or from the end; partitions older than `oldest` are left out.
    pub(super) fn new(
        view: View<'a>,
        prefix: Vec<u8>,
        from: Option<Before>,
        oldest: Partition,
        at_once: NonZeroUsize,
    ) -> Self {
        let newest = from.as_ref().map_or(Partition(u32::MAX), |from| from.partition);
        let partitions = view.partitions.iter().copied();
        let partitions: VecDeque<_> = partitions.filter(|partition| (oldest..=newest).contains(partition)).collect();
        let before = from.filter(|from| partitions.front() == Some(&from.partition));
        let before = before.map(|from| [&prefix[..], &from.suffix].concat());
        Self { view, prefix, partitions, before, at_once, read: VecDeque::new() }
    }

    /// The next row, without leaving it behind.
    pub(super) fn peek(&mut self) -> Result<Option<&Walked>, StoreError> {
        while self.read.is_empty() {
            let Some(partition) = self.partitions.front().copied() else { return Ok(None) };
            let end = self.before.take().unwrap_or_else(|| keys::end_of(&self.prefix));
            let rows = self.view.directed(partition, &self.prefix, &end, Direction::Backward, self.at_once)?;
            if rows.len() < self.at_once.get() {
                self.partitions.pop_front();
            } else {
                self.before = rows.last().map(|(key, _)| key.to_vec());
            }
            let walked =
                |(key, value): (Bytes, Bytes)| Walked { partition, suffix: key.slice(self.prefix.len()..), value };
            self.read.extend(rows.into_iter().map(walked));
        }
        Ok(self.read.front())
    }

    /// The next row.
    pub(super) fn next(&mut self) -> Result<Option<Walked>, StoreError> {
        self.peek()?;
        Ok(self.read.pop_front())
    }
}

impl Before {
    /// As the part of a cursor.
    pub(super) fn of(row: &Walked) -> Self {
        Self { partition: row.partition, suffix: row.suffix.to_vec() }
    }

    /// Appends four bytes and the suffix.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.partition.0.to_be_bytes());
        out.extend_from_slice(&self.suffix);
    }

    /// What [`encode`](Self::encode) appended.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let mut suffix = keys::Suffix(bytes);
        Self { partition: Partition(suffix.u32().unwrap_or_default()), suffix: suffix.0.to_vec() }
    }
}
