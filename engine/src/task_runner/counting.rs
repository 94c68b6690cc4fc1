//! Counts events, one application after another.

use postrider_core::{
    Task,
    task::{Counted, CountedBy},
};
use postrider_storage::EventQuery;

use super::{Stop, event_at, page};
use crate::inner::Inner;

/// Bytes in front of a place: which application it is in.
const WHICH: usize = size_of::<u32>();

impl Inner {
    pub(super) async fn count_events(&self, task: &Task, next: &mut Task, counted: &Counted) -> Result<(), Stop> {
        let place = task.place.as_deref().and_then(|place| place.split_first_chunk::<WHICH>());
        let (which, after) = place.map_or((0, None), |(which, after)| (u32::from_be_bytes(*which), Some(after)));
        let index = usize::try_from(which).unwrap_or(usize::MAX);
        let Some(application) = counted.applications.get(index).copied() else {
            next.place = None;
            return self.note(task, next, Vec::new(), None).await;
        };
        let mut query = EventQuery::of(application);
        (query.after, query.before, query.oldest_first) = (Some(counted.after), Some(counted.before), true);
        let request = page(after.and_then(event_at));
        let found = self.store.opened().await.reads().events(&query, &request).await?;
        next.progress.seen += found.items.len() as u64;
        next.progress.done += found.items.len() as u64;
        if counted.by == CountedBy::Application {
            // Also one that has none.
            next.counts.entry(application.to_string().into()).or_default();
        }
        for event in &found.items {
            let name = match counted.by {
                CountedBy::Application => application.to_string().into(),
                CountedBy::EventType => event.event.event_type.clone(),
            };
            *next.counts.entry(name).or_default() += 1;
        }
        let (which, rest) = match found.next.filter(|_| !found.is_last) {
            Some(at) => (which, at.to_bytes().to_vec()),
            None => (which + 1, Vec::new()),
        };
        let is_over = usize::try_from(which).is_ok_and(|which| which >= counted.applications.len());
        next.place = (!is_over).then(|| [&which.to_be_bytes()[..], &rest].concat());
        self.note(task, next, Vec::new(), None).await
    }
}
