//! W1: an endpoint with something to do is active, or has a wake row no later than its earliest due time.

use std::{collections::BTreeMap, num::NonZeroUsize};

use postrider_core::{Delivery, EndpointId, EndpointStatus, Timestamp};
use postrider_storage::PageRequest;

use crate::world::World;

/// Clocks of two processes are up to ten minutes apart, and receivers ask for up to two.
const SLACK: std::time::Duration = std::time::Duration::from_secs(800);
const ALL: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

pub(super) fn awake(world: &World) -> Result<(), String> {
    if world.process.is_stalled {
        return Ok(());
    }
    let rows = world.read(|reads| async move { reads.wakes(None, Timestamp::MAX, ALL).await });
    let mut wakes: BTreeMap<EndpointId, Timestamp> = BTreeMap::new();
    for (at, endpoint) in rows {
        wakes.entry(endpoint).and_modify(|first| *first = at.min(*first)).or_insert(at);
    }
    for endpoint in world.process.registry.endpoints.values() {
        let is_up = world.process.places.get(&endpoint.id).is_some_and(|place| place.slot.is_occupied());
        if is_up || endpoint.status != EndpointStatus::Active {
            continue;
        }
        let (id, generation, page) = (endpoint.id, endpoint.generation, PageRequest::first(ALL));
        let queue = world.read(|reads| async move { reads.queue(id, generation, &page).await }).items;
        let Some(due) = earliest(&queue, world.process_now()) else { continue };
        // Throttles and breakers put off what is due; a wake that is early is harmless, one that is late is not.
        let latest = due.max(world.process_now()) + SLACK;
        match wakes.get(&id) {
            Some(at) if *at <= latest => {}
            found => return Err(format!("{id} has something due at {due:?}, no actor, and its wake is {found:?}")),
        }
    }
    Ok(())
}

/// When the first of a queue could be sent; what is behind another one in its lane cannot.
fn earliest(queue: &[Delivery], now: Timestamp) -> Option<Timestamp> {
    let mut heads: BTreeMap<_, &Delivery> = BTreeMap::new();
    for delivery in queue {
        match delivery.place {
            postrider_core::Place::Lane { .. } => {
                let head = heads.entry(delivery.lane).or_insert(delivery);
                if delivery.id.seq < head.id.seq {
                    *head = delivery;
                }
            }
            postrider_core::Place::Ready | postrider_core::Place::Due(_) | postrider_core::Place::Manual { .. } => {
                return Some(delivery.due().unwrap_or(now));
            }
        }
    }
    heads.values().filter(|head| !head.is_held()).map(|head| head.due().unwrap_or(now)).min()
}
