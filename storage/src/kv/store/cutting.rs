//! Looks for what a purge removes next, beside the commits.

use std::num::NonZeroUsize;

use postrider_core::EndpointId;

use super::{Inner, Key, OrderedKv, Partition, View, Writer};
use crate::{
    StoreError, StoreErrorKind,
    kv::{cut_off::CutPiece, rows::CutRow},
};

impl<K: OrderedKv> Inner<K> {
    /// Looks for the next piece of a purge, for its commit to find it with the writer.
    pub(super) fn find_cut_off(&self, of: EndpointId, rows_max: NonZeroUsize) -> Result<(), StoreError> {
        let cut: CutRow = match View::new(&*self.kv.latest()?, &[]).get(&Key::Cut(of)) {
            Ok(Some(cut)) => cut,
            Ok(None) => return Ok(()),
            // The commit says so.
            Err(error) if error.kind() == StoreErrorKind::Corrupt => return Ok(()),
            Err(error) => return Err(error),
        };
        let is_next = |writer: &mut Writer| writer.cut_off.as_ref().is_some_and(|piece| piece.is_next(&cut, rows_max));
        if self.writing(is_next)? {
            // Found for one who did not wait so long.
            return Ok(());
        }
        let piece = {
            let snapshot = self.kv.latest()?;
            let view = View::new(&*snapshot, &[]);
            CutPiece::find(cut, rows_max, |from, to, limit| view.scan(Partition::LASTING, from, to, limit))?
        };
        self.writing(|writer| writer.cut_off = Some(piece))
    }
}
