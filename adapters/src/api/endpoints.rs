//! Endpoints, and what holds them.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postrider::{
    CustomHeader, DeliveryPolicy, DeliverySettings, DisableReason, Endpoint, EndpointDraft, EndpointError, EndpointId,
    EndpointSpec, EndpointStatus, Endpoints, Order, Proof, Rate, Uid,
    core::{ShownUrl, meant},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api,
    auth::InApplication,
    body::{Body, given},
    error::ApiError,
    openapi::{ByStanding, Headers, Name, Paging, SigningSecret, Sorting},
    page::List,
    query::Params,
    secrets,
    settings::{self, Delivery, ProofKind, rate},
    states,
    times::written,
};
use crate::token::Capability;

/// What is asked of an endpoint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointIn {
    #[schema(pattern = "^https?://")]
    url: String,
    #[schema(pattern = r"^(?!ep_)[a-zA-Z0-9._-]+$", min_length = 1, max_length = 256)]
    uid: Option<String>,
    #[serde(default)]
    #[schema(max_length = 4096)]
    description: String,
    #[serde(default)]
    disabled: bool,
    /// What is sent to it; everything if there are none.
    #[serde(alias = "filterTypes")]
    #[schema(value_type = Option<Vec<Name>>, min_items = 1, max_items = 1000)]
    event_types: Option<Vec<Box<str>>>,
    #[schema(value_type = Option<Vec<Name>>, min_items = 1, max_items = 10)]
    channels: Option<Vec<Box<str>>>,
    /// Attempts per second.
    #[serde(alias = "rateLimit")]
    #[schema(minimum = 1, maximum = 65535)]
    throttle_rate: Option<u32>,
    /// `whsec_` or `whsk_` and base64; made if there is none. Only a new endpoint takes it.
    #[schema(value_type = Option<SigningSecret>)]
    secret: Option<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// Sent with every request, beside those of the signature.
    #[schema(value_type = Option<Headers>)]
    headers: Option<BTreeMap<Box<str>, Box<str>>>,
    delivery: Option<Delivery>,
    /// What the receiver must prove before anything is sent to it.
    proof: Option<ProofKind>,
    /// A number of your own: nothing is made of it.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 65535)]
    version: Option<u16>,
}

/// An endpoint as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointOut {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// A password, a user without one, and what a parameter holds whose name promises a secret are shown as `***`. Sent
    /// back as it is shown it stays as it is.
    url: String,
    description: String,
    version: u16,
    disabled: bool,
    event_types: Option<Vec<Box<str>>>,
    filter_types: Option<Vec<Box<str>>>,
    channels: Option<Vec<Box<str>>>,
    throttle_rate: Option<u32>,
    rate_limit: Option<u32>,
    metadata: BTreeMap<String, String>,
    delivery: Delivery,
    proof: ProofKind,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// What is to be changed of an endpoint; `null` clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointPatch {
    #[schema(pattern = "^https?://")]
    url: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(pattern = r"^(?!ep_)[a-zA-Z0-9._-]+$", min_length = 1, max_length = 256)]
    uid: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(max_length = 4096)]
    description: Option<Option<String>>,
    disabled: Option<bool>,
    #[serde(default, alias = "filterTypes", deserialize_with = "given")]
    #[schema(value_type = Option<Vec<Name>>, min_items = 1, max_items = 1000)]
    event_types: Option<Option<Vec<Box<str>>>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<Name>>, min_items = 1, max_items = 10)]
    channels: Option<Option<Vec<Box<str>>>>,
    /// Attempts per second.
    #[serde(default, alias = "rateLimit", deserialize_with = "given")]
    #[schema(minimum = 1, maximum = 65535)]
    throttle_rate: Option<Option<u32>>,
    #[schema(value_type = Option<SigningSecret>)]
    secret: Option<String>,
    #[serde(default, deserialize_with = "given")]
    metadata: Option<Option<BTreeMap<String, String>>>,
    #[serde(default, deserialize_with = "given")]
    delivery: Option<Option<Delivery>>,
    proof: Option<ProofKind>,
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 65535)]
    version: Option<u16>,
}

/// Lists the endpoints of an application.
#[utoipa::path(
    get, path = "/app/{app_id}/endpoint", operation_id = "v1.endpoint.list", tag = "Endpoint",
    params(Paging, Sorting, ByStanding), responses((status = 200, body = List<EndpointOut>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: InApplication,
    params: Params,
) -> Result<Json<List<EndpointOut>>, ApiError> {
    let request = params.by_id::<EndpointId>(Order::Descending)?;
    let wanted = params.stated("status").map(states::standing).transpose()?;
    let is_wanted = |endpoint: &Endpoint| wanted.is_none_or(|wanted| states::in_words(endpoint.status).0 == wanted);
    let listing = caller.view(&api).endpoints(caller.application.id).list_where(&request, is_wanted)?;
    Ok(Json(List::by_id(listing, |endpoint| endpoint.id, |endpoint| shown(&endpoint))))
}

/// Makes an endpoint.
#[utoipa::path(
    post, path = "/app/{app_id}/endpoint", operation_id = "v1.endpoint.create", tag = "Endpoint",
    request_body = EndpointIn, responses((status = 201, body = EndpointOut))
)]
pub(super) async fn create(
    State(api): State<Api>,
    caller: InApplication,
    body: Body,
) -> Result<(StatusCode, Json<EndpointOut>), ApiError> {
    let asked: EndpointIn = body.read()?;
    caller.may_ask_for(&api, asked.event_types.as_deref().unwrap_or_default(), &[])?;
    create_in(&caller.view(&api).endpoints(caller.application.id), asked).await
}

/// Shows an endpoint.
#[utoipa::path(
    get, path = "/app/{app_id}/endpoint/{endpoint_id}", operation_id = "v1.endpoint.get", tag = "Endpoint",
    responses((status = 200, body = EndpointOut))
)]
pub(super) async fn read(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
) -> Result<Json<EndpointOut>, ApiError> {
    Ok(Json(shown(&*caller.view(&api).endpoints(caller.application.id).get(ep.as_str())?)))
}

/// Replaces an endpoint, or makes it.
#[utoipa::path(
    put, path = "/app/{app_id}/endpoint/{endpoint_id}", operation_id = "v1.endpoint.update", tag = "Endpoint",
    request_body = EndpointIn, responses((status = 200, body = EndpointOut), (status = 201, body = EndpointOut))
)]
pub(super) async fn replace(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    body: Body,
) -> Result<(StatusCode, Json<EndpointOut>), ApiError> {
    let asked: EndpointIn = body.read()?;
    let endpoints = caller.view(&api).endpoints(caller.application.id);
    caller.may_ask_for(&api, asked.event_types.as_deref().unwrap_or_default(), &asked_before(&endpoints, &ep))?;
    replace_in(&endpoints, &ep, asked).await
}

/// Changes parts of an endpoint.
#[utoipa::path(
    patch, path = "/app/{app_id}/endpoint/{endpoint_id}", operation_id = "v1.endpoint.patch", tag = "Endpoint",
    request_body = EndpointPatch, responses((status = 200, body = EndpointOut))
)]
pub(super) async fn change(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    body: Body,
) -> Result<Json<EndpointOut>, ApiError> {
    let patch: EndpointPatch = body.read()?;
    if patch.secret.is_some() {
        caller.may(Capability::ManageEndpointSecret)?;
    }
    let new = patch.secret.as_deref().map(|text| secrets::parsed("secret", text)).transpose()?;
    let endpoints = caller.view(&api).endpoints(caller.application.id);
    if let Some(Some(types)) = &patch.event_types {
        caller.may_ask_for(&api, types, &asked_before(&endpoints, &ep))?;
    }
    let change = patch.read()?;
    let mut changed = endpoints.edit(ep.as_str(), change).await?;
    if let Some(new) = new {
        changed =
            endpoints.rotate_secret(changed.id, Some(new), Duration::from_secs(secrets::GRACE_DEFAULT_SECONDS)).await?;
    }
    Ok(Json(shown(&changed)))
}

/// Deletes an endpoint.
#[utoipa::path(
    delete, path = "/app/{app_id}/endpoint/{endpoint_id}", operation_id = "v1.endpoint.delete", tag = "Endpoint",
    responses((status = 204))
)]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.view(&api).endpoints(caller.application.id).delete(ep.as_str()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes an endpoint among these.
pub(super) async fn create_in(
    endpoints: &Endpoints<'_>,
    asked: EndpointIn,
) -> Result<(StatusCode, Json<EndpointOut>), ApiError> {
    let secret = asked.secret.as_deref().map(|text| secrets::parsed("secret", text)).transpose()?;
    let draft = Asked::read(asked)?.made();
    let made = match secret {
        Some(secret) => endpoints.create_with_secret(draft, secret).await?,
        None => endpoints.create(draft).await?,
    };
    Ok((StatusCode::CREATED, Json(shown(&made))))
}

/// Replaces one of these, or makes it.
pub(super) async fn replace_in(
    endpoints: &Endpoints<'_>,
    ep: &str,
    asked: EndpointIn,
) -> Result<(StatusCode, Json<EndpointOut>), ApiError> {
    let secret = asked.secret.as_deref().map(|text| secrets::parsed("secret", text)).transpose()?;
    let asked = Asked::read(asked)?;
    let policy = endpoints.get(ep).ok().map(|found| found.policy.clone());
    match endpoints.edit(ep, |old| *old = asked.over(old, policy.as_ref())).await {
        // An id that nobody has is nobody's uid.
        Err(EndpointError::NoSuchEndpoint) if ep.parse::<EndpointId>().is_err() => {
            let mut draft = asked.made();
            draft.spec.uid = Some(Uid::from(ep));
            let made = match secret {
                Some(secret) => endpoints.create_with_secret(draft, secret).await?,
                None => endpoints.create(draft).await?,
            };
            Ok((StatusCode::CREATED, Json(shown(&made))))
        }
        changed => Ok((StatusCode::OK, Json(shown(&*changed?)))),
    }
}

/// What one of these asks for as it is; it may go on with that.
fn asked_before(endpoints: &Endpoints<'_>, ep: &str) -> Vec<Box<str>> {
    endpoints.get(ep).map_or_else(|_| Vec::new(), |found| found.spec.event_types.clone())
}

/// What is asked of an endpoint as a whole, as far as it is said.
struct Asked {
    spec: EndpointSpec,
    headers: Option<Vec<CustomHeader>>,
    delivery: Option<DeliverySettings>,
    proof: Option<Proof>,
    version: Option<u16>,
    disabled: bool,
}

impl Asked {
    fn read(asked: EndpointIn) -> Result<Self, ApiError> {
        named("eventTypes", asked.event_types.as_deref())?;
        named("channels", asked.channels.as_deref())?;
        let mut spec = EndpointSpec::new(asked.url);
        spec.uid = asked.uid.map(Uid::from);
        spec.description = asked.description;
        spec.event_types = asked.event_types.unwrap_or_default();
        spec.channels = asked.channels.unwrap_or_default();
        spec.rate = rate(asked.throttle_rate)?;
        spec.metadata = asked.metadata;
        let headers = asked.headers.map(super::headers::all).transpose()?;
        let delivery = asked.delivery.map(Delivery::read).transpose()?;
        let (version, proof, disabled) = (asked.version, asked.proof.map(Proof::from), asked.disabled);
        Ok(Self { spec, headers, delivery, proof, version, disabled })
    }

    /// As a new one.
    fn made(&self) -> EndpointDraft {
        let mut spec = self.spec.clone();
        spec.headers = self.headers.clone().unwrap_or_default();
        spec.delivery = self.delivery.clone().unwrap_or_default();
        spec.proof = self.proof.unwrap_or_default();
        spec.version = self.version.unwrap_or(spec.version);
        EndpointDraft { spec, status: status_of(self.disabled, EndpointStatus::Active) }
    }

    /// Over what is there, which was shown with this policy. What a client of Svix does not know is kept if it says nothing
    /// of it; so is a pause.
    fn over(&self, old: &EndpointDraft, policy: Option<&DeliveryPolicy>) -> EndpointDraft {
        let mut spec = self.spec.clone();
        spec.url = meant(&self.spec.url, &old.spec.url).to_owned();
        spec.headers = self.headers.clone().unwrap_or_else(|| old.spec.headers.clone());
        spec.delivery = match (&self.delivery, policy) {
            (Some(delivery), Some(policy)) => settings::replaced(delivery.clone(), &old.spec.delivery, policy),
            (Some(delivery), None) => delivery.clone(),
            (None, _) => old.spec.delivery.clone(),
        };
        spec.proof = self.proof.unwrap_or(old.spec.proof);
        spec.version = self.version.unwrap_or(old.spec.version);
        EndpointDraft { spec, status: status_of(self.disabled, old.status) }
    }
}

/// What `disabled` asks of an endpoint that stands so. A pause is kept; a proof that it still owes is for the engine to ask.
pub(super) const fn status_of(disabled: bool, before: EndpointStatus) -> EndpointStatus {
    if disabled { before.disabled(DisableReason::ByPerson) } else { before.enabled() }
}

impl EndpointPatch {
    /// The change that it asks for.
    fn read(self) -> Result<impl Fn(&mut EndpointDraft), ApiError> {
        let rate = self.throttle_rate.map(rate).transpose()?;
        let delivery = self.delivery.map(|given| given.map(Delivery::read).transpose()).transpose()?;
        named("eventTypes", self.event_types.as_ref().and_then(Option::as_deref))?;
        named("channels", self.channels.as_ref().and_then(Option::as_deref))?;
        let proof = self.proof.map(Proof::from);
        let Self { url, uid, description, disabled, event_types, channels, metadata, version, .. } = self;
        Ok(move |draft: &mut EndpointDraft| {
            let spec = &mut draft.spec;
            if let Some(url) = &url {
                spec.url = meant(url, &spec.url).to_owned();
            }
            set(&mut spec.description, description.clone().map(Option::unwrap_or_default).as_ref());
            set(&mut spec.uid, uid.as_ref().map(|uid| uid.as_deref().map(Uid::from)).as_ref());
            set(&mut spec.event_types, event_types.clone().map(Option::unwrap_or_default).as_ref());
            set(&mut spec.channels, channels.clone().map(Option::unwrap_or_default).as_ref());
            set(&mut spec.metadata, metadata.clone().map(Option::unwrap_or_default).as_ref());
            set(&mut spec.rate, rate.as_ref());
            set(&mut spec.proof, proof.as_ref());
            set(&mut spec.version, version.as_ref());
            set(&mut spec.delivery, delivery.clone().map(Option::unwrap_or_default).as_ref());
            if let Some(disabled) = disabled {
                draft.status = status_of(disabled, draft.status);
            }
        })
    }
}

fn set<T: Clone>(field: &mut T, new: Option<&T>) {
    if let Some(new) = new {
        field.clone_from(new);
    }
}

/// Svix refuses an empty filter, which is meant for none and would be taken for all.
fn named(field: &str, names: Option<&[Box<str>]>) -> Result<(), ApiError> {
    let message = "must name at least one, or be left out for all";
    if names.is_some_and(<[_]>::is_empty) { Err(ApiError::field("body", field, message)) } else { Ok(()) }
}

/// What is left of one that was deleted.
pub(super) fn deleted(id: EndpointId) -> EndpointOut {
    let made_at = written(id.time());
    EndpointOut {
        id: id.to_string(),
        uid: None,
        url: String::new(),
        description: String::new(),
        version: 1,
        disabled: true,
        event_types: None,
        filter_types: None,
        channels: None,
        throttle_rate: None,
        rate_limit: None,
        metadata: BTreeMap::new(),
        delivery: Delivery::shown(&DeliveryPolicy::default()),
        proof: Proof::None.into(),
        created_at: made_at.clone(),
        updated_at: made_at,
    }
}

pub(super) fn shown(endpoint: &Endpoint) -> EndpointOut {
    let spec = &endpoint.spec;
    let per_second = spec.rate.as_ref().map(Rate::attempts_per_second);
    let some = |names: &Vec<Box<str>>| (!names.is_empty()).then(|| names.clone());
    EndpointOut {
        id: endpoint.id.to_string(),
        uid: spec.uid.as_ref().map(ToString::to_string),
        url: ShownUrl::of(endpoint).to_string(),
        description: spec.description.clone(),
        version: spec.version,
        disabled: endpoint.status.is_disabled(),
        event_types: some(&spec.event_types),
        filter_types: some(&spec.event_types),
        channels: some(&spec.channels),
        throttle_rate: per_second,
        rate_limit: per_second,
        metadata: spec.metadata.clone(),
        delivery: Delivery::shown(&endpoint.policy),
        proof: spec.proof.into(),
        created_at: written(endpoint.created_at),
        updated_at: written(endpoint.updated_at),
    }
}
