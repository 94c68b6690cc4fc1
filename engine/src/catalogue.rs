//! Every event type, in memory, as last committed, with the schema that payloads are held against.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use jsonschema::Validator;
use postrider_core::{Document, DocumentId, DocumentKind, EventType, OrganisationId, SchemaVersion};
use postrider_storage::{Reads, StoreError};
use tracing::error;

use crate::{
    documents,
    id_map::IdMap,
    list::{ListRequest, Listing, part_where},
    operational_types, schemas,
};

/// Every event type, as last committed.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    types: RwLock<Types>,
}

/// What a store holds of event types, before anybody sees it.
#[derive(Debug, Default)]
pub(crate) struct Types(IdMap<OrganisationId, BTreeMap<Box<str>, Arc<Known>>>);

/// An event type, and its schema once somebody needed it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) event_type: Arc<EventType>,
    latest: OnceLock<Option<Validator>>,
}

impl Known {
    /// The schema that payloads are held against, and its version.
    pub(crate) fn schema(&self) -> Option<(SchemaVersion, &Validator)> {
        let (version, schema) = self.event_type.spec.latest()?;
        // Only what can be compiled is stored; what an earlier program took and this one does not checks nothing.
        let compiled = self.latest.get_or_init(|| {
            let compiled = schemas::compiled(schema);
            if let Err(why) = &compiled {
                error!(event_type = %self.event_type.name, %why, "schema is not understood");
            }
            compiled.ok()
        });
        Some((version, compiled.as_ref()?))
    }
}

impl Catalogue {
    /// Reads all of it, a page at a time.
    pub(crate) async fn read(reads: &dyn Reads) -> Result<Types, StoreError> {
        let mut types = Types::default();
        operational_types::described().for_each(|event_type| types.set(OrganisationId::MANAGEMENT, event_type));
        documents::every(reads, DocumentKind::EventType, |document| types.put(&document)).await?;
        Ok(types)
    }

    /// What was read takes the place of what was known. Only while nothing is committed.
    pub(crate) fn replace(&self, types: Types) {
        *self.write() = types;
    }

    /// As committed.
    pub(crate) fn put(&self, document: &Document) {
        self.write().put(document);
    }

    /// As committed.
    pub(crate) fn remove(&self, id: &DocumentId) {
        let mut types = self.write();
        if let Some(types) = types.0.get_mut(&id.organisation) {
            types.remove(&id.name);
        }
        // What describes itself is back as it was.
        if id.organisation == OrganisationId::MANAGEMENT
            && let Some(event_type) = operational_types::described().find(|described| described.name == id.name)
        {
            types.set(id.organisation, event_type);
        }
    }

    pub(crate) fn find(&self, organisation: OrganisationId, name: &str) -> Option<Arc<Known>> {
        self.read_types().0.get(&organisation)?.get(name).cloned()
    }

    /// By name; those that are to be shown.
    pub(crate) fn list(
        &self,
        organisation: OrganisationId,
        request: &ListRequest<Box<str>>,
        is_shown: impl Fn(&EventType) -> bool,
    ) -> Listing<Arc<EventType>> {
        let types = self.read_types();
        let Some(all) = types.0.get(&organisation) else { return Listing::default() };
        let listing = part_where(all, request, |known| is_shown(&known.event_type));
        let items = listing.items.iter().map(|known| Arc::clone(&known.event_type)).collect();
        Listing { items, is_last: listing.is_last }
    }

    pub(crate) fn count(&self, organisation: OrganisationId) -> usize {
        self.read_types().0.get(&organisation).map_or(0, BTreeMap::len)
    }

    /// Of these names, the first that an endpoint may not begin to ask for. An organisation that describes no event types
    /// may ask for any.
    pub(crate) fn unknown<'n>(&self, organisation: OrganisationId, names: &'n [Box<str>]) -> Option<&'n str> {
        let types = self.read_types();
        let all = types.0.get(&organisation).filter(|all| !all.is_empty())?;
        let is_known = |name: &str| all.get(name).is_some_and(|known| !known.event_type.spec.archived);
        names.iter().map(|name| &**name).find(|name| !is_known(name))
    }

    fn read_types(&self) -> RwLockReadGuard<'_, Types> {
        self.types.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Types> {
        self.types.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Types {
    fn set(&mut self, organisation: OrganisationId, event_type: EventType) {
        let name = event_type.name.clone();
        let known = Known { event_type: Arc::new(event_type), latest: OnceLock::new() };
        self.0.entry(organisation).or_default().insert(name, Arc::new(known));
    }

    fn put(&mut self, document: &Document) {
        let DocumentId { organisation, name, .. } = &document.id;
        match serde_json::from_slice::<EventType>(&document.value) {
            Ok(event_type) => self.set(*organisation, event_type),
            Err(error) => error!(%organisation, %name, %error, "event type is damaged and passed over"),
        }
    }
}
