//! How much an organisation uses: its messages counted by application or by type, in tasks.

use std::{collections::BTreeSet, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use postrider::{ApplicationId, IdOr, task::CountedBy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api,
    auth::{InOrganisation, now},
    body::Body,
    error::ApiError,
    tasks::{TaskBegun, begun, time},
};

/// What is counted by type.
const AGGREGATED: Duration = Duration::from_secs(28 * 24 * 3600);
/// Applications that may be named.
const NAMED_MAX: usize = 10_000;

/// Which messages are counted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AppUsageStatsIn)]
pub(super) struct UsageIn {
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    until: String,
    /// Ids or names of your own; all applications unless given.
    #[schema(max_items = 10000)]
    app_ids: Option<Vec<String>>,
}

/// A count that was begun.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AppUsageStatsOut)]
pub(super) struct UsageOut {
    #[serde(flatten)]
    begun: TaskBegun,
    /// Those that were named and are not there.
    unresolved_app_ids: Vec<String>,
}

/// Counts the messages of applications, in a task.
///
/// `data.counts` of the task has them by the id of the application.
#[utoipa::path(
    post, path = "/stats/usage/app", operation_id = "v1.statistics.aggregate-app-stats", tag = "Statistics",
    request_body = UsageIn, responses((status = 202, body = UsageOut))
)]
pub(super) async fn by_application(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
    body: Body,
) -> Result<(StatusCode, Json<UsageOut>), ApiError> {
    let UsageIn { since, until, app_ids } = body.read()?;
    let (since, until) = (time("since", &since)?, time("until", &until)?);
    if app_ids.as_ref().is_some_and(|ids| ids.len() > NAMED_MAX) {
        return Err(ApiError::field("body", "appIds", format!("must name at most {NAMED_MAX} applications")));
    }
    let view = api.engine.organisation(organisation);
    let (mut known, mut unresolved_app_ids): (Option<BTreeSet<ApplicationId>>, _) = (None, Vec::new());
    for name in app_ids.into_iter().flatten() {
        let known = known.get_or_insert_default();
        match view.applications().get(IdOr::from(name.as_str())) {
            Ok(found) => drop(known.insert(found.id)),
            Err(_) => unresolved_app_ids.push(name),
        }
    }
    let known = known.map(|known| known.into_iter().collect());
    let task = view.tasks().count(known, since, until, CountedBy::Application).await?;
    Ok((StatusCode::ACCEPTED, Json(UsageOut { begun: begun(&task), unresolved_app_ids })))
}

/// Counts the messages of the last 28 days by their type, in a task.
///
/// `data.counts` of the task has them by the name of the type.
#[utoipa::path(
    put, path = "/stats/usage/event-types", operation_id = "v1.statistics.aggregate-event-types", tag = "Statistics",
    responses((status = 202, body = TaskBegun))
)]
pub(super) async fn by_event_type(
    State(api): State<Api>,
    InOrganisation(organisation): InOrganisation,
) -> Result<(StatusCode, Json<TaskBegun>), ApiError> {
    let until = now();
    let tasks = api.engine.organisation(organisation).tasks();
    let task = tasks.count(None, until.earlier_by(AGGREGATED), until, CountedBy::EventType).await?;
    Ok((StatusCode::ACCEPTED, Json(begun(&task))))
}
