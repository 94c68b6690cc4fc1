//! Kinds of events that an organisation describes: for its receivers to read, and for payloads to be checked against.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{InvalidEvent, TEXT_BYTES_MAX, Timestamp, event::is_name};

/// Bytes of all schemas of one event type.
pub const SCHEMAS_BYTES_MAX: usize = 512 << 10;

/// What is said of an event type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct EventTypeSpec {
    /// For people; at most 4 KiB.
    pub description: String,
    /// Not offered any more, and accepted all the same.
    pub deprecated: bool,
    /// Hidden from lists, and no endpoint may begin to ask for it. Events of it are accepted: it may be in use.
    pub archived: bool,
    /// JSON schemas as their text, by version. Payloads are checked against the latest one.
    pub schemas: BTreeMap<SchemaVersion, Box<str>>,
    /// Whether an empty list of schemas was given, and is shown as one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_empty_schemas: bool,
    /// Shown only to portals whose token carries it.
    pub feature_flag: Option<Box<str>>,
    /// Under what it is listed.
    pub group: Option<Box<str>>,
    /// What becomes of payloads that do not match; none is what the engine does with all others.
    pub check: Option<SchemaCheck>,
}

/// Which version of a schema, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaVersion(pub u32);

/// What becomes of a payload that does not match its schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SchemaCheck {
    /// It is refused.
    Enforce,
    /// It is accepted, and the publisher is told.
    Warn,
    /// Nobody looks.
    #[default]
    Off,
}

/// A stored event type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventType {
    /// As in events: `[a-zA-Z0-9._-]{1,256}`, unique within its organisation.
    pub name: Box<str>,
    /// What is said of it.
    pub spec: EventTypeSpec,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts changes; a writer says which one it saw.
    pub revision: u64,
}

impl EventTypeSpec {
    /// An event type that is described so.
    pub fn new(description: impl Into<String>) -> Self {
        Self { description: description.into(), ..Self::default() }
    }

    /// With this schema, which is the latest if `version` is.
    #[must_use]
    pub fn schema(mut self, version: u32, json: impl Into<Box<str>>) -> Self {
        self.schemas.insert(SchemaVersion(version), json.into());
        self
    }

    /// What becomes of payloads that do not match.
    #[must_use]
    pub const fn check(mut self, check: SchemaCheck) -> Self {
        self.check = Some(check);
        self
    }

    /// The schema that payloads are checked against.
    pub fn latest(&self) -> Option<(SchemaVersion, &str)> {
        self.schemas.last_key_value().map(|(version, schema)| (*version, &**schema))
    }

    /// What is wrong with it under this name, if anything; whether its schemas are any is for others to say.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn validate(&self, name: &str) -> Result<(), InvalidEventType> {
        if !is_name(name) {
            return Err(InvalidEventType::Name(InvalidEvent::Type));
        }
        if self.description.len() > TEXT_BYTES_MAX {
            return Err(InvalidEventType::Description);
        }
        if self.schemas.keys().any(|version| version.0 == 0) {
            return Err(InvalidEventType::Version);
        }
        if self.schemas.values().map(|schema| schema.len()).sum::<usize>() > SCHEMAS_BYTES_MAX {
            return Err(InvalidEventType::SchemasTooLarge);
        }
        if [&self.feature_flag, &self.group].into_iter().flatten().any(|name| !is_name(name)) {
            return Err(InvalidEventType::Tag);
        }
        Ok(())
    }
}

/// What is wrong with an event type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEventType {
    /// Choose another one.
    #[error("name is not valid")]
    Name(#[source] InvalidEvent),
    /// Say less.
    #[error("description may have at most {TEXT_BYTES_MAX} bytes")]
    Description,
    /// Count from 1.
    #[error("schema versions are whole numbers from 1")]
    Version,
    /// Keep fewer versions, or smaller ones.
    #[error("schemas may have {SCHEMAS_BYTES_MAX} bytes in all")]
    SchemasTooLarge,
    /// Use 1 to 256 letters, digits, `_`, `-` and dots.
    #[error("feature flag and group must have 1 to 256 characters out of letters, digits, '.', '_' and '-'")]
    Tag,
    /// The schema must change: JSON Schema, draft 4 to 2020-12, without references to other documents.
    #[error("schema {version} is not valid: {why}")]
    Schema {
        /// Which one.
        version: u32,
        /// What is wrong with it.
        why: Box<str>,
    },
}
