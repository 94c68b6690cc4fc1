//! Removes what is left of queues that were cut off, a piece at a time, behind everything else.

use std::{
    collections::{BTreeSet, VecDeque},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use postrider_core::{ApplicationId, Batch, EndpointId, More, Write};
use postrider_storage::StoreError;
use tokio::time::sleep;
use tracing::{debug, error};

use crate::inner::Inner;

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
    let mut aside = BTreeSet::new();
    loop {
        match inner.purge_some(&mut aside).await {
            Ok(Purged::Nothing) => inner.cut_off.notified().await,
            Ok(Purged::Some) => {}
            Ok(Purged::NotNow) => sleep(AFTER_FAILURE).await,
            Err(_reported) => sleep(AFTER_FAILURE).await,
        }
    }
}

/// What became of one piece.
enum Piece {
    Done(More),
    /// It would be refused again and again, and keeps no other waiting.
    Refused,
    NotNow,
}

enum Purged {
    Nothing,
    Some,
    NotNow,
}

impl Inner {
    /// Those in `aside` are left to the next start.
    async fn purge_some(&self, aside: &mut BTreeSet<EndpointId>) -> Result<Purged, StoreError> {
        let store = self.store.opened().await;
        let limit = AT_ONCE.saturating_add(aside.len());
        let read = store.reads().cut_off(limit).await;
        let mut endpoints = read.inspect_err(|error| self.store_failed(&store, error.clone()))?;
        drop(store);
        endpoints.retain(|endpoint| !aside.contains(endpoint));
        if endpoints.is_empty() {
            return Ok(Purged::Nothing);
        }
        // A piece of each in turn: what is large keeps nothing small waiting.
        let mut left: VecDeque<_> = endpoints.into();
        while let Some(endpoint) = left.pop_front() {
            match self.purge_piece(endpoint).await {
                Piece::Done(More::Yes) => left.push_back(endpoint),
                Piece::Done(More::No) => debug!(%endpoint, "queue that was cut off is purged"),
                Piece::Refused => {
                    error!(%endpoint, "stored rows of a queue that was cut off make no sense, it is purged no further: a person must look");
                    aside.insert(endpoint);
                }
                Piece::NotNow => return Ok(Purged::NotNow),
            }
        }
        Ok(if self.lifecycle.gate().is_ok() { Purged::Some } else { Purged::NotNow })
    }

    async fn purge_piece(&self, endpoint: EndpointId) -> Piece {
        // Beside the commits; if that fails or takes too long, it is found already when this is asked again.
        if self.store.opened().await.find_cut_off(endpoint, PIECE).await.is_err() {
            return Piece::NotNow;
        }
        let piece = Batch::synced([Write::Purge(endpoint, PIECE)]).relaxed();
        // Its application may be gone: it has turns of its own.
        let line = ApplicationId::from_bytes(endpoint.to_bytes());
        match self.commits.submit_for(line, piece).answer().await {
            Ok(Ok(done)) => done.more().map_or(Piece::Refused, Piece::Done),
            Ok(Err(_)) => Piece::Refused,
            Err(_) => Piece::NotNow,
        }
    }
}
