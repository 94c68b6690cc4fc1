//! Event types out of an OpenAPI document.

use axum::{Json, extract::State, http::StatusCode};
use postrider::{EventType, ImportError, Others, event_types_of};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Api,
    auth::InOrganisation,
    body::Body,
    error::ApiError,
    event_types::{Schemas, schemas_shown},
    openapi::AnyObject,
};

/// Which document, and what to make of it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EventTypeImportOpenApiIn)]
pub(super) struct ImportIn {
    /// An OpenAPI document.
    #[schema(value_type = Option<AnyObject>)]
    spec: Option<Value>,
    /// In place of `spec`: the document as text, YAML or JSON.
    spec_raw: Option<String>,
    /// Changes nothing, and shows what would change.
    #[serde(default)]
    dry_run: bool,
    /// Event types that the document does not tell of are archived.
    #[serde(default)]
    replace_all: bool,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventTypeImportOpenApiOut)]
pub(super) struct ImportOut {
    data: ChangesOut,
}

/// What changed, or would.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EventTypeImportOpenApiOutData)]
pub(super) struct ChangesOut {
    /// By name; what is so already is not among them.
    modified: Vec<Box<str>>,
    /// How they would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    to_modify: Option<Vec<ChangedOut>>,
}

/// An event type as it would be.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventTypeFromOpenApi)]
pub(super) struct ChangedOut {
    name: Box<str>,
    description: String,
    deprecated: bool,
    archived: bool,
    #[schema(value_type = Option<BTreeMap<String, AnyObject>>)]
    schemas: Option<Schemas>,
}

/// Makes or changes event types by the `webhooks` of an OpenAPI document.
///
/// All of them, or none if anything is wrong. References to other documents are not followed.
#[utoipa::path(
    post, path = "/event-type/import/openapi", operation_id = "v1.event-type.import-openapi", tag = "Event Type",
    request_body = ImportIn, responses((status = 200, body = ImportOut))
)]
pub(super) async fn import(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    body: Body,
) -> Result<Json<ImportOut>, ApiError> {
    let ImportIn { spec, spec_raw, dry_run, replace_all } = body.read()?;
    let read = move || {
        let (field, document) = match (spec, spec_raw) {
            (Some(spec), None) => ("spec", spec),
            (None, Some(text)) => ("specRaw", read(&text)?),
            (Some(_), Some(_)) | (None, None) => {
                let detail = "Give exactly one of spec and specRaw.";
                return Err(ApiError::new(StatusCode::BAD_REQUEST, "generic_error", detail));
            }
        };
        let told = |error: ImportError| ApiError::field("body", field, error.to_string());
        event_types_of(&document).map_err(told)
    };
    let imported = api.engine.organisation(organisation).aside(read).await??;
    let others = if replace_all { Others::Archive } else { Others::Stay };
    let event_types = api.engine.organisation(organisation).event_types();
    let (changed, to_modify) = if dry_run {
        let changed = event_types.plan_import(&imported, others).await?;
        let shown = changed.iter().map(|event_type| shown(event_type)).collect();
        (changed, Some(shown))
    } else {
        (event_types.import(&imported, others).await?, None)
    };
    let modified = changed.iter().map(|event_type| event_type.name.clone()).collect();
    Ok(Json(ImportOut { data: ChangesOut { modified, to_modify } }))
}

/// YAML, of which JSON is a part. Aliases, depth and length are bounded by the reader.
fn read(text: &str) -> Result<Value, ApiError> {
    let wrong = |error: &dyn std::error::Error| {
        ApiError::field("body", "specRaw", format!("is neither YAML nor JSON: {error}"))
    };
    if text.trim_start().starts_with('{')
        && let Ok(document) = serde_json::from_str(text)
    {
        return Ok(document);
    }
    let mut options = serde_saphyr::Options::default();
    // `no` is a country, too: only `true` and `false` are flags.
    (options.strict_booleans, options.with_snippet) = (true, false);
    serde_saphyr::from_str_with_options(text, options).map_err(|error| wrong(&error))
}

fn shown(event_type: &EventType) -> ChangedOut {
    let spec = &event_type.spec;
    ChangedOut {
        name: event_type.name.clone(),
        description: spec.description.clone(),
        deprecated: spec.deprecated,
        archived: spec.archived,
        schemas: schemas_shown(spec),
    }
}
