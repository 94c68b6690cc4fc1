//! What is recorded: groups of rows in several partitions, new ones, dropped ones, tables, journals that are full, and
//! opening again.

use std::{env, io::Write as _, num::NonZeroUsize, path::Path, sync::Arc};

use bytes::Bytes;
use postrider_core::Durability::{Relaxed, Synced};
use postrider_storage::{
    Fjall, Sled,
    kv::{Direction, FjallKv, OrderedKv, Partition, Row, SledKv},
    testing::Dice,
};

use crate::Failed;

/// Below the root: its folders are made, too.
const FOLDER: &str = "var/lib/postrider";
const WEEKS: [u32; 3] = [0, 2_900, 2_901];
const DROPPED: Partition = Partition(2_800);
/// Behind all groups.
const FILLER: &str = "~filler";
/// The library seals a journal with more than 64,000,000 bytes, when it writes a table.
const ALMOST_FULL: usize = 63_900_000;

pub(crate) fn backend() -> String {
    env::var("POSTRIDER_POWER_BACKEND").unwrap_or_else(|_| "fjall".to_owned())
}

fn open(root: &Path) -> Result<Arc<dyn OrderedKv>, Failed> {
    let folder = root.join(FOLDER);
    Ok(match backend().as_str() {
        "sled" => Arc::new(SledKv::open(&Sled::at(folder))?),
        _ => Arc::new(FjallKv::open(&Fjall::at(folder))?),
    })
}

/// Each says on its output how many groups are acknowledged.
pub(crate) fn write(root: &Path) -> Result<(), Failed> {
    let mut next = groups_in(root)?;
    for round in 0..4_u64 {
        let kv = open(root)?;
        write_groups(&*kv, &mut next, 12)?;
        kv.write(&[(DROPPED, Bytes::from_static(b"gone"), Some(Bytes::from(vec![1; 700])))], Relaxed)?;
        kv.drop_partition(DROPPED)?;
        drop(kv);
        if round == 1 && backend() == "fjall" {
            write_tables(&root.join(FOLDER))?;
        }
    }
    Ok(())
}

fn write_groups(kv: &dyn OrderedKv, next: &mut u64, groups: u64) -> Result<(), Failed> {
    for _ in 0..groups {
        let synced = *next % 3 != 1;
        kv.write(&group(*next), if synced { Synced } else { Relaxed })?;
        *next += 1;
        if synced {
            writeln!(std::io::stdout(), "acknowledged {next}")?;
        }
    }
    Ok(())
}

fn write_tables(folder: &Path) -> Result<(), Failed> {
    let database = fjall::Database::builder(folder.join("fjall")).worker_threads(1).open()?;
    for name in database.list_keyspace_names() {
        database.keyspace(&name, fjall::KeyspaceCreateOptions::default)?.rotate_memtable_and_wait()?;
    }
    Ok(())
}

/// A store whose journal is almost full, and which writes small tables often.
pub(crate) fn fill(root: &Path) -> Result<(), Failed> {
    drop(open(root)?);
    let database = fjall::Database::builder(root.join(FOLDER).join("fjall")).worker_threads(1).open()?;
    // It is there already, and would keep its size.
    database.delete_keyspace(database.keyspace("synced", fjall::KeyspaceCreateOptions::default)?)?;
    for (name, bytes) in [("rows-0", 96 << 10), ("rows-2900", 96 << 10), ("rows-2901", 96 << 10), ("synced", 1_000)] {
        database.keyspace(name, || fjall::KeyspaceCreateOptions::default().max_memtable_size(bytes))?;
    }
    drop(database);
    let kv = open(root)?;
    let filler = Bytes::from(vec![7; 1 << 20]);
    let write = |bytes, durability| {
        let value = Some(filler.slice(..bytes));
        kv.write(&[(Partition::LASTING, Bytes::from_static(FILLER.as_bytes()), value)], durability)
    };
    write(ALMOST_FULL % filler.len(), Relaxed)?;
    for _ in 1..ALMOST_FULL / filler.len() {
        write(filler.len(), Relaxed)?;
    }
    write(filler.len(), Synced)?;
    Ok(())
}

/// Goes on until the journal is full and the next one is in use, and until the full one is removed; and then closes, opens,
/// and goes on.
pub(crate) fn write_beyond_a_journal(root: &Path) -> Result<(), Failed> {
    let mut next = groups_in(root)?;
    let kv = open(root)?;
    let database = root.join(FOLDER).join("fjall");
    let is_there = |journal| database.join(journal).try_exists();
    let end = next + 1_200;
    while next < end && (!is_there("1.jnl")? || is_there("0.jnl")?) {
        write_groups(&*kv, &mut next, 3)?;
    }
    write_groups(&*kv, &mut next, 12)?;
    drop(kv);
    write_groups(&*open(root)?, &mut next, 12)
}

/// Later groups have rows in a partition that earlier ones had not.
fn group(number: u64) -> Vec<Row> {
    let mut dice = Dice::new(number + 1);
    let row = |partition| {
        let bytes = 100 + dice.below(5_000);
        (Partition(partition), Bytes::from(format!("{number:06}")), Some(Bytes::from(dice.bytes(bytes as usize))))
    };
    let weeks = if number < 20 { &WEEKS[..2] } else { &WEEKS[..] };
    weeks.iter().copied().map(row).collect()
}

/// Opens the store: how many groups there are, each whole, with nothing behind a missing one.
pub(crate) fn groups_in(root: &Path) -> Result<u64, Failed> {
    let kv = open(root)?;
    let snapshot = kv.snapshot()?;
    let has = |(partition, key, value): Row| Ok::<_, Failed>(snapshot.get(partition, &key)? == value);
    let mut groups = 0;
    while group(groups).into_iter().map(&has).collect::<Result<Vec<_>, _>>()?.into_iter().all(|is_there| is_there) {
        groups += 1;
    }
    for week in WEEKS.map(Partition) {
        let from = format!("{groups:06}");
        let behind = snapshot.scan(week, from.as_bytes()..b"~", Direction::Forward, NonZeroUsize::MIN)?;
        if !behind.is_empty() {
            return Err(format!("group {groups} is not whole, and there is something of it or behind it").into());
        }
    }
    Ok(groups)
}

/// Of a store that was filled: that it still has what filled it.
pub(crate) fn has_filler(root: &Path) -> Result<bool, Failed> {
    let filler = open(root)?.snapshot()?.get(Partition::LASTING, FILLER.as_bytes())?;
    Ok(filler.is_some_and(|filler| filler.len() == 1 << 20))
}
