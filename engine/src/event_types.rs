//! Event types of one organisation: described, checked against, and shown to those who write receivers.

use std::sync::Arc;

use postrider_core::{
    Batch, Document, DocumentId, DocumentKind, EventType, EventTypeSpec, Guard, InvalidEventType, RefusalClass,
    Refused, SchemaVersion, Write,
};
use serde_json::Value;

use crate::{
    EventTypeError, ListRequest, Listing, Organisation, ReadError,
    inner::TRIES,
    quota::{Place, Quota},
    schemas,
};

/// Event types of one organisation.
#[derive(Clone, Copy, Debug)]
pub struct EventTypes<'e> {
    pub(crate) scope: Organisation<'e>,
}

/// What an event of a type may look like.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EventTypeExample {
    /// Of this version of its schema.
    pub version: SchemaVersion,
    /// An example that the schema holds, or one that is made of its parts.
    pub payload: Value,
}

impl EventTypes<'_> {
    /// A new one. One that is archived is described anew, and is archived no more.
    ///
    /// # Errors
    /// [`EventTypeError::NameTaken`] if there is one that is not archived; else each says what to do.
    pub async fn create(
        self,
        name: impl Into<Box<str>>,
        spec: EventTypeSpec,
    ) -> Result<Arc<EventType>, EventTypeError> {
        let name = name.into();
        match self.get(&name) {
            Ok(known) if known.spec.archived => self.update(&name, |old| *old = spec.clone()).await,
            Ok(_) => Err(EventTypeError::NameTaken),
            Err(_) => match self.put_new(name, spec).await {
                // Somebody made it meanwhile.
                Err(EventTypeError::Contended) => Err(EventTypeError::NameTaken),
                known => known,
            },
        }
    }

    /// The one of this name, made or changed to be as asked: safe to call at every start. Revision 1 says that it was
    /// made.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn upsert(
        self,
        name: impl Into<Box<str>>,
        spec: EventTypeSpec,
    ) -> Result<Arc<EventType>, EventTypeError> {
        let name = name.into();
        for _ in 0..TRIES {
            match self.update(&name, |old| *old = spec.clone()).await {
                Err(EventTypeError::NoSuchEventType) => {}
                known => return known,
            }
            match self.put_new(name.clone(), spec.clone()).await {
                Err(EventTypeError::Contended) => {}
                Err(EventTypeError::TooManyEventTypes { .. }) if self.get(&name).is_ok() => {}
                known => return known,
            }
        }
        Err(EventTypeError::Contended)
    }

    /// One of them, archived or not.
    ///
    /// # Errors
    /// [`ReadError::NotFound`].
    pub fn get(self, name: &str) -> Result<Arc<EventType>, ReadError> {
        let known = self.scope.engine.catalogue.find(self.scope.id, name);
        known.map(|known| Arc::clone(&known.event_type)).ok_or(ReadError::NotFound)
    }

    /// By name; archived ones only if they are asked for.
    pub fn list(self, archived: bool, request: &ListRequest<Box<str>>) -> Listing<Arc<EventType>> {
        self.list_where(request, |found| archived || !found.spec.archived)
    }

    /// By name; those that are to be shown.
    pub fn list_where(
        self,
        request: &ListRequest<Box<str>>,
        is_shown: impl Fn(&EventType) -> bool,
    ) -> Listing<Arc<EventType>> {
        self.scope.engine.catalogue.list(self.scope.id, request, is_shown)
    }

    /// What events of this type may look like, at least one; none if it has no schema.
    ///
    /// # Errors
    /// [`ReadError::NotFound`].
    pub fn examples(self, name: &str) -> Result<Vec<EventTypeExample>, ReadError> {
        let found = self.get(name)?;
        let Some((version, schema)) = found.spec.latest() else { return Ok(Vec::new()) };
        let example = |payload| EventTypeExample { version, payload };
        Ok(schemas::examples(schema).into_iter().map(example).collect())
    }

    /// Changes one. Runs `change` again if somebody else was faster, so that no change is lost.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn update(
        self,
        name: &str,
        change: impl Fn(&mut EventTypeSpec),
    ) -> Result<Arc<EventType>, EventTypeError> {
        let engine = self.scope.engine;
        for _ in 0..TRIES {
            let found = self.get(name).map_err(|_| EventTypeError::NoSuchEventType)?;
            let mut event_type = EventType::clone(&found);
            change(&mut event_type.spec);
            event_type.updated_at = engine.clock.now();
            event_type.revision += 1;
            match self.put(event_type, found.revision, None).await {
                Err(EventTypeError::Contended) => {}
                known => return known,
            }
        }
        Err(EventTypeError::Contended)
    }

    /// Hides one from lists. Events of it are accepted, because they may still be published.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn archive(self, name: &str) -> Result<Arc<EventType>, EventTypeError> {
        self.update(name, |spec| spec.archived = true).await
    }

    /// Removes one for good, with its schemas.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn delete(self, name: &str) -> Result<(), EventTypeError> {
        self.get(name).map_err(|_| EventTypeError::NoSuchEventType)?;
        let batch = Batch::synced([Write::DropDocument(self.document(name))]);
        self.scope.engine.commit_for(self.scope.id, batch).await?.map_err(refused)?;
        Ok(())
    }

    /// What is wrong with one under this name, if anything. Takes its time where schemas are large.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(name: &str, spec: &EventTypeSpec) -> Result<(), InvalidEventType> {
        spec.validate(name)?;
        schemas::are_valid(spec)
    }

    pub(crate) fn written(self, event_type: &EventType) -> Write {
        // Text, numbers and lists of them: there is nothing that JSON refuses.
        let value = serde_json::to_vec(event_type).expect("an event type can be written as JSON").into();
        let (id, revision) = (self.document(&event_type.name), event_type.revision);
        Write::Document(Box::new(Document { id, revision, value }))
    }

    pub(crate) fn document(self, name: &str) -> DocumentId {
        DocumentId::new(DocumentKind::EventType, self.scope.id, name)
    }

    /// Places for so many more.
    pub(crate) async fn places(self, more: usize) -> Result<Place, EventTypeError> {
        let engine = self.scope.engine;
        let event_types_max = engine.limits.event_types_per_organisation.get();
        let (quota, there) = (Quota::EventTypes(self.scope.id), || engine.catalogue.count(self.scope.id));
        let places = engine.quotas.take(quota, more, event_types_max, there).await;
        places.ok_or(EventTypeError::TooManyEventTypes { event_types_max })
    }

    async fn put_new(self, name: Box<str>, spec: EventTypeSpec) -> Result<Arc<EventType>, EventTypeError> {
        let place = self.places(1).await?;
        let now = self.scope.engine.clock.now();
        self.put(EventType { name, spec, created_at: now, updated_at: now, revision: 1 }, 0, Some(place)).await
    }

    async fn put(
        self,
        event_type: EventType,
        seen: u64,
        place: Option<Place>,
    ) -> Result<Arc<EventType>, EventTypeError> {
        let (name, spec) = (event_type.name.clone(), event_type.spec.clone());
        self.scope.aside(move || Self::check(&name, &spec)).await??;
        let guard = Guard::Document(self.document(&event_type.name), seen);
        let batch = Batch::synced([self.written(&event_type)]).guarded(guard);
        self.scope.engine.commit_new_for(self.scope.id, batch, place).await?.map_err(refused)?;
        Ok(Arc::new(event_type))
    }
}

/// A document is refused only if somebody else changed it, or its row makes no sense.
pub(crate) fn refused(refused: Refused) -> EventTypeError {
    match refused.class() {
        RefusalClass::Corrupt => EventTypeError::Corrupt,
        RefusalClass::Stale | RefusalClass::Taken | RefusalClass::Full | RefusalClass::Gone => {
            EventTypeError::Contended
        }
    }
}
