//! A2: at most one attempt of a delivery is in flight, whatever was restarted meanwhile. Judged again where one begins
//! (`endpoints.rs`).

use postrider_core::{AttemptPlan, CommandId};

use crate::process::Process;

pub(super) fn request(process: &Process, plan: &AttemptPlan) -> Result<(), String> {
    let (endpoint, seq) = (plan.delivery.id.endpoint, plan.delivery.id.seq);
    let both = [CommandId::Step(seq), CommandId::Manual(seq)];
    let in_flight = both.iter().filter(|id| process.in_flight.contains_key(&(endpoint, **id))).count();
    if in_flight == 1 { Ok(()) } else { Err(format!("{:?} is in flight {in_flight} times", plan.delivery.id)) }
}
