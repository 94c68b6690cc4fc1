//! How urgent a message is, as it is said and shown.

use postrider::Priority;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Goes first at an endpoint, wherever order leaves a choice.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessagePriority)]
pub(super) enum PriorityKind {
    High,
    Normal,
    Low,
}

impl From<PriorityKind> for Priority {
    fn from(kind: PriorityKind) -> Self {
        match kind {
            PriorityKind::High => Self::High,
            PriorityKind::Normal => Self::Normal,
            PriorityKind::Low => Self::Low,
        }
    }
}

impl PriorityKind {
    /// Shown unless it goes without saying.
    pub(super) const fn shown(priority: Priority) -> Option<Self> {
        match priority {
            Priority::High => Some(Self::High),
            Priority::Normal => None,
            Priority::Low => Some(Self::Low),
        }
    }
}
