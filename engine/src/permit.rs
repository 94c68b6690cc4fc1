//! Leave to send, as a value that gives itself back: whoever drops it, on a panic too, makes room for the next.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{ApplicationId, EndpointId, Pace, Permit, Permits};

use crate::{endpoint_actor::EndpointMsg, inner::Inner};

/// Where permits are asked for.
#[derive(Debug)]
pub(crate) struct PermitDesk(Mutex<Permits>);

/// Leave to have one request in flight. Gives itself back when it is dropped; never drop it under a lock of the directory.
pub(crate) struct HeldPermit {
    inner: Arc<Inner>,
    permit: Option<Permit>,
}

impl PermitDesk {
    pub(crate) fn new(in_flight_max: usize) -> Self {
        Self(Mutex::new(Permits::new(in_flight_max)))
    }

    /// An endpoint's actor is gone, and its wishes with it.
    pub(crate) fn withdraw_all(&self, application: ApplicationId, endpoint: EndpointId) {
        self.lock().withdraw_all(application, endpoint);
    }

    /// Permits that nobody has, and wishes that are not granted.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let permits = self.lock();
        (permits.free(), permits.waiting())
    }

    fn lock(&self) -> MutexGuard<'_, Permits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Wants one more for an endpoint. If one is free and nobody else's turn comes first, it is there at once; else it
    /// comes as a message.
    pub(crate) fn ask_permit(self: &Arc<Self>, application: ApplicationId, endpoint: EndpointId) -> Option<HeldPermit> {
        let granted = {
            let mut permits = self.permits.lock();
            permits.ask(application, endpoint);
            permits.poll_grant()?
        };
        if granted.endpoint == endpoint {
            return Some(HeldPermit { inner: Arc::clone(self), permit: Some(granted) });
        }
        self.hand_over(granted);
        self.grant();
        None
    }

    /// Grants all that can be.
    fn grant(self: &Arc<Self>) {
        loop {
            let Some(granted) = self.permits.lock().poll_grant() else { return };
            self.hand_over(granted);
        }
    }

    /// To the actor, or back if that is gone.
    fn hand_over(self: &Arc<Self>, granted: Permit) {
        let endpoint = granted.endpoint;
        let actor = self.actor(endpoint);
        let mut held = HeldPermit { inner: Arc::clone(self), permit: Some(granted) };
        let Some(actor) = actor else {
            // Not by dropping it: that would grant, and so on.
            if let Some(permit) = held.permit.take() {
                self.permits.lock().give_back(&permit);
            }
            return;
        };
        // An actor that just ended drops it with its mailbox.
        let _ended_already = actor.send_message(EndpointMsg::Permitted(held));
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
            let mut permits = self.inner.permits.lock();
            permits.answered(permit.application, permit.endpoint, took);
            permits.give_back(&permit);
        }
        self.inner.grant();
    }
}

impl Drop for HeldPermit {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        self.inner.permits.lock().give_back(&permit);
        self.inner.grant();
    }
}

impl fmt::Debug for HeldPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldPermit").field(&self.permit).finish()
    }
}
