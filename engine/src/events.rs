//! Events of one application: found, listed, and what was tried for them.

use postrider_core::{
    ApplicationId, AttemptId, AttemptPlace, Batch, EventId, IdOr, RefusalClass, StoredEvent, Task, Timestamp, Work,
    Write,
};
use postrider_storage::{AttemptFilter, AttemptRecord, EventAttemptQuery, EventQuery, Page, PageRequest, Reads};

use crate::{EventError, ReadError, TaskError, engine::Scope};

/// Events of one application.
#[derive(Clone, Debug)]
pub struct Events<'e> {
    pub(crate) scope: Scope<'e>,
}

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of these types; empty is all.
    pub event_types: Vec<Box<str>>,
    /// On this channel.
    pub channel: Option<Box<str>>,
    /// With this tag.
    pub tag: Option<Box<str>>,
    /// Accepted before.
    pub before: Option<Timestamp>,
    /// Accepted after.
    pub after: Option<Timestamp>,
}

impl Events<'_> {
    /// One of them, with its payload, by its id or its uid.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there is none, or its payload is gone; else as it was read.
    pub async fn get(&self, event: impl Into<IdOr<EventId>>) -> Result<StoredEvent, ReadError> {
        let owner = self.owner()?;
        let store = self.scope.engine().store.get()?;
        let id = event_id(store.reads(), owner, &event.into()).await?;
        store.reads().event(owner, id).await?.ok_or(ReadError::NotFound)
    }

    /// Newest first.
    ///
    /// # Errors
    /// As they were read.
    pub async fn list(
        &self,
        filter: EventFilter,
        page: &PageRequest<EventId>,
    ) -> Result<Page<StoredEvent, EventId>, ReadError> {
        let EventFilter { event_types, channel, tag, before, after } = filter;
        let mut query = EventQuery { event_types, channel, tag, ..EventQuery::of(self.owner()?) };
        (query.before, query.after) = (before, after);
        Ok(self.scope.engine().store.get()?.reads().events(&query, page).await?)
    }

    /// What was tried for one at all endpoints, newest first.
    ///
    /// # Errors
    /// As they were read.
    pub async fn attempts(
        &self,
        event: impl Into<IdOr<EventId>>,
        filter: AttemptFilter,
        page: &PageRequest<AttemptId>,
    ) -> Result<Page<AttemptRecord, AttemptId>, ReadError> {
        let owner = self.owner()?;
        let store = self.scope.engine().store.get()?;
        let id = event_id(store.reads(), owner, &event.into()).await?;
        let query = EventAttemptQuery { filter, ..EventAttemptQuery::of(owner, id) };
        Ok(store.reads().attempts_of_event(&query, page).await?)
    }

    /// One attempt of one of them.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there is none; else as it was read.
    pub async fn attempt(
        &self,
        event: impl Into<IdOr<EventId>>,
        attempt: AttemptId,
    ) -> Result<AttemptRecord, ReadError> {
        let owner = self.owner()?;
        let store = self.scope.engine().store.get()?;
        let id = event_id(store.reads(), owner, &event.into()).await?;
        store.reads().attempt_of_event(owner, id, attempt).await?.ok_or(ReadError::NotFound)
    }

    /// Forgets the payload of one at once. Deliveries of it that wait end without it.
    ///
    /// # Errors
    /// [`EventError::NoSuchEvent`]; else as the commit went.
    pub async fn expunge(&self, event: impl Into<IdOr<EventId>>) -> Result<(), EventError> {
        let engine = self.scope.engine();
        let owner = self.owner().map_err(|_| EventError::NoSuchEvent)?;
        let store = engine.store.get().map_err(ReadError::from)?;
        let id = match event_id(store.reads(), owner, &event.into()).await {
            Err(ReadError::NotFound) => return Err(EventError::NoSuchEvent),
            id => id?,
        };
        drop(store);
        self.forget(owner, Write::Expunge(owner, id)).await
    }

    /// Forgets what a receiver answered to an attempt of one.
    ///
    /// # Errors
    /// [`EventError::NoSuchEvent`] if there is no such event or attempt; else as the commit went.
    pub async fn expunge_response(
        &self,
        event: impl Into<IdOr<EventId>>,
        attempt: AttemptId,
    ) -> Result<(), EventError> {
        let found = match self.attempt(event, attempt).await {
            Err(ReadError::NotFound) => return Err(EventError::NoSuchEvent),
            found => found?,
        };
        let AttemptRecord { delivery, event, life, attempt } = found;
        let place = AttemptPlace { delivery, life, number: attempt.number, event };
        self.forget(self.owner()?, Write::ExpungeResponse(place)).await
    }

    /// Begins a task that forgets the payloads of all that are published by now.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn expunge_all(&self) -> Result<Task, TaskError> {
        let owner = self.scope.application().ok_or(TaskError::NotFound)?.id;
        self.scope.organisation.tasks().start(Work::Expunge(owner)).await
    }

    async fn forget(&self, owner: ApplicationId, what: Write) -> Result<(), EventError> {
        match self.scope.engine().commit(owner, Batch::synced([what])).await? {
            Ok(_) => Ok(()),
            Err(refused) => Err(match refused.class() {
                RefusalClass::Corrupt => EventError::Corrupt,
                // Nothing guards it.
                RefusalClass::Gone | RefusalClass::Stale | RefusalClass::Taken | RefusalClass::Full => {
                    EventError::NoSuchEvent
                }
            }),
        }
    }

    fn owner(&self) -> Result<ApplicationId, ReadError> {
        Ok(self.scope.application().ok_or(ReadError::NotFound)?.id)
    }
}

/// The id of an event that may be named by its uid.
pub(crate) async fn event_id(
    reads: &dyn Reads,
    owner: ApplicationId,
    name: &IdOr<EventId>,
) -> Result<EventId, ReadError> {
    match name {
        IdOr::Id(id) => Ok(*id),
        IdOr::Uid(uid) => reads.event_named(owner, uid).await?.ok_or(ReadError::NotFound),
    }
}
