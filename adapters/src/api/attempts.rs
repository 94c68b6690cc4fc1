//! Attempts: what was sent, what came back, and sending once more by hand.

use axum::{
    Json,
    extract::{Path, Query as UrlQuery, State},
    http::StatusCode,
};
use postrider::{Outcome, Then, storage::AttemptRecord};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Api,
    auth::InApplication,
    error::ApiError,
    page::{List, Query},
    times::written,
};

/// An attempt as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttemptOut {
    id: String,
    msg_id: String,
    endpoint_id: String,
    url: String,
    response: String,
    response_status_code: u16,
    response_duration_ms: u128,
    status: u8,
    status_text: &'static str,
    trigger_type: u8,
    timestamp: String,
}

pub(super) async fn of_message(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, msg)): Path<(String, String)>,
) -> Result<Json<List<AttemptOut>>, ApiError> {
    let attempts = caller.view(&api).events(caller.application.id).attempts(msg.as_str()).await?;
    let shown = attempts.into_iter().map(|record| shown(&api, &caller, record)).collect();
    Ok(Json(List::whole(shown)))
}

pub(super) async fn of_endpoint(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    UrlQuery(query): UrlQuery<Query>,
) -> Result<Json<List<AttemptOut>>, ApiError> {
    let deliveries = caller.view(&api).deliveries(caller.application.id);
    let page = deliveries.attempts(ep.as_str(), &query.by_cursor()?).await?;
    Ok(Json(List::by_cursor(page, |record| shown(&api, &caller, record))))
}

pub(super) async fn resend(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, msg, ep)): Path<(String, String, String)>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    caller.view(&api).deliveries(caller.application.id).resend(msg.as_str(), ep.as_str()).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({}))))
}

fn shown(api: &Api, caller: &InApplication, record: AttemptRecord) -> AttemptOut {
    let AttemptRecord { delivery, event, attempt, .. } = record;
    let endpoint = caller.view(api).endpoints(caller.application.id).get(delivery.endpoint).ok();
    let (status, status_text) = match attempt.then {
        Then::Delivered => (0, "success"),
        Then::RetryAt(_) | Then::GivenUp(_) | Then::Nothing => (2, "fail"),
    };
    let response = match &attempt.outcome {
        Outcome::Failure(failure) if attempt.outcome.status_code() == 0 => failure.to_string(),
        Outcome::Failure(_) | Outcome::Success { .. } => String::from_utf8_lossy(&attempt.response).into_owned(),
    };
    AttemptOut {
        id: attempt.id.to_string(),
        msg_id: event.to_string(),
        endpoint_id: delivery.endpoint.to_string(),
        url: endpoint.map_or_else(String::new, |endpoint| endpoint.spec.url.clone()),
        response,
        response_status_code: attempt.outcome.status_code(),
        response_duration_ms: attempt.took.as_millis(),
        status,
        status_text,
        trigger_type: u8::from(attempt.number.is_manual()),
        timestamp: written(attempt.started),
    }
}
