use super::*;
use crate::SplitMix;

#[test]
fn it_reads_what_is_due_and_sleeps_until_the_next() {
    let mut scanner = WakeScanner::new(10);
    let limit = scans(&scanner, at(5), 0);
    scanner.scanned(&[row(1), row(4)], limit, at(5), Some(at(9)));
    assert_eq!(scanner.next(at(5), 2), WakeCommand::Sleep(Some(at(9))));
    scanner.note(at(7));
    assert_eq!(scanner.next(at(5), 2), WakeCommand::Sleep(Some(at(7))), "a retirement left an earlier one");
    scans(&scanner, at(7), 2);
}

#[test]
fn it_starts_no_more_actors_than_there_may_be_and_goes_on_when_one_leaves() {
    let mut scanner = WakeScanner::new(2);
    let limit = scans(&scanner, at(5), 0);
    assert_eq!(limit.get(), 2);
    scanner.scanned(&[row(1), row(2)], limit, at(5), None);
    assert_eq!(scanner.next(at(5), 2), WakeCommand::Sleep(None));
    let after = Some(row(2));
    let scan = WakeCommand::Scan { after, until: at(5), limit: NonZeroUsize::MIN };
    assert_eq!(scanner.next(at(5), 1), scan, "from where it stopped");
}

#[test]
fn with_nothing_to_wait_for_it_sleeps_until_something_is_noted() {
    let mut scanner = WakeScanner::new(10);
    let limit = scans(&scanner, at(5), 0);
    scanner.scanned(&[], limit, at(5), None);
    assert_eq!(scanner.next(at(6), 0), WakeCommand::Sleep(None));
    scanner.note(at(8));
    assert_eq!(scanner.next(at(6), 0), WakeCommand::Sleep(Some(at(8))));
    scanner.store_reopened();
    scans(&scanner, at(6), 0);
}

fn scans(scanner: &WakeScanner, now: Timestamp, active: usize) -> NonZeroUsize {
    match scanner.next(now, active) {
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
