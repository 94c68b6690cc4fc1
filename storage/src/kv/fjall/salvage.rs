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
        Ok(Found::look(self)?.damage)
    }

    /// Gives up what is damaged in the journals, and all that was written after it: the store opens then. What goes is kept
    /// beside the journals.
    ///
    /// # Errors
    /// As those of [`journal_damage`](Self::journal_damage).
    pub fn give_up_damaged_journals(&self) -> Result<JournalDamage, StoreError> {
        let found = Found::look(self)?;
        if found.damage.what.is_none() {
            return Ok(found.damage);
        }
        found.give_up().map_err(|error| StoreError::io("give up the journals", error))
    }
}

/// What was found in the journals of a store.
struct Found {
    database: PathBuf,
    said: Said,
    walked: Vec<Walked>,
    /// How many of them stay, the last of them as far as it is whole.
    staying: usize,
    damage: JournalDamage,
}

impl Found {
    fn look(of: &Fjall) -> Result<Self, StoreError> {
        let folder = fjall_folder(&of.path)?;
        let database = folder.database();
        check_tables(&database, &folder)?;
        let said = what_was_synced(&database, &folder)?;
        let failed = |error| StoreError::io("read the journals", error);
        let journals = journal::all(&database).map_err(failed)?;
        let (walked, claims) = walk_all(journals, &said).map_err(failed)?;
        let count = |walked: &[Walked]| walked.iter().map(|journal| journal.whole.batches).sum::<u64>();
        let Err(error) = check(&database, &walked, &said, &claims) else {
            let damage = JournalDamage { writes_before: count(&walked), ..JournalDamage::default() };
            return Ok(Self { database, said, staying: walked.len(), walked, damage });
        };
        let keep = walked.iter().zip(&walked[1.min(walked.len())..]).position(|(one, next)| {
            // The first that is not whole, or with none behind it, is the last one that stays.
            one.broken.is_some() || one.number + 1 != next.number
        });
        let staying = keep.map_or(walked.len(), |last| last + 1);
        let (stay, go) = walked.split_at(staying);
        let behind = stay.last().and_then(|last| last.broken.as_ref()).map_or(0, |(_, behind)| behind.len() as u64);
        let damage = JournalDamage {
            what: Some(error.to_string()),
            writes_before: count(stay),
            writes_behind: behind + count(go),
            kept: Vec::new(),
        };
        Ok(Self { database, said, staying, walked, damage })
    }

    fn give_up(self) -> io::Result<JournalDamage> {
        let Self { database, said, walked, staying, mut damage } = self;
        let (stay, go) = walked.split_at(staying);
        let oldest = stay.first().map_or(said.claim.journal, |oldest| oldest.number);
        let newest = stay.last().map_or(oldest, |newest| newest.number);
        // First: nothing that goes is spoken of any more. If the power goes behind this, the next try goes on.
        Mark::set(&database, Said { claim: Claim { journal: newest, batch: 0 }, oldest, closed: false, ..said })?;
        // The newest first, so that there is never one behind a missing one.
        for journal in go.iter().rev() {
            damage.kept.push(journal::set_aside(&journal.path)?);
        }
        match stay.last() {
            Some(last) if last.broken.is_some() => damage.kept.push(journal::cut(&last.path, last.whole.bytes)?),
            Some(_) => {}
            None => drop(fs::File::create(database.join(format!("{newest}.jnl")))?),
        }
        sync_folder(&database)?;
        Ok(damage)
    }
}
