//! Where requests wait to be committed: the pure `Grouping` behind a lock, and a bell.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{ApplicationId, Batch, CommandId, EndpointId, GroupLimits, Grouping, Leave, NotTaken, Timestamp};
use postrider_storage::Verdict;
use tokio::sync::{Notify, oneshot};

use crate::{CommitError, lifecycle::RETRY_AFTER, quota::Place};

/// For a caller whose application has too much waiting: a few groups later.
const OVERLOAD_WAIT: Duration = Duration::from_secs(1);

/// Where requests wait to be committed.
#[derive(Debug)]
pub(crate) struct CommitQueue {
    waiting: Mutex<Grouping<Answer>>,
    bell: Notify,
}

/// Who wants to know.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A publisher, or whoever changes a record.
    Caller(Caller),
    /// The machine whose step it was.
    Machine(EndpointId, CommandId),
    /// The directory, which lets the actor go, and leaves a wake row for then.
    Retirement(EndpointId, Leave, Option<Timestamp>),
}

/// A caller who waits, and the places of what it makes.
#[derive(Debug)]
pub(crate) struct Caller {
    answer: oneshot::Sender<Result<Verdict, CommitError>>,
    _place: Option<Place>,
}

impl Caller {
    /// Whoever has gone needs no answer.
    pub(crate) fn tell(self, answer: Result<Verdict, CommitError>) {
        let _has_gone = self.answer.send(answer);
    }
}

impl Answer {
    /// Whether an attempt that was made would be made again if this is not committed.
    pub(crate) const fn is_outcome(&self) -> bool {
        match self {
            Self::Machine(_, CommandId::Step(_) | CommandId::Manual(_)) => true,
            Self::Machine(_, CommandId::Disable | CommandId::Soft | CommandId::Note)
            | Self::Caller(_)
            | Self::Retirement(..) => false,
        }
    }
}

/// A request that waits to be committed. Dropping it takes nothing back.
#[derive(Debug)]
#[must_use]
pub(crate) struct Pending(oneshot::Receiver<Result<Verdict, CommitError>>);

impl Pending {
    /// What became of it. A committer that is gone answers nobody any more, and what it had in hand may be stored.
    pub(crate) async fn answer(self) -> Result<Verdict, CommitError> {
        self.0.await.unwrap_or(Err(CommitError::Unavailable { retry_after: RETRY_AFTER }))
    }
}

impl CommitQueue {
    pub(crate) const fn new(limits: GroupLimits) -> Self {
        Self { waiting: Mutex::new(Grouping::new(limits)), bell: Notify::const_new() }
    }

    /// For callers.
    pub(crate) fn submit(&self, application: ApplicationId, batch: Batch) -> Result<Pending, CommitError> {
        self.submit_new(application, batch, None)
    }

    /// For callers who make something that there may be only so many of.
    pub(crate) fn submit_new(
        &self,
        application: ApplicationId,
        batch: Batch,
        place: Option<Place>,
    ) -> Result<Pending, CommitError> {
        let (answer, answered) = oneshot::channel();
        let pushed = self.waiting().push(application, batch, Answer::Caller(Caller { answer, _place: place }));
        match pushed {
            Ok(()) => {
                self.ring();
                Ok(Pending(answered))
            }
            Err(NotTaken::Full) => Err(CommitError::Overloaded { retry_after: OVERLOAD_WAIT }),
            Err(NotTaken::Closed) => Err(CommitError::ShuttingDown),
        }
    }

    /// For work of the engine's own that wants to know how it went.
    pub(crate) fn submit_own(&self, batch: Batch) -> Pending {
        let (answer, answered) = oneshot::channel();
        self.own(batch, Answer::Caller(Caller { answer, _place: None }));
        Pending(answered)
    }

    /// For work of the engine's own that it does for one application: in the turns of that.
    pub(crate) fn submit_for(&self, application: ApplicationId, batch: Batch) -> Pending {
        let (answer, answered) = oneshot::channel();
        self.waiting().push_background(application, batch, Answer::Caller(Caller { answer, _place: None }));
        self.ring();
        Pending(answered)
    }

    /// For actors: never waits.
    pub(crate) fn step(&self, endpoint: EndpointId, id: CommandId, batch: Batch) {
        self.own(batch, Answer::Machine(endpoint, id));
    }

    pub(crate) fn retirement(&self, endpoint: EndpointId, leave: Leave, wake: Option<Timestamp>) {
        let nothing = Batch::synced([]).relaxed();
        self.own(nothing, Answer::Retirement(endpoint, leave, wake));
    }

    /// Takes no more requests of callers.
    pub(crate) fn close(&self) {
        self.waiting().close();
        self.ring();
    }

    /// Something for the committer to look at.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// When something may be there. One waiter, so that no ring is lost.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    pub(crate) fn waiting(&self) -> MutexGuard<'_, Grouping<Answer>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self, batch: Batch, answer: Answer) {
        self.waiting().push_own(batch, answer);
        self.ring();
    }
}
