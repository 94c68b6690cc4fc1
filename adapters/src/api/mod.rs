//! The REST API: Svix's routes and shapes over the engine's facade, and nothing else of the engine.
//!
//! One file per resource, in CRUD order. Extractors check tenant and scope, so that a handler cannot forget; one place,
//! `error.rs`, turns what went wrong into an answer.

mod applications;
mod attempts;
mod auth;
mod batch;
mod body;
mod bounded;
mod dead_letters;
mod deliveries;
mod each_frame;
mod endpoint_health;
mod endpoints;
mod envelope;
mod environment;
mod error;
mod event_type_import;
mod event_types;
mod grants;
mod head;
mod headers;
mod health;
mod idempotency;
mod incoming;
mod memory;
mod message_in;
mod messages;
mod openapi;
mod operational;
mod origin;
mod page;
mod portal;
mod priority;
mod query;
mod reading;
mod request_rate;
mod rights;
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
    cors::{AllowHeaders, Any, CorsLayer},
    normalize_path::NormalizePath,
};

use self::{
    error::ApiError,
    memory::Memory,
    openapi::{Routes, routes},
    reading::Reading,
    request_rate::RequestRate,
    rights::{Repeats, Rule, Rules},
};
pub use self::{
    grants::GRANT_PATH,
    health::health_router,
    serve::{Listener, Tls, TlsError, serve},
};
use crate::token::TokenKey;

/// How long a browser may remember that it may call: tokens, not origins, say who may.
const CORS_SECONDS: Duration = Duration::from_secs(3600);

/// What every handler may use. Cheap to clone.
#[derive(Clone, Debug)]
struct Api {
    engine: Engine,
    key: Arc<TokenKey>,
    rate: Arc<RequestRate>,
    reading: Reading,
    memory: Memory,
    rules: Arc<Rules>,
    batch_bytes: usize,
    refuses_unknown_fields: bool,
    public_url: Option<Arc<str>>,
}

/// Every route there is, by its handler, and what it asks of a token: method, path and what is written of it stand with the
/// handler, in `#[utoipa::path]`.
#[expect(deprecated, reason = "clients are to leave some that are served still")]
fn routes() -> Routes {
    const OPEN: Rule = Rule::OPEN;
    const ORGANISATION: Rule = Rule::ORGANISATION;
    const ABOUT_APPLICATION: Rule = Rule::ABOUT_APPLICATION;
    const PUBLISH: Rule = Rule::ABOUT_APPLICATION.repeats(Repeats::OfItself);
    const TOKEN: Rule = Rule::ORGANISATION.repeats(Repeats::Anew);
    const ROTATE: Rule = Rule::MANAGE_SECRET.repeats(Repeats::Anew);
    const ANY: Rule = Rule::ANY;
    const VIEW: Rule = Rule::VIEW;
    const READ: Rule = Rule::VIEW.reads();
    const VIEW_SECRET: Rule = Rule::VIEW_SECRET;
    const MANAGE: Rule = Rule::MANAGE;
    const ATTEMPT: Rule = Rule::ATTEMPT;
    routes! {
        applications: list ORGANISATION, create ORGANISATION, read VIEW, replace ORGANISATION, change ORGANISATION,
            delete ABOUT_APPLICATION;
        endpoint_health: list ORGANISATION;
        endpoints: list VIEW, create MANAGE, read VIEW, replace MANAGE, change MANAGE, delete MANAGE;
        secrets: read VIEW_SECRET, rotate ROTATE;
        states: pause MANAGE, resume MANAGE, state VIEW;
        stats: messages READ, attempts READ;
        grants: by_link OPEN, by_post OPEN;
        headers: read VIEW, replace MANAGE, change MANAGE;
        messages: list READ, create PUBLISH, precheck VIEW, read VIEW, send_example ABOUT_APPLICATION,
            expunge ABOUT_APPLICATION, expunge_several ABOUT_APPLICATION, expunge_all ABOUT_APPLICATION;
        batch: create PUBLISH;
        deliveries: attempted READ, destinations READ, read VIEW, cancel MANAGE;
        attempts: of_message READ, of_endpoint READ, read READ, expunge ABOUT_APPLICATION, resend ATTEMPT,
            of_message_before READ, of_delivery READ;
        dead_letters: list READ, redrive_matching ATTEMPT, purge MANAGE, read VIEW, redrive ATTEMPT, delete MANAGE;
        tasks: recover ATTEMPT, replay_missing ATTEMPT, replay ATTEMPT, list ORGANISATION, read ORGANISATION,
            cancel ORGANISATION;
        usage: by_application ORGANISATION, by_event_type ORGANISATION;
        event_types: list ANY, create ORGANISATION, read ANY, replace ORGANISATION, change ORGANISATION,
            delete ORGANISATION, documentation ANY;
        event_type_import: import ORGANISATION;
        environment: export ORGANISATION, import ORGANISATION;
        operational: list ORGANISATION, create ORGANISATION, read ORGANISATION, replace ORGANISATION,
            delete ORGANISATION, secret ORGANISATION, rotate ORGANISATION, read_headers ORGANISATION,
            replace_headers ORGANISATION;
        portal: access TOKEN, dashboard_access TOKEN, expire_all ORGANISATION, expire_organisation ORGANISATION;
        health: report OPEN, ping OPEN;
        openapi: document OPEN;
    }
}

/// The same resources for whoever wants to read nothing first.
fn simple_routes() -> Routes {
    const ORGANISATION: Rule = Rule::ORGANISATION;
    const MADE: Rule = Rule::ORGANISATION.repeats(Repeats::AnsweredWithout("secret"));
    const PUBLISH: Rule = Rule::ORGANISATION.repeats(Repeats::OfItself);
    routes! {
        simple: list ORGANISATION, create MADE, read ORGANISATION, change ORGANISATION, delete ORGANISATION,
            publish PUBLISH;
    }
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
    /// Bytes of bodies that are read and worked on at once, and as many of answers that wait for their clients. An
    /// organisation has half of them at most, and an application a third; beyond them requests are refused, to be sent again.
    pub memory_bytes: usize,
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
    /// 4 MiB, 32 MiB, 512 MiB, any number, unknown fields ignored.
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            batch_bytes: 32 << 20,
            memory_bytes: 512 << 20,
            application_requests_per_second: None,
            refuse_unknown_fields: false,
            public_url: None,
        }
    }
}

/// As [`router`], and answers no more than this.
pub fn limited_router(engine: Engine, key: TokenKey, limits: RequestLimits) -> Router {
    let rate = RequestRate::new(limits.application_requests_per_second);
    let rules = Rules::default().under(openapi::BASE, routes().rules());
    let rules = Arc::new(rules.under(openapi::SIMPLE_BASE, simple_routes().rules()));
    let api = Api {
        engine,
        key: Arc::new(key),
        rate: Arc::new(rate),
        reading: Reading::new(),
        memory: Memory::new(limits.memory_bytes),
        rules,
        batch_bytes: limits.batch_bytes,
        refuses_unknown_fields: limits.refuse_unknown_fields,
        public_url: limits.public_url,
    };
    let bounded = |routes: Routes| {
        routes
            .into_router()
            .method_not_allowed_fallback(async || ApiError::method_not_allowed())
            .layer(middleware::from_fn_with_state(api.clone(), warnings::add))
            .layer(middleware::from_fn_with_state(api.clone(), auth::guard))
            .layer(DefaultBodyLimit::max(limits.body_bytes))
            .with_state(api.clone())
    };
    let cors = CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(AllowHeaders::mirror_request());
    let cors = cors.max_age(CORS_SECONDS);
    let cors = cors.expose_headers([envelope::REQUEST_ID, header::RETRY_AFTER, header::WARNING]);
    let served = Router::new().nest(openapi::BASE, bounded(routes()));
    let served = served.nest(openapi::SIMPLE_BASE, bounded(simple_routes())).route("/docs", get(openapi::page));
    let served = served.fallback(async || ApiError::not_found());
    let served = served.layer(middleware::from_fn(head::bounded)).layer(cors);
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
