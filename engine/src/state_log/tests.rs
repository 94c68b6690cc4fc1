use std::time::Duration;

use postrider_core::{EndpointId, Timestamp};

use super::{KEPT, StateLog};

fn endpoint(number: u32) -> EndpointId {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    EndpointId::from_bytes(bytes)
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(0) + Duration::from_secs(seconds)
}

#[test]
fn an_endpoint_that_changes_all_the_time_gets_a_few_lines_and_then_one_a_minute() {
    let log = StateLog::new(at(0));
    let mut lines = Vec::new();
    for second in 0..600 {
        lines.extend(log.lines().of_endpoint(endpoint(1), at(second)));
    }
    assert!((14..=15).contains(&lines.len()), "{lines:?}");
    assert_eq!(lines[..5], [0; 5]);
    assert_eq!(lines.iter().sum::<u64>() + lines.len() as u64, 600 - log.lines().of[&endpoint(1)].left_out);
}

#[test]
fn an_endpoint_says_something_though_another_changes_all_the_time() {
    let log = StateLog::new(at(0));
    for _ in 0..10_000 {
        let _one = log.lines().of_endpoint(endpoint(1), at(0));
    }
    assert_eq!(log.lines().of_endpoint(endpoint(2), at(0)), Some(0));
}

#[test]
fn all_together_are_bounded_too() {
    let log = StateLog::new(at(0));
    let lines = (0..100_000).filter(|number| log.lines().of_endpoint(endpoint(*number), at(0)).is_some()).count();
    assert_eq!(lines, 200);
    assert!(log.lines().of.len() <= KEPT, "{}", log.lines().of.len());
}
