//! Where receivers that speak CloudEvents grant later what they were asked for: the address is all that they need.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, Method},
};
use postrider::{GrantError, granted_by_callback};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Api, error::ApiError};

/// In front of the token, from the root of the server on.
pub const GRANT_PATH: &str = "/api/v1/cloud-events/grant/";

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only written about")]
pub(super) struct AllowedRate {
    /// Requests a minute, or `*` for any number. Without it, as many as were asked for.
    #[param(rename = "webhook-allowed-rate", pattern = r"^([1-9][0-9]{0,8}|\*)$")]
    webhook_allowed_rate: Option<String>,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GrantOut {
    granted: bool,
}

/// Grants what a receiver was asked for in `WebHook-Request-Callback`, by a link.
///
/// `HEAD` says whether it would, and changes nothing.
#[utoipa::path(
    get, path = "/cloud-events/grant/{token}", operation_id = "v1.cloud-events.grant-by-link", tag = "Endpoint",
    security(()), params(AllowedRate), responses((status = 200, body = GrantOut))
)]
pub(super) async fn by_link(
    State(api): State<Api>,
    Path(token): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Json<GrantOut>, ApiError> {
    match method == Method::HEAD {
        true if api.engine.awaits_grant(&token) => Ok(Json(GrantOut { granted: false })),
        true => Err(ApiError::not_found()),
        false => granted(&api, &token, &headers).await,
    }
}

/// Grants what a receiver was asked for in `WebHook-Request-Callback`.
#[utoipa::path(
    post, path = "/cloud-events/grant/{token}", operation_id = "v1.cloud-events.grant", tag = "Endpoint",
    security(()), params(AllowedRate), responses((status = 200, body = GrantOut))
)]
pub(super) async fn by_post(
    State(api): State<Api>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Json<GrantOut>, ApiError> {
    granted(&api, &token, &headers).await
}

async fn granted(api: &Api, token: &str, headers: &HeaderMap) -> Result<Json<GrantOut>, ApiError> {
    // First: nobody learns anything who has no token.
    if !api.engine.awaits_grant(token) {
        return Err(ApiError::not_found());
    }
    let rate = headers.get("webhook-allowed-rate").map(|rate| rate.to_str().unwrap_or_default());
    let wrong = |_| ApiError::field("header", "webhook-allowed-rate", "must be a number of requests a minute, or *");
    let allowed = granted_by_callback(rate).map_err(wrong)?;
    match api.engine.grant(token, allowed).await {
        Ok(()) => Ok(Json(GrantOut { granted: true })),
        Err(GrantError::NoSuchToken) => Err(ApiError::not_found()),
        Err(GrantError::Commit(error)) => Err(error.into()),
        Err(_) => Err(ApiError::contended()),
    }
}
