//! Small records that an organisation keeps with the engine besides applications and endpoints: event types, tasks.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::OrganisationId;

/// Bytes of a document.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// What a document is. Stored as its number: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum DocumentKind {
    /// An event type with its schemas, by its name.
    EventType = 1,
    /// A task, by its id.
    Task = 2,
    /// A task that has not ended, by its id: what a start goes on with.
    OpenTask = 3,
    /// The answer to a request that may be sent again, by the hash of its idempotency key.
    Answer = 4,
    /// What holds for all of an organisation, by a name.
    Setting = 5,
    /// That an answer was kept, by the time of that and its hash: what is old is found in front.
    AnswerAge = 6,
    /// Counts of a task that are kept beside it, by its id and their number.
    TaskPart = 7,
}

/// Names one document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    /// What it is.
    pub kind: DocumentKind,
    /// Whose it is.
    pub organisation: OrganisationId,
    /// Which one: 1 to 256 bytes.
    pub name: Box<str>,
}

impl DocumentId {
    /// The document of this kind, owner and name.
    pub fn new(kind: DocumentKind, organisation: OrganisationId, name: impl Into<Box<str>>) -> Self {
        Self { kind, organisation, name: name.into() }
    }
}

/// One document as it is stored. What is in it is between those who write and read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Which one.
    pub id: DocumentId,
    /// Counts changes; a writer says which one it saw.
    pub revision: u64,
    /// At most [`DOCUMENT_BYTES_MAX`].
    pub value: Bytes,
}
