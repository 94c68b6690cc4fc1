//! Many messages in one request: each has its own answer, in their order, and all share commits.

use std::{fmt, marker::PhantomData};

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, MatchedPath, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postrider::{Event, PublishError};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{
    Api, applications,
    auth::InApplication,
    body::{Body, Notes, Unknown, kind_of},
    bounded,
    error::{ApiError, RefusedOut},
    message_in::{KEY_CHARS_MAX, MessageIn, idempotency_key},
    messages::{self, MessageOut},
    openapi::{Contents, MessagesIn},
    query::Params,
};

/// Where they are sent.
const PATH: &str = "/api/v1/app/{app_id}/msg/batch";
/// Messages in one request.
const MESSAGES_MAX: usize = 1_000;

/// What became of one of them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = BatchItemOut)]
pub(super) enum BatchedOut {
    Accepted(Box<MessageOut>),
    Refused(RefusedOut),
}

/// A body of lines, or one that is a list: where each message stands in it.
pub(super) struct Many(Vec<Bytes>, Notes);

impl FromRequest<Api> for Many {
    type Rejection = ApiError;

    /// `application/x-ndjson`: a message a line; else a JSON array.
    async fn from_request(mut request: Request, state: &Api) -> Result<Self, ApiError> {
        let is_lines = kind_of(request.headers()).is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-ndjson"));
        if is_lines {
            request.headers_mut().remove(header::CONTENT_TYPE);
        }
        DefaultBodyLimit::max(state.batch_bytes).apply(&mut request);
        // Each message is held to its bounds by itself, and has its own answer.
        request.extensions_mut().remove::<MatchedPath>();
        let body = Body::from_request(request, state).await?;
        let bytes = &body.bytes;
        let parts: Vec<Bytes> = if is_lines {
            let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
            lines.take(MESSAGES_MAX + 1).map(|line| bytes.slice_ref(line)).collect()
        } else {
            let FirstParts(list) = serde_json::from_slice(bytes).map_err(|error| ApiError::json(&error.to_string()))?;
            list.into_iter().map(|part| bytes.slice_ref(part.get().as_bytes())).collect()
        };
        match parts.len() {
            1..=MESSAGES_MAX => Ok(Self(parts, body.notes().clone())),
            0 => Err(ApiError::field("body", "", format!("must hold 1 to {MESSAGES_MAX} messages, not 0"))),
            _ => Err(ApiError::field("body", "", format!("must hold 1 to {MESSAGES_MAX} messages, not more"))),
        }
    }
}

/// The parts of a list as far as they are looked at: one more than there may be.
struct FirstParts<'b>(Vec<&'b RawValue>);

impl<'de: 'b, 'b> Deserialize<'de> for FirstParts<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First<'b>(PhantomData<&'b ()>);

        impl<'de: 'b, 'b> Visitor<'de> for First<'b> {
            type Value = Vec<&'b RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of messages")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
                let mut first = Vec::new();
                while let Some(part) = all.next_element()? {
                    first.push(part);
                    if MESSAGES_MAX < first.len() {
                        // The rest is passed over as it stands.
                        while let Some(IgnoredAny) = all.next_element()? {}
                    }
                }
                Ok(first)
            }
        }

        deserializer.deserialize_seq(First(PhantomData)).map(Self)
    }
}

/// Publishes many messages.
///
/// As a JSON array, or, with the content type `application/x-ndjson`, as one message a line.
/// Stores all that can be stored; each has its own answer, in their order. Where none is accepted, the request fails. With
/// an idempotency key each message has it with its place behind it.
#[utoipa::path(
    post, path = "/app/{app_id}/msg/batch", operation_id = "v1.message.create-many", tag = "Message",
    params(Contents),
    request_body = MessagesIn,
    responses((status = 202, body = Vec<BatchedOut>))
)]
pub(super) async fn create(
    State(api): State<Api>,
    caller: InApplication,
    params: Params,
    headers: HeaderMap,
    Many(parts, notes): Many,
) -> Result<(StatusCode, Json<Vec<BatchedOut>>), ApiError> {
    let with_content = params.flag("with_content", true)?;
    let key = idempotency_key(&headers)?;
    let read = |(place, part): (usize, Bytes)| -> Result<(Event, Vec<Unknown>), ApiError> {
        bounded::item(&Method::POST, PATH, &part)?;
        let body = Body::within(part, notes.of_part());
        let mut asked: MessageIn<'_> = body.read()?;
        applications::beside(asked.application.take())?;
        let event = asked.read(&body.bytes)?;
        let event = match key {
            Some(key) => event.idempotency_key(key_at(key, place)),
            None => event,
        };
        Ok((event, body.notes().take()))
    };
    let asked: Vec<_> = parts.into_iter().enumerate().map(read).collect();
    let events: Vec<Event> = asked.iter().filter_map(|asked| Some(asked.as_ref().ok()?.0.clone())).collect();
    let mut receipts = caller.view(&api).publish_all(caller.application.id, events).await.into_iter();
    let answer = |asked: Result<(Event, Vec<Unknown>), ApiError>| {
        let (event, unknown) = asked?;
        let receipt = receipts.next().unwrap_or(Err(PublishError::Contended))?;
        let warnings = unknown.into_iter().map(Into::into).collect();
        Ok(messages::accepted(&receipt, &event, with_content).with_warnings(warnings))
    };
    let answers: Vec<Result<MessageOut, ApiError>> = asked.into_iter().map(answer).collect();
    if answers.iter().all(Result::is_err) {
        return Err(ApiError::all(answers.into_iter().filter_map(Result::err)));
    }
    let shown = |answer: Result<MessageOut, ApiError>| match answer {
        Ok(message) => BatchedOut::Accepted(Box::new(message)),
        Err(error) => BatchedOut::Refused(error.in_list()),
    };
    Ok((StatusCode::ACCEPTED, Json(answers.into_iter().map(shown).collect())))
}

/// The key of one of them: that of all, and its place. A hash stands for one that would become too long.
fn key_at(key: &str, place: usize) -> String {
    let own = format!("{key}#{place}");
    if own.len() <= KEY_CHARS_MAX { own } else { format!("{}#{place}", URL_SAFE_NO_PAD.encode(Sha256::digest(key))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of a million numbers became a part for each of them, 16 bytes for two of the body, before it was refused.
    #[test]
    fn no_more_parts_are_kept_than_tell_that_there_are_too_many() {
        for (more, kept) in [(0, 1), (999, 1_000), (1_000, 1_001), (100_000, 1_001)] {
            let list = format!("[{}0]", "0,".repeat(more));
            let FirstParts(parts) = serde_json::from_str(&list).expect("it is a list");
            assert_eq!(parts.len(), kept, "{more}");
        }
    }
}
