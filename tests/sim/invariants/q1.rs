//! Q1: what is said to wait, at an endpoint and in all, is what a scan of the rows finds.

use std::num::NonZeroUsize;

use postrider_core::More;
use postrider_storage::{KvStore, PageRequest, Store};

use crate::world::{World, now_or_never};

const ALL: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);
/// Counted each time that this is judged, after an opening.
const PIECE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4);

/// Every now and then. While something is written and not shown yet, a scan shows less than is known.
pub(super) fn what_is_known_is_there(world: &mut World) -> Result<(), String> {
    if world.process.is_stalled || !world.process.in_hand.is_empty() {
        return Ok(());
    }
    let more = count(world, PIECE);
    let mut all = 0;
    for endpoint in world.process.registry.endpoints.values() {
        let (id, generation) = (endpoint.id, endpoint.generation);
        let found = world.read(|reads| async move { reads.queue(id, generation, &PageRequest::first(ALL)).await });
        let known = world.read(|reads| async move { reads.backlog(id, generation, ALL).await });
        if known.queued != found.items.len() {
            return Err(format!("{} are said to wait at {id}, and {} do", known.queued, found.items.len()));
        }
        all += found.items.len();
    }
    agrees(world, all, more)
}

/// As a store finds it that counted nothing.
pub(super) fn everything_is_known(world: &mut World) -> Result<(), String> {
    while count(world, PIECE) == More::Yes {}
    let anew = KvStore::over(world.medium.clone()).map_err(|error| error.to_string())?;
    let mut all = 0;
    for endpoint in world.process.registry.endpoints.values() {
        let (id, generation) = (endpoint.id, endpoint.generation);
        let page = PageRequest::first(ALL);
        let found = now_or_never(anew.reads().queue(id, generation, &page)).map_err(|error| error.to_string())?;
        let known = world.read(|reads| async move { reads.backlog(id, generation, NonZeroUsize::MIN).await });
        if known.is_at_least || known.queued != found.items.len() {
            return Err(format!("{known:?} at {id}, and {} wait", found.items.len()));
        }
        all += found.items.len();
    }
    agrees(world, all, More::No)
}

fn count(world: &mut World, rows_max: NonZeroUsize) -> More {
    let counted = now_or_never(world.store.count_queued(rows_max));
    let counted = counted.unwrap_or_else(|error| world.violated("store", &error.to_string()));
    world.process.queues_changed(&counted.queued);
    counted.more
}

fn agrees(world: &World, waiting: usize, more: More) -> Result<(), String> {
    let (said, waiting) = (world.process.queued, i64::try_from(waiting).unwrap_or(i64::MAX));
    match more {
        More::No if said != waiting => Err(format!("{said} are said to wait in all, and {waiting} do")),
        More::Yes if said > waiting => Err(format!("{said} are said to wait in all, and only {waiting} do")),
        More::No | More::Yes => Ok(()),
    }
}
