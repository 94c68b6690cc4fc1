//! Says in an answer what of its request was passed over: fields that are not known, which may be slips of the pen.
//!
//! Clients of this protocol send fields of later versions, which must not make a request fail. So the answer carries
//! `Warning` headers and a list, `warnings`; a setting refuses such requests instead.

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    body::{Notes, Unknown},
};

/// The same as a header: 299 is "miscellaneous, persistent"; `-` stands for a host without a name.
const CODE: &str = "299 -";

/// A part of the request that was passed over.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RequestWarning)]
pub(super) struct WarningOut {
    /// `body`, and the way to the part from there.
    loc: Vec<String>,
    msg: String,
    /// The field that was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<&'static str>,
}

impl From<Unknown> for WarningOut {
    fn from(unknown: Unknown) -> Self {
        let msg = unknown.message();
        Self { loc: std::iter::once("body".to_owned()).chain(unknown.path).collect(), msg, nearest: unknown.nearest }
    }
}

/// Adds what was noted while the request was read.
pub(super) async fn add(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let notes = Notes::new(api.refuses_unknown_fields);
    request.extensions_mut().insert(notes.clone());
    let answer = next.run(request).await;
    let warnings: Vec<WarningOut> = notes.take().into_iter().map(Into::into).collect();
    if warnings.is_empty() || !answer.status().is_success() { answer } else { with(answer, &warnings).await }
}

async fn with(mut answer: Response, warnings: &[WarningOut]) -> Response {
    for value in warnings.iter().filter_map(header_of) {
        answer.headers_mut().append(header::WARNING, value);
    }
    let is_json = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !is_json {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    // Our own answers are whole in memory.
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    let list = serde_json::to_string(warnings).unwrap_or_default();
    Response::from_parts(parts, Body::from(joined(bytes, &list)))
}

/// An object with a list beside what it has; what is no object stays as it is.
fn joined(object: Bytes, list: &str) -> Bytes {
    let Some(inside) = object.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")) else { return object };
    let comma = if inside.is_empty() { "" } else { "," };
    [b"{", inside, comma.as_bytes(), b"\"warnings\":", list.as_bytes(), b"}"].concat().into()
}

/// One warning as a header: visible ASCII, of a bounded length.
fn header_of(WarningOut { loc, msg, .. }: &WarningOut) -> Option<HeaderValue> {
    let text: String = format!("{}: {msg}", loc.join(".")).chars().take(256).collect();
    let plain: String = text.chars().map(|char| if matches!(char, ' '..='~') { char } else { '?' }).collect();
    let quoted = plain.replace('\\', "?").replace('"', "'");
    HeaderValue::from_str(&format!("{CODE} \"{quoted}\"")).ok()
}
