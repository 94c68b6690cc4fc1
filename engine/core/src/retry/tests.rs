//! When a failed delivery is tried again.

use proptest::prelude::*;

use super::*;
use crate::SplitMix;

const NOW: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

/// Waits in milliseconds, without jitter, until the policy gives up.
fn waits(policy: &RetryPolicy, class: RetryClass, retry_after: Option<u64>) -> Vec<u64> {
    let policy = policy.clone().without_jitter();
    let retry_after = retry_after.map(Duration::from_secs);
    let wait = |made| policy.retry_at(made, class, retry_after, NOW, &mut SplitMix::new(1));
    (1..=100).map_while(wait).map(|at| u64::try_from(at.since(NOW).as_millis()).expect("is short")).collect()
}

fn check(delays: &[u64], class: RetryClass, retry_after: Option<u64>, expected: &[u64]) {
    let policy = RetryPolicy::delays(delays.iter().map(|secs| Duration::from_secs(*secs)));
    let expected: Vec<_> = expected.iter().map(|secs| secs * 1000).collect();
    assert_eq!(waits(&policy, class, retry_after), expected, "{delays:?} {class:?} {retry_after:?}");
    if class != RetryClass::NotCounted {
        assert_eq!(policy.max_attempts(class) as usize, expected.len() + 1);
    }
}

#[test]
fn gives_up_when_its_delays_are_used_up() {
    use RetryClass::{Brief, Never, Schedule};
    check(&[5, 30], Schedule, None, &[5, 30]);
    check(&[], Schedule, None, &[]);
    check(&[1, 2, 3, 4, 5, 6], Brief, None, &[1, 2, 3, 4]);
    check(&[1, 2], Brief, None, &[1, 2]);
    check(&[5, 30], Never, None, &[]);
    check(&[5, 30], Never, Some(3), &[]);
}

#[test]
fn waits_at_least_as_long_as_the_receiver_asked() {
    use RetryClass::{Brief, Schedule};
    check(&[5, 30], Schedule, Some(10), &[10, 30]);
    check(&[5, 30], Schedule, Some(60), &[60, 60]);
    check(&[5, 30], Brief, Some(60), &[60, 60]);
    // A thousand years are a day.
    check(&[5], Schedule, Some(31_536_000_000), &[86_400]);
    check(&[5], Schedule, Some(u64::MAX), &[86_400]);
    check(&[172_800], Schedule, Some(86_400), &[172_800]);
}

#[test]
fn the_default_is_eleven_attempts_in_about_two_days() {
    let policy = RetryPolicy::default();
    let waits = waits(&policy, RetryClass::Schedule, None);
    assert_eq!(policy.max_attempts(RetryClass::Schedule), 11);
    assert_eq!(waits.iter().sum::<u64>() / 3_600_000, 44, "hours");
    assert_eq!(policy.max_attempts(RetryClass::Brief), 5);
    assert_eq!(waits[..4].iter().sum::<u64>() / 1000, 156, "seconds: a deploy's time");
}

#[test]
fn what_was_not_sent_is_tried_again_soon_and_for_ever() {
    let policy = RetryPolicy::delays([]).without_jitter();
    for made in [0, 1, 100] {
        let at = policy.retry_at(made, RetryClass::NotCounted, None, NOW, &mut SplitMix::new(1));
        assert_eq!(at, Some(NOW + Duration::from_secs(1)));
    }
}

#[test]
fn a_policy_has_bounds() {
    let check = |delays: &[u64], expected| {
        let policy = RetryPolicy::delays(delays.iter().map(|secs| Duration::from_secs(*secs)));
        assert_eq!(policy.validate(), expected);
    };
    check(&[], Ok(()));
    check(&[604_800; 64], Ok(()));
    check(&[1; 65], Err(InvalidRetryPolicy::TooManyDelays { delays: 65 }));
    check(&[1, 604_801], Err(InvalidRetryPolicy::DelayTooLong { number: 2 }));
    assert_eq!(RetryPolicy::default().validate(), Ok(()));
    let error = InvalidRetryPolicy::DelayTooLong { number: 2 };
    assert_eq!(error.to_string(), "delay 2 of the retry schedule is longer than 7 days");
}

#[test]
fn an_endless_delay_does_not_overflow() {
    let policy = RetryPolicy::delays([Duration::MAX]);
    let at = policy.retry_at(1, RetryClass::Schedule, Some(Duration::MAX), NOW, &mut SplitMix::new(1));
    assert!(at.is_some_and(|at| at.since(NOW) <= RETRY_DELAY_MAX * 2));
}

// Case 93: what failed together must not come back together.
#[test]
fn a_crowd_that_failed_together_is_spread() {
    let policy = RetryPolicy::delays([Duration::from_secs(10)]);
    let mut dice = SplitMix::new(7);
    let mut at = || policy.retry_at(1, RetryClass::Schedule, None, NOW, &mut dice).map(|at| at.since(NOW));
    let waits: Vec<_> = (0..500).filter_map(|_| at()).collect();
    let (first, last) = (waits.iter().min().expect("all wait"), waits.iter().max().expect("all wait"));
    assert!(*first >= Duration::from_secs(8) && *last <= Duration::from_secs(12));
    assert!(*last - *first >= Duration::from_secs(3), "{first:?} to {last:?}");
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![0..5_000_000_000_u64, 0..700_000_000_000_000_u64].prop_map(Duration::from_nanos)
}

proptest! {
    #[test]
    fn jitter_stays_within_a_fifth(delay in duration(), seed: u64) {
        prop_assume!(delay <= RETRY_DELAY_MAX);
        let policy = RetryPolicy::delays([delay]);
        let at = policy.retry_at(1, RetryClass::Schedule, None, NOW, &mut SplitMix::new(seed));
        let wait = at.map(|at| at.since(NOW)).expect("there is a delay");
        prop_assert!(delay * 80 / 100 <= wait && wait <= delay * 120 / 100 + Duration::from_nanos(1), "{:?}", wait);
    }

    #[test]
    fn a_retry_after_is_never_shortened(delay in duration(), asked in duration(), seed: u64, brief: bool) {
        let policy = RetryPolicy::delays([delay]);
        let class = if brief { RetryClass::Brief } else { RetryClass::Schedule };
        let at = policy.retry_at(1, class, Some(asked), NOW, &mut SplitMix::new(seed));
        let wait = at.map(|at| at.since(NOW)).expect("there is a delay");
        let least = delay.min(RETRY_DELAY_MAX).max(asked.min(RETRY_AFTER_MAX));
        prop_assert!(least <= wait && wait <= least * 120 / 100 + Duration::from_nanos(1), "{:?}", wait);
    }

    #[test]
    fn the_same_dice_give_the_same_wait(delay in duration(), seed: u64) {
        let policy = RetryPolicy::delays([delay]);
        let at = |mut dice| policy.retry_at(1, RetryClass::Schedule, None, NOW, &mut dice);
        prop_assert_eq!(at(SplitMix::new(seed)), at(SplitMix::new(seed)));
    }
}
