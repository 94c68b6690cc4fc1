//! Documents: kept under their names, guarded by their revisions, listed in their order.

use bytes::Bytes;
use postrider_core::{Batch, Document, DocumentId, DocumentKind, Guard, OrderingMode, OrganisationId, Refused, Write};

use crate::{
    DocumentQuery, OpenStore,
    testing::world::{World, many},
};

const KIND: DocumentKind = DocumentKind::EventType;

fn document(organisation: OrganisationId, name: &str, revision: u64) -> Document {
    let value = Bytes::from(format!("{name} {revision}"));
    Document { id: DocumentId::new(KIND, organisation, name), revision, value }
}

/// What was put is read as it was, also after a restart; what was dropped is gone.
pub async fn a_document_is_read_as_it_was_put(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let one = document(OrganisationId::DEFAULT, "invoice.paid", 1);
    world.write([Write::Document(Box::new(one.clone()))]).await;
    let world = world.reopen(medium).await;
    let read = world.store.reads().document(&one.id).await.expect("the store answers");
    assert_eq!(read.as_ref(), Some(&one));
    let other_kind = DocumentId { kind: DocumentKind::Task, ..one.id.clone() };
    assert_eq!(world.store.reads().document(&other_kind).await.expect("the store answers"), None);
    world.write([Write::DropDocument(one.id.clone()), Write::DropDocument(other_kind)]).await;
    assert_eq!(world.store.reads().document(&one.id).await.expect("the store answers"), None);
}

/// A change that its writer did not see is not overwritten, and neither is one of the same group.
pub async fn a_document_is_guarded_by_its_revision(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let put = |seen: u64| {
        let document = document(OrganisationId::DEFAULT, "invoice.paid", seen + 1);
        let guard = Guard::Document(document.id.clone(), seen);
        Batch::synced([Write::Document(Box::new(document))]).guarded(guard)
    };
    let verdicts = world.commit([put(0), put(0), put(1)]).await;
    assert!(verdicts[0].is_ok() && verdicts[2].is_ok(), "{verdicts:?}");
    assert_eq!(verdicts[1], Err(Refused::Revision));
}

/// A list runs both ways, from anywhere, and shows one organisation nothing of another.
pub async fn documents_are_listed_in_their_order(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let (ours, theirs) = (OrganisationId::DEFAULT, OrganisationId::from_bytes([255; 20]));
    for (organisation, name) in [(ours, "b"), (theirs, "a"), (ours, "a"), (ours, "c"), (theirs, "b")] {
        world.write([Write::Document(Box::new(document(organisation, name, 1)))]).await;
    }
    let list = async |query: DocumentQuery| {
        let found = world.store.reads().documents(&query, many(2)).await.expect("the store answers");
        found.iter().map(|found| found.id.name.to_string()).collect::<Vec<_>>()
    };
    let of = |organisation| DocumentQuery { organisation: Some(organisation), ..DocumentQuery::all(KIND) };
    let after = |name: &str| Some(DocumentId::new(KIND, ours, name));
    assert_eq!(list(of(ours)).await, ["a", "b"]);
    assert_eq!(list(DocumentQuery { after: after("b"), ..of(ours) }).await, ["c"]);
    assert_eq!(list(DocumentQuery { backward: true, ..of(ours) }).await, ["c", "b"]);
    assert_eq!(list(DocumentQuery { backward: true, after: after("b"), ..of(ours) }).await, ["a"]);
    assert_eq!(list(of(theirs)).await, ["a", "b"]);
    let behind_ours = DocumentQuery { after: after("c"), ..DocumentQuery::all(KIND) };
    assert_eq!(list(behind_ours).await, ["a", "b"], "of all organisations");
    assert_eq!(list(DocumentQuery::all(DocumentKind::Task)).await, [""; 0]);
}
