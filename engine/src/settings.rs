//! Settings of organisations, in memory, as last committed. They are few and small.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{PoisonError, RwLock},
};

use postrider_core::{Document, DocumentId, DocumentKind};
use postrider_storage::{DocumentQuery, Reads, StoreError};
use serde::de::DeserializeOwned;
use tracing::error;

const PAGE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Every setting, as last committed.
#[derive(Debug, Default)]
pub(crate) struct Settings(RwLock<All>);

/// What a store holds of settings.
pub(crate) type All = HashMap<DocumentId, Document>;

impl Settings {
    /// Reads all of them, a page at a time.
    pub(crate) async fn read(reads: &dyn Reads) -> Result<All, StoreError> {
        let (mut all, mut query) = (All::new(), DocumentQuery::all(DocumentKind::Setting));
        loop {
            let found = reads.documents(&query, PAGE).await?;
            let Some(last) = found.last() else { return Ok(all) };
            query.after = Some(last.id.clone());
            all.extend(found.into_iter().map(|document| (document.id.clone(), document)));
        }
    }

    /// What was read takes the place of what was known.
    pub(crate) fn replace(&self, all: All) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// As committed.
    pub(crate) fn put(&self, document: &Document) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(document.id.clone(), document.clone());
    }

    /// As committed.
    pub(crate) fn remove(&self, id: &DocumentId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// The JSON that it holds; none if there is none, or it makes no sense.
    pub(crate) fn find<T: DeserializeOwned>(&self, id: &DocumentId) -> Option<T> {
        let value = self.0.read().unwrap_or_else(PoisonError::into_inner).get(id)?.value.clone();
        let read = serde_json::from_slice(&value);
        read.inspect_err(|error| error!(organisation = %id.organisation, name = %id.name, %error, "setting is damaged"))
            .ok()
    }
}
