//! The simplest way in: endpoints and messages of one application, `default`, which is made when it is needed. They are
//! the same resources as all others, with names that need no reading.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use postrider::{
    ApplicationSpec, Endpoint, EndpointDraft, EndpointId, EndpointSpec, EndpointStatus, Endpoints, Event, IdOr, Order,
    ReadError, Uid,
    core::{ShownUrl, meant},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    Api,
    auth::InOrganisation,
    body::Body,
    endpoints,
    error::ApiError,
    message_in::idempotency_key,
    openapi::{Name, Paging, SigningSecret, Sorting},
    page::List,
    priority::PriorityKind,
    query::Params,
    secrets,
    settings::ProofKind,
    times::written,
};

/// The uid of the application that all of this is about.
const DEFAULT: &str = "default";

/// Where to, what, and signed with which secret.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = WebhookIn)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookIn {
    #[schema(pattern = "^https?://")]
    url: String,
    /// Event types; all unless given.
    #[schema(value_type = Option<Vec<Name>>, max_items = 1000)]
    events: Option<Vec<Box<str>>>,
    /// `whsec_…`; one of our making unless given.
    #[schema(value_type = Option<SigningSecret>)]
    secret: Option<String>,
    /// What the receiver must prove before anything is sent to it.
    proof: Option<ProofKind>,
}

/// What is to be changed.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = WebhookPatch)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookPatch {
    #[schema(pattern = "^https?://")]
    url: Option<String>,
    #[schema(value_type = Option<Vec<Name>>, max_items = 1000)]
    events: Option<Vec<Box<str>>>,
    active: Option<bool>,
}

/// A webhook as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookOut)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookOut {
    id: String,
    url: String,
    /// Empty is all.
    events: Vec<Box<str>>,
    /// Whether it is sent anything.
    active: bool,
    /// Shown when it is made, and never again here.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// What happened.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = EventIn)]
pub(super) struct EventIn<'b> {
    /// Dot-separated: `invoice.paid`.
    #[serde(rename = "type", alias = "event", alias = "eventType")]
    #[schema(value_type = Name)]
    event_type: String,
    /// Any JSON; sent byte for byte.
    #[serde(borrow, alias = "payload")]
    #[schema(value_type = serde_json::Value)]
    data: &'b RawValue,
    /// A name of your own: a second event with it is refused.
    #[schema(pattern = r"^(?!msg_)[a-zA-Z0-9._-]+$", min_length = 1, max_length = 256)]
    id: Option<String>,
    /// Events with one key go one after another to webhooks that keep an order.
    #[schema(min_length = 1, max_length = 256)]
    key: Option<String>,
    /// What is more urgent goes first, wherever order leaves a choice. `normal` unless given.
    priority: Option<PriorityKind>,
}

/// An event that is accepted: it is stored, and not yet sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventOut)]
pub(super) struct EventOut {
    id: String,
    /// To how many webhooks it goes.
    webhooks: usize,
}

/// Lists the webhooks.
#[utoipa::path(
    get, path = "/webhooks", operation_id = "webhooks.list", tag = "Simple", params(Paging, Sorting),
    responses((status = 200, body = List<WebhookOut>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    organisation: InOrganisation,
    params: Params,
) -> Result<Json<List<WebhookOut>>, ApiError> {
    let request = params.by_id::<EndpointId>(Order::Ascending)?;
    let listing = match of(&api, organisation).list(&request) {
        // Nothing was made yet.
        Err(ReadError::NotFound) => Default::default(),
        listing => listing?,
    };
    Ok(Json(List::by_id(listing, |endpoint| endpoint.id, |endpoint| shown(&endpoint))))
}

/// Registers a webhook.
#[utoipa::path(
    post, path = "/webhooks", operation_id = "webhooks.create", tag = "Simple", request_body = WebhookIn,
    responses((status = 201, body = WebhookOut))
)]
pub(super) async fn create(
    State(api): State<Api>,
    organisation: InOrganisation,
    body: Body,
) -> Result<(StatusCode, Json<WebhookOut>), ApiError> {
    let WebhookIn { url, events, secret, proof } = body.read()?;
    let secret = secret.as_deref().map(|text| secrets::parsed("secret", text)).transpose()?;
    let mut spec = EndpointSpec::new(url);
    spec.event_types = events.unwrap_or_default();
    spec.proof = proof.map(Into::into).unwrap_or_default();
    prepared(&api, organisation).await?;
    let endpoints = of(&api, organisation);
    let made = match secret {
        Some(secret) => endpoints.create_with_secret(spec, secret).await?,
        None => endpoints.create(spec).await?,
    };
    let secret = endpoints.secret(made.id)?.verifying();
    Ok((StatusCode::CREATED, Json(WebhookOut { secret: Some(secret), ..shown(&made) })))
}

/// Shows a webhook.
#[utoipa::path(
    get, path = "/webhooks/{webhook_id}", operation_id = "webhooks.get", tag = "Simple",
    responses((status = 200, body = WebhookOut))
)]
pub(super) async fn read(
    State(api): State<Api>,
    organisation: InOrganisation,
    Path(id): Path<String>,
) -> Result<Json<WebhookOut>, ApiError> {
    Ok(Json(shown(&*of(&api, organisation).get(id.as_str())?)))
}

/// Changes a webhook.
#[utoipa::path(
    patch, path = "/webhooks/{webhook_id}", operation_id = "webhooks.patch", tag = "Simple",
    request_body = WebhookPatch, responses((status = 200, body = WebhookOut))
)]
pub(super) async fn change(
    State(api): State<Api>,
    organisation: InOrganisation,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<WebhookOut>, ApiError> {
    let WebhookPatch { url, events, active } = body.read()?;
    let change = |draft: &mut EndpointDraft| {
        if let Some(url) = &url {
            draft.spec.url = meant(url, &draft.spec.url).to_owned();
        }
        if let Some(events) = &events {
            draft.spec.event_types.clone_from(events);
        }
        if let Some(active) = active {
            draft.status = endpoints::status_of(!active, draft.status);
        }
    };
    Ok(Json(shown(&*of(&api, organisation).edit(id.as_str(), change).await?)))
}

/// Deletes a webhook.
#[utoipa::path(
    delete, path = "/webhooks/{webhook_id}", operation_id = "webhooks.delete", tag = "Simple",
    responses((status = 204))
)]
pub(super) async fn delete(
    State(api): State<Api>,
    organisation: InOrganisation,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    of(&api, organisation).delete(id.as_str()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Publishes an event to every webhook that wants it.
#[utoipa::path(
    post, path = "/events", operation_id = "events.create", tag = "Simple", request_body = EventIn,
    responses((status = 202, body = EventOut))
)]
pub(super) async fn publish(
    State(api): State<Api>,
    organisation: InOrganisation,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<EventOut>), ApiError> {
    let EventIn { event_type, data, id, key, priority } = body.read()?;
    let mut event = Event::new(event_type, body.bytes.slice_ref(data.get().as_bytes()));
    event.priority = priority.map(Into::into).unwrap_or_default();
    if let Some(id) = id {
        event = event.uid(id);
    }
    if let Some(key) = key {
        event = event.ordering_key(key);
    }
    if let Some(key) = idempotency_key(&headers)? {
        event = event.idempotency_key(key);
    }
    prepared(&api, organisation).await?;
    let receipt = api.engine.organisation(organisation.0).publish(IdOr::Uid(Uid::from(DEFAULT)), event).await?;
    Ok((StatusCode::ACCEPTED, Json(EventOut { id: receipt.event.to_string(), webhooks: receipt.deliveries })))
}

/// The application is there after this.
async fn prepared(api: &Api, InOrganisation(organisation): InOrganisation) -> Result<(), ApiError> {
    let applications = api.engine.organisation(organisation).applications();
    if applications.get(IdOr::Uid(Uid::from(DEFAULT))).is_err() {
        applications.upsert(DEFAULT, ApplicationSpec::new(DEFAULT)).await?;
    }
    Ok(())
}

fn of(api: &Api, InOrganisation(organisation): InOrganisation) -> Endpoints<'_> {
    api.engine.organisation(organisation).endpoints(IdOr::Uid(Uid::from(DEFAULT)))
}

fn shown(endpoint: &Endpoint) -> WebhookOut {
    WebhookOut {
        id: endpoint.id.to_string(),
        url: ShownUrl::of(endpoint).to_string(),
        events: endpoint.spec.event_types.clone(),
        active: endpoint.status == EndpointStatus::Active,
        secret: None,
        created_at: written(endpoint.created_at),
    }
}
