//! Long-running tasks: begun by replays and redrives, watched and called off here.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postrider::{
    Order, ReplayFilter, Task, TaskError, TaskFilter, TaskId, TaskStatus, Timestamp, Work,
    task::{Tried, TriedEnd},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api,
    auth::{InApplication, InOrganisation},
    body::Body,
    error::ApiError,
    openapi::{ByTask, Paging, Sorting, any_status_class, tried_status},
    page::List,
    query::Params,
    times::{self, written},
};

/// Which time is recovered or replayed: at most 14 days.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RecoverIn)]
pub(super) struct Since {
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// Which messages are replayed, whatever became of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BulkReplayIn)]
pub(super) struct ReplayIn {
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    until: Option<String>,
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    event_types: Vec<Box<str>>,
    #[schema(value_type = Option<String>)]
    channel: Option<Box<str>>,
    #[schema(value_type = Option<String>)]
    tag: Option<Box<str>>,
    /// 0 success, 2 fail, 4 canceled.
    #[schema(schema_with = tried_status)]
    status: Option<u16>,
    /// The hundreds of the last status code, 100 to 500; 0 without an answer.
    #[schema(schema_with = any_status_class)]
    status_code_class: Option<u16>,
}

/// A task as its beginning shows it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecoverOut)]
pub(super) struct TaskBegun {
    id: String,
    status: &'static str,
    task: &'static str,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// A task as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BackgroundTaskOut)]
pub(super) struct TaskOut {
    #[serde(flatten)]
    begun: TaskBegun,
    data: TaskData,
}

/// What a task is for, and how far it has come.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BackgroundTaskData)]
pub(super) struct TaskData {
    /// `task` names only what Svix's clients know; this is what it really is.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    /// What it has counted, by the id of the application or the event type.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, u64>)]
    counts: BTreeMap<Box<str>, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_id: Option<String>,
    /// Messages that it has looked at.
    seen: u64,
    /// Messages for which it did what it is for.
    done: u64,
    /// The same, by the name that Svix has for it where messages are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_sent: Option<u64>,
    /// The same, where they are forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_purged: Option<u64>,
    /// Called off by a person: then its status is `failed`.
    cancelled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    failure: Option<Box<str>>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// Lists the tasks of an organisation.
#[utoipa::path(
    get, path = "/background-task", operation_id = "v1.background-task.list", tag = "Background Task",
    params(Paging, Sorting, ByTask), responses((status = 200, body = List<TaskOut>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    params: Params,
) -> Result<Json<List<TaskOut>>, ApiError> {
    let status = match params.stated("status") {
        None => None,
        Some("running") => Some(TaskStatus::Running),
        Some("finished") => Some(TaskStatus::Finished),
        Some("failed") => Some(TaskStatus::Failed),
        Some("cancelled") => Some(TaskStatus::Cancelled),
        Some(_) => return Err(ApiError::field("query", "status", "must be running, finished, failed or cancelled")),
    };
    let filter = TaskFilter { status, name: params.one("task").map(Into::into) };
    let request = params.by_id::<TaskId>(Order::Descending)?;
    let listing = api.engine.organisation(organisation).tasks().list(&filter, &request).await?;
    Ok(Json(List::by_id(listing, |task| task.id, |task| shown(&task))))
}

/// Shows a task, and how far it has come.
#[utoipa::path(
    get, path = "/background-task/{task_id}", operation_id = "v1.background-task.get", tag = "Background Task",
    responses((status = 200, body = TaskOut))
)]
pub(super) async fn read(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    Path(task): Path<String>,
) -> Result<Json<TaskOut>, ApiError> {
    Ok(Json(shown(&api.engine.organisation(organisation).tasks().get(parsed(&task)?).await?)))
}

/// Calls a task off.
///
/// What it has done stays done.
#[utoipa::path(
    post, path = "/background-task/{task_id}/cancel", operation_id = "v1.background-task.cancel",
    tag = "Background Task", responses((status = 200, body = TaskOut))
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    Path(task): Path<String>,
) -> Result<Json<TaskOut>, ApiError> {
    Ok(Json(shown(&api.engine.organisation(organisation).tasks().cancel(parsed(&task)?).await?)))
}

/// Puts back what was given up at an endpoint in this time, in a task.
#[utoipa::path(
    post, path = "/app/{app_id}/endpoint/{endpoint_id}/recover", operation_id = "v1.endpoint.recover",
    tag = "Endpoint", request_body = Since, responses((status = 202, body = TaskBegun))
)]
pub(super) async fn recover(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    body: Body,
) -> Result<(StatusCode, Json<TaskBegun>), ApiError> {
    let (since, until) = body.read::<Since>()?.read()?;
    let letters = caller.view(&api).dead_letters(caller.application.id);
    Ok((StatusCode::ACCEPTED, Json(begun(&letters.recover(ep.as_str(), since, until).await?))))
}

/// Puts into an endpoint's queue what it never got though its filter wants it, in a task.
#[utoipa::path(
    post, path = "/app/{app_id}/endpoint/{endpoint_id}/replay-missing", operation_id = "v1.endpoint.replay-missing",
    tag = "Endpoint", request_body = Since, responses((status = 202, body = TaskBegun))
)]
pub(super) async fn replay_missing(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    body: Body,
) -> Result<(StatusCode, Json<TaskBegun>), ApiError> {
    let (since, until) = body.read::<Since>()?.read()?;
    let tasks = caller.view(&api).tasks();
    let task = tasks.replay_missing(caller.application.id, ep.as_str(), since, until).await?;
    Ok((StatusCode::ACCEPTED, Json(begun(&task))))
}

/// Puts into an endpoint's queue what its filter wants once more, however it ended there, in a task.
#[utoipa::path(
    post, path = "/app/{app_id}/endpoint/{endpoint_id}/bulk-replay", operation_id = "v1.endpoint.bulk-replay",
    tag = "Endpoint", request_body = ReplayIn, responses((status = 202, body = TaskBegun))
)]
pub(super) async fn replay(
    State(api): State<Api>,
    caller: InApplication,
    Path((_, ep)): Path<(String, String)>,
    body: Body,
) -> Result<(StatusCode, Json<TaskBegun>), ApiError> {
    let ReplayIn { since, until, event_types, channel, tag, status, status_code_class } = body.read()?;
    let (since, until) = Since { since, until }.read()?;
    let end = match status {
        None => None,
        Some(0) => Some(TriedEnd::Delivered),
        Some(2) => Some(TriedEnd::GivenUp),
        Some(4) => Some(TriedEnd::Cancelled),
        Some(_) => return Err(ApiError::field("body", "status", "must be 0 (success), 2 (fail) or 4 (canceled)")),
    };
    if status_code_class.is_some_and(|class| ![0, 100, 200, 300, 400, 500].contains(&class)) {
        return Err(ApiError::field("body", "statusCodeClass", "must be 0, 100, 200, 300, 400 or 500"));
    }
    let only = ReplayFilter { event_types, channel, tag, tried: Tried { end, status_class: status_code_class } };
    let tasks = caller.view(&api).tasks();
    let task = tasks.replay(caller.application.id, ep.as_str(), since, until, only).await?;
    Ok((StatusCode::ACCEPTED, Json(begun(&task))))
}

impl Since {
    fn read(&self) -> Result<(Timestamp, Option<Timestamp>), ApiError> {
        let until = self.until.as_deref().map(|text| time("until", text)).transpose()?;
        Ok((time("since", &self.since)?, until))
    }
}

/// A time in a body.
pub(super) fn time(field: &str, text: &str) -> Result<Timestamp, ApiError> {
    let wrong = || ApiError::field("body", field, "must be a time such as 2026-11-25T09:45:00Z");
    times::read(text).ok_or_else(wrong)
}

fn parsed(id: &str) -> Result<TaskId, ApiError> {
    id.parse().map_err(|_| ApiError::not_found())
}

pub(super) fn begun(task: &Task) -> TaskBegun {
    TaskBegun {
        id: task.id.to_string(),
        // Clients of Svix know no other words.
        status: match task.status {
            TaskStatus::Running => "running",
            TaskStatus::Finished => "finished",
            TaskStatus::Failed | TaskStatus::Cancelled => "failed",
        },
        task: match task.work {
            Work::Redrive(_) => "endpoint.recover",
            Work::Purge(_) => "application.purge_content",
            _ => task.work.name(),
        },
        updated_at: written(task.updated_at),
    }
}

fn shown(task: &Task) -> TaskOut {
    let is_forgetting = matches!(task.work, Work::Purge(_) | Work::Expunge(_));
    let data = TaskData {
        kind: task.work.name(),
        app_id: task.work.application().map(|application| application.to_string()),
        counts: task.counts.clone(),
        endpoint_id: task.work.endpoint().map(|endpoint| endpoint.to_string()),
        seen: task.progress.seen,
        done: task.progress.done,
        messages_sent: (!is_forgetting).then_some(task.progress.done),
        messages_purged: is_forgetting.then_some(task.progress.done),
        cancelled: task.status == TaskStatus::Cancelled,
        failure: task.failure.clone(),
        created_at: written(task.created_at),
    };
    TaskOut { begun: begun(task), data }
}

impl From<TaskError> for ApiError {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::NoSuchTask | TaskError::NotFound => Self::not_found(),
            error @ TaskError::HasEnded => Self::conflict(&error.to_string()),
            TaskError::EmptyTime => Self::field("body", "since", "must lie before until"),
            error @ TaskError::TimeTooLong => Self::field("body", "since", error.to_string()),
            error @ TaskError::TooMany { .. } => Self::new(StatusCode::BAD_REQUEST, "limit_reached", error.to_string()),
            TaskError::Read(error) => postrider::ReadError::from(error).into(),
            TaskError::Contended => Self::contended(),
            TaskError::Commit(error) => error.into(),
            _ => Self::corrupt(),
        }
    }
}
