//! Counts attempts and failures over the last while, in a few buckets.

use std::time::Duration;

use crate::Timestamp;

const BUCKETS: usize = 6;

/// Attempts and failures of the last window; its edge is one bucket wide.
#[derive(Clone, Debug)]
pub(super) struct FailureWindow {
    buckets: [Bucket; BUCKETS],
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Which stretch of time it counts: so many bucket widths since the epoch.
    number: u64,
    attempts: u32,
    failures: u32,
}

impl FailureWindow {
    pub(super) const fn new() -> Self {
        Self { buckets: [Bucket { number: 0, attempts: 0, failures: 0 }; BUCKETS] }
    }

    pub(super) fn record(&mut self, failed: bool, window: Duration, now: Timestamp) {
        let number = number(window, now);
        let bucket = &mut self.buckets[(number % BUCKETS as u64) as usize];
        if bucket.number != number {
            *bucket = Bucket { number, attempts: 0, failures: 0 };
        }
        bucket.attempts = bucket.attempts.saturating_add(1);
        bucket.failures = bucket.failures.saturating_add(u32::from(failed));
    }

    /// Attempts, and the failures among them.
    pub(super) fn counts(&self, window: Duration, now: Timestamp) -> (u32, u32) {
        let number = number(window, now);
        let recent = self.buckets.iter().filter(|bucket| number.saturating_sub(bucket.number) < BUCKETS as u64);
        recent.fold((0, 0), |(attempts, failures), bucket| {
            (bucket.attempts.saturating_add(attempts), bucket.failures.saturating_add(failures))
        })
    }
}

fn number(window: Duration, now: Timestamp) -> u64 {
    let width = u64::try_from(window.as_nanos() / BUCKETS as u128).unwrap_or(u64::MAX).max(1);
    now.as_nanos() / width
}
