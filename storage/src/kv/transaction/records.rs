//! Applications and endpoints, what names them, and what guards ask of them.

use postrider_core::{Application, ApplicationId, Effect, Endpoint, EndpointId, Refused};

use super::{Stop, Transaction};
use crate::{
    StoreError,
    kv::{
        Partition,
        keys::{self, Key, table},
        rows::{self, Cut, CutRow, QueueRow},
    },
};

impl Transaction<'_> {
    pub(super) fn put_application(&mut self, application: &Application) -> Result<Effect, Stop> {
        let Application { id, organisation, spec, .. } = application;
        let before = self.application(*id)?;
        if let Some(uid) = &spec.uid {
            let owner: Option<ApplicationId> = self.rows.get(&Key::ApplicationUid(*organisation, uid))?;
            if owner.is_some_and(|owner| owner != *id) {
                return Err(Refused::UidTaken.into());
            }
        }
        if let Some((organisation, uid)) = before.and_then(|before| Some((before.organisation, before.spec.uid?))) {
            self.rows.delete(&Key::ApplicationUid(organisation, &uid));
        }
        if let Some(uid) = &spec.uid {
            self.rows.put(&Key::ApplicationUid(*organisation, uid), id);
        }
        if self.rows.value(&Key::Routing(*id))?.is_none() {
            self.rows.put(&Key::Routing(*id), &0_u64);
        }
        self.rows.put_with(&Key::Application(*id), |value| rows::encode_application(application, value));
        Ok(Effect::Done)
    }

    pub(super) fn drop_application(&mut self, id: ApplicationId) -> Result<Effect, Stop> {
        let before = self.application(id)?;
        if let Some((organisation, uid)) = before.and_then(|before| Some((before.organisation, before.spec.uid?))) {
            self.rows.delete(&Key::ApplicationUid(organisation, &uid));
        }
        self.rows.delete(&Key::Application(id));
        self.rows.delete(&Key::Routing(id));
        Ok(Effect::Done)
    }

    pub(super) fn put_endpoint(&mut self, endpoint: &Endpoint) -> Result<Effect, Stop> {
        let Endpoint { id, application, spec, policy, generation, .. } = endpoint;
        if let Some(uid) = &spec.uid {
            let owner: Option<EndpointId> = self.rows.get(&Key::EndpointUid(*application, uid))?;
            if owner.is_some_and(|owner| owner != *id) {
                return Err(Refused::UidTaken.into());
            }
        }
        let mut kept_from = *generation;
        let before = self.queue(*id)?;
        if before.is_none() && self.rows.value(&Key::Cut(*id))?.is_some() {
            // Its rows would be purged with those of the endpoint that had this id before.
            return Err(Refused::QueueNotEmpty.into());
        }
        if before.is_none() {
            self.counts.created(*id, *application, *generation);
        }
        if let Some(before) = before {
            if *generation < before.generation {
                // Rows that are dead must stay so.
                return Err(Refused::Generation.into());
            }
            kept_from = before.kept_from;
            let (keeps_rows, same) = (before.ordering.same_rows(policy.ordering), before.generation == *generation);
            if !(keeps_rows && same) && self.has_queue(*id, &before)? {
                if !keeps_rows {
                    return Err(Refused::QueueNotEmpty.into());
                }
                kept_from = *generation;
                self.cut_off(*id, Cut::Before(*generation))?;
            }
            if !same {
                self.counts.cut_off(*id, *generation);
            }
        }
        self.forget_uid(*id)?;
        if let Some(uid) = &spec.uid {
            self.rows.put(&Key::EndpointUid(*application, uid), id);
        }
        let queue =
            QueueRow { application: *application, generation: *generation, kept_from, ordering: policy.ordering };
        self.rows.put(&Key::Queue(*id), &queue);
        self.rows.put_with(&Key::Endpoint(*id), |value| rows::encode_endpoint(endpoint, value));
        Ok(Effect::Routed(self.raise_routing(*application)?))
    }

    pub(super) fn drop_endpoint(&mut self, id: EndpointId) -> Result<Effect, Stop> {
        let Some(queue) = self.queue(id)? else { return Ok(Effect::Done) };
        self.forget_uid(id)?;
        self.rows.delete(&Key::Endpoint(id));
        self.rows.delete(&Key::Queue(id));
        self.counts.dropped(id);
        self.cut_off(id, Cut::Whole)?;
        Ok(Effect::Routed(self.raise_routing(queue.application)?))
    }

    /// The record of an application.
    pub(super) fn application(&mut self, id: ApplicationId) -> Result<Option<Application>, StoreError> {
        self.rows.value(&Key::Application(id))?.map(|value| rows::application(&value)).transpose()
    }

    fn forget_uid(&mut self, of: EndpointId) -> Result<(), StoreError> {
        let before = self.rows.value(&Key::Endpoint(of))?.map(|value| rows::endpoint(&value)).transpose()?;
        if let Some((application, uid)) = before.and_then(|before| Some((before.application, before.spec.uid?))) {
            self.rows.delete(&Key::EndpointUid(application, &uid));
        }
        Ok(())
    }

    /// Nobody else writes the version: two changes at once can never end with the same one.
    fn raise_routing(&mut self, of: ApplicationId) -> Result<u64, StoreError> {
        let version = self.rows.get::<u64>(&Key::Routing(of))?.unwrap_or_default().saturating_add(1);
        self.rows.put(&Key::Routing(of), &version);
        Ok(version)
    }

    /// Notes what is to be purged. What was noted before is purged as well, from the start.
    fn cut_off(&mut self, endpoint: EndpointId, what: Cut) -> Result<(), StoreError> {
        let before = self.rows.get::<CutRow>(&Key::Cut(endpoint))?.map(|before| before.what);
        let what = before.map_or(what, |before| before.max(what));
        self.rows.put(&Key::Cut(endpoint), &CutRow { endpoint, what, after: Vec::new() });
        Ok(())
    }

    fn has_queue(&self, of: EndpointId, queue: &QueueRow) -> Result<bool, StoreError> {
        if let Some(is_empty) = self.counts.is_empty(of, queue.generation) {
            return Ok(!is_empty);
        }
        for table in [table::READY, table::DUE] {
            let prefix = keys::queue(table, of, queue.generation);
            let first =
                self.rows.scan(Partition::LASTING, &prefix, &keys::end_of(&prefix), std::num::NonZeroUsize::MIN)?;
            if !first.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
