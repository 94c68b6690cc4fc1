//! What the shell may tell an endpoint's machine.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    CommandId, Delivery, Endpoint, EventId, Found, LoadId, Outcome, Refused, Seq, ShownUrl, StoredEvent, Timestamp,
    Trigger,
};

/// What the shell may tell the machine.
#[derive(Clone, Debug)]
pub enum Input {
    /// There is work. A hint: the store is the truth.
    Nudged(Nudge),
    /// The store's answer to [`Command::Load`](crate::Command::Load), late or not, in any order.
    Loaded(LoadId, Found),
    /// A permit asked for by [`Command::AskPermit`](crate::Command::AskPermit) has come.
    Permitted,
    /// The attempt begun by [`Command::Attempt`](crate::Command::Attempt) is over, one way or another.
    AttemptFinished(Finished),
    /// The store's answer to [`Command::Commit`](crate::Command::Commit): what follows from it may happen now.
    Committed(CommandId, Result<Ended, Refused>),
    /// A person ended this delivery, or began its next life in its old place: its row is not what it was.
    Moved(Moved),
    /// The payloads of these events are gone for good: no copy of them is kept or sent.
    Expunged(Arc<BTreeSet<EventId>>),
    /// The endpoint's record changed: limits, status, secrets.
    Reconfigured(Arc<Endpoint>),
    /// [`EndpointMachine::next_deadline`](crate::EndpointMachine::next_deadline) has come. Too early is harmless.
    DeadlineReached,
    /// Start no more attempts; finish and commit those in flight.
    Quiesced,
}

/// A delivery is durable at position `seq`.
#[derive(Clone, Debug)]
pub struct Nudge {
    /// The position of the one before it at this endpoint, if the slot knows.
    pub previous: Option<Seq>,
    /// Its position.
    pub seq: Seq,
    /// The delivery, and its event if that is still at hand: taken if it follows what the machine knows.
    pub newest: Option<(Delivery, Option<Arc<StoredEvent>>)>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Of which delivery.
    pub seq: Seq,
    /// Who asked for it.
    pub trigger: Trigger,
    /// What was called, as it may be shown.
    pub url: ShownUrl,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What it amounted to.
    pub outcome: Outcome,
    /// What came back, as far as it is kept.
    pub response: Box<[u8]>,
    /// What to do if there was nothing to send.
    pub unreadable: Unreadable,
}

impl Finished {
    /// Under which name it was in flight.
    pub const fn command(&self) -> CommandId {
        match self.trigger {
            Trigger::Scheduled => CommandId::Step(self.seq),
            Trigger::Manual => CommandId::Manual(self.seq),
        }
    }
}

/// Whether the event of an attempt could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unreadable {
    /// It could, or the store was out of reach: then the outcome says `NotSent`.
    #[default]
    No,
    /// It is gone or damaged, and will not come back: the delivery is given up.
    Yes,
}

/// The row of the life that a manual success ended, if there was one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended(pub Option<Delivery>);

/// What a person did to a delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Moved {
    /// It was called off, and its row is gone.
    Cancelled(Delivery),
    /// It held its lane, and begins its next life there.
    Revived(Delivery),
    /// It is to be tried once, outside the lanes.
    Resent(Delivery),
}
