//! A store whose files are damaged or taken away, and what is asked of it then.

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use postrider_core::Durability::Synced;
use postrider_storage::{
    Fjall, StoreError, StoreErrorKind,
    kv::{Direction, FjallKv, OrderedKv, Partition},
    testing::Dice,
};
use tempfile::{TempDir, tempdir};

pub(crate) type Failed = Box<dyn Error>;
pub(crate) type Rows = BTreeMap<(u32, Bytes), Bytes>;

pub(crate) const WEEKS: [Partition; 3] = [Partition::LASTING, Partition(2_900), Partition(2_901)];

/// A store with rows in three partitions: some in tables, some in the journal only.
pub(crate) struct Written {
    pub(crate) folder: TempDir,
    pub(crate) rows: Rows,
    /// Keeps it open; none if it was closed.
    pub(crate) kv: Option<FjallKv>,
}

impl Written {
    pub(crate) fn open(seed: u64) -> Result<Self, Failed> {
        let mut written = Self { folder: tempdir()?, rows: Rows::new(), kv: None };
        let mut dice = Dice::new(seed);
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

    pub(crate) fn closed(seed: u64) -> Result<Self, Failed> {
        let mut written = Self::open(seed)?;
        written.kv = None;
        Ok(written)
    }

    pub(crate) fn write(&mut self, dice: &mut Dice, groups: usize) -> Result<(), Failed> {
        for _ in 0..groups {
            let mut rows = Vec::new();
            for partition in WEEKS {
                let key = Bytes::from(format!("{:06}", self.rows.len()));
                let value: Bytes = dice.bytes(1_500).into();
                self.rows.insert((partition.0, key.clone()), value.clone());
                rows.push((partition, key, Some(value)));
            }
            self.kv.as_ref().ok_or("it is open")?.write(&rows, Synced)?;
        }
        Ok(())
    }

    pub(crate) fn image(&self) -> Result<TempDir, Failed> {
        let image = tempdir()?;
        copy(self.folder.path(), image.path())?;
        Ok(image)
    }

    /// Opens an image: an error that says what is wrong and what to do, or everything that was acknowledged.
    pub(crate) fn refused_or_whole(&self, image: &Path, what: &str) -> Result<bool, Failed> {
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

pub(crate) fn rows_of(kv: &FjallKv) -> Result<Rows, StoreError> {
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
pub(crate) fn words(error: &StoreError) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words += &format!(": {cause}");
        source = cause.source();
    }
    words
}
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Failed> {
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

pub(crate) fn written(bytes: &[u8]) -> usize {
    let zeros = bytes.rchunks(4096).take_while(|block| block.iter().all(|byte| *byte == 0)).map(<[u8]>::len);
    bytes.len() - zeros.sum::<usize>()
}

/// Every file with what is in it, to see that nothing was touched.
pub(crate) fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, Failed> {
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

pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    let name = |path: PathBuf| path.strip_prefix(folder).map(Path::to_owned);
    Ok(contents(folder)?.into_keys().map(name).collect::<Result<_, _>>()?)
}

pub(crate) fn flip(path: &Path, bit: u64) -> Result<(), Failed> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.seek(SeekFrom::Start(bit / 8))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(bit / 8))?;
    file.write_all(&[byte[0] ^ 1 << (bit % 8)])?;
    Ok(())
}

pub(crate) fn places() -> u64 {
    if std::env::var_os("POSTRIDER_LONG").is_some() { 200 } else { 3 }
}

/// Opens an image that is to be refused; nothing of it is touched, and the words are these.
#[track_caller]
pub(crate) fn check_refused(image: &Path, says: &[&str]) -> Result<(), Failed> {
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

pub(crate) fn newest_journal(image: &Path) -> Result<PathBuf, Failed> {
    let number = |path: &PathBuf| path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jnl");
    let journals = files(image)?.into_iter().filter(is_journal).max_by_key(number);
    Ok(image.join(journals.ok_or("a journal")?))
}

/// As the library seals a journal: synced whole, and the next one is there.
pub(crate) fn seal(image: &Path) -> Result<(PathBuf, PathBuf), Failed> {
    let sealed = newest_journal(image)?;
    let number = sealed.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()).ok_or("a number")?;
    let next = sealed.with_file_name(format!("{}.jnl", number + 1));
    File::create(&next)?.set_len(1 << 20)?;
    Ok((sealed, next))
}
