//! Documents of one kind, read whole.

use std::num::NonZeroUsize;

use postrider_core::{Document, DocumentKind};
use postrider_storage::{DocumentQuery, Reads, StoreError};

const PAGE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Hands over every document of a kind, of all organisations, a page at a time.
pub(crate) async fn every(
    reads: &dyn Reads,
    kind: DocumentKind,
    mut take: impl FnMut(Document),
) -> Result<(), StoreError> {
    let mut query = DocumentQuery::all(kind);
    loop {
        let found = reads.documents(&query, PAGE).await?;
        let Some(last) = found.last() else { return Ok(()) };
        query.after = Some(last.id.clone());
        found.into_iter().for_each(&mut take);
    }
}
