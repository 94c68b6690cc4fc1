//! Applications.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postrider::{
    Application, ApplicationError, ApplicationId, ApplicationSpec, Applications, Order, Rate, ReadError, Uid,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api,
    auth::{InApplication, InOrganisation},
    body::{Body, given},
    error::ApiError,
    message_in::kept,
    openapi::{GetIfExists, Paging, Sorting},
    page::List,
    query::Params,
    schema_check::SchemaCheck,
    settings::{Delivery, rate},
    times::written,
};

/// What is asked of an application.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApplicationIn {
    #[schema(pattern = r"\S", max_length = 4096)]
    name: String,
    #[schema(pattern = r"^(?!app_)[a-zA-Z0-9._-]+$", min_length = 1, max_length = 256)]
    uid: Option<String>,
    /// Attempts per second.
    #[serde(alias = "rateLimit")]
    #[schema(minimum = 1, maximum = 65535)]
    throttle_rate: Option<u32>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// What becomes of payloads that do not match the schema of their type, where the type does not say.
    schema_check: Option<SchemaCheck>,
    /// Hours until payloads are forgotten of messages that say nothing of it, from when they are to be delivered; or when
    /// all others are, if that is sooner. Holds for what is published from now on.
    #[schema(minimum = 1, maximum = 2160)]
    payload_retention_hours: Option<u64>,
    delivery: Option<Delivery>,
}

/// An application as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApplicationOut {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttle_rate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<u32>,
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_check: Option<SchemaCheck>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_retention_hours: Option<u64>,
    /// What its endpoints inherit, as far as it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<Delivery>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// What is to be changed of an application; `null` clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApplicationPatch {
    #[schema(pattern = r"\S", max_length = 4096)]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(pattern = r"^(?!app_)[a-zA-Z0-9._-]+$", min_length = 1, max_length = 256)]
    uid: Option<Option<String>>,
    /// Attempts per second.
    #[serde(default, alias = "rateLimit", deserialize_with = "given")]
    #[schema(minimum = 1, maximum = 65535)]
    throttle_rate: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    metadata: Option<Option<BTreeMap<String, String>>>,
    #[serde(default, deserialize_with = "given")]
    delivery: Option<Option<Delivery>>,
    #[serde(default, deserialize_with = "given")]
    schema_check: Option<Option<SchemaCheck>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(minimum = 1, maximum = 2160)]
    payload_retention_hours: Option<Option<u64>>,
}

/// Lists the applications.
#[utoipa::path(
    get, path = "/app", operation_id = "v1.application.list", tag = "Application", params(Paging, Sorting),
    responses((status = 200, body = List<ApplicationOut>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    params: Params,
) -> Result<Json<List<ApplicationOut>>, ApiError> {
    let request = params.by_id::<ApplicationId>(Order::Ascending)?;
    let listing = api.engine.organisation(organisation).applications().list(&request);
    Ok(Json(List::by_id(listing, |application| application.id, |application| shown(&application))))
}

/// Makes an application.
#[utoipa::path(
    post, path = "/app", operation_id = "v1.application.create", tag = "Application", params(GetIfExists),
    request_body = ApplicationIn,
    responses((status = 200, body = ApplicationOut), (status = 201, body = ApplicationOut))
)]
pub(super) async fn create(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    params: Params,
    body: Body,
) -> Result<(StatusCode, Json<ApplicationOut>), ApiError> {
    // Whether one that exists will do.
    let get_if_exists = params.flag("get_if_exists", false)?;
    let spec = spec(body.read()?)?;
    let (applications, uid) = (api.engine.organisation(organisation).applications(), spec.uid.clone());
    match (applications.create(spec).await, uid) {
        (Err(ApplicationError::UidTaken), Some(uid)) if get_if_exists => {
            Ok((StatusCode::OK, Json(shown(&*applications.get(uid.as_str())?))))
        }
        (made, _) => Ok((StatusCode::CREATED, Json(shown(&*made?)))),
    }
}

/// Shows an application.
#[utoipa::path(
    get, path = "/app/{app_id}", operation_id = "v1.application.get", tag = "Application",
    responses((status = 200, body = ApplicationOut))
)]
pub(super) async fn read(caller: InApplication) -> Json<ApplicationOut> {
    Json(shown(&caller.application))
}

/// Replaces an application, or makes it.
#[utoipa::path(
    put, path = "/app/{app_id}", operation_id = "v1.application.update", tag = "Application",
    request_body = ApplicationIn,
    responses((status = 200, body = ApplicationOut), (status = 201, body = ApplicationOut))
)]
pub(super) async fn replace(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    Path(app): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<ApplicationOut>), ApiError> {
    let spec = spec(body.read()?)?;
    let applications = api.engine.organisation(organisation).applications();
    match applications.update(app.as_str(), |old| *old = spec.clone()).await {
        // An id that nobody has is nobody's uid.
        Err(ApplicationError::NoSuchApplication) if app.parse::<ApplicationId>().is_err() => {
            let uid = Uid::from(app.as_str());
            if spec.uid.as_ref().is_some_and(|given| *given != uid) {
                return Err(ApiError::field("body", "uid", "must be the uid in the path"));
            }
            let mut spec = spec;
            spec.uid = Some(uid);
            let made = applications.create(spec).await?;
            Ok((StatusCode::CREATED, Json(shown(&made))))
        }
        changed => Ok((StatusCode::OK, Json(shown(&*changed?)))),
    }
}

/// Changes parts of an application.
#[utoipa::path(
    patch, path = "/app/{app_id}", operation_id = "v1.application.patch", tag = "Application",
    request_body = ApplicationPatch, responses((status = 200, body = ApplicationOut))
)]
pub(super) async fn change(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    Path(app): Path<String>,
    body: Body,
) -> Result<Json<ApplicationOut>, ApiError> {
    let asked: ApplicationPatch = body.read()?;
    let ApplicationPatch { name, uid, throttle_rate, metadata, delivery, schema_check, payload_retention_hours } =
        asked;
    let payload_kept = payload_retention_hours.map(|hours| kept(None, hours)).transpose()?;
    let throttle_rate = throttle_rate.map(rate).transpose()?;
    let delivery = delivery.map(|given| given.map(Delivery::read).transpose()).transpose()?;
    let change = |spec: &mut ApplicationSpec| {
        if let Some(name) = &name {
            spec.name.clone_from(name);
        }
        if let Some(uid) = &uid {
            spec.uid = uid.as_deref().map(Uid::from);
        }
        if let Some(rate) = throttle_rate {
            spec.rate = rate;
        }
        if let Some(metadata) = &metadata {
            spec.metadata = metadata.clone().unwrap_or_default();
        }
        if let Some(check) = schema_check {
            spec.schema_check = check.map(Into::into);
        }
        if let Some(kept) = payload_kept {
            spec.payload_kept = kept;
        }
        if let Some(delivery) = &delivery {
            spec.delivery = delivery.clone().unwrap_or_default();
        }
    };
    let changed = api.engine.organisation(organisation).applications().update(app.as_str(), change).await?;
    Ok(Json(shown(&changed)))
}

/// Deletes an application with all that belongs to it.
#[utoipa::path(
    delete, path = "/app/{app_id}", operation_id = "v1.application.delete", tag = "Application",
    responses((status = 204))
)]
pub(super) async fn delete(State(api): State<Api>, caller: InApplication) -> Result<StatusCode, ApiError> {
    caller.view(&api).applications().delete(caller.application.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An application that comes with something else, checked whether it is needed or not.
pub(super) fn beside(asked: Option<ApplicationIn>) -> Result<Option<ApplicationSpec>, ApiError> {
    asked.map(spec).transpose().map_err(|wrong| wrong.within("application"))
}

/// The application of this name; the new one, if there is none.
pub(super) async fn found_or_made(
    applications: Applications<'_>,
    name: &str,
    new: Option<ApplicationSpec>,
) -> Result<Arc<Application>, ApiError> {
    let new = match (applications.get(name), new) {
        (Err(ReadError::NotFound), Some(new)) => new,
        (found, _) => return Ok(found?),
    };
    let wrong = |kind, message| Err(ApiError::typed(kind, &["body", "application", "uid"], message));
    match new.uid.as_ref().map(Uid::as_str) {
        Some(uid) if uid == name => {}
        Some(_) => return wrong("application_uid_mismatch", "must be the uid in the path"),
        None => return wrong("application_uid_missing", "must be given, and be the uid in the path"),
    }
    match applications.create(new).await {
        // Somebody else was faster; unless that one is gone again.
        Err(ApplicationError::UidTaken) => applications.get(name).map_err(|_| ApiError::contended()),
        made => Ok(made?),
    }
}

pub(super) fn spec(asked: ApplicationIn) -> Result<ApplicationSpec, ApiError> {
    let mut spec = ApplicationSpec::new(asked.name);
    spec.uid = asked.uid.map(Uid::from);
    spec.rate = rate(asked.throttle_rate)?;
    spec.metadata = asked.metadata;
    spec.schema_check = asked.schema_check.map(Into::into);
    spec.payload_kept = kept(None, asked.payload_retention_hours)?;
    spec.delivery = asked.delivery.map(Delivery::read).transpose()?.unwrap_or_default();
    spec.validate().map_err(ApplicationError::Invalid)?;
    Ok(spec)
}

fn shown(application: &Application) -> ApplicationOut {
    let per_second = application.spec.rate.as_ref().map(Rate::attempts_per_second);
    ApplicationOut {
        id: application.id.to_string(),
        uid: application.spec.uid.as_ref().map(ToString::to_string),
        name: application.spec.name.clone(),
        throttle_rate: per_second,
        rate_limit: per_second,
        metadata: application.spec.metadata.clone(),
        schema_check: application.spec.schema_check.map(Into::into),
        payload_retention_hours: application.spec.payload_kept.map(|kept| kept.as_secs() / 3600),
        delivery: Delivery::asked(&application.spec.delivery),
        created_at: written(application.created_at),
        updated_at: written(application.updated_at),
    }
}
