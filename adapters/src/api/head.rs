//! Refuses a request whose head is too large, with all that other answers have. The server below refuses larger ones still,
//! before it knows what is asked: those answers have no header for browsers, which then cannot tell their pages why.

use axum::{
    extract::Request,
    http::{StatusCode, Uri},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Bytes of a path with its query. The server below reads up to 65,534.
const PATH_BYTES_MAX: usize = 60 << 10;
/// Fields of a head. The server below reads twice as many.
pub(super) const FIELDS_MAX: usize = 100;
/// Bytes of their names and values.
const FIELDS_BYTES_MAX: usize = 64 << 10;

pub(super) async fn bounded(request: Request, next: Next) -> Response {
    match refused(&request) {
        Some(status) => status.into_response(),
        None => next.run(request).await,
    }
}

fn refused(request: &Request) -> Option<StatusCode> {
    let headers = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if path_bytes(request.uri()) > PATH_BYTES_MAX {
        Some(StatusCode::URI_TOO_LONG)
    } else if headers.len() > FIELDS_MAX || bytes > FIELDS_BYTES_MAX {
        Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
    } else {
        None
    }
}

fn path_bytes(uri: &Uri) -> usize {
    uri.path_and_query().map_or(0, |asked| asked.as_str().len())
}
