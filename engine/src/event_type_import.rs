//! Many event types at once: all that a document tells of, or all of another environment. In one commit, or not at all.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

use postrider_core::{Batch, EventType, EventTypeSpec, Guard};

use crate::{EventTypeError, EventTypes, ImportedEventType, ListRequest, Order, event_types::refused, inner::TRIES};

/// Event types, as they are to be.
pub type EventTypeSpecs = BTreeMap<Box<str>, EventTypeSpec>;

/// What becomes of event types that an import does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They stay as they are.
    Stay,
    /// They are archived.
    Archive,
}

impl EventTypes<'_> {
    /// Makes or changes these, all in one commit. Those that are so already are left alone; the others come back.
    ///
    /// # Errors
    /// Nothing was stored, or it may have been; each says what to do.
    pub async fn upsert_all(self, all: &EventTypeSpecs) -> Result<Vec<Arc<EventType>>, EventTypeError> {
        self.commit_all(|| all.clone()).await
    }

    /// Makes or changes those that a document tells of, all in one commit. Those that are so already are left alone; the
    /// others come back.
    ///
    /// # Errors
    /// Nothing was stored, or it may have been; each says what to do.
    pub async fn import(
        self,
        imported: &[ImportedEventType],
        others: Others,
    ) -> Result<Vec<Arc<EventType>>, EventTypeError> {
        self.commit_all(|| self.over(imported, others)).await
    }

    /// What [`import`](Self::import) would change.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn plan_import(
        self,
        imported: &[ImportedEventType],
        others: Others,
    ) -> Result<Vec<Arc<EventType>>, EventTypeError> {
        let planned = self.plan(self.over(imported, others)).await?;
        Ok(planned.into_iter().map(|(event_type, _)| event_type).collect())
    }

    fn over(self, imported: &[ImportedEventType], others: Others) -> EventTypeSpecs {
        let known = |name: &str| self.get(name).ok();
        let over = |import: &ImportedEventType| {
            let known = known(&import.name);
            (import.name.clone(), import.over(known.as_deref().map(|known| &known.spec)))
        };
        let mut all: EventTypeSpecs = imported.iter().map(over).collect();
        match others {
            Others::Stay => {}
            Others::Archive => {
                for other in self.list(false, &ListRequest::first(Order::Ascending, NonZeroUsize::MAX)).items {
                    if !all.contains_key(&other.name) {
                        let mut spec = other.spec.clone();
                        spec.archived = true;
                        all.insert(other.name.clone(), spec);
                    }
                }
            }
        }
        all
    }

    async fn commit_all(self, wanted: impl Fn() -> EventTypeSpecs) -> Result<Vec<Arc<EventType>>, EventTypeError> {
        for _ in 0..TRIES {
            let planned = self.plan(wanted()).await?;
            if planned.is_empty() {
                return Ok(Vec::new());
            }
            let place = self.places(planned.iter().filter(|(_, seen)| *seen == 0).count()).await?;
            let mut batch = Batch::synced(planned.iter().map(|(event_type, _)| self.written(event_type)));
            for (event_type, seen) in &planned {
                batch = batch.guarded(Guard::Document(self.document(&event_type.name), *seen));
            }
            match self.scope.engine.commit_new_for(self.scope.id, batch, Some(place)).await?.map_err(refused) {
                Ok(_) => return Ok(planned.into_iter().map(|(event_type, _)| event_type).collect()),
                Err(EventTypeError::Contended) => {}
                Err(other) => return Err(other),
            }
        }
        Err(EventTypeError::Contended)
    }

    /// Those that change, each with the revision that is known of it.
    async fn plan(self, wanted: EventTypeSpecs) -> Result<Vec<(Arc<EventType>, u64)>, EventTypeError> {
        let now = self.scope.engine.clock.now();
        let mut changed = wanted;
        changed.retain(|name, spec| self.get(name).map_or(true, |known| known.spec != *spec));
        let check = move || {
            for (name, spec) in &changed {
                let wrong = |wrong| EventTypeError::InvalidAmong { name: name.clone(), wrong };
                EventTypes::check(name, spec).map_err(wrong)?;
            }
            Ok::<_, EventTypeError>(changed)
        };
        let mut planned = Vec::new();
        for (name, spec) in self.scope.aside(check).await?? {
            let known = self.get(&name).ok();
            let seen = known.as_ref().map_or(0, |known| known.revision);
            let event_type = EventType {
                name,
                spec,
                created_at: known.map_or(now, |known| known.created_at),
                updated_at: now,
                revision: seen + 1,
            };
            planned.push((Arc::new(event_type), seen));
        }
        Ok(planned)
    }
}
