//! Looks through all journals before fjall does: whole, torn at the end as by a power cut, or damaged.
//!
//! fjall takes what it cannot read for the end of a journal and cuts it off, or refuses to open. Here, what was
//! acknowledged is never cut off: [`synced`](super::synced) has the witnesses that say what was. What was not synced may
//! have holes after a power cut, with whole batches behind them; that is cut back to the last batch before the first
//! hole, and kept in a file beside the journal.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use tracing::warn;

use super::{
    batches::{Batch, Batches, Broken, Next, follows, found_in},
    journal,
    synced::{Claim, Said},
};
use crate::{StoreError, StoreErrorKind};

/// Journals that are whole, after what was torn is cut off.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) oldest: u64,
    /// All that is there is on the disk when the newest one is written anew.
    pub(super) claim: Claim,
}

/// Why journals are refused. Nothing was touched.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error("the journal is missing: restore the data folder from a backup")]
    None,
    #[error("{} is missing, and acknowledged writes with it: restore the data folder from a backup", .0.display())]
    Missing(PathBuf),
    #[error(
        "{} is damaged at byte {at}, in what was acknowledged: {before} whole writes are before that place and at least \
         {behind} behind it; restore the data folder from a backup",
        .journal.display()
    )]
    Damaged { journal: PathBuf, at: u64, before: u64, behind: usize },
    #[error(
        "{} ends too early, with {whole} whole writes in {bytes} bytes, and acknowledged ones are missing: restore the \
         data folder from a backup",
        .journal.display()
    )]
    CutShort { journal: PathBuf, whole: u64, bytes: u64 },
}

impl From<JournalError> for StoreError {
    fn from(error: JournalError) -> Self {
        Self::new(StoreErrorKind::Corrupt, "open the store", error)
    }
}

/// One journal, as far as it is whole.
pub(super) struct Walked {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// The number of its first batch.
    first: Option<u64>,
    pub(super) whole: Batched,
    /// What is behind that.
    pub(super) broken: Option<(Broken, Vec<Batch>)>,
}

/// The whole batches at the beginning of a journal.
#[derive(Clone, Copy, Default)]
pub(super) struct Batched {
    pub(super) batches: u64,
    /// The number of the last one.
    last: Option<u64>,
    /// Where that ends.
    pub(super) bytes: u64,
}

/// Looks through all journals, and cuts off what was torn and never acknowledged.
pub(super) fn make_whole(database: &Path, said: &Said) -> Result<Whole, StoreError> {
    let failed = |error| StoreError::io("read the journals", error);
    let (walked, claims) = journal::all(database).and_then(|journals| walk_all(journals, said)).map_err(failed)?;
    check(database, &walked, said, &claims)?;
    for torn in walked.iter().filter(|journal| journal.broken.is_some()) {
        cut(torn).map_err(|error| StoreError::io("repair the journal", error))?;
    }
    let (Some(oldest), Some(newest)) = (walked.first(), walked.last()) else { return Err(JournalError::None.into()) };
    let claim = newest.whole.last.map_or(said.claim, |batch| Claim { journal: newest.number, batch });
    Ok(Whole { oldest: oldest.number, claim })
}

/// Reads all journals as far as they are whole; and what their batches claim.
pub(super) fn walk_all(journals: Vec<(u64, PathBuf)>, said: &Said) -> io::Result<(Vec<Walked>, Vec<Claim>)> {
    let mut claims = vec![said.claim];
    let walked = journals.into_iter().map(|(number, path)| walk(number, path, said, &mut claims));
    let mut walked = walked.collect::<io::Result<Vec<_>>>()?;
    let firsts: Vec<_> = walked.iter().skip(1).map(|next| next.first).collect();
    for (journal, next) in walked.iter_mut().zip(firsts) {
        let rises = journal.whole.last.zip(next).is_none_or(|(last, first)| follows(last, first));
        if !rises && journal.broken.is_none() {
            journal.broken = Some((Broken::Damaged, Vec::new()));
        }
    }
    Ok((walked, claims))
}

/// Whether all that was acknowledged is there.
pub(super) fn check(database: &Path, walked: &[Walked], said: &Said, claims: &[Claim]) -> Result<(), JournalError> {
    check_names(database, walked, said)?;
    check_claims(walked, claims)
}

/// fjall numbers journals without gaps, and removes the oldest first.
fn check_names(database: &Path, journals: &[Walked], said: &Said) -> Result<(), JournalError> {
    let missing = |number: u64| Err(JournalError::Missing(database.join(format!("{number}.jnl"))));
    let (Some(oldest), Some(newest)) = (journals.first(), journals.last()) else { return Err(JournalError::None) };
    if said.claim.journal > newest.number {
        return missing(said.claim.journal);
    }
    if said.closed && oldest.number > said.oldest {
        return missing(said.oldest);
    }
    for (before, after) in journals.iter().zip(&journals[1..]) {
        // A removed one may come back with a power cut, but only one that was needed no more.
        if before.number + 1 < after.number && said.oldest < after.number {
            return missing(before.number + 1);
        }
    }
    Ok(())
}

fn walk(number: u64, path: PathBuf, said: &Said, claims: &mut Vec<Claim>) -> io::Result<Walked> {
    let mut file = File::open(&path)?;
    let written = journal::written_bytes(&mut file)?;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = Batches::of(BufReader::with_capacity(1 << 20, (&file).take(written)), &said.secret);
    let mut walked = Walked { number, path, first: None, whole: Batched::default(), broken: None };
    let mut before_last = walked.whole;
    let broken = loop {
        match reader.next()? {
            Next::Whole(batch) if walked.whole.last.is_none_or(|last| follows(last, batch.number)) => {
                before_last = walked.whole;
                walked.first = walked.first.or(Some(batch.number));
                let batches = walked.whole.batches + 1;
                walked.whole = Batched { batches, last: Some(batch.number), bytes: reader.at() };
                claims.extend(batch.claim);
            }
            // One of the two numbers is damaged, and who knows which: a raised one would pass for a proof of more.
            Next::Whole(_) => {
                walked.whole = before_last;
                break Broken::Damaged;
            }
            Next::End => return Ok(walked),
            Next::Broken(broken) => break broken,
        }
    };
    let mut rest = Vec::new();
    file.seek(SeekFrom::Start(walked.whole.bytes))?;
    (&file).take(written - walked.whole.bytes).read_to_end(&mut rest)?;
    let behind = found_in(&rest, walked.whole.last.unwrap_or(0), &said.secret);
    claims.extend(behind.iter().filter_map(|batch| batch.claim));
    walked.broken = Some((broken, behind));
    Ok(walked)
}

fn check_claims(journals: &[Walked], claims: &[Claim]) -> Result<(), JournalError> {
    let newest = journals.last().map_or(0, |newest| newest.number);
    for (at, journal) in journals.iter().enumerate() {
        // Synced whole before the next one was begun; what a full disk kept from being finished was not acknowledged.
        let is_sealed = journal.number < newest;
        let is_unfinished = |broken: &(Broken, Vec<Batch>)| broken.0 == Broken::Unfinished && broken.1.is_empty();
        if is_sealed && !journal.broken.as_ref().is_none_or(is_unfinished) {
            return Err(damaged(journal));
        }
        // Those that were removed since spoke of batches that were needed no more.
        if journals.len() as u64 - at as u64 != newest - journal.number + 1 {
            continue;
        }
        let said = claims.iter().filter(|claim| claim.journal == journal.number).map(|claim| claim.batch).max();
        let last = journals[at..].iter().filter_map(|journal| journal.whole.last).max();
        if said.is_some_and(|said| said > 0 && last.is_none_or(|last| last < said)) {
            let broken = journals[at..].iter().find(|journal| journal.broken.is_some());
            return Err(broken.or(journals.last()).map_or(JournalError::None, damaged));
        }
    }
    Ok(())
}

fn damaged(journal: &Walked) -> JournalError {
    let (path, whole, bytes) = (journal.path.clone(), journal.whole.batches, journal.whole.bytes);
    match &journal.broken {
        None => JournalError::CutShort { journal: path, whole, bytes },
        Some((_, behind)) => JournalError::Damaged { journal: path, at: bytes, before: whole, behind: behind.len() },
    }
}

fn cut(torn: &Walked) -> io::Result<()> {
    let Some((_, behind)) = &torn.broken else { return Ok(()) };
    let kept = journal::cut(&torn.path, torn.whole.bytes)?;
    warn!(
        journal = %torn.path.display(),
        kept = %kept.display(),
        from_byte = torn.whole.bytes,
        whole_writes = torn.whole.batches,
        cut_writes = behind.len(),
        cut_rows = behind.iter().map(|batch| u64::from(batch.rows)).sum::<u64>(),
        "the end of the journal was torn, as by a power cut, and was cut off and kept; no witness says that any of it was \
         acknowledged"
    );
    Ok(())
}
