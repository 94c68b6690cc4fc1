//! Who calls, and what of it may be seen: another tenant's thing does not exist.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::{FromRequestParts, MatchedPath, Path, Request, State},
    http::{Method, header, request::Parts},
    middleware::Next,
    response::Response,
};
use postrider::{Application, EndpointError, EventType, IdOr, Organisation, OrganisationId, ReadError, Timestamp};

use super::{
    Api,
    error::ApiError,
    idempotency,
    memory::{self, Asked, Owner},
    message_in::idempotency_key,
    rights::{self, Right, Rule, Work},
};
use crate::token::{Access, Caller, Capability, Token, TokenError};

/// An organisation calls. An application's token is not enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct InOrganisation(pub(super) OrganisationId);

/// The application that the path names, of the organisation that calls, or the calling application itself.
#[derive(Clone, Debug)]
pub(super) struct InApplication {
    pub(super) organisation: OrganisationId,
    pub(super) application: Arc<Application>,
    access: Access,
    sight: Sight,
}

impl InApplication {
    pub(super) fn view<'e>(&self, api: &'e Api) -> Organisation<'e> {
        api.engine.organisation(self.organisation)
    }

    /// What a token may do if it has this, beyond what its route asks for.
    pub(super) fn may(&self, capability: Capability) -> Result<(), ApiError> {
        rights::may(self.access, capability)
    }

    /// Whether an endpoint that asked for some types may ask for these: what a token does not see is unknown to it.
    pub(super) fn may_ask_for(&self, api: &Api, types: &[Box<str>], before: &[Box<str>]) -> Result<(), EndpointError> {
        let known = self.view(api).event_types();
        let is_hidden = |name: &str| known.get(name).is_ok_and(|found| !self.sight.shows(&found));
        let hidden = types.iter().find(|name| !before.contains(name) && is_hidden(name));
        hidden.map_or(Ok(()), |name| Err(EndpointError::NoSuchEventType(name.clone())))
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

/// What the guard found out about a request, before anything of its body was read.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    pub(super) token: Token,
    /// Of the application that the path names: itself, or the name if there is none.
    application: Option<Result<Arc<Application>, Box<str>>>,
}

/// In front of every route: who calls, whether it may, and whether it does so too often. Only then is a body read.
pub(super) async fn guard(
    State(api): State<Api>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let rule = path.as_ref().and_then(|path| api.rules.find(request.method(), path.as_str()));
    let Some(rule) = rule.filter(|rule| rule.right != Right::Open) else { return Ok(next.run(request).await) };
    let (mut parts, body) = request.into_parts();
    let allowed = Allowed::by(rule, &mut parts, &api).await?;
    let (owner, asked) = (allowed.owner(), Asked::of(&parts.method, &parts.headers));
    memory::may_answer(&api.memory.answers, owner)?;
    parts.extensions.insert(allowed.clone());
    // As long as it is worked on, not only as long as it comes.
    let held = api.memory.bodies.hold(owner);
    parts.extensions.insert(held.clone());
    let request = Request::from_parts(parts, memory::counted(body, held.clone()));
    let answer = match (rule.work, &allowed.application) {
        (Work::Reads, Some(Ok(application))) => api.reading.answer(application.id, request, next).await,
        (Work::Reads | Work::Little, _) => idempotency::once(&api, rule.repeats, &allowed.token, request, next).await,
    }?;
    drop(held);
    memory::kept(&api.memory.answers, owner, asked, answer)
}

impl Allowed {
    async fn by(rule: Rule, parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let token = token(parts, api)?;
        rule.check(&token, &parts.method)?;
        if parts.method == Method::POST {
            idempotency_key(&parts.headers)?;
        }
        let application = match rule.right {
            Right::Open | Right::Organisation => None,
            Right::Any => {
                if let Caller::Application { application, .. } = token.caller {
                    api.rate.take(application)?;
                }
                None
            }
            Right::AboutApplication | Right::Application(_) => Some(named(parts, api, &token).await?),
        };
        Ok(Self { token, application })
    }

    /// For whom the request takes memory.
    fn owner(&self) -> Owner {
        let application = match (&self.application, self.token.caller) {
            (Some(Ok(application)), _) => Some(application.id),
            (_, Caller::Application { application, .. }) => Some(application),
            (_, Caller::Organisation(_)) => None,
        };
        Owner { organisation: self.token.caller.organisation(), application }
    }

    fn of(parts: &Parts) -> Result<&Self, ApiError> {
        // Every route that has these extractors has a rule, too.
        parts.extensions.get().ok_or_else(|| ApiError::unauthorized("Invalid token"))
    }
}

impl FromRequestParts<Api> for AnyCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Self, ApiError> {
        let Allowed { token, .. } = Allowed::of(parts)?;
        Ok(Self { organisation: token.caller.organisation(), sight: Sight::of(token) })
    }
}

impl FromRequestParts<Api> for InOrganisation {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Self, ApiError> {
        match Allowed::of(parts)?.token.caller {
            Caller::Organisation(organisation) => Ok(Self(organisation)),
            Caller::Application { .. } => Err(ApiError::forbidden()),
        }
    }
}

impl FromRequestParts<Api> for InApplicationOrNew {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let InOrganisation(organisation) = InOrganisation::from_request_parts(parts, api).await?;
        let application = Allowed::of(parts)?.application.clone().ok_or_else(ApiError::not_found)?;
        Ok(Self { organisation, application })
    }
}

impl FromRequestParts<Api> for InApplication {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Self, ApiError> {
        let Allowed { token, application } = Allowed::of(parts)?;
        let Some(Ok(application)) = application.clone() else { return Err(ApiError::not_found()) };
        let (caller, access, sight) = (token.caller, token.grant.access, Sight::of(token));
        Ok(Self { organisation: caller.organisation(), application, access, sight })
    }
}

/// The application in the path, or its name if there is none. Another tenant's does not exist.
async fn named(parts: &mut Parts, api: &Api, token: &Token) -> Result<Result<Arc<Application>, Box<str>>, ApiError> {
    let named = Path::<HashMap<String, String>>::from_request_parts(parts, api).await;
    let Path(mut path) = named.map_err(|_| ApiError::not_found())?;
    let name = path.remove("app_id").unwrap_or_default().into_boxed_str();
    let found = match api.engine.organisation(token.caller.organisation()).applications().get(IdOr::from(&*name)) {
        Ok(found) => found,
        Err(ReadError::NotFound) if matches!(token.caller, Caller::Organisation(_)) => return Ok(Err(name)),
        Err(other) => return Err(other.into()),
    };
    match token.caller {
        Caller::Application { application, .. } if application != found.id => return Err(ApiError::not_found()),
        Caller::Application { .. } | Caller::Organisation(_) => {}
    }
    api.rate.take(found.id)?;
    Ok(Ok(found))
}

/// Who calls, if its token is good.
fn token(parts: &Parts, api: &Api) -> Result<Token, ApiError> {
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|text| text.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    let (_, bearer) = bearer.ok_or_else(|| {
        ApiError::unauthorized("No token: send one as `Authorization: Bearer` and the token behind it.")
    })?;
    let now = now();
    let token = api.key.read(bearer.trim(), now).map_err(|error| match error {
        TokenError::IsSecret => ApiError::unauthorized(&format!("Authentication failed. {error}")),
        TokenError::Expired => ApiError::unauthorized("Expired token"),
        TokenError::Invalid(_) => ApiError::unauthorized("Invalid token"),
        TokenError::NotYetGood | TokenError::NoCaller | TokenError::Session(_) | TokenError::NeverExpires => {
            ApiError::unauthorized(&format!("Invalid token: {error}"))
        }
    })?;
    let organisation = api.engine.organisation(token.caller.organisation());
    let is_expired = match token.caller {
        Caller::Organisation(_) => organisation.expired_tokens().refuses(token.issued_at, None, now),
        Caller::Application { application, .. } => {
            // What was said of its tokens is forgotten with it.
            let is_gone = organisation.applications().get(IdOr::Id(application)).is_err();
            let expired = organisation.applications().expired_tokens(application);
            is_gone || expired.refuses(token.issued_at, token.grant.session.as_ref(), now)
        }
    };
    if is_expired { Err(ApiError::unauthorized("Expired token")) } else { Ok(token) }
}

/// The clock on the wall: tokens are good by it.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(0) + since
}
