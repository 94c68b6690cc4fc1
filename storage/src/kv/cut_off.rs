//! The rows of a queue that was cut off, a piece at a time. The next piece is looked for beside the commits: a store on disk
//! may have to step over the remains of a million rows to find one, or to find that none is left.
//!
//! What was looked for stays true until it is removed: nothing is written to a queue that is gone, nor to generations
//! that are over, and a dead letter that is written meanwhile is of a later one.

use std::num::NonZeroUsize;

use bytes::Bytes;
use postrider_core::{EndpointId, Generation};

use super::{
    keys::{self, ID_BYTES, table},
    rows::{Cut, CutRow},
};
use crate::StoreError;

/// In which order: by table, so that the last key removed says where to go on.
const TABLES: [u8; 5] = [table::DUE, table::DEAD_LETTER, table::URGENT, table::READY, table::SOFT];

/// A piece of what was cut off.
pub(super) struct CutPiece {
    cut: CutRow,
    /// With their tables, in the order of their keys.
    pub(super) rows: Vec<(u8, Bytes, Bytes)>,
    /// Nothing lies behind it.
    pub(super) is_last: bool,
}

impl CutPiece {
    /// The next one, of at most so many rows.
    pub(super) fn find(
        cut: CutRow,
        rows_max: NonZeroUsize,
        scan: impl Fn(&[u8], &[u8], NonZeroUsize) -> Result<Vec<(Bytes, Bytes)>, StoreError>,
    ) -> Result<Self, StoreError> {
        let mut rows = Vec::new();
        for table in TABLES {
            let (start, end) = range(cut.endpoint, &cut.what, table);
            let from = start.max(keys::after(&cut.after));
            let Some(left) = NonZeroUsize::new(rows_max.get() - rows.len()) else { break };
            rows.extend(scan(&from, &end, left)?.into_iter().map(|(key, value)| (table, key, value)));
        }
        let is_last = rows.len() < rows_max.get();
        Ok(Self { cut, rows, is_last })
    }

    /// Whether it is the next one of this, and has no more rows than that.
    pub(super) fn is_next(&self, cut: &CutRow, rows_max: NonZeroUsize) -> bool {
        self.cut == *cut && self.rows.len() <= rows_max.get()
    }
}

fn range(of: EndpointId, cut: &Cut, table: u8) -> (Vec<u8>, Vec<u8>) {
    let start = keys::under(table, of.to_bytes());
    match (cut, table) {
        (Cut::Whole, _) | (Cut::Before(_), table::DEAD_LETTER) => {
            let end = keys::end_of(&start);
            (start, end)
        }
        (Cut::Before(Generation(kept)), table::READY | table::DUE | table::URGENT) => {
            let end = [&start[..=ID_BYTES], &kept.to_be_bytes()].concat();
            (start, end)
        }
        // Soft state speaks of the receiver, not of the rows that were cut off.
        (Cut::Before(_), _) => (start.clone(), start),
    }
}
