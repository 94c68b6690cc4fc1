//! Dead letters: what was given up, put back or forgotten, one by one or all that match.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postrider::{
    AttemptFilter, DeadLetter, DeadLetterFilter, DeadLetters, Delivery, DeliveryId, GiveUpReason, IdOr, Organisation,
    PageRequest, ReadError, Responses, Seq, StoredEvent, Task, TaskError,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api,
    attempts::{self, AttemptOut},
    auth::InApplication,
    body::Body,
    deliveries::{self, DeliveryOut},
    error::ApiError,
    messages::{self, MessageOut},
    openapi::{ByEndpoint, ByType, Died, Paging},
    page::{Filling, List},
    query::Params,
    tasks::time,
    times::written,
};

/// Matches are counted up to this by a dry run.
const COUNTED_MAX: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(999_999);

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
    /// The last of its life, at most 50, oldest first.
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

/// How many match, counted up to a million, and the task that deals with them; none after a dry run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MatchedOut {
    matched: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

/// Lists the dead letters of an application.
#[utoipa::path(
    get, path = "/app/{app_id}/dead-letter", operation_id = "v1.dead-letter.list", tag = "Dead Letter",
    params(Paging, ByEndpoint, ByType, Died), responses((status = 200, body = List<DeadLetterOut>))
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
    let request = params.paged(parsed)?;
    let letters = view.dead_letters(caller.application.id);
    let mut filling = Filling::new(request);
    while let Some(request) = filling.next() {
        filling.take(letters.list(&filter, request).await?);
    }
    let page = filling.page();
    let mut shown_here = Vec::with_capacity(page.items.len());
    for letter in &page.items {
        let event = event_of(view, &caller, letter).await?;
        shown_here.push(shown(letter, event.as_ref()));
    }
    Ok(Json(List::paged(page.with(shown_here), |at| id_of(*at), |shown| shown)))
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
    let (letter, event) =
        view.dead_letters(caller.application.id).get(parsed(&id).ok_or_else(ApiError::not_found)?).await?;
    let Delivery { event: event_id, life, id, .. } = letter.last;
    let deliveries = view.deliveries(caller.application.id);
    let newest = PageRequest::default();
    let mut tried = deliveries.attempts_of_event(event_id, id.endpoint, AttemptFilter::default(), &newest).await?.items;
    tried.reverse();
    let of_life = tried.into_iter().filter(|record| record.life == life);
    let whole = WholeOut {
        letter: shown(&letter, event.as_ref()),
        message: event.as_ref().map(|event| messages::stored_shown(event, true)),
        attempt_list: of_life.map(|record| attempts::shown(view, &caller, record, Responses::Read)).collect(),
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
    let delivery =
        view.dead_letters(caller.application.id).redrive(parsed(&id).ok_or_else(ApiError::not_found)?).await?;
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
    caller.view(&api).dead_letters(caller.application.id).forget(parsed(&id).ok_or_else(ApiError::not_found)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts back all that match, in a task.
#[utoipa::path(
    post, path = "/app/{app_id}/dead-letter/redrive", operation_id = "v1.dead-letter.redrive-matching",
    tag = "Dead Letter", request_body = Matching, responses((status = 202, body = MatchedOut))
)]
pub(super) async fn redrive_matching(
    State(api): State<Api>,
    caller: InApplication,
    body: Body,
) -> Result<(StatusCode, Json<MatchedOut>), ApiError> {
    deal_with(&api, &caller, &body, async |letters, filter| letters.redrive_many(filter).await).await
}

/// Forgets all that match, in a task.
#[utoipa::path(
    post, path = "/app/{app_id}/dead-letter/purge", operation_id = "v1.dead-letter.purge", tag = "Dead Letter",
    request_body = Matching, responses((status = 202, body = MatchedOut))
)]
pub(super) async fn purge(
    State(api): State<Api>,
    caller: InApplication,
    body: Body,
) -> Result<(StatusCode, Json<MatchedOut>), ApiError> {
    deal_with(&api, &caller, &body, async |letters, filter| letters.purge(filter).await).await
}

/// Counts all that match, and begins the task that deals with them unless they are only to be counted.
async fn deal_with(
    api: &Api,
    caller: &InApplication,
    body: &Body,
    begin: impl AsyncFn(&DeadLetters<'_>, &DeadLetterFilter) -> Result<Task, TaskError>,
) -> Result<(StatusCode, Json<MatchedOut>), ApiError> {
    let (filter, dry_run) = body.read::<Matching>()?.read()?;
    let letters = caller.view(api).dead_letters(caller.application.id);
    let turn = api.reading.turn(caller.application.id).await?;
    let matched = letters.count(&filter, COUNTED_MAX).await?;
    drop(turn);
    let task = if dry_run { None } else { Some(begin(&letters, &filter).await?) };
    Ok((StatusCode::ACCEPTED, Json(MatchedOut { matched, id: task.map(|task| task.id.to_string()) })))
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

/// Endpoint and position, which together name one.
fn id_of(letter: DeliveryId) -> String {
    format!("{}.{}", letter.endpoint, letter.seq.0)
}

fn parsed(id: &str) -> Option<DeliveryId> {
    let (endpoint, seq) = id.split_once('.')?;
    Some(DeliveryId { endpoint: endpoint.parse().ok()?, seq: Seq(seq.parse().ok()?) })
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
