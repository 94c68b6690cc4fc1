//! Removes what is left of queues that were cut off, a piece at a time, behind everything else.

use std::{collections::VecDeque, num::NonZeroUsize, sync::Arc, time::Duration};

use postrider_core::{ApplicationId, Batch, Durability, EndpointId, More, Write};
use postrider_storage::StoreError;
use tokio::time::sleep;
use tracing::debug;

use crate::{inner::Inner, store_call::answer_of};

/// Rows in one piece.
const PIECE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);
/// Endpoints looked for at once.
const AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Purges until the engine ends.
pub(crate) async fn purge(inner: Arc<Inner>) {
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = purge_on(&inner) => {}
    }
}

async fn purge_on(inner: &Inner) {
    loop {
        match inner.purge_some().await {
            Ok(Purged::Nothing) => inner.cut_off.notified().await,
            Ok(Purged::Some) => {}
            Ok(Purged::NotNow) => sleep(AFTER_FAILURE).await,
            Err(_reported) => sleep(AFTER_FAILURE).await,
        }
    }
}

enum Purged {
    Nothing,
    Some,
    NotNow,
}

impl Inner {
    async fn purge_some(&self) -> Result<Purged, StoreError> {
        let store = self.store.opened().await;
        let read = answer_of("read what was cut off", async { store.reads().cut_off(AT_ONCE).await }).await;
        let endpoints = read.inspect_err(|error| self.store_failed(&store, error.clone()))?;
        drop(store);
        if endpoints.is_empty() {
            return Ok(Purged::Nothing);
        }
        // A piece of each in turn: what is large keeps nothing small waiting.
        let mut left: VecDeque<_> = endpoints.into();
        while let Some(endpoint) = left.pop_front() {
            match self.purge_piece(endpoint).await {
                Some(More::Yes) => left.push_back(endpoint),
                Some(More::No) => debug!(%endpoint, "queue that was cut off is purged"),
                None => return Ok(Purged::NotNow),
            }
        }
        Ok(if self.lifecycle.gate().is_ok() { Purged::Some } else { Purged::NotNow })
    }

    /// None if it could not be done now.
    async fn purge_piece(&self, endpoint: EndpointId) -> Option<More> {
        let piece = Batch { durability: Durability::Relaxed, ..Batch::synced([Write::Purge(endpoint, PIECE)]) };
        // Its application may be gone: it has turns of its own.
        let line = ApplicationId::from_bytes(endpoint.to_bytes());
        self.commits.submit_for(line, piece).answer().await.ok()?.ok()?.more()
    }
}
