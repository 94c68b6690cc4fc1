//! Walks over the rows of one list, from the newest partition to the oldest or the other way round, a few at a time.

use std::{collections::VecDeque, num::NonZeroUsize};

use bytes::Bytes;

use super::View;
use crate::{
    StoreError,
    kv::{Direction, Partition, keys},
};

/// Where a walk goes on: behind this row.
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

/// Rows of one list.
pub(super) struct Walk<'a> {
    view: View<'a>,
    direction: Direction,
    prefix: Vec<u8>,
    /// Not begun yet, the first one first.
    partitions: VecDeque<Partition>,
    /// Where to read on in the partition at the front.
    behind: Option<Vec<u8>>,
    at_once: NonZeroUsize,
    read: VecDeque<Walked>,
}

impl<'a> Walk<'a> {
    /// From the newest: before `from`, or from the end; partitions older than `oldest` are left out.
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
        Self::over(view, Direction::Backward, prefix, from, partitions, at_once)
    }

    /// From the oldest: behind `from`, or from the start of the partition `oldest`.
    pub(super) fn forward(
        view: View<'a>,
        prefix: Vec<u8>,
        from: Option<Before>,
        oldest: Partition,
        at_once: NonZeroUsize,
    ) -> Self {
        let oldest = from.as_ref().map_or(oldest, |from| from.partition.max(oldest));
        let partitions = view.partitions.iter().rev().copied().filter(|partition| *partition >= oldest).collect();
        Self::over(view, Direction::Forward, prefix, from, partitions, at_once)
    }

    fn over(
        view: View<'a>,
        direction: Direction,
        prefix: Vec<u8>,
        from: Option<Before>,
        partitions: VecDeque<Partition>,
        at_once: NonZeroUsize,
    ) -> Self {
        let behind = from.filter(|from| partitions.front() == Some(&from.partition));
        let behind = behind.map(|from| [&prefix[..], &from.suffix].concat());
        Self { view, direction, prefix, partitions, behind, at_once, read: VecDeque::new() }
    }

    /// The next row, without leaving it behind.
    pub(super) fn peek(&mut self) -> Result<Option<&Walked>, StoreError> {
        while self.read.is_empty() {
            let Some(partition) = self.partitions.front().copied() else { return Ok(None) };
            let (mut start, mut end) = (self.prefix.clone(), keys::end_of(&self.prefix));
            match (self.direction, self.behind.take()) {
                (_, None) => {}
                (Direction::Forward, Some(behind)) => start = keys::after(&behind),
                (Direction::Backward, Some(behind)) => end = behind,
            }
            let rows = self.view.directed(partition, &start, &end, self.direction, self.at_once)?;
            if rows.len() < self.at_once.get() {
                self.partitions.pop_front();
            } else {
                self.behind = rows.last().map(|(key, _)| key.to_vec());
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
