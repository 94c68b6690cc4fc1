use super::*;
use crate::SplitMix;

#[test]
fn it_reads_what_is_due_and_sleeps_until_the_next() {
    let mut scanner = WakeScanner::new(10);
    let limit = scans(&mut scanner, at(5));
    scanner.scanned(&[row(1), row(4)], limit, at(5), Some(at(9)));
    assert_eq!(scanner.next(at(5)), WakeCommand::Sleep(Some(at(9))));
    scanner.note(at(7));
    assert_eq!(scanner.next(at(5)), WakeCommand::Sleep(Some(at(7))), "a retirement left an earlier one");
    scans(&mut scanner, at(7));
}

#[test]
fn it_starts_no_more_actors_than_there_may_be_and_goes_on_when_one_leaves() {
    let mut scanner = WakeScanner::new(2);
    let limit = scans(&mut scanner, at(5));
    assert_eq!(limit.get(), 2);
    scanner.scanned(&[row(1), row(2)], limit, at(5), None);
    [1, 2].into_iter().for_each(|n| scanner.started(row(n).1, at(5)));
    assert_eq!(scanner.next(at(5)), WakeCommand::Sleep(Some(at(35))));
    assert!(!scanner.left(row(3).1), "it was active by itself");
    assert!(scanner.left(row(1).1));
    let after = Some(row(2));
    let scan = WakeCommand::Scan { after, until: at(5), limit: NonZeroUsize::MIN };
    assert_eq!(scanner.next(at(5)), scan, "from where it stopped");
}

/// As many endpoints as there may be were busy for hours, and no retry of any other was due.
#[test]
fn those_that_stay_busy_are_no_reason_to_start_no_others() {
    let mut scanner = WakeScanner::new(2);
    let limit = scans(&mut scanner, at(5));
    scanner.scanned(&[row(1), row(2)], limit, at(5), None);
    [1, 2].into_iter().for_each(|n| scanner.started(row(n).1, at(5)));
    assert_eq!(scanner.next(at(34)), WakeCommand::Sleep(Some(at(35))));
    assert_eq!(scans(&mut scanner, at(35)).get(), 2);
    scanner.started(row(3).1, at(36));
    scanner.left(row(3).1);
    scanner.started(row(3).1, at(40));
    assert_eq!(scans(&mut scanner, at(66)).get(), 1, "started anew, it counts anew");
}

#[test]
fn with_nothing_to_wait_for_it_sleeps_until_something_is_noted() {
    let mut scanner = WakeScanner::new(10);
    let limit = scans(&mut scanner, at(5));
    scanner.scanned(&[], limit, at(5), None);
    assert_eq!(scanner.next(at(6)), WakeCommand::Sleep(None));
    scanner.note(at(8));
    assert_eq!(scanner.next(at(6)), WakeCommand::Sleep(Some(at(8))));
    scanner.store_reopened();
    scans(&mut scanner, at(6));
}

fn scans(scanner: &mut WakeScanner, now: Timestamp) -> NonZeroUsize {
    match scanner.next(now) {
        WakeCommand::Scan { limit, .. } => limit,
        WakeCommand::Sleep(until) => panic!("sleeps until {until:?}"),
    }
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos(second * 1_000_000_000)
}

fn row(second: u64) -> WakeKey {
    (at(second), EndpointId::new(at(second), &mut SplitMix::new(second)))
}
