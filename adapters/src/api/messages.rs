//! Messages: what Svix calls events that were published. Payload bytes stay as they came.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use postrider::{Event, EventFilter, StoredEvent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Api, auth::InApplication, body::Body, error::ApiError, page::List, query::Params, times::written};

/// What is published. The payload is a part of the body as it came.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageIn<'b> {
    event_type: String,
    #[serde(borrow, alias = "data")]
    payload: &'b RawValue,
    event_id: Option<String>,
    channels: Option<Vec<Box<str>>>,
    ordering_key: Option<String>,
}

/// A message as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageOut {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    event_type: String,
    payload: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<Box<str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ordering_key: Option<String>,
    timestamp: String,
}

pub(super) async fn create(
    State(api): State<Api>,
    caller: InApplication,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<MessageOut>), ApiError> {
    caller.as_organisation()?;
    let with_content = params.flag("with_content", true)?;
    let asked: MessageIn<'_> = body.read()?;
    if !asked.payload.get().starts_with('{') {
        return Err(ApiError::field("body", "payload", "must be a JSON object"));
    }
    let payload = body.0.slice_ref(asked.payload.get().as_bytes());
    let mut event = Event::new(asked.event_type, payload);
    event = event.channels(asked.channels.unwrap_or_default());
    if let Some(uid) = asked.event_id {
        event = event.uid(uid);
    }
    if let Some(key) = asked.ordering_key {
        event = event.ordering_key(key);
    }
    if let Some(key) = headers.get("idempotency-key") {
        let wrong = || ApiError::field("header", "idempotency-key", "must be 1 to 256 visible ASCII characters");
        event = event.idempotency_key(key.to_str().map_err(|_| wrong())?);
    }
    let receipt = caller.view(&api).publish(caller.application.id, event.clone()).await?;
    let (id, timestamp) = (receipt.event.to_string(), written(receipt.accepted_at));
    Ok((StatusCode::ACCEPTED, Json(shown(id, &event, timestamp, with_content))))
}

pub(super) async fn list(
    State(api): State<Api>,
    caller: InApplication,
    params: Params,
) -> Result<Json<List<MessageOut>>, ApiError> {
    let with_content = params.flag("with_content", true)?;
    let filter = EventFilter {
        event_types: params.many("event_types"),
        channel: params.one("channel").map(Into::into),
        before: params.time("before")?,
        after: params.time("after")?,
    };
    let page = caller.view(&api).events(caller.application.id).list(filter, &params.by_cursor()?).await?;
    Ok(Json(List::by_cursor(page, |stored| stored_shown(&stored, with_content))))
}

pub(super) async fn read(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, msg)): Path<(String, String)>,
    params: Params,
) -> Result<Json<MessageOut>, ApiError> {
    let with_content = params.flag("with_content", true)?;
    let stored = caller.view(&api).events(caller.application.id).get(msg.as_str()).await?;
    Ok(Json(stored_shown(&stored, with_content)))
}

pub(super) fn stored_shown(stored: &StoredEvent, with_content: bool) -> MessageOut {
    shown(stored.id.to_string(), &stored.event, written(stored.accepted_at), with_content)
}

fn shown(id: String, event: &Event, timestamp: String, with_content: bool) -> MessageOut {
    let text = std::str::from_utf8(&event.payload).ok().filter(|_| with_content);
    let payload = text.and_then(|text| RawValue::from_string(text.to_owned()).ok());
    MessageOut {
        id,
        event_id: event.uid.as_ref().map(ToString::to_string),
        event_type: event.event_type.to_string(),
        // Left out, or no JSON: published through the library.
        payload: payload.unwrap_or_else(empty),
        channels: (!event.channels.is_empty()).then(|| event.channels.clone()),
        ordering_key: event.ordering_key.as_ref().map(|key| key.0.to_string()),
        timestamp,
    }
}

fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("it is an object")
}
