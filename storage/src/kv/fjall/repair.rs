//! Cuts back a journal whose unsynced end a power cut left torn.
//!
//! Disks write what is not synced in any order. When a piece is missing in the middle of a write and its end is there,
//! fjall does not stop reading at that write, it refuses to open. Whatever was synced lies before that piece, and every
//! start of a whole journal opens; so the longest start that opens has all of it. It is searched for by halves, with
//! fjall as the judge, on copies in a scratch database without tables: the judgement needs only the journal.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{builder, caught, journal, kind_of};
use crate::StoreError;

const SCRATCH: &str = "repair";
const CACHE_BYTES: u64 = 1 << 20;

/// What was cut off.
#[derive(Debug)]
pub(super) struct Cut {
    /// The newest journal, now shorter.
    pub(super) journal: PathBuf,
    /// Where the cut part is now.
    pub(super) kept: PathBuf,
    /// The first byte that was cut off.
    pub(super) from: u64,
    /// How many bytes were.
    pub(super) bytes: u64,
}

/// Cuts back the newest journal, if it is the reason why the database does not open. If not, touches nothing.
pub(super) fn cut_torn_tail(database: &Path) -> Result<Option<Cut>, StoreError> {
    let failed = |error| StoreError::io("repair the journal", error);
    let Some(journal) = journal::newest(database).map_err(failed)? else { return Ok(None) };
    let mut file = File::open(&journal).map_err(failed)?;
    let end = journal::written_bytes(&mut file).map_err(failed)?;
    let scratch = Scratch::make(database)?;
    if scratch.opens(&mut file, end)? || !scratch.opens(&mut file, 0)? {
        return Ok(None);
    }
    let (mut opens, mut fails) = (0, end);
    while fails - opens > 1 {
        let middle = opens + (fails - opens) / 2;
        if scratch.opens(&mut file, middle)? {
            opens = middle;
        } else {
            fails = middle;
        }
    }
    let kept = journal::cut(&journal, opens).map_err(failed)?;
    Ok(Some(Cut { journal, kept, from: opens, bytes: end - opens }))
}

/// An empty database that is opened with one journal after another.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn make(database: &Path) -> Result<Self, StoreError> {
        let scratch = Self { path: database.join(SCRATCH) };
        scratch.remove()?;
        scratch.open()?;
        Ok(scratch)
    }

    /// Whether the first `bytes` of a journal are one that fjall opens.
    fn opens(&self, journal: &mut File, bytes: u64) -> Result<bool, StoreError> {
        let failed = |error| StoreError::io("repair the journal", error);
        while let Some(before) = journal::newest(&self.path).map_err(failed)? {
            fs::remove_file(before).map_err(failed)?;
        }
        journal::copy_start(journal, bytes, &self.path.join("0.jnl")).map_err(failed)?;
        self.open()
    }

    /// In a build with debug assertions fjall panics over some of what it finds.
    fn open(&self) -> Result<bool, StoreError> {
        match caught(|| builder(&self.path, CACHE_BYTES).open().map(drop)) {
            Ok(Ok(())) => Ok(true),
            Ok(Err(fjall::Error::JournalRecovery(_))) | Err(_) => Ok(false),
            Ok(Err(error)) => Err(StoreError::new(kind_of(&error), "repair the journal", error)),
        }
    }

    fn remove(&self) -> Result<(), StoreError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("repair the journal", error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Scratch {
    /// If it stays it is in nobody's way, and the next repair removes it.
    fn drop(&mut self) {
        self.remove().ok();
    }
}
