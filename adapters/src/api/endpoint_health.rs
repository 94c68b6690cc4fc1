//! How the endpoints of an organisation are doing, the worst first.

use axum::{Json, extract::State};
use postrider::{EndpointHealth, EndpointId, HealthLevel, HealthPlace, HealthQuery, core::ShownUrl};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    auth::InOrganisation,
    error::ApiError,
    openapi::{ByHealth, Paging},
    page::List,
    query::Params,
};

/// The worst first, as the API names and explains them.
const LEVELS: [(HealthLevel, &str, Option<&str>); 6] = [
    (HealthLevel::Disabled, "disabled", Some("it failed for days, or its receiver answered 410; it gets no messages")),
    (HealthLevel::BreakerOpen, "breakerOpen", Some("the last attempts failed; it is probed now and then")),
    (HealthLevel::Unproven, "unverified", Some("its receiver has not proved that it wants messages")),
    (HealthLevel::DisabledByPerson, "disabledByPerson", Some("a person disabled it; it gets no messages")),
    (HealthLevel::Paused, "paused", Some("a person holds it; messages wait")),
    (HealthLevel::Well, "active", None),
];

/// How one endpoint is doing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EndpointHealthOut)]
pub(super) struct HealthOut {
    app_id: String,
    app_uid: Option<String>,
    endpoint_id: String,
    endpoint_uid: Option<String>,
    url: String,
    /// `disabled`, `breakerOpen`, `unverified`, `disabledByPerson`, `paused` or `active`.
    status: &'static str,
    /// What that means, unless it is active.
    reason: Option<&'static str>,
}

/// Lists the endpoints of all applications, the worst first.
///
/// It is told from memory: the breaker of an endpoint to which nothing was to be sent since the start is taken for closed.
#[utoipa::path(
    get, path = "/endpoint-health", operation_id = "v1.endpoint-health.list", tag = "Endpoint",
    params(Paging, ByHealth), responses((status = 200, body = List<HealthOut>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    params: Params,
) -> Result<Json<List<HealthOut>>, ApiError> {
    let level = params.stated("status").map(level).transpose()?;
    let query = HealthQuery { level, page: params.paged(place)? };
    let listing = api.engine.organisation(organisation).endpoint_health(&query).await;
    Ok(Json(List::by_id(listing, |health| place_shown(health.place()), |health| shown(&health))))
}

fn level(name: &str) -> Result<HealthLevel, ApiError> {
    let found = LEVELS.iter().find(|(_, known, _)| *known == name).map(|(level, ..)| *level);
    found.ok_or_else(|| {
        let known: Vec<_> = LEVELS.iter().map(|(_, name, _)| *name).collect();
        ApiError::field("query", "status", format!("must be one of {}", known.join(", ")))
    })
}

/// What an iterator names: `paused.ep_…`.
fn place(text: &str) -> Option<HealthPlace> {
    let (name, endpoint) = text.split_once('.')?;
    Some(HealthPlace { level: level(name).ok()?, endpoint: endpoint.parse::<EndpointId>().ok()? })
}

fn place_shown(place: HealthPlace) -> String {
    format!("{}.{}", in_words(place.level).0, place.endpoint)
}

fn in_words(level: HealthLevel) -> (&'static str, Option<&'static str>) {
    let found = LEVELS.iter().find(|(known, ..)| *known == level);
    found.map_or(("active", None), |(_, name, reason)| (name, *reason))
}

fn shown(EndpointHealth { level, endpoint, application, .. }: &EndpointHealth) -> HealthOut {
    let (status, reason) = in_words(*level);
    HealthOut {
        app_id: application.id.to_string(),
        app_uid: application.spec.uid.as_ref().map(ToString::to_string),
        endpoint_id: endpoint.id.to_string(),
        endpoint_uid: endpoint.spec.uid.as_ref().map(ToString::to_string),
        url: ShownUrl::of(endpoint).to_string(),
        status,
        reason,
    }
}
