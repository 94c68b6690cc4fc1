//! Who calls, and what of it may be seen: another tenant's thing does not exist.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::{FromRequestParts, MatchedPath, Path},
    http::{Method, header, request::Parts},
};
use postrider::{Application, EndpointError, EventType, IdOr, Organisation, OrganisationId, ReadError, Timestamp};

use super::{Api, access, error::ApiError, message_in::idempotency_key};
use crate::token::{Access, Caller, Capability, Token, TokenError};

/// An organisation calls. An application's token is not enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct InOrganisation(pub(super) OrganisationId);

/// The application that the path names, of the organisation that calls, or the calling application itself.
#[derive(Clone, Debug)]
pub(super) struct InApplication {
    pub(super) organisation: OrganisationId,
    pub(super) application: Arc<Application>,
    /// What the token says, which tells callers apart.
    pub(super) caller: Caller,
    access: Access,
    sight: Sight,
}

impl InApplication {
    pub(super) fn view<'e>(&self, api: &'e Api) -> Organisation<'e> {
        api.engine.organisation(self.organisation)
    }

    /// What a token may do if it has this, beyond what its route asks for.
    pub(super) fn may(&self, capability: Capability) -> Result<(), ApiError> {
        if self.access.has(capability) { Ok(()) } else { Err(ApiError::forbidden()) }
    }

    /// Whether an endpoint that asked for some types may ask for these: what a token does not see is unknown to it.
    pub(super) fn may_ask_for(&self, api: &Api, types: &[Box<str>], before: &[Box<str>]) -> Result<(), EndpointError> {
        let known = self.view(api).event_types();
        let is_hidden = |name: &str| known.get(name).is_ok_and(|found| !self.sight.shows(&found));
        let hidden = types.iter().find(|name| !before.contains(name) && is_hidden(name));
        hidden.map_or(Ok(()), |name| Err(EndpointError::NoSuchEventType(name.clone())))
    }

    /// What an application's own token may not do.
    pub(super) fn as_organisation(&self) -> Result<(), ApiError> {
        match self.caller {
            Caller::Organisation(_) => Ok(()),
            Caller::Application { .. } => Err(ApiError::forbidden()),
        }
    }
}

/// The application that the path names, of the organisation that calls, or the name of one that may be made.
#[derive(Clone, Debug)]
pub(super) struct InApplicationOrNew {
    pub(super) organisation: OrganisationId,
    pub(super) application: Result<Arc<Application>, Box<str>>,
}

/// An organisation calls, or an application of it: for what both may read.
#[derive(Clone, Debug)]
pub(super) struct AnyCaller {
    pub(super) organisation: OrganisationId,
    pub(super) sight: Sight,
}

/// Which event types a caller gets to see.
#[derive(Clone, Debug)]
pub(super) enum Sight {
    All,
    /// Those without a flag, and those with one of these.
    Flagged(BTreeSet<Box<str>>),
}

impl Sight {
    fn of(Token { caller, grant, .. }: &Token) -> Self {
        match caller {
            Caller::Organisation(_) => Self::All,
            Caller::Application { .. } => Self::Flagged(grant.feature_flags.clone()),
        }
    }

    pub(super) fn shows(&self, event_type: &EventType) -> bool {
        match (self, &event_type.spec.feature_flag) {
            (Self::Flagged(flags), Some(flag)) => flags.contains(flag),
            (Self::Flagged(_), None) | (Self::All, _) => true,
        }
    }
}

impl FromRequestParts<Api> for AnyCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let token = token(parts, api)?;
        match token.caller {
            Caller::Organisation(_) => {}
            Caller::Application { application, .. } => api.rate.take(application)?,
        }
        Ok(Self { organisation: token.caller.organisation(), sight: Sight::of(&token) })
    }
}

impl FromRequestParts<Api> for InOrganisation {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        match token(parts, api)?.caller {
            Caller::Organisation(organisation) => Ok(Self(organisation)),
            Caller::Application { .. } => Err(ApiError::forbidden()),
        }
    }
}

impl FromRequestParts<Api> for InApplicationOrNew {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let InOrganisation(organisation) = InOrganisation::from_request_parts(parts, api).await?;
        let name = named(parts, api).await?;
        let application = match api.engine.organisation(organisation).applications().get(IdOr::from(&*name)) {
            Ok(found) => {
                api.rate.take(found.id)?;
                Ok(found)
            }
            Err(ReadError::NotFound) => Err(name),
            Err(other) => return Err(other.into()),
        };
        Ok(Self { organisation, application })
    }
}

impl FromRequestParts<Api> for InApplication {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let token = token(parts, api)?;
        let (sight, Token { caller, grant, .. }) = (Sight::of(&token), token);
        let name = named(parts, api).await?;
        let (organisation, only) = match caller {
            Caller::Organisation(organisation) => (organisation, None),
            Caller::Application { application, organisation } => (organisation, Some(application)),
        };
        let found = api.engine.organisation(organisation).applications().get(IdOr::from(&*name))?;
        if only.is_some_and(|only| only != found.id) {
            return Err(ApiError::not_found());
        }
        api.rate.take(found.id)?;
        Ok(Self { organisation, application: found, caller, access: grant.access, sight })
    }
}

/// The name of the application in the path.
async fn named(parts: &mut Parts, api: &Api) -> Result<Box<str>, ApiError> {
    let named = Path::<HashMap<String, String>>::from_request_parts(parts, api).await;
    let Path(mut path) = named.map_err(|_| ApiError::not_found())?;
    Ok(path.remove("app_id").unwrap_or_default().into())
}

/// Who calls, if it may. A key that is good for nothing is refused wherever it may be given.
pub(super) fn token(parts: &Parts, api: &Api) -> Result<Token, ApiError> {
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|text| text.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    let (_, bearer) = bearer.ok_or_else(|| ApiError::unauthorized("Invalid token"))?;
    let now = now();
    let token = api.key.read(bearer.trim(), now).map_err(|error| match error {
        TokenError::IsSecret => ApiError::unauthorized(&format!("Authentication failed. {error}")),
        TokenError::Expired => ApiError::unauthorized("Expired token"),
        TokenError::Invalid(_) | TokenError::NotYetGood | TokenError::NoCaller | TokenError::Session(_) => {
            ApiError::unauthorized("Invalid token")
        }
    })?;
    match token.caller {
        Caller::Organisation(_) => {}
        Caller::Application { application, organisation } => {
            let expired = api.engine.organisation(organisation).applications().expired_tokens(application);
            if expired.refuses(token.issued_at, token.grant.session.as_ref(), now) {
                return Err(ApiError::unauthorized("Expired token"));
            }
            let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
            access::check(token.grant.access, &parts.method, path)?;
        }
    }
    if parts.method == Method::POST {
        idempotency_key(&parts.headers)?;
    }
    Ok(token)
}

/// The clock on the wall: tokens are good by it.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(0) + since
}
