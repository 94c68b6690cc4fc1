//! C1: memory per endpoint ≤ window, payload bytes ≤ the budget (which gives out no more), total in flight ≤ permits.

use postrider_core::{EndpointId, OrderingMode, Priority};

use crate::{process::Process, spec::Limits};

pub(super) fn bounds(process: &Process, limits: &Limits, endpoint: EndpointId) -> Result<(), String> {
    if process.in_flight.len() > limits.in_flight {
        return Err(format!("{} requests in flight of {}", process.in_flight.len(), limits.in_flight));
    }
    let Some(place) = process.places.get(&endpoint) else { return Ok(()) };
    let Some((_, machine)) = &place.actor else { return Ok(()) };
    let (report, policy) = (machine.report(), &machine.endpoint().policy);
    let most = match policy.ordering {
        OrderingMode::Concurrent | OrderingMode::PerKey(_) => policy.max_in_flight.get() as usize,
        OrderingMode::Fifo(_) => 1,
    };
    if place.attempts.len() > most {
        return Err(format!("{} requests in flight at {endpoint}, which allows {most}", place.attempts.len()));
    }
    // What was put back after it could not be sent, or is tried by hand, comes on top of the window.
    let classes = Priority::ALL.len() * limits.window.ready_deliveries.get();
    let window = classes + limits.window.waiting_deliveries.get() + 2 * most;
    let in_lanes = limits.window.lanes.get() * (limits.window.ready_deliveries.get() + 64);
    if report.ready > window + in_lanes {
        return Err(format!("{} deliveries in memory for {endpoint}", report.ready));
    }
    Ok(())
}
