//! The bucket, asked at times of our choosing.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

fn rate(per_second: u32, burst: u32) -> Rate {
    let count = |count| NonZeroU32::new(count).expect("is not zero");
    Rate::per_second(count(per_second)).burst(count(burst))
}

fn millis(millis: u64) -> Timestamp {
    NOW + Duration::from_millis(millis)
}

/// How many tokens there are at `now`.
fn drain(limit: &mut RateLimit, now: Timestamp) -> usize {
    (0..10_000).take_while(|_| limit.take(now).is_ok()).count()
}

#[test]
fn starts_empty_and_fills_up_to_its_burst() {
    let mut limit = RateLimit::new(rate(2, 5), NOW);
    assert_eq!(limit.take(NOW), Err(millis(500)), "a restart grants no burst");
    assert_eq!(limit.take(millis(499)), Err(millis(500)));
    assert_eq!(drain(&mut limit, millis(500)), 1);
    assert_eq!(limit.take(millis(500)), Err(millis(1000)));
    assert_eq!(drain(&mut limit, millis(2000)), 3);
    assert_eq!(drain(&mut limit, millis(1_000_000)), 5);
}

#[test]
fn one_that_starts_full_grants_its_burst_at_once_and_no_more() {
    let mut limit = RateLimit::of_burst(rate(2, 5), NOW);
    assert_eq!(limit.full_at(), NOW);
    assert_eq!(drain(&mut limit, NOW), 5);
    assert_eq!(limit.take(NOW), Err(millis(500)));
    assert_eq!(limit.full_at(), millis(2500));
    assert_eq!(drain(&mut limit, millis(1000)), 2);
}

#[test]
fn says_when_it_will_be_full() {
    let mut limit = RateLimit::new(rate(2, 5), NOW);
    assert_eq!(limit.full_at(), millis(2500));
    assert_eq!(limit.take(millis(1000)), Ok(()));
    assert_eq!(limit.full_at(), millis(3000));
    assert!(limit.take(NOW).is_err());
    assert_eq!(limit.full_at(), millis(3000), "what was refused took nothing");
    assert_eq!(limit.take(millis(9000)), Ok(()));
    assert_eq!(limit.full_at(), millis(9500));
}

// Rates above a billion a second had a period of zero, which was taken for another rate.
#[test]
fn absurd_rates_are_clamped() {
    let check = |rate: Rate, after: Duration, tokens: usize| {
        let mut limit = RateLimit::new(rate, NOW);
        assert_eq!(drain(&mut limit, NOW), 0, "{rate:?}");
        assert_eq!(drain(&mut limit, NOW + after), tokens, "{rate:?}");
    };
    check(rate(u32::MAX, 7), Duration::from_nanos(3), 3);
    check(rate(u32::MAX, 7), Duration::from_secs(1), 7);
    check(rate(1, u32::MAX), Duration::from_secs(9), 9);
    check(rate(u32::MAX, u32::MAX), Duration::from_nanos(9), 9);
    let burst = NonZeroU32::MAX;
    check(Rate { period: Duration::ZERO, burst }, Duration::from_nanos(2), 2);
    check(Rate { period: Duration::MAX, burst }, Duration::from_secs(1 << 30), 0);
    check(Rate { period: Duration::from_secs(3600), burst }, Duration::from_secs(7200), 2);
}

/// A rate of 7 was 1,000,000,007 attempts in a billion seconds.
#[test]
fn no_rate_is_faster_than_asked_and_each_is_told_as_it_was_asked() {
    for per_second in (1..=31_623).chain([40_000, 50_000, 1_000_000]) {
        let rate = rate(per_second, 1);
        assert!(rate.period.as_nanos() * u128::from(per_second) >= 1_000_000_000, "{per_second}: {rate:?}");
        assert_eq!(rate.attempts_per_second(), per_second);
    }
}

proptest! {
    // R1, and case 95.
    #[test]
    fn in_any_time_at_most_the_burst_and_the_rate_are_taken(
        per_second in 1..2000_u32,
        burst in 1..50_u32,
        gaps in prop::collection::vec(prop_oneof![Just(0), 0..2_000_000_u64, 0..2_000_000_000_u64], 1..300),
    ) {
        let mut limit = RateLimit::new(rate(per_second, burst), NOW);
        let (mut now, mut taken) = (NOW, Vec::new());
        for gap in gaps {
            now = now + Duration::from_nanos(gap);
            match limit.take(now) {
                Ok(()) => taken.push(now),
                Err(until) => {
                    prop_assert!(until > now, "a refusal names a later time");
                    prop_assert!(until.since(now) <= Duration::from_secs(1));
                }
            }
        }
        let most = |time: Duration| {
            u64::try_from(time.as_nanos() * u128::from(per_second) / 1_000_000_000).expect("is short")
        };
        for (count, at) in taken.iter().enumerate() {
            prop_assert!((count as u64) < most(at.since(NOW)), "since the start, without a burst");
            for (earlier, from) in taken[..=count].iter().enumerate() {
                let attempts = (count - earlier) as u64 + 1;
                prop_assert!(attempts <= u64::from(burst) + most(at.since(*from)), "{attempts} since {from:?}");
            }
        }
    }

    #[test]
    fn a_token_is_there_when_the_refusal_said(per_second in 1..2000_u32, burst in 1..50_u32, gap in 0..3_000_000_000_u64) {
        let mut limit = RateLimit::new(rate(per_second, burst), NOW);
        let now = NOW + Duration::from_nanos(gap);
        drain(&mut limit, now);
        let until = limit.take(now).expect_err("is drained");
        prop_assert_eq!(limit.take(until), Ok(()));
    }

    #[test]
    fn a_full_bucket_holds_its_burst(
        per_second in 1..2000_u32,
        burst in 1..50_u32,
        gaps in prop::collection::vec(0..2_000_000_000_u64, 0..50),
    ) {
        let mut limit = RateLimit::new(rate(per_second, burst), NOW);
        let mut now = NOW;
        for gap in gaps {
            now = now + Duration::from_nanos(gap);
            let _either = limit.take(now);
        }
        let full_at = limit.full_at();
        prop_assert_eq!(drain(&mut limit, full_at), burst as usize);
    }
}
