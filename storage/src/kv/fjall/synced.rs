//! What is known to be on the disk: so that damage to it is told apart from the unsynced end that a power cut tears.
//!
//! Disks write what is not synced in any order, so whole batches behind a bad place in the newest journal prove nothing.
//! But a sync is over before the next batch speaks of it. Two witnesses do:
//!
//! - batches: now and then one says which batch was synced when it was written. If it is found behind a bad place, and
//!   the batch it speaks of is not found before that place, then what is damaged was acknowledged;
//! - a mark beside the journals, overwritten after each sync and never synced itself while the store is open. It is
//!   exact when the process died and the machine did not, and when the store was closed.
//!
//! A witness may be older than the truth, never ahead of it. Both carry a secret of the store, which only the mark has: a
//! caller's bytes in a journal cannot pose as a claim.

use std::{
    fs::{self, File},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_64;

use super::journal::is_full;
use crate::kv::folder::replace;

/// Keeps the claims of batches; holds no partition.
pub(super) const CLAIMS: &str = "synced";
pub(super) const CLAIM_KEY: [u8; 16] = *b"postrider synced";
pub(super) const CLAIM_BYTES: usize = size_of::<Secret>() + 2 * size_of::<u64>();
const FILE: &str = "postrider.synced";
const TITLE: &str = "postrider synced";

/// Known to this store and its backups.
pub(super) type Secret = [u8; 16];

/// The journals from `journal` on hold a batch of this number or a higher one, which is synced with all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) journal: u64,
    pub(super) batch: u64,
}

impl Claim {
    /// The value of its row.
    pub(super) fn bytes(self, secret: &Secret) -> [u8; CLAIM_BYTES] {
        let mut bytes = [0; CLAIM_BYTES];
        bytes[..16].copy_from_slice(secret);
        bytes[16..24].copy_from_slice(&self.journal.to_be_bytes());
        bytes[24..].copy_from_slice(&self.batch.to_be_bytes());
        bytes
    }

    /// Of the key and the value of a row; none if that is another one.
    pub(super) fn parse(row: &[u8], secret: &Secret) -> Option<Self> {
        let rest = row.strip_prefix(&CLAIM_KEY)?.strip_prefix(secret)?;
        let (journal, batch) = rest.split_first_chunk()?;
        let (journal, batch) = (u64::from_be_bytes(*journal), u64::from_be_bytes(batch.try_into().ok()?));
        Some(Self { journal, batch })
    }
}

/// What the mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) secret: Secret,
    pub(super) claim: Claim,
    /// The oldest journal that was there; the library removes those that it needs no more.
    pub(super) oldest: u64,
    /// Nothing was written or removed after it.
    pub(super) closed: bool,
}

impl Said {
    /// Of a store of which nothing is known.
    pub(super) fn fresh() -> io::Result<Self> {
        let mut secret = Secret::default();
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        Ok(Self { secret, claim: Claim { journal: 0, batch: 0 }, oldest: 0, closed: false })
    }

    /// Always of one length, and within one sector, which a disk writes whole.
    fn text(&self) -> String {
        let Self { secret, claim: Claim { journal, batch }, oldest, closed } = self;
        let (secret, state) = (u128::from_be_bytes(*secret), if *closed { "closed" } else { "opened" });
        let text = format!(
            "{TITLE}\njournal {journal:020}\nbatch {batch:020}\noldest {oldest:020}\nstore {secret:032x}\nstate {state}\n"
        );
        format!("{text}checksum {:016x}\n", xxh3_64(text.as_bytes()))
    }

    fn parse(text: &str) -> Option<Self> {
        let (lines, checksum) = text.strip_suffix('\n')?.rsplit_once("checksum ")?;
        if u64::from_str_radix(checksum, 16).ok()? != xxh3_64(lines.as_bytes()) {
            return None;
        }
        let mut lines = lines.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let mut value = |name| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let claim = Claim { journal: value("journal")?.parse().ok()?, batch: value("batch")?.parse().ok()? };
        let oldest = value("oldest")?.parse().ok()?;
        let secret = u128::from_str_radix(value("store")?, 16).ok()?.to_be_bytes();
        Some(Self { secret, claim, oldest, closed: value("state")? == "closed" })
    }
}

/// The mark of an open store.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    file: Option<File>,
    said: Said,
}

impl Mark {
    /// What the mark of a database says; none if it has none, or one that makes no sense.
    pub(super) fn read(database: &Path) -> io::Result<Option<Said>> {
        match fs::read(database.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => Ok(Said::parse(&String::from_utf8_lossy(&text?))),
        }
    }

    /// Says this durably, and lets it be overwritten.
    pub(super) fn set(database: &Path, said: Said) -> io::Result<Self> {
        let path = database.join(FILE);
        match replace(&path, said.text().as_bytes()) {
            Err(full) if is_full(&full) => overwrite(&path, &said)?,
            replaced => replaced?,
        }
        let file = File::options().write(true).open(&path).ok();
        Ok(Self { path, file, said })
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.said.secret
    }

    /// Overwrites it with something newer, of the same length. It must not fail a commit that is durable: what cannot be
    /// written leaves an older mark, which says less.
    pub(super) fn say(&mut self, claim: Claim, oldest: u64) {
        self.said = Said { claim, oldest, ..self.said };
        let text = self.said.text();
        let overwrite = |file: &mut File| file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(text.as_bytes()));
        if self.file.as_mut().is_some_and(|file| overwrite(file).is_err()) {
            self.file = None;
        }
    }

    /// Says nothing more.
    pub(super) fn forget(&mut self) {
        self.file = None;
    }

    /// The last word: nothing is written or removed after it.
    pub(super) fn close(&mut self, oldest: u64) -> io::Result<()> {
        if self.file.take().is_none() {
            return Ok(());
        }
        self.said = Said { oldest, closed: true, ..self.said };
        replace(&self.path, self.said.text().as_bytes())
    }
}

/// A full disk has room for what is there already.
fn overwrite(path: &Path, said: &Said) -> io::Result<()> {
    match File::options().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        file => file.and_then(|mut file| file.write_all(said.text().as_bytes()).and_then(|()| file.sync_all())),
    }
}
