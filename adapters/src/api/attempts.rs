//! Attempts: what was sent, what came back, and sending once more by hand.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postrider::{
    AttemptEnd, AttemptFilter, AttemptId, AttemptRecord, EndpointId, Event, EventId, IdOr, Organisation, Outcome, Page,
    ReadError, Responses, Then, core::ShownUrl,
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
    /// What was called, its secrets masked.
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
    let (wanted, request) = (Wanted::read(params)?, params.newest_first(|id| id.parse().ok())?);
    let (events, app) = (view.events(caller.application.id), caller.application.id);
    let page = match &wanted.filter {
        Some(filter) if wanted.is_of_event(view, caller, msg).await? => match endpoint {
            Some(name) => view.deliveries(app).attempts_of_event(msg, name, *filter, &request).await?,
            None => events.attempts(msg, *filter, &request).await?,
        },
        Some(_) | None => Page::default(),
    };
    Ok(Json(List::paged(page, AttemptId::to_string, |record| shown(view, caller, record, wanted.content))))
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
    let (view, mut wanted) = (caller.view(&api), Wanted::read(&params)?);
    let deliveries = view.deliveries(caller.application.id);
    let mut filling = Filling::new(params.newest_first(cursor)?);
    while let (Some(request), Some(filter)) = (filling.next(), wanted.filter) {
        let mut page = deliveries.attempts(ep.as_str(), filter, request).await?;
        let mut kept = Vec::new();
        for record in std::mem::take(&mut page.items) {
            if wanted.keeps(view, &caller, record.event).await? {
                kept.push(record);
            }
        }
        filling.take(page.with(kept));
    }
    Ok(Json(List::paged(filling.page(), cursor_shown, |record| shown(view, &caller, record, wanted.content))))
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
    let found = view.events(caller.application.id).attempt(msg.as_str(), wanted).await?;
    Ok(Json(shown(view, &caller, found, Responses::Read)))
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

/// Which attempts a query asks for, and how much of them.
struct Wanted {
    /// None if it wants what an attempt never is.
    filter: Option<AttemptFilter>,
    channel: Option<Box<str>>,
    event_types: Vec<Box<str>>,
    content: Responses,
    /// Events that were asked about already: whether they are wanted.
    known: HashMap<EventId, bool>,
}

impl Wanted {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let end = match params.number("status", &[0, 1, 2, 3, 4])? {
            None => Some(None),
            Some(0) => Some(Some(AttemptEnd::Delivered)),
            Some(2) => Some(Some(AttemptEnd::Failed)),
            Some(_) => None,
        };
        let status_class = params.number("status_code_class", &[0, 100, 200, 300, 400, 500])?;
        let (before, after) = (params.time("before")?, params.time("after")?);
        let content = if params.flag("with_content", true)? { Responses::Read } else { Responses::LeftOut };
        Ok(Self {
            filter: end.map(|end| AttemptFilter { before, after, end, status_class, responses: content }),
            channel: params.one("channel").map(Into::into),
            event_types: params.many("event_types"),
            content,
            known: HashMap::new(),
        })
    }

    /// Whether the message is of a type and channel that is wanted. True of one that is not there: the read of its attempts
    /// answers that.
    async fn is_of_event(&self, view: Organisation<'_>, caller: &InApplication, msg: &str) -> Result<bool, ApiError> {
        if self.channel.is_none() && self.event_types.is_empty() {
            return Ok(true);
        }
        match view.events(caller.application.id).get(msg).await {
            Ok(stored) => Ok(self.wants(&stored.event)),
            Err(ReadError::NotFound) => Ok(true),
            Err(other) => Err(other.into()),
        }
    }

    /// Whether an attempt is of a message that is wanted: one that is gone is not.
    async fn keeps(
        &mut self,
        view: Organisation<'_>,
        caller: &InApplication,
        event: EventId,
    ) -> Result<bool, ApiError> {
        if self.channel.is_none() && self.event_types.is_empty() {
            return Ok(true);
        }
        if let Some(known) = self.known.get(&event) {
            return Ok(*known);
        }
        let is_wanted = match view.events(caller.application.id).get(event).await {
            Ok(stored) => self.wants(&stored.event),
            Err(ReadError::NotFound) => false,
            Err(other) => return Err(other.into()),
        };
        self.known.insert(event, is_wanted);
        Ok(is_wanted)
    }

    fn wants(&self, event: &Event) -> bool {
        let typed = self.event_types.is_empty() || self.event_types.contains(&event.event_type);
        typed && self.channel.as_ref().is_none_or(|channel| event.channels.contains(channel))
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
    content: Responses,
) -> AttemptOut {
    let AttemptRecord { delivery, event, attempt, .. } = record;
    // An earlier program did not keep what it called: then it is what would be called now.
    let url = if attempt.url.is_empty() {
        view.endpoints(caller.application.id).get(delivery.endpoint).map(|endpoint| ShownUrl::of(&endpoint))
    } else {
        Ok(attempt.url)
    };
    let (status, status_text) = status_of(attempt.then);
    let response = match (content, &attempt.outcome) {
        (Responses::LeftOut, _) => String::new(),
        (Responses::Read, Outcome::Failure(failure)) if failure.status_code() == 0 => failure.to_string(),
        (Responses::Read, Outcome::Failure(_) | Outcome::Success { .. }) => {
            String::from_utf8_lossy(&attempt.response).into_owned()
        }
    };
    AttemptOut {
        id: attempt.id.to_string(),
        msg_id: event.to_string(),
        endpoint_id: delivery.endpoint.to_string(),
        url: url.map_or_else(|_| String::new(), |url| url.to_string()),
        response,
        response_status_code: attempt.outcome.status_code(),
        response_duration_ms: attempt.took.as_millis(),
        status,
        status_text,
        trigger_type: u8::from(attempt.number.is_manual()),
        timestamp: written(attempt.started),
    }
}
