use std::time::Duration;

use super::*;
use crate::{
    Attempt, AttemptId, AttemptNumber, Delivery, DeliveryId, EndpointId, EventId, Failure, Generation, LaneId, Life,
    Outcome, Place, Priority, Seq, SoftState, SplitMix, Step, Then, Timestamp, Transition, Write,
};

#[test]
fn applications_take_turns_however_much_one_of_them_has_waiting() {
    let mut waiting = grouping();
    for n in 0..5 {
        waiting.push(application(1), batch(), n).expect("there is room");
    }
    waiting.push(application(2), batch(), 100).expect("there is room");
    assert!(waiting.next_group().iter().any(|(_, who)| *who == 100), "the first group has one of each");
}

#[test]
fn our_own_take_half_of_a_group_while_others_wait_and_keep_their_order() {
    let mut waiting = grouping();
    (0..10).for_each(|n| waiting.push_own(batch(), n));
    for n in 100..108 {
        waiting.push(application(1), batch(), n).expect("there is room");
    }
    assert_eq!(whos(waiting.next_group()), [0, 1, 100, 101]);
    let failed = [(batch(), 0), (batch(), 1)];
    waiting.push_back_own(failed.into_iter());
    assert_eq!(whos(waiting.next_group())[..2], [0, 1], "what failed goes first again");
}

#[test]
fn too_many_of_one_application_are_refused_and_its_neighbour_is_not() {
    let mut waiting = grouping();
    for n in 0..8 {
        waiting.push(application(1), batch(), n).expect("there is room");
    }
    assert_eq!(waiting.push(application(1), batch(), 9), Err(NotTaken::Full));
    assert_eq!(waiting.push(application(2), batch(), 9), Ok(()));
    waiting.close();
    assert_eq!(waiting.push(application(3), batch(), 9), Err(NotTaken::Closed));
    assert_eq!(waiting.take_requests().len(), 9);
    assert!(waiting.is_done());
}

#[test]
fn bytes_that_wait_are_bounded_over_all_applications() {
    let mut waiting = Grouping::new(GroupLimits { waiting_bytes: 100, ..limits() });
    assert_eq!(waiting.push(application(1), batch(), 1), Ok(()), "one is always taken");
    assert_eq!(waiting.push(application(2), batch(), 2), Err(NotTaken::Full), "64 bytes each");
    assert_eq!(waiting.next_group().len(), 1);
    assert_eq!(waiting.push(application(2), batch(), 2), Ok(()), "there is room again");
}

/// Answers of 16 KiB are kept with outcomes: 64 of them were a whole group, and a publisher waited behind a thousand.
#[test]
fn large_outcomes_leave_room_for_requests() {
    let limits = GroupLimits { batches: 512, bytes: 1 << 20, rows: 16_384, waiting: 1024, waiting_bytes: 64 << 20 };
    let mut waiting = Grouping::new(limits);
    (0..1_000).for_each(|n| waiting.push_own(outcome(16 << 10), n));
    for n in 0..16 {
        waiting.push(application(n), batch(), 10_000).expect("there is room");
    }
    let whos = whos(waiting.next_group());
    assert_eq!(whos.iter().filter(|who| **who == 10_000).count(), 16, "of {}", whos.len());
}

#[test]
fn a_request_is_in_every_group_however_large_our_own_are() {
    let mut waiting = Grouping::new(GroupLimits { batches: 1, bytes: 10, ..limits() });
    (0..10).for_each(|n| waiting.push_own(outcome(1 << 10), n));
    waiting.push(application(1), batch(), 100).expect("there is room");
    assert_eq!(whos(waiting.next_group()), [0, 100]);
    assert_eq!(whos(waiting.next_group()), [1], "and with none, there is only what fits");
}

#[test]
fn bytes_of_one_application_leave_room_for_its_neighbour() {
    let mut waiting = Grouping::new(GroupLimits { waiting: 1_000, waiting_bytes: 100 * batch().bytes(), ..limits() });
    let taken = (0..100).filter(|n| waiting.push(application(1), batch(), *n).is_ok()).count();
    assert_eq!(taken, 50);
    let taken = (0..100).filter(|n| waiting.push(application(2), batch(), *n).is_ok()).count();
    assert_eq!(taken, 25, "half of what is left");
    assert_eq!(waiting.push(application(3), batch(), 0), Ok(()));
}

/// A tenant's expiries were the engine's own work, and went before all else.
#[test]
fn work_in_the_background_takes_the_turns_of_its_application() {
    let mut waiting = grouping();
    (0..20).for_each(|n| waiting.push_background(application(1), batch(), n));
    waiting.push_own(batch(), 1_000);
    waiting.push(application(1), batch(), 100).expect("its background does not count against its limit");
    waiting.push(application(2), batch(), 200).expect("there is room");
    assert_eq!(whos(waiting.next_group()), [1_000, 0, 200, 1]);
}

/// With an answer of so many bytes.
fn outcome(bytes: usize) -> Batch {
    let (now, mut dice) = (Timestamp::from_nanos(0), SplitMix::new(3));
    let delivery = Delivery {
        id: DeliveryId { endpoint: EndpointId::new(now, &mut dice), seq: Seq(1) },
        event: EventId::new(now, &mut dice),
        generation: Generation(0),
        lane: LaneId(0),
        place: Place::Ready,
        attempts: 0,
        life: Life::FIRST,
        since: now,
        bytes: 2,
        priority: Priority::Normal,
    };
    let attempt = Attempt {
        id: AttemptId::new(now, &mut dice),
        number: AttemptNumber(1),
        url: Default::default(),
        started: now,
        took: Duration::ZERO,
        outcome: Outcome::Failure(Failure::TimedOut),
        response: vec![0; bytes].into(),
        then: Then::RetryAt(now),
    };
    let (before, after) = (delivery.clone(), Some(delivery));
    let transition = Transition { before, after, step: Step::Attempted(attempt), dead: None };
    Batch { writes: vec![Write::Outcome(Box::new(transition))], ..batch() }
}

fn limits() -> GroupLimits {
    GroupLimits { batches: 4, bytes: 1 << 20, rows: 1000, waiting: 8, waiting_bytes: 1 << 20 }
}

fn grouping() -> Grouping<u32> {
    Grouping::new(limits())
}

fn whos(group: Vec<(Batch, u32)>) -> Vec<u32> {
    group.into_iter().map(|(_, who)| who).collect()
}

fn batch() -> Batch {
    let endpoint = EndpointId::new(Timestamp::from_nanos(0), &mut SplitMix::new(1));
    Batch::synced([Write::Soft(endpoint, SoftState::default())])
}

fn application(n: u64) -> ApplicationId {
    ApplicationId::new(Timestamp::from_nanos(n * 1_000_000_000_000_000_000), &mut SplitMix::new(n))
}
