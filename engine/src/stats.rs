//! How much was tried at an endpoint in a time, and how it ended.

use std::{num::NonZeroUsize, time::Duration};

use postrider_core::{EndpointId, IdOr, Timestamp};
use postrider_storage::{AttemptCounts, Backlog, CountedTime};

use crate::{Endpoints, ReadError, StatsError};

/// The longest time that is counted at once.
const COUNTED_TIME_MAX: Duration = Duration::from_secs(28 * 24 * 3600);
/// Attempts that are looked at for one count.
const COUNTED_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999_999);

/// What became of what was tried at an endpoint, and what waits there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// In the time asked for. Every success is the end of a delivery.
    pub attempts: AttemptCounts,
    /// How much waits now, tries by hand with it.
    pub queued: usize,
    /// More than that may wait: not all of it is counted yet, as just after a start.
    pub is_at_least: bool,
    /// Requests in flight now.
    pub in_flight: usize,
}

impl Endpoints<'_> {
    /// What became of what was tried at one from `since` on and before `until`, at most 28 days, and what waits now.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn stats(
        &self,
        endpoint: impl Into<IdOr<EndpointId>>,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<EndpointStats, StatsError> {
        if until <= since || until.since(since) > COUNTED_TIME_MAX {
            return Err(StatsError::Time);
        }
        let (engine, endpoint) = (self.scope.engine(), self.get(endpoint)?);
        let age_max = engine.limits.window.delivery_age_max;
        let store = engine.store.get().map_err(ReadError::from)?;
        let time = CountedTime { since, until, age_max };
        let attempts = store.reads().attempt_counts(endpoint.id, time, COUNTED_MAX).await.map_err(ReadError::from)?;
        drop(store);
        let attempts = attempts.ok_or(StatsError::TooMany { counted_max: COUNTED_MAX.get() })?;
        let state = engine.endpoint_state(&endpoint).await?;
        let Backlog { queued, is_at_least, .. } = state.backlog;
        Ok(EndpointStats { attempts, queued, is_at_least, in_flight: state.in_flight })
    }
}
