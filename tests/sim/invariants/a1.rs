//! A1: attempts of a life are numbered 1, 2, 3… and never exceed the schedule; manual ones are marked. That the numbers of
//! stored attempts have no gap is judged where they are stored (`ledger.rs`).

use postrider_core::AttemptPlan;

pub(super) fn request(plan: &AttemptPlan) -> Result<(), String> {
    let number = plan.delivery.next_attempt();
    let most = plan.endpoint.policy.retry.schedule().len() + 1;
    if !number.is_manual() && number.count() as usize > most {
        return Err(format!("attempt {} of {most} of {:?}", number.count(), plan.delivery.id));
    }
    Ok(())
}
