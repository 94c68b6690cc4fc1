//! How many messages and attempts of an endpoint ended how, in a time.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postrider::{EndpointStats, StatsError, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    auth::{InApplication, now},
    error::ApiError,
    openapi::CountedTime,
    query::Params,
};

/// What is counted if no time is given.
const DEFAULT_TIME: Duration = Duration::from_secs(28 * 24 * 3600);

/// Messages by how they stand.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndpointStats)]
pub(super) struct StatsOut {
    /// Delivered in the time.
    success: u64,
    /// Waiting now.
    pending: usize,
    /// More than that may be waiting: not all of it is counted yet, as just after a start.
    #[serde(rename = "atLeast", skip_serializing_if = "std::ops::Not::not")]
    at_least: bool,
    /// In flight now.
    sending: usize,
    /// Given up in the time, after an attempt.
    fail: u64,
    canceled: u64,
}

/// Attempts in the time, by how they ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AttemptStatsOut)]
pub(super) struct AttemptStatsOut {
    success: u64,
    fail: u64,
    /// None: an attempt that was made is never called off.
    canceled: u64,
}

/// Counts the messages of an endpoint by how they stand.
#[utoipa::path(
    get, path = "/app/{app_id}/endpoint/{endpoint_id}/stats", operation_id = "v1.endpoint.get-stats", tag = "Endpoint",
    params(CountedTime), responses((status = 200, body = StatsOut))
)]
pub(super) async fn messages(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    params: Params,
) -> Result<Json<StatsOut>, ApiError> {
    Ok(Json(counted(&stats(&api, &caller, &ep, &params).await?)))
}

pub(super) const fn counted(stats: &EndpointStats) -> StatsOut {
    let EndpointStats { attempts, queued, is_at_least: at_least, in_flight, .. } = stats;
    let pending = queued.saturating_sub(*in_flight);
    let (success, fail) = (attempts.succeeded, attempts.given_up);
    StatsOut { success, pending, at_least: *at_least, sending: *in_flight, fail, canceled: 0 }
}

/// Counts the attempts of an endpoint by how they ended.
#[utoipa::path(
    get, path = "/app/{app_id}/endpoint/{endpoint_id}/attempt-stats", operation_id = "v1.endpoint.get-attempt-stats",
    tag = "Endpoint", params(CountedTime), responses((status = 200, body = AttemptStatsOut))
)]
pub(super) async fn attempts(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    params: Params,
) -> Result<Json<AttemptStatsOut>, ApiError> {
    let attempts = stats(&api, &caller, &ep, &params).await?.attempts;
    Ok(Json(AttemptStatsOut { success: attempts.succeeded, fail: attempts.failed, canceled: 0 }))
}

async fn stats(api: &Api, caller: &InApplication, ep: &str, params: &Params) -> Result<EndpointStats, ApiError> {
    let until: Timestamp = params.time("until")?.unwrap_or_else(now);
    let since = params.time("since")?.unwrap_or_else(|| until.earlier_by(DEFAULT_TIME));
    Ok(caller.view(api).endpoints(caller.application.id).stats(ep, since, until).await?)
}

impl From<StatsError> for ApiError {
    fn from(error: StatsError) -> Self {
        match error {
            StatsError::Read(error) => error.into(),
            other => Self::new(StatusCode::BAD_REQUEST, "invalid_range", other.to_string()),
        }
    }
}
