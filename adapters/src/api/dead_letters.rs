//! Dead letters: what was given up, put back or forgotten, one by one or all that match.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postrider::core::{SplitMix, TaskId};
use postrider::{
    AttemptRecord, DeadLetter, DeadLetterFilter, DeliveryId, GiveUpReason, IdOr, Organisation, ReadError, Seq,
    StoredEvent, Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api,
    attempts::{self, AttemptOut},
    auth::{InApplication, now},
    body::Body,
    deliveries::{self, DeliveryOut},
    error::ApiError,
    messages::{self, MessageOut},
    openapi::{ByEndpoint, ByType, Paging, Period},
    page::List,
    query::Params,
    times::{self, written},
};

/// Matches are counted up to this by a dry run.
const COUNTED_MAX: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(999_999);

/// The longest time range that is recovered at once: 14 days, and five minutes for clocks that differ.
const RECOVERED_MAX: Duration = Duration::from_secs(14 * 24 * 3600 + 300);

/// A dead letter as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadLetterOut {
    id: String,
    msg_id: String,
    endpoint_id: String,
    /// None if the message is gone.
    event_type: Option<Box<str>>,
    /// `exhausted`, `refused`, `expired`, `queueFull`, `poisoned` or `unreadable`.
    reason: &'static str,
    attempts: u32,
    last_status_code: Option<u16>,
    #[schema(format = DateTime)]
    first_attempt_at: Option<String>,
    #[schema(format = DateTime)]
    dead_at: String,
}

/// A dead letter that is looked at alone.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetterWithMessageOut)]
pub(super) struct WholeOut {
    #[serde(flatten)]
    letter: DeadLetterOut,
    message: Option<MessageOut>,
    attempt_list: Vec<AttemptOut>,
}

/// Which dead letters, and whether they are only counted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DeadLetterFilterIn)]
pub(super) struct Matching {
    endpoint_id: Option<String>,
    #[serde(default)]
    event_types: Vec<Box<str>>,
    #[schema(format = DateTime)]
    before: Option<String>,
    #[schema(format = DateTime)]
    after: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// A time range of an endpoint.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RecoverIn)]
pub(super) struct Since {
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// How many match.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MatchedOut {
    matched: usize,
}

/// Work that goes on after its answer, or is done with it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecoverOut)]
pub(super) struct TaskOut {
    id: String,
    status: &'static str,
    task: &'static str,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// Lists the dead letters of an application.
#[utoipa::path(
    get, path = "/app/{app_id}/dead-letter", operation_id = "v1.dead-letter.list", tag = "Dead Letter",
    params(Paging, ByEndpoint, ByType, Period), responses((status = 200, body = List<DeadLetterOut>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: InApplication,
    params: Params,
) -> Result<Json<List<DeadLetterOut>>, ApiError> {
    let filter = DeadLetterFilter {
        endpoint: params.one("endpoint_id").map(IdOr::from),
        event_types: params.many("event_types"),
        before: params.time("before")?,
        after: params.time("after")?,
    };
    let view = caller.view(&api);
    let page = view.dead_letters(caller.application.id).list(&filter, &params.by_cursor()?).await?;
    let mut shown_here = Vec::with_capacity(page.items.len());
    for letter in page.items {
        let event = event_of(view, &caller, &letter).await?;
        shown_here.push(shown(&letter, event.as_ref()));
    }
    Ok(Json(List::by_cursor(postrider::Page { items: shown_here, next: page.next }, |shown| shown)))
}

/// Shows a dead letter with its message and attempts.
#[utoipa::path(
    get, path = "/app/{app_id}/dead-letter/{dead_letter_id}", operation_id = "v1.dead-letter.get",
    tag = "Dead Letter", responses((status = 200, body = WholeOut))
)]
pub(super) async fn read(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<WholeOut>, ApiError> {
    let view = caller.view(&api);
    let (letter, event) = view.dead_letters(caller.application.id).get(parsed(&id)?).await?;
    let record = view.deliveries(caller.application.id).get(letter.last.event, letter.last.id.endpoint).await?;
    let (delivery, event_id, life) = (record.id, record.event, record.life);
    let attempts = record.attempts.into_iter();
    let attempts = attempts.map(|attempt| AttemptRecord { delivery, event: event_id, life, attempt });
    let whole = WholeOut {
        letter: shown(&letter, event.as_ref()),
        message: event.as_ref().map(|event| messages::stored_shown(event, true)),
        attempt_list: attempts.map(|record| attempts::shown(view, &caller, record, true)).collect(),
    };
    Ok(Json(whole))
}

/// Puts a dead letter back into the queue, its schedule from the start.
#[utoipa::path(
    post, path = "/app/{app_id}/dead-letter/{dead_letter_id}/redrive", operation_id = "v1.dead-letter.redrive",
    tag = "Dead Letter", responses((status = 202, body = DeliveryOut))
)]
pub(super) async fn redrive(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, id)): Path<(String, String)>,
) -> Result<(StatusCode, Json<DeliveryOut>), ApiError> {
    let view = caller.view(&api);
    let delivery = view.dead_letters(caller.application.id).redrive(parsed(&id)?).await?;
    let record = view.deliveries(caller.application.id).get(delivery.event, delivery.id.endpoint).await?;
    Ok((StatusCode::ACCEPTED, Json(deliveries::shown(view, &caller, &record).await?)))
}

/// Forgets a dead letter.
#[utoipa::path(
    delete, path = "/app/{app_id}/dead-letter/{dead_letter_id}", operation_id = "v1.dead-letter.delete",
    tag = "Dead Letter", responses((status = 204))
)]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.view(&api).dead_letters(caller.application.id).forget(parsed(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts back all that match.
///
/// Answers when that is done: after an error it can be asked for again, and goes on.
#[utoipa::path(
    post, path = "/app/{app_id}/dead-letter/redrive", operation_id = "v1.dead-letter.redrive-matching",
    tag = "Dead Letter", request_body = Matching, responses((status = 202, body = MatchedOut))
)]
pub(super) async fn redrive_matching(
    State(api): State<Api>,
    caller: InApplication,
    body: Body,
) -> Result<(StatusCode, Json<MatchedOut>), ApiError> {
    let (filter, dry_run) = body.read::<Matching>()?.read()?;
    let letters = caller.view(&api).dead_letters(caller.application.id);
    let matched = match dry_run {
        true => letters.count(&filter, COUNTED_MAX).await?,
        false => letters.redrive_many(&filter).await?,
    };
    Ok((StatusCode::ACCEPTED, Json(MatchedOut { matched })))
}

/// Puts back what was given up at an endpoint in this time, and answers when that is done.
#[utoipa::path(
    post, path = "/app/{app_id}/endpoint/{endpoint_id}/recover", operation_id = "v1.endpoint.recover",
    tag = "Endpoint", request_body = Since, responses((status = 202, body = TaskOut))
)]
pub(super) async fn recover(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    body: Body,
) -> Result<(StatusCode, Json<TaskOut>), ApiError> {
    let Since { since, until } = body.read()?;
    let since = time("since", &since)?;
    let until = until.as_deref().map(|text| time("until", text)).transpose()?;
    let now = now();
    if until.unwrap_or(now).since(since) > RECOVERED_MAX || until.is_some_and(|until| until < since) {
        return Err(ApiError::field("body", "since", "must lie before until, by 14 days at most"));
    }
    caller.view(&api).dead_letters(caller.application.id).recover(ep.as_str(), since, until).await?;
    let id = TaskId::new(now, &mut SplitMix::new(now.as_nanos()));
    let done = TaskOut { id: id.to_string(), status: "finished", task: "endpoint.recover", updated_at: written(now) };
    Ok((StatusCode::ACCEPTED, Json(done)))
}

/// Forgets all that match.
#[utoipa::path(
    post, path = "/app/{app_id}/dead-letter/purge", operation_id = "v1.dead-letter.purge", tag = "Dead Letter",
    request_body = Matching, responses((status = 202, body = MatchedOut))
)]
pub(super) async fn purge(
    State(api): State<Api>,
    caller: InApplication,
    body: Body,
) -> Result<(StatusCode, Json<MatchedOut>), ApiError> {
    let (filter, dry_run) = body.read::<Matching>()?.read()?;
    let letters = caller.view(&api).dead_letters(caller.application.id);
    let matched = match dry_run {
        true => letters.count(&filter, COUNTED_MAX).await?,
        false => letters.purge(&filter).await?,
    };
    Ok((StatusCode::ACCEPTED, Json(MatchedOut { matched })))
}

fn event_type(event: Option<&StoredEvent>) -> Option<Box<str>> {
    event.map(|event| event.event.event_type.clone())
}

async fn event_of(
    view: Organisation<'_>,
    caller: &InApplication,
    letter: &DeadLetter,
) -> Result<Option<StoredEvent>, ApiError> {
    match view.events(caller.application.id).get(letter.last.event).await {
        Ok(event) => Ok(Some(event)),
        Err(ReadError::NotFound) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

impl Matching {
    fn read(self) -> Result<(DeadLetterFilter, bool), ApiError> {
        let filter = DeadLetterFilter {
            endpoint: self.endpoint_id.as_deref().map(IdOr::from),
            event_types: self.event_types,
            before: self.before.as_deref().map(|text| time("before", text)).transpose()?,
            after: self.after.as_deref().map(|text| time("after", text)).transpose()?,
        };
        Ok((filter, self.dry_run))
    }
}

fn time(field: &str, text: &str) -> Result<Timestamp, ApiError> {
    let wrong = || ApiError::field("body", field, "must be a time such as 2026-11-25T09:45:00Z");
    times::read(text).ok_or_else(wrong)
}

/// Endpoint and position, which together name one.
fn id_of(letter: DeliveryId) -> String {
    format!("{}.{}", letter.endpoint, letter.seq.0)
}

fn parsed(id: &str) -> Result<DeliveryId, ApiError> {
    let read = || {
        let (endpoint, seq) = id.split_once('.')?;
        Some(DeliveryId { endpoint: endpoint.parse().ok()?, seq: Seq(seq.parse().ok()?) })
    };
    read().ok_or_else(ApiError::not_found)
}

fn shown(letter: &DeadLetter, event: Option<&StoredEvent>) -> DeadLetterOut {
    DeadLetterOut {
        id: id_of(letter.last.id),
        msg_id: letter.last.event.to_string(),
        endpoint_id: letter.last.id.endpoint.to_string(),
        event_type: event_type(event),
        reason: match letter.reason {
            GiveUpReason::Exhausted => "exhausted",
            GiveUpReason::Refused => "refused",
            GiveUpReason::Expired => "expired",
            GiveUpReason::QueueFull => "queueFull",
            GiveUpReason::Poisoned => "poisoned",
            GiveUpReason::Unreadable => "unreadable",
        },
        attempts: letter.last.attempts,
        last_status_code: letter.last_status,
        first_attempt_at: letter.first_attempt_at.map(written),
        dead_at: written(letter.dead_at),
    }
}
