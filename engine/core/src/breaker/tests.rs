//! The breaker, told of attempts by hand and at random.

use std::{collections::BTreeSet, num::NonZeroU32};

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

fn policy() -> BreakerPolicy {
    BreakerPolicy::default()
}

fn at(seconds: u64) -> Timestamp {
    NOW + SECOND * u32::try_from(seconds).expect("is short")
}

/// Five deliveries failed in the first second.
fn tripped() -> Breaker {
    let mut breaker = Breaker::new(Some(policy()));
    for seq in 1..=5 {
        assert_eq!(breaker.gate(NOW), Gate::Pass);
        breaker.begin(Seq(seq), NOW);
        breaker.fail(Seq(seq), NOW);
    }
    breaker
}

/// Its probe, delivery 9, is in flight since second 10.
fn probing() -> Breaker {
    let mut breaker = tripped();
    breaker.begin(Seq(9), at(10));
    breaker
}

#[test]
fn opens_after_five_failures_in_a_row_of_three_deliveries() {
    let check = |failing: &[u64], opens: bool| {
        let mut breaker = Breaker::new(Some(policy()));
        for seq in failing {
            match seq {
                0 => breaker.succeed(Seq(0), NOW),
                _ => breaker.fail(Seq(*seq), NOW),
            }
        }
        assert_eq!(breaker.gate(NOW) != Gate::Pass, opens, "{failing:?}");
    };
    check(&[1, 2, 3, 4], false);
    check(&[1, 2, 3, 4, 5], true);
    check(&[1, 2, 1, 2, 3], true);
    check(&[1, 1, 1, 1, 1, 1, 1], false);
    check(&[1, 2, 1, 2, 1, 2, 1], false);
    check(&[1, 2, 1, 2, 1, 2, 1, 3], true);
    check(&[1, 2, 3, 4, 0, 5], false);
    check(&[1, 2, 3, 4, 0, 5, 6, 7, 8, 9], true);
}

#[test]
fn a_policy_of_fewer_failures_than_three_needs_no_more_deliveries_than_failures() {
    let mut breaker = Breaker::new(Some(BreakerPolicy { consecutive_failures: NonZeroU32::MIN, ..policy() }));
    breaker.fail(Seq(1), NOW);
    assert_eq!(breaker.gate(NOW), Gate::Wait(at(10)));
}

// Case 128: half of the attempts failing is a reason to wait, not to give up on the endpoint.
#[test]
fn opens_when_half_of_twenty_attempts_in_a_minute_failed() {
    let check = |attempts: u64, every: u64, apart: Duration, opens: bool| {
        let mut breaker = Breaker::new(Some(policy()));
        for seq in 1..=attempts {
            let now = NOW + apart * u32::try_from(seq).expect("is short");
            if seq % every == 0 { breaker.fail(Seq(seq), now) } else { breaker.succeed(Seq(seq), now) }
        }
        let opened = matches!(breaker.state(), BreakerState::Open { .. });
        assert_eq!(opened, opens, "{attempts} attempts {apart:?} apart, every {every}. failing");
    };
    check(18, 2, SECOND, false);
    check(20, 2, SECOND, true);
    check(300, 3, SECOND, false);
    // Nineteen attempts, at most, are in any minute.
    check(300, 2, Duration::from_millis(3200), false);
    check(300, 2, Duration::from_millis(2400), true);
}

#[test]
fn waits_out_its_cool_down_then_lets_one_probe_go() {
    let mut breaker = tripped();
    assert_eq!(breaker.gate(NOW), Gate::Wait(at(10)));
    assert!(!breaker.is_probe_due(at(9)));
    assert_eq!(breaker.last_failed(), Some(Seq(5)), "so that the probe can be another one");

    assert!(breaker.is_probe_due(at(10)));
    assert_eq!(breaker.gate(at(10)), Gate::Pass);
    breaker.begin(Seq(9), at(10));
    assert_eq!(breaker.gate(at(10)), Gate::Probing);
    assert!(!breaker.is_probe_due(at(10_000)));

    breaker.succeed(Seq(9), at(11));
    assert_eq!(breaker.state(), BreakerState::default());
}

#[test]
fn an_attempt_that_begins_too_early_is_no_probe() {
    let mut breaker = tripped();
    breaker.begin(Seq(9), at(9));
    assert_eq!(breaker.gate(at(9)), Gate::Wait(at(10)));
}

/// Whoever mended a receiver and tried it by hand waited for the end of a cool-down.
#[test]
fn a_try_by_hand_is_the_probe_at_once_and_if_it_fails_nothing_has_changed() {
    let mut breaker = tripped();
    let opened = breaker.state();
    breaker.begin_by_hand(Seq(9), at(2));
    assert_eq!(breaker.gate(at(2)), Gate::Probing, "one at a time");
    breaker.begin_by_hand(Seq(10), at(2));
    breaker.fail(Seq(10), at(2));
    assert_eq!(breaker.gate(at(2)), Gate::Probing, "it was no probe");
    breaker.fail(Seq(9), at(3));
    let BreakerState::Open { until, cool_down, last_failed: Seq(9) } = breaker.state() else { panic!("is open") };
    assert!(
        matches!(opened, BreakerState::Open { until: was, cool_down: wait, .. } if (was, wait) == (until, cool_down))
    );
    breaker.begin_by_hand(Seq(11), at(4));
    breaker.succeed(Seq(11), at(5));
    assert_eq!(breaker.state(), BreakerState::default());
}

#[test]
fn its_cool_down_doubles_up_to_ten_minutes_and_begins_anew_after_a_recovery() {
    let mut breaker = tripped();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let BreakerState::Open { until, cool_down, .. } = breaker.state() else { panic!("is open") };
        waits.push(cool_down.as_secs());
        breaker.begin(Seq(9), until);
        breaker.fail(Seq(9), until);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600]);

    breaker.begin(Seq(9), at(100_000));
    breaker.succeed(Seq(9), at(100_000));
    for seq in 1..=5 {
        breaker.fail(Seq(seq), at(100_000));
    }
    assert_eq!(breaker.gate(at(100_000)), Gate::Wait(at(100_010)));
}

// A probe that ended in 400, 413, 415 or 422 told the breaker nothing, which stayed half-open for ever.
#[test]
fn a_probe_whose_answer_says_nothing_of_the_endpoint_closes_it() {
    let mut breaker = probing();
    breaker.answered(Seq(9), at(11));
    assert_eq!(breaker.gate(at(11)), Gate::Pass);
    assert_eq!(breaker.state(), BreakerState::default());
}

#[test]
fn an_answer_that_says_nothing_of_the_endpoint_neither_feeds_nor_clears_it() {
    let mut breaker = Breaker::new(Some(policy()));
    for seq in 1..=4 {
        breaker.fail(Seq(seq), NOW);
    }
    let before = breaker.state();
    breaker.answered(Seq(5), NOW);
    assert_eq!(breaker.state(), before);
}

#[test]
fn a_probe_that_was_not_sent_makes_room_for_another() {
    let mut breaker = probing();
    breaker.forget(Seq(9), at(11));
    assert_eq!(breaker.gate(at(11)), Gate::Pass);
    breaker.begin(Seq(10), at(11));
    breaker.fail(Seq(10), at(12));
    assert_eq!(breaker.gate(at(12)), Gate::Wait(at(32)), "the cool-down went on growing");
}

// Any failure was taken for the probe's, so a late one let a second probe go while the first was in flight.
#[test]
fn late_answers_of_other_deliveries_change_nothing() {
    let mut half_open = probing();
    let mut open = tripped();
    for breaker in [&mut half_open, &mut open] {
        let before = breaker.state();
        breaker.fail(Seq(3), at(11));
        breaker.succeed(Seq(4), at(11));
        breaker.answered(Seq(6), at(11));
        breaker.forget(Seq(7), at(11));
        breaker.begin(Seq(8), at(9));
        assert_eq!(breaker.state(), before);
    }
}

#[test]
fn failures_from_before_the_trip_do_not_trip_it_again() {
    let mut breaker = probing();
    breaker.succeed(Seq(9), at(11));
    breaker.fail(Seq(10), at(11));
    assert_eq!(breaker.gate(at(11)), Gate::Pass);
}

#[test]
fn a_restart_forgives_nothing() {
    let check = |before: &Breaker, running: &[u64], now: Timestamp, expected: Gate| {
        let running: Vec<_> = running.iter().map(|seq| Seq(*seq)).collect();
        let restored = Breaker::restore(Some(policy()), before.state(), &running, now);
        assert_eq!(restored.gate(now), expected);
    };
    check(&tripped(), &[], at(5), Gate::Wait(at(10)));
    check(&tripped(), &[], at(15), Gate::Pass);
    check(&probing(), &[9], at(15), Gate::Probing);
    check(&probing(), &[8], at(15), Gate::Pass);

    let mut failing = Breaker::new(Some(policy()));
    (1..=4).for_each(|seq| failing.fail(Seq(seq), NOW));
    let mut restored = Breaker::restore(Some(policy()), failing.state(), &[], NOW);
    restored.fail(Seq(5), NOW);
    assert_eq!(restored.gate(NOW), Gate::Wait(at(10)), "failures in a row are remembered");

    let mut restored = Breaker::restore(Some(policy()), probing().state(), &[], at(15));
    assert!(restored.is_probe_due(at(15)), "the lost probe is made again");
    restored.begin(Seq(9), at(15));
    restored.fail(Seq(9), at(15));
    assert_eq!(restored.gate(at(15)), Gate::Wait(at(35)), "with its grown cool-down");
}

/// An actor sent the probe and ended; the one after it read from the store that the breaker was open, its time over, and sent
/// another one beside it.
#[test]
fn a_probe_that_was_sent_before_a_restart_is_still_the_probe() {
    let mut restored = Breaker::restore(Some(policy()), tripped().state(), &[Seq(9)], at(15));
    restored.inherit_probe(Seq(9), at(15));
    assert_eq!(restored.gate(at(15)), Gate::Probing);
    restored.fail(Seq(9), at(16));
    assert_eq!(restored.gate(at(16)), Gate::Wait(at(36)), "its failure counts");
    let mut closed = Breaker::new(Some(policy()));
    closed.inherit_probe(Seq(9), at(15));
    assert_eq!(closed.gate(at(15)), Gate::Pass, "it closed meanwhile");
}

// Case 162: the clock was wrong by hours when the breaker opened, and was set right over a restart.
#[test]
fn a_clock_that_was_set_back_holds_it_open_no_longer_than_its_maximum() {
    let long_ago = Timestamp::from_nanos(NOW.as_nanos() - 8 * 3_600_000_000_000);
    let restored = Breaker::restore(Some(policy()), tripped().state(), &[], long_ago);
    assert_eq!(restored.gate(long_ago), Gate::Wait(long_ago + Duration::from_secs(600)));
}

#[test]
fn a_new_policy_keeps_the_state_and_shortens_the_wait() {
    let mut breaker = tripped();
    let shorter = BreakerPolicy { cool_down: SECOND, cool_down_max: SECOND * 3, ..policy() };
    breaker.replace_policy(Some(shorter), NOW);
    assert_eq!(breaker.gate(NOW), Gate::Wait(at(3)));
    breaker.replace_policy(None, NOW);
    assert_eq!(breaker.gate(NOW), Gate::Pass);
    breaker.replace_policy(Some(policy()), NOW);
    assert_eq!(breaker.gate(NOW), Gate::Pass, "what was switched off begins anew");
}

#[test]
fn without_a_policy_it_never_opens() {
    let mut breaker = Breaker::restore(None, tripped().state(), &[], NOW);
    for seq in 0..1000 {
        breaker.begin(Seq(seq), NOW);
        breaker.fail(Seq(seq), NOW);
        assert_eq!(breaker.gate(NOW), Gate::Pass);
    }
}

#[test]
fn a_policy_has_bounds() {
    let check = |change: fn(&mut BreakerPolicy), expected| {
        let mut changed = policy();
        change(&mut changed);
        assert_eq!(changed.validate(), expected, "{changed:?}");
    };
    check(|_| {}, Ok(()));
    check(|policy| policy.failure_ratio = 0, Err(InvalidBreakerPolicy::Ratio));
    check(|policy| policy.failure_ratio = 101, Err(InvalidBreakerPolicy::Ratio));
    check(|policy| policy.window = Duration::ZERO, Err(InvalidBreakerPolicy::Window));
    check(|policy| policy.window = Duration::from_secs(3601), Err(InvalidBreakerPolicy::Window));
    check(|policy| policy.cool_down = Duration::ZERO, Err(InvalidBreakerPolicy::CoolDown));
    check(|policy| policy.cool_down = Duration::from_secs(601), Err(InvalidBreakerPolicy::CoolDown));
    check(|policy| policy.cool_down_max = Duration::MAX, Err(InvalidBreakerPolicy::CoolDownMax));
    assert_eq!(InvalidBreakerPolicy::Window.to_string(), "window of the breaker must be 1 s to 3600 s");
}

#[test]
fn its_state_is_stored_in_a_few_bytes() {
    let check = |state: BreakerState, bytes_max: usize| {
        let stored = postcard::to_stdvec(&state).expect("states can be stored");
        assert!(stored.len() <= bytes_max, "{state:?} takes {}", stored.len());
        assert_eq!(postcard::from_bytes(&stored), Ok(state));
    };
    check(BreakerState::default(), 5);
    check(tripped().state(), 16);
    check(probing().state(), 16);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    BeginByHand,
    Succeed(usize),
    Fail(usize),
    Answer(usize),
    Forget(usize),
    Wait(u64),
    Restart,
    /// The actor and its attempts are gone.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let pick = 0..8_usize;
    prop_oneof![
        6 => Just(Step::Begin),
        2 => Just(Step::BeginByHand),
        1 => pick.clone().prop_map(Step::Succeed),
        6 => pick.clone().prop_map(Step::Fail),
        1 => pick.clone().prop_map(Step::Answer),
        1 => pick.prop_map(Step::Forget),
        3 => (0..15_000_u64).prop_map(Step::Wait),
        1 => (0..700_000_u64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

/// Begins attempts only when the gate says so, ends them in any order, and watches.
struct Watched {
    breaker: Breaker,
    now: Timestamp,
    running: BTreeSet<Seq>,
    probes: BTreeSet<Seq>,
    next: u64,
    /// The probe in flight was asked for by a person, while attempts had to wait until then.
    by_hand: Option<Timestamp>,
    /// The cool-down that a probe's failure must double.
    cool_down: Option<Duration>,
}

impl Watched {
    fn take(&mut self, step: Step) {
        match step {
            Step::Begin => self.begin(),
            Step::BeginByHand => self.begin_by_hand(),
            Step::Succeed(pick) => self.end(pick, Breaker::succeed),
            Step::Fail(pick) => self.end(pick, Breaker::fail),
            Step::Answer(pick) => self.end(pick, Breaker::answered),
            Step::Forget(pick) => self.end(pick, Breaker::forget),
            Step::Wait(millis) => self.now = self.now + Duration::from_millis(millis),
            Step::Restart => self.restore(),
            Step::Crash => {
                self.running.clear();
                self.probes.clear();
                self.restore();
                self.by_hand = None;
            }
        }
        self.check();
    }

    fn begin(&mut self) {
        if self.breaker.gate(self.now) != Gate::Pass {
            return;
        }
        let seq = Seq(self.next);
        self.next += 1;
        if self.breaker.is_probe_due(self.now) {
            self.probes.insert(seq);
        }
        self.breaker.begin(seq, self.now);
        self.running.insert(seq);
    }

    fn begin_by_hand(&mut self) {
        let until = match self.breaker.gate(self.now) {
            Gate::Pass => return self.begin(),
            Gate::Probing => return,
            Gate::Wait(until) => until,
        };
        let seq = Seq(self.next);
        self.next += 1;
        self.probes.insert(seq);
        self.by_hand = Some(until);
        self.breaker.begin_by_hand(seq, self.now);
        self.running.insert(seq);
    }

    fn end(&mut self, pick: usize, how: fn(&mut Breaker, Seq, Timestamp)) {
        let Some(seq) = self.running.iter().nth(pick % self.running.len().max(1)).copied() else { return };
        let before = self.breaker.state();
        how(&mut self.breaker, seq, self.now);
        self.running.remove(&seq);
        let was_probe = self.probes.remove(&seq);
        let opened = before != self.breaker.state();
        let by_hand = self.by_hand.take_if(|_| was_probe);
        assert!(was_probe || !opened || matches!(before, BreakerState::Closed { .. }), "{seq:?} was late");
        assert!(!was_probe || opened, "the probe's end decides");
        if let BreakerState::Open { cool_down, until, .. } = self.breaker.state()
            && opened
        {
            let expected = match self.cool_down {
                None => policy().cool_down,
                Some(before) if by_hand.is_some() => before,
                Some(before) if until > self.now => (before * 2).min(policy().cool_down_max),
                Some(before) => before,
            };
            assert_eq!(cool_down, expected);
            let expected = by_hand.map_or(vec![self.now + cool_down, self.now], |until| vec![until]);
            assert!(expected.contains(&until), "{until:?}, not {expected:?}");
        }
    }

    fn restore(&mut self) {
        let running: Vec<_> = self.running.iter().copied().collect();
        self.breaker = Breaker::restore(Some(policy()), self.breaker.state(), &running, self.now);
    }

    fn check(&mut self) {
        assert!(self.probes.len() <= 1, "B1: {:?} probe at once", self.probes);
        self.cool_down = match self.breaker.state() {
            BreakerState::Closed { .. } => None,
            BreakerState::Open { cool_down, until, .. } => {
                assert!(self.probes.is_empty());
                assert_eq!(self.breaker.gate(self.now) == Gate::Pass, until <= self.now, "B1: open means wait");
                assert!(until <= self.now + policy().cool_down_max);
                Some(cool_down)
            }
            BreakerState::HalfOpen { probe, cool_down, by_hand } => {
                assert_eq!(by_hand, self.by_hand);
                assert_eq!(self.probes.iter().copied().collect::<Vec<_>>(), [probe]);
                assert_eq!(self.breaker.gate(self.now), Gate::Probing);
                Some(cool_down)
            }
        };
    }
}

proptest! {
    #[test]
    fn never_two_probes_at_once_and_no_pass_while_open(steps in prop::collection::vec(step(), 1..200)) {
        let mut watched = Watched {
            breaker: Breaker::new(Some(policy())),
            now: NOW,
            running: BTreeSet::new(),
            probes: BTreeSet::new(),
            next: 1,
            by_hand: None,
            cool_down: None,
        };
        steps.into_iter().for_each(|step| watched.take(step));
    }
}
