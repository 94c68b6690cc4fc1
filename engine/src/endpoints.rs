//! Receivers of one application: made, changed, held, found and deleted.

use std::{sync::Arc, time::Duration};

use postrider_core::{
    Application, Batch, BreakerState, DisableReason, Endpoint, EndpointId, EndpointSpec, EndpointStatus, Generation,
    Guard, IdOr, RecordId, RefusalClass, Refused, Secret, SigningSecret, SoftState, Timestamp, Uid, Waiting, Write,
};
use postrider_storage::Backlog;

use crate::{
    EndpointError, ListRequest, Listing, ReadError,
    engine::Scope,
    inner::TRIES,
    quota::{Place, Quota},
    secrets::{new_secret, rotated},
};

/// Endpoints of one application.
#[derive(Clone, Debug)]
pub struct Endpoints<'e> {
    pub(crate) scope: Scope<'e>,
}

/// What is asked of an endpoint, and whether its deliveries go out: what a person may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointDraft {
    /// Checked as a whole.
    pub spec: EndpointSpec,
    /// Active, paused, or disabled.
    pub status: EndpointStatus,
}

impl From<EndpointSpec> for EndpointDraft {
    /// Active.
    fn from(spec: EndpointSpec) -> Self {
        Self { spec, status: EndpointStatus::Active }
    }
}

/// What an endpoint is doing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EndpointState {
    /// Active, paused or disabled.
    pub status: EndpointStatus,
    /// Closed, open, or probing.
    pub breaker: BreakerState,
    /// How much waits, tries by hand with it, and since when.
    pub backlog: Backlog,
    /// Requests in flight.
    pub in_flight: usize,
    /// When the next attempt that has a time is due.
    pub next_attempt: Option<Timestamp>,
    /// What holds all its deliveries.
    pub waiting: Option<Waiting>,
    /// Why its receiver has not proved that it wants anything, as of the last time that it was asked.
    pub proof_failure: Option<Box<str>>,
    /// Why this machine could not send to it the last time that it tried; none once something was sent.
    pub could_not_send: Option<Box<str>>,
}

impl Endpoints<'_> {
    /// A new one, with a secret of its own. A spec makes an active one; a draft says otherwise.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn create(&self, draft: impl Into<EndpointDraft>) -> Result<Arc<Endpoint>, EndpointError> {
        self.create_with_secret(draft, new_secret(self.scope.engine().secrets)?).await
    }

    /// A new one that signs with this secret.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn create_with_secret(
        &self,
        draft: impl Into<EndpointDraft>,
        secret: Secret,
    ) -> Result<Arc<Endpoint>, EndpointError> {
        let (engine, draft) = (self.scope.engine(), draft.into());
        let owner = self.scope.application().ok_or(EndpointError::NoSuchApplication)?;
        let endpoints_max = engine.limits.endpoints_per_application.get();
        let (quota, there) = (Quota::Endpoints(owner.id), || engine.registry.endpoint_count(owner.id));
        let place = engine.quotas.take(quota, 1, endpoints_max, there).await;
        let place = place.ok_or(EndpointError::TooManyEndpoints { endpoints_max })?;
        let target = engine.check(&draft.spec)?;
        let draft_proof = draft.spec.proof;
        self.are_known(&draft.spec.event_types)?;
        let now = engine.clock.now();
        let endpoint = Endpoint {
            id: EndpointId::from_bytes(engine.fresh_id(now)),
            application: owner.id,
            policy: engine.policy(&owner, &draft.spec, None),
            spec: draft.spec,
            target,
            secrets: vec![SigningSecret { secret, expires: None }],
            status: EndpointStatus::asked(draft.status, None, draft_proof),
            created_at: now,
            updated_at: now,
            revision: 1,
            generation: Generation(0),
            granted: None,
        };
        self.put(&owner, endpoint, 0, (None, Some(place))).await
    }

    /// The one called `uid`, made or changed to be as asked: safe to call at every start. Its status stays as it is.
    /// Revision 1 says that it was made.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn upsert(&self, uid: impl Into<Uid>, mut spec: EndpointSpec) -> Result<Arc<Endpoint>, EndpointError> {
        let uid = uid.into();
        spec.uid = Some(uid.clone());
        for _ in 0..TRIES {
            match self.update(IdOr::Uid(uid.clone()), |old| *old = spec.clone()).await {
                Err(EndpointError::NoSuchEndpoint) => {}
                known => return known,
            }
            match self.create(spec.clone()).await {
                // Somebody made it meanwhile.
                Err(EndpointError::UidTaken) => {}
                Err(EndpointError::TooManyEndpoints { .. }) if self.get(IdOr::Uid(uid.clone())).is_ok() => {}
                known => return known,
            }
        }
        Err(EndpointError::Contended)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ReadError::NotFound`].
    pub fn get(&self, endpoint: impl Into<IdOr<EndpointId>>) -> Result<Arc<Endpoint>, ReadError> {
        self.scope.endpoint(&endpoint.into()).ok_or(ReadError::NotFound)
    }

    /// By id, which is by age.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there is no such application.
    pub fn list(&self, request: &ListRequest<EndpointId>) -> Result<Listing<Arc<Endpoint>>, ReadError> {
        self.list_where(request, |_| true)
    }

    /// As [`list`](Self::list), of those that are wanted.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there is no such application.
    pub fn list_where(
        &self,
        request: &ListRequest<EndpointId>,
        is_wanted: impl Fn(&Endpoint) -> bool,
    ) -> Result<Listing<Arc<Endpoint>>, ReadError> {
        let owner = self.scope.application().ok_or(ReadError::NotFound)?;
        Ok(self.scope.engine().registry.endpoints_where(owner.id, request, is_wanted))
    }

    /// Changes one. Runs `change` again if somebody else was faster, so that no change is lost.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn update(
        &self,
        endpoint: impl Into<IdOr<EndpointId>>,
        change: impl Fn(&mut EndpointSpec),
    ) -> Result<Arc<Endpoint>, EndpointError> {
        self.edit(endpoint, |draft| change(&mut draft.spec)).await
    }

    /// As [`update`](Self::update), and its status in the same step.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn edit(
        &self,
        endpoint: impl Into<IdOr<EndpointId>>,
        change: impl Fn(&mut EndpointDraft),
    ) -> Result<Arc<Endpoint>, EndpointError> {
        let change = |endpoint: &mut Endpoint, owner: &Application| {
            let mut draft = EndpointDraft { spec: endpoint.spec.clone(), status: endpoint.status };
            change(&mut draft);
            endpoint.target = self.scope.engine().check(&draft.spec)?;
            let (old, mut new) = (&endpoint.spec.event_types, draft.spec.event_types.clone());
            new.retain(|name| !old.contains(name));
            self.are_known(&new)?;
            let moved = endpoint.spec.url != draft.spec.url || endpoint.spec.proof != draft.spec.proof;
            if moved {
                endpoint.granted = None;
            }
            endpoint.policy = self.scope.engine().policy(owner, &draft.spec, endpoint.granted);
            // Where it was proved is not where it is now.
            let before = Some(endpoint.status).filter(|_| !moved);
            let status = EndpointStatus::asked(draft.status, before, draft.spec.proof);
            (endpoint.spec, endpoint.status) = (draft.spec, status);
            Ok(())
        };
        self.change(&endpoint.into(), change).await
    }

    /// Deletes one with its queue: no request after this but those in flight. Its uid is free again.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn delete(&self, endpoint: impl Into<IdOr<EndpointId>>) -> Result<(), EndpointError> {
        let (engine, name) = (self.scope.engine(), endpoint.into());
        for _ in 0..TRIES {
            let owner = self.scope.application().ok_or(EndpointError::NoSuchApplication)?;
            let found = engine.registry.find_endpoint(owner.id, &name).ok_or(EndpointError::NoSuchEndpoint)?;
            let batch = Batch::synced([Write::DropEndpoint(found.id)])
                .guarded(Guard::Revision(RecordId::Endpoint(found.id), found.revision));
            match engine.commit(owner.id, batch).await?.map_err(refused) {
                Ok(_) => return Ok(()),
                Err(EndpointError::Contended) => {}
                Err(other) => return Err(other),
            }
        }
        Err(EndpointError::Contended)
    }

    /// Holds its queue, which goes on filling. One that is disabled stays so.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn pause(&self, endpoint: impl Into<IdOr<EndpointId>>) -> Result<Arc<Endpoint>, EndpointError> {
        self.set_status(&endpoint.into(), EndpointStatus::paused).await
    }

    /// Lets a paused one go on. One that is disabled stays so.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn resume(&self, endpoint: impl Into<IdOr<EndpointId>>) -> Result<Arc<Endpoint>, EndpointError> {
        self.set_status(&endpoint.into(), EndpointStatus::resumed).await
    }

    /// Lets a disabled one receive events again, and what it still has queued go out. One that is paused stays so.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn enable(&self, endpoint: impl Into<IdOr<EndpointId>>) -> Result<Arc<Endpoint>, EndpointError> {
        self.set_status(&endpoint.into(), EndpointStatus::enabled).await
    }

    /// It is no recipient of new events any more, and what is queued is held.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn disable(&self, endpoint: impl Into<IdOr<EndpointId>>) -> Result<Arc<Endpoint>, EndpointError> {
        self.set_status(&endpoint.into(), |status| status.disabled(DisableReason::ByPerson)).await
    }

    /// The secret that signs now; those in their grace period sign, too.
    ///
    /// # Errors
    /// [`ReadError::NotFound`].
    pub fn secret(&self, endpoint: impl Into<IdOr<EndpointId>>) -> Result<Secret, ReadError> {
        let found = self.get(endpoint)?;
        found.secrets.first().map(|current| current.secret.clone()).ok_or(ReadError::NotFound)
    }

    /// Signs with `new` (or one of our making) from now on, and for `grace` (at most 7 days) with the old one, too.
    ///
    /// # Errors
    /// [`EndpointError::LimitReached`] if too many sign already; else each says what to do.
    pub async fn rotate_secret(
        &self,
        endpoint: impl Into<IdOr<EndpointId>>,
        new: Option<Secret>,
        grace: Duration,
    ) -> Result<Arc<Endpoint>, EndpointError> {
        let new = new.map_or_else(|| new_secret(self.scope.engine().secrets), Ok)?;
        let change = |endpoint: &mut Endpoint, _: &Application| {
            endpoint.secrets = rotated(&endpoint.secrets, new.clone(), grace, self.scope.engine().clock.now())?;
            Ok(())
        };
        self.change(&endpoint.into(), change).await
    }

    /// What it is doing.
    ///
    /// # Errors
    /// As it was read.
    pub async fn state(&self, endpoint: impl Into<IdOr<EndpointId>>) -> Result<EndpointState, ReadError> {
        let endpoint = self.get(endpoint)?;
        self.scope.engine().endpoint_state(&endpoint).await
    }

    /// Whether an endpoint may begin to ask for events of these types.
    fn are_known(&self, event_types: &[Box<str>]) -> Result<(), EndpointError> {
        let unknown = self.scope.engine().catalogue.unknown(self.scope.organisation.id, event_types);
        unknown.map_or(Ok(()), |unknown| Err(EndpointError::NoSuchEventType(unknown.into())))
    }

    /// Nothing else of it is looked at: an endpoint that could not be made so today can be held all the same.
    async fn set_status(
        &self,
        name: &IdOr<EndpointId>,
        next: impl Fn(EndpointStatus) -> EndpointStatus,
    ) -> Result<Arc<Endpoint>, EndpointError> {
        let change = |endpoint: &mut Endpoint, _: &Application| {
            let before = endpoint.status;
            endpoint.status = EndpointStatus::asked(next(before), Some(before), endpoint.spec.proof);
            Ok(())
        };
        self.change(name, change).await
    }

    /// Reads, changes, and writes if nobody else did; nothing is written if nothing changed.
    async fn change(
        &self,
        name: &IdOr<EndpointId>,
        change: impl Fn(&mut Endpoint, &Application) -> Result<(), EndpointError>,
    ) -> Result<Arc<Endpoint>, EndpointError> {
        let engine = self.scope.engine();
        for _ in 0..TRIES {
            let owner = self.scope.application().ok_or(EndpointError::NoSuchApplication)?;
            let found = engine.registry.find_endpoint(owner.id, name).ok_or(EndpointError::NoSuchEndpoint)?;
            let mut endpoint = Endpoint::clone(&found);
            change(&mut endpoint, &owner)?;
            endpoint.updated_at = engine.clock.now();
            endpoint.revision += 1;
            let forgiven = forgiven(&found, &endpoint);
            match self.put(&owner, endpoint, found.revision, (forgiven, None)).await {
                Err(EndpointError::Contended) => {}
                known => return known,
            }
        }
        Err(EndpointError::Contended)
    }

    async fn put(
        &self,
        owner: &Application,
        endpoint: Endpoint,
        seen: u64,
        (besides, place): (Option<Write>, Option<Place>),
    ) -> Result<Arc<Endpoint>, EndpointError> {
        let stored = Arc::new(endpoint);
        let record = Write::Endpoint(Box::new(Endpoint::clone(&stored)));
        let batch = Batch::synced([record].into_iter().chain(besides))
            .guarded(Guard::Revision(RecordId::Application(owner.id), owner.revision))
            .guarded(Guard::Revision(RecordId::Endpoint(stored.id), seen));
        self.scope.engine().commit_new(owner.id, batch, place).await?.map_err(refused)?;
        Ok(stored)
    }
}

/// Whoever is judged anew is so with an actor or without one: what is stored against it goes with the change.
fn forgiven(before: &Endpoint, after: &Endpoint) -> Option<Write> {
    after.is_judged_anew(before).then(|| Write::Soft(after.id, SoftState::default()))
}

fn refused(refused: Refused) -> EndpointError {
    match (refused.class(), refused) {
        (_, Refused::UidTaken) => EndpointError::UidTaken,
        (_, Refused::QueueNotEmpty) => EndpointError::QueueNotEmpty,
        (RefusalClass::Corrupt, _) => EndpointError::Corrupt,
        (RefusalClass::Stale | RefusalClass::Taken | RefusalClass::Full | RefusalClass::Gone, _) => {
            EndpointError::Contended
        }
    }
}
