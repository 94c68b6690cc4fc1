//! Ends an engine: no new work, what is in flight within its grace, every outcome stored, and the store let go of. The grace
//! is given once: to all that follows it together there is no more than the time of one commit.

use std::{sync::Arc, time::Duration};

use postrider_core::Input;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tracing::{error, info};

use crate::{
    EngineState, ShutdownReport,
    from_now::from_now,
    inner::{Inner, Owner},
};

/// Slots are looked through no more often than this.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// For the last commit and its sync, and for all else that ends, beyond the grace.
const LAST_COMMIT: Duration = Duration::from_secs(11);

impl Inner {
    pub(crate) async fn shutdown(self: &Arc<Self>, grace: Duration) -> ShutdownReport {
        if !self.lifecycle.close() {
            self.lifecycle.ended().await;
            return ShutdownReport::default();
        }
        info!(?grace, "engine is shutting down");
        // However this goes, it ends: also by a panic, nobody waits for it afterwards.
        let _ends = Ends(self);
        let deadline = from_now(grace);
        let end = from_now(grace.saturating_add(LAST_COMMIT));
        self.quiesce(deadline).await;
        // What ended in the last moment is committed, too; then the committer syncs and ends.
        let cut = self.cut_off_attempts();
        self.commits.close();
        let tasks: Vec<JoinHandle<()>> = std::mem::take(&mut *self.tasks());
        for task in tasks {
            let _ended = timeout_at(end, task).await;
        }
        for supervisor in self.directory.supervisors() {
            let left = end.saturating_duration_since(Instant::now()).max(LOOK_EVERY);
            supervisor.drain_children_and_wait(Some(left)).await;
            supervisor.stop(None);
        }
        // Last: whoever still read has ended.
        self.store.set(None);
        self.lifecycle.closed();
        let outcomes_lost = self.uncommitted();
        let report = ShutdownReport { outcomes_lost, ..cut };
        info!(?report, "engine has ended");
        report
    }

    /// At once, as if the engine had crashed: what is in flight is made again after the next start.
    fn end_at_once(&self) {
        self.lifecycle.closed();
        self.commits.close();
        self.cut_off_attempts();
        self.directory.supervisors().iter().for_each(|supervisor| supervisor.stop(None));
        self.store.set(None);
    }

    /// Actors start no more attempts; waits until those in flight are committed, or the time is up.
    async fn quiesce(self: &Arc<Self>, deadline: Instant) {
        let occupied: Vec<_> = self.directory.tables().flat_map(|table| table.occupied().collect::<Vec<_>>()).collect();
        for endpoint in occupied {
            self.with_known_slot(endpoint, |slot| slot.post(Input::Quiesced));
        }
        // Without a store no outcome can be kept, and nobody need wait for it.
        while self.store.get().is_ok() && !self.is_settled() {
            if timeout_at(deadline, self.directory.settled.notified()).await.is_err() {
                return;
            }
            // Many settle in one moment.
            sleep(LOOK_EVERY).await;
        }
    }

    fn is_settled(&self) -> bool {
        self.directory.tables().all(|mut table| table.places().all(|place| place.is_settled()))
    }

    /// What is still in flight is dropped, and made again after the next start.
    fn cut_off_attempts(&self) -> ShutdownReport {
        let mut report = ShutdownReport::default();
        for mut table in self.directory.tables() {
            for place in table.places() {
                let attempts = place.cut_off();
                report.attempts_interrupted += attempts;
                report.endpoints_interrupted += usize::from(attempts > 0);
            }
        }
        report
    }

    /// Outcomes that still wait although nobody commits any more.
    fn uncommitted(&self) -> usize {
        let mut waiting = self.commits.waiting();
        let groups = std::iter::from_fn(|| Some(waiting.next_group()).filter(|group| !group.is_empty()));
        groups.flatten().filter(|(_, answer)| answer.is_outcome()).count()
    }
}

impl Drop for Owner {
    /// An engine that is dropped without `shutdown` stops as if it had crashed.
    fn drop(&mut self) {
        let inner = &self.inner;
        if inner.lifecycle.state() >= EngineState::Closing {
            return;
        }
        inner.end_at_once();
    }
}

/// Ends an engine that was not ended by then.
struct Ends<'i>(&'i Inner);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if self.0.lifecycle.state() != EngineState::Closed {
            error!("shutdown did not come to its end, the engine ends as if it had crashed");
            self.0.end_at_once();
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
