use super::*;
use crate::{EndpointId, SoftState, SplitMix, Timestamp, Write};

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
