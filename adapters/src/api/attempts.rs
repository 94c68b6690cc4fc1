//! Attempts: what was sent, what came back, and sending once more by hand.

use std::collections::{HashMap, hash_map::Entry};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postrider::{
    AttemptFilter, AttemptId, AttemptRecord, EndpointId, Event, EventId, IdOr, Order, Organisation, Outcome, Then,
    Timestamp, core::as_called,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    auth::InApplication,
    error::ApiError,
    openapi::{ByChannel, ByClass, ByEndpoint, ByStatus, ByType, Contents, Paging, Period},
    page::{Filling, List, cursor, cursor_shown},
    query::Params,
    times::written,
};

/// An attempt as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessageAttemptOut)]
pub(super) struct AttemptOut {
    id: String,
    msg_id: String,
    endpoint_id: String,
    url: String,
    response: String,
    /// 0 without an answer.
    response_status_code: u16,
    response_duration_ms: u128,
    /// 0 success, 2 fail.
    status: u8,
    status_text: &'static str,
    /// 0 by the schedule, 1 by hand.
    trigger_type: u8,
    #[schema(format = DateTime)]
    timestamp: String,
}

/// Lists the attempts of a message.
#[utoipa::path(
    get, path = "/app/{app_id}/attempt/msg/{msg_id}", operation_id = "v1.message-attempt.list-by-msg",
    tag = "Message Attempt", params(Paging, ByStatus, ByClass, ByType, ByChannel, Period, Contents, ByEndpoint),
    responses((status = 200, body = List<AttemptOut>))
)]
pub(super) async fn of_message(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, msg)): Path<(String, String)>,
    params: Params,
) -> Result<Json<List<AttemptOut>>, ApiError> {
    let only = params.one("endpoint_id").map(IdOr::from);
    listed_of_message(&api, &caller, &msg, only, &params).await
}

/// Lists the attempts of a message; by an older path.
#[utoipa::path(
    get, path = "/app/{app_id}/msg/{msg_id}/attempt", operation_id = "v1.message-attempt.list",
    tag = "Message Attempt", params(Paging, ByStatus, ByClass, ByType, ByChannel, Period, Contents, ByEndpoint),
    responses((status = 200, body = List<AttemptOut>))
)]
#[deprecated]
pub(super) async fn of_message_before(
    api: State<Api>,
    caller: InApplication,
    path: Path<(String, String)>,
    params: Params,
) -> Result<Json<List<AttemptOut>>, ApiError> {
    of_message(api, caller, path, params).await
}

/// Lists the attempts of a message at one endpoint; by an older path.
#[utoipa::path(
    get, path = "/app/{app_id}/msg/{msg_id}/endpoint/{endpoint_id}/attempt",
    operation_id = "v1.message-attempt.list-by-endpoint-deprecated", tag = "Message Attempt",
    params(Paging, ByStatus, ByClass, ByType, ByChannel, Period, Contents),
    responses((status = 200, body = List<AttemptOut>))
)]
#[deprecated]
pub(super) async fn of_delivery(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, msg, ep)): Path<(String, String, String)>,
    params: Params,
) -> Result<Json<List<AttemptOut>>, ApiError> {
    listed_of_message(&api, &caller, &msg, Some(IdOr::from(&ep)), &params).await
}

async fn listed_of_message(
    api: &Api,
    caller: &InApplication,
    msg: &str,
    endpoint: Option<IdOr<EndpointId>>,
    params: &Params,
) -> Result<Json<List<AttemptOut>>, ApiError> {
    let view = caller.view(api);
    let only = endpoint.map(|name| view.endpoints(caller.application.id).get(name)).transpose()?;
    let mut filter = Filter::read(params)?;
    let mut shown_here = Vec::new();
    for record in view.events(caller.application.id).attempts(msg).await? {
        let here = only.as_ref().is_none_or(|only| only.id == record.delivery.endpoint);
        if here && filter.keeps(view, caller, &record).await? {
            shown_here.push((record.attempt.id, shown(view, caller, record, filter.with_content)));
        }
    }
    let request = params.newest_first(|id| id.parse().ok())?;
    Ok(Json(List::part_of(shown_here, &request, Order::Descending)))
}

/// Lists the attempts at an endpoint.
#[utoipa::path(
    get, path = "/app/{app_id}/attempt/endpoint/{endpoint_id}", operation_id = "v1.message-attempt.list-by-endpoint",
    tag = "Message Attempt", params(Paging, ByStatus, ByClass, ByType, ByChannel, Period, Contents),
    responses((status = 200, body = List<AttemptOut>))
)]
pub(super) async fn of_endpoint(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    params: Params,
) -> Result<Json<List<AttemptOut>>, ApiError> {
    let (view, mut filter) = (caller.view(&api), Filter::read(&params)?);
    let deliveries = view.deliveries(caller.application.id);
    let tried = AttemptFilter { before: filter.before, after: filter.after };
    let mut filling = Filling::new(params.newest_first(cursor)?);
    while let Some(request) = filling.next() {
        let page = deliveries.attempts(ep.as_str(), tried, request).await?;
        let mut kept = Vec::new();
        for record in &page.items {
            if filter.keeps(view, &caller, record).await? {
                kept.push(record.clone());
            }
        }
        filling.take(page.with(kept));
    }
    Ok(Json(List::paged(filling.page(), cursor_shown, |record| shown(view, &caller, record, filter.with_content))))
}

/// Shows an attempt.
#[utoipa::path(
    get, path = "/app/{app_id}/msg/{msg_id}/attempt/{attempt_id}", operation_id = "v1.message-attempt.get",
    tag = "Message Attempt", responses((status = 200, body = AttemptOut))
)]
pub(super) async fn read(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, msg, att)): Path<(String, String, String)>,
) -> Result<Json<AttemptOut>, ApiError> {
    let wanted: AttemptId = att.parse().map_err(|_| ApiError::not_found())?;
    let view = caller.view(&api);
    let attempts = view.events(caller.application.id).attempts(msg.as_str()).await?;
    let found = attempts.into_iter().find(|record| record.attempt.id == wanted);
    Ok(Json(shown(view, &caller, found.ok_or_else(ApiError::not_found)?, true)))
}

/// Forgets what a receiver answered.
#[utoipa::path(
    delete, path = "/app/{app_id}/msg/{msg_id}/attempt/{attempt_id}/content",
    operation_id = "v1.message-attempt.expunge-content", tag = "Message Attempt", responses((status = 204))
)]
pub(super) async fn expunge(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, msg, att)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    let wanted: AttemptId = att.parse().map_err(|_| ApiError::not_found())?;
    caller.view(&api).events(caller.application.id).expunge_response(msg.as_str(), wanted).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a message to an endpoint once more, by hand.
#[utoipa::path(
    post, path = "/app/{app_id}/msg/{msg_id}/endpoint/{endpoint_id}/resend",
    operation_id = "v1.message-attempt.resend", tag = "Message Attempt", responses((status = 202, body = EmptyOut))
)]
pub(super) async fn resend(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, msg, ep)): Path<(String, String, String)>,
) -> Result<(StatusCode, Json<EmptyOut>), ApiError> {
    caller.view(&api).deliveries(caller.application.id).resend(msg.as_str(), ep.as_str()).await?;
    Ok((StatusCode::ACCEPTED, Json(EmptyOut {})))
}

/// Nothing to be told.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EmptyResponse)]
pub(super) struct EmptyOut {}

/// Which attempts a query asks for.
struct Filter {
    /// 0 success, 2 fail; an attempt is never anything else.
    status: Option<u16>,
    /// 0 without an answer, else the hundreds of the status code.
    class: Option<u16>,
    before: Option<Timestamp>,
    after: Option<Timestamp>,
    channel: Option<Box<str>>,
    event_types: Vec<Box<str>>,
    with_content: bool,
    /// Events that were asked about already; none for those that are gone.
    known: HashMap<EventId, Option<Event>>,
}

impl Filter {
    fn read(params: &Params) -> Result<Self, ApiError> {
        Ok(Self {
            status: params.number("status", &[0, 1, 2, 3, 4])?,
            class: params.number("status_code_class", &[0, 100, 200, 300, 400, 500])?,
            before: params.time("before")?,
            after: params.time("after")?,
            channel: params.one("channel").map(Into::into),
            event_types: params.many("event_types"),
            with_content: params.flag("with_content", true)?,
            known: HashMap::new(),
        })
    }

    async fn keeps(
        &mut self,
        view: Organisation<'_>,
        caller: &InApplication,
        record: &AttemptRecord,
    ) -> Result<bool, ApiError> {
        let attempt = &record.attempt;
        let is_wanted = self.status.is_none_or(|status| status == u16::from(status_of(attempt.then).0))
            && self.class.is_none_or(|class| class == attempt.outcome.status_code() / 100 * 100)
            && self.before.is_none_or(|before| attempt.started < before)
            && self.after.is_none_or(|after| after < attempt.started);
        if !is_wanted || (self.channel.is_none() && self.event_types.is_empty()) {
            return Ok(is_wanted);
        }
        if let Entry::Vacant(unknown) = self.known.entry(record.event) {
            unknown.insert(match view.events(caller.application.id).get(record.event).await {
                Ok(stored) => Some(Event::clone(&stored.event)),
                Err(postrider::ReadError::NotFound) => None,
                Err(other) => return Err(other.into()),
            });
        }
        let event = self.known.get(&record.event).and_then(Option::as_ref);
        Ok(event.is_some_and(|event| {
            let typed = self.event_types.is_empty() || self.event_types.contains(&event.event_type);
            typed && self.channel.as_ref().is_none_or(|channel| event.channels.contains(channel))
        }))
    }
}

const fn status_of(then: Then) -> (u8, &'static str) {
    match then {
        Then::Delivered => (0, "success"),
        Then::RetryAt(_) | Then::GivenUp(_) | Then::Nothing => (2, "fail"),
    }
}

pub(super) fn shown(
    view: Organisation<'_>,
    caller: &InApplication,
    record: AttemptRecord,
    with_content: bool,
) -> AttemptOut {
    let AttemptRecord { delivery, event, attempt, .. } = record;
    let endpoint = view.endpoints(caller.application.id).get(delivery.endpoint).ok();
    let (status, status_text) = status_of(attempt.then);
    let response = match &attempt.outcome {
        _ if !with_content => String::new(),
        Outcome::Failure(failure) if attempt.outcome.status_code() == 0 => failure.to_string(),
        Outcome::Failure(_) | Outcome::Success { .. } => String::from_utf8_lossy(&attempt.response).into_owned(),
    };
    AttemptOut {
        id: attempt.id.to_string(),
        msg_id: event.to_string(),
        endpoint_id: delivery.endpoint.to_string(),
        url: endpoint.map_or_else(String::new, |endpoint| as_called(&endpoint.spec.url, &endpoint.target).to_owned()),
        response,
        response_status_code: attempt.outcome.status_code(),
        response_duration_ms: attempt.took.as_millis(),
        status,
        status_text,
        trigger_type: u8::from(attempt.number.is_manual()),
        timestamp: written(attempt.started),
    }
}
