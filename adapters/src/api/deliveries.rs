//! How a message stands at each endpoint, why it waits, and calling it off.

use std::num::NonZeroUsize;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postrider::{
    Attempt, AttemptFilter, Delivery, DeliveryRecord, DeliveryState, Endpoint, EndpointId, NeverThere, Organisation,
    ReadError, Responses, Then, Unwanted, Waiting,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    auth::InApplication,
    endpoints::{self, EndpointOut},
    error::ApiError,
    messages::{self, MessageOut},
    openapi::{ByChannel, ByStatus, ByType, Contents, Paging, Period},
    page::{Filling, List, cursor, cursor_shown},
    query::Params,
    states::{self, WaitingOut},
    times::written,
};

/// Messages that are read together.
const MESSAGES_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

/// An endpoint, and how a message stands there.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessageEndpointOut)]
pub(super) struct DestinationOut {
    #[serde(flatten)]
    endpoint: EndpointOut,
    /// It is gone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    /// 0 success, 1 pending, 2 fail, 3 sending, 4 canceled.
    status: u8,
    status_text: &'static str,
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<String>,
}

/// Lists the endpoints of a message, and those that were deleted with what is left of them.
#[utoipa::path(
    get, path = "/app/{app_id}/msg/{msg_id}/endpoint",
    operation_id = "v1.message-attempt.list-attempted-destinations", tag = "Message Attempt", params(Paging),
    responses((status = 200, body = List<DestinationOut>))
)]
pub(super) async fn destinations(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, msg)): Path<(String, String)>,
    params: Params,
) -> Result<Json<List<DestinationOut>>, ApiError> {
    let view = caller.view(&api);
    let deliveries = view.deliveries(caller.application.id);
    let mut page = deliveries.of_event(msg.as_str(), &params.paged(|id| id.parse().ok())?).await?;
    let mut items = Vec::new();
    for record in std::mem::take(&mut page.items) {
        let known = view.endpoints(caller.application.id).get(record.id.endpoint).ok();
        let deleted = known.is_none();
        let endpoint = known.map_or_else(|| endpoints::deleted(record.id.endpoint), |known| endpoints::shown(&known));
        let waiting = if deleted { None } else { waiting(view, &caller, &record).await? };
        let (status, status_text) = status_of(&record, waiting.as_ref());
        let next_attempt = next_attempt(&record, waiting.as_ref());
        items.push(DestinationOut { endpoint, deleted, status, status_text, next_attempt });
    }
    Ok(Json(List::paged(page.with(items), EndpointId::to_string, |item| item)))
}

/// A message that was tried at an endpoint, and how it stands there.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EndpointMessageOut)]
pub(super) struct AttemptedOut {
    #[serde(flatten)]
    message: MessageOut,
    /// 0 success, 1 pending, 2 fail, 3 sending, 4 canceled.
    status: u8,
    status_text: &'static str,
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<String>,
}

/// Lists what was tried at an endpoint, by its last attempts, newest first.
///
/// A page may be shorter than asked for, and still not the last: each message is shown where its last attempt lies.
#[utoipa::path(
    get, path = "/app/{app_id}/endpoint/{endpoint_id}/msg",
    operation_id = "v1.message-attempt.list-attempted-messages", tag = "Message Attempt",
    params(Paging, ByStatus, ByType, ByChannel, Period, Contents),
    responses((status = 200, body = List<AttemptedOut>))
)]
pub(super) async fn attempted(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    params: Params,
) -> Result<Json<List<AttemptedOut>>, ApiError> {
    let with_content = params.flag("with_content", true)?;
    let status = params.number("status", &[0, 1, 2, 3, 4])?;
    let (types, channel) = (params.many("event_types"), params.one("channel"));
    let (before, after) = (params.time("before")?, params.time("after")?);
    let (view, app) = (caller.view(&api), caller.application.id);
    // What was accepted after a time was tried after it.
    let tried = AttemptFilter { after, responses: Responses::LeftOut, ..AttemptFilter::default() };
    let mut filling = Filling::in_pieces(params.newest_first(cursor)?, MESSAGES_AT_ONCE);
    while let Some(request) = filling.next() {
        let page = view.deliveries(app).attempts(ep.as_str(), tried, request).await?;
        let (mut items, mut bytes) = (Vec::new(), 0);
        for tried in &page.items {
            let record = match view.deliveries(app).get(tried.event, tried.delivery.endpoint).await {
                Ok(record) if record.last.as_ref().is_some_and(|last| last.id == tried.attempt.id) => record,
                Ok(_) | Err(ReadError::NotFound) => continue,
                Err(other) => return Err(other.into()),
            };
            let Ok(stored) = view.events(app).get(tried.event).await else { continue };
            let event = &stored.event;
            let waiting = waiting(view, &caller, &record).await?;
            let (number, status_text) = status_of(&record, waiting.as_ref());
            let is_wanted = status.is_none_or(|status| status == u16::from(number))
                && (types.is_empty() || types.contains(&event.event_type))
                && channel.is_none_or(|channel| event.channels.iter().any(|heard| &**heard == channel))
                && before.is_none_or(|before| stored.accepted_at < before)
                && after.is_none_or(|after| after < stored.accepted_at);
            if is_wanted {
                let next_attempt = next_attempt(&record, waiting.as_ref());
                let message = messages::stored_shown(&stored, with_content);
                bytes += messages::content_bytes(&stored, with_content);
                items.push(AttemptedOut { message, status: number, status_text, next_attempt });
            }
        }
        filling.take_with(page.with(items), bytes);
    }
    Ok(Json(List::paged(filling.page(), cursor_shown, |item| item)))
}

/// How a message stands at an endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliveryOut {
    msg_id: String,
    endpoint_id: String,
    /// 0 success, 1 pending, 2 fail, 3 sending, 4 canceled.
    status: u8,
    status_text: &'static str,
    /// Its place among all of the endpoint.
    seq: u64,
    attempts: usize,
    last_attempt: Option<LastAttemptOut>,
    #[schema(format = DateTime)]
    next_attempt: Option<String>,
    waiting: Option<WaitingOut>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LastAttemptOut {
    id: String,
    #[schema(format = DateTime)]
    timestamp: String,
    response_status_code: u16,
}

/// Shows how a message stands at an endpoint.
#[utoipa::path(
    get, path = "/app/{app_id}/msg/{msg_id}/endpoint/{endpoint_id}", operation_id = "v1.message-attempt.get-delivery",
    tag = "Message Attempt", responses((status = 200, body = DeliveryOut))
)]
pub(super) async fn read(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, msg, ep)): Path<(String, String, String)>,
) -> Result<Json<DeliveryOut>, ApiError> {
    let view = caller.view(&api);
    let deliveries = view.deliveries(caller.application.id);
    let record = match deliveries.get(msg.as_str(), ep.as_str()).await {
        Err(ReadError::NotFound) => {
            let endpoint = view.endpoints(caller.application.id).get(ep.as_str())?;
            return Err(never_there(&endpoint, &deliveries.why_never(msg.as_str(), ep.as_str()).await?));
        }
        found => found?,
    };
    Ok(Json(shown(view, &caller, &record).await?))
}

/// In words, why a message never was at an endpoint.
fn never_there(endpoint: &Endpoint, why: &NeverThere) -> ApiError {
    let detail = match why {
        NeverThere::NotYet(at) => format!("the message is delivered from {} on", written(*at)),
        NeverThere::Unwanted(Unwanted::MadeLater(at)) => {
            format!("the endpoint was made after the message, at {}: replay what it missed", written(*at))
        }
        NeverThere::Unwanted(Unwanted::EventType) => {
            let wanted = endpoint.spec.event_types.join(", ");
            format!("the endpoint's eventTypes do not have the type of the message: {wanted}")
        }
        NeverThere::Unwanted(Unwanted::Channel) => {
            let wanted = endpoint.spec.channels.join(", ");
            format!("the message has none of the endpoint's channels: {wanted}")
        }
        NeverThere::Unwanted(Unwanted::Disabled(since)) => {
            format!("the endpoint is disabled, since {} or earlier", written(*since))
        }
        _ => "the endpoint was disabled, or its filter was another one, when the message was sent".to_owned(),
    };
    ApiError::no_such_delivery(&detail)
}

/// Calls off what is not delivered yet.
#[utoipa::path(
    delete, path = "/app/{app_id}/msg/{msg_id}/endpoint/{endpoint_id}",
    operation_id = "v1.message-attempt.cancel-delivery", tag = "Message Attempt", responses((status = 204))
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, msg, ep)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.view(&api).deliveries(caller.application.id).cancel(msg.as_str(), ep.as_str()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn shown(
    view: Organisation<'_>,
    caller: &InApplication,
    record: &DeliveryRecord,
) -> Result<DeliveryOut, ApiError> {
    let waiting = waiting(view, caller, record).await?;
    let (status, status_text) = status_of(record, waiting.as_ref());
    let behind = match (&waiting, &record.state) {
        (Some(Waiting::Behind(_)), DeliveryState::Pending(delivery)) => {
            view.deliveries(caller.application.id).ahead(delivery).await?
        }
        _ => None,
    };
    let waiting_shown = waiting.as_ref().map(|waiting| {
        let mut shown = states::waiting_shown(waiting);
        if let Some(head) = behind {
            shown.behind_msg_id = Some(head.event.to_string());
        }
        shown
    });
    Ok(DeliveryOut {
        msg_id: record.event.to_string(),
        endpoint_id: record.id.endpoint.to_string(),
        status,
        status_text,
        seq: record.id.seq.0,
        attempts: record.attempts,
        last_attempt: record.last.as_ref().map(last_attempt),
        next_attempt: next_attempt(record, waiting.as_ref()),
        waiting: waiting_shown,
    })
}

fn last_attempt(attempt: &Attempt) -> LastAttemptOut {
    LastAttemptOut {
        id: attempt.id.to_string(),
        timestamp: written(attempt.started),
        response_status_code: attempt.outcome.status_code(),
    }
}

/// What it waits for; none if it is finished.
async fn waiting(
    view: Organisation<'_>,
    caller: &InApplication,
    record: &DeliveryRecord,
) -> Result<Option<Waiting>, ApiError> {
    let by_hand = match &record.by_hand {
        Some(by_hand) => Ok(Some(view.deliveries(caller.application.id).why_waiting(by_hand).await?)),
        None => Ok(None),
    };
    match &record.state {
        DeliveryState::Pending(delivery) => {
            Ok(Some(view.deliveries(caller.application.id).why_waiting(delivery).await?))
        }
        DeliveryState::Delivered | DeliveryState::GivenUp(_) | DeliveryState::Cancelled(_) => by_hand,
        DeliveryState::CutOff | DeliveryState::Manual => by_hand,
    }
}

/// As Svix numbers them.
fn status_of(record: &DeliveryRecord, waiting: Option<&Waiting>) -> (u8, &'static str) {
    match &record.state {
        // What was tried and is tried again is being sent, as clients of Svix have it.
        DeliveryState::Pending(delivery) if delivery.attempts > 0 => (3, "sending"),
        DeliveryState::Pending(_) if matches!(waiting, Some(Waiting::InFlight(_))) => (3, "sending"),
        DeliveryState::Pending(_) => (1, "pending"),
        DeliveryState::Delivered => (0, "success"),
        DeliveryState::GivenUp(_) => (2, "fail"),
        DeliveryState::Cancelled(_) | DeliveryState::CutOff => (4, "canceled"),
        DeliveryState::Manual => match record.last.as_ref().map(|attempt| attempt.then) {
            Some(Then::Delivered) => (0, "success"),
            Some(Then::RetryAt(_) | Then::GivenUp(_) | Then::Nothing) => (2, "fail"),
            None => (1, "pending"),
        },
    }
}

/// When it is tried next, if that is known: its own time, or that of what holds it.
fn next_attempt(record: &DeliveryRecord, waiting: Option<&Waiting>) -> Option<String> {
    match &record.state {
        DeliveryState::Pending(delivery) => {
            let own = Delivery::due(delivery);
            own.max(waiting.and_then(Waiting::until)).map(written)
        }
        DeliveryState::Delivered | DeliveryState::GivenUp(_) | DeliveryState::Cancelled(_) => None,
        DeliveryState::CutOff | DeliveryState::Manual => None,
    }
}
