//! What is around every request and answer, whatever its route: an id, what its body may be, gzip, and what browsers may do
//! with the answer.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    extract::Request,
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, Predicate, predicate::SizeAbove},
};
use tracing::{Instrument, debug, info_span};

use super::{GRANT_PATH, error::ApiError, incoming};

/// The id of a request, in the request and in its answer.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// As the SDKs of this protocol send it.
const SDK_REQUEST_ID: HeaderName = HeaderName::from_static("svix-req-id");
/// Longer ids of callers are not repeated.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Shorter answers are not worth the work.
const COMPRESSED_BYTES_MIN: u16 = 1024;

/// On an answer that is not packed, whatever its client takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeftAsItIs;

/// What an answer says to browsers and to what lies between, unless it says so itself: it is for its caller alone, is what it
/// says that it is, and is no part of another page.
const GUARDS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
];

/// Puts the envelope around these routes. Limits of a body count what it holds, not how it was sent; a body of another
/// encoding is left as it is, and refused by whoever reads it.
pub(super) fn around(routes: Router) -> Router {
    let compression = CompressionLayer::new().quality(CompressionLevel::Fastest);
    let may_be_packed =
        |_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions| extensions.get::<LeftAsItIs>().is_none();
    routes
        .layer(middleware::from_fn(incoming::bounded))
        .layer(compression.compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN).and(may_be_packed)))
        .layer(middleware::from_fn(identify))
}

/// Answers with the id that the caller chose, or with a fresh one, and logs under it.
async fn identify(request: Request, next: Next) -> Response {
    let id = chosen(request.headers()).unwrap_or_else(fresh);
    let (method, path) = (request.method(), shown(request.uri().path()));
    let span = info_span!("request", id = id.to_str().unwrap_or_default(), %method, path);
    let answer = async {
        let mut answer = match is_one_path(&request) {
            true => next.run(request).await,
            false => ApiError::not_found().into_response(),
        };
        debug!(status = answer.status().as_u16(), "answered");
        answer.headers_mut().insert(REQUEST_ID, id);
        guarded(answer)
    };
    answer.instrument(span).await
}

/// With what every answer says to browsers.
pub(super) fn guarded(mut answer: Response) -> Response {
    for (name, value) in GUARDS {
        answer.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    answer
}

/// Whether its path has one spelling for what it names: one that begins with two slashes is another server's to some.
fn is_one_path(request: &Request) -> bool {
    !request.uri().path().starts_with("//")
}

/// What a log may hold of a path, which comes without its query: not what opens something.
fn shown(path: &str) -> &str {
    if path.starts_with(GRANT_PATH) { GRANT_PATH } else { path }
}

fn chosen(headers: &HeaderMap) -> Option<HeaderValue> {
    let given = [SDK_REQUEST_ID, REQUEST_ID].iter().find_map(|name| headers.get(name).filter(|id| is_plain(id)))?;
    Some(given.clone())
}

/// Whether it can stand in a log and in a header without doing harm.
fn is_plain(id: &HeaderValue) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// Another than any before: a number of this process, at random, and one of the request.
fn fresh() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    let id = format!("req_{:016x}{:08x}", *PROCESS, REQUESTS.fetch_add(1, Ordering::Relaxed));
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("req_"))
}
