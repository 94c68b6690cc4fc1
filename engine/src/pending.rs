//! How many deliveries of each application wait: what is shown of the engine as a whole, and what keeps one tenant from
//! filling the store for all.
//!
//! The store counts rows that come to queues and go from them, and says so with each commit; here that is added up, and
//! nowhere else. What waited before the store was opened is found by and by in the background: until then the sums are
//! too small. Requests that are on their way are not counted yet, so a limit is kept to within as many.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{ApplicationId, More, Queued};
use tokio::{sync::Notify, time::sleep};

use crate::{id_map::IdMap, inner::Inner};

/// Rows that are counted before others have their turn.
const AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);
const BREATH: Duration = Duration::from_millis(2);
/// After the store was not there.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// How many deliveries wait.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Of one application; none is any number.
    most: Option<NonZeroUsize>,
    counts: Mutex<Counts>,
    /// Rung when the store was opened again.
    pub(crate) is_stale: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    /// How often the store was opened: what an earlier opening found is of no use.
    opening: u64,
    /// Those for which something waits.
    applications: IdMap<ApplicationId, i64>,
    all: i64,
}

impl Pending {
    pub(crate) fn new(most: Option<NonZeroUsize>) -> Self {
        Self { most, counts: Mutex::default(), is_stale: Notify::new() }
    }

    /// Whether as many wait as may; then, how many that is.
    pub(crate) fn full(&self, application: ApplicationId) -> Option<usize> {
        let most = self.most?.get();
        let waiting = self.counts().applications.get(&application).copied().unwrap_or(0);
        usize::try_from(waiting).is_ok_and(|waiting| most <= waiting).then_some(most)
    }

    /// How many more of an application may wait.
    pub(crate) fn room(&self, application: ApplicationId) -> usize {
        let Some(most) = self.most else { return usize::MAX };
        let waiting = self.counts().applications.get(&application).copied().unwrap_or(0);
        most.get().saturating_sub(usize::try_from(waiting).unwrap_or(0))
    }

    /// So many more or fewer wait.
    fn changed(&self, queued: &[Queued], show: impl FnOnce(i64)) {
        let mut counts = self.counts();
        queued.iter().for_each(|change| counts.change(change));
        show(counts.all);
    }

    /// As [`changed`](Self::changed), unless the store was opened again since.
    fn found(&self, opening: u64, queued: &[Queued], show: impl FnOnce(i64)) {
        let mut counts = self.counts();
        if counts.opening == opening {
            queued.iter().for_each(|change| counts.change(change));
            show(counts.all);
        }
    }

    fn opening(&self) -> u64 {
        self.counts().opening
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn change(&mut self, change: &Queued) {
        let Queued { application, by } = *change;
        self.all += by;
        let waiting = self.applications.entry(application).or_default();
        *waiting += by;
        if *waiting == 0 {
            self.applications.remove(&application);
        }
    }
}

/// Counts what waits when the engine starts, and when the store was opened again.
pub(crate) async fn count(inner: Arc<Inner>) {
    let work = async {
        loop {
            inner.count_queued().await;
            inner.pending.is_stale.notified().await;
        }
    };
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = work => {}
    }
}

impl Inner {
    /// The store wrote something, after which more or fewer wait.
    pub(crate) fn queues_changed(&self, queued: &[Queued]) {
        if !queued.is_empty() {
            self.pending.changed(queued, |all| self.metrics.queued(all));
        }
    }

    /// The store is open again, and says anew what waits.
    pub(crate) fn queues_are_unknown(&self) {
        let mut counts = self.pending.counts();
        *counts = Counts { opening: counts.opening + 1, ..Counts::default() };
        self.metrics.queued(0);
        drop(counts);
        self.pending.is_stale.notify_one();
    }

    async fn count_queued(&self) {
        loop {
            let opening = self.pending.opening();
            let store = self.store.opened().await;
            if opening != self.pending.opening() {
                continue;
            }
            let counted = store.count_queued(AT_ONCE).await;
            drop(store);
            let Ok(counted) = counted else {
                sleep(AFTER_FAILURE).await;
                continue;
            };
            self.pending.found(opening, &counted.queued, |all| self.metrics.queued(all));
            match counted.more {
                More::No => return,
                More::Yes => sleep(BREATH).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ApplicationId = ApplicationId::from_bytes([1; 20]);
    const OTHER: ApplicationId = ApplicationId::from_bytes([2; 20]);

    fn change(pending: &Pending, application: ApplicationId, by: i64) {
        pending.changed(&[Queued { application, by }], |_| {});
    }

    #[test]
    fn an_application_is_full_by_what_waits_at_all_of_its_endpoints() {
        let pending = Pending::new(NonZeroUsize::new(3));
        change(&pending, ONE, 2);
        change(&pending, ONE, 1);
        change(&pending, OTHER, 1);
        assert_eq!((pending.full(ONE), pending.full(OTHER)), (Some(3), None));
        change(&pending, ONE, -1);
        assert_eq!(pending.full(ONE), None);
        change(&pending, ONE, -2);
        change(&pending, OTHER, -1);
        assert!(pending.counts().applications.is_empty());
    }

    #[test]
    fn what_an_earlier_opening_found_is_not_added() {
        let pending = Pending::new(NonZeroUsize::new(3));
        let found = |opening| pending.found(opening, &[Queued { application: ONE, by: 3 }], |_| {});
        found(1);
        assert_eq!(pending.full(ONE), None);
        found(0);
        assert_eq!(pending.full(ONE), Some(3));
    }
}
