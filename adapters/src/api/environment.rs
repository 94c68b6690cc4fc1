//! What an organisation describes, to be taken to another one: from a test environment to the real one, say.

use std::num::NonZeroUsize;

use axum::{Json, extract::State, http::StatusCode};
use postrider::{EventTypeSpecs, EventTypes, ListRequest, Order};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Api, auth,
    auth::InOrganisation,
    body::{Body, WrongField},
    error::{ApiError, told},
    event_types::{self, EventTypeIn, EventTypeOut, WrongPart, field_of},
    openapi::{AnyObject, no_fields, no_items},
    times::written,
};

const VERSION: u32 = 1;

/// An environment as it is taken along.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnvironmentOut {
    version: u32,
    #[schema(format = DateTime)]
    created_at: String,
    event_types: Vec<EventTypeOut>,
    /// There are none.
    #[schema(value_type = Option<AnyObject>)]
    settings: Option<Value>,
    /// There are none.
    #[schema(value_type = Vec<AnyObject>)]
    connectors: Vec<Value>,
}

/// What is to be as it was elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnvironmentIn {
    event_types: Option<Vec<EventTypeIn>>,
    #[schema(schema_with = no_fields)]
    settings: Option<Value>,
    #[schema(schema_with = no_items)]
    connectors: Option<Vec<Value>>,
}

/// Shows all that an organisation describes.
///
/// Endpoints are not among it, and so are no URLs, headers or secrets.
#[utoipa::path(
    post, path = "/environment/export", operation_id = "v1.environment.export", tag = "Environment",
    responses((status = 200, body = EnvironmentOut))
)]
pub(super) async fn export(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
) -> Result<Json<EnvironmentOut>, ApiError> {
    let all = ListRequest::first(Order::Ascending, NonZeroUsize::MAX);
    let listing = api.engine.organisation(organisation).event_types().list(true, &all);
    Ok(Json(EnvironmentOut {
        version: VERSION,
        created_at: written(auth::now()),
        event_types: listing.items.iter().map(|found| event_types::shown(found, true)).collect(),
        settings: None,
        connectors: Vec::new(),
    }))
}

/// Makes what is described here as it is elsewhere.
///
/// Event types that are not named stay as they are. All is looked at before anything is changed, and all is changed at
/// once.
#[utoipa::path(
    post, path = "/environment/import", operation_id = "v1.environment.import", tag = "Environment",
    request_body = EnvironmentIn, responses((status = 204))
)]
pub(super) async fn import(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let EnvironmentIn { event_types, settings, connectors } = body.read()?;
    let is_none = |settings: &Value| settings.is_null() || settings.as_object().is_some_and(|all| all.is_empty());
    if settings.is_some_and(|settings| !is_none(&settings)) {
        return Err(ApiError::field("body", "settings", "nothing here keeps settings; leave them out"));
    }
    if connectors.is_some_and(|connectors| !connectors.is_empty()) {
        return Err(ApiError::field("body", "connectors", "there are no connectors here; leave them out"));
    }
    let specs = specs(event_types.unwrap_or_default()).map_err(ApiError::fields)?;
    api.engine.organisation(organisation).event_types().upsert_all(&specs).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All of them, or what is wrong with each that is.
fn specs(event_types: Vec<EventTypeIn>) -> Result<EventTypeSpecs, Vec<WrongField>> {
    let (mut specs, mut wrong) = (EventTypeSpecs::new(), Vec::new());
    for (index, event_type) in event_types.into_iter().enumerate() {
        let mut tell = |field: &str, message: String| {
            wrong
                .push(WrongField { path: vec!["eventTypes".to_owned(), index.to_string(), field.to_owned()], message });
        };
        let (name, spec) = event_type.read();
        let spec = match spec {
            Ok(spec) => spec,
            Err(WrongPart(field, message)) => {
                tell(field, message.to_owned());
                continue;
            }
        };
        if let Err(fault) = EventTypes::check(&name, &spec) {
            tell(field_of(&fault), told(&fault));
        } else if specs.insert(name.into(), spec).is_some() {
            tell("name", "is named twice".to_owned());
        }
    }
    if wrong.is_empty() { Ok(specs) } else { Err(wrong) }
}
