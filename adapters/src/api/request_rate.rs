//! How often each application may be asked about: a token bucket for each, with one second's requests in it.
//!
//! Every request that names an application counts for it, its own and those of its organisation; so do those of its own
//! tokens that name none. Answers that are repeated for an idempotency key do not.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use postrider::{ApplicationId, Rate, Timestamp, core::RateLimit};

use super::error::ApiError;

/// Buckets that are kept, full ones too. More are kept only while they are in use.
const BUCKETS_KEPT: usize = 10_000;

/// The requests of each application.
#[derive(Debug)]
pub(super) struct RequestRate {
    rate: Option<Rate>,
    buckets: Mutex<Buckets>,
    began: Instant,
}

#[derive(Debug)]
struct Buckets {
    of: HashMap<ApplicationId, RateLimit>,
    /// With so many, those that are full are forgotten.
    swept_at: usize,
}

impl RequestRate {
    /// None is any number.
    pub(super) fn new(per_second: Option<NonZeroU32>) -> Self {
        let rate = per_second.map(|requests| Rate::per_second(requests).burst(requests));
        let buckets = Mutex::new(Buckets { of: HashMap::new(), swept_at: BUCKETS_KEPT });
        Self { rate, buckets, began: Instant::now() }
    }

    /// One more request.
    pub(super) fn take(&self, application: ApplicationId) -> Result<(), ApiError> {
        let Some(rate) = self.rate else { return Ok(()) };
        // No clock that somebody sets.
        let now = Timestamp::from_nanos(0) + self.began.elapsed();
        self.buckets().take(application, rate, now).map_err(|wait| {
            let detail = format!("The application may be asked about {} times a second.", rate.attempts_per_second());
            ApiError::too_many(&detail, wait)
        })
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buckets {
    /// Or how long until there is one.
    fn take(&mut self, application: ApplicationId, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        if self.swept_at <= self.of.len() {
            // A full one is as good as none.
            self.of.retain(|_, bucket| now < bucket.full_at());
            self.swept_at = BUCKETS_KEPT.max(2 * self.of.len());
        }
        let bucket = self.of.entry(application).or_insert_with(|| RateLimit::of_burst(rate, now));
        bucket.take(now).map_err(|at| at.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(n: u32) -> ApplicationId {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        ApplicationId::from_bytes(bytes)
    }

    #[test]
    fn each_application_has_its_own_and_is_told_how_long_to_wait() {
        let rate = Rate::per_second(NonZeroU32::MIN).burst(NonZeroU32::MIN.saturating_add(1));
        let mut buckets = Buckets { of: HashMap::new(), swept_at: BUCKETS_KEPT };
        let at = |millis: u64| Timestamp::from_nanos(millis * 1_000_000);
        let mut take = |n: u32, millis: u64| buckets.take(application(n), rate, at(millis));
        assert_eq!((take(1, 5), take(1, 5)), (Ok(()), Ok(())));
        assert_eq!(take(1, 255), Err(Duration::from_millis(750)));
        assert_eq!(take(2, 255), Ok(()));
        assert_eq!((take(1, 1_005), take(1, 1_005)), (Ok(()), Err(Duration::from_secs(1))));
    }

    #[test]
    fn those_that_are_not_used_are_forgotten() {
        let rate = Rate::per_second(NonZeroU32::MIN);
        let mut buckets = Buckets { of: HashMap::new(), swept_at: BUCKETS_KEPT };
        for n in 0..100_000 {
            // A thousand a second, each full again after one.
            let now = Timestamp::from_nanos(u64::from(n) * 1_000_000);
            assert_eq!(buckets.take(application(n), rate, now), Ok(()));
            assert!(buckets.of.len() <= BUCKETS_KEPT);
        }
    }
}
