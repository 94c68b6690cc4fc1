//! Counts events, one application after another, in the order of their ids.
//!
//! What is written with each piece is bounded, however many applications and names there are: many applications without
//! events are one piece, and counts that become many are put beside the task.

use std::{collections::BTreeSet, mem};

use postrider_core::{
    ApplicationId, EventId, Task,
    task::{Counted, CountedBy, Progress},
};
use postrider_storage::EventQuery;

use super::{PIECE, Piece, Stop, page};
use crate::{inner::Inner, tasks::part};

/// Applications that one piece looks at.
const APPLICATIONS: usize = 1_000;
/// Names with a count that are written with each piece.
const NAMES: usize = 500;
const ID_BYTES: usize = 20;

/// Where it stands: in this application, behind this event; or behind this application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    In(ApplicationId, EventId),
    Behind(ApplicationId),
}

impl Place {
    /// None if it is of an earlier program, which counted by places in a list.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (application, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
        let application = ApplicationId::from_bytes(*application);
        match rest.len() {
            0 => Some(Self::Behind(application)),
            ID_BYTES => Some(Self::In(application, rest.last_chunk().copied().map(EventId::from_bytes)?)),
            _ => None,
        }
    }

    fn written(self) -> Vec<u8> {
        match self {
            Self::In(application, event) => [application.to_bytes(), event.to_bytes()].concat(),
            Self::Behind(application) => application.to_bytes().to_vec(),
        }
    }
}

impl Inner {
    pub(super) async fn count_events(&self, task: &Task, next: &mut Task, counted: &Counted) -> Result<Piece, Stop> {
        let mut place = task.place.as_deref().and_then(Place::read);
        if place.is_none() {
            // It begins, also if it had begun by another order.
            next.counts.clear();
            (next.progress, next.parts) = (Progress::default(), 0);
        }
        let all =
            if counted.all { self.registry.application_ids(task.organisation) } else { counted.applications.clone() };
        let applications: BTreeSet<_> = all.into_iter().collect();
        let (mut events, mut looked_at, mut writes) = (0, 0, Vec::new());
        next.place = loop {
            let found = match place {
                None => applications.first().map(|first| (*first, None)),
                Some(Place::In(application, event)) => Some((application, Some(event))),
                Some(Place::Behind(last)) => {
                    let behind = applications.range((std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded));
                    behind.into_iter().next().map(|following| (*following, None))
                }
            };
            let Some((application, after)) = found else { break None };
            if events >= PIECE.get() || looked_at >= APPLICATIONS {
                break place.map(Place::written);
            }
            looked_at += 1;
            let mut query = EventQuery::of(application);
            (query.after, query.before, query.oldest_first) = (Some(counted.after), Some(counted.before), true);
            let found = self.store.opened().await.reads().events(&query, &page(after)).await?;
            events += found.items.len();
            if counted.by == CountedBy::Application {
                // Also one that has none.
                *next.counts.entry(application.to_string().into()).or_default() += found.items.len() as u64;
            } else {
                for event in &found.items {
                    *next.counts.entry(event.event.event_type.clone()).or_default() += 1;
                }
            }
            place = Some(match found.next.filter(|_| !found.is_last) {
                Some(at) => Place::In(application, at),
                None => Place::Behind(application),
            });
            if next.counts.len() >= NAMES {
                let counts = mem::take(&mut next.counts);
                writes.push(part(next, next.parts, &counts));
                next.parts += 1;
            }
        };
        next.progress.seen += events as u64;
        next.progress.done += events as u64;
        self.note(task, next, writes, None).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let (application, event) = (ApplicationId::from_bytes([1; ID_BYTES]), EventId::from_bytes([2; ID_BYTES]));
        for place in [Place::In(application, event), Place::Behind(application)] {
            assert_eq!(Place::read(&place.written()), Some(place));
        }
        for earlier in [&[0; 4][..], &[0; 24], &[]] {
            assert_eq!(Place::read(earlier), None);
        }
    }
}
