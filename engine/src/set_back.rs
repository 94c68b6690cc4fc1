//! At start: what waits for a time that a clock named which ran ahead is moved back, before anybody looks at it.

use std::{num::NonZeroUsize, sync::Arc};

use postrider_core::{Batch, Committed, Durability, More, Timestamp, Write};
use postrider_storage::{Store, StoreError};

use crate::store_call::answer_of;

/// Rows in one piece.
const PIECE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

/// Only at start: a clock of ours never goes back while the engine runs.
pub(crate) async fn set_back(store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
    if !store.reads().was_ahead_of(now).await? {
        return Ok(());
    }
    let piece: Arc<[Batch]> = [Batch::synced([Write::Clock(now, PIECE)])].into();
    loop {
        let commit = async { store.commit(Arc::clone(&piece), Durability::Synced).await };
        let verdicts = answer_of("move what waits", commit).await?;
        if verdicts.iter().flatten().find_map(Committed::more) != Some(More::Yes) {
            return Ok(());
        }
    }
}
