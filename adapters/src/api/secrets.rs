//! What receivers verify with: shown, and changed without a gap.

use std::time::Duration;

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use postrider::{Endpoints, Secret};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api,
    auth::InApplication,
    body::Body,
    error::{ApiError, told},
    idempotency::Repeated,
    openapi::SigningSecret,
};

use crate::token::Capability;

/// How long an old secret signs beside the new one.
pub(super) const GRACE_DEFAULT_SECONDS: u64 = 24 * 3600;

/// A new secret, and how long the old one signs beside it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EndpointSecretRotateIn)]
pub(super) struct RotateIn {
    /// Made if there is none.
    #[schema(value_type = Option<SigningSecret>)]
    key: Option<String>,
    /// How long the old one signs beside it: at most seven days, and one day if nothing is said.
    #[schema(maximum = 604800)]
    grace_period_seconds: Option<u64>,
}

/// What receivers verify with: a secret, or the public half of one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndpointSecretOut)]
pub(super) struct SecretOut {
    pub(super) key: String,
}

/// Shows what receivers verify with.
#[utoipa::path(
    get, path = "/app/{app_id}/endpoint/{endpoint_id}/secret", operation_id = "v1.endpoint.get-secret",
    tag = "Endpoint", responses((status = 200, body = SecretOut))
)]
pub(super) async fn read(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
) -> Result<Json<SecretOut>, ApiError> {
    let secret = caller.view(&api).endpoints(caller.application.id).secret(ep.as_str())?;
    Ok(Json(SecretOut { key: secret.verifying() }))
}

/// Gives an endpoint a new secret; the old one signs beside it for a while.
///
/// Without a body, but for the SDK for Python, which reads the new secret from the answer.
#[utoipa::path(
    post, path = "/app/{app_id}/endpoint/{endpoint_id}/secret/rotate", operation_id = "v1.endpoint.rotate-secret",
    tag = "Endpoint", request_body = Option<RotateIn>, responses((status = 204))
)]
pub(super) async fn rotate(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    headers: HeaderMap,
    repeated: Option<Extension<Repeated>>,
    body: Body,
) -> Result<Response, ApiError> {
    let endpoints = caller.view(&api).endpoints(caller.application.id);
    let shown = match repeated {
        Some(_) => Json(SecretOut { key: endpoints.secret(ep.as_str())?.verifying() }),
        None => rotate_in(&endpoints, &ep, &body).await?,
    };
    // Who may change a secret need not be one who may see it.
    let is_shown = reads_answer(&headers) && caller.may(Capability::ViewEndpointSecret).is_ok();
    Ok(if is_shown { shown.into_response() } else { StatusCode::NO_CONTENT.into_response() })
}

/// Whether the client fails at an answer without a body, `svix-libs/2.9.1/python` and that for Rust: all others fail at one
/// with a body, or pass it over.
fn reads_answer(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let sdk = agent.split_whitespace().next().and_then(|product| product.strip_prefix("svix-libs/"));
    sdk.and_then(|rest| rest.rsplit('/').next()).is_some_and(|language| ["python", "rust"].contains(&language))
}

/// Gives one of these a new secret.
pub(super) async fn rotate_in(endpoints: &Endpoints<'_>, ep: &str, body: &Body) -> Result<Json<SecretOut>, ApiError> {
    let RotateIn { key, grace_period_seconds } = if body.is_nothing() { RotateIn::default() } else { body.read()? };
    let new = key.as_deref().map(|text| parsed("key", text)).transpose()?;
    let grace = Duration::from_secs(grace_period_seconds.unwrap_or(GRACE_DEFAULT_SECONDS));
    let rotated = endpoints.rotate_secret(ep, new, grace).await?;
    Ok(Json(SecretOut { key: endpoints.secret(rotated.id)?.verifying() }))
}

/// The secret that is written so.
pub(super) fn parsed(field: &str, text: &str) -> Result<Secret, ApiError> {
    Secret::parse(text).map_err(|wrong| ApiError::field("body", field, told(&wrong)))
}
