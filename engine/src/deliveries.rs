//! Deliveries of one application: how they stand, why they wait, called off and sent again.

use std::{num::NonZeroU32, sync::Arc};

use postrider_core::{
    AttemptId, Batch, Delivery, Effect, Endpoint, EndpointId, EndpointStatus, EventId, Guard, IdOr, RefusalClass,
    Refused, Resend, Step, Timestamp, Transition, Unwanted, Waiting, Write, why_unwanted,
};
use postrider_storage::{
    AttemptFilter, AttemptQuery, AttemptRecord, DeliveryRecord, DeliveryState, EventAttemptQuery, Page, PageRequest,
};

use crate::{DeliveryError, ReadError, engine::Scope, events::event_id, inner::TRIES};

/// How often one life of a delivery may be sent again by hand: each leaves a record of what was tried.
const TRIES_BY_HAND_MAX: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);

/// Deliveries of one application.
#[derive(Clone, Debug)]
pub struct Deliveries<'e> {
    pub(crate) scope: Scope<'e>,
}

/// Why an event never was at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NeverThere {
    /// Its deliveries begin then.
    NotYet(Timestamp),
    /// The endpoint does not want it.
    Unwanted(Unwanted),
    /// The endpoint wants such events now, and did not when this one came.
    Changed,
}

impl Deliveries<'_> {
    /// How an event stands at the endpoints that have or had it, in the order of their ids.
    ///
    /// # Errors
    /// As they were read.
    pub async fn of_event(
        &self,
        event: impl Into<IdOr<EventId>>,
        page: &PageRequest<EndpointId>,
    ) -> Result<Page<DeliveryRecord, EndpointId>, ReadError> {
        let owner = self.scope.application().ok_or(ReadError::NotFound)?.id;
        let store = self.scope.engine().store.get()?;
        let event = event_id(store.reads(), owner, &event.into()).await?;
        Ok(store.reads().deliveries(owner, event, page).await?)
    }

    /// How an event stands at one endpoint.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if it was never meant for it; else as it was read.
    pub async fn get(
        &self,
        event: impl Into<IdOr<EventId>>,
        endpoint: impl Into<IdOr<EndpointId>>,
    ) -> Result<DeliveryRecord, ReadError> {
        let endpoint = self.endpoint(endpoint)?;
        let store = self.scope.engine().store.get()?;
        let event = event_id(store.reads(), endpoint.application, &event.into()).await?;
        store.reads().delivery(endpoint.application, event, endpoint.id).await?.ok_or(ReadError::NotFound)
    }

    /// Why an event never was at an endpoint, as far as both tell now.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there is no such event or endpoint; else as it was read.
    pub async fn why_never(
        &self,
        event: impl Into<IdOr<EventId>>,
        endpoint: impl Into<IdOr<EndpointId>>,
    ) -> Result<NeverThere, ReadError> {
        let (endpoint, engine) = (self.endpoint(endpoint)?, self.scope.engine());
        let store = engine.store.get()?;
        let event = event_id(store.reads(), endpoint.application, &event.into()).await?;
        let stored = store.reads().event(endpoint.application, event).await?.ok_or(ReadError::NotFound)?;
        if let Some(later) = stored.event.deliver_at.filter(|later| engine.clock.now() < *later) {
            return Ok(NeverThere::NotYet(later));
        }
        let unwanted = why_unwanted(&stored.event, stored.accepted_at, &endpoint);
        Ok(unwanted.map_or(NeverThere::Changed, NeverThere::Unwanted))
    }

    /// Those of an endpoint that are not finished: by lane, then position; then those that wait for a retry, soonest
    /// first.
    ///
    /// # Errors
    /// As they were read.
    pub async fn unfinished(
        &self,
        endpoint: impl Into<IdOr<EndpointId>>,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, ReadError> {
        let endpoint = self.endpoint(endpoint)?;
        let store = self.scope.engine().store.get()?;
        Ok(store.reads().queue(endpoint.id, endpoint.generation, page).await?)
    }

    /// Why this one is not being sent.
    ///
    /// # Errors
    /// As it was read.
    pub async fn why_waiting(&self, delivery: &Delivery) -> Result<Waiting, ReadError> {
        let endpoint = self.endpoint(delivery.id.endpoint)?;
        self.scope.engine().why_waiting(&endpoint, delivery).await
    }

    /// The one of its lane that goes first; itself, if nothing is before it.
    ///
    /// # Errors
    /// As it was read.
    pub async fn ahead(&self, delivery: &Delivery) -> Result<Option<Delivery>, ReadError> {
        self.endpoint(delivery.id.endpoint)?;
        Ok(self.scope.engine().store.get()?.reads().ahead(delivery).await?)
    }

    /// Calls off what is not delivered yet. An attempt in flight is not stopped, and changes nothing any more. A lane
    /// that it held goes on.
    ///
    /// # Errors
    /// [`DeliveryError::HasEnded`] if there is nothing to call off; else each says what to do.
    pub async fn cancel(
        &self,
        event: impl Into<IdOr<EventId>>,
        endpoint: impl Into<IdOr<EndpointId>>,
    ) -> Result<(), DeliveryError> {
        let (event, endpoint, engine) = (event.into(), endpoint.into(), self.scope.engine());
        for _ in 0..TRIES {
            let record = self.get(event.clone(), endpoint.clone()).await.map_err(unread)?;
            let owner = self.scope.application().ok_or(DeliveryError::NoSuchDelivery)?;
            let before = cancellable(record).ok_or(DeliveryError::HasEnded)?;
            let cancelled = Step::Cancelled(engine.clock.now());
            let transition = Transition { before: before.clone(), after: None, step: cancelled, dead: None };
            let batch = Batch::synced([Write::Outcome(Box::new(transition))])
                .guarded(Guard::Generation(before.id.endpoint, before.generation))
                .guarded(Guard::Stands(before));
            match engine.commit(owner.id, batch).await?.map_err(refused) {
                Ok(_) => return Ok(()),
                Err(DeliveryError::Contended) => {}
                Err(other) => return Err(other),
            }
        }
        Err(DeliveryError::Contended)
    }

    /// One more try of an event at an endpoint, whatever became of it there, outside its order. Uses up no delay of the
    /// schedule; success ends the delivery and removes its dead letter. Until it is made it waits in the endpoint's queue
    /// as others do, also while that is paused.
    ///
    /// # Errors
    /// [`DeliveryError::NoPayload`] if the event is gone, [`DeliveryError::Disabled`] if nothing is sent there,
    /// [`DeliveryError::QueueFull`] and [`DeliveryError::TriesUsedUp`] beyond what may be; else each says what to do.
    pub async fn resend(
        &self,
        event: impl Into<IdOr<EventId>>,
        endpoint: impl Into<IdOr<EndpointId>>,
    ) -> Result<Delivery, DeliveryError> {
        let (event, name, engine) = (event.into(), endpoint.into(), self.scope.engine());
        for _ in 0..TRIES {
            let endpoint = self.endpoint(name.clone()).map_err(unread)?;
            match endpoint.status {
                EndpointStatus::Active | EndpointStatus::Paused | EndpointStatus::Unproven => {}
                EndpointStatus::Disabled(_) => return Err(DeliveryError::Disabled),
            }
            let (application, generation) = (endpoint.application, endpoint.generation);
            let store = engine.store.get()?;
            let event = event_id(store.reads(), application, &event).await.map_err(unread)?;
            drop(store);
            let (at, limit, tries_max) = (engine.clock.now(), endpoint.policy.queue.deliveries, TRIES_BY_HAND_MAX);
            let resend = Resend { application, event, endpoint: endpoint.id, generation, at, limit, tries_max };
            let batch = Batch::synced([Write::Resend(resend)]).guarded(Guard::Generation(endpoint.id, generation));
            match engine.commit(application, batch).await?.map_err(refused) {
                Ok(committed) => return queued(committed.effects).ok_or(DeliveryError::Corrupt),
                Err(DeliveryError::Contended) => {}
                Err(other) => return Err(other),
            }
        }
        Err(DeliveryError::Contended)
    }

    /// What was tried at one endpoint, newest first.
    ///
    /// # Errors
    /// As they were read.
    pub async fn attempts(
        &self,
        endpoint: impl Into<IdOr<EndpointId>>,
        filter: AttemptFilter,
        page: &PageRequest,
    ) -> Result<Page<AttemptRecord>, ReadError> {
        let query = AttemptQuery { endpoint: self.endpoint(endpoint)?.id, filter };
        Ok(self.scope.engine().store.get()?.reads().attempts_of_endpoint(&query, page).await?)
    }

    /// What was tried of one event at one endpoint, newest first.
    ///
    /// # Errors
    /// As they were read.
    pub async fn attempts_of_event(
        &self,
        event: impl Into<IdOr<EventId>>,
        endpoint: impl Into<IdOr<EndpointId>>,
        filter: AttemptFilter,
        page: &PageRequest<AttemptId>,
    ) -> Result<Page<AttemptRecord, AttemptId>, ReadError> {
        let endpoint = self.endpoint(endpoint)?;
        let (application, engine) = (endpoint.application, self.scope.engine());
        let store = engine.store.get()?;
        let event = event_id(store.reads(), application, &event.into()).await?;
        let query = EventAttemptQuery { application, event, endpoint: Some(endpoint.id), filter };
        Ok(store.reads().attempts_of_event(&query, page).await?)
    }

    fn endpoint(&self, name: impl Into<IdOr<EndpointId>>) -> Result<Arc<Endpoint>, ReadError> {
        self.scope.endpoint(&name.into()).ok_or(ReadError::NotFound)
    }
}

/// The row to call off: what waits, or what was given up and holds its lane, be its letter forgotten or not.
fn cancellable(record: DeliveryRecord) -> Option<Delivery> {
    match record.state {
        DeliveryState::Pending(delivery) => Some(delivery),
        DeliveryState::GivenUp(_) => record.held,
        DeliveryState::Delivered | DeliveryState::Cancelled(_) | DeliveryState::CutOff | DeliveryState::Manual => None,
    }
}

/// The delivery that a write put into the queue.
pub(crate) fn queued(effects: Vec<Effect>) -> Option<Delivery> {
    effects.into_iter().find_map(|effect| match effect {
        Effect::Queued(delivery) => Some(delivery),
        Effect::Accepted(..)
        | Effect::Dead(_)
        | Effect::Ended(_)
        | Effect::Routed(_)
        | Effect::Purged(_)
        | Effect::Done => None,
    })
}

fn unread(error: ReadError) -> DeliveryError {
    match error {
        ReadError::NotFound => DeliveryError::NoSuchDelivery,
        ReadError::Store(error) => DeliveryError::Read(error),
    }
}

fn refused(refused: Refused) -> DeliveryError {
    match (refused.class(), refused) {
        (_, Refused::NoEvent) => DeliveryError::NoPayload,
        (_, Refused::QueueFull(_)) => DeliveryError::QueueFull,
        (_, Refused::TriesUsedUp) => DeliveryError::TriesUsedUp { tries_max: TRIES_BY_HAND_MAX.get() },
        (RefusalClass::Corrupt, _) => DeliveryError::Corrupt,
        (RefusalClass::Stale | RefusalClass::Taken | RefusalClass::Full | RefusalClass::Gone, _) => {
            DeliveryError::Contended
        }
    }
}
