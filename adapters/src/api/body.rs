//! Reads JSON bodies: what is wrong, and where, comes back in words.

mod part;

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    body::Bytes,
    extract::{FromRequest, MatchedPath, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use self::part::Reading;
pub(super) use self::part::Unknown;
use super::{
    bounded,
    error::ApiError,
    incoming::{TooSlow, is_caused_by},
    memory::{self, NoRoom},
};

/// A body is read again after each wrong field, to find the next one, as long as no more than this is read in all.
const READ_AGAIN_BYTES_MAX: usize = 1 << 20;
/// Wrong fields of one answer.
const WRONG_MAX: usize = 64;

/// A body as it came, bounded by the router's limit.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    notes: Notes,
}

/// What is noticed while a request is read, for its answer. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// Whether unknown fields are refused.
    is_strict: bool,
    unknown: Arc<Mutex<Vec<Unknown>>>,
}

impl Notes {
    pub(super) fn new(is_strict: bool) -> Self {
        Self { is_strict, unknown: Arc::default() }
    }

    /// Of a part of the request, as strict as this.
    pub(super) fn of_part(&self) -> Self {
        Self::new(self.is_strict)
    }

    /// What was passed over, once.
    pub(super) fn take(&self) -> Vec<Unknown> {
        std::mem::take(&mut self.unknown.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn add(&self, unknown: Vec<Unknown>) {
        if !unknown.is_empty() {
            self.unknown.lock().unwrap_or_else(PoisonError::into_inner).extend(unknown);
        }
    }
}

impl Body {
    /// A body inside another one.
    pub(super) const fn within(bytes: Bytes, notes: Notes) -> Self {
        Self { bytes, notes }
    }

    pub(super) const fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Whether nothing is asked for, where that will do.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.bytes.trim_ascii(), b"" | b"null")
    }

    /// The body, understood; or every field that is wrong. It may borrow from the body, so that a payload keeps its bytes.
    pub(super) fn read<'b, T: Deserialize<'b>>(&'b self) -> Result<T, ApiError> {
        if self.bytes.trim_ascii().is_empty() {
            return Err(ApiError::json(
                "the body is empty; send a JSON object, which may be {} where nothing is required",
            ));
        }
        let raw: &RawValue = serde_json::from_slice(&self.bytes).map_err(|error| ApiError::json(&error.to_string()))?;
        if !raw.get().starts_with('{') {
            return Err(ApiError::field("body", "", "must be a JSON object"));
        }
        let (mut reading, mut wrong) = (Reading::default(), Vec::new());
        let passes = (READ_AGAIN_BYTES_MAX / raw.get().len().max(1)).clamp(1, WRONG_MAX);
        for _ in 0..passes {
            match reading.of(raw) {
                Ok(read) if wrong.is_empty() => return self.noted(read, reading.unknown()),
                Ok(_) => break,
                Err(error) => {
                    let (found, goes_on) = reading.set_aside(&error);
                    wrong.extend(found);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        Err(ApiError::fields(wrong))
    }

    /// `read`, unless something that is not known must not be passed over.
    fn noted<T>(&self, read: T, unknown: Vec<Unknown>) -> Result<T, ApiError> {
        if self.notes.is_strict && !unknown.is_empty() {
            let wrong = |unknown: Unknown| WrongField { message: unknown.message(), path: unknown.path };
            return Err(ApiError::fields(unknown.into_iter().map(wrong).collect()));
        }
        self.notes.add(unknown);
        Ok(read)
    }
}

/// A field of a body, and what is wrong with it.
#[derive(Debug)]
pub(super) struct WrongField {
    pub(super) path: Vec<String>,
    pub(super) message: String,
}

/// Tells `null` from nothing: `null` clears. With `#[serde(default, deserialize_with = "given")]`.
pub(super) fn given<'d, D: Deserializer<'d>, T: Deserialize<'d>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if kind_of(request.headers()).is_some_and(|kind| !kind.eq_ignore_ascii_case("application/json")) {
            let detail = "Send the body as application/json.";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
        }
        let encoding = request.headers().get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            let detail = "Send the body as it is, or with gzip and `Content-Encoding: gzip`.";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
        }
        let notes = request.extensions().get::<Notes>().cloned().unwrap_or_default();
        let (method, path) = (request.method().clone(), request.extensions().get::<MatchedPath>().cloned());
        let bytes = whole(request, state).await?;
        if let Some(path) = path {
            bounded::body(&method, path.as_str(), &bytes)?;
        }
        Ok(Self { bytes, notes })
    }
}

/// What a body says that it is, without parameters.
pub(super) fn kind_of(headers: &HeaderMap) -> Option<&str> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or_default();
    Some(kind.split(';').next().unwrap_or_default().trim())
}

/// All bytes of a body, within the router's limit.
pub(super) async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    match Bytes::from_request(request, state).await {
        Ok(bytes) => Ok(bytes),
        Err(BytesRejection::FailedToBufferBody(why)) if why.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = "Request payload is too large.";
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail))
        }
        Err(why) if is_caused_by::<NoRoom>(&why) => Err(memory::not_read()),
        Err(why) if is_caused_by::<TooSlow>(&why) => {
            let detail = "The body came too slowly: it is read for 30 seconds, and longer only as it comes.";
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail))
        }
        Err(_) => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "generic_error",
            "The body did not come whole, or is not what its Content-Encoding says.",
        )),
    }
}
