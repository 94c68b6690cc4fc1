use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::{SplitMix, Timestamp};

fn application(n: u64) -> ApplicationId {
    ApplicationId::new(Timestamp::from_nanos(0), &mut SplitMix::new(n))
}

fn endpoint(n: u64) -> EndpointId {
    EndpointId::new(Timestamp::from_nanos(0), &mut SplitMix::new(n))
}

fn granted(turns: &mut ByteTurns<u64>) -> Vec<(ByteShare, u64)> {
    std::iter::from_fn(|| turns.poll_grant()).collect()
}

fn names(granted: &[(ByteShare, u64)]) -> Vec<u64> {
    granted.iter().map(|(_, name)| *name).collect()
}

#[test]
fn endpoints_take_turns_and_wait_for_room() {
    let mut turns = ByteTurns::new(30);
    for name in [10, 11, 12, 13] {
        turns.ask(application(1), endpoint(1), Pace::Brisk, 10, name);
    }
    turns.ask(application(1), endpoint(2), Pace::Brisk, 10, 20);
    let first = granted(&mut turns);
    assert_eq!(names(&first), [10, 20, 11]);
    turns.give_back(&first[0].0);
    assert_eq!(names(&granted(&mut turns)), [12]);
}

#[test]
fn nobody_passes_a_large_one_and_one_that_is_too_large_goes_alone() {
    let mut turns = ByteTurns::new(30);
    for (n, bytes) in [(1, 10), (2, 100), (3, 10)] {
        turns.ask(application(n), endpoint(n), Pace::Brisk, bytes, n);
    }
    let first = granted(&mut turns);
    assert_eq!(names(&first), [1]);
    turns.give_back(&first[0].0);
    let large = granted(&mut turns);
    assert_eq!(names(&large), [2]);
    turns.give_back(&large[0].0);
    assert_eq!(names(&granted(&mut turns)), [3]);
}

#[test]
fn those_that_hang_leave_half_to_the_others() {
    let mut turns = ByteTurns::new(100);
    for n in 0..50 {
        turns.ask(application(1), endpoint(n), Pace::Slow, 10, n);
    }
    assert_eq!(granted(&mut turns).len(), 5);
    turns.ask(application(1), endpoint(99), Pace::Brisk, 50, 99);
    assert_eq!(names(&granted(&mut turns)), [99], "at once");
}

/// One tenant had ten thousand endpoints, and each of them a turn before the one endpoint of another tenant.
#[test]
fn an_application_has_one_turn_however_many_endpoints_it_has() {
    let mut turns = ByteTurns::new(10);
    for n in 0..1_000 {
        turns.ask(application(1), endpoint(n), Pace::Brisk, 10, n);
    }
    let first = granted(&mut turns);
    turns.ask(application(2), endpoint(5_000), Pace::Brisk, 10, 5_000);
    turns.give_back(&first[0].0);
    let second = granted(&mut turns);
    turns.give_back(&second[0].0);
    assert_eq!((names(&second), names(&granted(&mut turns))), (vec![1], vec![5_000]), "after the next of the thousand");
}

/// As long as a brisk endpoint wanted some, a slow one had none at all.
#[test]
fn a_slow_endpoint_has_its_turn_among_brisk_ones() {
    let mut turns = ByteTurns::new(40);
    for n in 0..100 {
        turns.ask(application(1), endpoint(1), Pace::Brisk, 10, n);
    }
    let mut running = VecDeque::from(granted(&mut turns));
    turns.ask(application(2), endpoint(2), Pace::Slow, 15, 1_000);
    for _ in 0..4 {
        let over = running.pop_front().expect("some run");
        turns.give_back(&over.0);
        running.extend(granted(&mut turns));
    }
    assert!(running.iter().any(|(_, name)| *name == 1_000), "no piece of its room is given to others in between");
}

/// What an application holds, it may hold for long: then there is still room for another.
#[test]
fn no_application_has_everything() {
    let mut turns = ByteTurns::new(1_000);
    for n in 0..1_000 {
        turns.ask(application(1), endpoint(n), Pace::Brisk, 10, n);
    }
    assert!(granted(&mut turns).len() > 90);
    turns.ask(application(2), endpoint(5_000), Pace::Brisk, 10, 5_000);
    assert_eq!(names(&granted(&mut turns)), [5_000], "while nothing is given back");
}

proptest! {
    // C1
    #[test]
    fn no_more_is_held_than_there_is_and_everybody_comes_to_their_turn(
        wishes in prop::collection::vec((0..6_u64, any::<bool>(), 0..40_usize), 1..200),
    ) {
        let mut turns = ByteTurns::new(100);
        let mut held = VecDeque::new();
        let (asked, mut served) = (wishes.len(), 0);
        let mut wishes = wishes.into_iter();
        loop {
            let next = wishes.next();
            if let Some((n, is_brisk, bytes)) = next {
                let pace = if is_brisk { Pace::Brisk } else { Pace::Slow };
                turns.ask(application(n % 3), endpoint(n), pace, bytes, n);
            }
            let granted = granted(&mut turns);
            served += granted.len();
            held.extend(granted);
            let sum: usize = held.iter().map(|(share, _)| share.bytes).sum();
            prop_assert_eq!(sum, turns.used());
            prop_assert!(sum <= 100);
            let slow: usize = held.iter().filter(|(share, _)| share.line == Line::Slow).map(|(share, _)| share.bytes).sum();
            prop_assert!(slow <= 50);
            if next.is_none() {
                let Some((share, _)) = held.pop_front() else { break };
                turns.give_back(&share);
            }
        }
        prop_assert_eq!((served, turns.used()), (asked, 0));
    }
}
