//! Events of one application: found, listed, and what was tried for them.

use postrider_core::{ApplicationId, EventId, IdOr, StoredEvent, Timestamp};
use postrider_storage::{AttemptRecord, EventQuery, Page, PageRequest, Reads};

use crate::{ReadError, engine::Scope};

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
    pub async fn list(&self, filter: EventFilter, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        let EventFilter { event_types, channel, before, after } = filter;
        let mut query = EventQuery::of(self.owner()?);
        (query.event_types, query.channel, query.before, query.after) = (event_types, channel, before, after);
        Ok(self.scope.engine().store.get()?.reads().events(&query, page).await?)
    }

    /// Every attempt of one, at all endpoints, newest first.
    ///
    /// # Errors
    /// As they were read.
    pub async fn attempts(&self, event: impl Into<IdOr<EventId>>) -> Result<Vec<AttemptRecord>, ReadError> {
        let owner = self.owner()?;
        let store = self.scope.engine().store.get()?;
        let id = event_id(store.reads(), owner, &event.into()).await?;
        Ok(store.reads().attempts_of_event(owner, id).await?)
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
