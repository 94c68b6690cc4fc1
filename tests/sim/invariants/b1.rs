//! B1: no attempt while the breaker is open; one probe while it is half-open. What is open is read from the state that was
//! stored: the machine's own can only be ahead of it.

use std::collections::BTreeMap;

use postrider_core::{AttemptPlan, BreakerState, CommandId, EndpointId, Trigger};

use crate::{endpoints::name_of, ledger::Ledger, process::Process};

/// The last probe of each endpoint, and of which process it was.
#[derive(Debug, Default)]
pub(super) struct Probes(BTreeMap<EndpointId, (u64, CommandId)>);

impl Probes {
    pub(super) fn begins(&mut self, process: &Process, ledger: &Ledger, plan: &AttemptPlan) -> Result<(), String> {
        let endpoint = plan.delivery.id.endpoint;
        let place = process.places.get(&endpoint);
        let Some(state) = place.and_then(|place| place.actor.as_ref()).map(|(_, machine)| machine.report().breaker)
        else {
            return Ok(());
        };
        match state {
            // Closed by the probe, or because a person enabled the endpoint again: what is still in flight is no probe any more.
            BreakerState::Closed { .. } => {
                self.0.remove(&endpoint);
                return Ok(());
            }
            // What was begun before it opened is over when the request of a probe begins, or late, and not counted.
            BreakerState::HalfOpen { .. } => {
                let probe = (process.number, name_of(plan));
                if let Some((of, before)) = self.0.insert(endpoint, probe)
                    && of == process.number
                    && before != probe.1
                    && process.in_flight.contains_key(&(endpoint, before))
                {
                    return Err(format!("{:?} probes {endpoint} while {before:?} does", probe.1));
                }
            }
            BreakerState::Open { .. } => {}
        }
        let now_open = matches!(state, BreakerState::Open { .. });
        // A person's try may be the probe; the schedule's own waits until the breaker lets one through.
        if now_open && plan.delivery.trigger() == Trigger::Scheduled {
            return Err(format!("{:?} of {endpoint} begins while its breaker is {state:?}", plan.delivery.id));
        }
        match ledger.breakers.get(&endpoint) {
            Some(BreakerState::Open { .. }) if now_open => {
                Err(format!("{endpoint} is tried while its breaker is open"))
            }
            Some(BreakerState::Open { .. } | BreakerState::Closed { .. } | BreakerState::HalfOpen { .. }) | None => {
                Ok(())
            }
        }
    }
}
