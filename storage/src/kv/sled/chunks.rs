//! How one row becomes rows in sled's tree.
//!
//! ```text
//! R partition key         0, the value                      a value of up to 7 KiB
//! R partition key         1, number of pieces, the start    a larger one
//! C partition key number  the next piece
//! ```

use std::ops::Range;

use bytes::Bytes;

use super::failed;
use crate::{StoreError, StoreErrorKind, kv::Partition};

/// Sixteen of these, as many as a page of sled's has, stay below what it moves out into a file of its own.
const PIECE_BYTES: usize = 7 * 1024;
const HEAD: u8 = b'R';
const PIECE: u8 = b'C';
const WHOLE: u8 = 0;
const SPLIT: u8 = 1;
const PREFIX: usize = 1 + size_of::<u32>();
const COUNT: Range<usize> = 1..1 + size_of::<u32>();

/// Under which all rows of a partition lie.
pub(super) fn prefixes(partition: Partition) -> [[u8; PREFIX]; 2] {
    [HEAD, PIECE].map(|table| prefix(table, partition))
}

pub(super) fn head_key(partition: Partition, key: &[u8]) -> Vec<u8> {
    [&prefix(HEAD, partition), key].concat()
}

pub(super) fn piece_key(partition: Partition, key: &[u8], piece: u32) -> Vec<u8> {
    [&prefix(PIECE, partition), key, &piece.to_be_bytes()].concat()
}

/// The partition of a head; none if the key is that of something else.
pub(super) fn partition_of(head_key: &[u8]) -> Option<Partition> {
    let partition = head_key.strip_prefix(&[HEAD])?.first_chunk()?;
    Some(Partition(u32::from_be_bytes(*partition)))
}

/// The row's key in the key of its head.
pub(super) fn key_of(head_key: &[u8]) -> &[u8] {
    head_key.get(PREFIX..).unwrap_or_default()
}

/// A value as its head and the pieces that follow.
pub(super) fn split(value: &[u8]) -> (Vec<u8>, std::slice::Chunks<'_, u8>) {
    if value.len() <= PIECE_BYTES {
        return ([&[WHOLE], value].concat(), [].chunks(PIECE_BYTES));
    }
    let (start, rest) = value.split_at(PIECE_BYTES);
    let pieces = rest.chunks(PIECE_BYTES);
    let count = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    ([&[SPLIT][..], &count.to_be_bytes(), start].concat(), pieces)
}

/// How many pieces follow this head.
pub(super) fn pieces(head: &[u8]) -> u32 {
    let count = head.get(COUNT).and_then(|count| count.try_into().ok()).filter(|_| head.first() == Some(&SPLIT));
    count.map_or(0, u32::from_be_bytes)
}

/// The value whose head this is.
pub(super) fn join(tree: &sled::Db, partition: Partition, key: &[u8], head: &[u8]) -> Result<Bytes, StoreError> {
    match head.split_first() {
        Some((&WHOLE, value)) => Ok(Bytes::copy_from_slice(value)),
        Some((&SPLIT, _)) => {
            let mut value = head.get(COUNT.end..).unwrap_or_default().to_vec();
            for piece in 0..pieces(head) {
                let piece = tree.get(piece_key(partition, key, piece)).map_err(|error| failed("read", error))?;
                value.extend_from_slice(&piece.ok_or_else(torn)?);
            }
            Ok(value.into())
        }
        Some(_) | None => Err(torn()),
    }
}

/// A value that is not there as a whole.
#[derive(Debug, thiserror::Error)]
#[error("a stored value is damaged or not whole")]
struct Torn;

fn torn() -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "read", Torn)
}

fn prefix(table: u8, partition: Partition) -> [u8; PREFIX] {
    let [a, b, c, d] = partition.0.to_be_bytes();
    [table, a, b, c, d]
}
