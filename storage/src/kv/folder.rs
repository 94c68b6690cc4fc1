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
    io,
    path::{Path, PathBuf},
};

use crate::{StoreError, StoreErrorKind};

const LOCK: &str = "postrider.lock";
const FORMAT: &str = "postrider.format";
const FORMAT_NEW: &str = "postrider.format.new";
const NAME: &str = "postrider data folder";

/// What this version writes.
const WRITES: u32 = 1;
/// The oldest version that can read what this version writes.
const READABLE_BY: u32 = 1;

/// A data folder, ours alone as long as this is held.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    backend: &'static str,
    _lock: File,
}

/// Why a folder is refused. Each names the folder.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("another postrider has {} open", .0.display())]
    InUse(PathBuf),
    #[error("{} holds files that are not postrider's: choose an empty folder", .0.display())]
    Foreign(PathBuf),
    #[error("{} holds a database but no {FORMAT}: restore that file from a copy of the folder", .0.display())]
    NoFormat(PathBuf),
    #[error("{} is not a format file that this version understands", .0.display())]
    Unreadable(PathBuf),
    #[error("{} has format {wrote} and needs a postrider that reads format {needs}; this one reads {WRITES}", .path.display())]
    Newer { path: PathBuf, wrote: u32, needs: u32 },
    #[error("{} was written by the backend {wrote}, not by {asked}", .path.display())]
    OtherBackend { path: PathBuf, wrote: String, asked: &'static str },
    #[error("{}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is missing, though the folder was in use before: restore the folder from a backup", .0.display())]
    Missing(PathBuf),
}

impl FolderError {
    fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Io { source, .. } => StoreError::kind_of(source),
            Self::InUse(_) => StoreErrorKind::Locked,
            Self::Foreign(_) | Self::NoFormat(_) | Self::Unreadable(_) => StoreErrorKind::Format,
            Self::Newer { .. } | Self::OtherBackend { .. } => StoreErrorKind::Format,
            Self::Missing(_) => StoreErrorKind::Corrupt,
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
        backend: &'static str,
        create: impl FnOnce(&Path) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(at(path))?;
        // Before the lock file is written too: a stranger's folder stays as it is.
        survey(path, backend)?;
        let folder = Self { path: path.to_owned(), backend, _lock: lock(path)? };
        match survey(path, backend)? {
            State::Fresh => folder.make(create)?,
            State::AlmostMade => folder.finish()?,
            State::Made => {}
        }
        folder.check_format()?;
        Ok(folder)
    }

    /// Where the database is.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join(self.backend)
    }

    /// Says that a file or folder which the database cannot do without is not there.
    pub(super) fn require(&self, below_database: &str) -> Result<(), StoreError> {
        let path = self.database().join(below_database);
        if path.try_exists().map_err(at(&path))? { Ok(()) } else { Err(FolderError::Missing(path).into()) }
    }

    fn make(&self, create: impl FnOnce(&Path) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let unfinished = self.path.join(unfinished(self.backend));
        if unfinished.try_exists().map_err(at(&unfinished))? {
            fs::remove_dir_all(&unfinished).map_err(at(&unfinished))?;
        }
        create(&unfinished)?;
        let text = format!("{NAME}\nformat {WRITES}\nreadable-by {READABLE_BY}\nbackend {}\n", self.backend);
        let format = self.path.join(FORMAT_NEW);
        fs::write(&format, text).map_err(at(&self.path))?;
        File::open(&format).and_then(|file| file.sync_all()).map_err(at(&self.path))?;
        sync_folder(&unfinished).map_err(at(&self.path))?;
        fs::rename(&unfinished, self.database()).map_err(at(&self.path))?;
        sync_folder(&self.path).map_err(at(&self.path))?;
        self.finish()?;
        // The folder itself is news to the one above it, which need not be ours to open.
        let above = self.path.canonicalize().map_err(at(&self.path))?;
        match above.parent().map_or(Ok(()), sync_folder) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(at(&above)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn finish(&self) -> Result<(), StoreError> {
        fs::rename(self.path.join(FORMAT_NEW), self.path.join(FORMAT)).map_err(at(&self.path))?;
        sync_folder(&self.path).map_err(at(&self.path))
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let path = self.path.join(FORMAT);
        let text = fs::read(&path).map_err(at(&path))?;
        let text = String::from_utf8_lossy(&text);
        let Some((wrote, needs, backend)) = parse(&text) else { return Err(FolderError::Unreadable(path).into()) };
        if needs > WRITES {
            return Err(FolderError::Newer { path: self.path.clone(), wrote, needs }.into());
        }
        if backend != self.backend {
            let (path, wrote) = (self.path.clone(), backend.to_owned());
            return Err(FolderError::OtherBackend { path, wrote, asked: self.backend }.into());
        }
        let database = self.database();
        if database.try_exists().map_err(at(&database))? { Ok(()) } else { Err(FolderError::Missing(database).into()) }
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

fn at(path: &Path) -> impl Fn(io::Error) -> StoreError {
    |source| FolderError::Io { path: path.to_owned(), source }.into()
}

#[cfg(test)]
mod tests;
