//! The REST API: Svix's routes and shapes over the engine's facade, and nothing else of the engine.
//!
//! One file per resource, in CRUD order. Extractors check tenant and scope, so that a handler cannot forget; one place,
//! `error.rs`, turns what went wrong into an answer.

mod applications;
mod attempts;
mod auth;
mod batch;
mod body;
mod dead_letters;
mod deliveries;
mod endpoints;
mod error;
mod event_types;
mod headers;
mod health;
mod messages;
mod page;
mod portal;
mod query;
mod serve;
mod settings;
mod tasks;
mod times;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    routing::{get, post},
};
use postrider::Engine;
use tower_http::{
    cors::{Any, CorsLayer},
    normalize_path::NormalizePath,
    timeout::RequestBodyTimeoutLayer,
};

use self::error::ApiError;
pub use self::serve::serve;
use crate::token::TokenKey;

/// Bytes of a request's body: a payload of 2 MiB, written with escapes, and what is around it.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Bytes of a body with many messages.
const BATCH_BYTES_MAX: usize = 32 << 20;
/// A body that stands still for so long is not waited for.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// How long a browser may remember that it may call: tokens, not origins, say who may.
const CORS_SECONDS: Duration = Duration::from_secs(3600);

/// What every handler may use. Cheap to clone.
#[derive(Clone, Debug)]
struct Api {
    engine: Engine,
    key: Arc<TokenKey>,
}

/// Serves `engine` under `/api/v1` to whoever brings a token of `key`.
pub fn router(engine: Engine, key: TokenKey) -> Router {
    let app = Router::new()
        .route("/app", get(applications::list).post(applications::create))
        .route(
            "/app/{app}",
            get(applications::read).put(applications::replace).patch(applications::change).delete(applications::delete),
        )
        .route("/app/{app}/endpoint", get(endpoints::list).post(endpoints::create))
        .route(
            "/app/{app}/endpoint/{ep}",
            get(endpoints::read).put(endpoints::replace).patch(endpoints::change).delete(endpoints::delete),
        )
        .route("/app/{app}/endpoint/{ep}/headers", get(headers::read).put(headers::replace).patch(headers::change))
        .route("/app/{app}/endpoint/{ep}/secret", get(endpoints::secret))
        .route("/app/{app}/endpoint/{ep}/secret/rotate", post(endpoints::rotate))
        .route("/app/{app}/endpoint/{ep}/pause", post(endpoints::pause))
        .route("/app/{app}/endpoint/{ep}/resume", post(endpoints::resume))
        .route("/app/{app}/endpoint/{ep}/state", get(endpoints::state))
        .route("/app/{app}/endpoint/{ep}/msg", get(deliveries::attempted))
        .route("/app/{app}/endpoint/{ep}/recover", post(tasks::recover))
        .route("/app/{app}/endpoint/{ep}/replay-missing", post(tasks::replay_missing))
        .route("/app/{app}/endpoint/{ep}/bulk-replay", post(tasks::replay))
        .route("/app/{app}/endpoint/{ep}/send-example", post(messages::send_example))
        .route("/app/{app}/msg", get(messages::list).post(messages::create))
        .route("/app/{app}/msg/batch", post(batch::create).layer(DefaultBodyLimit::max(BATCH_BYTES_MAX)))
        .route("/app/{app}/msg/precheck/active", post(messages::precheck))
        .route("/app/{app}/msg/{msg}", get(messages::read))
        .route("/app/{app}/msg/{msg}/endpoint", get(deliveries::destinations))
        .route("/app/{app}/msg/{msg}/endpoint/{ep}", get(deliveries::read).delete(deliveries::cancel))
        .route("/app/{app}/msg/{msg}/endpoint/{ep}/resend", post(attempts::resend))
        .route("/app/{app}/msg/{msg}/endpoint/{ep}/attempt", get(attempts::of_delivery))
        .route("/app/{app}/msg/{msg}/attempt", get(attempts::of_message))
        .route("/app/{app}/msg/{msg}/attempt/{att}", get(attempts::read))
        .route("/app/{app}/attempt/msg/{msg}", get(attempts::of_message))
        .route("/app/{app}/attempt/endpoint/{ep}", get(attempts::of_endpoint))
        .route("/app/{app}/dead-letter", get(dead_letters::list))
        .route("/app/{app}/dead-letter/redrive", post(dead_letters::redrive_matching))
        .route("/app/{app}/dead-letter/purge", post(dead_letters::purge))
        .route("/app/{app}/dead-letter/{id}", get(dead_letters::read).delete(dead_letters::delete))
        .route("/app/{app}/dead-letter/{id}/redrive", post(dead_letters::redrive))
        .route("/event-type", get(event_types::list).post(event_types::create))
        .route(
            "/event-type/{name}",
            get(event_types::read).put(event_types::replace).patch(event_types::change).delete(event_types::delete),
        )
        .route("/event-type/{name}/documentation", get(event_types::documentation))
        .route("/background-task", get(tasks::list))
        .route("/background-task/{task}", get(tasks::read))
        .route("/background-task/{task}/cancel", post(tasks::cancel))
        .route("/auth/app-portal-access/{app}", post(portal::access))
        .route("/auth/dashboard-access/{app}", post(portal::access))
        .route("/health", get(health::report))
        .route("/health/ping", get(async || StatusCode::NO_CONTENT))
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(RequestBodyTimeoutLayer::new(BODY_WITHIN))
        .with_state(Api { engine, key: Arc::new(key) });
    let cors = CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(Any).max_age(CORS_SECONDS);
    let served = Router::new().nest("/api/v1", app).fallback(async || ApiError::not_found()).layer(cors);
    // Around the whole router: a layer inside would run after the path was matched.
    Router::new().fallback_service(NormalizePath::trim_trailing_slash(served))
}

#[cfg(test)]
mod tests;
