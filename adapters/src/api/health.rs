//! Whether requests can be served, for load balancers.

use axum::{Json, extract::State, http::StatusCode};
use postrider::EngineState;
use serde_json::{Value, json};

use super::Api;

/// 200 while events are accepted; 500 while the store is away, its disk is full, or the engine ends.
pub(super) async fn report(State(api): State<Api>) -> (StatusCode, Json<Value>) {
    let health = api.engine.health();
    let is_running = health.state == EngineState::Running;
    let part = |is_well: bool| json!({ "status": if is_well { "Ok" } else { "Error" } });
    let status = if is_running && health.has_space { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    // There is no cache that could be ill; clients of this protocol read the three of them.
    let report = json!({
        "database": part(is_running), "queue": part(is_running && health.has_space), "cache": part(true),
    });
    (status, Json(report))
}
