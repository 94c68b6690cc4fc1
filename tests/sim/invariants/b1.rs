//! B1: no attempt while the breaker is open; one probe while it is half-open. What is open is read from the state that was
//! stored: the machine's own can only be ahead of it.

use postrider_core::{AttemptPlan, BreakerState, Trigger};

use crate::world::World;

pub(super) fn begins(world: &World, plan: &AttemptPlan) -> Result<(), String> {
    let endpoint = plan.delivery.id.endpoint;
    // What a person asks for by hand is a probe of its own.
    if plan.delivery.trigger() == Trigger::Manual || plan.endpoint.policy.breaker.is_none() {
        return Ok(());
    }
    // Where no machine is up any more, nobody is there to say whether it has closed since.
    let place = world.process.places.get(&endpoint);
    let Some(state) = place.and_then(|place| place.actor.as_ref()).map(|(_, machine)| machine.report().breaker) else {
        return Ok(());
    };
    let is_closed = matches!(state, BreakerState::Closed { .. });
    if !is_closed && world.ledger.breaker_forbids(endpoint, world.process_now()) {
        let began = place.map_or(0, |place| place.attempts.len());
        return if began <= 1 {
            Ok(())
        } else {
            Err(format!("{began} attempts at {endpoint} while its breaker is {state:?}"))
        };
    }
    Ok(())
}
