//! Operational webhooks: endpoints at which operators of an organisation hear what becomes of its endpoints and
//! deliveries. They are endpoints as all others, of an application that belongs to the operators.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postrider::{EndpointId, Endpoints, Order, ReadError};

use super::{
    Api,
    auth::InOrganisation,
    body::Body,
    endpoints::{self, EndpointIn, EndpointOut},
    error::ApiError,
    headers::{self, HeadersIn, HeadersOut},
    openapi::{Paging, Sorting},
    page::List,
    query::Params,
    secrets::{self, RotateIn, SecretOut},
};

/// Lists the endpoints of an organisation's operators.
#[utoipa::path(
    get, path = "/operational-webhook/endpoint", operation_id = "v1.operational-webhook.endpoint.list",
    tag = "Operational Webhook", params(Paging, Sorting), responses((status = 200, body = List<EndpointOut>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    organisation: InOrganisation,
    params: Params,
) -> Result<Json<List<EndpointOut>>, ApiError> {
    let request = params.by_id::<EndpointId>(Order::Descending)?;
    let listing = match of(&api, organisation).list(&request) {
        // Nobody has asked for any yet.
        Err(ReadError::NotFound) => Default::default(),
        listing => listing?,
    };
    Ok(Json(List::by_id(listing, |endpoint| endpoint.id, |endpoint| endpoints::shown(&endpoint))))
}

/// Makes an endpoint for operators.
///
/// `eventTypes` may name `endpoint.disabled`, `message.attempt.exhausted` and so on; without it all are told.
#[utoipa::path(
    post, path = "/operational-webhook/endpoint", operation_id = "v1.operational-webhook.endpoint.create",
    tag = "Operational Webhook", request_body = EndpointIn, responses((status = 201, body = EndpointOut))
)]
pub(super) async fn create(
    State(api): State<Api>,
    organisation: InOrganisation,
    body: Body,
) -> Result<(StatusCode, Json<EndpointOut>), ApiError> {
    api.engine.organisation(organisation.0).prepare_operational().await?;
    endpoints::create_in(&of(&api, organisation), body.read()?).await
}

/// Shows an endpoint of operators.
#[utoipa::path(
    get, path = "/operational-webhook/endpoint/{endpoint_id}", operation_id = "v1.operational-webhook.endpoint.get",
    tag = "Operational Webhook", responses((status = 200, body = EndpointOut))
)]
pub(super) async fn read(
    State(api): State<Api>,
    organisation: InOrganisation,
    Path(ep): Path<String>,
) -> Result<Json<EndpointOut>, ApiError> {
    Ok(Json(endpoints::shown(&*of(&api, organisation).get(ep.as_str())?)))
}

/// Replaces an endpoint of operators, or makes it.
#[utoipa::path(
    put, path = "/operational-webhook/endpoint/{endpoint_id}",
    operation_id = "v1.operational-webhook.endpoint.update", tag = "Operational Webhook", request_body = EndpointIn,
    responses((status = 200, body = EndpointOut), (status = 201, body = EndpointOut))
)]
pub(super) async fn replace(
    State(api): State<Api>,
    organisation: InOrganisation,
    Path(ep): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<EndpointOut>), ApiError> {
    api.engine.organisation(organisation.0).prepare_operational().await?;
    endpoints::replace_in(&of(&api, organisation), &ep, body.read()?).await
}

/// Deletes an endpoint of operators.
#[utoipa::path(
    delete, path = "/operational-webhook/endpoint/{endpoint_id}",
    operation_id = "v1.operational-webhook.endpoint.delete", tag = "Operational Webhook", responses((status = 204))
)]
pub(super) async fn delete(
    State(api): State<Api>,
    organisation: InOrganisation,
    Path(ep): Path<String>,
) -> Result<StatusCode, ApiError> {
    of(&api, organisation).delete(ep.as_str()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows what operators verify with.
#[utoipa::path(
    get, path = "/operational-webhook/endpoint/{endpoint_id}/secret",
    operation_id = "v1.operational-webhook.endpoint.get-secret", tag = "Operational Webhook",
    responses((status = 200, body = SecretOut))
)]
pub(super) async fn secret(
    State(api): State<Api>,
    organisation: InOrganisation,
    Path(ep): Path<String>,
) -> Result<Json<SecretOut>, ApiError> {
    Ok(Json(SecretOut { key: of(&api, organisation).secret(ep.as_str())?.verifying() }))
}

/// Gives an endpoint of operators a new secret; the old one signs beside it for a while.
#[utoipa::path(
    post, path = "/operational-webhook/endpoint/{endpoint_id}/secret/rotate",
    operation_id = "v1.operational-webhook.endpoint.rotate-secret", tag = "Operational Webhook",
    request_body = Option<RotateIn>, responses((status = 204))
)]
pub(super) async fn rotate(
    State(api): State<Api>,
    organisation: InOrganisation,
    Path(ep): Path<String>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let Json(_shown_elsewhere) = secrets::rotate_in(&of(&api, organisation), &ep, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows the headers that are sent to an endpoint of operators.
#[utoipa::path(
    get, path = "/operational-webhook/endpoint/{endpoint_id}/headers",
    operation_id = "v1.operational-webhook.endpoint.get-headers", tag = "Operational Webhook",
    responses((status = 200, body = HeadersOut))
)]
pub(super) async fn read_headers(
    State(api): State<Api>,
    organisation: InOrganisation,
    Path(ep): Path<String>,
) -> Result<Json<HeadersOut>, ApiError> {
    Ok(Json(headers::shown(&*of(&api, organisation).get(ep.as_str())?)))
}

/// Replaces the headers that are sent to an endpoint of operators.
#[utoipa::path(
    put, path = "/operational-webhook/endpoint/{endpoint_id}/headers",
    operation_id = "v1.operational-webhook.endpoint.update-headers", tag = "Operational Webhook",
    request_body = HeadersIn, responses((status = 204))
)]
pub(super) async fn replace_headers(
    State(api): State<Api>,
    organisation: InOrganisation,
    Path(ep): Path<String>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    headers::replace_in(&of(&api, organisation), &ep, &body).await
}

fn of(api: &Api, InOrganisation(organisation): InOrganisation) -> Endpoints<'_> {
    api.engine.organisation(organisation).operational_endpoints()
}
