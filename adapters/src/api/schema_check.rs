//! What becomes of payloads that do not match their schema, as types and applications say it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What becomes of payloads that do not match their schema.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum SchemaCheck {
    /// They are refused.
    Enforce,
    /// They are accepted, and the publisher is told.
    Warn,
    /// Nobody looks.
    Off,
}

impl From<SchemaCheck> for postrider::SchemaCheck {
    fn from(check: SchemaCheck) -> Self {
        match check {
            SchemaCheck::Enforce => Self::Enforce,
            SchemaCheck::Warn => Self::Warn,
            SchemaCheck::Off => Self::Off,
        }
    }
}

impl From<postrider::SchemaCheck> for SchemaCheck {
    fn from(check: postrider::SchemaCheck) -> Self {
        match check {
            postrider::SchemaCheck::Enforce => Self::Enforce,
            postrider::SchemaCheck::Warn => Self::Warn,
            postrider::SchemaCheck::Off => Self::Off,
        }
    }
}
