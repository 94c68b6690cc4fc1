//! Custom headers of an endpoint. Values of sensitive ones are kept from readers, in whatever case their names are written.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postrider::{CustomHeader, Endpoint, Endpoints};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api,
    auth::InApplication,
    body::Body,
    error::ApiError,
    openapi::{HeaderChanges, Headers},
};

/// Headers as they are shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndpointHeadersOut)]
pub(super) struct HeadersOut {
    headers: BTreeMap<Box<str>, Box<str>>,
    /// Names of those that are not.
    sensitive: Vec<Box<str>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = EndpointHeadersIn)]
pub(super) struct HeadersIn {
    #[schema(value_type = Headers)]
    headers: BTreeMap<Box<str>, Box<str>>,
    /// Names of those whose values stay as they are, as they are shown.
    #[schema(value_type = Option<Vec<String>>, max_items = 50)]
    sensitive: Option<Vec<Box<str>>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EndpointHeadersPatchIn)]
pub(super) struct HeadersPatch {
    #[schema(value_type = HeaderChanges)]
    headers: BTreeMap<Box<str>, Option<Box<str>>>,
    /// Names of those that are taken away, as if they were `null`.
    #[schema(value_type = Option<Vec<String>>)]
    delete_headers: Option<Vec<Box<str>>>,
}

/// Shows the headers that are sent with every request.
#[utoipa::path(
    get, path = "/app/{app_id}/endpoint/{endpoint_id}/headers", operation_id = "v1.endpoint.get-headers",
    tag = "Endpoint", responses((status = 200, body = HeadersOut))
)]
pub(super) async fn read(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
) -> Result<Json<HeadersOut>, ApiError> {
    Ok(Json(shown(&*caller.view(&api).endpoints(caller.application.id).get(ep.as_str())?)))
}

/// Those of an endpoint.
pub(super) fn shown(endpoint: &Endpoint) -> HeadersOut {
    let (hidden, open): (Vec<_>, Vec<_>) = endpoint.spec.headers.iter().cloned().partition(CustomHeader::is_sensitive);
    let headers = open.into_iter().map(|header| (header.name, header.value)).collect();
    HeadersOut { headers, sensitive: hidden.into_iter().map(|header| header.name).collect() }
}

/// Replaces the headers.
#[utoipa::path(
    put, path = "/app/{app_id}/endpoint/{endpoint_id}/headers", operation_id = "v1.endpoint.update-headers",
    tag = "Endpoint", request_body = HeadersIn, responses((status = 204))
)]
pub(super) async fn replace(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    replace_in(&caller.view(&api).endpoints(caller.application.id), &ep, &body).await
}

/// Replaces those of one of these endpoints.
pub(super) async fn replace_in(endpoints: &Endpoints<'_>, ep: &str, body: &Body) -> Result<StatusCode, ApiError> {
    let HeadersIn { headers, sensitive } = body.read()?;
    let (headers, sensitive) = (all(headers)?, sensitive.unwrap_or_default());
    let change = |spec: &mut postrider::EndpointSpec| {
        let named = |name: &str, one: &str| one.eq_ignore_ascii_case(name);
        let stays = |known: &CustomHeader| {
            sensitive.iter().any(|name| named(name, &known.name))
                && !headers.iter().any(|new| named(&new.name, &known.name))
        };
        spec.headers.retain(stays);
        spec.headers.extend(headers.iter().cloned());
    };
    endpoints.update(ep, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes some of the headers.
///
/// `null` takes one away; a name in another case is the same name.
#[utoipa::path(
    patch, path = "/app/{app_id}/endpoint/{endpoint_id}/headers", operation_id = "v1.endpoint.patch-headers",
    tag = "Endpoint", request_body = HeadersPatch, responses((status = 204))
)]
pub(super) async fn change(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let HeadersPatch { mut headers, delete_headers } = body.read()?;
    for name in delete_headers.unwrap_or_default() {
        headers.entry(name).or_insert(None);
    }
    named_once(headers.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| &**name))?;
    let endpoints = caller.view(&api).endpoints(caller.application.id);
    let change = |spec: &mut postrider::EndpointSpec| {
        spec.headers.retain(|known| !headers.keys().any(|name| name.eq_ignore_ascii_case(&known.name)));
        let given = headers.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        spec.headers.extend(given.map(|(name, value)| CustomHeader { name, value }));
    };
    endpoints.update(ep.as_str(), change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The headers of a body. One name in two cases would be sent twice, or once with nobody knowing which.
pub(super) fn all(headers: BTreeMap<Box<str>, Box<str>>) -> Result<Vec<CustomHeader>, ApiError> {
    named_once(headers.keys().map(|name| &**name))?;
    Ok(headers.into_iter().map(|(name, value)| CustomHeader { name, value }).collect())
}

/// In whatever case they are written.
fn named_once<'n>(names: impl Iterator<Item = &'n str>) -> Result<(), ApiError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(ApiError::field("body", "headers", format!("header {name:?} is given twice")));
        }
    }
    Ok(())
}
