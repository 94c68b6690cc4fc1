//! Documents: kept as they are brought.

use postrider_core::{Document, DocumentId, Effect};

use super::Transaction;
use crate::{
    StoreError,
    kv::{codec, keys::Key},
};

impl Transaction<'_> {
    pub(super) fn put_document(&mut self, document: &Document) -> Effect {
        let key = Key::Document(&document.id);
        self.rows.put_with(&key, |value| codec::encode_with(&document.revision, &document.value, value));
        Effect::Done
    }

    pub(super) fn document_revision(&mut self, id: &DocumentId) -> Result<u64, StoreError> {
        let Some(value) = self.rows.value(&Key::Document(id))? else { return Ok(0) };
        Ok(codec::decode_with::<u64>(&value)?.0)
    }
}
