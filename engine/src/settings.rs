//! Settings of organisations, in memory, as last committed. They are few and small.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use bytes::Bytes;
use postrider_core::{Document, DocumentId, DocumentKind, ExpiredTokens};
use postrider_storage::{Reads, StoreError};
use serde::de::DeserializeOwned;
use tracing::error;

use crate::documents;

/// Every setting, as last committed.
#[derive(Debug, Default)]
pub(crate) struct Settings(RwLock<All>);

/// What a store holds of settings.
pub(crate) type All = HashMap<DocumentId, Known>;

/// A setting, and what it says of tokens once somebody asked.
#[derive(Debug)]
pub(crate) struct Known {
    value: Bytes,
    expired_tokens: OnceLock<Option<Arc<ExpiredTokens>>>,
}

impl Settings {
    /// Reads all of them, a page at a time.
    pub(crate) async fn read(reads: &dyn Reads) -> Result<All, StoreError> {
        let mut all = All::new();
        documents::every(reads, DocumentKind::Setting, |document| all.extend([known(&document)])).await?;
        Ok(all)
    }

    /// What was read takes the place of what was known. Only while nothing is committed.
    pub(crate) fn replace(&self, all: All) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// As committed.
    pub(crate) fn put(&self, document: &Document) {
        let (id, known) = known(document);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, known);
    }

    /// As committed.
    pub(crate) fn remove(&self, id: &DocumentId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// The JSON that it holds; none if there is no such setting, or it makes no sense.
    pub(crate) fn find<T: DeserializeOwned>(&self, id: &DocumentId) -> Option<T> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        parsed(id, &all.get(id)?.value)
    }

    /// As [`find`](Self::find), and read once: every request of a portal asks.
    pub(crate) fn expired_tokens(&self, id: &DocumentId) -> Option<Arc<ExpiredTokens>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Known { value, expired_tokens } = all.get(id)?;
        expired_tokens.get_or_init(|| parsed(id, value).map(Arc::new)).clone()
    }
}

fn parsed<T: DeserializeOwned>(id: &DocumentId, value: &[u8]) -> Option<T> {
    let read = serde_json::from_slice(value);
    read.inspect_err(|error| error!(organisation = %id.organisation, name = %id.name, %error, "setting is damaged"))
        .ok()
}

fn known(document: &Document) -> (DocumentId, Known) {
    (document.id.clone(), Known { value: document.value.clone(), expired_tokens: OnceLock::new() })
}
