//! Dead letters of one application: listed, put back into their queues, forgotten.

use std::{collections::HashSet, num::NonZeroUsize, sync::Arc};

use postrider_core::{
    ApplicationId, Batch, DeadLetter, Delivery, DeliveryId, Endpoint, EndpointId, EventId, Guard, IdOr, Refused,
    StoredEvent, Task, Timestamp, Work, Write, task::Letters,
};
use postrider_storage::{DeadLetterQuery, Page, PageRequest};

use crate::{DeadLetterError, ReadError, TaskError, deliveries::queued, engine::Scope};

/// Letters in one piece of a change of many.
const PIECE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(199);

/// Dead letters of one application.
#[derive(Clone, Debug)]
pub struct DeadLetters<'e> {
    pub(crate) scope: Scope<'e>,
}

/// Which dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this endpoint; none is all of the application.
    pub endpoint: Option<IdOr<EndpointId>>,
    /// Of events of these types; empty is all.
    pub event_types: Vec<Box<str>>,
    /// Given up before.
    pub before: Option<Timestamp>,
    /// Given up after.
    pub after: Option<Timestamp>,
}

impl DeadLetterFilter {
    /// All of one endpoint.
    pub fn of(endpoint: impl Into<IdOr<EndpointId>>) -> Self {
        Self { endpoint: Some(endpoint.into()), ..Self::default() }
    }
}

impl DeadLetters<'_> {
    /// Newest first within each endpoint. With event types in the filter a page may be shorter than asked for, and still
    /// not the last.
    ///
    /// # Errors
    /// As they were read.
    pub async fn list(
        &self,
        filter: &DeadLetterFilter,
        page: &PageRequest<DeliveryId>,
    ) -> Result<Page<DeadLetter, DeliveryId>, ReadError> {
        let (owner, query) = self.query(filter).ok_or(ReadError::NotFound)?;
        self.matching(owner, &query, &filter.event_types, page).await
    }

    /// One of them, and its event if that is still there.
    ///
    /// # Errors
    /// [`ReadError::NotFound`], or as it was read.
    pub async fn get(&self, letter: DeliveryId) -> Result<(DeadLetter, Option<StoredEvent>), ReadError> {
        let endpoint = self.scope.endpoint(&IdOr::Id(letter.endpoint)).ok_or(ReadError::NotFound)?;
        let store = self.scope.engine().store.get()?;
        let letter = store.reads().dead_letter(letter).await?.ok_or(ReadError::NotFound)?;
        let event = store.reads().event(endpoint.application, letter.last.event).await?;
        Ok((letter, event))
    }

    /// Puts one back, with its schedule from the start: in its old place if it holds its lane, else at the end.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn redrive(&self, letter: DeliveryId) -> Result<Delivery, DeadLetterError> {
        let (engine, endpoint) = (self.scope.engine(), self.endpoint_of(letter)?);
        let batch = redrive(&endpoint, letter, engine.clock.now());
        let committed = engine.commit(endpoint.application, batch).await?.map_err(refused)?;
        queued(committed.effects).ok_or(DeadLetterError::Corrupt)
    }

    /// Forgets one. If it holds its lane, the lane stays held: cancel its delivery.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn forget(&self, letter: DeliveryId) -> Result<(), DeadLetterError> {
        let owner = self.endpoint_of(letter)?.application;
        let batch = Batch::synced([Write::Forget(letter)]);
        self.scope.engine().commit(owner, batch).await?.map_err(refused)?;
        Ok(())
    }

    /// How many match, counted up to `at_most`.
    ///
    /// # Errors
    /// As they were read.
    pub async fn count(&self, filter: &DeadLetterFilter, at_most: NonZeroUsize) -> Result<usize, ReadError> {
        let (owner, query) = self.query(filter).ok_or(ReadError::NotFound)?;
        let (mut count, mut page) = (0, PageRequest::first(PIECE));
        loop {
            let found = self.matching(owner, &query, &filter.event_types, &page).await?;
            count += found.items.len();
            if !page.turn(&found) || count >= at_most.get() {
                return Ok(count.min(at_most.get()));
            }
        }
    }

    /// Begins a task that puts back all that match, oldest first, each once its queue has room for it.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn redrive_many(&self, filter: &DeadLetterFilter) -> Result<Task, TaskError> {
        self.scope.organisation.tasks().start(Work::Redrive(self.letters(filter)?)).await
    }

    /// Begins a task that forgets all that match.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn purge(&self, filter: &DeadLetterFilter) -> Result<Task, TaskError> {
        self.scope.organisation.tasks().start(Work::Purge(self.letters(filter)?)).await
    }

    /// Begins a task that puts back what was given up at an endpoint in this time, which is at most 14 days long. Again,
    /// it finds only what was given up anew.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn recover(
        &self,
        endpoint: impl Into<IdOr<EndpointId>>,
        since: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<Task, TaskError> {
        let just_before = Timestamp::from_nanos(since.as_nanos().saturating_sub(1));
        let until = until.unwrap_or_else(|| self.scope.engine().clock.now());
        let filter =
            DeadLetterFilter { before: Some(until), after: Some(just_before), ..DeadLetterFilter::of(endpoint) };
        self.scope.organisation.tasks().start(Work::Recover(self.letters(&filter)?)).await
    }

    fn letters(&self, filter: &DeadLetterFilter) -> Result<Letters, TaskError> {
        let application = self.scope.application().ok_or(TaskError::NotFound)?.id;
        let DeadLetterFilter { endpoint, event_types, before, after } = filter.clone();
        let endpoint = match endpoint {
            Some(name) => Some(self.scope.endpoint(&name).ok_or(TaskError::NotFound)?.id),
            None => None,
        };
        Ok(Letters { application, endpoint, event_types, before, after })
    }

    async fn matching(
        &self,
        owner: ApplicationId,
        query: &DeadLetterQuery,
        event_types: &[Box<str>],
        page: &PageRequest<DeliveryId>,
    ) -> Result<Page<DeadLetter, DeliveryId>, ReadError> {
        let store = self.scope.engine().store.get()?;
        let mut found = store.reads().dead_letters(query, page).await?;
        if event_types.is_empty() {
            return Ok(found);
        }
        let mut wanted: HashSet<EventId> = HashSet::new();
        for id in found.items.iter().map(|letter| letter.last.event).collect::<HashSet<_>>() {
            let event = store.reads().event(owner, id).await?;
            wanted.extend(event.filter(|event| event_types.contains(&event.event.event_type)).map(|event| event.id));
        }
        found.items.retain(|letter| wanted.contains(&letter.last.event));
        Ok(found)
    }

    fn query(&self, filter: &DeadLetterFilter) -> Option<(ApplicationId, DeadLetterQuery)> {
        let owner = self.scope.application()?.id;
        let endpoints = match &filter.endpoint {
            Some(name) => vec![self.scope.endpoint(name)?.id],
            None => self.scope.engine().registry.endpoint_ids(owner),
        };
        Some((owner, DeadLetterQuery { endpoints, before: filter.before, after: filter.after, oldest_first: false }))
    }

    fn endpoint_of(&self, letter: DeliveryId) -> Result<Arc<Endpoint>, DeadLetterError> {
        self.scope.endpoint(&IdOr::Id(letter.endpoint)).ok_or(DeadLetterError::NoSuchDeadLetter)
    }
}

/// Back into the queue, if that has room.
pub(crate) fn redrive(endpoint: &Endpoint, letter: DeliveryId, now: Timestamp) -> Batch {
    let room = Guard::Room(letter, endpoint.generation, endpoint.policy.queue.deliveries);
    Batch::synced([Write::Redrive(letter, now)]).guarded(room)
}

pub(crate) fn refused(refused: Refused) -> DeadLetterError {
    match refused {
        Refused::Corrupt => DeadLetterError::Corrupt,
        Refused::QueueFull(_) => DeadLetterError::QueueFull,
        Refused::TriesUsedUp => DeadLetterError::NoSuchDeadLetter,
        Refused::NoDeadLetter | Refused::NoEvent | Refused::Generation => DeadLetterError::NoSuchDeadLetter,
        Refused::Stands(_) | Refused::Routing | Refused::Revision => DeadLetterError::NoSuchDeadLetter,
        Refused::KeyUsed(..) | Refused::EventUidTaken(_) => DeadLetterError::NoSuchDeadLetter,
        Refused::UidTaken | Refused::QueueNotEmpty => DeadLetterError::NoSuchDeadLetter,
    }
}
