//! Leave to send, as a value that gives itself back: if it is dropped, on a panic too, there is room for the next.
//!
//! Dropping one grants nothing by itself. What is granted may be refused, by an actor that ended or an attempt that was
//! cut off, and would be dropped, and grant the next: once in a call for each of thousands that wait. So a drop only
//! rings, and permits are granted in a loop that takes back what is refused.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{ApplicationId, EndpointId, Pace, Permit, Permits};
use ractor::MessagingErr;
use tokio::sync::oneshot;

use crate::{endpoint_actor::EndpointMsg, id_map::IdMap, inner::Inner};

/// Where permits are asked for.
#[derive(Debug)]
pub(crate) struct PermitDesk(Mutex<Desk>);

#[derive(Debug)]
struct Desk {
    permits: Permits,
    /// Attempts that gave their permit back while they waited for memory, and want one again.
    attempts: IdMap<EndpointId, VecDeque<oneshot::Sender<HeldPermit>>>,
}

/// Leave to have one request in flight. Gives itself back when it is dropped.
pub(crate) struct HeldPermit {
    inner: Arc<Inner>,
    permit: Option<Permit>,
}

/// Who gets a permit.
enum Asker {
    Attempt(oneshot::Sender<HeldPermit>),
    Actor,
}

impl PermitDesk {
    pub(crate) fn new(in_flight_max: usize) -> Self {
        Self(Mutex::new(Desk { permits: Permits::new(in_flight_max), attempts: IdMap::default() }))
    }

    /// An endpoint's actor is gone, and its wishes with it; not those of its attempts, which go on.
    pub(crate) fn withdraw_all(&self, application: ApplicationId, endpoint: EndpointId) {
        let mut desk = self.lock();
        desk.permits.withdraw_all(application, endpoint);
        let Some(mut attempts) = desk.attempts.remove(&endpoint) else { return };
        attempts.retain(|attempt| !attempt.is_closed());
        attempts.iter().for_each(|_| desk.permits.ask(application, endpoint));
        if !attempts.is_empty() {
            desk.attempts.insert(endpoint, attempts);
        }
    }

    /// An endpoint is gone for good.
    pub(crate) fn forget(&self, endpoint: EndpointId) {
        self.lock().permits.forget(endpoint);
    }

    /// Only these endpoints are there.
    pub(crate) fn retain(&self, is_there: impl Fn(EndpointId) -> bool) {
        self.lock().permits.retain(is_there);
    }

    /// Endpoints of which it is known how they answer, or that have wishes.
    #[cfg(all(test, feature = "testing"))]
    pub(crate) fn known(&self) -> usize {
        self.lock().permits.known()
    }

    /// Permits that are free, and wishes that are not granted.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let desk = self.lock();
        (desk.permits.free(), desk.permits.waiting())
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn next(&mut self) -> Option<(Permit, Asker)> {
        let granted = self.permits.poll_grant()?;
        let Some(attempts) = self.attempts.get_mut(&granted.endpoint) else { return Some((granted, Asker::Actor)) };
        let asker = attempts.pop_front().map_or(Asker::Actor, Asker::Attempt);
        if attempts.is_empty() {
            self.attempts.remove(&granted.endpoint);
        }
        Some((granted, asker))
    }
}

impl Inner {
    /// Wants one more for an endpoint. If one is free and no other turn comes first, it is there at once; else it comes as
    /// a message.
    pub(crate) fn ask_permit(self: &Arc<Self>, application: ApplicationId, endpoint: EndpointId) -> Option<HeldPermit> {
        let (granted, asker) = {
            let mut desk = self.permits.lock();
            if let Some(granted) = desk.permits.ask_at_once(application, endpoint) {
                return Some(self.held(granted));
            }
            desk.next()?
        };
        match asker {
            Asker::Actor if granted.endpoint == endpoint => return Some(self.held(granted)),
            Asker::Actor | Asker::Attempt(_) => self.hand_over(granted, asker),
        }
        self.grant();
        None
    }

    /// Waits for one more for an attempt that gave its own back.
    pub(crate) async fn permit_again(
        self: &Arc<Self>,
        application: ApplicationId,
        endpoint: EndpointId,
    ) -> Option<HeldPermit> {
        let (waiter, granted) = oneshot::channel();
        {
            let mut desk = self.permits.lock();
            desk.permits.ask(application, endpoint);
            desk.attempts.entry(endpoint).or_default().push_back(waiter);
        }
        self.grant();
        granted.await.ok()
    }

    /// Grants all that can be.
    pub(crate) fn grant(self: &Arc<Self>) {
        loop {
            let Some((granted, asker)) = self.permits.lock().next() else { return };
            self.hand_over(granted, asker);
        }
    }

    /// To whoever asked, or back if that is gone.
    fn hand_over(self: &Arc<Self>, granted: Permit, asker: Asker) {
        let endpoint = granted.endpoint;
        let held = self.held(granted);
        let refused = match asker {
            Asker::Attempt(attempt) => attempt.send(held).err(),
            Asker::Actor => match self.actor(endpoint) {
                None => Some(held),
                Some(actor) => match actor.send_message(EndpointMsg::Permitted(held)) {
                    Err(MessagingErr::SendErr(EndpointMsg::Permitted(held))) => Some(held),
                    Ok(()) | Err(_) => None,
                },
            },
        };
        if let Some(permit) = refused.and_then(|mut held| held.permit.take()) {
            self.permits.lock().permits.give_back(&permit);
        }
    }

    fn held(self: &Arc<Self>, permit: Permit) -> HeldPermit {
        HeldPermit { inner: Arc::clone(self), permit: Some(permit) }
    }
}

/// Grants what was given back by being dropped, until the engine has ended.
pub(crate) async fn grant_what_is_dropped(inner: Arc<Inner>) {
    let work = async {
        loop {
            inner.given_back.notified().await;
            inner.grant();
            inner.grant_bytes();
        }
    };
    tokio::select! {
        () = inner.lifecycle.ended() => {}
        () = work => {}
    }
}

impl HeldPermit {
    /// Out of which part of the permits it comes.
    pub(crate) fn pace(&self) -> Pace {
        self.permit.as_ref().map_or(Pace::Slow, |permit| permit.pace)
    }

    /// The request is over; how long the endpoint took decides among whom it waits the next time.
    pub(crate) fn finish(mut self, took: Duration) {
        let Some(permit) = self.permit.take() else { return };
        {
            let permits = &mut self.inner.permits.lock().permits;
            // Of one that was deleted nothing is remembered. Asked under the lock under which it is forgotten after that.
            if self.inner.registry.has_endpoint(permit.endpoint) {
                permits.answered(permit.application, permit.endpoint, took);
            }
            permits.give_back(&permit);
        }
        self.inner.grant();
    }
}

impl Drop for HeldPermit {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let is_wanted = {
            let permits = &mut self.inner.permits.lock().permits;
            permits.give_back(&permit);
            permits.waiting() > 0
        };
        if is_wanted {
            self.inner.given_back.notify_one();
        }
    }
}

impl fmt::Debug for HeldPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldPermit").field(&self.permit).finish()
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
