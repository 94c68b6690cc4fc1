//! Receivers that speak CloudEvents and grant later, at an address that they were told of when they were asked.
//!
//! The address ends in a token that names its endpoint, and that nobody else can make: its key is a document, made when it is
//! needed first. So nothing is kept of those who were asked, and an address outlives a restart. A grant lasts as one that
//! is given in the answer does: until the endpoint's address changes, or it is disabled.

use std::sync::Arc;

use http::HeaderValue;
use postrider_core::{
    Batch, Document, DocumentId, DocumentKind, Endpoint, EndpointStatus, Guard, OrganisationId, Proof, Write,
    proof::{Grant, GrantKey, GrantToken},
};
use tracing::info;

use crate::{
    CommitError, Engine, GrantError,
    inner::{Inner, TRIES},
    proofs::granted_rate,
};

impl Engine {
    /// A receiver grants what it was asked for, with the token at the end of the address that it was told of
    /// ([`EngineBuilder::grant_at`](crate::EngineBuilder::grant_at)). Whoever serves that address asks for nothing else. May
    /// be called again, and with another rate.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn grant(&self, token: &str, allowed: Grant) -> Result<(), GrantError> {
        self.owner.inner.granted(token, allowed).await
    }

    /// Whether [`grant`](Self::grant) would take this token. Changes nothing.
    pub fn awaits_grant(&self, token: &str) -> bool {
        self.owner.inner.awaits_grant(token).is_some()
    }
}

impl Inner {
    /// Where the receiver of an endpoint that is asked now may grant later; none if nobody serves such addresses, or the
    /// key cannot be made now.
    pub(crate) async fn grant_address(&self, endpoint: &Endpoint) -> Option<HeaderValue> {
        let base = self.grant_at.as_ref()?;
        let key = self.make_grant_key().await.ok()?;
        let token = key.token(endpoint.id, &endpoint.target, self.clock.now());
        HeaderValue::try_from(format!("{base}{token}")).ok()
    }

    async fn granted(&self, token: &str, allowed: Grant) -> Result<(), GrantError> {
        for _ in 0..TRIES {
            let endpoint = self.awaits_grant(token).ok_or(GrantError::NoSuchToken)?;
            let is_known = endpoint.status != EndpointStatus::Unproven;
            if is_known && endpoint.granted == granted_rate(&endpoint, Some(allowed)) {
                return Ok(());
            }
            let Some(batch) = self.proof(&endpoint, Some(allowed)) else { return Err(GrantError::NoSuchToken) };
            if self.commit(endpoint.application, batch).await?.is_ok() {
                info!(endpoint = %endpoint.id, ?allowed, "receiver has granted by callback that it is sent its messages");
                self.forget_proof_failure(endpoint.id);
                return Ok(());
            }
        }
        Err(GrantError::Contended)
    }

    /// The endpoint that a token is for. One that is disabled asks anew when it is enabled.
    fn awaits_grant(&self, token: &str) -> Option<Arc<Endpoint>> {
        let (token, key) = (GrantToken::read(token)?, self.grant_key()?);
        let endpoint = self.registry.endpoint(token.endpoint)?;
        let is_allowed = key.allows(&token, &endpoint.target, self.clock.now());
        let listens = !endpoint.status.is_disabled();
        (is_allowed && listens && endpoint.spec.proof == Proof::CloudEvents).then_some(endpoint)
    }

    fn grant_key(&self) -> Option<GrantKey> {
        self.settings.find::<String>(&document()).as_deref().and_then(GrantKey::from_text)
    }

    /// The key, made if there is none.
    async fn make_grant_key(&self) -> Result<GrantKey, CommitError> {
        for _ in 0..TRIES {
            if let Some(key) = self.grant_key() {
                return Ok(key);
            }
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).map_err(|_| CommitError::unavailable())?;
            let value = serde_json::to_vec(&GrantKey::from_random(bytes).to_text()).unwrap_or_default().into();
            let (id, revision) = (document(), 1);
            let made = Write::Document(Box::new(Document { id: id.clone(), revision, value }));
            let batch = Batch::synced([made]).guarded(Guard::Document(id.clone(), 0));
            // Refused if another one was faster: then that one is known by now.
            let _made = self.commit_for(OrganisationId::MANAGEMENT, batch).await?;
        }
        Err(CommitError::unavailable())
    }
}

fn document() -> DocumentId {
    DocumentId::new(DocumentKind::Setting, OrganisationId::MANAGEMENT, "grant-key")
}
