//! Whether an endpoint's deliveries go out, and every way from one status to another.
//!
//! ```text
//!               Active     Paused     Unproven   Disabled
//!  pause        Paused     Paused     Unproven   Disabled
//!  resume       Active     Active     Unproven   Disabled
//!  enable       Active     Paused     Unproven   Active; Unproven where there is something to prove
//!  disable      Disabled   Disabled   Disabled   Disabled, for the reason that it had
//!  proved       Active     Paused     Active     Disabled
//!  moved        Active     Paused     Active     Disabled; Unproven instead of the first three where there is something to prove
//! ```
//!
//! Moved is an endpoint whose target or proof changes. What a caller asks for in any other way goes through
//! [`EndpointStatus::asked`], so that nobody gets past a proof by asking for one status after another.

use serde::{Deserialize, Serialize};

use crate::Proof;

/// Whether an endpoint's deliveries go out. All but `Active` hold the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointStatus {
    /// Deliveries go out.
    Active,
    /// Held by a person; goes on queueing.
    Paused,
    /// Receives no new events; what is queued is held.
    Disabled(DisableReason),
    /// Goes on queueing until the receiver has proved that it wants what it is sent.
    Unproven,
}

/// Why an endpoint is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DisableReason {
    /// A person said so.
    ByPerson,
    /// The receiver answered 410.
    Gone,
    /// No success for days.
    FailingTooLong,
}

impl EndpointStatus {
    /// A person holds its queue. One without its proof is held already, and must not come out of this without it.
    #[must_use]
    pub const fn paused(self) -> Self {
        match self {
            Self::Active | Self::Paused => Self::Paused,
            Self::Unproven | Self::Disabled(_) => self,
        }
    }

    /// A person lets a paused one go on.
    #[must_use]
    pub const fn resumed(self) -> Self {
        match self {
            Self::Active | Self::Paused => Self::Active,
            Self::Unproven | Self::Disabled(_) => self,
        }
    }

    /// A person lets a disabled one go on. What it has to prove is for [`asked`](Self::asked) to say.
    #[must_use]
    pub const fn enabled(self) -> Self {
        match self {
            Self::Active | Self::Disabled(_) => Self::Active,
            Self::Paused | Self::Unproven => self,
        }
    }

    /// It gets no more; the first reason stays.
    #[must_use]
    pub const fn disabled(self, reason: DisableReason) -> Self {
        match self {
            Self::Active | Self::Paused | Self::Unproven => Self::Disabled(reason),
            Self::Disabled(_) => self,
        }
    }

    /// Its receiver has proved what it had to. What holds it besides goes on to.
    #[must_use]
    pub const fn proved(self) -> Self {
        match self {
            Self::Active | Self::Unproven => Self::Active,
            Self::Paused | Self::Disabled(_) => self,
        }
    }

    /// What an endpoint is that a caller asks to be `wanted`. `before` is what it is; none for one that is made or moved, of
    /// which nothing is proved. One that was disabled proves it anew.
    #[must_use]
    pub const fn asked(wanted: Self, before: Option<Self>, proof: Proof) -> Self {
        let is_proved = match (before, proof) {
            (_, Proof::None) | (Some(Self::Active | Self::Paused), _) => true,
            (Some(Self::Unproven | Self::Disabled(_)) | None, _) => false,
        };
        match (wanted, before) {
            (Self::Disabled(_), Some(held @ Self::Disabled(_))) => held,
            (Self::Disabled(_), _) => wanted,
            (Self::Active | Self::Paused, _) if is_proved => wanted,
            (Self::Unproven, _) if matches!(proof, Proof::None) => Self::Active,
            (Self::Active | Self::Paused | Self::Unproven, _) => Self::Unproven,
        }
    }

    /// Whether it gets no new events.
    pub const fn is_disabled(self) -> bool {
        match self {
            Self::Active | Self::Paused | Self::Unproven => false,
            Self::Disabled(_) => true,
        }
    }
}

#[cfg(test)]
mod tests;
