//! What single writes and guards say: which try, which event once more, what is to be done when.

use std::num::NonZeroU32;

use crate::{ApplicationId, AttemptNumber, DeliveryId, EndpointId, EventId, Generation, Life, Timestamp};

/// How many more a queue must have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// So many are to be added.
    pub added: u32,
    /// So many may wait in all.
    pub limit: NonZeroU32,
}

/// One manual try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resend {
    /// Whose event.
    pub application: ApplicationId,
    /// Of this event.
    pub event: EventId,
    /// To this endpoint.
    pub endpoint: EndpointId,
    /// Of its queue as it is.
    pub generation: Generation,
    /// When it was asked for.
    pub at: Timestamp,
    /// How many may wait there, tries by hand with them; else it is refused.
    pub limit: NonZeroU32,
    /// How many tries by hand one life of the delivery may have; else it is refused.
    pub tries_max: NonZeroU32,
}

/// Where an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptPlace {
    /// Of this delivery.
    pub delivery: DeliveryId,
    /// In this life.
    pub life: Life,
    /// So counted.
    pub number: AttemptNumber,
    /// Of this event.
    pub event: EventId,
}

/// What stands in the place of a response that is forgotten.
pub const EXPUNGED: &[u8] = b"EXPUNGED";

/// What is to be done at a time for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgendaItem {
    /// Not before.
    pub at: Timestamp,
    /// What.
    pub what: AgendaKind,
    /// Whose event.
    pub application: ApplicationId,
    /// For this event.
    pub event: EventId,
}

/// What the agenda may ask for. Stored as its number: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum AgendaKind {
    /// Its deliveries begin.
    Deliver = 1,
    /// Its payload is forgotten.
    Expunge = 2,
}

/// An event once more in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Whose event.
    pub application: ApplicationId,
    /// Of this event.
    pub event: EventId,
    /// To this endpoint.
    pub endpoint: EndpointId,
    /// Of its queue as it is; else it is refused.
    pub generation: Generation,
    /// When its next life begins.
    pub at: Timestamp,
    /// To whom.
    pub whom: ReplayTo,
    /// Where so many wait already, it is a dead letter from the beginning; none if a guard asks for space.
    pub limit: Option<NonZeroU32>,
}

/// Which events are put into a queue once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayTo {
    /// Those that never were in it.
    Missing,
    /// All, however they ended.
    All,
}
