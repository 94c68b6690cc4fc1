//! Reads JSON bodies: what is wrong, and where, comes back in words.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{StatusCode, header},
};
use serde::{Deserialize, Deserializer};

use super::error::ApiError;

/// A body as it came, bounded by the router's limit.
#[derive(Debug)]
pub(super) struct Body(pub(super) Bytes);

impl Body {
    /// The body, understood. Borrows from it, so that a payload keeps its bytes.
    pub(super) fn read<'b, T: Deserialize<'b>>(&'b self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.0).map_err(|error| {
            if error.is_data() {
                ApiError::field("body", "", error.to_string())
            } else {
                ApiError::json(&error.to_string())
            }
        })
    }
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
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| !kind.to_ascii_lowercase().starts_with("application/json")) {
            let detail = "Send the body as application/json.";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
        }
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(BytesRejection::FailedToBufferBody(why)) if why.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                let detail = "Request payload is too large.";
                Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail))
            }
            Err(_) => Err(ApiError::new(StatusCode::BAD_REQUEST, "generic_error", "The body did not come whole.")),
        }
    }
}
