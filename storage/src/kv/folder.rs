//! The data folder of a backend on disk: opened by one at a time, and never mistaken for another.
//!
//! ```text
//! postrider.lock      held locked while the store is open
//! postrider.format    who wrote the folder, in words; its presence says that the database was made
//! <backend>/          the files of the database library
//! <backend>.new/      a database that is being made; removed if that was interrupted
//! ```
//!
//! A database is made under another name, and gets its own before the format file gets its own. So at every moment it is
//! clear whether a folder is fresh, half made, or whole; one that should hold rows is never started empty.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tracing::debug;

use crate::{StoreError, StoreErrorKind};

const LOCK: &str = "postrider.lock";
const FORMAT: &str = "postrider.format";
const FORMAT_NEW: &str = "postrider.format.new";
const NAME: &str = "postrider data folder";

/// What keeps its files in a data folder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backend {
    pub(super) name: &'static str,
    /// Of the folder, as it is written and as it can be read; older ones can be read too.
    pub(super) format: u32,
}

/// A data folder, ours alone as long as this is held.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    backend: Backend,
    /// The format that the folder had when it was opened.
    format: u32,
    _lock: File,
}

/// Why a folder is refused. Each names the folder.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("another postrider has {} open: stop that one, or name another folder", .0.display())]
    InUse(PathBuf),
    #[error("{} holds files that are not postrider's: choose an empty folder", .0.display())]
    Foreign(PathBuf),
    #[error("{} holds a database but no {FORMAT}: restore that file from a copy of the folder", .0.display())]
    NoFormat(PathBuf),
    #[error("{} is not a format file that this version understands", .0.display())]
    Unreadable(PathBuf),
    #[error("{} has format {wrote} and needs a postrider that reads format {needs}; this one reads {reads}", .path.display())]
    Newer { path: PathBuf, wrote: u32, needs: u32, reads: u32 },
    #[error("{} was written by the backend {wrote}, not by {asked}", .path.display())]
    OtherBackend { path: PathBuf, wrote: String, asked: &'static str },
    #[error("{}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is missing, though the folder was in use before: restore the folder from a backup", .0.display())]
    Missing(PathBuf),
    #[error("{} is damaged: restore the folder from a backup", .0.display())]
    Damaged(PathBuf),
    #[error("{} holds no {backend} store: name the data folder that the daemon was given", .path.display())]
    NoStore { path: PathBuf, backend: &'static str },
}

impl FolderError {
    fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Io { source, .. } => StoreError::kind_of(source),
            Self::InUse(_) => StoreErrorKind::Locked,
            Self::Foreign(_) | Self::NoFormat(_) | Self::Unreadable(_) | Self::NoStore { .. } => StoreErrorKind::Format,
            Self::Newer { .. } | Self::OtherBackend { .. } => StoreErrorKind::Format,
            Self::Missing(_) | Self::Damaged(_) => StoreErrorKind::Corrupt,
        }
    }
}

impl From<FolderError> for StoreError {
    fn from(error: FolderError) -> Self {
        Self::new(error.kind(), "open the data folder", error)
    }
}

impl Folder {
    /// Locks the folder, made if need be, and checks that `backend` may read it. If it is fresh, `create` makes the
    /// database at the path it is given, and closes it.
    pub(super) fn open(
        path: &Path,
        backend: Backend,
        create: impl FnOnce(&Path) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        create_folders(path).map_err(at(path))?;
        // Before the lock file is written too: a stranger's folder stays as it is.
        survey(path, backend.name)?;
        let mut folder = Self { path: path.to_owned(), backend, format: backend.format, _lock: lock(path)? };
        match survey(path, backend.name)? {
            State::Fresh => folder.make(create)?,
            State::AlmostMade => folder.finish()?,
            State::Made => {}
        }
        folder.format = folder.check_format()?;
        Ok(folder)
    }

    /// Locks a folder in which a store was made; nothing is made here.
    pub(super) fn existing(path: &Path, backend: Backend) -> Result<Self, StoreError> {
        let database = path.join(backend.name);
        if database.is_dir() {
            return Self::open(path, backend, |_| Err(FolderError::Missing(database).into()));
        }
        let was_made = path.join(FORMAT).try_exists().map_err(at(path))?;
        let no_store = FolderError::NoStore { path: path.to_owned(), backend: backend.name };
        Err(if was_made { FolderError::Missing(database) } else { no_store }.into())
    }

    /// Whether it was written by a version that kept less beside the database than this one does.
    pub(super) fn is_older(&self) -> bool {
        self.format < self.backend.format
    }

    /// Says that the folder has now all that its format asks for.
    pub(super) fn now_is_current(&mut self) -> Result<(), StoreError> {
        if self.is_older() {
            self.write_format()?;
            self.finish()?;
            self.format = self.backend.format;
        }
        Ok(())
    }

    /// Where the database is.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join(self.backend.name)
    }

    /// Says that a file or folder which the database cannot do without is not there.
    pub(super) fn require(&self, below_database: &str) -> Result<(), StoreError> {
        let path = self.database().join(below_database);
        if path.try_exists().map_err(at(&path))? { Ok(()) } else { Err(FolderError::Missing(path).into()) }
    }

    fn make(&self, create: impl FnOnce(&Path) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let unfinished = self.path.join(unfinished(self.backend.name));
        if unfinished.try_exists().map_err(at(&unfinished))? {
            fs::remove_dir_all(&unfinished).map_err(at(&unfinished))?;
        }
        create(&unfinished)?;
        self.write_format()?;
        sync_all_below(&unfinished).map_err(at(&self.path))?;
        // The database gets its name only when the format file surely has one.
        sync_folder(&self.path).map_err(at(&self.path))?;
        fs::rename(&unfinished, self.database()).map_err(at(&self.path))?;
        sync_folder(&self.path).map_err(at(&self.path))?;
        self.finish()?;
        // An earlier start may have made folders above this one and died before their names were synced.
        let made = self.path.canonicalize().map_err(at(&self.path))?;
        made.ancestors().skip(1).try_for_each(|above| sync_above(above).map_err(at(above)))
    }

    fn write_format(&self) -> Result<(), StoreError> {
        let Backend { name, format } = self.backend;
        let text = format!("{NAME}\nformat {format}\nreadable-by {format}\nbackend {name}\n");
        write_synced(&self.path.join(FORMAT_NEW), text.as_bytes()).map_err(at(&self.path))
    }

    fn finish(&self) -> Result<(), StoreError> {
        fs::rename(self.path.join(FORMAT_NEW), self.path.join(FORMAT)).map_err(at(&self.path))?;
        sync_folder(&self.path).map_err(at(&self.path))
    }

    fn check_format(&self) -> Result<u32, StoreError> {
        let path = self.path.join(FORMAT);
        let text = fs::read(&path).map_err(at(&path))?;
        let text = String::from_utf8_lossy(&text);
        let Some((wrote, needs, backend)) = parse(&text) else { return Err(FolderError::Unreadable(path).into()) };
        if backend != self.backend.name {
            let (path, wrote) = (self.path.clone(), backend.to_owned());
            return Err(FolderError::OtherBackend { path, wrote, asked: self.backend.name }.into());
        }
        let reads = self.backend.format;
        if needs > reads {
            return Err(FolderError::Newer { path: self.path.clone(), wrote, needs, reads }.into());
        }
        let database = self.database();
        if !database.try_exists().map_err(at(&database))? {
            return Err(FolderError::Missing(database).into());
        }
        Ok(wrote)
    }
}

/// How far the folder was made.
enum State {
    Fresh,
    AlmostMade,
    Made,
}

fn survey(path: &Path, backend: &str) -> Result<State, StoreError> {
    let (mut format, mut format_new, mut database, mut others) = (false, false, false, false);
    for entry in fs::read_dir(path).map_err(at(path))? {
        let name = entry.map_err(at(path))?.file_name();
        match name.to_str() {
            Some(FORMAT) => format = true,
            Some(FORMAT_NEW) => format_new = true,
            // What mkfs and a backend leave behind says nothing.
            Some(LOCK | "lost+found") => {}
            Some(name) if name == backend => database = true,
            Some(name) if name == unfinished(backend) => {}
            Some(_) | None => others = true,
        }
    }
    match (format, format_new, database, others) {
        (true, ..) => Ok(State::Made),
        (false, true, true, _) => Ok(State::AlmostMade),
        (false, false, true, _) => Err(FolderError::NoFormat(path.to_owned()).into()),
        (false, _, false, true) => Err(FolderError::Foreign(path.to_owned()).into()),
        (false, _, false, false) => Ok(State::Fresh),
    }
}

fn unfinished(backend: &str) -> String {
    format!("{backend}.new")
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(at(path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(FolderError::InUse(path.to_owned()).into()),
        Err(TryLockError::Error(error)) => Err(at(path)(error)),
    }
}

fn parse(text: &str) -> Option<(u32, u32, &str)> {
    let mut lines = text.lines();
    if lines.next()? != NAME {
        return None;
    }
    let wrote = lines.next()?.strip_prefix("format ")?.parse().ok()?;
    let needs = lines.next()?.strip_prefix("readable-by ")?.parse().ok()?;
    Some((wrote, needs, lines.next()?.strip_prefix("backend ")?))
}

/// Makes new and changed names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Makes a folder and what is missing above it, each with a name that lasts.
fn create_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    above.map_or(Ok(()), create_folders)?;
    match fs::create_dir(path) {
        // Made by another process just now.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    sync_above(above.unwrap_or(Path::new(".")))
}

/// A folder above the data folder need not be ours to open, nor one that can be synced.
fn sync_above(path: &Path) -> io::Result<()> {
    match sync_folder(path) {
        Err(error) if is_not_ours(error.kind()) => {
            debug!(folder = %path.display(), %error, "a folder above the data folder could not be synced");
            Ok(())
        }
        synced => synced,
    }
}

fn is_not_ours(error: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error, PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported)
}

/// Makes everything in a folder durable: what a library made there may have names that it did not sync.
fn sync_all_below(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() { sync_all_below(&path)? } else { File::options().write(true).open(&path)?.sync_all()? }
    }
    sync_folder(path)
}

/// Puts `bytes` in the place of a file, all or nothing.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    write_synced(Path::new(&fresh), bytes)?;
    fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> StoreError {
    |source| FolderError::Io { path: path.to_owned(), source }.into()
}

#[cfg(test)]
mod tests;
