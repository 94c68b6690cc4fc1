//! The small rows that guards ask for, as they are stored: what was just written is not read back from the disk.
//!
//! It is never wrong because its store is the only writer, and fills it only after a write.

use bytes::Bytes;
use foldhash::HashMap;

use super::keys::table;

/// Rows of the younger half; there are at most twice as many in all, some 200 bytes each.
const ROWS_MAX: usize = 16 * 1024;

/// Rows by partition and key; a row that is known to be absent is there as none. Bounded: what was not used while
/// [`ROWS_MAX`] others were is forgotten.
#[derive(Default)]
pub(super) struct Cache {
    young: HashMap<Bytes, Option<Bytes>>,
    old: HashMap<Bytes, Option<Bytes>>,
}

impl Cache {
    /// Whether rows of this table are kept at all.
    pub(super) const fn keeps(table: u8) -> bool {
        matches!(table, table::QUEUE | table::ROUTING | table::READY | table::DUE)
    }

    /// The row, or that there is none, if that is known.
    pub(super) fn get(&mut self, row: &[u8]) -> Option<Option<Bytes>> {
        if let Some(value) = self.young.get(row) {
            return Some(value.clone());
        }
        let (row, value) = self.old.remove_entry(row)?;
        self.put(row, value.clone());
        Some(value)
    }

    /// How the row is stored now.
    pub(super) fn put(&mut self, row: Bytes, value: Option<Bytes>) {
        if self.young.len() >= ROWS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(row, value);
    }

    /// How a row that is looked up for long is stored now. It gets memory of its own: it must not hold on to that of
    /// the rows that were written beside it.
    pub(super) fn put_lasting(&mut self, row: &[u8], value: Option<&[u8]>) {
        self.put(Bytes::copy_from_slice(row), value.map(Bytes::copy_from_slice));
    }
}

#[cfg(test)]
mod tests;
