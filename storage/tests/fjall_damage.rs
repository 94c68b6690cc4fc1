//! Files that rot, or that somebody removes: refused with words, or harmless. What was acknowledged is never lost in silence.
//!
//! `POSTRIDER_LONG=1` tries many more places; each prints its seed:
//! `POSTRIDER_SEED=… cargo test -p postrider-storage --test fjall_damage`.

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use postrider_core::Durability::{Relaxed, Synced};
use postrider_storage::{
    Fjall, StoreError, StoreErrorKind,
    kv::{Direction, FjallKv, OrderedKv, Partition},
};
use tempfile::{TempDir, tempdir};

type Failed = Box<dyn Error>;
type Rows = BTreeMap<(u32, Bytes), Bytes>;

const WEEKS: [Partition; 3] = [Partition::LASTING, Partition(2_900), Partition(2_901)];

/// A store with rows in three partitions: some in tables, some in the journal only.
struct Written {
    folder: TempDir,
    rows: Rows,
    /// Keeps it open; none if it was closed.
    kv: Option<FjallKv>,
}

impl Written {
    fn open(seed: u64) -> Result<Self, Failed> {
        let mut written = Self { folder: tempdir()?, rows: Rows::new(), kv: None };
        let mut dice = Dice(seed);
        written.kv = Some(FjallKv::open(&Fjall::at(written.folder.path()))?);
        written.write(&mut dice, 20)?;
        written.kv = None;
        // Opened again by the library alone, which is asked to write tables.
        let database = fjall::Database::builder(written.folder.path().join("fjall")).worker_threads(1).open()?;
        for name in database.list_keyspace_names() {
            database.keyspace(&name, fjall::KeyspaceCreateOptions::default)?.rotate_memtable_and_wait()?;
        }
        drop(database);
        written.kv = Some(FjallKv::open(&Fjall::at(written.folder.path()))?);
        written.write(&mut dice, 20)?;
        Ok(written)
    }

    fn closed(seed: u64) -> Result<Self, Failed> {
        let mut written = Self::open(seed)?;
        written.kv = None;
        Ok(written)
    }

    fn write(&mut self, dice: &mut Dice, groups: usize) -> Result<(), Failed> {
        for _ in 0..groups {
            let mut rows = Vec::new();
            for partition in WEEKS {
                let key = Bytes::from(format!("{:06}", self.rows.len()));
                let value: Bytes = (0..1_500).map(|_| dice.roll() as u8).collect::<Vec<_>>().into();
                self.rows.insert((partition.0, key.clone()), value.clone());
                rows.push((partition, key, Some(value)));
            }
            self.kv.as_ref().ok_or("it is open")?.write(&rows, Synced)?;
        }
        Ok(())
    }

    fn image(&self) -> Result<TempDir, Failed> {
        let image = tempdir()?;
        copy(self.folder.path(), image.path())?;
        Ok(image)
    }

    /// Opens an image: an error that says what is wrong and what to do, or everything that was acknowledged.
    fn refused_or_whole(&self, image: &Path, what: &str) -> Result<bool, Failed> {
        let refused = |error: StoreError| {
            let words = words(&error);
            assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{what}: {words}");
            Ok(true)
        };
        let kv = match FjallKv::open(&Fjall::at(image)) {
            Err(error) if error.kind() == StoreErrorKind::Format => return Ok(true),
            Err(error) => return refused(error),
            Ok(kv) => kv,
        };
        match rows_of(&kv) {
            Err(error) => refused(error),
            Ok(rows) => {
                let missing = self.rows.iter().filter(|(key, value)| rows.get(*key) != Some(*value)).count();
                assert_eq!(missing, 0, "{what}: of {} rows are missing or changed", self.rows.len());
                Ok(false)
            }
        }
    }
}

fn rows_of(kv: &FjallKv) -> Result<Rows, StoreError> {
    let (mut rows, snapshot) = (Rows::new(), kv.snapshot()?);
    for partition in WEEKS {
        for direction in [Direction::Forward, Direction::Backward] {
            let read = snapshot.scan(partition, b"0"..b"~", direction, NonZeroUsize::MAX)?;
            rows.extend(read.into_iter().map(|(key, value)| ((partition.0, key), value)));
        }
        for key in rows.keys().filter(|(of, _)| *of == partition.0).map(|(_, key)| key).cloned().collect::<Vec<_>>() {
            let value = snapshot.get(partition, &key)?;
            assert_eq!(value.as_ref(), rows.get(&(partition.0, key)), "what is listed is found");
        }
    }
    Ok(rows)
}

/// An error with its causes.
fn words(error: &StoreError) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words += &format!(": {cause}");
        source = cause.source();
    }
    words
}

/// xorshift: the same damage from the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Failed> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let to = to.join(path.file_name().ok_or("a name")?);
        if path.is_dir() {
            copy(&path, &to)?;
            continue;
        }
        // Without the zeros at the end, which are many; the length stays.
        let bytes = fs::read(&path)?;
        let mut file = File::create(&to)?;
        file.write_all(&bytes[..written(&bytes)])?;
        file.set_len(bytes.len() as u64)?;
    }
    Ok(())
}

fn written(bytes: &[u8]) -> usize {
    let zeros = bytes.rchunks(4096).take_while(|block| block.iter().all(|byte| *byte == 0)).map(<[u8]>::len);
    bytes.len() - zeros.sum::<usize>()
}

/// Every file with what is in it, to see that nothing was touched.
fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, Failed> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(contents(&path)?);
        } else {
            let bytes = fs::read(&path)?;
            all.insert(path, bytes);
        }
    }
    Ok(all)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    let name = |path: PathBuf| path.strip_prefix(folder).map(Path::to_owned);
    Ok(contents(folder)?.into_keys().map(name).collect::<Result<_, _>>()?)
}

fn flip(path: &Path, bit: u64) -> Result<(), Failed> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.seek(SeekFrom::Start(bit / 8))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(bit / 8))?;
    file.write_all(&[byte[0] ^ 1 << (bit % 8)])?;
    Ok(())
}

fn seed() -> u64 {
    let given = std::env::var("POSTRIDER_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    given.unwrap_or_else(|| std::process::id().into()).max(1)
}

fn places() -> u64 {
    if std::env::var_os("POSTRIDER_LONG").is_some() { 200 } else { 3 }
}

/// Opens an image that is to be refused; nothing of it is touched, and the words are these.
#[track_caller]
fn check_refused(image: &Path, says: &[&str]) -> Result<(), Failed> {
    let before = contents(image)?;
    let error = FjallKv::open(&Fjall::at(image)).expect_err("a person must look");
    let words = words(&error);
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{words}");
    for part in says.iter().copied().chain(["restore"]) {
        assert!(words.contains(part), "{words:?} says {part:?}");
    }
    let after = contents(image)?;
    let changed = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let touched: Vec<_> = before.keys().chain(after.keys()).filter(changed).collect();
    assert!(touched.is_empty(), "touched: {touched:?}");
    Ok(())
}

fn newest_journal(image: &Path) -> Result<PathBuf, Failed> {
    let number = |path: &PathBuf| path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jnl");
    let journals = files(image)?.into_iter().filter(is_journal).max_by_key(number);
    Ok(image.join(journals.ok_or("a journal")?))
}

/// As the library seals a journal: synced whole, and the next one is there.
fn seal(image: &Path) -> Result<(PathBuf, PathBuf), Failed> {
    let sealed = newest_journal(image)?;
    let number = sealed.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()).ok_or("a number")?;
    let next = sealed.with_file_name(format!("{}.jnl", number + 1));
    File::create(&next)?.set_len(1 << 20)?;
    Ok((sealed, next))
}

#[test]
fn a_bit_that_flips_in_any_file_is_refused_or_harmless() -> Result<(), Failed> {
    let seed = seed();
    println!("POSTRIDER_SEED={seed}");
    let (store, mut dice, mut refused) = (Written::closed(seed)?, Dice(seed), 0);
    for file in files(store.folder.path())? {
        let bytes = fs::read(store.folder.path().join(&file))?;
        for _ in 0..if bytes.is_empty() { 0 } else { places() } {
            let (image, bit) = (store.image()?, dice.below(8 * written(&bytes) as u64));
            flip(&image.path().join(&file), bit)?;
            refused += usize::from(store.refused_or_whole(image.path(), &format!("bit {bit} of {}", file.display()))?);
        }
    }
    assert!(refused > 0, "some of it is noticed, or this tests nothing");
    Ok(())
}

#[test]
fn a_file_that_is_lost_is_missed_or_was_not_needed() -> Result<(), Failed> {
    for store in [Written::closed(17)?, Written::open(19)?] {
        for file in files(store.folder.path())? {
            let image = store.image()?;
            fs::remove_file(image.path().join(&file))?;
            store.refused_or_whole(image.path(), &format!("{} is lost", file.display()))?;
        }
    }
    Ok(())
}

/// The library forgot a partition whose folder was gone, and removed the rest of one without its `current`.
#[test]
fn a_partition_that_is_lost_is_named_and_nothing_is_touched() -> Result<(), Failed> {
    let store = Written::closed(23)?;
    let list = fs::read_to_string(store.folder.path().join("fjall/postrider.partitions"))?;
    let folder = |partition: Partition| {
        let line = list.lines().find_map(|line| line.strip_prefix(&format!("{} ", partition.0)));
        line.map(|folder| Path::new("fjall").join(folder)).ok_or("it is listed")
    };
    for partition in WEEKS {
        let folder = folder(partition)?;
        let image = store.image()?;
        fs::remove_dir_all(image.path().join(&folder))?;
        check_refused(image.path(), &[&folder.join("current").to_string_lossy(), "is missing"])?;
        let image = store.image()?;
        fs::remove_file(image.path().join(&folder).join("current"))?;
        check_refused(image.path(), &[&folder.join("current").to_string_lossy(), "is missing"])?;
    }
    let image = store.image()?;
    fs::remove_file(image.path().join("fjall/postrider.partitions"))?;
    check_refused(image.path(), &["postrider.partitions is missing"])?;
    let image = store.image()?;
    flip(&image.path().join("fjall/postrider.partitions"), 8 * 25)?;
    check_refused(image.path(), &["postrider.partitions is damaged"])
}

/// What is dropped is not missed, and a partition that was being made or dropped when the power went is neither.
#[test]
fn a_partition_that_was_dropped_is_not_missed() -> Result<(), Failed> {
    let mut store = Written::closed(29)?;
    store.rows.retain(|(partition, _), _| *partition != WEEKS[2].0);
    let kv = FjallKv::open(&Fjall::at(store.folder.path()))?;
    kv.drop_partition(WEEKS[2])?;
    assert!(!store.refused_or_whole(store.image()?.path(), "dropped")?);
    drop(kv);
    assert!(!store.refused_or_whole(store.image()?.path(), "dropped and closed")?);
    Ok(())
}

#[test]
fn journals_that_are_lost_are_named() -> Result<(), Failed> {
    let store = Written::closed(31)?;
    let image = store.image()?;
    let newest = newest_journal(image.path())?;
    fs::remove_file(&newest)?;
    check_refused(image.path(), &["the journal is missing"])?;
    // With an older one beside it, the library would go on with that.
    let mut running = Written::open(33)?;
    seal(running.folder.path())?;
    running.write(&mut Dice(3), 4)?;
    let image = running.image()?;
    let newest = newest_journal(image.path())?;
    fs::remove_file(&newest)?;
    check_refused(image.path(), &["acknowledged", "restore"])?;
    // One in the middle.
    let image = store.image()?;
    let (_, next) = seal(image.path())?;
    fs::rename(&next, next.with_file_name("9.jnl"))?;
    check_refused(image.path(), &[&next.to_string_lossy(), "is missing"])
}

/// The library took a damaged tag in a sealed journal for its end, and cut off what came behind.
#[test]
fn damage_in_a_sealed_journal_is_corrupt_wherever_it_is() -> Result<(), Failed> {
    let seed = seed();
    println!("POSTRIDER_SEED={seed}");
    let (store, mut dice) = (Written::closed(seed)?, Dice(seed));
    for _ in 0..3 * places() {
        let image = store.image()?;
        let (sealed, _) = seal(image.path())?;
        let bit = dice.below(8 * written(&fs::read(&sealed)?) as u64 - 8);
        println!("bit {bit}");
        flip(&sealed, bit)?;
        check_refused(image.path(), &[&sealed.to_string_lossy(), "is damaged at byte", "whole writes"])?;
    }
    // The mark is not needed for that.
    let image = store.image()?;
    let (sealed, _) = seal(image.path())?;
    fs::remove_file(image.path().join("fjall/postrider.synced"))?;
    flip(&sealed, 8 * 5_000)?;
    check_refused(image.path(), &[&sealed.to_string_lossy(), "is damaged at byte"])
}

/// One bit in the middle of what was synced, and everything behind it was cut off as if a power cut had torn it.
#[test]
fn damage_in_what_was_synced_is_corrupt_and_never_a_torn_end() -> Result<(), Failed> {
    let seed = seed();
    println!("POSTRIDER_SEED={seed}");
    for (store, state) in [(Written::closed(seed)?, "closed"), (Written::open(seed)?, "running")] {
        let mut dice = Dice(seed);
        for _ in 0..3 * places() {
            let image = store.image()?;
            let journal = newest_journal(image.path())?;
            let bit = dice.below(8 * written(&fs::read(&journal)?) as u64 - 8 * 4_096);
            println!("{state}: bit {bit}");
            flip(&journal, bit)?;
            check_refused(image.path(), &[&journal.to_string_lossy(), "is damaged at byte", "whole writes"])?;
        }
        let image = store.image()?;
        let journal = newest_journal(image.path())?;
        let bytes = written(&fs::read(&journal)?) as u64;
        File::options().write(true).open(&journal)?.set_len(bytes / 2)?;
        check_refused(image.path(), &[&journal.to_string_lossy(), "acknowledged"])?;
    }
    Ok(())
}

/// The mark is not synced while the store is open, so after a power cut it may be old: then the batches say it.
#[test]
fn batches_say_what_was_synced_when_the_mark_is_old() -> Result<(), Failed> {
    let mut store = Written::open(37)?;
    let mark = Path::new("fjall/postrider.synced");
    let old = fs::read(store.folder.path().join(mark))?;
    let from = written(&fs::read(newest_journal(store.folder.path())?)?) as u64;
    store.write(&mut Dice(41), 30)?;
    let end = written(&fs::read(newest_journal(store.folder.path())?)?) as u64;
    // But for the last few groups.
    for at in [from + 100, (from + end) / 2, end - 40_000] {
        let image = store.image()?;
        fs::write(image.path().join(mark), &old)?;
        flip(&newest_journal(image.path())?, 8 * at)?;
        check_refused(image.path(), &["is damaged at byte", "acknowledged"])?;
    }
    Ok(())
}

/// What a power cut may leave of what was not synced: a hole, with whole batches behind it.
#[test]
fn a_hole_in_what_was_not_synced_is_cut_off_with_all_behind_it_and_kept() -> Result<(), Failed> {
    let store = Written::open(43)?;
    let synced = written(&fs::read(newest_journal(store.folder.path())?)?);
    let kv = store.kv.as_ref().ok_or("it is open")?;
    for number in 0..40_u8 {
        kv.write(&[(WEEKS[1], vec![b'z', number].into(), Some(vec![number; 2_000].into()))], Relaxed)?;
    }
    let image = store.image()?;
    let journal = newest_journal(image.path())?;
    let bytes = fs::read(&journal)?;
    let hole = synced.next_multiple_of(4096) + 4096;
    let mut file = File::options().write(true).open(&journal)?;
    file.seek(SeekFrom::Start(hole as u64))?;
    file.write_all(&[0; 512])?;
    drop(file);
    assert!(!store.refused_or_whole(image.path(), "a hole")?);
    let kept = fs::read(journal.with_extension("jnl.cut-1"))?;
    let from = bytes[..written(&bytes)].len() - kept.len();
    assert!((synced - 4096..=hole).contains(&from), "cut at {from}, the hole is at {hole}");
    Ok(())
}

/// A write that a full disk kept from being finished, in a journal that was sealed after that.
#[test]
fn a_sealed_journal_with_an_unfinished_write_opens() -> Result<(), Failed> {
    let store = Written::open(47)?;
    let kv = store.kv.as_ref().ok_or("it is open")?;
    kv.write(&[(WEEKS[1], Bytes::from_static(b"zz"), Some(vec![7; 9_000].into()))], Relaxed)?;
    let image = store.image()?;
    let (sealed, _) = seal(image.path())?;
    let bytes = fs::read(&sealed)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).ok_or("it is written to")?;
    File::options().write(true).open(&sealed)?.set_len(end as u64 - 5_000)?;
    assert!(!store.refused_or_whole(image.path(), "an unfinished write")?);
    Ok(())
}

/// Before there was a list and a mark.
#[test]
fn a_store_of_an_older_version_opens_and_gets_its_list_and_its_mark() -> Result<(), Failed> {
    let store = Written::closed(53)?;
    let image = store.image()?;
    let older = "postrider data folder\nformat 1\nreadable-by 1\nbackend fjall\n";
    fs::write(image.path().join("postrider.format"), older)?;
    let [list, mark] = ["postrider.partitions", "postrider.synced"].map(|name| image.path().join("fjall").join(name));
    fs::remove_file(&list)?;
    fs::remove_file(&mark)?;
    assert!(!store.refused_or_whole(image.path(), "an older version")?);
    assert!(fs::read_to_string(image.path().join("postrider.format"))?.contains("format 2\n"));
    assert!(list.exists() && mark.exists());
    assert_eq!(fs::read_to_string(&list)?.lines().count(), 2 + WEEKS.len());
    let listed = fs::read_to_string(&list)?;
    let folder = listed.lines().nth(1).and_then(|line| line.strip_prefix("0 ")).ok_or("the lasting rows come first")?;
    fs::remove_dir_all(image.path().join("fjall").join(folder))?;
    check_refused(image.path(), &[&format!("{folder}/current"), "is missing"])
}

/// Cut parts do not fill the disk in the end.
#[test]
fn cut_parts_are_kept_up_to_a_number() -> Result<(), Failed> {
    let store = Written::closed(59)?;
    let image = store.image()?;
    for _ in 0..12 {
        let mut journal = File::options().append(true).open(newest_journal(image.path())?)?;
        journal.write_all(b"\x01torn")?;
        drop(journal);
        assert!(!store.refused_or_whole(image.path(), "garbage at the end")?);
    }
    let cuts = files(image.path())?.into_iter().filter(|path| path.to_string_lossy().contains(".jnl.cut-")).count();
    assert_eq!(cuts, 8);
    Ok(())
}
