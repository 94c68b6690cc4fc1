use super::*;
use crate::{Dice, SplitMix, Timestamp};

#[test]
fn a_busy_application_does_not_keep_its_neighbour_waiting() {
    let mut turns = Permits::new(1);
    let (busy, quiet) = (application(1), application(2));
    for _ in 0..100 {
        turns.ask(busy, endpoint(1));
    }
    turns.ask(quiet, endpoint(2));
    let first = grant(&mut turns);
    turns.give_back(&first);
    assert_eq!(grant(&mut turns).endpoint, endpoint(2), "after one of the hundred");
}

#[test]
fn endpoints_of_one_application_take_turns() {
    let mut turns = Permits::new(4);
    [1, 2].into_iter().for_each(|n| turns.answered(application(1), endpoint(n), SLOW_ANSWER / 2));
    for _ in 0..3 {
        turns.ask(application(1), endpoint(1));
    }
    turns.ask(application(1), endpoint(2));
    let granted: Vec<_> = std::iter::from_fn(|| turns.poll_grant()).map(|permit| permit.endpoint).collect();
    assert_eq!(granted, [1, 2, 1, 1].map(endpoint));
}

#[test]
fn slow_endpoints_have_at_most_half_of_the_permits() {
    let mut turns = Permits::new(4);
    turns.answered(application(1), endpoint(1), SLOW_ANSWER * 2);
    for _ in 0..4 {
        turns.ask(application(1), endpoint(1));
    }
    let slow: Vec<_> = std::iter::from_fn(|| turns.poll_grant()).collect();
    assert_eq!(slow.len(), 2);
    turns.ask(application(2), endpoint(2));
    assert_eq!(grant(&mut turns).endpoint, endpoint(2), "the other half is free for those that answer");
}

/// As long as a brisk endpoint had a backlog, a slow one was never asked.
#[test]
fn a_slow_endpoint_has_its_turn_among_brisk_ones() {
    let mut turns = Permits::new(4);
    turns.answered(application(1), endpoint(1), SLOW_ANSWER / 2);
    turns.answered(application(2), endpoint(2), SLOW_ANSWER * 2);
    turns.ask(application(2), endpoint(2));
    (0..100).for_each(|_| turns.ask(application(1), endpoint(1)));
    let granted: Vec<_> = std::iter::from_fn(|| turns.poll_grant()).map(|permit| permit.endpoint).collect();
    assert_eq!(granted, [2, 1, 1, 1].map(endpoint), "and no other's is kept from it");
}

/// Fast and slow endpoints of one tenant have one turn together.
#[test]
fn two_paces_are_no_two_turns() {
    let mut turns = Permits::new(8);
    turns.answered(application(1), endpoint(1), SLOW_ANSWER / 2);
    turns.answered(application(1), endpoint(2), SLOW_ANSWER * 2);
    turns.answered(application(2), endpoint(3), SLOW_ANSWER / 2);
    for _ in 0..3 {
        [(1, 1), (1, 2), (2, 3)].into_iter().for_each(|(of, n)| turns.ask(application(of), endpoint(n)));
    }
    let granted: Vec<_> = std::iter::from_fn(|| turns.poll_grant()).map(|permit| permit.endpoint).collect();
    assert_eq!(granted[..6], [1, 3, 2, 3, 1, 3].map(endpoint));
}

/// Endpoints that begin to hang all in one moment, or that have never answered: one request each is enough for some
/// thousand of them to have every permit.
#[test]
fn no_application_has_every_permit() {
    let mut turns = Permits::new(1_000);
    for n in 0..2_000 {
        turns.ask(application(1), endpoint(n));
    }
    let hanging: Vec<_> = std::iter::from_fn(|| turns.poll_grant()).collect();
    assert!(hanging.len() > 900, "and yet it has nearly all");
    turns.ask(application(2), endpoint(5_000));
    assert_eq!(grant(&mut turns).endpoint, endpoint(5_000), "while nothing is given back");
}

#[test]
fn what_is_withdrawn_is_not_granted_and_nothing_leaks() {
    let mut turns = Permits::new(2);
    turns.ask(application(1), endpoint(1));
    turns.ask(application(1), endpoint(2));
    assert!(turns.withdraw(application(1), endpoint(1)));
    assert!(!turns.withdraw(application(1), endpoint(1)), "it had one wish");
    let permit = grant(&mut turns);
    assert_eq!((permit.endpoint, turns.poll_grant()), (endpoint(2), None));
    turns.give_back(&permit);
    assert_eq!((turns.free(), turns.waiting()), (2, 0));
}

/// Two thousand endpoints began to hang in one moment, and had every permit until the first of them timed out.
#[test]
fn what_never_answered_has_one_and_shares_in_half_for_the_rest() {
    let mut turns = Permits::new(10);
    for _ in 0..20 {
        turns.ask(application(1), endpoint(1));
        turns.ask(application(1), endpoint(2));
    }
    let granted: Vec<_> = std::iter::from_fn(|| turns.poll_grant()).collect();
    assert_eq!(granted.len(), 2 + 5);
    turns.ask(application(2), endpoint(3));
    assert_eq!(grant(&mut turns).endpoint, endpoint(3), "there is room for whoever comes");
    turns.answered(application(1), endpoint(1), SLOW_ANSWER / 2);
    let more: Vec<_> = std::iter::from_fn(|| turns.poll_grant()).map(|permit| permit.endpoint).collect();
    assert_eq!(more, [endpoint(1), endpoint(1)], "once it has answered, it has what it wants");
    granted.iter().for_each(|permit| turns.give_back(permit));
    turns.withdraw_all(application(1), endpoint(1));
    turns.withdraw_all(application(1), endpoint(2));
    assert_eq!((turns.waiting(), turns.unproven.len()), (0, 1), "nothing is left behind: {turns:?}");
}

fn grant(turns: &mut Permits) -> Permit {
    turns.poll_grant().expect("a permit is free and somebody waits")
}

fn application(n: u64) -> ApplicationId {
    ApplicationId::new(Timestamp::from_nanos(0), &mut SplitMix::new(n))
}

fn endpoint(n: u64) -> EndpointId {
    EndpointId::new(Timestamp::from_nanos(0), &mut SplitMix::new(n))
}

/// What is granted at once is what would be granted in its turn, whatever happened before.
#[test]
fn at_once_is_what_a_turn_would_give() {
    for seed in 0..200 {
        let mut dice = SplitMix::new(seed);
        let mut below = |n: u64| dice.roll() % n;
        let (mut quick, mut by_turns) = (Permits::new(12), Permits::new(12));
        let mut held: Vec<(Permit, Permit)> = Vec::new();
        for step in 0..400 {
            let (one, two) = if below(5) < 3 {
                let of = below(3);
                let (application, endpoint) = (application(of), endpoint(10 * of + below(3)));
                by_turns.ask(application, endpoint);
                let at_once = quick.ask_at_once(application, endpoint);
                (at_once.or_else(|| quick.poll_grant()), by_turns.poll_grant())
            } else if held.is_empty() {
                continue;
            } else {
                let (one, two) = held.swap_remove(below(held.len() as u64) as usize);
                let took = Duration::from_secs(below(8));
                quick.answered(one.application, one.endpoint, took);
                by_turns.answered(two.application, two.endpoint, took);
                quick.give_back(&one);
                by_turns.give_back(&two);
                (quick.poll_grant(), by_turns.poll_grant())
            };
            assert_eq!(one, two, "seed {seed}, step {step}");
            held.extend(one.zip(two));
        }
    }
}
