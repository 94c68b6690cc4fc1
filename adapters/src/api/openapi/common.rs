//! What every operation has, and no handler says: names in its path, the idempotency key, and how it may be refused.

use std::collections::BTreeSet;

use axum::{http::StatusCode, routing::MethodFilter};
use utoipa::{
    Modify, ToSchema,
    openapi::{
        Array, Components, Content, ObjectBuilder, OpenApi, PathItem, Ref, RefOr, Required, ResponseBuilder, Schema,
        Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::api::error::{ErrorOut, UnprocessableOut};

pub(super) struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        let described = "In the `Authorization` header: the token of an organisation, or of one application.";
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(described));
        components.security_schemes.insert("HTTPBearer".to_owned(), SecurityScheme::Http(token.build()));
        explain(components);
        refer(components);
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                complete(operation, path, method == MethodFilter::POST);
                let asks = operation.request_body.is_some();
                refuse(operation, |kind| match kind {
                    Kind::Any => true,
                    Kind::Change => method != MethodFilter::GET,
                    Kind::Body => asks,
                });
            }
        }
    }
}

/// What `item` holds, by method.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = (MethodFilter, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, head, .. } = item;
    let all = [
        (MethodFilter::GET, get),
        (MethodFilter::POST, post),
        (MethodFilter::PUT, put),
        (MethodFilter::PATCH, patch),
        (MethodFilter::DELETE, delete),
        (MethodFilter::HEAD, head),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn complete(operation: &mut Operation, path: &str, is_post: bool) {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let mut parameters: Vec<_> = names.map(named).collect();
    parameters.append(operation.parameters.get_or_insert_default());
    parameters.extend(is_post.then(idempotency_key));
    operation.parameters = Some(parameters).filter(|all| !all.is_empty());
    for (status, answer) in &mut operation.responses.responses {
        if let (RefOr::T(answer), Ok(status)) = (answer, status.parse::<StatusCode>())
            && answer.description.is_empty()
        {
            answer.description = status.canonical_reason().unwrap_or_default().to_owned();
        }
    }
}

/// A name in the path.
fn named(name: &str) -> Parameter {
    let described = match name {
        "app_id" => "Id or uid of the application.".to_owned(),
        "endpoint_id" => "Id or uid of the endpoint.".to_owned(),
        "msg_id" => "Id or eventId of the message.".to_owned(),
        "event_type_name" => "Name of the event type.".to_owned(),
        other => format!("Which {}.", other.trim_end_matches("_id").replace('_', " ")),
    };
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[a-zA-Z0-9._-]+$")).max_length(Some(256));
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
    parameter.description(Some(described)).schema(Some(text)).build()
}

fn idempotency_key() -> Parameter {
    let described = "The same request with the same key is carried out once in 24 hours, and answered as it was the \
                     first time: also if what it made was changed or deleted since.";
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(256));
    let text = text.pattern(Some("^[!-~]([ -~]*[!-~])?$"));
    let parameter = ParameterBuilder::new().name("idempotency-key").parameter_in(ParameterIn::Header);
    parameter.required(Required::False).description(Some(described)).schema(Some(text)).build()
}

/// Which operations may be refused so.
#[derive(Clone, Copy)]
enum Kind {
    Any,
    /// What is not only read.
    Change,
    /// What asks for a body.
    Body,
}

const REFUSALS: [(StatusCode, Kind, &str); 12] = [
    (StatusCode::BAD_REQUEST, Kind::Any, "Not understood, not possible as things stand, or over a limit."),
    (StatusCode::UNAUTHORIZED, Kind::Any, "No token, or none that is good."),
    (StatusCode::FORBIDDEN, Kind::Any, "The token of an application, for what only its organisation may do."),
    (StatusCode::NOT_FOUND, Kind::Any, "There is none, or it is another tenant's."),
    (
        StatusCode::CONFLICT,
        Kind::Change,
        "A name that is taken, or something that has ended or is being changed by others.",
    ),
    (StatusCode::PAYLOAD_TOO_LARGE, Kind::Body, "The body or the payload is too large."),
    (StatusCode::URI_TOO_LONG, Kind::Any, "The path and the query are too long to be read. Without a body."),
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, Kind::Body, "The body is not said to be JSON."),
    (StatusCode::UNPROCESSABLE_ENTITY, Kind::Any, "Fields of the body, the path or the query are wrong."),
    (
        StatusCode::TOO_MANY_REQUESTS,
        Kind::Any,
        "A queue is full, or an application takes more than its share. `Retry-After` says how long to wait.",
    ),
    (
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Kind::Any,
        "The head of the request is too large to be read. Without a body.",
    ),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        Kind::Any,
        "The store is not available. Try again, with the same idempotency key.",
    ),
];

/// `NotFound` for 404.
fn name_of(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().replace(' ', "")
}

fn explain(components: &mut Components) {
    let (error, unprocessable) = (ErrorOut::name(), UnprocessableOut::name());
    let mut schemas = vec![(error.to_string(), <ErrorOut as utoipa::PartialSchema>::schema())];
    schemas.push((unprocessable.to_string(), <UnprocessableOut as utoipa::PartialSchema>::schema()));
    ErrorOut::schemas(&mut schemas);
    UnprocessableOut::schemas(&mut schemas);
    components.schemas.extend(schemas);
    for (status, _, described) in REFUSALS {
        let schema = if status == StatusCode::UNPROCESSABLE_ENTITY { &unprocessable } else { &error };
        let content = Content::new(Some(Ref::from_schema_name(schema.as_ref())));
        let answer = ResponseBuilder::new().description(described);
        // Those come before a request is understood.
        let is_early = [StatusCode::URI_TOO_LONG, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE].contains(&status);
        let answer = if is_early { answer } else { answer.content("application/json", content) };
        components.responses.insert(name_of(status), answer.build().into());
    }
}

/// Lists come with all that an item has written out once more: it has a schema of its own.
fn refer(components: &mut Components) {
    let known: BTreeSet<_> = components.schemas.keys().cloned().collect();
    for (name, schema) in &mut components.schemas {
        if let (Some(item), RefOr::T(Schema::Object(list))) = (name.strip_prefix("List_"), schema)
            && known.contains(item)
        {
            let items = Array::new(Ref::from_schema_name(item));
            list.properties.insert("data".to_owned(), items.into());
        }
    }
}

/// Adds the refusals that can come. What needs no token and takes nothing is not refused.
fn refuse(operation: &mut Operation, comes: impl Fn(Kind) -> bool) {
    let is_open = operation.security.is_some();
    if is_open && operation.parameters.is_none() {
        return;
    }
    let of_token = |status| is_open && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    for (status, _, _) in REFUSALS.into_iter().filter(|(status, kind, _)| comes(*kind) && !of_token(*status)) {
        let answer = Ref::from_response_name(name_of(status));
        operation.responses.responses.entry(status.as_str().to_owned()).or_insert(RefOr::Ref(answer));
    }
}
