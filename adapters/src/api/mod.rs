//! The REST API: Svix's routes and shapes over the engine's facade, and nothing else of the engine.
//!
//! One file per resource, in CRUD order. Extractors check tenant and scope, so that a handler cannot forget; one place,
//! `error.rs`, turns what went wrong into an answer.

mod access;
mod applications;
mod attempts;
mod auth;
mod batch;
mod body;
mod dead_letters;
mod deliveries;
mod endpoints;
mod envelope;
mod environment;
mod error;
mod event_type_import;
mod event_types;
mod grants;
mod headers;
mod health;
mod idempotency;
mod message_in;
mod messages;
mod openapi;
mod operational;
mod origin;
mod page;
mod portal;
mod priority;
mod query;
mod request_rate;
mod schema_check;
mod secrets;
mod serve;
mod settings;
mod simple;
mod states;
mod stats;
mod tasks;
mod times;
mod usage;
mod warnings;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use postrider::Engine;
use tower_http::{
    cors::{Any, CorsLayer},
    normalize_path::NormalizePath,
    timeout::RequestBodyTimeoutLayer,
};

use self::{
    error::ApiError,
    openapi::{Routes, routes},
    request_rate::RequestRate,
};
pub use self::{
    grants::GRANT_PATH,
    serve::{Listener, Tls, TlsError, serve},
};
use crate::token::TokenKey;

/// A body that stands still for so long is not waited for.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// How long a browser may remember that it may call: tokens, not origins, say who may.
const CORS_SECONDS: Duration = Duration::from_secs(3600);

/// What every handler may use. Cheap to clone.
#[derive(Clone, Debug)]
struct Api {
    engine: Engine,
    key: Arc<TokenKey>,
    rate: Arc<RequestRate>,
    batch_bytes: usize,
    refuses_unknown_fields: bool,
    public_url: Option<Arc<str>>,
}

/// Every route there is, by its handler: method, path and what is written of it stand there, in `#[utoipa::path]`.
#[expect(deprecated, reason = "clients are to leave some that are served still")]
fn routes() -> Routes {
    routes! {
        applications: list, create, read, replace, change, delete;
        endpoints: list, create, read, replace, change, delete;
        secrets: read, rotate;
        states: pause, resume, state;
        stats: messages, attempts;
        grants: by_link, by_post;
        headers: read, replace, change;
        messages: list, create, precheck, read, send_example, expunge, expunge_several, expunge_all;
        batch: create;
        deliveries: attempted, destinations, read, cancel;
        attempts: of_message, of_endpoint, read, expunge, resend, of_message_before, of_delivery;
        dead_letters: list, redrive_matching, purge, read, redrive, delete;
        tasks: recover, replay_missing, replay, list, read, cancel;
        usage: by_application, by_event_type;
        event_types: list, create, read, replace, change, delete, documentation;
        event_type_import: import;
        environment: export, import;
        operational: list, create, read, replace, delete, secret, rotate, read_headers, replace_headers;
        portal: access, dashboard_access, expire_all;
        health: report, ping;
        openapi: document;
    }
}

/// The same resources for whoever wants to read nothing first.
fn simple_routes() -> Routes {
    routes! { simple: list, create, read, change, delete, publish; }
}

/// Serves `engine` under `/api/v1` to whoever brings a token of `key`.
pub fn router(engine: Engine, key: TokenKey) -> Router {
    limited_router(engine, key, RequestLimits::default())
}

/// How much may be asked, and how it is answered.
#[derive(Clone, Debug)]
pub struct RequestLimits {
    /// Bytes of a body, unpacked; larger ones are refused without being read to their end. A payload takes more of them than
    /// it has: what is around it, and escapes or base64.
    pub body_bytes: usize,
    /// Bytes of a body with many messages.
    pub batch_bytes: usize,
    /// About one application, by its organisation and by its own people together; more are refused, to be sent again. None
    /// is any number.
    pub application_requests_per_second: Option<NonZeroU32>,
    /// Whether a body with a field that is not known is refused. Unless it is, the field is ignored, and the answer has a
    /// warning.
    pub refuse_unknown_fields: bool,
    /// Where the API is reached from outside, for addresses in its answers: `https://hooks.example.com`. Without it, where the
    /// client has called.
    pub public_url: Option<Arc<str>>,
}

impl Default for RequestLimits {
    /// 4 MiB, 32 MiB, any number, unknown fields ignored.
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            batch_bytes: 32 << 20,
            application_requests_per_second: None,
            refuse_unknown_fields: false,
            public_url: None,
        }
    }
}

/// As [`router`], and answers no more than this.
pub fn limited_router(engine: Engine, key: TokenKey, limits: RequestLimits) -> Router {
    let rate = RequestRate::new(limits.application_requests_per_second);
    let api = Api {
        engine,
        key: Arc::new(key),
        rate: Arc::new(rate),
        batch_bytes: limits.batch_bytes,
        refuses_unknown_fields: limits.refuse_unknown_fields,
        public_url: limits.public_url,
    };
    let bounded = |routes: Routes| {
        routes
            .into_router()
            .method_not_allowed_fallback(async || ApiError::method_not_allowed())
            .layer(middleware::from_fn_with_state(api.clone(), warnings::add))
            .layer(middleware::from_fn_with_state(api.clone(), idempotency::once))
            .layer(DefaultBodyLimit::max(limits.body_bytes))
            .layer(RequestBodyTimeoutLayer::new(BODY_WITHIN))
            .with_state(api.clone())
    };
    let cors = CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(Any).max_age(CORS_SECONDS);
    let cors = cors.expose_headers([envelope::REQUEST_ID, header::RETRY_AFTER, header::WARNING]);
    let served = Router::new().nest(openapi::BASE, bounded(routes()));
    let served = served.nest(openapi::SIMPLE_BASE, bounded(simple_routes())).route("/docs", get(openapi::page));
    let served = served.fallback(async || ApiError::not_found()).layer(cors);
    let served = NormalizePath::trim_trailing_slash(served);
    let served = Router::new().fallback_service(served).layer(middleware::from_fn(deletes_what_is_named));
    // Around the whole router: a layer inside would run after the path was matched.
    envelope::around(served)
}

/// A path that ends in a slash may be what a client has made of `…/..`: it deletes nothing.
async fn deletes_what_is_named(request: Request, next: Next) -> Response {
    if request.method() == Method::DELETE && request.uri().path().ends_with('/') {
        let detail = "A path that ends in a slash deletes nothing. Name what is to be deleted at its end.";
        return ApiError::new(StatusCode::NOT_FOUND, "not_found", detail).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests;
