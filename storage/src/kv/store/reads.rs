//! What is read: each question asked of one snapshot, off the async threads.

use std::num::NonZeroUsize;

use async_trait::async_trait;
use postrider_core::{
    AgedKey, AgendaItem, ApplicationId, Ask, AttemptId, DeadLetter, Delivery, DeliveryId, Document, DocumentId, DueKey,
    Endpoint, EndpointId, EventId, Found, Generation, StoredEvent, Timestamp, Uid, Week, WindowShare,
};

use super::{FirstDue, KvStore, OrderedKv};
use crate::{
    AttemptCounts, AttemptQuery, AttemptRecord, Backlog, CountedTime, DeadLetterQuery, DeliveryRecord, DocumentQuery,
    EventAttemptQuery, EventQuery, Page, PageRequest, Reads, Routed, StoreError,
    kv::{
        Partition,
        starts::Start,
        view::{View, nothing},
    },
};

#[async_trait]
impl<K: OrderedKv> Reads for KvStore<K> {
    async fn window(
        &self,
        of: EndpointId,
        generation: Generation,
        ask: Ask,
        share: WindowShare,
    ) -> Result<Found, StoreError> {
        let first_due = match ask {
            Ask::Soft => return self.read(move |view| view.window(of, generation, ask, share, &Start::UNKNOWN)).await,
            Ask::Due(DueKey::START) | Ask::Aged(_, AgedKey::Start) => FirstDue::Wanted,
            Ask::Due(_) | Ask::Aged(..) | Ask::Ready(_) | Ask::Lane(..) => FirstDue::Unwanted,
            Ask::Lanes(_) | Ask::Urgent(_) => FirstDue::Unwanted,
        };
        let look = move |view: View<'_>, waiting, start: &Start| match waiting {
            Some(0) => Ok(nothing(ask)),
            Some(_) | None => view.window(of, generation, ask, share, start),
        };
        self.read_queue((of, generation), first_due, look).await
    }

    async fn wakes(
        &self,
        after: Option<(Timestamp, EndpointId)>,
        until: Timestamp,
        limit: NonZeroUsize,
    ) -> Result<Vec<(Timestamp, EndpointId)>, StoreError> {
        self.read(move |view| view.wakes(after, until, limit)).await
    }

    async fn cut_off(&self, limit: NonZeroUsize) -> Result<Vec<EndpointId>, StoreError> {
        self.read(move |view| view.cut_off(limit)).await
    }

    async fn was_ahead_of(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.read(move |view| view.was_ahead_of(now)).await
    }

    async fn applications(&self, page: &PageRequest<ApplicationId>) -> Result<Page<Routed, ApplicationId>, StoreError> {
        let page = page.clone();
        self.read(move |view| view.applications(&page)).await
    }

    async fn endpoints(&self, page: &PageRequest<EndpointId>) -> Result<Page<Endpoint, EndpointId>, StoreError> {
        let page = page.clone();
        self.read(move |view| view.endpoints(&page)).await
    }

    async fn application(&self, application: ApplicationId) -> Result<Option<Routed>, StoreError> {
        self.read(move |view| view.application(application)).await
    }

    async fn endpoint(&self, endpoint: EndpointId) -> Result<Option<Endpoint>, StoreError> {
        self.read(move |view| view.endpoint(endpoint)).await
    }

    async fn event(&self, owner: ApplicationId, event: EventId) -> Result<Option<StoredEvent>, StoreError> {
        self.read(move |view| view.event(owner, event)).await
    }

    async fn event_named(&self, owner: ApplicationId, uid: &Uid) -> Result<Option<EventId>, StoreError> {
        let uid = uid.clone();
        self.read(move |view| view.event_named(owner, &uid)).await
    }

    async fn events(
        &self,
        query: &EventQuery,
        page: &PageRequest<EventId>,
    ) -> Result<Page<StoredEvent, EventId>, StoreError> {
        let (query, page) = (query.clone(), page.clone());
        self.read(move |view| view.events(&query, &page)).await
    }

    async fn deliveries(
        &self,
        owner: ApplicationId,
        event: EventId,
        page: &PageRequest<EndpointId>,
    ) -> Result<Page<DeliveryRecord, EndpointId>, StoreError> {
        let page = page.clone();
        self.read(move |view| view.deliveries(owner, event, &page)).await
    }

    async fn delivery(
        &self,
        owner: ApplicationId,
        event: EventId,
        endpoint: EndpointId,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        self.read(move |view| view.delivery(owner, event, endpoint)).await
    }

    async fn queue(
        &self,
        of: EndpointId,
        generation: Generation,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, StoreError> {
        let page = page.clone();
        let look = move |view: View<'_>, waiting, start: &Start| match waiting {
            Some(0) => Ok(Page::default()),
            Some(_) | None => view.queue(of, generation, &page, start),
        };
        self.read_queue((of, generation), FirstDue::Wanted, look).await
    }

    async fn ahead(&self, delivery: &Delivery) -> Result<Option<Delivery>, StoreError> {
        let delivery = delivery.clone();
        let (of, generation) = (delivery.id.endpoint, delivery.generation);
        let look = move |view: View<'_>, _, start: &Start| view.ahead(&delivery, start);
        self.read_queue((of, generation), FirstDue::Unwanted, look).await
    }

    async fn backlog(
        &self,
        of: EndpointId,
        generation: Generation,
        at_most: NonZeroUsize,
    ) -> Result<Backlog, StoreError> {
        let look = move |view: View<'_>, waiting, start: &Start| view.backlog(of, generation, waiting, at_most, start);
        self.read_queue((of, generation), FirstDue::Wanted, look).await
    }

    async fn attempts_of_event(
        &self,
        query: &EventAttemptQuery,
        page: &PageRequest<AttemptId>,
    ) -> Result<Page<AttemptRecord, AttemptId>, StoreError> {
        let (query, page) = (query.clone(), page.clone());
        self.read(move |view| view.attempts_of_event(&query, &page)).await
    }

    async fn attempt_of_event(
        &self,
        owner: ApplicationId,
        event: EventId,
        attempt: AttemptId,
    ) -> Result<Option<AttemptRecord>, StoreError> {
        self.read(move |view| view.attempt_of_event(owner, event, attempt)).await
    }

    async fn attempts_of_endpoint(
        &self,
        query: &AttemptQuery,
        page: &PageRequest,
    ) -> Result<Page<AttemptRecord>, StoreError> {
        let (query, page) = (query.clone(), page.clone());
        self.read(move |view| view.attempts_of_endpoint(&query, &page)).await
    }

    async fn attempt_counts(
        &self,
        of: EndpointId,
        time: CountedTime,
        at_most: NonZeroUsize,
    ) -> Result<Option<AttemptCounts>, StoreError> {
        self.read(move |view| view.attempt_counts(of, time, at_most)).await
    }

    async fn dead_letters(
        &self,
        query: &DeadLetterQuery,
        page: &PageRequest<DeliveryId>,
    ) -> Result<Page<DeadLetter, DeliveryId>, StoreError> {
        let (query, page) = (query.clone(), page.clone());
        self.read(move |view| view.dead_letters(&query, &page)).await
    }

    async fn dead_letter(&self, delivery: DeliveryId) -> Result<Option<DeadLetter>, StoreError> {
        self.read(move |view| view.dead_letter(delivery)).await
    }

    async fn weeks(&self) -> Result<Vec<Week>, StoreError> {
        self.run("read", |inner| {
            let mut weeks: Vec<_> = inner.time_partitions()?.into_iter().map(|Partition(week)| Week(week)).collect();
            weeks.reverse();
            Ok(weeks)
        })
        .await
    }

    async fn agenda(
        &self,
        after: Option<AgendaItem>,
        until: Timestamp,
        limit: NonZeroUsize,
    ) -> Result<Vec<AgendaItem>, StoreError> {
        self.read(move |view| view.agenda(after, until, limit)).await
    }

    async fn document(&self, document: &DocumentId) -> Result<Option<Document>, StoreError> {
        let document = document.clone();
        self.read(move |view| view.document(document)).await
    }

    async fn documents(&self, query: &DocumentQuery, limit: NonZeroUsize) -> Result<Vec<Document>, StoreError> {
        let query = query.clone();
        self.read(move |view| view.documents(&query, limit)).await
    }
}
