//! A `POST` with an `idempotency-key` is carried out once in 24 hours: sent again it gets the answer of the first one.
//!
//! A key belongs to who sends it, and to the path. Only what was done (2xx) is remembered, so that whatever was refused
//! may be tried again with the same key. Messages are left alone here: their key is stored with them, in one commit. All
//! else has the gap that the engine's `Answers` tells of: a crash between what was done and the keeping of its answer.
//! An answer that shows a secret or a token is stored with it, for as long.

use std::time::Duration;

use axum::{
    body::{self, Body, Bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use postrider::{AnswerError, Claim, IdempotentRequest, KeptAnswer, ReadError, Unanswered};
use tokio::time::timeout;
use tracing::{Instrument, warn};

use super::{Api, auth, body::whole, error::ApiError, message_in::idempotency_key};
use crate::token::{Caller, Grant, Token};

/// How long one waits for another with its key.
const WAIT: Duration = Duration::from_secs(30);
/// What has a durable key of its own, and what may be done again and asks for no token.
const WITH_KEYS_OF_THEIR_OWN: [&str; 4] =
    ["/api/v1/app/{app_id}/msg", "/api/v1/app/{app_id}/msg/batch", "/api/events", "/api/v1/cloud-events/grant/{token}"];

/// In front of every route.
pub(super) async fn once(State(api): State<Api>, path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let is_ours = request.method() == Method::POST && request.headers().contains_key("idempotency-key");
    let path = path.as_ref().map_or("", MatchedPath::as_str);
    if !is_ours || WITH_KEYS_OF_THEIR_OWN.contains(&path) {
        return next.run(request).await;
    }
    answer(api, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(api: Api, request: Request, next: Next) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let token = auth::token(&parts, &api)?;
    let body = whole(Request::from_parts(parts.clone(), body), &api).await?;
    let Some(key) = idempotency_key(&parts.headers)? else {
        return Ok(next.run(Request::from_parts(parts, body.into())).await);
    };
    let subject = subject(&token);
    let name = [subject.as_bytes(), parts.method.as_str().as_bytes(), parts.uri.path().as_bytes(), key.as_bytes()];
    let content = [parts.uri.query().unwrap_or_default().as_bytes(), &body];
    let asked = IdempotentRequest::new(&name, &content);
    let answers = api.engine.organisation(token.caller.organisation()).answers();
    match timeout(WAIT, answers.claim(&asked)).await {
        Ok(Ok(Claim::Answered(kept))) => Ok(again(kept)),
        Ok(Ok(Claim::First(turn))) => {
            let work = carry_out(turn, Request::from_parts(parts, body.into()), next);
            // On its own, so that it comes to its end, and its answer is kept, though the caller has gone.
            tokio::spawn(work.in_current_span()).await.map_err(|_| {
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "The request was not carried out.")
            })
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            let detail = "A request with the same idempotency key is still being carried out. Send it again later.";
            Err(ApiError::conflict(detail))
        }
    }
}

async fn carry_out(turn: Unanswered, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if !response.status().is_success() {
        return response;
    }
    let (parts, body) = response.into_parts();
    // Handlers answer with what is in memory already.
    let body = body::to_bytes(body, usize::MAX).await.unwrap_or_else(|_| Bytes::new());
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let answer =
        KeptAnswer { status: parts.status.as_u16(), content_type: content_type.map(Into::into), body: body.clone() };
    if let Err(error) = turn.keep(&answer).await {
        warn!(error = &error as &dyn std::error::Error, "answer is not kept, and its request may be carried out again");
    }
    Response::from_parts(parts, Body::from(body))
}

/// What was answered to the first one.
fn again(kept: KeptAnswer) -> Response {
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    if let Some(Ok(kind)) = kept.content_type.as_deref().map(HeaderValue::from_str) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// Who sends it, apart from all others.
fn subject(token: &Token) -> String {
    match token.caller {
        Caller::Organisation(organisation) => organisation.to_string(),
        // What one may do and another may not must not be answered to both.
        Caller::Application { application, organisation } => {
            let Grant { access, feature_flags, .. } = &token.grant;
            let flags = if feature_flags.is_empty() { String::new() } else { format!(" {feature_flags:?}") };
            format!("{organisation} {application} {access:?}{flags}")
        }
    }
}

impl From<AnswerError> for ApiError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::OtherRequest => {
                let detail = "The idempotency key was used with another body or query. Choose another key.";
                Self::conflict(detail)
            }
            AnswerError::Read(error) => ReadError::from(error).into(),
            _ => Self::contended(),
        }
    }
}
