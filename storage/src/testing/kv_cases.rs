//! What every backend must do, case by case: the contract of [`OrderedKv`].

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use bytes::Bytes;
use postrider_core::Durability::{self, Relaxed, Synced};

use super::kv_harness::KvMedium;
use crate::kv::{
    Direction::{self, Backward, Forward},
    OrderedKv, Partition, Row,
};

const WEEK: Partition = Partition(2_900);
const OTHER: Partition = Partition(2_901);

/// Both kinds of durability, and rows of both kinds of partition.
pub fn what_is_written_is_read_and_survives_reopening(medium: &KvMedium) {
    let kv = medium.open();
    write(&*kv, vec![put(WEEK, "event", "1"), put(Partition::LASTING, "ready", "2")], Synced);
    write(&*kv, vec![delete(Partition::LASTING, "ready"), put(WEEK, "attempt", "")], Relaxed);
    let is_there = |kv: &dyn OrderedKv| {
        assert_eq!(get(kv, WEEK, "event").as_deref(), Some(&b"1"[..]));
        assert_eq!(get(kv, WEEK, "attempt").as_deref(), Some(&b""[..]), "an empty value is a value");
        assert_eq!(get(kv, Partition::LASTING, "ready"), None);
    };
    is_there(&*kv);
    drop(kv);
    is_there(&*medium.open());
}

/// In one write and in the next.
pub fn a_later_row_with_the_same_key_counts(medium: &KvMedium) {
    let kv = medium.open();
    let rows = vec![put(WEEK, "a", "1"), put(WEEK, "a", "2"), put(WEEK, "b", "1"), delete(WEEK, "b")];
    write(&*kv, rows, Synced);
    assert_eq!(all(&*kv, WEEK), "a=2");
    write(&*kv, vec![delete(WEEK, "a"), put(WEEK, "a", "3")], Relaxed);
    drop(kv);
    assert_eq!(all(&*medium.open(), WEEK), "a=3");
}

/// A snapshot does not see a write that is on its way, nor one that ended while it is held.
pub fn nothing_is_visible_before_its_write_returns(medium: &KvMedium) {
    let kv = medium.open();
    write(&*kv, vec![put(WEEK, "a", "old")], Synced);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let before = kv.snapshot().expect("a snapshot");
        let writer = scope.spawn(|| {
            write(&*kv, vec![put(WEEK, "a", "new"), put(OTHER, "b", "new")], Synced);
            ended.store(true, Ordering::Release);
        });
        for _ in 0..2_000 {
            assert_eq!(before.get(WEEK, b"a").expect("a read").as_deref(), Some(&b"old"[..]));
            assert_eq!(before.get(OTHER, b"b").expect("a read"), None);
            thread::yield_now();
        }
        // A backend without snapshots lets the writer wait for this.
        drop(before);
        writer.join().expect("the write ends");
    });
    assert!(ended.load(Ordering::Acquire));
    assert_eq!((all(&*kv, WEEK), all(&*kv, OTHER)), ("a=new".into(), "b=new".into()));
}

/// The next write can be put together while the one before it is synced: it follows that one, and readers do not.
pub fn what_is_begun_is_followed_by_the_next_write_and_read_by_nobody(medium: &KvMedium) {
    let kv = medium.open();
    write(&*kv, vec![put(WEEK, "a", "1"), put(WEEK, "b", "1")], Synced);
    let first = kv.begin(&[put(WEEK, "a", "2"), delete(WEEK, "b")], Synced).expect("it is begun");
    let second = kv.begin(&[put(WEEK, "c", "2"), put(OTHER, "d", "2")], Relaxed).expect("it is begun");
    let latest = |partition| {
        let snapshot = kv.latest().expect("a snapshot");
        let rows = snapshot.scan(partition, b"\0"..b"\xff", Forward, NonZeroUsize::MAX).expect("a scan");
        let found = snapshot.get(partition, b"a").expect("a read");
        assert_eq!(found, rows.iter().find(|(key, _)| key == "a").map(|(_, value)| value.clone()));
        in_words(&rows)
    };
    assert_eq!((latest(WEEK), latest(OTHER)), ("a=2 c=2".into(), "d=2".into()));
    if let (Some(first), Some(second)) = (first, second) {
        assert!(first < second);
        assert_eq!((all(&*kv, WEEK), all(&*kv, OTHER)), ("a=1 b=1".into(), String::new()), "nothing is settled");
        kv.settle(first).expect("it settles");
        assert_eq!((all(&*kv, WEEK), all(&*kv, OTHER)), ("a=2".into(), String::new()));
        kv.settle(second).expect("it settles");
        kv.settle(first).expect("it is settled already");
    }
    assert_eq!((all(&*kv, WEEK), all(&*kv, OTHER)), ("a=2 c=2".into(), "d=2".into()));
    let begun: Vec<_> =
        (0..3).map(|n: u32| kv.begin(&[put(WEEK, "a", n.to_string())], Relaxed).expect("it is begun")).collect();
    begun[2].map_or(Ok(()), |last| kv.settle(last)).expect("it settles");
    assert_eq!(all(&*kv, WEEK), "a=2 c=2", "a later one settles those before it");
    begun[0].map_or(Ok(()), |first| kv.settle(first)).expect("it is settled already");
    drop(kv);
    assert_eq!(all(&*medium.open(), WEEK), "a=2 c=2");
}

/// Two rows that always change together, in two partitions, are never seen apart.
pub fn concurrent_readers_see_whole_writes_only(medium: &KvMedium) {
    let kv = medium.open();
    let rows = |number: u32| {
        let many = (0..20).map(|row| put(WEEK, &format!("row-{row:02}"), number.to_string()));
        many.chain([put(OTHER, "last", number.to_string())]).collect::<Vec<_>>()
    };
    write(&*kv, rows(0), Synced);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut newest = 0;
            while !ended.load(Ordering::Acquire) {
                let snapshot = kv.snapshot().expect("a snapshot");
                let last = snapshot.get(OTHER, b"last").expect("a read").expect("a row");
                let rows = snapshot.scan(WEEK, b"row-"..b"row.", Forward, NonZeroUsize::MAX).expect("a scan");
                assert!(rows.len() == 20 && rows.iter().all(|(_, value)| *value == last), "{last:?} with {rows:?}");
                let number = String::from_utf8_lossy(&last).parse::<u32>().expect("a number");
                assert!(number >= newest, "what was visible stays so");
                newest = number;
                drop(snapshot);
                thread::yield_now();
            }
        });
        for number in 1..200 {
            write(&*kv, rows(number), if number % 20 == 0 { Synced } else { Relaxed });
        }
        ended.store(true, Ordering::Release);
        reader.join().expect("every picture is whole");
    });
}

/// Ends are excluded, limits count from the end asked for.
pub fn ranges_are_read_in_both_directions_up_to_a_limit(medium: &KvMedium) {
    let kv = medium.open();
    let keys = ["a", "ab", "b", "ba", "c"];
    write(&*kv, keys.iter().map(|key| put(WEEK, key, "1")).collect(), Synced);
    write(&*kv, vec![put(OTHER, "aa", "no")], Synced);
    let check = |range: Range<&str>, direction, limit, expected: &str| {
        assert_eq!(scan(&*kv, WEEK, range.clone(), direction, limit), expected, "{range:?} {direction:?} {limit}");
    };
    check("a".."c", Forward, 9, "a ab b ba");
    check("a".."c", Backward, 9, "ba b ab a");
    check("a".."c", Forward, 2, "a ab");
    check("a".."c", Backward, 2, "ba b");
    check("aa".."b\0", Forward, 9, "ab b");
    check("b".."b\0", Backward, 9, "b");
    check("\0".."~", Backward, 1, "c");
    check("d".."e", Forward, 9, "");
    check("".."ab", Forward, 9, "a");
}

/// Cursors come from outside: a range that ends before it starts is no reason to panic.
pub fn an_empty_or_reversed_range_holds_nothing(medium: &KvMedium) {
    let kv = medium.open();
    write(&*kv, ["a", "b", "c"].map(|key| put(WEEK, key, "1")).to_vec(), Synced);
    for range in ["b".."b", "c".."a", "z".."", "".."", "b\0".."b"] {
        for direction in [Forward, Backward] {
            assert_eq!(scan(&*kv, WEEK, range.clone(), direction, 9), "", "{range:?} {direction:?}");
            assert_eq!(scan(&*kv, OTHER, range.clone(), direction, 9), "", "{range:?} {direction:?}");
        }
    }
    assert_eq!(all(&*kv, WEEK), "a=1 b=1 c=1", "and it goes on");
}

/// One key in neighbouring partitions.
pub fn partitions_do_not_see_each_other(medium: &KvMedium) {
    let kv = medium.open();
    let partitions = [0, 1, 255, 256, u32::MAX - 1, u32::MAX].map(Partition);
    let longest = "k".repeat(400);
    for Partition(number) in partitions {
        let row = |key| put(Partition(number), key, number.to_string());
        write(&*kv, vec![row("\0"), row(&longest), row("\u{7f}")], Relaxed);
    }
    for Partition(number) in partitions {
        let expected = format!("\0={number} {longest}={number} \u{7f}={number}");
        assert_eq!(all(&*kv, Partition(number)), expected);
    }
    write(&*kv, vec![delete(Partition(255), "\0")], Relaxed);
    assert_eq!(get(&*kv, Partition(256), "\0").as_deref(), Some(&b"256"[..]));
}

/// Ids come from outside and name any week.
pub fn reading_an_unknown_partition_finds_nothing(medium: &KvMedium) {
    let kv = medium.open();
    for number in 1_000..1_050 {
        assert_eq!(get(&*kv, Partition(number), "a"), None);
        assert_eq!(all(&*kv, Partition(number)), "");
        kv.drop_partition(Partition(number)).expect("what is unknown is dropped already");
    }
    write(&*kv, vec![delete(OTHER, "a")], Relaxed);
    assert_eq!(all(&*kv, OTHER), "");
}

/// Retention runs after a restart too.
pub fn a_partition_is_dropped_though_it_was_not_used_since_opening(medium: &KvMedium) {
    let kv = medium.open();
    write(&*kv, vec![put(WEEK, "a", "1"), put(WEEK, "large", vec![7; 20_000]), put(OTHER, "b", "2")], Synced);
    drop(kv);
    let kv = medium.open();
    kv.drop_partition(WEEK).expect("dropped");
    let is_gone = |kv: &dyn OrderedKv| {
        assert_eq!((all(kv, WEEK), all(kv, OTHER)), (String::new(), "b=2".into()));
        assert_eq!(get(kv, WEEK, "a"), None);
    };
    is_gone(&*kv);
    drop(kv);
    is_gone(&*medium.open());
}

/// Also in the same breath, and over a reopening.
pub fn a_dropped_partition_begins_again_empty(medium: &KvMedium) {
    let kv = medium.open();
    for round in 0..3 {
        write(&*kv, vec![put(WEEK, &format!("a{round}"), "1"), put(OTHER, &format!("b{round}"), "1")], Synced);
        kv.drop_partition(WEEK).expect("dropped");
        assert_eq!(all(&*kv, WEEK), "");
    }
    write(&*kv, vec![put(WEEK, "again", "1")], Synced);
    assert_eq!(all(&*kv, WEEK), "again=1");
    drop(kv);
    let kv = medium.open();
    assert_eq!((all(&*kv, WEEK), all(&*kv, OTHER)), ("again=1".into(), "b0=1 b1=1 b2=1".into()));
}

/// A setting allows payloads of 64 MiB; these are large enough to be more than any buffer or piece of a backend's.
pub fn a_value_larger_than_any_buffer_comes_back_whole(medium: &KvMedium) {
    let value = (0..(9_u32 << 20)).map(|at| (at % 251) as u8 ^ (at >> 12) as u8).collect::<Vec<_>>();
    let kv = medium.open();
    write(&*kv, vec![put(WEEK, "large", value.clone())], Synced);
    drop(kv);
    let read = medium.open().snapshot().expect("a snapshot").get(WEEK, b"large").expect("read");
    assert!(read.is_some_and(|read| read == value));
}

/// Forgetting a week takes long: reads and writes of others go on meanwhile, and see it whole or not at all.
pub fn others_are_read_and_written_while_a_partition_is_dropped(medium: &KvMedium) {
    let kv = medium.open();
    for group in 0..10 {
        let rows = (0..2_000).map(|number| put(WEEK, &format!("{group}{number:05}"), "1"));
        write(&*kv, rows.collect(), Relaxed);
    }
    write(&*kv, vec![put(OTHER, "a", "1")], Synced);
    thread::scope(|scope| {
        let dropping = scope.spawn(|| kv.drop_partition(WEEK));
        let mut written = 0;
        while !dropping.is_finished() {
            written += 1;
            write(&*kv, vec![put(OTHER, "a", written.to_string())], Relaxed);
            let seen = kv.snapshot().expect("a snapshot");
            let all: Range<&[u8]> = b""..b"\xff";
            let rows = seen.scan(WEEK, all, Forward, NonZeroUsize::MAX).expect("read").len();
            assert!(rows == 0 || rows == 20_000, "{rows} rows");
        }
        dropping.join().expect("it ends").expect("dropped");
    });
    assert_eq!(all(&*kv, WEEK), "");
}

/// From nothing to more than a payload may have, around every limit a backend is known to have, by get and by scan.
pub fn values_of_every_size_come_back_whole(medium: &KvMedium) {
    let sizes = [0, 1, 7_167, 7_168, 7_169, 14_336, 14_337, 65_536, 1 << 20, 3 << 20];
    let value = |size: usize| (0..size).map(|at| (at % 251) as u8 ^ (at >> 8) as u8).collect::<Vec<_>>();
    let kv = medium.open();
    for size in sizes {
        write(&*kv, vec![put(WEEK, &format!("{size:08}"), value(size)), put(WEEK, &format!("{size:08}+"), "")], Synced);
    }
    let are_there = |kv: &dyn OrderedKv| {
        let snapshot = kv.snapshot().expect("a snapshot");
        for direction in [Forward, Backward] {
            let mut rows = snapshot.scan(WEEK, b"0"..b"~", direction, NonZeroUsize::MAX).expect("a scan");
            if direction == Backward {
                rows.reverse();
            }
            assert_eq!(rows.len(), 2 * sizes.len());
            for (row, size) in rows.chunks(2).zip(sizes) {
                assert_eq!(row[0].0, format!("{size:08}"));
                assert!(row[0].1 == value(size), "{size} bytes by scan");
                assert!(get(kv, WEEK, &format!("{size:08}")) == Some(value(size).into()), "{size} bytes by get");
                assert_eq!(row[1], (format!("{size:08}+").into(), Bytes::new()));
            }
        }
    };
    are_there(&*kv);
    drop(kv);
    are_there(&*medium.open());
}

/// Nothing of the larger value is left over, nor counted by a limit.
pub fn a_large_value_gives_way_to_a_small_one_and_back(medium: &KvMedium) {
    let kv = medium.open();
    for size in [100_000, 10, 20_000, 0, 50_000, 7_200] {
        write(&*kv, vec![put(WEEK, "a", vec![b'x'; size]), put(WEEK, "b", "1")], Relaxed);
        assert_eq!(get(&*kv, WEEK, "a"), Some(vec![b'x'; size].into()));
        assert_eq!(scan(&*kv, WEEK, "a".."c", Forward, 2), "a b");
        assert_eq!(scan(&*kv, WEEK, "a".."c", Backward, 1), "b");
    }
    write(&*kv, vec![delete(WEEK, "a"), put(WEEK, "a", vec![b'y'; 30_000]), delete(WEEK, "a")], Synced);
    assert_eq!(all(&*kv, WEEK), "b=1");
    drop(kv);
    assert_eq!(all(&*medium.open(), WEEK), "b=1");
}

/// The committer syncs what came before with it.
pub fn a_write_without_rows_is_a_write(medium: &KvMedium) {
    let kv = medium.open();
    write(&*kv, Vec::new(), Synced);
    write(&*kv, vec![put(WEEK, "a", "1")], Relaxed);
    write(&*kv, Vec::new(), Synced);
    assert_eq!(all(&*kv, WEEK), "a=1");
}

/// No lock and no thread outlives the last handle.
pub fn it_opens_again_at_once(medium: &KvMedium) {
    for round in 0..10 {
        let kv = medium.open();
        assert_eq!(get(&*kv, WEEK, "round"), (round > 0).then(|| (round - 1).to_string().into()));
        write(&*kv, vec![put(WEEK, "round", round.to_string())], Synced);
    }
}

/// More than one page, one buffer and one segment of any backend.
pub fn many_writes_survive_reopening(medium: &KvMedium) {
    let kv = medium.open();
    for group in 0..200u8 {
        let rows = (0..20u8).map(|row| put(WEEK, &format!("{row:02}-{group:03}"), vec![row; 500])).collect();
        write(&*kv, rows, if group % 10 == 0 { Synced } else { Relaxed });
    }
    let emptied = (0..200).map(|group| delete(WEEK, &format!("00-{group:03}"))).collect();
    write(&*kv, emptied, Synced);
    drop(kv);
    let kv = medium.open();
    let rows = kv.snapshot().expect("a snapshot").scan(WEEK, b"\0"..b"~", Forward, NonZeroUsize::MAX).expect("a scan");
    assert_eq!(rows.len(), 19 * 200);
    assert!(rows.is_sorted());
    assert_eq!(scan(&*kv, WEEK, "00".."02", Forward, 2), "01-000 01-001");
    assert_eq!(scan(&*kv, WEEK, "00".."02", Backward, 2), "01-199 01-198");
}

/// Writes, dropped partitions and reopenings in any order: reads always agree with a plain map.
pub fn any_history_reads_like_a_map(medium: &KvMedium) {
    let given = std::env::var("POSTRIDER_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seed = given.unwrap_or_else(|| std::process::id().into()).max(1);
    println!("POSTRIDER_SEED={seed} and the name of this test run it again");
    let steps = if std::env::var_os("POSTRIDER_LONG").is_some() { 2_000 } else { 150 };
    let mut dice = Dice(seed);
    let mut model = BTreeMap::<Partition, BTreeMap<Bytes, Bytes>>::new();
    let mut kv = medium.open();
    for _ in 0..steps {
        let partition = Partition(dice.below(3));
        match dice.below(40) {
            0 => {
                kv.drop_partition(partition).expect("dropped");
                model.remove(&partition);
            }
            1 => {
                drop(kv);
                kv = medium.open();
            }
            _ => {
                let rows = (0..dice.below(12)).map(|_| dice.row()).collect::<Vec<_>>();
                for (partition, key, value) in rows.clone() {
                    let stored = model.entry(partition).or_default();
                    match value {
                        Some(value) => drop(stored.insert(key, value)),
                        None => drop(stored.remove(&key)),
                    }
                }
                write(&*kv, rows, if dice.below(4) == 0 { Synced } else { Relaxed });
            }
        }
        let nothing = BTreeMap::new();
        let stored = model.get(&partition).unwrap_or(&nothing);
        let (from, to, limit) = (dice.key(), dice.key(), dice.below(20) as usize + 1);
        let snapshot = kv.snapshot().expect("a snapshot");
        assert_eq!(snapshot.get(partition, &from).expect("a read").as_ref(), stored.get(&from), "{from:?}");
        let mut expected = stored.iter().filter(|(key, _)| from <= **key && **key < to).collect::<Vec<_>>();
        for direction in [Forward, Backward] {
            let rows = snapshot.scan(partition, &from..&to, direction, NonZeroUsize::new(limit).expect("at least 1"));
            let rows = rows.expect("a scan");
            let equal = rows.iter().map(|(key, value)| (key, value)).eq(expected.iter().copied().take(limit));
            assert!(equal, "{from:?}..{to:?} {direction:?} {limit}");
            expected.reverse();
        }
    }
}

/// xorshift: the same history from the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32 % end
    }

    fn key(&mut self) -> Bytes {
        let number = self.below(40);
        Bytes::from(format!("{number}{}", "-".repeat(number as usize % 3)))
    }

    fn row(&mut self) -> Row {
        let bytes = match self.below(20) {
            0 => self.below(60_000),
            1..5 => 0,
            _ => self.below(2_000),
        };
        let value = (0..bytes).map(|_| self.below(256) as u8).collect::<Vec<_>>();
        (Partition(self.below(3)), self.key(), (self.below(4) > 0).then(|| value.into()))
    }
}

fn put(partition: Partition, key: &str, value: impl Into<Vec<u8>>) -> Row {
    (partition, Bytes::copy_from_slice(key.as_bytes()), Some(Bytes::from(value.into())))
}

fn delete(partition: Partition, key: &str) -> Row {
    (partition, Bytes::copy_from_slice(key.as_bytes()), None)
}

fn write(kv: &dyn OrderedKv, rows: Vec<Row>, durability: Durability) {
    kv.write(&rows, durability).expect("the write is stored");
}

fn get(kv: &dyn OrderedKv, partition: Partition, key: &str) -> Option<Bytes> {
    kv.snapshot().expect("a snapshot").get(partition, key.as_bytes()).expect("a read")
}

/// The keys found, in the order they came.
fn scan(kv: &dyn OrderedKv, partition: Partition, range: Range<&str>, direction: Direction, limit: usize) -> String {
    let limit = NonZeroUsize::new(limit).expect("a limit");
    let range = range.start.as_bytes()..range.end.as_bytes();
    let rows = kv.snapshot().expect("a snapshot").scan(partition, range, direction, limit).expect("a scan");
    rows.iter().map(|(key, _)| String::from_utf8_lossy(key)).collect::<Vec<_>>().join(" ")
}

/// Everything in a partition.
fn all(kv: &dyn OrderedKv, partition: Partition) -> String {
    let snapshot = kv.snapshot().expect("a snapshot");
    in_words(&snapshot.scan(partition, b"\0"..b"\xff", Forward, NonZeroUsize::MAX).expect("a scan"))
}

fn in_words(rows: &[(Bytes, Bytes)]) -> String {
    let text = |(key, value): &(Bytes, Bytes)| String::from_utf8_lossy(&[key, &b"="[..], value].concat()).into_owned();
    rows.iter().map(text).collect::<Vec<_>>().join(" ")
}
