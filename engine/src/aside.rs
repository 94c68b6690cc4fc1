//! Work that takes its time (schemas, large documents): beside the threads that serve everybody, a few at once, in turns
//! by organisation.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    thread::available_parallelism,
};

use postrider_core::{FairLimits, FairQueue, OrganisationId};
use tokio::{sync::oneshot, task::spawn_blocking};

use crate::{CommitError, Organisation, lifecycle::RETRY_AFTER};

/// What waits of one organisation; more is refused.
const WAITING_MAX: usize = 1_000;
/// With one alone an organisation would have to wait for what another one began.
const RUNNING_MIN: usize = 2;

/// Who works, and who waits.
#[derive(Debug)]
pub(crate) struct Aside(Mutex<FairQueue<OrganisationId, oneshot::Sender<()>>>);

impl Aside {
    pub(crate) fn new() -> Self {
        let running = available_parallelism().map_or(RUNNING_MIN, NonZeroUsize::get).max(RUNNING_MIN);
        Self::of(FairLimits { waiting_per_key: WAITING_MAX, ..FairLimits::running(running) })
    }

    fn of(limits: FairLimits) -> Self {
        Self(Mutex::new(FairQueue::new(limits)))
    }

    /// Does it once its turn has come. It comes to its end also if nothing waits for it any more.
    ///
    /// # Errors
    /// It was not done: too much of this organisation waits.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        organisation: OrganisationId,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CommitError> {
        let mut turn = Turn::wait(self, organisation)?;
        turn.come().await?;
        let work = move || {
            let _until_then = turn;
            work()
        };
        spawn_blocking(work).await.map_err(|_| CommitError::unavailable())
    }

    fn change<R>(&self, change: impl FnOnce(&mut FairQueue<OrganisationId, oneshot::Sender<()>>) -> R) -> R {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut queue);
        while let Some((organisation, next)) = queue.begin() {
            if next.send(()).is_err() {
                queue.end(organisation);
            }
        }
        changed
    }
}

/// A place in the queue, and then the right to work.
struct Turn {
    aside: Arc<Aside>,
    organisation: OrganisationId,
    comes: oneshot::Receiver<()>,
    has_come: bool,
}

impl Turn {
    fn wait(aside: &Arc<Aside>, organisation: OrganisationId) -> Result<Self, CommitError> {
        let (come, comes) = oneshot::channel();
        let pushed = aside.change(|queue| queue.push(organisation, come));
        pushed.map_err(|_| CommitError::Overloaded { retry_after: RETRY_AFTER })?;
        Ok(Self { aside: Arc::clone(aside), organisation, comes, has_come: false })
    }

    async fn come(&mut self) -> Result<(), CommitError> {
        (&mut self.comes).await.map_err(|_| CommitError::unavailable())?;
        self.has_come = true;
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.comes.close();
        // It may come while nothing waits for it any more.
        if self.has_come || self.comes.try_recv().is_ok() {
            self.aside.change(|queue| queue.end(self.organisation));
        }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn organisation(n: u8) -> OrganisationId {
        OrganisationId::from_bytes([n; 20])
    }

    /// One tenant's work stands; another one's is done all the same, and what was given up takes no place.
    #[tokio::test]
    async fn an_organisation_whose_work_stands_still_leaves_room_for_another() {
        let aside = Arc::new(Aside::of(FairLimits { waiting_per_key: 2, ..FairLimits::running(2) }));
        let (go_on, stands) = mpsc::channel::<()>();
        let (began, begins) = oneshot::channel();
        let standing = tokio::spawn({
            let aside = Arc::clone(&aside);
            async move {
                let work = move || {
                    let _heard = began.send(());
                    stands.recv().is_ok()
                };
                aside.run(organisation(1), work).await
            }
        });
        begins.await.expect("it begins");
        let mut given_up = Box::pin(aside.run(organisation(1), || ()));
        assert!(futures_poll(&mut given_up).is_none(), "the other half is for others");
        drop(given_up);
        assert!(matches!(aside.run(organisation(2), || 7).await, Ok(7)));
        let waiting: Vec<_> = (0..3).map(|_| Turn::wait(&aside, organisation(1))).collect();
        let refused = waiting.iter().filter(|turn| turn.is_err()).count();
        assert!(refused >= 1, "what waits is bounded");
        drop(waiting);
        go_on.send(()).expect("it waits for this");
        assert!(matches!(standing.await, Ok(Ok(true))));
        assert!(matches!(aside.run(organisation(1), || 8).await, Ok(8)));
        assert_eq!(aside.change(|queue| (queue.len(), queue.begin().is_none())), (0, true));
    }

    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        }
    }
}
