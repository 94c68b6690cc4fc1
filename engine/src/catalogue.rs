//! Every event type, in memory, as last committed, with the schema that payloads are held against.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak},
};

use postrider_core::{Document, DocumentId, DocumentKind, EventType, OrganisationId, SchemaVersion};
use postrider_storage::{Reads, StoreError};
use tracing::error;

use crate::{
    documents,
    id_map::IdMap,
    json_schema::Schema,
    list::{ListRequest, Listing, part_where},
    operational_types,
};

/// Bytes of schemas that are kept ready; what is beyond that is made again when it is needed.
const READY_BYTES_MAX: usize = 128 << 20;

/// Every event type, as last committed.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    types: RwLock<Types>,
    ready: Mutex<Ready>,
}

/// What a store holds of event types, before anybody sees it.
#[derive(Debug, Default)]
pub(crate) struct Types(IdMap<OrganisationId, BTreeMap<Box<str>, Arc<Known>>>);

/// An event type, and its schema once somebody needed it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) event_type: Arc<EventType>,
    latest: Mutex<Latest>,
}

/// The schema that payloads are held against.
#[derive(Clone, Debug, Default)]
pub(crate) enum Latest {
    /// It has to be made ready first, which takes its time.
    #[default]
    AsText,
    Ready(Arc<Schema>),
    /// Only what is understood is stored; what an earlier program took and this one does not checks nothing.
    NotUnderstood,
}

/// Schemas that are ready, the oldest first.
#[derive(Debug, Default)]
struct Ready {
    all: VecDeque<(Weak<Known>, usize)>,
    bytes: usize,
}

impl Known {
    const fn new(event_type: Arc<EventType>) -> Self {
        Self { event_type, latest: Mutex::new(Latest::AsText) }
    }

    /// The version of the schema that payloads are held against.
    pub(crate) fn version(&self) -> Option<SchemaVersion> {
        self.event_type.spec.latest().map(|(version, _)| version)
    }

    pub(crate) fn latest(&self) -> Latest {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_latest(&self, latest: Latest) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = latest;
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

    /// The schema that payloads are held against, made ready. Takes its time.
    pub(crate) fn made_ready(&self, known: &Arc<Known>) -> Option<Arc<Schema>> {
        match known.latest() {
            Latest::Ready(schema) => return Some(schema),
            Latest::NotUnderstood => return None,
            Latest::AsText => {}
        }
        let (_, text) = known.event_type.spec.latest()?;
        match Schema::compile(text) {
            Ok(schema) => {
                let schema = Arc::new(schema);
                known.set_latest(Latest::Ready(Arc::clone(&schema)));
                self.ready.lock().unwrap_or_else(PoisonError::into_inner).add(known, schema.bytes(), READY_BYTES_MAX);
                Some(schema)
            }
            Err(why) => {
                error!(event_type = %known.event_type.name, %why, "schema is not understood, and checks nothing");
                known.set_latest(Latest::NotUnderstood);
                None
            }
        }
    }

    fn read_types(&self) -> RwLockReadGuard<'_, Types> {
        self.types.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Types> {
        self.types.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ready {
    /// Lets go of the oldest ones while there is too much.
    fn add(&mut self, known: &Arc<Known>, bytes: usize, bytes_max: usize) {
        self.all.push_back((Arc::downgrade(known), bytes));
        self.bytes += bytes;
        while let Some((oldest, bytes)) = self.all.front() {
            let is_too_much = bytes_max < self.bytes && self.all.len() > 1;
            match oldest.upgrade() {
                // It was described anew meanwhile.
                None => {}
                Some(oldest) if is_too_much => oldest.set_latest(Latest::AsText),
                Some(_) => break,
            }
            self.bytes -= bytes;
            self.all.pop_front();
        }
    }
}

impl Types {
    fn set(&mut self, organisation: OrganisationId, event_type: EventType) {
        let name = event_type.name.clone();
        let known = Known::new(Arc::new(event_type));
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

#[cfg(test)]
mod tests {
    use postrider_core::{EventTypeSpec, Timestamp};

    use super::*;

    #[test]
    fn schemas_that_are_ready_are_bounded_and_made_again() {
        let now = Timestamp::from_nanos(0);
        let known = |n: u32| {
            let spec = EventTypeSpec::new("").schema(1, format!(r#"{{"minimum":{n}}}"#));
            let event_type = EventType { name: "a".into(), spec, created_at: now, updated_at: now, revision: 1 };
            Arc::new(Known::new(Arc::new(event_type)))
        };
        let (all, catalogue): (Vec<_>, _) = ((0..10).map(known).collect(), Catalogue::default());
        let mut ready = Ready::default();
        for known in &all {
            let schema = catalogue.made_ready(known).expect("it is a schema");
            ready.add(known, schema.bytes(), 3 * schema.bytes());
        }
        let are_ready = |all: &[Arc<Known>]| all.iter().filter(|one| matches!(one.latest(), Latest::Ready(_))).count();
        assert_eq!((are_ready(&all), are_ready(&all[7..]), ready.all.len()), (3, 3, 3));
        assert!(catalogue.made_ready(&all[0]).is_some());
        drop(all);
        ready.add(&known(11), 1, usize::MAX);
        assert!(ready.bytes <= 1, "what is gone is not counted");
    }
}
