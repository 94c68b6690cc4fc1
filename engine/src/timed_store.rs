//! A store whose reads end: each is answered in time, or is an error that says to ask again.

use std::{num::NonZeroUsize, sync::Arc};

use async_trait::async_trait;
use postrider_core::{
    AgendaItem, ApplicationId, Ask, AttemptId, Batch, DeadLetter, Delivery, DeliveryId, Document, DocumentId,
    Durability, Endpoint, EndpointId, EventId, Found, Generation, StoredEvent, Timestamp, Uid, Week, WindowShare,
};
use postrider_storage::{
    AttemptCounts, AttemptQuery, AttemptRecord, Backlog, Begun, Counted, CountedTime, DeadLetterQuery, DeliveryRecord,
    DocumentQuery, EventAttemptQuery, EventQuery, Page, PageRequest, Reads, Routed, Store, StoreError, Verdict,
};

use crate::store_call::answer_of;

type Answer<T> = Result<T, StoreError>;

/// A store whose reads end, and whose panics are errors. Whoever reads need not bound it. Commits are bounded by the
/// committer, which must know that one is still under way.
#[derive(Debug)]
pub(crate) struct TimedStore(pub(crate) Arc<dyn Store>);

#[async_trait]
impl Store for TimedStore {
    async fn commit(&self, group: Arc<[Batch]>, durability: Durability) -> Answer<Vec<Verdict>> {
        self.0.commit(group, durability).await
    }

    async fn begin(&self, group: Arc<[Batch]>, durability: Durability) -> Answer<Begun> {
        self.0.begin(group, durability).await
    }

    async fn count_queued(&self, rows_max: NonZeroUsize) -> Answer<Counted> {
        answer_of("count queues", async { self.0.count_queued(rows_max).await }).await
    }

    async fn find_cut_off(&self, of: EndpointId, rows_max: NonZeroUsize) -> Answer<()> {
        answer_of("look for what was cut off", async { self.0.find_cut_off(of, rows_max).await }).await
    }

    async fn forget(&self, week: Week) -> Answer<()> {
        answer_of("forget a week", async { self.0.forget(week).await }).await
    }

    fn reads(&self) -> &dyn Reads {
        self
    }
}

#[async_trait]
impl Reads for TimedStore {
    async fn window(&self, of: EndpointId, generation: Generation, ask: Ask, share: WindowShare) -> Answer<Found> {
        answer_of("read the queue", async { self.0.reads().window(of, generation, ask, share).await }).await
    }

    async fn wakes(
        &self,
        after: Option<(Timestamp, EndpointId)>,
        until: Timestamp,
        limit: NonZeroUsize,
    ) -> Answer<Vec<(Timestamp, EndpointId)>> {
        answer_of("read who is to be woken", async { self.0.reads().wakes(after, until, limit).await }).await
    }

    async fn was_ahead_of(&self, now: Timestamp) -> Answer<bool> {
        answer_of("read how late it was", async { self.0.reads().was_ahead_of(now).await }).await
    }

    async fn cut_off(&self, limit: NonZeroUsize) -> Answer<Vec<EndpointId>> {
        answer_of("read what is to be purged", async { self.0.reads().cut_off(limit).await }).await
    }

    async fn applications(&self, page: &PageRequest<ApplicationId>) -> Answer<Page<Routed, ApplicationId>> {
        answer_of("read the applications", async { self.0.reads().applications(page).await }).await
    }

    async fn endpoints(&self, page: &PageRequest<EndpointId>) -> Answer<Page<Endpoint, EndpointId>> {
        answer_of("read the endpoints", async { self.0.reads().endpoints(page).await }).await
    }

    async fn application(&self, application: ApplicationId) -> Answer<Option<Routed>> {
        answer_of("read the application", async { self.0.reads().application(application).await }).await
    }

    async fn endpoint(&self, endpoint: EndpointId) -> Answer<Option<Endpoint>> {
        answer_of("read the endpoint", async { self.0.reads().endpoint(endpoint).await }).await
    }

    async fn event(&self, owner: ApplicationId, event: EventId) -> Answer<Option<StoredEvent>> {
        answer_of("read the event", async { self.0.reads().event(owner, event).await }).await
    }

    async fn event_named(&self, owner: ApplicationId, uid: &Uid) -> Answer<Option<EventId>> {
        answer_of("find the event", async { self.0.reads().event_named(owner, uid).await }).await
    }

    async fn events(&self, query: &EventQuery, page: &PageRequest<EventId>) -> Answer<Page<StoredEvent, EventId>> {
        answer_of("read the events", async { self.0.reads().events(query, page).await }).await
    }

    async fn deliveries(
        &self,
        owner: ApplicationId,
        event: EventId,
        page: &PageRequest<EndpointId>,
    ) -> Answer<Page<DeliveryRecord, EndpointId>> {
        answer_of("read the deliveries", async { self.0.reads().deliveries(owner, event, page).await }).await
    }

    async fn delivery(
        &self,
        owner: ApplicationId,
        event: EventId,
        endpoint: EndpointId,
    ) -> Answer<Option<DeliveryRecord>> {
        answer_of("read the delivery", async { self.0.reads().delivery(owner, event, endpoint).await }).await
    }

    async fn queue(&self, of: EndpointId, generation: Generation, page: &PageRequest) -> Answer<Page<Delivery>> {
        answer_of("read the queue", async { self.0.reads().queue(of, generation, page).await }).await
    }

    async fn ahead(&self, delivery: &Delivery) -> Answer<Option<Delivery>> {
        answer_of("read the lane", async { self.0.reads().ahead(delivery).await }).await
    }

    async fn backlog(&self, of: EndpointId, generation: Generation, at_most: NonZeroUsize) -> Answer<Backlog> {
        answer_of("count the queue", async { self.0.reads().backlog(of, generation, at_most).await }).await
    }

    async fn attempts_of_event(
        &self,
        query: &EventAttemptQuery,
        page: &PageRequest<AttemptId>,
    ) -> Answer<Page<AttemptRecord, AttemptId>> {
        answer_of("read the attempts", async { self.0.reads().attempts_of_event(query, page).await }).await
    }

    async fn attempt_of_event(
        &self,
        owner: ApplicationId,
        event: EventId,
        attempt: AttemptId,
    ) -> Answer<Option<AttemptRecord>> {
        answer_of("read the attempt", async { self.0.reads().attempt_of_event(owner, event, attempt).await }).await
    }

    async fn attempts_of_endpoint(&self, query: &AttemptQuery, page: &PageRequest) -> Answer<Page<AttemptRecord>> {
        answer_of("read the attempts", async { self.0.reads().attempts_of_endpoint(query, page).await }).await
    }

    async fn attempt_counts(
        &self,
        of: EndpointId,
        time: CountedTime,
        at_most: NonZeroUsize,
    ) -> Answer<Option<AttemptCounts>> {
        answer_of("count attempts", async { self.0.reads().attempt_counts(of, time, at_most).await }).await
    }

    async fn dead_letters(
        &self,
        query: &DeadLetterQuery,
        page: &PageRequest<DeliveryId>,
    ) -> Answer<Page<DeadLetter, DeliveryId>> {
        answer_of("read the dead letters", async { self.0.reads().dead_letters(query, page).await }).await
    }

    async fn dead_letter(&self, delivery: DeliveryId) -> Answer<Option<DeadLetter>> {
        answer_of("read the dead letter", async { self.0.reads().dead_letter(delivery).await }).await
    }

    async fn weeks(&self) -> Answer<Vec<Week>> {
        answer_of("read which weeks there are", async { self.0.reads().weeks().await }).await
    }

    async fn agenda(
        &self,
        after: Option<AgendaItem>,
        until: Timestamp,
        limit: NonZeroUsize,
    ) -> Answer<Vec<AgendaItem>> {
        answer_of("read the agenda", async { self.0.reads().agenda(after, until, limit).await }).await
    }

    async fn document(&self, document: &DocumentId) -> Answer<Option<Document>> {
        answer_of("read a document", async { self.0.reads().document(document).await }).await
    }

    async fn documents(&self, query: &DocumentQuery, limit: NonZeroUsize) -> Answer<Vec<Document>> {
        answer_of("read documents", async { self.0.reads().documents(query, limit).await }).await
    }
}
