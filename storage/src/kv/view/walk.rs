//! Walks over the rows of one list, from the newest partition to the oldest or the other way round, a few at a time.

use std::{collections::VecDeque, num::NonZeroUsize};

use bytes::Bytes;

use super::{View, pages::cut};
use crate::{
    StoreError,
    kv::{Direction, Partition, keys},
};

/// Where a walk goes on: behind this row, whether it is there or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
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
    /// Behind `from`, or from the end where the direction begins; partitions older than `oldest` are left out.
    pub(super) fn new(
        view: View<'a>,
        direction: Direction,
        prefix: Vec<u8>,
        from: Option<Place>,
        oldest: Partition,
        at_once: NonZeroUsize,
    ) -> Self {
        let reached = from.as_ref().map(|from| from.partition);
        let partitions = view.partitions.iter().copied().filter(|partition| *partition >= oldest);
        let partitions: VecDeque<_> = match direction {
            Direction::Forward => {
                partitions.rev().filter(|partition| reached.is_none_or(|reached| reached <= *partition)).collect()
            }
            Direction::Backward => {
                partitions.filter(|partition| reached.is_none_or(|reached| *partition <= reached)).collect()
            }
        };
        let behind = from.filter(|from| partitions.front() == Some(&from.partition));
        let behind = behind.map(|from| [&prefix[..], &from.suffix].concat());
        Self { view, direction, prefix, partitions, behind, at_once, read: VecDeque::new() }
    }

    /// The next row, without leaving it behind.
    pub(super) fn peek(&mut self) -> Result<Option<&Walked>, StoreError> {
        while self.read.is_empty() {
            let Some(partition) = self.partitions.front().copied() else { return Ok(None) };
            let mut range = (self.prefix.clone(), keys::end_of(&self.prefix));
            if let Some(behind) = self.behind.take() {
                cut(&mut range, self.direction, &behind);
            }
            let rows = self.view.directed(partition, &range.0, &range.1, self.direction, self.at_once)?;
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

    /// What is read already: the next row, and some that follow.
    pub(super) fn ahead(&self) -> impl Iterator<Item = &Walked> {
        self.read.iter()
    }

    /// The next row.
    pub(super) fn next(&mut self) -> Result<Option<Walked>, StoreError> {
        self.peek()?;
        Ok(self.read.pop_front())
    }
}

impl Place {
    /// As the part of a cursor.
    pub(super) fn of(row: &Walked) -> Self {
        Self { partition: row.partition, suffix: row.suffix.to_vec() }
    }

    /// The place beside this one in the order of keys.
    pub(super) fn next_to(&self, direction: Direction) -> Self {
        let (mut suffix, step, turns_at) = match direction {
            Direction::Forward => (self.suffix.clone(), 1, 0),
            Direction::Backward => (self.suffix.clone(), u8::MAX, u8::MAX),
        };
        for byte in suffix.iter_mut().rev() {
            *byte = byte.wrapping_add(step);
            if *byte != turns_at {
                break;
            }
        }
        Self { partition: self.partition, suffix }
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
