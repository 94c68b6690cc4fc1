//! When a breaker opens, and how long it stays so.

use std::{num::NonZeroU32, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};

use super::DISTINCT_DELIVERIES;
use crate::Seq;

const WINDOW: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const COOL_DOWN_MIN: Duration = Duration::from_millis(10);
const COOL_DOWN_MAX: Duration = Duration::from_secs(24 * 3600);

/// When a breaker opens, and how long it stays so. Check it with [`validate`](Self::validate).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerPolicy {
    /// Opens after so many failures in a row, of at least 3 different deliveries (or as many as this, if fewer).
    pub consecutive_failures: NonZeroU32,
    /// Opens when so many percent of the attempts in the window failed: 1 to 100.
    pub failure_ratio: u8,
    /// Fewer attempts in the window have no ratio.
    pub min_attempts: NonZeroU32,
    /// What the ratio is taken over, give or take a sixth: 1 s to 1 h.
    pub window: Duration,
    /// How long it waits before the first probe: at least 10 ms. Doubles with every probe that fails.
    pub cool_down: Duration,
    /// The longest that it waits before a probe: up to 24 h.
    pub cool_down_max: Duration,
}

impl BreakerPolicy {
    /// What is wrong with it, if anything.
    pub fn validate(&self) -> Result<(), InvalidBreakerPolicy> {
        if !(1..=100).contains(&self.failure_ratio) {
            return Err(InvalidBreakerPolicy::Ratio);
        }
        if !WINDOW.contains(&self.window) {
            return Err(InvalidBreakerPolicy::Window);
        }
        if self.cool_down < COOL_DOWN_MIN || self.cool_down > self.cool_down_max {
            return Err(InvalidBreakerPolicy::CoolDown);
        }
        if self.cool_down_max > COOL_DOWN_MAX {
            return Err(InvalidBreakerPolicy::CoolDownMax);
        }
        Ok(())
    }

    pub(super) fn is_broken_in_a_row(&self, failures: u32, deliveries: &[Option<Seq>; DISTINCT_DELIVERIES]) -> bool {
        let different = deliveries.iter().flatten().count();
        let different_min = DISTINCT_DELIVERIES.min(self.consecutive_failures.get() as usize);
        failures >= self.consecutive_failures.get() && different >= different_min
    }

    pub(super) fn is_broken_by_ratio(&self, (attempts, failures): (u32, u32)) -> bool {
        let limit = u64::from(attempts) * u64::from(self.failure_ratio);
        attempts >= self.min_attempts.get() && u64::from(failures) * 100 >= limit
    }
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        const FIVE: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
        const TWENTY: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);
        Self {
            consecutive_failures: FIVE,
            failure_ratio: 50,
            min_attempts: TWENTY,
            window: Duration::from_secs(60),
            cool_down: Duration::from_secs(10),
            cool_down_max: Duration::from_secs(600),
        }
    }
}

/// What is wrong with a breaker policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBreakerPolicy {
    /// Give a share of the attempts.
    #[error("failure ratio of the breaker must be 1 to 100 percent")]
    Ratio,
    /// Give a shorter or longer window.
    #[error("window of the breaker must be {} s to {} s", WINDOW.start().as_secs(), WINDOW.end().as_secs())]
    Window,
    /// Give a cool-down between the shortest and its own maximum.
    #[error("cool-down of the breaker must be at least {} ms, and at most its maximum", COOL_DOWN_MIN.as_millis())]
    CoolDown,
    /// Give a shorter maximum.
    #[error("maximum cool-down of the breaker must be at most {} h", COOL_DOWN_MAX.as_secs() / 3600)]
    CoolDownMax,
}
