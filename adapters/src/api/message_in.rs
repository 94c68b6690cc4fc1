//! What is published, as it is asked for. Payload bytes stay as they came.

use std::time::Duration;

use axum::{body::Bytes, http::HeaderMap};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use postrider::Event;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    applications::ApplicationIn,
    error::ApiError,
    openapi::{AnyObject, Name},
    priority::PriorityKind,
    tasks::time,
};

/// Characters of an idempotency key.
pub(super) const KEY_CHARS_MAX: usize = 256;

/// What is published: a JSON object as it came, or text or bytes of any other kind.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "eventType": "invoice.paid", "payload": { "invoice": 7 } }))]
pub(super) struct MessageIn<'b> {
    #[schema(value_type = Name)]
    event_type: String,
    #[serde(borrow, alias = "data")]
    #[schema(value_type = Option<AnyObject>)]
    payload: Option<&'b RawValue>,
    /// In place of `payload`, for text that is not a JSON object.
    payload_text: Option<String>,
    /// In place of `payload`, for bytes.
    #[schema(
        content_encoding = "base64",
        pattern = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"
    )]
    payload_base64: Option<String>,
    /// Of what is not JSON.
    #[schema(pattern = r"^[!-.0-~][ -.0-~]*/[ -~]+$", max_length = 256)]
    content_type: Option<String>,
    /// A name of your own, taken once.
    #[schema(pattern = r"^(?!msg_)[a-zA-Z0-9._-]+$", min_length = 1, max_length = 256)]
    event_id: Option<String>,
    #[schema(value_type = Option<Vec<Name>>, max_items = 5)]
    channels: Option<Vec<Box<str>>>,
    /// Messages with one key go one after another to endpoints with `perKey` ordering.
    #[schema(min_length = 1, max_length = 256)]
    ordering_key: Option<String>,
    /// What is more urgent goes first to an endpoint, wherever order leaves a choice: among lanes, or all that waits where
    /// there are none. `normal` unless given.
    priority: Option<PriorityKind>,
    /// At most 8; lists find by them.
    #[schema(value_type = Option<Vec<Name>>, max_items = 8)]
    tags: Option<Vec<Box<str>>>,
    /// Deliveries begin then, at most 24 hours ahead, for whoever wants the message then.
    #[schema(format = DateTime)]
    deliver_at: Option<String>,
    /// Days until the payload is forgotten, 5 to 90; or when all others are, if that is sooner.
    #[schema(minimum = 5, maximum = 90)]
    payload_retention_period: Option<u64>,
    /// The same in hours, at least 1.
    #[schema(minimum = 1, maximum = 2160)]
    payload_retention_hours: Option<u64>,
    /// Where the SDKs of Svix put a payload that is to keep its bytes, beside an empty one.
    transformations_params: Option<Raw>,
    /// Made if there is none with the uid of the path, which must be its own; not in a batch.
    pub(super) application: Option<ApplicationIn>,
}

/// A payload that goes in place of an empty object.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TransformationsParams)]
struct Raw {
    raw_payload: Option<String>,
    headers: Option<RawHeaders>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TransformationsHeaders)]
struct RawHeaders {
    #[serde(rename = "content-type")]
    content_type: Option<String>,
}

impl MessageIn<'_> {
    /// The event that it asks for; a JSON payload keeps the bytes that it has in `body`.
    pub(super) fn read(mut self, body: &Bytes) -> Result<Event, ApiError> {
        self.take_raw()?;
        let payload = match (self.payload, self.payload_text, self.payload_base64) {
            (Some(json), None, None) if json.get().starts_with('{') => body.slice_ref(json.get().as_bytes()),
            (Some(_), None, None) => return Err(ApiError::field("body", "payload", "must be a JSON object")),
            (None, Some(text), None) => text.into(),
            (None, None, Some(text)) => match STANDARD.decode(text) {
                Ok(bytes) => bytes.into(),
                Err(_) => return Err(ApiError::field("body", "payloadBase64", "must be base64")),
            },
            (Some(_) | None, Some(_) | None, Some(_) | None) => {
                let message = "give exactly one of payload, payloadText and payloadBase64";
                return Err(ApiError::field("body", "payload", message));
            }
        };
        let mut event = Event::new(self.event_type, payload).channels(self.channels.unwrap_or_default());
        event = event.tags(self.tags.unwrap_or_default());
        event.priority = self.priority.map(Into::into).unwrap_or_default();
        event.deliver_at = self.deliver_at.as_deref().map(|text| time("deliverAt", text)).transpose()?;
        event.payload_kept = kept(self.payload_retention_period, self.payload_retention_hours)?;
        event.content_type = self.content_type.map(Into::into);
        if let Some(uid) = self.event_id {
            event = event.uid(uid);
        }
        if let Some(key) = self.ordering_key {
            event = event.ordering_key(key);
        }
        Ok(event)
    }

    /// A raw payload goes in place of the empty one beside it.
    fn take_raw(&mut self) -> Result<(), ApiError> {
        let Some(Raw { raw_payload: Some(text), headers }) = self.transformations_params.take() else {
            return Ok(());
        };
        let is_alone = self.payload_text.is_none() && self.payload_base64.is_none();
        if !is_alone || self.payload.is_some_and(|json| json.get() != "{}") {
            let message = "a raw payload goes in place of an empty one";
            return Err(ApiError::field("body", "transformationsParams", message));
        }
        (self.payload, self.payload_text) = (None, Some(text));
        let kind = headers.and_then(|headers| headers.content_type).filter(|kind| kind != "application/json");
        self.content_type = self.content_type.take().or(kind);
        Ok(())
    }
}

/// How long a payload is kept. 90 days are what all others are kept for.
/// How long a payload is kept, if that is asked for.
pub(super) fn kept(days: Option<u64>, hours: Option<u64>) -> Result<Option<Duration>, ApiError> {
    let wrong = |field, message| Err(ApiError::field("body", field, message));
    match (days, hours) {
        (None | Some(90), None) => Ok(None),
        (Some(days @ 5..=90), None) => Ok(Some(Duration::from_secs(days * 24 * 3600))),
        (Some(_), None) => wrong("payloadRetentionPeriod", "must be 5 to 90 days"),
        (None, Some(hours @ 1..=2160)) => Ok(Some(Duration::from_secs(hours * 3600))),
        (None, Some(_)) => wrong("payloadRetentionHours", "must be 1 to 2160 hours"),
        (Some(_), Some(_)) => wrong("payloadRetentionHours", "give it or payloadRetentionPeriod, not both"),
    }
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let wrong = || ApiError::field("header", "idempotency-key", "must be 1 to 256 visible ASCII characters");
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=KEY_CHARS_MAX).contains(&key.len()) && !key.contains('\t'));
    key.map(Some).ok_or_else(wrong)
}
