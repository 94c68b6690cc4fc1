use Durability::{Relaxed, Synced};

use super::*;

fn write(kv: &MemoryKv, rows: &[(&'static str, Option<&'static str>)], durability: Durability) {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let row = |(key, value): &(&'static str, Option<&'static str>)| (Partition::LASTING, bytes(key), value.map(bytes));
    kv.write(&rows.iter().map(row).collect::<Vec<_>>(), durability).expect("memory takes every write");
}

fn stored(kv: &MemoryKv) -> String {
    let snapshot = kv.snapshot().expect("memory can be read");
    let rows = snapshot.scan(Partition::LASTING, b"\0"..b"~", Direction::Forward, NonZeroUsize::MAX);
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let rows = rows.expect("memory can be scanned");
    rows.iter().map(|(key, value)| text(key) + "=" + &text(value)).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_power_cut_takes_relaxed_writes_whole_and_the_latest_first() {
    let kv = MemoryKv::with_power_cuts();
    write(&kv, &[("a", Some("1")), ("b", Some("1"))], Synced);
    write(&kv, &[("a", Some("2")), ("c", Some("2"))], Relaxed);
    write(&kv, &[("a", None), ("b", Some("3")), ("b", Some("4"))], Relaxed);
    write(&kv, &[("a", Some("5"))], Relaxed);
    assert_eq!((kv.unsynced(), stored(&kv)), (3, "a=5 b=4 c=2".into()));
    kv.clone().cut_power(2);
    assert_eq!((kv.unsynced(), stored(&kv)), (0, "b=4 c=2".into()));
}

#[test]
fn a_power_cut_that_keeps_nothing_goes_back_to_the_last_synced_write() {
    let kv = MemoryKv::with_power_cuts();
    write(&kv, &[("a", Some("1"))], Relaxed);
    write(&kv, &[("b", Some("1"))], Synced);
    write(&kv, &[("a", None), ("b", Some("2")), ("c", Some("2")), ("b", Some("3"))], Relaxed);
    write(&kv, &[("b", None)], Relaxed);
    kv.cut_power(0);
    assert_eq!(stored(&kv), "a=1 b=1");
    write(&kv, &[("d", Some("1"))], Relaxed);
    kv.cut_power(9);
    assert_eq!(stored(&kv), "a=1 b=1 d=1", "what survived a cut is on the disk");
    kv.cut_power(0);
    assert_eq!(stored(&kv), "a=1 b=1 d=1", "and stays there");
}

#[test]
fn a_synced_write_without_rows_covers_the_relaxed_ones_before_it() {
    let kv = MemoryKv::with_power_cuts();
    write(&kv, &[("a", Some("1"))], Relaxed);
    write(&kv, &[], Synced);
    kv.cut_power(0);
    assert_eq!(stored(&kv), "a=1");
}

#[test]
fn a_dropped_partition_does_not_come_back_with_the_power() {
    let kv = MemoryKv::with_power_cuts();
    write(&kv, &[("a", Some("1"))], Synced);
    write(&kv, &[("a", Some("2"))], Relaxed);
    kv.drop_partition(Partition::LASTING).expect("memory drops every partition");
    kv.cut_power(0);
    assert_eq!(stored(&kv), "");
}

#[test]
fn without_power_cuts_nothing_is_kept_apart() {
    let kv = MemoryKv::default();
    write(&kv, &[("a", Some("1"))], Relaxed);
    kv.cut_power(0);
    assert_eq!((kv.unsynced(), stored(&kv)), (0, "a=1".into()));
}

/// A process died between writing and syncing an accept. The next one read it and sent it; then the power went and took
/// it, and the event after it got its id.
#[test]
fn what_a_store_finds_when_it_opens_is_on_the_disk() {
    let kv = MemoryKv::with_power_cuts();
    drop(crate::KvStore::over(kv.clone()).expect("it opens"));
    write(&kv, &[("a", Some("1"))], Synced);
    let row = (Partition::LASTING, Bytes::from_static(b"a"), Some(Bytes::from_static(b"2")));
    kv.begin(&[row], Synced).expect("memory takes every write");
    kv.end_process();
    drop(crate::KvStore::over(kv.clone()).expect("it opens again"));
    kv.cut_power(0);
    assert!(stored(&kv).contains("a=2"), "{}", stored(&kv));
}
