//! Reads a journal of fjall 3 batch by batch, as far as its batches are whole, and changes nothing.
//!
//! ```text
//! 1  rows u32  number u64                                                    a batch begins; no checksum covers this
//! 2  kind u8  0  keyspace u64  key u16  value u32  value u32  key  value      a row; its lengths, and the bytes
//! 4  keyspace u64                                                            a keyspace is emptied
//! 3  xxh3 of the rows as they lie here u64  "FJL" 3                          the batch is whole
//! ```
//!
//! Integers are little-endian. Values are never compressed: that feature of fjall is off.

use std::io::{self, Read};

use xxhash_rust::xxh3::Xxh3;

use super::synced::{CLAIM_BYTES, CLAIM_KEY, Claim, Secret};

const BEGIN: u8 = 1;
const ROW: u8 = 2;
const END: u8 = 3;
const EMPTIED: u8 = 4;
const TRAILER: [u8; 4] = *b"FJL\x03";
const NOT_COMPRESSED: u8 = 0;
/// A batch cannot be shorter than its beginning, one emptied keyspace, and its end.
const BEGIN_BYTES: usize = 13;
/// What is looked through behind a bad place may be made to look like batches: this much more work than reading it once.
const EFFORT: u64 = 16;
const PIECE: usize = 64 << 10;

/// A whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// They rise from batch to batch.
    pub(super) number: u64,
    pub(super) rows: u32,
    /// What it says of those before it.
    pub(super) claim: Option<Claim>,
}

/// Why a batch is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// What was written ends in the middle of it.
    Unfinished,
    /// It makes no sense.
    Damaged,
}

/// What comes next in a journal.
pub(super) enum Next {
    Whole(Batch),
    Broken(Broken),
    /// Nothing: what is before is whole.
    End,
}

/// Goes through what was written to one journal.
pub(super) struct Batches<'a, R> {
    reader: Counted<R>,
    secret: &'a Secret,
}

impl<'a, R: Read> Batches<'a, R> {
    pub(super) fn of(reader: R, secret: &'a Secret) -> Self {
        Self { reader: Counted { reader, bytes: 0 }, secret }
    }

    /// Where the next batch begins.
    pub(super) fn at(&self) -> u64 {
        self.reader.bytes
    }

    /// The next batch; not to be asked again after a broken one.
    pub(super) fn next(&mut self) -> io::Result<Next> {
        let mut first = [0];
        if self.reader.read(&mut first)? == 0 {
            return Ok(Next::End);
        }
        match self.rest_of_batch(first[0]) {
            Ok(Some(batch)) => Ok(Next::Whole(batch)),
            Ok(None) => Ok(Next::Broken(Broken::Damaged)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Next::Broken(Broken::Unfinished)),
            Err(error) => Err(error),
        }
    }

    /// None if it makes no sense.
    fn rest_of_batch(&mut self, tag: u8) -> io::Result<Option<Batch>> {
        if tag != BEGIN {
            return Ok(None);
        }
        let rows = u32::from_le_bytes(self.reader.array()?);
        let number = u64::from_le_bytes(self.reader.array()?);
        let (mut checksum, mut claim) = (Xxh3::new(), None);
        for _ in 0..rows {
            match self.row(&mut checksum)? {
                Some(said) => claim = said.or(claim),
                None => return Ok(None),
            }
        }
        if self.reader.array()? != [END] {
            return Ok(None);
        }
        let expected = u64::from_le_bytes(self.reader.array()?);
        let is_whole = self.reader.array()? == TRAILER && checksum.digest() == expected;
        Ok(is_whole.then_some(Batch { number, rows, claim }))
    }

    /// None if it makes no sense; else what it claims, if it does.
    fn row(&mut self, checksum: &mut Xxh3) -> io::Result<Option<Option<Claim>>> {
        let tag: [u8; 1] = self.reader.array()?;
        checksum.update(&tag);
        match tag[0] {
            EMPTIED => {
                checksum.update(&self.reader.array::<8>()?);
                return Ok(Some(None));
            }
            ROW => {}
            _ => return Ok(None),
        }
        let head: [u8; 20] = self.reader.array()?;
        checksum.update(&head);
        let [kind, compression, .., k0, k1, v0, v1, v2, v3, s0, s1, s2, s3] = head;
        let (key, value) = (u16::from_le_bytes([k0, k1]), u32::from_le_bytes([v0, v1, v2, v3]));
        if kind > 4 || compression != NOT_COMPRESSED || value != u32::from_le_bytes([s0, s1, s2, s3]) {
            return Ok(None);
        }
        if (usize::from(key), value as usize) == (CLAIM_KEY.len(), CLAIM_BYTES) {
            let bytes: [u8; CLAIM_KEY.len() + CLAIM_BYTES] = self.reader.array()?;
            checksum.update(&bytes);
            return Ok(Some(Claim::parse(&bytes, self.secret)));
        }
        let mut left = u64::from(key) + u64::from(value);
        let mut piece = [0; 4096];
        while left > 0 {
            let next = left.min(piece.len() as u64) as usize;
            self.reader.read_exact(&mut piece[..next])?;
            checksum.update(&piece[..next]);
            left -= next as u64;
        }
        Ok(Some(None))
    }
}

/// Whole batches somewhere in these bytes, numbered above `after`. Given up after a while: bytes that a caller chose may
/// look like the beginnings of many.
pub(super) fn found_in(bytes: &[u8], after: u64, secret: &Secret) -> Vec<Batch> {
    let (mut found, mut at, mut last) = (Vec::new(), 0, after);
    let mut effort = EFFORT * bytes.len().max(PIECE) as u64;
    while at + BEGIN_BYTES < bytes.len() && effort > 0 {
        if bytes[at] != BEGIN || !may_begin(&bytes[at..], last) {
            at += 1;
            continue;
        }
        let mut batches = Batches::of(&bytes[at..], secret);
        // A slice is always read.
        let next = batches.next().ok();
        effort = effort.saturating_sub(batches.at());
        if let Some(Next::Whole(batch)) = next {
            (last, at) = (batch.number, at + batches.at() as usize);
            found.push(batch);
        } else {
            at += 1;
        }
    }
    found
}

/// Whether a batch with this number can come after that one: fjall draws them where it writes, and others in between for
/// what it does to tables. No checksum covers them.
pub(super) fn follows(before: u64, number: u64) -> bool {
    number > before && number - before < 1 << 48
}

fn may_begin(bytes: &[u8], after: u64) -> bool {
    let number = bytes.get(5..BEGIN_BYTES).and_then(|number| number.try_into().ok()).map_or(0, u64::from_le_bytes);
    follows(after, number) && matches!(bytes.get(BEGIN_BYTES), Some(&ROW | &EMPTIED))
}

/// Knows how far it has read.
struct Counted<R> {
    reader: R,
    bytes: u64,
}

impl<R: Read> Counted<R> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        self.read_exact(&mut array)?;
        Ok(array)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}
