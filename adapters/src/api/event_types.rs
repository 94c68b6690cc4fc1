//! Event types: what an organisation publishes, described for those who receive it.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
    sync::Arc,
};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postrider::{
    EventType, EventTypeError, EventTypeSpec, EventTypes, InvalidEventType, Order, ReadError, SchemaVersion,
    core::is_name,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use utoipa::ToSchema;

use super::{
    Api,
    auth::{AnyCaller, InOrganisation, Sight},
    body::{Body, given},
    error::ApiError,
    openapi::{AnyObject, Contents, Expunging, JsonSchemas, Name, Paging, Sorting, WithArchived},
    page::List,
    query::Params,
    schema_check::SchemaCheck,
    times::written,
};

/// Schemas by their version.
pub(super) type Schemas = BTreeMap<String, Box<RawValue>>;

/// What is said of an event type, and its name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventTypeIn {
    #[schema(value_type = Name)]
    name: String,
    #[schema(max_length = 4096)]
    description: String,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    deprecated: bool,
    /// JSON Schemas by their version: `1`, `2` and so on.
    #[schema(value_type = Option<JsonSchemas>)]
    schemas: Option<BTreeMap<String, Value>>,
    /// Tokens of applications see it only if they carry this flag.
    #[schema(value_type = Option<Name>)]
    feature_flag: Option<String>,
    /// In place of `featureFlag`: one at most.
    #[schema(value_type = Option<Vec<Name>>, max_items = 1)]
    feature_flags: Option<Vec<String>>,
    #[schema(value_type = Option<Name>)]
    group_name: Option<String>,
    schema_check: Option<SchemaCheck>,
}

/// What is said of an event type.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventTypeUpdate {
    /// As in the path.
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    #[schema(max_length = 4096)]
    description: String,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    deprecated: bool,
    /// JSON Schemas by their version: `1`, `2` and so on.
    #[schema(value_type = Option<JsonSchemas>)]
    schemas: Option<BTreeMap<String, Value>>,
    /// Tokens of applications see it only if they carry this flag.
    #[schema(value_type = Option<Name>)]
    feature_flag: Option<String>,
    /// In place of `featureFlag`: one at most.
    #[schema(value_type = Option<Vec<Name>>, max_items = 1)]
    feature_flags: Option<Vec<String>>,
    #[schema(value_type = Option<Name>)]
    group_name: Option<String>,
    schema_check: Option<SchemaCheck>,
}

/// What is to be changed of an event type; `null` clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventTypePatch {
    #[schema(max_length = 4096)]
    description: Option<String>,
    archived: Option<bool>,
    deprecated: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<JsonSchemas>)]
    schemas: Option<Option<BTreeMap<String, Value>>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Name>)]
    feature_flag: Option<Option<String>>,
    /// In place of `featureFlag`: one at most.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<Name>>, max_items = 1)]
    feature_flags: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Name>)]
    group_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    schema_check: Option<Option<SchemaCheck>>,
}

/// An event type as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventTypeOut {
    name: Box<str>,
    description: String,
    archived: bool,
    deprecated: bool,
    #[schema(value_type = Option<BTreeMap<String, AnyObject>>)]
    schemas: Option<Schemas>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feature_flag: Option<Box<str>>,
    /// The one there is, for clients that read a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    feature_flags: Option<[Box<str>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_name: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_check: Option<SchemaCheck>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// What whoever writes a receiver has to know of an event type.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventTypeDocumentationOut)]
pub(super) struct DocumentationOut {
    #[serde(flatten)]
    event_type: EventTypeOut,
    example: Value,
    request: SampleRequest,
}

/// A request as the receiver will get it, but for its times, ids and signatures.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SampleRequestOut)]
pub(super) struct SampleRequest {
    method: &'static str,
    headers: BTreeMap<&'static str, &'static str>,
    body: String,
}

/// What can be the name of an event type.
struct TypeName(Box<str>);

impl FromStr for TypeName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if is_name(text) { Ok(Self(text.into())) } else { Err(()) }
    }
}

/// Lists the event types, by name.
#[utoipa::path(
    get, path = "/event-type", operation_id = "v1.event-type.list", tag = "Event Type",
    params(Paging, Sorting, WithArchived, Contents), responses((status = 200, body = List<EventTypeOut>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    AnyCaller { organisation, sight }: AnyCaller,
    params: Params,
) -> Result<Json<List<EventTypeOut>>, ApiError> {
    let with_content = params.flag("with_content", false)?;
    let archived = params.flag("include_archived", false)?;
    let request = params.by_id::<TypeName>(Order::Ascending)?.map(|TypeName(name)| name);
    let is_shown = |found: &EventType| (archived || !found.spec.archived) && sight.shows(found);
    let listing = api.engine.organisation(organisation).event_types().list_where(&request, is_shown);
    Ok(Json(List::by_id(listing, |found| found.name.clone(), |found| shown(&found, with_content))))
}

/// Describes a new event type, or one that was archived.
#[utoipa::path(
    post, path = "/event-type", operation_id = "v1.event-type.create", tag = "Event Type", request_body = EventTypeIn,
    responses((status = 201, body = EventTypeOut))
)]
pub(super) async fn create(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    body: Body,
) -> Result<(StatusCode, Json<EventTypeOut>), ApiError> {
    let (name, spec) = body.read::<EventTypeIn>()?.read();
    let made = api.engine.organisation(organisation).event_types().create(name, spec?).await?;
    Ok((StatusCode::CREATED, Json(shown(&made, true))))
}

/// Shows an event type.
#[utoipa::path(
    get, path = "/event-type/{event_type_name}", operation_id = "v1.event-type.get", tag = "Event Type",
    responses((status = 200, body = EventTypeOut))
)]
pub(super) async fn read(
    State(api): State<Api>,
    AnyCaller { organisation, sight }: AnyCaller,
    Path(name): Path<String>,
) -> Result<Json<EventTypeOut>, ApiError> {
    Ok(Json(shown(&*seen(api.engine.organisation(organisation).event_types(), &sight, &name)?, true)))
}

/// Replaces an event type, or makes it.
#[utoipa::path(
    put, path = "/event-type/{event_type_name}", operation_id = "v1.event-type.update", tag = "Event Type",
    request_body = EventTypeUpdate,
    responses((status = 200, body = EventTypeOut), (status = 201, body = EventTypeOut))
)]
pub(super) async fn replace(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    Path(name): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<EventTypeOut>), ApiError> {
    let asked: EventTypeUpdate = body.read()?;
    if asked.name.as_ref().is_some_and(|given| *given != name) {
        return Err(ApiError::field("body", "name", "must be the name in the path"));
    }
    let spec = asked.read()?;
    let put = api.engine.organisation(organisation).event_types().upsert(name, spec).await?;
    let status = if put.revision == 1 { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(shown(&put, true))))
}

/// Changes parts of an event type.
#[utoipa::path(
    patch, path = "/event-type/{event_type_name}", operation_id = "v1.event-type.patch", tag = "Event Type",
    request_body = EventTypePatch, responses((status = 200, body = EventTypeOut))
)]
pub(super) async fn change(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<EventTypeOut>, ApiError> {
    let patch: EventTypePatch = body.read()?;
    let EventTypePatch { description, archived, deprecated, schemas, group_name, schema_check, .. } = patch;
    let feature_flag = match patch.feature_flags {
        None => patch.feature_flag,
        Some(flags) => Some(one_flag(patch.feature_flag.flatten(), flags)?),
    };
    let schemas = schemas.map(|given| given.map(self::schemas).transpose()).transpose()?;
    let change = |spec: &mut EventTypeSpec| {
        if let Some(description) = &description {
            spec.description.clone_from(description);
        }
        spec.archived = archived.unwrap_or(spec.archived);
        spec.deprecated = deprecated.unwrap_or(spec.deprecated);
        if let Some(schemas) = &schemas {
            spec.has_empty_schemas = schemas.as_ref().is_some_and(BTreeMap::is_empty);
            spec.schemas = schemas.clone().unwrap_or_default();
        }
        if let Some(flag) = &feature_flag {
            spec.feature_flag = flag.as_deref().map(Into::into);
        }
        if let Some(group) = &group_name {
            spec.group = group.as_deref().map(Into::into);
        }
        if let Some(check) = schema_check {
            spec.check = check.map(Into::into);
        }
    };
    let changed = api.engine.organisation(organisation).event_types().update(&name, change).await?;
    Ok(Json(shown(&changed, true)))
}

/// Archives an event type; with `expunge` it is gone for good.
#[utoipa::path(
    delete, path = "/event-type/{event_type_name}", operation_id = "v1.event-type.delete", tag = "Event Type",
    params(Expunging), responses((status = 204))
)]
pub(super) async fn delete(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    Path(name): Path<String>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    let event_types = api.engine.organisation(organisation).event_types();
    if params.flag("expunge", false)? {
        event_types.delete(&name).await?;
    } else {
        event_types.archive(&name).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Shows all that whoever writes a receiver has to know.
#[utoipa::path(
    get, path = "/event-type/{event_type_name}/documentation", operation_id = "v1.event-type.get-documentation",
    tag = "Event Type", responses((status = 200, body = DocumentationOut))
)]
pub(super) async fn documentation(
    State(api): State<Api>,
    AnyCaller { organisation, sight }: AnyCaller,
    Path(name): Path<String>,
) -> Result<Json<DocumentationOut>, ApiError> {
    let event_types = api.engine.organisation(organisation).event_types();
    let event_type = shown(&*seen(event_types, &sight, &name)?, true);
    let example = event_types.examples(&name)?.into_iter().next().map_or_else(|| json!({}), |example| example.payload);
    let request = SampleRequest {
        method: "POST",
        headers: BTreeMap::from([
            ("content-type", "application/json"),
            ("webhook-id", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"),
            ("webhook-timestamp", "1674087231"),
            ("webhook-signature", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
        ]),
        body: example.to_string(),
    };
    Ok(Json(DocumentationOut { event_type, example, request }))
}

/// One of them; one that is hidden from a caller does not exist.
fn seen(event_types: EventTypes<'_>, sight: &Sight, name: &str) -> Result<Arc<EventType>, ReadError> {
    event_types.get(name).and_then(|found| if sight.shows(&found) { Ok(found) } else { Err(ReadError::NotFound) })
}

/// A field, and what is wrong with it.
#[derive(Debug)]
pub(super) struct WrongPart(pub(super) &'static str, pub(super) &'static str);

impl From<WrongPart> for ApiError {
    fn from(WrongPart(field, message): WrongPart) -> Self {
        Self::field("body", field, message)
    }
}

impl EventTypeIn {
    /// Its name, and the rest.
    pub(super) fn read(self) -> (String, Result<EventTypeSpec, WrongPart>) {
        let Self { name, description, archived, deprecated, schemas, feature_flag, feature_flags, .. } = self;
        let (group_name, schema_check) = (self.group_name, self.schema_check);
        let rest = EventTypeUpdate {
            name: None,
            description,
            archived,
            deprecated,
            schemas,
            feature_flag,
            feature_flags,
            group_name,
            schema_check,
        };
        (name, rest.read())
    }
}

impl EventTypeUpdate {
    fn read(self) -> Result<EventTypeSpec, WrongPart> {
        let mut spec = EventTypeSpec::new(self.description);
        (spec.archived, spec.deprecated) = (self.archived, self.deprecated);
        spec.has_empty_schemas = self.schemas.as_ref().is_some_and(BTreeMap::is_empty);
        spec.schemas = self.schemas.map(schemas).transpose()?.unwrap_or_default();
        spec.feature_flag = one_flag(self.feature_flag, self.feature_flags)?.map(Into::into);
        spec.group = self.group_name.map(Into::into);
        spec.check = self.schema_check.map(Into::into);
        Ok(spec)
    }
}

/// The feature flag, in whichever spelling it is given.
fn one_flag(flag: Option<String>, flags: Option<Vec<String>>) -> Result<Option<String>, WrongPart> {
    let flags = flags.into_iter().flatten();
    // What is shown has both.
    let mut all = flags.chain(flag).collect::<BTreeSet<_>>().into_iter();
    match (all.next(), all.next()) {
        (flag, None) => Ok(flag),
        (_, Some(_)) => Err(WrongPart("featureFlags", "an event type has one feature flag at most")),
    }
}

/// Versions as clients write them: numbers, as text, because they are names in JSON.
fn schemas(given: BTreeMap<String, Value>) -> Result<BTreeMap<SchemaVersion, Box<str>>, WrongPart> {
    let read = |(version, schema): (String, Value)| {
        if !schema.is_object() {
            return Err(WrongPart("schemas", "a schema must be an object"));
        }
        let wrong = |_| WrongPart("schemas", "names must be versions: 1, 2 and so on");
        Ok((SchemaVersion(version.parse().map_err(wrong)?), schema.to_string().into()))
    };
    given.into_iter().map(read).collect()
}

/// Its schemas, if it has any.
pub(super) fn schemas_shown(spec: &EventTypeSpec) -> Option<Schemas> {
    // What is stored was checked to be JSON.
    let schema = |version: SchemaVersion, text: &str| {
        Some((version.0.to_string(), RawValue::from_string(text.to_owned()).ok()?))
    };
    let all = || spec.schemas.iter().filter_map(|(version, text)| schema(*version, text)).collect();
    (spec.has_empty_schemas || !spec.schemas.is_empty()).then(all)
}

pub(super) fn shown(event_type: &EventType, with_content: bool) -> EventTypeOut {
    let spec = &event_type.spec;
    let schemas = if with_content { schemas_shown(spec) } else { None };
    EventTypeOut {
        name: event_type.name.clone(),
        description: spec.description.clone(),
        archived: spec.archived,
        deprecated: spec.deprecated,
        schemas,
        feature_flag: spec.feature_flag.clone(),
        feature_flags: spec.feature_flag.clone().map(|flag| [flag]),
        group_name: spec.group.clone(),
        schema_check: spec.check.map(Into::into),
        created_at: written(event_type.created_at),
        updated_at: written(event_type.updated_at),
    }
}

/// The field of the request that a rule is about.
pub(super) const fn field_of(wrong: &InvalidEventType) -> &'static str {
    match wrong {
        InvalidEventType::Name(_) => "name",
        InvalidEventType::Description => "description",
        InvalidEventType::Tag => "featureFlag",
        _ => "schemas",
    }
}

impl From<EventTypeError> for ApiError {
    fn from(error: EventTypeError) -> Self {
        match error {
            EventTypeError::Invalid(wrong) => Self::field("body", field_of(&wrong), super::error::told(&wrong)),
            error @ EventTypeError::InvalidAmong { .. } => Self::field("body", "", super::error::told(&error)),
            EventTypeError::NoSuchEventType => Self::not_found(),
            EventTypeError::NameTaken => {
                Self::new(StatusCode::CONFLICT, "event_type_exists", "An event type with that name already exists")
            }
            error @ EventTypeError::TooManyEventTypes { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "limit_reached", error.to_string())
            }
            EventTypeError::Contended => Self::contended(),
            EventTypeError::Commit(error) => error.into(),
            _ => Self::corrupt(),
        }
    }
}
