//! The document of this API, made of what the handlers say of themselves, and its page for people.
//!
//! A route is a handler with `#[utoipa::path]` and a word in the list in `mod.rs`: its method and path stand in the
//! attribute alone, so that none can be served and not be written about. What all share is added once, in `common.rs`.

mod bounds;
mod common;
mod forms;
mod queries;
mod warned;

use std::{io::Write, sync::LazyLock};

use axum::{
    Router,
    body::Bytes,
    handler::Handler,
    http::{HeaderMap, HeaderValue, Method, header},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use flate2::{Compression, write::GzEncoder};
use utoipa::{Modify, OpenApi, openapi::OpenApi as Document};

pub(super) use self::forms::{
    AnyObject, HeaderChanges, Headers, JsonSchemas, MessagesIn, Name, Seconds, SessionName, SigningSecret,
    any_status_class, no_fields, no_items, tried_status,
};
pub(super) use self::queries::{
    ByChannel, ByClass, ByEndpoint, ByHealth, ByStanding, ByStatus, ByTag, ByTask, ByType, Contents, CountedTime, Died,
    Expunging, GetIfExists, Paging, Period, Sorting, WithArchived,
};
use self::{
    bounds::Bounds,
    common::{Common, operations},
    warned::Warned,
};
use super::{
    Api,
    envelope::LeftAsItIs,
    rights::{Rule, Rules},
};

/// Where all routes lie.
pub(super) const BASE: &str = "/api/v1";
/// Where those lie that need no reading.
pub(super) const SIMPLE_BASE: &str = "/api";

const PAGE: &str = include_str!("docs.html");

/// The document as it is served. Nothing in it depends on the engine, so that it is made once.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    let written = Routes::document([(BASE, super::routes()), (SIMPLE_BASE, super::simple_routes())]);
    serde_json::to_vec(&written).expect("it is made of strings and numbers").into()
});

/// The same, packed once: it is asked for again and again, by whoever likes and without a token.
static PACKED: LazyLock<Bytes> = LazyLock::new(|| packed(&DOCUMENT));

static PACKED_PAGE: LazyLock<Bytes> = LazyLock::new(|| packed(PAGE.as_bytes()));

fn packed(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("memory takes what is written").into()
}

/// What is written over all operations; they come from the routes.
#[derive(OpenApi)]
#[openapi(
    info(title = "Postrider", description = "Delivers events to HTTP endpoints, and shows what became of them."),
    tags(
        (name = "Simple", description = "Webhooks and events, and nothing to read first."),
        (name = "Application", description = "Whose endpoints and messages are kept apart from those of others."),
        (name = "Endpoint", description = "Where messages go, how, and what holds them."),
        (name = "Message", description = "What is published."),
        (name = "Message Attempt", description = "What was sent, what came back, and what is still to be sent."),
        (name = "Dead Letter", description = "What was given up: put back, or forgotten."),
        (name = "Background Task", description = "Long-running work on many messages."),
        (name = "Statistics", description = "How much an organisation uses."),
        (name = "Event Type", description = "What an organisation publishes, described for those who receive it."),
        (name = "Environment", description = "All that an organisation describes, taken to another one."),
        (name = "Operational Webhook", description = "Where operators hear what becomes of endpoints and deliveries."),
        (name = "Authentication", description = "Tokens for an application's own people."),
        (name = "Health", description = "For load balancers."),
        (name = "Document", description = "For whoever writes a client."),
    ),
    security(("HTTPBearer" = [])),
)]
struct Cover;

/// Routes, each with what is written about it.
#[derive(Default)]
pub(super) struct Routes {
    router: Router<Api>,
    written: Document,
    rules: Rules,
}

/// Routes by their handlers, each with what it asks of a token: `routes! { module: handler RULE, handler RULE; }`.
macro_rules! routes {
    ($($module:ident: $($handler:ident $rule:ident),+;)+) => {
        $crate::api::openapi::Routes::default()$($(.and(
            {
                #[derive(utoipa::OpenApi)]
                #[openapi(paths($module::$handler))]
                struct Written;
                <Written as utoipa::OpenApi>::openapi()
            },
            $module::$handler,
            $rule,
        ))+)+
    };
}
pub(super) use routes;

impl Routes {
    /// With `handler` at the method and path that are `written` of it.
    pub(super) fn and<H: Handler<T, Api>, T: 'static>(mut self, mut written: Document, handler: H, rule: Rule) -> Self {
        debug_assert!(!self.contradicts(&written), "one name for two schemas: {:?}", written.paths.paths.keys());
        for (path, item) in &mut written.paths.paths {
            for (method, _) in operations(item) {
                self.router = self.router.route(path, on(method, handler.clone()));
                self.rules.add(path.clone(), named(method), rule);
            }
        }
        self.written.merge(written);
        self
    }

    pub(super) fn into_router(self) -> Router<Api> {
        self.router
    }

    pub(super) fn rules(self) -> Rules {
        self.rules
    }

    /// All that is written of these, each under its base, with what is the same everywhere.
    pub(super) fn document(parts: impl IntoIterator<Item = (&'static str, Self)>) -> Document {
        let nested = |document: Document, (base, routes): (&str, Self)| document.nest(base, routes.written);
        let mut document = parts.into_iter().fold(Cover::openapi(), nested);
        Common.modify(&mut document);
        Warned.modify(&mut document);
        Bounds.modify(&mut document);
        document
    }

    /// Whether a schema of `written` has the name of another one, and would be lost.
    fn contradicts(&self, written: &Document) -> bool {
        let (Some(known), Some(new)) = (&self.written.components, &written.components) else { return false };
        new.schemas.iter().any(|(name, schema)| known.schemas.get(name).is_some_and(|known| known != schema))
    }
}

/// One of those that [`operations`] finds.
fn named(method: MethodFilter) -> Method {
    let all = [
        (MethodFilter::POST, Method::POST),
        (MethodFilter::PUT, Method::PUT),
        (MethodFilter::PATCH, Method::PATCH),
        (MethodFilter::DELETE, Method::DELETE),
    ];
    all.into_iter().find(|(filter, _)| *filter == method).map_or(Method::GET, |(_, method)| method)
}

/// The document, as it is served.
pub(super) fn written() -> Bytes {
    DOCUMENT.clone()
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "v1.openapi.get", tag = "Document", security(()),
    responses((status = 200, body = AnyObject))
)]
pub(super) async fn document(headers: HeaderMap) -> Response {
    let mut answer = made_once(&headers, "application/json", written(), &PACKED);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// As it is, or packed before: packing it for each who asks would take more memory than the answer has bytes, for as long as
/// its client likes.
fn made_once(headers: &HeaderMap, kind: &'static str, plain: Bytes, packed: &LazyLock<Bytes>) -> Response {
    let kind = (header::CONTENT_TYPE, kind);
    let mut answer = if takes_gzip(headers) {
        let packed = Bytes::clone(packed);
        ([kind, (header::CONTENT_ENCODING, "gzip"), (header::VARY, "accept-encoding")], packed).into_response()
    } else {
        ([kind, (header::VARY, "accept-encoding")], plain).into_response()
    };
    answer.extensions_mut().insert(LeftAsItIs);
    answer
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let said = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    said.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        is_gzip && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// The document for people.
pub(super) async fn page(headers: HeaderMap) -> Response {
    made_once(&headers, "text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes()), &PACKED_PAGE)
}
