//! A `POST` with an `idempotency-key` is carried out once in 24 hours: sent again it gets the answer of the first one.
//!
//! The answer says what was done then: what it names may have been changed or deleted since, and is not made again. A client
//! that wants another one chooses another key.
//!
//! A key belongs to who sends it, and to the path. Only what was done (2xx) is remembered, so that whatever was refused
//! may be tried again with the same key. Messages are left alone here: their key is stored with them, in one commit. All
//! else has the gap that the engine's `Answers` tells of: a crash between what was done and the keeping of its answer.
//! An answer that is a secret or a token is not kept: it would outlive the moment at which it stops to be good. It is made
//! anew for whoever asks again.

use std::{collections::HashMap, time::Duration};

use axum::{
    body::{self, Body, Bytes},
    extract::{FromRequestParts, MatchedPath, Path, Request},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::Response,
};
use postrider::{AnswerError, Claim, IdempotentRequest, KeptAnswer, ReadError, Unanswered};
use serde_json::{Map, Value};
use tokio::time::timeout;
use tracing::{Instrument, warn};

use super::{
    Api,
    body::whole,
    error::ApiError,
    memory::Held,
    message_in::idempotency_key,
    openapi::{BASE, SIMPLE_BASE},
    rights::Repeats,
};
use crate::token::{Caller, Grant, Token};

/// How long one waits for another with its key.
const WAIT: Duration = Duration::from_secs(30);
/// In a request that was carried out before, whose answer is made anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeated;

/// Behind the guard of every route.
pub(super) async fn once(
    api: &Api,
    repeats: Repeats,
    token: &Token,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let is_ours = request.method() == Method::POST && repeats != Repeats::OfItself;
    match idempotency_key(request.headers())?.map(str::to_owned) {
        Some(key) if is_ours => answer(api, repeats, token, &key, request, next).await,
        Some(_) | None => Ok(next.run(request).await),
    }
}

async fn answer(
    api: &Api,
    repeats: Repeats,
    token: &Token,
    key: &str,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let path = path(&mut parts).await;
    let body = whole(Request::from_parts(parts.clone(), body), api).await?;
    let subject = subject(token);
    let name = [subject.as_bytes(), parts.method.as_str().as_bytes(), path.as_bytes(), key.as_bytes()];
    let content = [parts.uri.query().unwrap_or_default().as_bytes(), &body];
    let asked = IdempotentRequest::new(&name, &content);
    let answers = api.engine.organisation(token.caller.organisation()).answers();
    let mut request = Request::from_parts(parts, body.into());
    match timeout(WAIT, answers.claim(&asked)).await {
        Ok(Ok(Claim::Answered(_))) if repeats == Repeats::Anew => {
            request.extensions_mut().insert(Repeated);
            Ok(next.run(request).await)
        }
        Ok(Ok(Claim::Answered(kept))) => Ok(again(kept)),
        Ok(Ok(Claim::First(turn))) => {
            let held = request.extensions().get::<Held>().cloned();
            let work = async move {
                let answer = carry_out(turn, repeats, request, next).await;
                drop(held);
                answer
            };
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

/// The path without its base, and the same for all its spellings.
async fn path(parts: &mut Parts) -> String {
    let Ok(matched) = MatchedPath::from_request_parts(parts, &()).await else { return parts.uri.path().to_owned() };
    let named = Path::<HashMap<String, String>>::from_request_parts(parts, &()).await;
    let names = named.map(|Path(names)| names).unwrap_or_default();
    let matched = matched.as_str();
    let matched = matched.strip_prefix(BASE).or_else(|| matched.strip_prefix(SIMPLE_BASE)).unwrap_or(matched);
    names.iter().fold(matched.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
}

async fn carry_out(turn: Unanswered, repeats: Repeats, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if !response.status().is_success() {
        return response;
    }
    let (parts, body) = response.into_parts();
    // Handlers answer with what is in memory already.
    let body = body::to_bytes(body, usize::MAX).await.unwrap_or_else(|_| Bytes::new());
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kept = match repeats {
        Repeats::Answered | Repeats::OfItself => body.clone(),
        Repeats::AnsweredWithout(field) => without(field, &body),
        Repeats::Anew => Bytes::new(),
    };
    let answer = KeptAnswer { status: parts.status.as_u16(), content_type: content_type.map(Into::into), body: kept };
    if let Err(error) = turn.keep(&answer).await {
        warn!(error = &error as &dyn std::error::Error, "answer is not kept, and its request may be carried out again");
    }
    Response::from_parts(parts, Body::from(body))
}

/// An object without one of its fields.
fn without(field: &str, body: &Bytes) -> Bytes {
    let mut fields: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    fields.remove(field);
    Value::Object(fields).to_string().into()
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
            _ => Self::corrupt(),
        }
    }
}
