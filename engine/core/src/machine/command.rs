//! What an endpoint's machine may ask of the shell. There is nothing else it can do.

use std::sync::Arc;

use crate::{Ask, Batch, Delivery, Endpoint, Seq, StoredEvent, Timestamp, WindowShare};

/// What the machine may ask of the shell.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Read from the store; answer with [`Input::Loaded`](crate::Input::Loaded) and the same id. A failed read is not
    /// answered: the shell ends the machine.
    Load(LoadId, Ask, WindowShare),
    /// Ask for leave to send; answer with [`Input::Permitted`](crate::Input::Permitted).
    AskPermit,
    /// Leave is not needed any more: one that has come is given back, one that was asked for is withdrawn.
    ReturnPermit,
    /// Send one request; give its permit back; answer with
    /// [`Input::AttemptFinished`](crate::Input::AttemptFinished), whatever happens.
    Attempt(AttemptPlan),
    /// Make this durable; answer with [`Input::Committed`](crate::Input::Committed) and the same id.
    Commit(CommandId, Batch),
    /// Nothing is left to do before then (or at all): let go of this actor, unless something was put into its slot
    /// meanwhile, and leave a wake row for then.
    Retire(Option<Timestamp>),
}

/// Names a read: answers may come late, and in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadId(pub u64);

/// Names a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommandId {
    /// The step of the delivery at this position.
    Step(Seq),
    /// The manual try at this position.
    Manual(Seq),
    /// The endpoint was disabled.
    Disable,
    /// A sync of everything before.
    Soft,
    /// A note of soft state alone.
    Note,
}

/// One attempt to make.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptPlan {
    /// Of which delivery; its place says whether it is a manual one, and its next number.
    pub delivery: Delivery,
    /// The event, if it is at hand.
    pub event: Option<Arc<StoredEvent>>,
    /// To whom, and how.
    pub endpoint: Arc<Endpoint>,
    /// It is the breaker's probe: whoever inherits it must not send another one beside it.
    pub is_probe: bool,
}
