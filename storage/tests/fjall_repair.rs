//! A power cut may leave any part of what was not synced: the store opens, and has everything that was.
//!
//! An image is the folder of a database that is still open, as it would be on the disk: what was synced is there, and of
//! the unsynced end of the journal pieces are missing. `POSTRIDER_LONG=1` tries many more of them; a failing one prints
//! the seed that makes it again: `POSTRIDER_SEED=… cargo test -p postrider-storage --features testing --test fjall_repair`.

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    num::NonZeroUsize,
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use postrider_core::Durability::{Relaxed, Synced};
use postrider_storage::{
    Fjall, StoreErrorKind,
    kv::{Direction, FjallKv, OrderedKv, Partition, Row},
    testing::Dice,
};
use tempfile::{TempDir, tempdir};

type Failed = Box<dyn Error>;

const WEEK: Partition = Partition(2_900);

/// What the values look like: what can be compressed is mistaken for a journal's own bytes less often.
#[derive(Clone, Copy, Debug)]
enum Values {
    /// Noise, of this many bytes.
    Incompressible(usize),
    /// Of about a kilobyte.
    Json,
}

/// A database that was open when the power went.
struct Running {
    folder: TempDir,
    /// Keeps it open: nothing is tidied up.
    kv: FjallKv,
    dice: Dice,
    values: Values,
    written: BTreeMap<Bytes, Bytes>,
    /// Rows written, and how many of them were synced.
    groups: Vec<Vec<Bytes>>,
    synced_groups: usize,
}

impl Running {
    fn start(values: Values, seed: u64) -> Result<Self, Failed> {
        let folder = tempdir()?;
        let kv = FjallKv::open(&Fjall::at(folder.path()))?;
        let (written, groups) = (BTreeMap::new(), Vec::new());
        Ok(Self { folder, kv, dice: Dice::new(seed), values, written, groups, synced_groups: 0 })
    }

    fn write(&mut self, groups: usize, durability: postrider_core::Durability) -> Result<(), Failed> {
        for _ in 0..groups {
            let rows = (0..4).map(|_| self.row()).collect::<Vec<_>>();
            self.kv.write(&rows, durability)?;
            self.groups.push(rows.into_iter().map(|(_, key, _)| key).collect());
        }
        if durability == Synced {
            self.synced_groups = self.groups.len();
        }
        Ok(())
    }

    fn row(&mut self) -> Row {
        let key = Bytes::from(format!("{:06}", self.written.len()));
        let value = match self.values {
            Values::Incompressible(bytes) => self.dice.bytes(bytes).into(),
            Values::Json => {
                let mut field = |at: u64| format!(r#"{{"id":{},"name":"customer {at}"}}"#, self.dice.below(at + 7));
                format!(
                    r#"{{"type":"invoice.paid","items":[{}]}}"#,
                    (0..32).map(&mut field).collect::<Vec<_>>().join(",")
                )
                .into()
            }
        };
        self.written.insert(key.clone(), Bytes::clone(&value));
        (if self.written.len().is_multiple_of(4) { Partition::LASTING } else { WEEK }, key, Some(value))
    }

    fn journal(&self) -> Result<(PathBuf, Vec<u8>), Failed> {
        let database = self.folder.path().join("fjall");
        let number = |path: &Path| path.file_name()?.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok();
        let files = fs::read_dir(&database)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, Failed>>()?;
        let newest = files.into_iter().filter(|path| number(path).is_some()).max_by_key(|path| number(path));
        let newest = newest.ok_or("there is a journal")?;
        let bytes = fs::read(&newest)?;
        Ok((newest.strip_prefix(self.folder.path())?.to_owned(), bytes))
    }

    /// Where the synced part of the journal ends, and the rest.
    fn written_bytes(&self) -> Result<u64, Failed> {
        Ok(self.journal()?.1.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1))
    }

    /// The folder on the disk after the power cut, with zeros in these places of the journal.
    fn image(&self, gaps: &[Range<u64>]) -> Result<TempDir, Failed> {
        let image = tempdir()?;
        copy(self.folder.path(), image.path())?;
        let (journal, _) = self.journal()?;
        let mut file = File::options().read(true).write(true).open(image.path().join(journal))?;
        for gap in gaps {
            file.seek(SeekFrom::Start(gap.start))?;
            file.write_all(&vec![0; (gap.end - gap.start) as usize])?;
        }
        Ok(image)
    }

    /// Opens an image: every synced row is there, the others group by group, none after a missing one.
    fn check(&self, image: &Path) -> Result<(), Failed> {
        let kv = FjallKv::open(&Fjall::at(image))?;
        let mut there = BTreeMap::new();
        for partition in [Partition::LASTING, WEEK] {
            let rows = kv.snapshot()?.scan(partition, b"0"..b"~", Direction::Forward, NonZeroUsize::MAX)?;
            there.extend(rows);
        }
        let whole = |group: &Vec<Bytes>| group.iter().all(|key| there.contains_key(key));
        let groups = self.groups.iter().take_while(|group| whole(group)).count();
        assert!(groups >= self.synced_groups, "{groups} of {} synced groups are there", self.synced_groups);
        let rows = self.groups[..groups].iter().map(Vec::len).sum::<usize>();
        assert_eq!(there.len(), rows, "nothing of a group that is not whole, nor after it");
        assert!(there.iter().all(|(key, value)| self.written[key] == *value), "every value is the one written");
        // And it goes on from there.
        kv.write(&[(WEEK, Bytes::from_static(b"after"), Some(Bytes::from_static(b"all")))], Synced)?;
        drop(kv);
        let again = FjallKv::open(&Fjall::at(image))?;
        assert_eq!(again.snapshot()?.get(WEEK, b"after")?.as_deref(), Some(&b"all"[..]));
        Ok(())
    }
}

/// A lost sector.
fn gap(from: u64) -> Vec<Range<u64>> {
    std::iter::once(from..from + 512).collect()
}

fn copy(from: &Path, to: &Path) -> Result<(), Failed> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, to) = (entry?.path(), to.to_owned());
        let to = to.join(path.file_name().ok_or("a name")?);
        if path.is_dir() {
            copy(&path, &to)?;
            continue;
        }
        // Without the zeros at the end, which are many and would be slow to copy; the length stays.
        let bytes = fs::read(&path)?;
        let written = bytes.rchunks(4096).position(|block| block.iter().any(|byte| *byte != 0));
        let end = bytes.len() - written.map_or(bytes.len(), |zeros| zeros * 4096);
        let mut file = File::create(&to)?;
        file.write_all(&bytes[..end])?;
        file.set_len(bytes.len() as u64)?;
    }
    Ok(())
}

fn long() -> bool {
    std::env::var_os("POSTRIDER_LONG").is_some()
}

/// Whether the library opens this image by itself.
fn opens_without_repair(image: &Path) -> bool {
    let open = || fjall::Database::builder(image.join("fjall")).worker_threads(1).open().map(drop);
    std::panic::catch_unwind(open).is_ok_and(|opened| opened.is_ok())
}

/// Images with gaps of this size somewhere in the unsynced end; how many the library alone does not open.
fn try_gaps(values: Values, gap: u64, images: usize, reopened: bool) -> Result<usize, Failed> {
    let (_, seed) = Dice::seeded();
    println!("{values:?}, gaps of {gap} bytes, reopened {reopened}");
    let mut running = Running::start(values, seed)?;
    running.write(4, Synced)?;
    if reopened {
        // Its journal is not allocated ahead any more, and grows.
        let Running { folder, kv, dice, values, written, groups, synced_groups } = running;
        drop(kv);
        let kv = FjallKv::open(&Fjall::at(folder.path()))?;
        running = Running { folder, kv, dice, values, written, groups, synced_groups };
        running.write(2, Synced)?;
    }
    let synced = running.written_bytes()?;
    running.write(8, Relaxed)?;
    let end = running.written_bytes()?;
    assert!(end > synced + 2 * gap, "the unsynced end has room for gaps: {synced} to {end}");
    let mut torn = 0;
    for number in 0..images {
        let mut gaps = Vec::new();
        for _ in 0..=running.dice.below(2) {
            // Pages and sectors begin at their multiples; a few anywhere.
            let anywhere = synced + running.dice.below(end - synced);
            let start = if number % 4 == 3 { anywhere } else { (anywhere / gap * gap).max(synced) };
            gaps.push(start..(start + gap).min(end));
        }
        println!("image {number}: {gaps:?} of {synced}..{end}");
        torn += usize::from(!opens_without_repair(running.image(&gaps)?.path()));
        running.check(running.image(&gaps)?.path())?;
    }
    Ok(torn)
}

#[test]
fn a_journal_with_a_lost_sector_opens_with_everything_that_was_synced() -> Result<(), Failed> {
    let images = if long() { 400 } else { 10 };
    let torn =
        try_gaps(Values::Json, 512, images, false)? + try_gaps(Values::Incompressible(1_100), 512, images, true)?;
    assert!(torn > 0, "some image needs the repair, or this tests nothing");
    Ok(())
}

#[test]
fn a_journal_with_a_lost_page_opens_with_everything_that_was_synced() -> Result<(), Failed> {
    let images = if long() { 400 } else { 10 };
    let large = Values::Incompressible(20_000);
    let torn = try_gaps(large, 4096, images, false)? + try_gaps(Values::Json, 4096, images, true)?;
    assert!(torn > 0, "some image needs the repair, or this tests nothing");
    Ok(())
}

#[test]
fn what_is_cut_off_is_kept_beside_the_journal() -> Result<(), Failed> {
    let mut running = Running::start(Values::Incompressible(5_000), 7)?;
    running.write(2, Synced)?;
    let synced = running.written_bytes()?;
    running.write(3, Relaxed)?;
    let image = running.image(&gap(synced + 1_000))?;
    assert!(!opens_without_repair(image.path()));
    let (journal, _) = running.journal()?;
    let mut before = Vec::new();
    File::open(image.path().join(&journal))?.read_to_end(&mut before)?;
    running.check(image.path())?;
    let kept = fs::read(image.path().join(journal.with_extension("jnl.cut-1")))?;
    let from = running.written_bytes()? as usize - kept.len();
    assert!(from >= synced as usize, "nothing synced is cut off");
    assert_eq!(kept, before[from..from + kept.len()]);
    assert!(!image.path().join("fjall/repair").exists(), "nothing else is left behind");
    Ok(())
}

#[test]
fn a_journal_that_ends_early_opens_with_everything_that_was_synced() -> Result<(), Failed> {
    let mut running = Running::start(Values::Json, 9)?;
    running.write(4, Synced)?;
    let synced = running.written_bytes()?;
    running.write(4, Relaxed)?;
    let (journal, _) = running.journal()?;
    for end in [synced, synced + 1, synced + 700, running.written_bytes()? - 1] {
        let image = running.image(&[])?;
        File::options().write(true).open(image.path().join(&journal))?.set_len(end)?;
        running.check(image.path())?;
    }
    Ok(())
}

#[test]
fn damage_elsewhere_than_in_the_newest_journal_is_corrupt_and_nothing_is_touched() -> Result<(), Failed> {
    let mut running = Running::start(Values::Json, 11)?;
    running.write(4, Synced)?;
    let image = running.image(&[])?;
    let database = image.path().join("fjall");
    let (journal, _) = running.journal()?;
    // An older journal, damaged; the newest is whole.
    let damaged = running.image(&gap(200))?;
    fs::rename(image.path().join(&journal), database.join("9.jnl"))?;
    fs::copy(damaged.path().join(&journal), database.join("8.jnl"))?;
    let before = fs::read(database.join("8.jnl"))?;
    let error = FjallKv::open(&Fjall::at(image.path())).expect_err("a person must look");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
    assert_eq!(fs::read(database.join("8.jnl"))?, before);
    assert!(!database.join("9.jnl.cut-1").exists());
    Ok(())
}

#[test]
fn a_missing_part_of_the_database_is_corrupt_and_never_an_empty_start() -> Result<(), Failed> {
    let mut running = Running::start(Values::Json, 13)?;
    running.write(1, Synced)?;
    let (journal, _) = running.journal()?;
    for missing in ["fjall/version".into(), "fjall/keyspaces/0/current".into(), journal, PathBuf::from("fjall")] {
        let image = running.image(&[])?;
        let path = image.path().join(&missing);
        if path.is_dir() {
            fs::remove_dir_all(&path)?
        } else {
            fs::remove_file(&path)?
        }
        let error = FjallKv::open(&Fjall::at(image.path())).expect_err("a person must look");
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{} is missing: {error:?}", missing.display());
        assert!(!path.exists(), "nothing is made anew");
    }
    let image = running.image(&[])?;
    for table in fs::read_dir(image.path().join("fjall/keyspaces/0/tables"))? {
        fs::remove_file(table?.path())?;
    }
    let error = FjallKv::open(&Fjall::at(image.path())).expect_err("a person must look");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "its tables are missing: {error:?}");
    Ok(())
}
