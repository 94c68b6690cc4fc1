//! Which partitions a database has, in a file of our own: fjall forgets one whose folder is gone, and removes the rest of
//! one whose folder is not whole.
//!
//! A partition is listed before rows are written to it and until it is to be dropped. So a listed one that is not there
//! was lost, and what is there without being listed was being made or dropped when the process ended.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::{
    StoreError,
    kv::{
        Partition,
        folder::{FolderError, at, replace, sync_folder},
    },
};

const FILE: &str = "postrider.partitions";
const TITLE: &str = "postrider partitions";
const KEYSPACES: &str = "keyspaces";
/// The folder in which the library keeps the names of all others.
const NAMES: u64 = 0;
/// What the library cannot do without in the folder of a keyspace.
const CURRENT: &str = "current";
/// How it names the kind of checksum.
const XXH3: &[u8] = &[0];

/// The list as it is on the disk: of each partition the number of the folder that holds it.
#[derive(Debug)]
pub(super) struct Partitions {
    path: PathBuf,
    listed: BTreeMap<Partition, u64>,
}

impl Partitions {
    /// The list of a database that was just made.
    pub(super) fn make(database: &Path) -> Result<(), StoreError> {
        Self { path: database.join(FILE), listed: BTreeMap::new() }.write()
    }

    /// The list of a database; none in one that an older version wrote.
    ///
    /// # Errors
    /// `Corrupt`: the list is damaged, or something in it is not there.
    pub(super) fn open(database: &Path) -> Result<Option<Self>, StoreError> {
        let path = database.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(at(&path))?,
        };
        let Some(listed) = parse(&String::from_utf8_lossy(&text)) else {
            return Err(FolderError::Damaged(path).into());
        };
        for folder in listed.values() {
            let current = folder_of(database, *folder).join(CURRENT);
            if !current.try_exists().map_err(at(&current))? {
                return Err(FolderError::Missing(current).into());
            }
        }
        Ok(Some(Self { path, listed }))
    }

    /// The list of a database of an older version, not on the disk yet.
    pub(super) fn of_older(database: &Path) -> Self {
        Self { path: database.join(FILE), listed: BTreeMap::new() }
    }

    /// Says that the list is missing.
    pub(super) fn missing(database: &Path) -> StoreError {
        FolderError::Missing(database.join(FILE)).into()
    }

    /// Those that are listed and not among these, by the folder that was theirs.
    pub(super) fn lost(&self, there: &BTreeMap<Partition, u64>) -> Option<PathBuf> {
        let lost = self.listed.iter().find(|(partition, _)| !there.contains_key(partition));
        lost.map(|(_, folder)| folder_of(&self.database(), *folder))
    }

    /// Lists these and no others, each under a name that lasts.
    pub(super) fn set(&mut self, partitions: BTreeMap<Partition, u64>) -> Result<(), StoreError> {
        if self.listed == partitions && self.path.try_exists().map_err(at(&self.path))? {
            return Ok(());
        }
        let new = partitions.iter().filter(|(partition, _)| !self.listed.contains_key(partition));
        for folder in new.map(|(_, folder)| folder_of(&self.database(), *folder)) {
            sync_folder(&folder).map_err(at(&folder))?;
        }
        sync_names(&self.database())?;
        self.listed = partitions;
        self.write()
    }

    /// As [`set`](Self::set), with one more, or in another folder than before.
    pub(super) fn add(&mut self, partition: Partition, folder: u64) -> Result<(), StoreError> {
        let mut listed = self.listed.clone();
        listed.insert(partition, folder);
        self.set(listed)
    }

    /// As [`set`](Self::set), with one less.
    pub(super) fn remove(&mut self, partition: Partition) -> Result<(), StoreError> {
        let mut listed = self.listed.clone();
        listed.remove(&partition);
        self.set(listed)
    }

    fn database(&self) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).to_owned()
    }

    fn write(&self) -> Result<(), StoreError> {
        let line = |(partition, folder): (&Partition, &u64)| format!("{} {KEYSPACES}/{folder}\n", partition.0);
        let mut text = format!("{TITLE}\n") + &self.listed.iter().map(line).collect::<String>();
        text += &format!("checksum {:016x}\n", xxh3_64(text.as_bytes()));
        replace(&self.path, text.as_bytes()).map_err(at(&self.path))
    }
}

/// Looks at what says which tables a partition has: the library reads it without its checksum, and takes a table that it
/// does not name for one that is no longer needed. One that is not listed may be half removed.
pub(super) fn check_manifests(database: &Path, partitions: &Partitions) -> Result<(), StoreError> {
    let folders = partitions.listed.values().chain([&NAMES]);
    folders.map(|number| folder_of(database, *number)).try_for_each(|folder| check_manifest(&folder))
}

fn check_manifest(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(CURRENT);
    let current = fs::read(&path).map_err(at(&path))?;
    let Some((version, checksum)) = named_by(&current) else { return Err(FolderError::Damaged(path).into()) };
    let path = folder.join(format!("v{version}"));
    let manifest = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FolderError::Missing(path).into()),
        manifest => manifest.map_err(at(&path))?,
    };
    if xxh3_128(&manifest) == checksum { Ok(()) } else { Err(FolderError::Damaged(path).into()) }
}

/// The number of a version and the checksum of its file; none if they are of a kind that is not known.
fn named_by(current: &[u8]) -> Option<(u64, u128)> {
    let (version, rest) = current.split_first_chunk()?;
    let (checksum, kind) = rest.split_first_chunk()?;
    (kind == XXH3).then_some((u64::from_le_bytes(*version), u128::from_le_bytes(*checksum)))
}

/// Makes the names of the folders of all partitions last: the library syncs what is in them, not where they are named.
pub(super) fn sync_names(database: &Path) -> Result<(), StoreError> {
    let keyspaces = database.join(KEYSPACES);
    sync_folder(&keyspaces).map_err(at(&keyspaces))
}

fn folder_of(database: &Path, folder: u64) -> PathBuf {
    database.join(KEYSPACES).join(folder.to_string())
}

fn parse(text: &str) -> Option<BTreeMap<Partition, u64>> {
    let (lines, checksum) = text.strip_suffix('\n')?.rsplit_once("checksum ")?;
    if u64::from_str_radix(checksum, 16).ok()? != xxh3_64(lines.as_bytes()) {
        return None;
    }
    let line = |line: &str| {
        let (partition, folder) = line.split_once(' ')?;
        let folder = folder.strip_prefix(KEYSPACES)?.strip_prefix('/')?;
        Some((Partition(partition.parse().ok()?), folder.parse().ok()?))
    };
    lines.strip_prefix(TITLE)?.trim_start_matches('\n').lines().map(line).collect()
}
