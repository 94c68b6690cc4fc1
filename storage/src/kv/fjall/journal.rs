//! The files in which fjall keeps what is not in tables yet: `<number>.jnl`, written to the one with the highest number,
//! which is allocated ahead, so that zeros follow what was written.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::{StoreError, kv::folder::sync_folder};

const BLOCK: u64 = 1 << 20;

/// The journal that was written to last, if there is one.
pub(super) fn newest(database: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in fs::read_dir(database)? {
        let path = entry?.path();
        let Some(number) = number(&path) else { continue };
        newest = newest.max(Some((number, path)));
    }
    Ok(newest.map(|(_, path)| path))
}

/// Syncs what was written to the newest journal.
///
/// A journal is synced whole before another takes its place, so the newest is all there is to sync; and the file stays
/// open, because an error while its pages are written is told once to every file that was open by then.
#[derive(Debug, Default)]
pub(super) struct JournalSync {
    open: Option<(PathBuf, File)>,
}

impl JournalSync {
    /// All that was written before this was called.
    pub(super) fn sync(&mut self, database: &Path) -> io::Result<()> {
        let newest = newest(database)?.ok_or(io::ErrorKind::NotFound)?;
        let (path, file) = match self.open.take() {
            Some((path, file)) if path == newest => (path, file),
            Some(_) | None => {
                // Also for reading alone it could be synced here, but not everywhere.
                let file = File::options().write(true).open(&newest)?;
                (newest, file)
            }
        };
        file.sync_data()?;
        self.open = Some((path, file));
        Ok(())
    }
}

fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".jnl")?.parse().ok()
}

/// Where the zeros begin that follow everything written.
pub(super) fn written_bytes(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let (mut block, zeros) = (Vec::new(), vec![0; BLOCK as usize]);
    while end > 0 {
        let start = (end - 1) / BLOCK * BLOCK;
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        (&*file).take(end - start).read_to_end(&mut block)?;
        // Compared whole first: most of a journal is zeros, and a comparison is fast in every build.
        if block[..] != zeros[..block.len()] {
            let last = block.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            return Ok(start + last as u64);
        }
        end = start;
    }
    Ok(0)
}

/// Writes the first `bytes` of a journal to a new file and syncs it.
pub(super) fn copy_start(from: &mut File, bytes: u64, to: &Path) -> io::Result<()> {
    from.seek(SeekFrom::Start(0))?;
    let mut copy = File::create(to)?;
    io::copy(&mut from.take(bytes), &mut copy)?;
    copy.sync_all()
}

/// Writes the newest journal anew; false if there is none. If a sync failed before, what is read of it may exist in the
/// page cache only, marked as written: no later sync alone would bring it to the disk. A full disk must not keep it from
/// being opened, so without room for a fresh file its own pages are written once more.
pub(super) fn renew_newest(database: &Path) -> Result<bool, StoreError> {
    let renew = || {
        let Some(journal) = newest(database)? else { return Ok(false) };
        let mut file = File::options().read(true).write(true).open(&journal)?;
        let (bytes, fresh) = (written_bytes(&mut file)?, journal.with_extension("renewed"));
        match copy_start(&mut file, bytes, &fresh) {
            Err(full) if full.kind() == io::ErrorKind::StorageFull => {
                fs::remove_file(&fresh)?;
                write_once_more(&mut file, bytes)?;
            }
            copied => {
                copied?;
                fs::rename(&fresh, &journal)?;
                sync_folder(database)?;
            }
        }
        Ok(true)
    };
    renew().map_err(|error| StoreError::io("renew the journal", error))
}

/// The same bytes in the same places: a power cut in between changes nothing.
pub(super) fn write_once_more(file: &mut File, bytes: u64) -> io::Result<()> {
    let mut block = Vec::new();
    for start in (0..bytes).step_by(BLOCK as usize) {
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        (&*file).take(BLOCK.min(bytes - start)).read_to_end(&mut block)?;
        file.seek(SeekFrom::Start(start))?;
        file.write_all(&block)?;
    }
    file.sync_all()
}

/// Moves what `journal` has from byte `from` on into a file beside it, and returns that one's path.
pub(super) fn cut(journal: &Path, from: u64) -> io::Result<PathBuf> {
    let mut file = File::options().read(true).write(true).open(journal)?;
    let end = written_bytes(&mut file)?;
    let (mut kept, path) = free_name(journal)?;
    file.seek(SeekFrom::Start(from))?;
    io::copy(&mut (&file).take(end.saturating_sub(from)), &mut kept)?;
    kept.sync_all()?;
    journal.parent().map_or(Ok(()), sync_folder)?;
    // Only now: whatever happens, the bytes are in one of the two.
    file.set_len(from)?;
    file.sync_all()?;
    Ok(path)
}

/// `7.jnl.cut-1`, the next number if there is one from before. fjall looks at names that end in `.jnl` only.
fn free_name(journal: &Path) -> io::Result<(File, PathBuf)> {
    let mut number = 1;
    loop {
        let path = journal.with_extension(format!("jnl.cut-{number}"));
        match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            made => return Ok((made?, path)),
        }
    }
}
