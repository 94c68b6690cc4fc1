//! Messages: what Svix calls events that were published.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use postrider::{Event, EventFilter, EventId, PublishError, Receipt, SchemaFault, StoredEvent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    Api, applications,
    auth::{InApplication, InApplicationOrNew},
    body::Body,
    error::ApiError,
    message_in::{MessageIn, idempotency_key},
    openapi::{AnyObject, ByChannel, ByTag, ByType, Contents, Name, Paging, Period},
    page::{Filling, List},
    priority::PriorityKind,
    query::Params,
    tasks::{TaskBegun, begun},
    times::written,
    warnings::WarningOut,
};

/// The event type that every endpoint may be tried with.
const PING: &str = "svix.ping";
/// Messages in one request to forget several.
const SEVERAL_MAX: usize = 1_000;
const PING_PAYLOAD: &str = r#"{"success":true}"#;

/// A message as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageOut {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    event_type: String,
    #[schema(value_type = AnyObject)]
    payload: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<Box<str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ordering_key: Option<String>,
    /// `normal` unless it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<PriorityKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<Box<str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    deliver_at: Option<String>,
    #[schema(format = DateTime)]
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_version: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    schema_warnings: Vec<SchemaWarning>,
    /// Of a message among many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<WarningOut>,
}

impl MessageOut {
    pub(super) fn with_warnings(self, warnings: Vec<WarningOut>) -> Self {
        Self { warnings, ..self }
    }
}

/// Where a payload does not match the schema of its type, which only asks for that to be told.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SchemaWarningOut)]
pub(super) struct SchemaWarning {
    path: Box<str>,
    msg: Box<str>,
}

/// Publishes a message.
///
/// The application is made first, if there is none and the message comes with one.
#[utoipa::path(
    post, path = "/app/{app_id}/msg", operation_id = "v1.message.create", tag = "Message", params(Contents),
    request_body = MessageIn, responses((status = 202, body = MessageOut))
)]
pub(super) async fn create(
    State(api): State<Api>,
    InApplicationOrNew { organisation, application }: InApplicationOrNew,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<MessageOut>), ApiError> {
    let with_content = params.flag("with_content", true)?;
    let mut asked: MessageIn<'_> = body.read()?;
    let new = applications::beside(asked.application.take())?;
    let mut event = asked.read(&body.bytes)?;
    if let Some(key) = idempotency_key(&headers)? {
        event = event.idempotency_key(key);
    }
    let view = api.engine.organisation(organisation);
    let application = match application {
        Ok(found) => found,
        Err(name) => {
            // Before anything is made for a message that there cannot be.
            event.validate(usize::MAX).map_err(PublishError::Invalid)?;
            applications::found_or_made(view.applications(), &name, new).await?
        }
    };
    let receipt = view.publish(application.id, event.clone()).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted(&receipt, &event, with_content))))
}

/// Which example is to be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EventExampleIn)]
pub(super) struct ExampleIn<'b> {
    #[schema(value_type = Name)]
    event_type: String,
    /// Which of the `examples` in the latest schema of the type, counted from 0. A schema without a list has one example.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295_i64, default = 0)]
    example_index: Option<u32>,
    /// Sent in place of an example, as it comes.
    #[serde(borrow)]
    #[schema(value_type = Option<AnyObject>)]
    payload: Option<&'b RawValue>,
}

/// Sends an example.
///
/// To this endpoint alone, whatever it wants: shows that it listens, and that it verifies. 200 and not 202, as Svix does.
#[utoipa::path(
    post, path = "/app/{app_id}/endpoint/{endpoint_id}/send-example", operation_id = "v1.endpoint.send-example",
    tag = "Endpoint", request_body = ExampleIn, responses((status = 200, body = MessageOut))
)]
pub(super) async fn send_example(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    body: Body,
) -> Result<Json<MessageOut>, ApiError> {
    let ExampleIn { event_type, example_index, payload } = body.read()?;
    let examples = if event_type == PING {
        vec![PING_PAYLOAD.to_owned()]
    } else {
        let examples = caller.view(&api).event_types().examples(&event_type)?;
        examples.iter().map(|example| example.payload.to_string()).collect()
    };
    let payload = match payload {
        Some(json) if json.get().starts_with('{') => body.bytes.slice_ref(json.get().as_bytes()),
        Some(_) => return Err(ApiError::field("body", "payload", "must be a JSON object")),
        None => chosen(examples, example_index.unwrap_or(0))?.into(),
    };
    let event = Event::new(event_type, payload);
    let receipt = caller.view(&api).publish_to(caller.application.id, ep.as_str(), event.clone()).await?;
    Ok(Json(accepted(&receipt, &event, true)))
}

/// The example at this place.
fn chosen(mut examples: Vec<String>, place: u32) -> Result<String, ApiError> {
    let count = examples.len();
    match usize::try_from(place) {
        _ if count == 0 => {
            let detail = format!("The event type has no schema, and so no example. {PING} always has one.");
            Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_scheme", detail))
        }
        Ok(place) if place < count => Ok(examples.swap_remove(place)),
        _ => {
            let message = format!("must be less than {count}: the event type has so many examples, counted from 0");
            Err(ApiError::field("body", "exampleIndex", message))
        }
    }
}

/// What would be published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrecheckIn {
    #[schema(value_type = Name)]
    event_type: String,
    #[schema(value_type = Option<Vec<Name>>, max_items = 5)]
    channels: Option<Vec<Box<str>>>,
}

/// Whether anybody would get it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PrecheckOut {
    active: bool,
}

/// Tells whether anybody would get a message.
///
/// Spares a publisher the work of making what nobody wants.
#[utoipa::path(
    post, path = "/app/{app_id}/msg/precheck/active", operation_id = "v1.message.precheck", tag = "Message",
    request_body = PrecheckIn, responses((status = 200, body = PrecheckOut))
)]
pub(super) async fn precheck(
    State(api): State<Api>,
    caller: InApplication,
    body: Body,
) -> Result<Json<PrecheckOut>, ApiError> {
    let PrecheckIn { event_type, channels } = body.read()?;
    let event = Event::new(event_type, "{}").channels(channels.unwrap_or_default());
    event.validate(usize::MAX).map_err(PublishError::Invalid)?;
    Ok(Json(PrecheckOut { active: caller.view(&api).is_wanted(caller.application.id, &event)? }))
}

/// Lists the messages of an application, newest first.
#[utoipa::path(
    get, path = "/app/{app_id}/msg", operation_id = "v1.message.list", tag = "Message",
    params(Paging, ByType, ByChannel, ByTag, Period, Contents), responses((status = 200, body = List<MessageOut>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: InApplication,
    params: Params,
) -> Result<Json<List<MessageOut>>, ApiError> {
    let with_content = params.flag("with_content", true)?;
    let filter = EventFilter {
        event_types: params.many("event_types"),
        channel: params.one("channel").map(Into::into),
        tag: params.one("tag").map(Into::into),
        before: params.time("before")?,
        after: params.time("after")?,
    };
    let request = params.newest_first(|text| text.parse::<EventId>().ok())?;
    let events = caller.view(&api).events(caller.application.id);
    let mut filling = Filling::new(request);
    while let Some(request) = filling.next() {
        let mut page = events.list(filter.clone(), request).await?;
        let items: Vec<_> = std::mem::take(&mut page.items);
        let bytes = items.iter().map(|stored| content_bytes(stored, with_content)).sum();
        let items = items.iter().map(|stored| stored_shown(stored, with_content)).collect();
        filling.take_with(page.with(items), bytes);
    }
    Ok(Json(List::paged(filling.page(), EventId::to_string, |shown| shown)))
}

/// Shows a message.
#[utoipa::path(
    get, path = "/app/{app_id}/msg/{msg_id}", operation_id = "v1.message.get", tag = "Message", params(Contents),
    responses((status = 200, body = MessageOut))
)]
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

/// Forgets the payload of a message.
///
/// Deliveries of it that wait end without it.
#[utoipa::path(
    delete, path = "/app/{app_id}/msg/{msg_id}/content", operation_id = "v1.message.expunge-content", tag = "Message",
    responses((status = 204))
)]
pub(super) async fn expunge(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, msg)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.view(&api).events(caller.application.id).expunge(msg.as_str()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which messages.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BulkExpungeContentsIn)]
pub(super) struct Several {
    /// Ids or names of your own, at most 1,000.
    #[serde(default)]
    #[schema(max_items = 1000)]
    ids: Vec<String>,
}

/// What became of each, by what it was named.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BulkExpungeContentsOut)]
pub(super) struct SeveralOut {
    results: BTreeMap<String, Expunged>,
}

/// What became of one.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = BulkExpungeStatus)]
enum Expunged {
    Expunged,
    NotFound,
}

/// Forgets the payloads of several messages.
#[utoipa::path(
    post, path = "/app/{app_id}/msg/bulk-expunge", operation_id = "v1.message.bulk-expunge", tag = "Message",
    request_body = Several, responses((status = 200, body = SeveralOut))
)]
pub(super) async fn expunge_several(
    State(api): State<Api>,
    caller: InApplication,
    body: Body,
) -> Result<Json<SeveralOut>, ApiError> {
    let Several { ids } = body.read()?;
    if ids.len() > SEVERAL_MAX {
        return Err(ApiError::field("body", "ids", format!("must name at most {SEVERAL_MAX} messages")));
    }
    let events = caller.view(&api).events(caller.application.id);
    let mut results = BTreeMap::new();
    for id in ids {
        let became = match events.expunge(id.as_str()).await {
            Ok(()) => Expunged::Expunged,
            Err(error) => match ApiError::from(error) {
                error if error.status() == StatusCode::NOT_FOUND => Expunged::NotFound,
                // What was forgotten stays so; the rest is asked for again.
                error => return Err(error),
            },
        };
        results.insert(id, became);
    }
    Ok(Json(SeveralOut { results }))
}

/// Forgets the payloads of all messages of an application, in a task.
#[utoipa::path(
    post, path = "/app/{app_id}/msg/expunge-all-contents", operation_id = "v1.message.expunge-all-contents",
    tag = "Message", responses((status = 202, body = TaskBegun))
)]
pub(super) async fn expunge_all(
    State(api): State<Api>,
    caller: InApplication,
) -> Result<(StatusCode, Json<TaskBegun>), ApiError> {
    let task = caller.view(&api).events(caller.application.id).expunge_all().await?;
    Ok((StatusCode::ACCEPTED, Json(begun(&task))))
}

/// Bytes of the payload, as far as it is shown.
pub(super) fn content_bytes(stored: &StoredEvent, with_content: bool) -> usize {
    if with_content { stored.event.payload.len() } else { 0 }
}

pub(super) fn stored_shown(stored: &StoredEvent, with_content: bool) -> MessageOut {
    if stored.is_expunged {
        let shown = shown(stored.id.to_string(), &stored.event, written(stored.accepted_at), false);
        return MessageOut { payload: expunged(), ..shown };
    }
    shown(stored.id.to_string(), &stored.event, written(stored.accepted_at), with_content)
}

pub(super) fn accepted(receipt: &Receipt, event: &Event, with_content: bool) -> MessageOut {
    let warning = |fault: &SchemaFault| SchemaWarning { path: fault.path.clone(), msg: fault.message.clone() };
    MessageOut {
        schema_version: receipt.schema.map(|version| version.0),
        schema_warnings: receipt.schema_faults.iter().map(warning).collect(),
        ..shown(receipt.event.to_string(), event, written(receipt.accepted_at), with_content)
    }
}

fn shown(id: String, event: &Event, timestamp: String, with_content: bool) -> MessageOut {
    let text = std::str::from_utf8(&event.payload).ok().filter(|_| with_content);
    let is_json = |text: &&str| event.content_type.is_none() && text.trim_start().starts_with('{');
    let json = text.filter(is_json).and_then(|text| RawValue::from_string(text.to_owned()).ok());
    let is_other = with_content && json.is_none();
    MessageOut {
        id,
        event_id: event.uid.as_ref().map(ToString::to_string),
        event_type: event.event_type.to_string(),
        // Left out, or shown below.
        payload: json.unwrap_or_else(empty),
        payload_text: text.filter(|_| is_other).map(str::to_owned),
        payload_base64: (is_other && text.is_none()).then(|| STANDARD.encode(&event.payload)),
        content_type: event.content_type.clone(),
        channels: (!event.channels.is_empty()).then(|| event.channels.clone()),
        ordering_key: event.ordering_key.as_ref().map(|key| key.0.to_string()),
        priority: PriorityKind::shown(event.priority),
        tags: (!event.tags.is_empty()).then(|| event.tags.clone()),
        deliver_at: event.deliver_at.map(written),
        timestamp,
        schema_version: None,
        schema_warnings: Vec::new(),
        warnings: Vec::new(),
    }
}

/// As Svix shows a payload that was forgotten before its time.
fn expunged() -> Box<RawValue> {
    RawValue::from_string(r#"{"expired":true}"#.to_owned()).expect("it is an object")
}

fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("it is an object")
}
