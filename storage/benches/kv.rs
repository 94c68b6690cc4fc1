//! What durable groups of rows cost: `cargo bench -p postrider-storage --bench kv -- [groups]`.
//!
//! A group is what the committer writes at once: 64 events of four rows. The measure is a plain file with one sync for
//! each group, the best that this disk can do; noise is some 10 %, so take the ratio and the best of several runs.

use std::{
    error::Error,
    fs::File,
    io::Write,
    time::{Duration, Instant},
};

use postrider_core::Durability;
use postrider_storage::{
    Fjall, Sled,
    kv::{FjallKv, MemoryKv, OrderedKv, Partition, Row, SledKv},
};

type Failed = Box<dyn Error>;

const ROWS: usize = 64 * 4;
const ROW_BYTES: usize = 1024;
const WEEK: Partition = Partition(2_900);

fn main() -> Result<(), Failed> {
    let given = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let groups = given.unwrap_or(400);
    println!("{groups} groups of {ROWS} rows of {ROW_BYTES} bytes");
    let folder = tempfile::tempdir_in(std::env::var_os("POSTRIDER_BENCH_DIR").unwrap_or_else(|| ".".into()))?;
    let log = raw_log(&mut File::create(folder.path().join("log"))?, groups)?;
    report("plain log, a sync a group", groups, log, log);

    let memory = MemoryKv::default();
    report("memory", groups, write(&memory, 0, groups, Durability::Synced)?, log);

    let fjall = Fjall::at(folder.path().join("fjall"));
    let kv = FjallKv::open(&fjall)?;
    report("fjall, synced", groups, write(&kv, 0, groups, Durability::Synced)?, log);
    report("fjall, relaxed", groups, write(&kv, 1, groups, Durability::Relaxed)?, log);
    drop(kv);
    let start = Instant::now();
    let kv = FjallKv::open(&fjall)?;
    println!("{:<28} {:>9.0?}", "fjall, opening again", start.elapsed());
    report("fjall, synced, opened again", groups, write(&kv, 2, groups, Durability::Synced)?, log);
    drop(kv);

    let kv = SledKv::open(&Sled::at(folder.path().join("sled")))?;
    report("sled, synced", groups, write(&kv, 0, groups, Durability::Synced)?, log);
    Ok(())
}

fn report(what: &str, groups: usize, took: Duration, log: Duration) {
    let per_second = groups as f64 / took.as_secs_f64();
    println!("{what:<28} {per_second:>7.0} groups/s, ratio {:.2}", log.as_secs_f64() / took.as_secs_f64());
}

fn raw_log(log: &mut File, groups: usize) -> Result<Duration, Failed> {
    let bytes = (0..ROWS).flat_map(|row| value(row, 0)).collect::<Vec<_>>();
    let start = Instant::now();
    for _ in 0..groups {
        log.write_all(&bytes)?;
        log.sync_data()?;
    }
    Ok(start.elapsed())
}

fn write(kv: &dyn OrderedKv, round: usize, groups: usize, durability: Durability) -> Result<Duration, Failed> {
    let mut took = Duration::ZERO;
    for group in 0..groups {
        let rows = (0..ROWS).map(|row| self::row(round, group, row)).collect::<Vec<_>>();
        let start = Instant::now();
        kv.write(&rows, durability)?;
        took += start.elapsed();
    }
    Ok(took)
}

/// Two rows of an event lie in its week in order of time, two by endpoint and therefore anywhere.
fn row(round: usize, group: usize, row: usize) -> Row {
    let number = ((round * 100_000 + group) * ROWS + row) as u64;
    let (partition, key) = match row % 4 {
        0 | 1 => (WEEK, number),
        _ => (Partition::LASTING, number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
    };
    let key = [&key.to_be_bytes()[..], &[row as u8; 24]].concat();
    (partition, key.into(), Some(value(row, group).into()))
}

/// Nothing can compress it.
fn value(row: usize, group: usize) -> Vec<u8> {
    let mut seed = (row * 7 + group * 13 + 1) as u64;
    let mut byte = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 8) as u8
    };
    (0..ROW_BYTES).map(|_| byte()).collect()
}
