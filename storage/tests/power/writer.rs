//! What is recorded: groups of rows in several partitions, new ones, dropped ones, tables, and opening again.

use std::{env, io::Write as _, num::NonZeroUsize, path::Path, sync::Arc};

use bytes::Bytes;
use postrider_core::Durability::{Relaxed, Synced};
use postrider_storage::{
    Fjall, Sled,
    kv::{Direction, FjallKv, OrderedKv, Partition, Row, SledKv},
};

use crate::{Dice, Failed};

/// Below the root: its folders are made, too.
const FOLDER: &str = "var/lib/postrider";
const WEEKS: [u32; 3] = [0, 2_900, 2_901];
const DROPPED: Partition = Partition(2_800);

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
        for _ in 0..12 {
            let synced = next % 3 != 1;
            kv.write(&group(next), if synced { Synced } else { Relaxed })?;
            next += 1;
            if synced {
                writeln!(std::io::stdout(), "acknowledged {next}")?;
            }
        }
        kv.write(&[(DROPPED, Bytes::from_static(b"gone"), Some(Bytes::from(vec![1; 700])))], Relaxed)?;
        kv.drop_partition(DROPPED)?;
        drop(kv);
        if round == 1 && backend() == "fjall" {
            write_tables(&root.join(FOLDER))?;
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

/// Later groups have rows in a partition that earlier ones had not.
fn group(number: u64) -> Vec<Row> {
    let mut dice = Dice(number + 1);
    let row = |partition| {
        let bytes = 100 + dice.below(5_000);
        let value = (0..bytes).map(|_| dice.roll() as u8).collect::<Vec<_>>();
        (Partition(partition), Bytes::from(format!("{number:06}")), Some(Bytes::from(value)))
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
