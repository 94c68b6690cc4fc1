//! Counts what waits in queues, beside the commits: the writer is held up only to begin a piece and to note it.

use std::num::NonZeroUsize;

use postrider_core::More;

use super::{Inner, OrderedKv, View};
use crate::{
    StoreError,
    kv::counts::{Counts, Looked},
};

/// Queues that are looked for at once.
const QUEUES_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

impl<K: OrderedKv> Inner<K> {
    /// Counts on. What is found is kept until somebody hears of it: who asked may have gone in the meantime.
    pub(super) fn count_queued(&self, rows_max: NonZeroUsize) -> Result<More, StoreError> {
        if self.counts(|counts| counts.needs_queues())? {
            let next = self.known.next(View::new(&*self.kv.snapshot()?, &[]), QUEUES_AT_ONCE.min(rows_max))?;
            self.counts(|counts| counts.come(next))?;
        }
        let mut left = rows_max.get();
        while left > 0 {
            let Some(looked) = self.look_at_piece(&mut left)? else { break };
            // Also where there is nothing.
            left = left.saturating_sub(1);
            self.counts(|counts| counts.note(looked))?;
        }
        self.counts(|counts| counts.more())
    }

    /// Reads the next piece, at most `left` rows. What is committed meanwhile is made up for when it is noted.
    pub(super) fn look_at_piece(&self, left: &mut usize) -> Result<Option<Looked>, StoreError> {
        if let Some((of, generation)) = self.counts(|counts| counts.next())? {
            self.find_due(of, generation)?;
        }
        let begun = self.counts(|counts| {
            let snapshot = self.kv.latest()?;
            let piece = counts.begin_piece(&*snapshot)?;
            Ok::<_, StoreError>(piece.map(|piece| (snapshot, piece)))
        });
        let Some((snapshot, piece)) = begun?? else { return Ok(None) };
        piece.look(&*snapshot, left).map(Some)
    }

    /// Between two commits.
    pub(super) fn counts<T>(&self, then: impl FnOnce(&mut Counts) -> T) -> Result<T, StoreError> {
        self.writing(|writer| then(&mut writer.counts))
    }
}
