//! Goes on without what is damaged in journals, if a person says so: they are cut at the first bad place, and all that was
//! behind it is kept beside them.
//!
//! What is behind a bad place was written later than what is before it, so it cannot be gone on with. Tables are not
//! touched: what was flushed from there is still in them, so that later writes may be there in part.

use std::{fs, io, path::PathBuf};

use super::{
    Fjall, journal,
    open::{check_tables, fjall_folder, what_was_synced},
    repair::{Walked, check, walk_all},
    synced::{Claim, Mark, Said},
};
use crate::{StoreError, kv::folder::sync_folder};

/// What is damaged in the journals of a store, and what it costs to go on without it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalDamage {
    /// What is wrong; none if the store opens as it is.
    pub what: Option<String>,
    /// Whole writes in journals before the damage. They stay.
    pub writes_before: u64,
    /// Whole writes that were found behind it. They go; some or all of them were acknowledged.
    pub writes_behind: u64,
    /// Where what went is kept, if it went.
    pub kept: Vec<PathBuf>,
}

impl Fjall {
    /// Looks for damage in the journals, and changes nothing.
    ///
    /// # Errors
    /// As those of [`FjallKv::open`](super::FjallKv::open), but for damaged and missing journals.
    pub fn journal_damage(&self) -> Result<JournalDamage, StoreError> {
        self.salvage(false)
    }

    /// Gives up what is damaged in the journals, and all that was written after it: the store opens then. What goes is kept
    /// beside the journals.
    ///
    /// # Errors
    /// As those of [`journal_damage`](Self::journal_damage).
    pub fn give_up_damaged_journals(&self) -> Result<JournalDamage, StoreError> {
        self.salvage(true)
    }

    fn salvage(&self, gives_up: bool) -> Result<JournalDamage, StoreError> {
        let folder = fjall_folder(&self.path)?;
        let database = folder.database();
        check_tables(&database, &folder)?;
        let said = what_was_synced(&database, &folder)?;
        let failed = |error| StoreError::io("read the journals", error);
        let journals = journal::all(&database).map_err(failed)?;
        let (walked, claims) = walk_all(journals, &said).map_err(failed)?;
        let count = |walked: &[Walked]| walked.iter().map(|journal| journal.batches).sum::<u64>();
        let Err(error) = check(&database, &walked, &said, &claims) else {
            return Ok(JournalDamage { writes_before: count(&walked), ..JournalDamage::default() });
        };
        let keep = walked.iter().zip(&walked[1.min(walked.len())..]).position(|(one, next)| {
            // The first that is not whole, or with none behind it, is the last one that stays.
            one.broken.is_some() || one.number + 1 != next.number
        });
        let (stay, go) = walked.split_at(keep.map_or(walked.len(), |last| last + 1));
        let behind = stay.last().and_then(|last| last.broken.as_ref()).map_or(0, |(_, behind)| behind.len() as u64);
        let mut damage = JournalDamage {
            what: Some(error.to_string()),
            writes_before: count(stay),
            writes_behind: behind + count(go),
            kept: Vec::new(),
        };
        if gives_up {
            damage.kept =
                give_up(&database, &said, stay, go).map_err(|error| StoreError::io("give up the journals", error))?;
        }
        Ok(damage)
    }
}

fn give_up(database: &std::path::Path, said: &Said, stay: &[Walked], go: &[Walked]) -> io::Result<Vec<PathBuf>> {
    let oldest = stay.first().map_or(said.claim.journal, |oldest| oldest.number);
    let newest = stay.last().map_or(oldest, |newest| newest.number);
    // First: nothing that goes is spoken of any more. If the power goes behind this, the next try goes on.
    Mark::set(database, Said { claim: Claim { journal: newest, batch: 0 }, oldest, closed: false, ..*said })?;
    let mut kept = Vec::new();
    // The newest first, so that there is never one behind a missing one.
    for journal in go.iter().rev() {
        kept.push(journal::set_aside(&journal.path)?);
    }
    match stay.last() {
        Some(last) if last.broken.is_some() => kept.push(journal::cut(&last.path, last.bytes)?),
        Some(_) => {}
        None => drop(fs::File::create(database.join(format!("{newest}.jnl")))?),
    }
    sync_folder(database)?;
    Ok(kept)
}
