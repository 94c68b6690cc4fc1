//! Where the store is, while it is open.

use std::sync::Arc;

use postrider_storage::{Store, StoreError, StoreErrorKind};
use tokio::sync::watch;

use crate::timed_store::TimedStore;

/// The store, while it is open. Nobody keeps it longer than one call: a store on disk opens again only when every
/// handle to it is gone.
#[derive(Debug)]
pub(crate) struct StoreCell(watch::Sender<Option<Arc<dyn Store>>>);

impl StoreCell {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self(watch::Sender::new(Some(timed(store))))
    }

    /// For what can wait until the store is open again.
    pub(crate) async fn opened(&self) -> Arc<dyn Store> {
        let mut changes = self.0.subscribe();
        loop {
            if let Some(store) = &*changes.borrow_and_update() {
                return Arc::clone(store);
            }
            let _the_sender_is_ours = changes.changed().await;
        }
    }

    /// For whoever rather hears that it is not.
    pub(crate) fn get(&self) -> Result<Arc<dyn Store>, StoreError> {
        let closed = || StoreError::new(StoreErrorKind::Unavailable, "reach the store", "it is not open at the moment");
        self.0.borrow().clone().ok_or_else(closed)
    }

    /// Whether this is the store that is open now.
    pub(crate) fn is_current(&self, store: &Arc<dyn Store>) -> bool {
        self.0.borrow().as_ref().is_some_and(|current| std::ptr::addr_eq(Arc::as_ptr(current), Arc::as_ptr(store)))
    }

    pub(crate) fn set(&self, store: Option<Arc<dyn Store>>) {
        self.0.send_replace(store.map(timed));
    }
}

/// Nobody waits for a read that does not end.
fn timed(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(TimedStore(store))
}
