//! How many deliveries of each application wait, so that one cannot fill the store for all.
//!
//! Counts are in memory, by endpoint, and follow what is committed. After a start, or an opening of the store, every queue
//! is counted from its rows once, one after another in the background. So a count may be too small until that is through,
//! and wrong by what changes in a queue in the moment in which it is read; and requests that are on their way are not
//! counted yet. A limit of millions is kept to within some thousands, which is what it is for.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{ApplicationId, EndpointId};
use tokio::{sync::Notify, time::sleep};

use crate::{id_map::IdMap, inner::Inner};

/// Endpoints looked at before others have their turn.
const AT_ONCE: usize = 64;
const BREATH: Duration = Duration::from_millis(10);
/// After the store was not there.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// How many wait.
#[derive(Debug)]
pub(crate) struct Pending {
    /// None: nobody counts.
    most: Option<NonZeroUsize>,
    counts: Mutex<Counts>,
    /// Rung when what is known may not be what is stored.
    pub(crate) is_stale: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    endpoints: IdMap<EndpointId, (ApplicationId, i64)>,
    applications: IdMap<ApplicationId, i64>,
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

    pub(crate) fn added(&self, application: ApplicationId, endpoint: EndpointId) {
        if self.most.is_some() {
            self.counts().change(application, endpoint, 1);
        }
    }

    /// One of an endpoint that is not known was counted by nobody.
    pub(crate) fn ended(&self, endpoint: EndpointId) {
        if self.most.is_some() {
            let mut counts = self.counts();
            if let Some((application, _)) = counts.endpoints.get(&endpoint).copied() {
                counts.change(application, endpoint, -1);
            }
        }
    }

    /// As many wait there, as was read.
    fn counted(&self, application: ApplicationId, endpoint: EndpointId, queued: usize) {
        let mut counts = self.counts();
        let known = counts.endpoints.get(&endpoint).map_or(0, |(_, known)| *known);
        counts.change(application, endpoint, i64::try_from(queued).unwrap_or(i64::MAX).saturating_sub(known));
    }

    /// Its queue is cut off.
    pub(crate) fn dropped(&self, endpoint: EndpointId) {
        let mut counts = self.counts();
        if let Some((application, known)) = counts.endpoints.get(&endpoint).copied() {
            counts.change(application, endpoint, -known);
            counts.endpoints.remove(&endpoint);
            if counts.applications.get(&application) == Some(&0) {
                counts.applications.remove(&application);
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn change(&mut self, application: ApplicationId, endpoint: EndpointId, by: i64) {
        self.endpoints.entry(endpoint).or_insert((application, 0)).1 += by;
        *self.applications.entry(application).or_default() += by;
    }
}

/// Counts every queue when the engine starts, and when the store was opened again.
pub(crate) async fn count(inner: Arc<Inner>) {
    let Some(most) = inner.pending.most else { return };
    let work = async {
        loop {
            inner.count_pending(most).await;
            inner.pending.is_stale.notified().await;
        }
    };
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = work => {}
    }
}

impl Inner {
    async fn count_pending(&self, most: NonZeroUsize) {
        for (n, endpoint) in self.registry.all_endpoints().into_iter().enumerate() {
            if n % AT_ONCE == AT_ONCE - 1 {
                sleep(BREATH).await;
            }
            // It may have gone meanwhile.
            while let Some(record) = self.registry.endpoint(endpoint) {
                let store = self.store.opened().await;
                let read = store.reads().backlog(endpoint, record.generation, most).await;
                drop(store);
                let Ok(backlog) = read else {
                    sleep(AFTER_FAILURE).await;
                    continue;
                };
                self.pending.counted(record.application, endpoint, backlog.queued);
                if self.registry.endpoint(endpoint).is_none() {
                    self.pending.dropped(endpoint);
                }
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ApplicationId = ApplicationId::from_bytes([1; 20]);
    const OTHER: ApplicationId = ApplicationId::from_bytes([2; 20]);

    fn endpoint(n: u8) -> EndpointId {
        EndpointId::from_bytes([n; 20])
    }

    #[test]
    fn an_application_is_full_by_what_waits_at_all_of_its_endpoints() {
        let pending = Pending::new(NonZeroUsize::new(3));
        (1..=3).for_each(|n| pending.added(ONE, endpoint(n)));
        pending.added(OTHER, endpoint(4));
        assert_eq!((pending.full(ONE), pending.full(OTHER)), (Some(3), None));
        pending.ended(endpoint(1));
        assert_eq!(pending.full(ONE), None);
        pending.counted(ONE, endpoint(1), 9);
        assert_eq!(pending.full(ONE), Some(3));
        pending.dropped(endpoint(1));
        assert_eq!(pending.full(ONE), None, "two are left");
        pending.ended(endpoint(1));
        pending.added(ONE, endpoint(2));
        assert_eq!(pending.full(ONE), Some(3), "one that is gone counts for nothing");
        (2..=4).for_each(|n| pending.dropped(endpoint(n)));
        assert!(pending.counts().applications.is_empty());
    }

    #[test]
    fn what_was_there_before_is_made_good_when_it_is_counted() {
        let pending = Pending::new(NonZeroUsize::new(3));
        pending.added(ONE, endpoint(1));
        (0..5).for_each(|_| pending.ended(endpoint(1)));
        assert_eq!(pending.full(ONE), None);
        pending.counted(ONE, endpoint(1), 3);
        assert_eq!(pending.full(ONE), Some(3));
    }
}
