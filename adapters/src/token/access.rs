//! What a portal token may do: all that its application may, or less.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that a restricted token may do, by the names that Svix has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = AppPortalCapability)]
pub enum Capability {
    /// Read all but secrets.
    ViewBase,
    /// Read the secrets of endpoints.
    ViewEndpointSecret,
    /// Give endpoints new secrets.
    ManageEndpointSecret,
    /// Nothing here asks for it.
    ManageTransformations,
    /// Have messages sent again.
    CreateAttempts,
    /// Make, change, hold and delete endpoints.
    ManageEndpoint,
}

impl Capability {
    const ALL: [Self; 6] = [
        Self::ViewBase,
        Self::ViewEndpointSecret,
        Self::ManageEndpointSecret,
        Self::ManageTransformations,
        Self::CreateAttempts,
        Self::ManageEndpoint,
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What a token may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Access {
    read_only: bool,
    capabilities: u8,
}

impl Access {
    /// All that an application may.
    pub const ALL: Self = Self { read_only: false, capabilities: u8::MAX };

    /// These alone.
    #[must_use]
    pub fn only(self, capabilities: &[Capability]) -> Self {
        let capabilities = capabilities.iter().fold(0, |all, one| all | one.bit());
        Self { capabilities, ..self }
    }

    /// The same, and changes nothing.
    #[must_use]
    pub const fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// Whether it changes nothing, whatever else it may do.
    pub const fn is_read_only(self) -> bool {
        self.read_only
    }

    /// Whether this is among what it may do.
    pub const fn has(self, capability: Capability) -> bool {
        self.capabilities & capability.bit() != 0
    }

    /// As a token says it.
    pub(super) fn claims(self) -> AccessClaims {
        let named = |capability: &Capability| format!("{capability:?}");
        let is_restricted = self.capabilities != u8::MAX;
        let capabilities =
            is_restricted.then(|| Capability::ALL.iter().filter(|one| self.has(**one)).map(named).collect());
        AccessClaims { read_only: self.read_only, capabilities }
    }
}

impl Default for Access {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.claims().fmt(f)
    }
}

/// How a token says what it may do. One that says nothing may do all.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccessClaims {
    #[serde(default, skip_serializing_if = "is_false")]
    read_only: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capabilities: Option<Vec<String>>,
}

impl AccessClaims {
    /// A name that we do not know allows nothing that we do.
    pub(super) fn access(&self) -> Access {
        let all = Access { read_only: self.read_only, ..Access::ALL };
        let Some(names) = &self.capabilities else { return all };
        let is_named = |one: &Capability| names.iter().any(|name| *name == format!("{one:?}"));
        all.only(&Capability::ALL.into_iter().filter(is_named).collect::<Vec<_>>())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
