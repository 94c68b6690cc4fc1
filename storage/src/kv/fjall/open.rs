//! Opens a data folder. What fjall would take for less than it is, or remove, is looked at before fjall sees it.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::Path,
    sync::{Arc, Mutex, RwLock, atomic::AtomicU64},
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use tracing::warn;

use super::{
    Closing, Fjall, FjallKv, Keyspaces, Picture, Written, cause, failed,
    journal::{self, JournalSync},
    partition,
    partitions::{Partitions, check_manifests, sync_names},
    repair,
    synced::{CLAIMS, Mark, Said},
};
use crate::{
    StoreError, StoreErrorKind,
    kv::{
        Ticket,
        folder::{Backend, Folder},
        health::{Health, caught},
    },
};

/// Format 2: the partitions are listed, and a mark says what was synced.
const BACKEND: Backend = Backend { name: "fjall", format: 2 };
/// Journals beyond this are flushed away, so that opening again replays no more.
const JOURNAL_BYTES: u64 = 128 << 20;

/// fjall opened its files, and a partition that was there is not.
#[derive(Debug, thiserror::Error)]
#[error("{} was there and is not known any more: restore the data folder from a backup", .0.display())]
struct Lost(std::path::PathBuf);

impl FjallKv {
    /// Opens the data folder, made if need be. Waits for the disk, at most some seconds.
    ///
    /// # Errors
    /// `Locked`: another opener has the folder. `Format`: it is not ours to read. `Unavailable`: the disk is full,
    /// read-only or away. `Corrupt`: files are damaged or missing, beyond the unsynced end that a power cut tears.
    /// Nothing was touched then.
    pub fn open(fjall: &Fjall) -> Result<Self, StoreError> {
        let mut folder = Folder::open(&fjall.path, BACKEND, |path| make(path, fjall.cache_bytes))?;
        let path = folder.database();
        let mut partitions = check_tables(&path, &folder)?;
        let said = what_was_synced(&path, &folder)?;
        let journals = repair::make_whole(&path, &said)?;
        journal::renew_newest(&path)?;
        sync_names(&path)?;
        let mark = Mark::set(&path, Said { claim: journals.claim, oldest: journals.oldest, closed: false, ..said })
            .map_err(|error| StoreError::io("open the store", error))?;
        let mut journal = JournalSync::default();
        // Before anything is written: an error of a page is told to those that have the file open by then.
        let synced = journal.sync(&path).map_err(|error| StoreError::io("open the store", error))?;
        let (database, keyspaces, claims) = open_database(&path, fjall.cache_bytes)?;
        let there = keyspaces.iter().map(|(partition, keyspace)| Ok((*partition, folder_number(keyspace)?)));
        let there = there.collect::<Result<BTreeMap<_, _>, StoreError>>()?;
        if let Some(lost) = partitions.lost(&there) {
            return Err(StoreError::new(StoreErrorKind::Corrupt, "open the store", Lost(lost)));
        }
        partitions.set(there)?;
        folder.now_is_current()?;
        let latest = Arc::new(Picture { snapshot: database.snapshot(), keyspaces });
        let visible = RwLock::new(Arc::clone(&latest));
        let written =
            Written { latest, ticket: Ticket(0), begun: VecDeque::new(), partitions, last: None, unclaimed: 0 };
        Ok(Self {
            visible,
            written: Mutex::new(written),
            journal: Mutex::new(journal),
            newest: AtomicU64::new(synced.newest),
            synced: Mutex::new(journals.claim),
            secret: *mark.secret(),
            health: Health::default(),
            claims,
            database,
            closing: Closing { database: path, mark: Mutex::new(mark) },
            folder,
        })
    }
}

/// A folder that is there, for whoever looks at its files.
pub(super) fn fjall_folder(path: &Path) -> Result<Folder, StoreError> {
    Folder::existing(path, BACKEND)
}

/// The partitions that are listed, which are all there, with what says which tables they have.
pub(super) fn check_tables(path: &Path, folder: &Folder) -> Result<Partitions, StoreError> {
    // fjall would begin anew without these, and delete what they speak of.
    ["version", "keyspaces/0/current"].iter().try_for_each(|file| folder.require(file))?;
    let partitions = match Partitions::open(path)? {
        Some(partitions) => partitions,
        None if folder.is_older() => Partitions::of_older(path),
        None => return Err(Partitions::missing(path)),
    };
    check_manifests(path, &partitions)?;
    Ok(partitions)
}

fn make(path: &Path, cache_bytes: u64) -> Result<(), StoreError> {
    caught(|| builder(path, cache_bytes).open())
        .map_err(|panic| StoreError::new(StoreErrorKind::Unavailable, "make the store", panic))?
        .map(drop)
        .map_err(|error| failed("make the store", error))?;
    Partitions::make(path)
}

/// What the mark says; of a store without one, that nothing is known.
pub(super) fn what_was_synced(path: &Path, folder: &Folder) -> Result<Said, StoreError> {
    let failed = |error| StoreError::io("read what was synced", error);
    match Mark::read(path).map_err(failed)? {
        Some(said) => Ok(said),
        None => {
            if !folder.is_older() && journal::all(path).map_err(failed)?.iter().any(|(number, _)| *number > 0) {
                warn!(database = %path.display(), "the mark of what was synced is missing or damaged, and is made anew");
            }
            Said::fresh().map_err(failed)
        }
    }
}

/// The number of the folder in which a keyspace is.
pub(super) fn folder_number(keyspace: &Keyspace) -> Result<u64, StoreError> {
    let number = keyspace.path().file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    number.ok_or_else(|| StoreError::new(StoreErrorKind::Poisoned, "make a partition", NoNumber))
}

/// A library that names folders by numbers named one otherwise.
#[derive(Debug, thiserror::Error)]
#[error("the folder of a partition has no number")]
struct NoNumber;

fn builder(path: &Path, cache_bytes: u64) -> fjall::DatabaseBuilder<Database> {
    Database::builder(path).max_journaling_size(JOURNAL_BYTES).worker_threads(1).cache_size(cache_bytes)
}

/// The database, the partitions it has, and where claims are kept.
fn open_database(path: &Path, cache_bytes: u64) -> Result<(Database, Keyspaces, Keyspace), StoreError> {
    let opened = caught(|| {
        let database = builder(path, cache_bytes).open()?;
        let mut keyspaces = BTreeMap::new();
        for name in database.list_keyspace_names() {
            if let Some(partition) = partition(&name) {
                keyspaces.insert(partition, database.keyspace(&name, KeyspaceCreateOptions::default)?);
            }
        }
        let claims = database.keyspace(CLAIMS, KeyspaceCreateOptions::default)?;
        Ok((database, Arc::new(keyspaces), claims))
    });
    opened.map_err(|panic| StoreError::new(StoreErrorKind::Corrupt, "open the store", panic))?.map_err(|error| {
        match is_not_found(&error) {
            // The folder is there: a file that fjall speaks of in another one is not, and will not come.
            true => StoreError::new(StoreErrorKind::Corrupt, "open the store", error),
            false => failed("open the store", error),
        }
    })
}

fn is_not_found(error: &fjall::Error) -> bool {
    cause(error).downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::NotFound)
}
