//! Tenants' applications: made, changed, found and deleted.

use std::{num::NonZeroUsize, sync::Arc};

use postrider_core::{
    Application, ApplicationId, ApplicationSpec, Batch, Guard, IdOr, RecordId, RefusalClass, Refused, Uid, Write,
};

use crate::{
    ApplicationError, ListRequest, Listing, Organisation, ReadError, expired_tokens,
    inner::TRIES,
    quota::{Place, Quota},
};

/// Applications of one organisation.
#[derive(Clone, Copy, Debug)]
pub struct Applications<'e> {
    pub(crate) scope: Organisation<'e>,
}

impl Applications<'_> {
    /// A new one.
    ///
    /// # Errors
    /// [`ApplicationError::UidTaken`] if another one has its uid; else each says what to do.
    pub async fn create(self, spec: ApplicationSpec) -> Result<Arc<Application>, ApplicationError> {
        spec.validate()?;
        let engine = self.scope.engine;
        let applications_max = engine.limits.applications_per_organisation.map_or(usize::MAX, NonZeroUsize::get);
        let (quota, there) = (Quota::Applications(self.scope.id), || engine.registry.application_count(self.scope.id));
        let place = engine.quotas.take(quota, 1, applications_max, there).await;
        let place = place.ok_or(ApplicationError::TooManyApplications { applications_max })?;
        let now = engine.clock.now();
        let application = Application {
            id: ApplicationId::from_bytes(engine.fresh_id(now)),
            organisation: self.scope.id,
            spec,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        self.put(application, 0, Some(place)).await
    }

    /// The one called `uid`, made or changed to be as asked: safe to call at every start. Revision 1 says that it was
    /// made.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn upsert(
        self,
        uid: impl Into<Uid>,
        mut spec: ApplicationSpec,
    ) -> Result<Arc<Application>, ApplicationError> {
        let uid = uid.into();
        spec.uid = Some(uid.clone());
        for _ in 0..TRIES {
            match self.update(IdOr::Uid(uid.clone()), |old| *old = spec.clone()).await {
                Err(ApplicationError::NoSuchApplication) => {}
                known => return known,
            }
            match self.create(spec.clone()).await {
                // Somebody made it meanwhile.
                Err(ApplicationError::UidTaken) => {}
                Err(ApplicationError::TooManyApplications { .. }) if self.get(IdOr::Uid(uid.clone())).is_ok() => {}
                known => return known,
            }
        }
        Err(ApplicationError::Contended)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ReadError::NotFound`].
    pub fn get(self, application: impl Into<IdOr<ApplicationId>>) -> Result<Arc<Application>, ReadError> {
        self.scope.engine.registry.find_application(self.scope.id, &application.into()).ok_or(ReadError::NotFound)
    }

    /// By id, which is by age.
    pub fn list(self, request: &ListRequest<ApplicationId>) -> Listing<Arc<Application>> {
        self.scope.engine.registry.applications(self.scope.id, request)
    }

    /// Changes one. Runs `change` again if somebody else was faster, so that no change is lost. What its endpoints
    /// inherit is read when they are changed the next time.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn update(
        self,
        application: impl Into<IdOr<ApplicationId>>,
        change: impl Fn(&mut ApplicationSpec),
    ) -> Result<Arc<Application>, ApplicationError> {
        let name = application.into();
        for _ in 0..TRIES {
            let found = self.get(name.clone()).map_err(|_| ApplicationError::NoSuchApplication)?;
            let mut application = Application::clone(&found);
            change(&mut application.spec);
            application.spec.validate()?;
            application.updated_at = self.scope.engine.clock.now();
            application.revision += 1;
            match self.put(application, found.revision, None).await {
                Err(ApplicationError::Contended) => {}
                known => return known,
            }
        }
        Err(ApplicationError::Contended)
    }

    /// Deletes one with all its endpoints and their queues, at once. Its events stay readable to nobody, and go with
    /// their retention. Its uid is free again.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn delete(self, application: impl Into<IdOr<ApplicationId>>) -> Result<(), ApplicationError> {
        let (engine, name) = (self.scope.engine, application.into());
        for _ in 0..TRIES {
            let found = engine.registry.find_routed(self.scope.id, &name);
            let (found, routing) = found.ok_or(ApplicationError::NoSuchApplication)?;
            let endpoints = engine.registry.endpoint_ids(found.id);
            let drops = endpoints.into_iter().map(Write::DropEndpoint).chain([Write::DropApplication(found.id)]);
            let tokens = expired_tokens::document_of(self.scope.id, found.id);
            let drops = drops.chain([Write::DropDocument(tokens)]);
            let batch = Batch::synced(drops)
                .guarded(Guard::Routing(found.id, routing))
                .guarded(Guard::Revision(RecordId::Application(found.id), found.revision));
            match engine.commit(found.id, batch).await?.map_err(refused) {
                Ok(_) => return Ok(()),
                Err(ApplicationError::Contended) => {}
                Err(other) => return Err(other),
            }
        }
        Err(ApplicationError::Contended)
    }

    async fn put(
        self,
        application: Application,
        seen: u64,
        place: Option<Place>,
    ) -> Result<Arc<Application>, ApplicationError> {
        let stored = Arc::new(application);
        let batch = Batch::synced([Write::Application(Box::new(Application::clone(&stored)))])
            .guarded(Guard::Revision(RecordId::Application(stored.id), seen));
        self.scope.engine.commit_new(stored.id, batch, place).await?.map_err(refused)?;
        Ok(stored)
    }
}

fn refused(refused: Refused) -> ApplicationError {
    match (refused.class(), refused) {
        (_, Refused::UidTaken) => ApplicationError::UidTaken,
        (RefusalClass::Corrupt, _) => ApplicationError::Corrupt,
        (RefusalClass::Stale | RefusalClass::Taken | RefusalClass::Full | RefusalClass::Gone, _) => {
            ApplicationError::Contended
        }
    }
}
