//! Work that takes its time (schemas, large documents): beside the threads that serve everybody, a few at once, in turns
//! by organisation.

use std::{num::NonZeroUsize, thread::available_parallelism};

use postrider_core::{FairLimits, OrganisationId};
use tokio::task::spawn_blocking;

use crate::{CommitError, Organisation, fair_turns::FairTurns, lifecycle::RETRY_AFTER};

/// What waits of one organisation; more is refused.
const WAITING_MAX: usize = 1_000;
/// With one alone an organisation would have to wait for what another one began.
const RUNNING_MIN: usize = 2;

/// Who works, and who waits.
#[derive(Debug)]
pub(crate) struct Aside(FairTurns<OrganisationId>);

impl Aside {
    pub(crate) fn new() -> Self {
        let running = available_parallelism().map_or(RUNNING_MIN, NonZeroUsize::get).max(RUNNING_MIN);
        Self(FairTurns::new(FairLimits { waiting_per_key: WAITING_MAX, ..FairLimits::running(running) }))
    }

    /// Does it once its turn has come. It comes to its end also if nothing waits for it any more.
    ///
    /// # Errors
    /// It was not done: too much of this organisation waits.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        organisation: OrganisationId,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CommitError> {
        let turn = self.0.come(organisation).await;
        let turn = turn.map_err(|_| CommitError::Overloaded { retry_after: RETRY_AFTER })?;
        let work = move || {
            let _until_then = turn;
            work()
        };
        spawn_blocking(work).await.map_err(|_| CommitError::unavailable())
    }
}

impl Organisation<'_> {
    /// Does what takes its time beside the threads that serve others, in turns with other organisations.
    ///
    /// # Errors
    /// It was not done; each says what to do.
    pub async fn aside<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, CommitError> {
        self.engine.aside.run(self.id, work).await
    }
}
