use super::*;
use crate::{Dice, SplitMix};

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
    assert_eq!(looks_at(&mut scanner, &[row(1), row(2), row(3)], at(5)), [row(1), row(2)]);
    assert_eq!(scanner.next(at(5)), WakeCommand::Sleep(Some(at(35))));
    assert!(!scanner.left(row(9).1), "it was active by itself");
    assert!(scanner.left(row(1).1));
    assert_eq!(looks_at(&mut scanner, &[row(1), row(2), row(3)], at(6)), [row(3)], "from where it stopped");
}

/// As many endpoints as there may be were busy for hours, and no retry of any other was due.
#[test]
fn those_that_stay_busy_are_no_reason_to_start_no_others() {
    let mut scanner = WakeScanner::new(2);
    let rows: Vec<_> = (1..=4).map(row).collect();
    assert_eq!(looks_at(&mut scanner, &rows, at(5)), rows[..2]);
    assert_eq!(scanner.next(at(34)), WakeCommand::Sleep(Some(at(35))));
    assert_eq!(looks_at(&mut scanner, &rows, at(35)), rows[2..]);
    scanner.left(row(3).1);
    scanner.started(row(3).1, ONE, at(40));
    scanner.left(row(4).1);
    scanner.note(at(41));
    assert_eq!(looks_at(&mut scanner, &[rows[3], row(41), row(42)], at(66)), [row(41)], "started anew, it counts anew");
}

/// All rows of one moment were those of one application, and all others waited until its endpoints had been started, as
/// many at a time as may be up.
#[test]
fn one_that_has_much_due_keeps_nobody_waiting() {
    let mut scanner = WakeScanner::new(100);
    let mut rows: Vec<_> = (1..=5_000).map(row).collect();
    looks_at(&mut scanner, &rows, at(5_000));
    rows.push(row(5_001));
    scanner.note(at(5_001));
    assert_eq!(found(&mut scanner, &rows, at(5_001), |_| OTHER), [row(5_001)]);
}

/// Whatever is up, leaves and comes: each row is looked at, and none twice.
#[test]
fn each_row_is_looked_at_once() {
    for seed in 0..50 {
        let mut dice = SplitMix::new(seed);
        let mut below = |end: u64| dice.roll() % end;
        let (applications, most) = (1 + below(5), 1 + below(40));
        let whose = |row: WakeKey| application(row.0.as_nanos() / 1_000_000_000 % applications);
        let mut scanner = WakeScanner::new(usize::try_from(most).unwrap_or(1));
        let (mut rows, mut up, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for now in 1..=300 {
            rows.push(row(now));
            scanner.note(at(now));
            if now % 20 == 0 {
                let looked_at = found(&mut scanner, &rows, at(now), whose);
                seen.extend(looked_at.iter().copied());
                up.extend(looked_at);
            }
            while !up.is_empty() && below(3) > 0 {
                let at = usize::try_from(below(up.len() as u64)).unwrap_or(0);
                scanner.left(up.swap_remove(at).1);
            }
        }
        let mut now = 300;
        while seen.len() < rows.len() && now < 300 + 30 * 400 {
            now += 30;
            seen.extend(found(&mut scanner, &rows, at(now), whose));
        }
        seen.sort_unstable();
        assert_eq!(seen, rows, "seed {seed}");
    }
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

/// Which of these rows of one application it looks at until it sleeps.
fn looks_at(scanner: &mut WakeScanner, rows: &[WakeKey], now: Timestamp) -> Vec<WakeKey> {
    found(scanner, rows, now, |_| ONE)
}

fn found(
    scanner: &mut WakeScanner,
    rows: &[WakeKey],
    now: Timestamp,
    whose: impl Fn(WakeKey) -> ApplicationId,
) -> Vec<WakeKey> {
    let mut looked_at = Vec::new();
    while let WakeCommand::Scan { after, until, limit } = scanner.next(now) {
        let mut behind = rows[rows.partition_point(|row| Some(*row) <= after)..].iter().copied().peekable();
        let read: Vec<_> = std::iter::from_fn(|| behind.next_if(|row| row.0 <= until)).take(limit.get()).collect();
        for row in &read {
            if scanner.found(*row, whose(*row)) == WakeTurn::Now {
                scanner.started(row.1, whose(*row), now);
                looked_at.push(*row);
            }
        }
        scanner.scanned(&read, limit, until, behind.next().map(|row| row.0));
    }
    looked_at
}

const ONE: ApplicationId = ApplicationId::from_bytes([1; 20]);
const OTHER: ApplicationId = ApplicationId::from_bytes([2; 20]);

fn application(n: u64) -> ApplicationId {
    ApplicationId::new(Timestamp::from_nanos(0), &mut SplitMix::new(n))
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos(second * 1_000_000_000)
}

fn row(second: u64) -> WakeKey {
    (at(second), EndpointId::new(at(second), &mut SplitMix::new(second)))
}
