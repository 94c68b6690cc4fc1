//! R1: in any window `t`, attempts ≤ burst + rate · t. Counted with a bucket of its own, in true time.

use std::collections::BTreeMap;

use postrider_core::{AttemptPlan, EndpointId, Timestamp};

/// Requests that are still too many, of each endpoint, and when that was.
#[derive(Debug, Default)]
pub(super) struct Buckets(BTreeMap<EndpointId, (f64, Timestamp)>);

impl Buckets {
    /// Requests leave a little after their token was taken, one later than another: that much is allowed on top.
    pub(super) fn request(&mut self, plan: &AttemptPlan, now: Timestamp) -> Result<(), String> {
        const LATE_SECONDS: f64 = 0.2;
        let Some(rate) = &plan.endpoint.policy.rate else { return Ok(()) };
        let (per_second, burst) = (f64::from(rate.attempts_per_second()), f64::from(rate.burst_attempts()));
        let (level, at) = self.0.entry(plan.delivery.id.endpoint).or_insert((0.0, now));
        *level = (*level - per_second * now.since(*at).as_secs_f64()).max(0.0) + 1.0;
        *at = now;
        if *level > burst + per_second * LATE_SECONDS + 0.001 {
            return Err(format!(
                "{} sends {level:.1} above {per_second}/s with a burst of {burst}",
                plan.delivery.id.endpoint
            ));
        }
        Ok(())
    }
}
