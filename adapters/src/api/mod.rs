//! The REST API: Svix's routes and shapes over the engine's facade, and nothing else of the engine.
//!
//! One file per resource, in CRUD order. Extractors check tenant and scope, so that a handler cannot forget; one place,
//! `error.rs`, turns what went wrong into an answer.

mod applications;
mod attempts;
mod auth;
mod body;
mod endpoints;
mod error;
mod messages;
mod page;
mod settings;
mod times;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    routing::{get, post},
};
use postrider::Engine;
use tower_http::normalize_path::NormalizePath;

use self::error::ApiError;
use crate::token::TokenKey;

/// Bytes of a request's body: a payload of 2 MiB, written with escapes, and what is around it.
const BODY_BYTES_MAX: usize = 4 << 20;

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
        .route("/app/{app}", get(applications::read).put(applications::replace).delete(applications::delete))
        .route("/app/{app}/endpoint", get(endpoints::list).post(endpoints::create))
        .route("/app/{app}/endpoint/{ep}", get(endpoints::read).put(endpoints::replace).delete(endpoints::delete))
        .route("/app/{app}/endpoint/{ep}/secret", get(endpoints::secret))
        .route("/app/{app}/endpoint/{ep}/secret/rotate", post(endpoints::rotate))
        .route("/app/{app}/endpoint/{ep}/pause", post(endpoints::pause))
        .route("/app/{app}/endpoint/{ep}/resume", post(endpoints::resume))
        .route("/app/{app}/endpoint/{ep}/state", get(endpoints::state))
        .route("/app/{app}/msg", get(messages::list).post(messages::create))
        .route("/app/{app}/msg/{msg}", get(messages::read))
        .route("/app/{app}/msg/{msg}/endpoint/{ep}/resend", post(attempts::resend))
        .route("/app/{app}/attempt/msg/{msg}", get(attempts::of_message))
        .route("/app/{app}/attempt/endpoint/{ep}", get(attempts::of_endpoint))
        .route("/health/ping", get(async || StatusCode::NO_CONTENT))
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Api { engine, key: Arc::new(key) });
    let served = Router::new().nest("/api/v1", app).fallback(async || ApiError::not_found());
    // Around the whole router: a layer inside would run after the path was matched.
    Router::new().fallback_service(NormalizePath::trim_trailing_slash(served))
}

#[cfg(test)]
mod tests;
