//! An attempt's row: what was called and what it amounted to; what came back is the rest of the value.

use std::time::Duration;

use postrider_core::{Attempt, AttemptId, AttemptNumber, EventId, Outcome, ShownUrl, Then, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    Responses, StoreError,
    kv::codec::{decode_with_more, encode_with, encode_with_more},
};

/// An attempt without its response, which is the rest of the value.
#[derive(Serialize, Deserialize)]
pub(in crate::kv) struct AttemptRow<O> {
    event: EventId,
    pub(in crate::kv) id: AttemptId,
    pub(in crate::kv) started: Timestamp,
    took: Duration,
    pub(in crate::kv) outcome: O,
    pub(in crate::kv) then: Then,
}

/// What rows of earlier formats do not have.
#[derive(Default, Serialize, Deserialize)]
struct AttemptMore<'v> {
    /// What was called, its secrets masked.
    url: &'v str,
}

/// Appends the value of an attempt's row.
pub(in crate::kv) fn encode_attempt(event: EventId, attempt: &Attempt, out: &mut Vec<u8>) {
    let Attempt { id, number: _, url, started, took, outcome, response, then } = attempt;
    let row = AttemptRow { event, id: *id, started: *started, took: *took, outcome, then: *then };
    if url.is_empty() {
        encode_with(&row, response, out);
    } else {
        encode_with_more(&row, &AttemptMore { url: url.as_str() }, response, out);
    }
}

/// An attempt's row, and its event.
pub(in crate::kv) fn decode_attempt(
    number: AttemptNumber,
    value: &[u8],
    responses: Responses,
) -> Result<(Attempt, EventId), StoreError> {
    let (row, more, response) = decode_with_more::<AttemptRow<Outcome>, AttemptMore<'_>>(value)?;
    let AttemptRow { event, id, started, took, outcome, then } = row;
    let response = match responses {
        Responses::Read => response.into(),
        Responses::LeftOut => Box::default(),
    };
    Ok((Attempt { id, number, url: ShownUrl::stored(more.url), started, took, outcome, response, then }, event))
}

/// An attempt's row alone.
pub(in crate::kv) fn attempt_row(value: &[u8]) -> Result<AttemptRow<Outcome>, StoreError> {
    Ok(decode_with_more::<_, AttemptMore<'_>>(value)?.0)
}
