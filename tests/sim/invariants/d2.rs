//! D2: `publish` returns `Ok` only after the event and all its deliveries are durable: whatever process asks, they are there.
//! That the group of an accept was synced is judged where it is written (`commits.rs`).

use crate::world::World;

pub(super) fn everything_acknowledged_is_there(world: &World) -> Result<(), String> {
    for (endpoint, event) in &world.ledger.acknowledged {
        let Some(record) = world.process.registry.endpoint(*endpoint) else { continue };
        let (owner, endpoint, event) = (record.application, *endpoint, *event);
        if world.read(|reads| async move { reads.delivery(owner, event, endpoint).await }).is_none() {
            return Err(format!("{event} was acknowledged, and is not there for {endpoint}"));
        }
    }
    Ok(())
}
