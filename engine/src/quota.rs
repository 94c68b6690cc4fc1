//! Keeps how many applications, endpoints and event types there may be, also of those that are being made at the same time.
//!
//! What is being made holds a place until it is visible or refused, with its request and not with its caller, who may have
//! gone by then. Where there is room only if some of those come to nothing, a request waits until they are decided: so no
//! limit is passed, and nobody is refused for something that is never made.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use postrider_core::{ApplicationId, OrganisationId};
use tokio::sync::Notify;

/// What there may be only so many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Quota {
    Applications(OrganisationId),
    Endpoints(ApplicationId),
    EventTypes(OrganisationId),
    /// One that is being begun.
    Tasks(OrganisationId),
}

/// What is being made.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    making: Mutex<HashMap<Quota, usize>>,
    decided: Notify,
}

/// Room for what is being made. Goes with the request, and ends with its answer.
#[derive(Debug)]
pub(crate) struct Place {
    quotas: Arc<Quotas>,
    of: Quota,
    places: usize,
}

impl Quotas {
    /// Places for so many more; none if there are as many as there may be. `there` counts those that are visible.
    pub(crate) async fn take(
        self: &Arc<Self>,
        of: Quota,
        places: usize,
        limit: usize,
        there: impl Fn() -> usize,
    ) -> Option<Place> {
        loop {
            let mut decided = pin!(self.decided.notified());
            decided.as_mut().enable();
            {
                let mut making = self.making();
                let begun = making.get(&of).copied().unwrap_or_default();
                // Under the lock: what is decided is visible before its place is given back.
                let all = there().saturating_add(places);
                if places > 0 && all > limit {
                    return None;
                }
                if places == 0 || all.saturating_add(begun) <= limit {
                    *making.entry(of).or_default() += places;
                    return Some(Place { quotas: Arc::clone(self), of, places });
                }
            }
            decided.await;
        }
    }

    fn making(&self) -> MutexGuard<'_, HashMap<Quota, usize>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut making = self.quotas.making();
        if let Some(begun) = making.get_mut(&self.of) {
            *begun -= self.places;
            if *begun == 0 {
                making.remove(&self.of);
            }
        }
        drop(making);
        self.quotas.decided.notify_waiters();
    }
}
