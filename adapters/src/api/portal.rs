//! Tokens for an application's own people: they see its endpoints and what became of its messages, and nothing else.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postrider::{SessionId, core::is_name};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api,
    applications::{self, ApplicationIn},
    auth::{self, InOrganisation},
    body::Body,
    error::ApiError,
    openapi::{Name, SessionName},
    origin::Origin,
};
use crate::token::{Access, Capability, Grant, IssueError, TokenKey};

const EXPIRY_SECONDS_MIN: u64 = 3600;
/// Feature flags of one token, which goes with every request.
const FLAGS_MAX: usize = 50;

/// What the token may do and see, and for how long.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AppPortalAccessIn)]
pub(super) struct AccessIn {
    /// Made if there is none with the uid of the path, which must be its own.
    application: Option<ApplicationIn>,
    /// Seconds, from an hour to 28 days.
    #[schema(minimum = 3600, maximum = 2419200)]
    expiry: Option<u64>,
    /// The token changes nothing.
    read_only: Option<bool>,
    /// What it may do; all that the application may if nothing is said.
    capabilities: Option<Vec<Capability>>,
    /// Which event types it sees beside those that have no flag.
    #[schema(value_type = Option<Vec<Name>>, max_items = 50)]
    feature_flags: Option<BTreeSet<Box<str>>>,
    /// A name of your own for the session that the token belongs to: its tokens can be expired apart from others.
    #[schema(value_type = Option<SessionName>)]
    session_id: Option<String>,
}

/// A token, and where it is good.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AppPortalAccessOut)]
pub(super) struct AccessOut {
    token: String,
    url: String,
}

/// Makes a token for the people of an application.
///
/// An empty body asks for everything, for 28 days.
#[utoipa::path(
    post, path = "/auth/app-portal-access/{app_id}", operation_id = "v1.authentication.app-portal-access",
    tag = "Authentication", request_body = Option<AccessIn>, responses((status = 200, body = AccessOut))
)]
pub(super) async fn access(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    Path(app): Path<String>,
    Origin(origin): Origin,
    body: Body,
) -> Result<Json<AccessOut>, ApiError> {
    if !api.key.signs() {
        // Before anything is made for a token that there cannot be.
        return Err(unsigned(IssueError::NoPrivateKey));
    }
    let asked: AccessIn = if body.is_nothing() { AccessIn::default() } else { body.read()? };
    let access = if asked.read_only == Some(true) { Access::ALL.read_only() } else { Access::ALL };
    let access = asked.capabilities.as_deref().map_or(access, |capabilities| access.only(capabilities));
    let feature_flags = asked.feature_flags.unwrap_or_default();
    if FLAGS_MAX < feature_flags.len() || !feature_flags.iter().all(|flag| is_name(flag)) {
        let message = format!("must be at most {FLAGS_MAX}, each of letters, digits, '.', '_' and '-'");
        return Err(ApiError::field("body", "featureFlags", message));
    }
    let session = asked.session_id.map(|id| session("sessionId", id)).transpose()?;
    let most = TokenKey::APPLICATION_TTL.as_secs();
    let seconds = asked.expiry.unwrap_or(most);
    if !(EXPIRY_SECONDS_MIN..=most).contains(&seconds) {
        let message = format!("must be {EXPIRY_SECONDS_MIN} to {most} seconds");
        return Err(ApiError::field("body", "expiry", message));
    }
    let applications = api.engine.organisation(organisation).applications();
    let found = applications::found_or_made(applications, &app, applications::beside(asked.application)?).await?;
    let good_for = Duration::from_secs(seconds);
    let now = auth::now();
    let issued = applications.expired_tokens(found.id).issue_at(session.as_ref(), now);
    let grant = Grant { access, feature_flags, session };
    let token = api.key.issue_behind(found.id, organisation, &grant, issued, now, good_for).map_err(unsigned)?;
    Ok(Json(AccessOut { token, url: format!("{origin}/api/v1/app/{}", found.id) }))
}

/// Makes a token for the people of an application; by an older path.
#[utoipa::path(
    post, path = "/auth/dashboard-access/{app_id}", operation_id = "v1.authentication.dashboard-access",
    tag = "Authentication", request_body = Option<AccessIn>, responses((status = 200, body = AccessOut))
)]
#[deprecated]
pub(super) async fn dashboard_access(
    api: State<Api>,
    organisation: InOrganisation,
    path: Path<String>,
    origin: Origin,
    body: Body,
) -> Result<Json<AccessOut>, ApiError> {
    access(api, organisation, path, origin, body).await
}

/// Which tokens are to work no more.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApplicationTokenExpireIn)]
pub(super) struct ExpireIn {
    /// Seconds until then, at most 28 days; at once if nothing is said.
    #[schema(minimum = 0, maximum = 2_419_200)]
    expiry: Option<u64>,
    /// Only the tokens of these sessions; all if there are none.
    #[serde(default)]
    #[schema(value_type = Option<Vec<SessionName>>, max_items = 1000)]
    session_ids: Option<Vec<String>>,
}

/// Makes all tokens of an application, or those of some sessions, that were issued until now stop working.
///
/// New ones can be asked for at once. Those that are signed elsewhere are told apart by their `iat`. At most
/// 1,000 sessions can be expired within 28 days, unless all tokens of the application are, which is for every session.
#[utoipa::path(
    post, path = "/auth/app/{app_id}/expire-all", operation_id = "v1.authentication.expire-all",
    tag = "Authentication", request_body = Option<ExpireIn>, responses((status = 204))
)]
pub(super) async fn expire_all(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    Path(app): Path<String>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let ExpireIn { expiry, session_ids } = if body.is_nothing() { ExpireIn::default() } else { body.read()? };
    let (seconds, most) = (expiry.unwrap_or(0), TokenKey::APPLICATION_TTL.as_secs());
    if most < seconds {
        return Err(ApiError::field("body", "expiry", format!("must be at most {most} seconds")));
    }
    let applications = api.engine.organisation(organisation).applications();
    let (now, after) = (auth::now(), Duration::from_secs(seconds));
    let sessions = session_ids.unwrap_or_default().into_iter().map(|id| session("sessionIds", id));
    let sessions = sessions.collect::<Result<Vec<_>, _>>()?;
    match &*sessions {
        [] => applications.expire_tokens(app.as_str(), now, after).await?,
        some => applications.expire_sessions(app.as_str(), some, now, after).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

/// When the tokens of an organisation are to work no more.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OrganisationTokenExpireIn)]
pub(super) struct ExpireOwnIn {
    /// Seconds until then, at most 28 days; at once if nothing is said.
    #[schema(minimum = 0, maximum = 2_419_200)]
    expiry: Option<u64>,
}

/// Makes all tokens of the organisation itself that were issued until now stop working, the one of this request among them.
///
/// Those of its applications go on. `postrider token create` makes new ones.
#[utoipa::path(
    post, path = "/auth/organisation/expire-all", operation_id = "v1.authentication.expire-organisation",
    tag = "Authentication", request_body = Option<ExpireOwnIn>, responses((status = 204))
)]
pub(super) async fn expire_organisation(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let ExpireOwnIn { expiry } = if body.is_nothing() { ExpireOwnIn::default() } else { body.read()? };
    let (seconds, most) = (expiry.unwrap_or(0), TokenKey::APPLICATION_TTL.as_secs());
    if most < seconds {
        return Err(ApiError::field("body", "expiry", format!("must be at most {most} seconds")));
    }
    api.engine.organisation(organisation).expire_tokens(auth::now(), Duration::from_secs(seconds)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The session that is called so.
fn session(field: &str, id: String) -> Result<SessionId, ApiError> {
    SessionId::new(id).map_err(|wrong| ApiError::field("body", field, wrong.to_string()))
}

fn unsigned(error: IssueError) -> ApiError {
    match error {
        IssueError::NoPrivateKey => ApiError::new(StatusCode::BAD_REQUEST, "not_implemented", error.to_string()),
        IssueError::Sign(_) => {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "The token could not be signed.")
        }
    }
}
