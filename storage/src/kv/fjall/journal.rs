//! The files in which fjall keeps what is not in tables yet: `<number>.jnl`, written to the one with the highest number,
//! which is allocated ahead, so that zeros follow what was written.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::{StoreError, kv::folder::sync_folder};

const BLOCK: u64 = 1 << 20;
/// Cut parts that are kept; the oldest go first.
const KEPT: usize = 8;

/// Every journal, the oldest first.
pub(super) fn all(database: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(database)? {
        let path = entry?.path();
        all.extend(number(&path).map(|number| (number, path)));
    }
    all.sort_unstable();
    Ok(all)
}

/// The journal that was written to last, if there is one.
pub(super) fn newest(database: &Path) -> io::Result<Option<PathBuf>> {
    Ok(all(database)?.pop().map(|(_, path)| path))
}

/// Syncs what was written to the newest journal.
///
/// A journal is synced whole before another takes its place, so the newest is all there is to sync; and the file stays
/// open, because an error while its pages are written is told once to every file that was open by then.
#[derive(Debug, Default)]
pub(super) struct JournalSync {
    open: Option<(u64, File)>,
    oldest: Option<u64>,
}

/// What a sync found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Synced {
    pub(super) newest: u64,
    pub(super) oldest: u64,
    /// The journal was not open here before: an error of its pages may have been told to fjall alone.
    pub(super) is_another: bool,
}

impl JournalSync {
    /// All that was written before this was called.
    pub(super) fn sync(&mut self, database: &Path) -> io::Result<Synced> {
        let mut all = all(database)?;
        let oldest = all.first().map(|(number, _)| *number);
        let (newest, path) = all.pop().ok_or(io::ErrorKind::NotFound)?;
        let (is_another, file) = match self.open.take() {
            Some((number, file)) if number == newest => (false, file),
            // Also for reading alone it could be synced here, but not everywhere.
            Some(_) | None => (true, File::options().write(true).open(&path)?),
        };
        file.sync_data()?;
        self.open = Some((newest, file));
        if oldest != self.oldest {
            // Journals that fjall removed stay removed, so that one which is missing later was not removed by it.
            sync_folder(database)?;
            self.oldest = oldest;
        }
        Ok(Synced { newest, oldest: oldest.unwrap_or(newest), is_another })
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

/// Writes the newest journal anew. If a sync failed before, what is read of it may exist in the page cache only, marked
/// as written: no later sync alone would bring it to the disk. A full disk must not keep it from being opened, so without
/// room for a fresh file its own pages are written once more.
pub(super) fn renew_newest(database: &Path) -> Result<(), StoreError> {
    let renew = || {
        let Some(journal) = newest(database)? else { return Ok(()) };
        let mut file = File::options().read(true).write(true).open(&journal)?;
        let (bytes, fresh) = (written_bytes(&mut file)?, journal.with_extension("renewed"));
        match copy_start(&mut file, bytes, &fresh) {
            Err(full) if is_full(&full) => {
                fs::remove_file(&fresh)?;
                write_once_more(&mut file, bytes)
            }
            copied => {
                copied?;
                fs::rename(&fresh, &journal)?;
                sync_folder(database)
            }
        }
    };
    renew().map_err(|error| StoreError::io("renew the journal", error))
}

/// The first `bytes` of a journal in a new file, synced.
fn copy_start(from: &mut File, bytes: u64, to: &Path) -> io::Result<()> {
    from.seek(SeekFrom::Start(0))?;
    let mut copy = File::create(to)?;
    io::copy(&mut from.take(bytes), &mut copy)?;
    copy.sync_all()
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
    let copied = io::copy(&mut (&file).take(end.saturating_sub(from)), &mut kept).and_then(|_| kept.sync_all());
    match copied {
        Err(full) if is_full(&full) => move_end(&mut file, from, end, &mut kept)?,
        copied => {
            copied?;
            journal.parent().map_or(Ok(()), sync_folder)?;
            // Only now: whatever happens, the bytes are in one of the two.
            file.set_len(from)?;
            file.sync_all()?;
        }
    }
    forget_old_cuts(journal)?;
    Ok(path)
}

/// Takes a whole journal away, and returns the path where it is kept.
pub(super) fn set_aside(journal: &Path) -> io::Result<PathBuf> {
    let (_, path) = free_name(journal)?;
    fs::rename(journal, &path)?;
    journal.parent().map_or(Ok(()), sync_folder)?;
    Ok(path)
}

/// On a full disk: the room that the cut part has is the room for it. What cannot be written then goes back.
fn move_end(file: &mut File, from: u64, end: u64, kept: &mut File) -> io::Result<()> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    (&*file).take(end.saturating_sub(from)).read_to_end(&mut bytes)?;
    kept.set_len(0)?;
    file.set_len(from)?;
    file.sync_all()?;
    kept.seek(SeekFrom::Start(0))?;
    kept.write_all(&bytes).and_then(|()| kept.sync_all()).or_else(|error| {
        kept.set_len(0)?;
        file.seek(SeekFrom::Start(from))?;
        file.write_all(&bytes)?;
        Err(error)
    })
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

fn forget_old_cuts(journal: &Path) -> io::Result<()> {
    let mut cuts = Vec::new();
    for entry in fs::read_dir(journal.parent().unwrap_or(Path::new(".")))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once(".jnl.cut-"));
        let order = name.and_then(|(journal, cut)| Some((journal.parse::<u64>().ok()?, cut.parse::<u64>().ok()?)));
        cuts.extend(order.map(|order| (order, path)));
    }
    cuts.sort_unstable();
    let many = cuts.len().saturating_sub(KEPT);
    cuts[..many].iter().try_for_each(|(_, path)| fs::remove_file(path))
}

/// No room, or none for this user.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
