//! Documents: one, or those of one kind in their order.

use std::num::NonZeroUsize;

use bytes::Bytes;
use postrider_core::{Document, DocumentId, OrganisationId};

use super::View;
use crate::{
    DocumentQuery, StoreError,
    kv::{
        Direction, Partition,
        codec::{corrupt, decode_with},
        keys::{self, Key, Suffix},
    },
};

impl View<'_> {
    pub(in crate::kv) fn document(self, id: DocumentId) -> Result<Option<Document>, StoreError> {
        self.value(&Key::Document(&id))?.map(|value| document(id, &value)).transpose()
    }

    pub(in crate::kv) fn documents(
        self,
        query: &DocumentQuery,
        limit: NonZeroUsize,
    ) -> Result<Vec<Document>, StoreError> {
        let prefix = keys::documents(query.kind, query.organisation);
        let (mut from, mut to) = (prefix.clone(), keys::end_of(&prefix));
        let direction = if query.backward { Direction::Backward } else { Direction::Forward };
        if let Some(after) = query.after.as_ref().map(|after| Key::Document(after).bytes()) {
            // One that lies elsewhere moves neither end.
            match direction {
                Direction::Forward => from = from.max(keys::after(&after)),
                Direction::Backward => to = to.min(after),
            }
        }
        let rows = self.directed(Partition::LASTING, &from, &to, direction, limit)?;
        let kind = keys::documents(query.kind, None).len();
        let understand = |(key, value): (Bytes, Bytes)| {
            let mut suffix = Suffix(key.get(kind..).unwrap_or_default());
            let id = suffix.id().zip(std::str::from_utf8(suffix.0).ok());
            let (organisation, name) = id.ok_or_else(|| corrupt("its key is cut short"))?;
            document(DocumentId::new(query.kind, OrganisationId::from_bytes(organisation), name), &value)
        };
        rows.into_iter().map(understand).collect()
    }
}

fn document(id: DocumentId, value: &Bytes) -> Result<Document, StoreError> {
    let (revision, rest) = decode_with::<u64>(value)?;
    Ok(Document { id, revision, value: value.slice_ref(rest) })
}
