//! Whether requests can be served, for load balancers.

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use postrider::{Engine, EngineState};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;

/// How the parts are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthOut {
    database: PartOut,
    queue: PartOut,
    cache: PartOut,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HealthPartOut)]
struct PartOut {
    /// `Ok` or `Error`.
    status: &'static str,
}

/// Tells whether messages are accepted.
///
/// 500 while the store is away, its disk is full, or the engine ends.
#[utoipa::path(
    get, path = "/health", operation_id = "v1.health.get", tag = "Health", security(()),
    responses((status = 200, body = HealthOut), (status = 500, body = HealthOut))
)]
pub(super) async fn report(State(api): State<Api>) -> (StatusCode, Json<HealthOut>) {
    reported(&api.engine)
}

fn reported(engine: &Engine) -> (StatusCode, Json<HealthOut>) {
    let health = engine.health();
    let is_running = health.state == EngineState::Running;
    let part = |is_well: bool| PartOut { status: if is_well { "Ok" } else { "Error" } };
    let status = if is_running && health.has_space { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    // There is no cache that could be ill; clients of this protocol read the three of them.
    let report =
        HealthOut { database: part(is_running), queue: part(is_running && health.has_space), cache: part(true) };
    (status, Json(report))
}

/// Tells that there is somebody.
#[utoipa::path(
    get, path = "/health/ping", operation_id = "v1.health.ping", tag = "Health", security(()),
    responses((status = 204))
)]
pub(super) async fn ping() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Health alone, at `/health` and where the API has it, for a listener of its own: clients that fill the API's keep nobody
/// from asking.
pub fn health_router(engine: Engine) -> Router {
    let health = Router::new().route("/health", get(async move || reported(&engine))).route("/health/ping", get(ping));
    Router::new().merge(health.clone()).nest(super::openapi::BASE, health)
}
