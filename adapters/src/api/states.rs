//! What an endpoint is doing, why it waits, and holding it by hand.

use axum::{
    Json,
    extract::{Path, State},
};
use postrider::{BreakerState, DisableReason, EndpointState, EndpointStatus, Waiting};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Api, auth::InApplication, error::ApiError, times::written};

/// What an endpoint is doing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EndpointStateOut)]
pub(super) struct StateOut {
    /// `active`, `paused`, `disabled` or `unverified`.
    status: &'static str,
    /// Why it is disabled, or not verified yet.
    #[schema(value_type = Option<String>)]
    reason: Option<Box<str>>,
    breaker: BreakerOut,
    /// How many wait, tries by hand with them.
    queued: usize,
    /// More than that may wait: not all are counted yet, as just after a start.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    at_least: bool,
    #[schema(format = DateTime)]
    oldest_queued_at: Option<String>,
    in_flight: usize,
    #[schema(format = DateTime)]
    next_attempt: Option<String>,
    waiting: Option<WaitingOut>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BreakerStateOut)]
struct BreakerOut {
    /// `closed`, `open` or `halfOpen`.
    state: &'static str,
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// What is waited for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WaitingOut {
    /// `inFlight`, `paused`, `disabled`, `receiverAskedToWait`, `couldNotSend`, `breakerOpen`, `inFlightLimit`, `rateLimited`, `behind`,
    /// `retryAt`, `unverified` or `queued`.
    reason: &'static str,
    #[schema(format = DateTime)]
    until: Option<String>,
    /// Why this server could not send, in words: it is its own trouble, and no attempt is used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Box<str>>,
    /// The message that goes first, if it waits behind one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) behind_msg_id: Option<String>,
}

/// Holds what is queued, until a person lets it go on.
#[utoipa::path(
    post, path = "/app/{app_id}/endpoint/{endpoint_id}/pause", operation_id = "v1.endpoint.pause", tag = "Endpoint",
    responses((status = 200, body = StateOut))
)]
pub(super) async fn pause(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
) -> Result<Json<StateOut>, ApiError> {
    let endpoints = caller.view(&api).endpoints(caller.application.id);
    endpoints.pause(ep.as_str()).await?;
    Ok(Json(state_shown(&endpoints.state(ep.as_str()).await?)))
}

/// Lets go on what was paused.
#[utoipa::path(
    post, path = "/app/{app_id}/endpoint/{endpoint_id}/resume", operation_id = "v1.endpoint.resume", tag = "Endpoint",
    responses((status = 200, body = StateOut))
)]
pub(super) async fn resume(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
) -> Result<Json<StateOut>, ApiError> {
    let endpoints = caller.view(&api).endpoints(caller.application.id);
    endpoints.resume(ep.as_str()).await?;
    Ok(Json(state_shown(&endpoints.state(ep.as_str()).await?)))
}

/// Shows what an endpoint is doing, and what it waits for.
#[utoipa::path(
    get, path = "/app/{app_id}/endpoint/{endpoint_id}/state", operation_id = "v1.endpoint.get-state",
    tag = "Endpoint", responses((status = 200, body = StateOut))
)]
pub(super) async fn state(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
) -> Result<Json<StateOut>, ApiError> {
    let state = caller.view(&api).endpoints(caller.application.id).state(ep.as_str()).await?;
    Ok(Json(state_shown(&state)))
}

/// What a status is called, and why it is so.
pub(super) const fn in_words(status: EndpointStatus) -> (&'static str, Option<&'static str>) {
    match status {
        EndpointStatus::Active => ("active", None),
        EndpointStatus::Paused => ("paused", None),
        EndpointStatus::Unproven => ("unverified", Some("it was not asked yet")),
        EndpointStatus::Disabled(DisableReason::ByPerson) => ("disabled", Some("by a person")),
        EndpointStatus::Disabled(DisableReason::Gone) => ("disabled", Some("the receiver answered 410")),
        EndpointStatus::Disabled(DisableReason::FailingTooLong) => ("disabled", Some("it only failed for days")),
    }
}

/// A status that a query asks for.
pub(super) fn standing(name: &str) -> Result<&'static str, ApiError> {
    let known = ["active", "paused", "disabled", "unverified"];
    let found = known.into_iter().find(|known| *known == name);
    found.ok_or_else(|| ApiError::field("query", "status", format!("must be one of {}", known.join(", "))))
}

pub(super) fn state_shown(state: &EndpointState) -> StateOut {
    let (status, reason) = in_words(state.status);
    let (breaker, until) = match state.breaker {
        BreakerState::Closed { .. } => ("closed", None),
        BreakerState::Open { until, .. } => ("open", Some(written(until))),
        BreakerState::HalfOpen { .. } => ("halfOpen", None),
    };
    StateOut {
        status,
        reason: state.proof_failure.clone().or_else(|| reason.map(Into::into)),
        breaker: BreakerOut { state: breaker, until },
        queued: state.backlog.queued,
        at_least: state.backlog.is_at_least,
        oldest_queued_at: state.backlog.oldest.map(written),
        in_flight: state.in_flight,
        next_attempt: state.next_attempt.map(written),
        waiting: state.waiting.as_ref().map(|waiting| WaitingOut {
            detail: state.could_not_send.clone().filter(|_| matches!(waiting, Waiting::CouldNotSend(_))),
            ..waiting_shown(waiting)
        }),
    }
}

/// Why something is not sent, in the words of the API.
pub(super) fn waiting_shown(waiting: &Waiting) -> WaitingOut {
    let reason = match waiting {
        Waiting::InFlight(_) => "inFlight",
        Waiting::Paused => "paused",
        Waiting::Unproven => "unverified",
        Waiting::Disabled(_) => "disabled",
        Waiting::ReceiverAskedToWait(_) => "receiverAskedToWait",
        Waiting::CouldNotSend(_) => "couldNotSend",
        Waiting::BreakerOpen(_) => "breakerOpen",
        Waiting::InFlightLimit => "inFlightLimit",
        Waiting::RateLimited(_) => "rateLimited",
        Waiting::Behind(_) | Waiting::Held => "behind",
        Waiting::RetryAt(_) => "retryAt",
        _ => "queued",
    };
    WaitingOut { reason, until: waiting.until().map(written), detail: None, behind_msg_id: None }
}
