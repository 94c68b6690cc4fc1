//! Events that are in memory, found by their ids: one that is published for thousands of endpoints is read once for as
//! many of them as send it at the same time.
//!
//! Holds nothing by itself: whatever holds an event pays for its bytes, and one that nothing holds is read again.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use postrider_core::{EventId, StoredEvent};

use crate::id_map::IdMap;

/// Entries below which none is looked for that is of no use.
const FEW: usize = 1024;

/// Events that are in memory.
#[derive(Debug, Default)]
pub(crate) struct SharedEvents(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    events: IdMap<EventId, Weak<StoredEvent>>,
    /// How many were of use when that was last looked at.
    live: usize,
    /// The last that were forgotten: one that was read just before is not put in just after.
    gone: BTreeSet<EventId>,
    gone_in_order: VecDeque<EventId>,
}

impl SharedEvents {
    /// The event, if something holds it.
    pub(crate) fn get(&self, event: EventId) -> Option<Arc<StoredEvent>> {
        self.lock().events.get(&event)?.upgrade()
    }

    /// This event, or the same one that others hold.
    pub(crate) fn share(&self, event: Arc<StoredEvent>) -> Arc<StoredEvent> {
        let mut known = self.lock();
        if known.gone.contains(&event.id) {
            return event;
        }
        if let Some(held) = known.events.get(&event.id).and_then(Weak::upgrade) {
            return held;
        }
        if known.events.len() >= FEW.max(2 * known.live) {
            known.events.retain(|_, event| event.strong_count() > 0);
            known.live = known.events.len();
        }
        known.events.insert(event.id, Arc::downgrade(&event));
        event
    }

    /// It is not to be found here any more: its payload is forgotten.
    pub(crate) fn forget(&self, event: EventId) {
        let mut known = self.lock();
        known.events.remove(&event);
        if known.gone.insert(event) {
            known.gone_in_order.push_back(event);
        }
        if known.gone_in_order.len() > FEW
            && let Some(oldest) = known.gone_in_order.pop_front()
        {
            known.gone.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use postrider_core::{ApplicationId, Event, Lease, Timestamp};

    use super::*;

    fn event(n: u32) -> Arc<StoredEvent> {
        let mut id = [0; 20];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Arc::new(StoredEvent {
            id: EventId::from_bytes(id),
            application: ApplicationId::from_bytes([1; 20]),
            accepted_at: Timestamp::from_nanos(1),
            event: Arc::new(Event::new("case.shared", "{}")),
            is_expunged: false,
            lease: Lease::default(),
        })
    }

    #[test]
    fn what_something_holds_is_found_until_it_is_forgotten() {
        let shared = SharedEvents::default();
        let first = shared.share(event(1));
        assert!(Arc::ptr_eq(&shared.share(event(1)), &first), "it was read a second time for nothing");
        assert!(shared.get(first.id).is_some_and(|found| Arc::ptr_eq(&found, &first)));
        shared.forget(first.id);
        assert_eq!(shared.get(first.id), None);
        drop(shared.share(Arc::clone(&first)));
        assert_eq!(shared.get(first.id), None, "it was read before it was forgotten");
        drop(shared.share(event(2)));
        assert_eq!(shared.get(event(2).id), None, "nothing holds it any more");
    }

    #[test]
    fn what_nothing_holds_leaves_nothing_behind() {
        let shared = SharedEvents::default();
        let held: Vec<_> = (0..10).map(|n| shared.share(event(n))).collect();
        (10..100_000).for_each(|n| drop(shared.share(event(n))));
        assert!(shared.lock().events.len() <= FEW);
        assert!(held.iter().all(|event| shared.get(event.id).is_some()));
    }
}
