//! Tokens of applications that stop working before their time. Who issues and checks them asks here; a restart forgets
//! nothing of it.

use std::{sync::Arc, time::Duration};

use postrider_core::{
    ApplicationId, Batch, Document, DocumentId, DocumentKind, ExpiredTokens, Guard, IdOr, OrganisationId, Refused,
    SessionId, Timestamp, TooManySessions, Write,
};

use crate::{ApplicationError, CommitError, Organisation, applications::Applications, inner::TRIES};

impl Applications<'_> {
    /// All tokens of an application that were issued until `now` stop working `after` that long. The time is that of
    /// whoever issues them.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn expire_tokens(
        self,
        application: impl Into<IdOr<ApplicationId>>,
        now: Timestamp,
        after: Duration,
    ) -> Result<(), ApplicationError> {
        let expire = |expired: &mut ExpiredTokens| {
            expired.expire(now, after);
            Ok(())
        };
        self.change_expired(application.into(), expire).await
    }

    /// As [`expire_tokens`](Self::expire_tokens), of those that belong to these sessions alone.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn expire_sessions(
        self,
        application: impl Into<IdOr<ApplicationId>>,
        sessions: &[SessionId],
        now: Timestamp,
        after: Duration,
    ) -> Result<(), ApplicationError> {
        self.change_expired(application.into(), |expired| expired.expire_sessions(sessions, now, after)).await
    }

    /// Which tokens of an application work no more.
    pub fn expired_tokens(self, application: ApplicationId) -> Arc<ExpiredTokens> {
        self.scope.engine.settings.expired_tokens(&document_of(self.scope.id, application)).unwrap_or_default()
    }

    async fn change_expired(
        self,
        application: IdOr<ApplicationId>,
        change: impl Fn(&mut ExpiredTokens) -> Result<(), TooManySessions>,
    ) -> Result<(), ApplicationError> {
        let application = self.get(application).map_err(|_| ApplicationError::NoSuchApplication)?.id;
        self.scope.change_expired(document_of(self.scope.id, application), change).await
    }
}

impl Organisation<'_> {
    /// All tokens of the organisation itself that were issued until `now` stop working `after` that long; those of its
    /// applications go on. The time is that of whoever issues them.
    ///
    /// # Errors
    /// It may not have been said; each says what to do.
    pub async fn expire_tokens(self, now: Timestamp, after: Duration) -> Result<(), CommitError> {
        let expire = |expired: &mut ExpiredTokens| {
            expired.expire(now, after);
            Ok(())
        };
        self.change_expired(self.own_document(), expire).await.map_err(|error| match error {
            ApplicationError::Commit(error) => error,
            // Another one says the same again and again, or the row is damaged, of which the log tells.
            _ => CommitError::unavailable(),
        })
    }

    /// Which tokens of the organisation itself work no more.
    pub fn expired_tokens(self) -> Arc<ExpiredTokens> {
        self.engine.settings.expired_tokens(&self.own_document()).unwrap_or_default()
    }

    fn own_document(self) -> DocumentId {
        DocumentId::new(DocumentKind::Setting, self.id, "expired-tokens")
    }

    async fn change_expired(
        self,
        id: DocumentId,
        change: impl Fn(&mut ExpiredTokens) -> Result<(), TooManySessions>,
    ) -> Result<(), ApplicationError> {
        let engine = self.engine;
        for _ in 0..TRIES {
            let known = engine.settings.expired_tokens(&id).unwrap_or_default();
            let mut expired = ExpiredTokens::clone(&known);
            let seen = expired.revision;
            change(&mut expired)?;
            expired.revision += 1;
            // Numbers and names: there is nothing that JSON refuses.
            let value = serde_json::to_vec(&expired).expect("numbers and names can be written as JSON").into();
            let document = Document { id: id.clone(), revision: expired.revision, value };
            let batch = Batch::synced([Write::Document(Box::new(document))]).guarded(Guard::Document(id.clone(), seen));
            match engine.commit_for(self.id, batch).await? {
                Ok(_) => return Ok(()),
                Err(Refused::Corrupt) => return Err(ApplicationError::Corrupt),
                Err(_) => {}
            }
        }
        Err(ApplicationError::Contended)
    }
}

pub(crate) fn document_of(organisation: OrganisationId, application: ApplicationId) -> DocumentId {
    DocumentId::new(DocumentKind::Setting, organisation, format!("expired-tokens/{application}"))
}
