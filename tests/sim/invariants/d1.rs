//! D1: no loss. Once faults stop, every delivery of an acknowledged event is delivered, dead-lettered or cancelled; and what
//! is said to be delivered was taken by its receiver.

use crate::{ledger::End, world::World};

pub(super) fn everything_arrived(world: &World) -> Result<(), String> {
    for (id, stored) in &world.ledger.now {
        if world.ledger.dropped.contains(&id.endpoint) {
            continue;
        }
        match stored.end {
            None => return Err(format!("{id:?} never ended: {}", world.unfinished_in_words())),
            Some(End::Delivered) if !world.network.taken.contains(&(id.endpoint, stored.event)) => {
                return Err(format!("{id:?} ended as delivered, and its receiver never took {}", stored.event));
            }
            Some(End::Delivered | End::GivenUp(_) | End::Cancelled) => {}
        }
    }
    Ok(())
}
