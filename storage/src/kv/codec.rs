//! Values as bytes: a version, the id of the key that sealed it (0: none did), and what `postcard` makes of the row.

use serde::{Deserialize, Serialize};

use crate::{StoreError, StoreErrorKind};

/// The version that rows have as a rule.
const VERSION: u8 = 1;
/// The version of a row with something behind it that rows of the first version do not have.
const WITH_MORE: u8 = 2;
/// The key id of a value that is not sealed.
const NOT_SEALED: u8 = 0;

/// Appends a value.
pub(super) fn encode<T: Serialize>(row: &T, out: &mut Vec<u8>) {
    encode_with(row, &[], out);
}

/// Appends a value that ends in `tail`, byte for byte: what is large is neither walked through nor copied twice.
pub(super) fn encode_with<T: Serialize>(row: &T, tail: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, NOT_SEALED]);
    // Rows are plain structs of numbers, strings and lists of known length: there is nothing that postcard refuses.
    postcard::serialize_with_flavor(row, Appender(out)).expect("a row of our own can be encoded");
    out.extend_from_slice(tail);
}

/// As [`encode_with`], and with `more` behind the row.
pub(super) fn encode_with_more<T: Serialize, M: Serialize>(row: &T, more: &M, tail: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    encode_with(row, &[], out);
    out[start] = WITH_MORE;
    postcard::serialize_with_flavor(more, Appender(out)).expect("a row of our own can be encoded");
    out.extend_from_slice(tail);
}

/// Appends a value with `more` behind the row, unless that says nothing.
pub(super) fn encode_more<T: Serialize, M: Serialize + Default + PartialEq>(row: &T, more: &M, out: &mut Vec<u8>) {
    if *more == M::default() { encode(row, out) } else { encode_with_more(row, more, &[], out) }
}

/// Reads a value that may have more behind its row: the row, and that or its default.
pub(super) fn decode_more<'v, T: Deserialize<'v>, M: Deserialize<'v> + Default>(
    value: &'v [u8],
) -> Result<(T, M), StoreError> {
    let (row, more, tail) = decode_with_more(value)?;
    if tail.is_empty() { Ok((row, more)) } else { Err(too_long()) }
}

/// Reads a value that may have more behind its row: the row, that or its default, and the rest.
pub(super) fn decode_with_more<'v, T: Deserialize<'v>, M: Deserialize<'v> + Default>(
    value: &'v [u8],
) -> Result<(T, M, &'v [u8]), StoreError> {
    let unreadable = |error| corrupt(format!("it cannot be read as a row: {error}"));
    if let [WITH_MORE, NOT_SEALED, rest @ ..] = value {
        let (row, rest) = postcard::take_from_bytes(rest).map_err(unreadable)?;
        let (more, tail) = postcard::take_from_bytes(rest).map_err(unreadable)?;
        return Ok((row, more, tail));
    }
    let (row, tail) = decode_with(value)?;
    Ok((row, M::default(), tail))
}

/// Reads what came later still behind all that, to the end of the value; its default if nothing is there.
pub(super) fn decode_later<'v, L: Deserialize<'v> + Default + PartialEq>(tail: &'v [u8]) -> Result<L, StoreError> {
    if tail.is_empty() {
        return Ok(L::default());
    }
    match postcard::take_from_bytes(tail) {
        // Nothing is not written.
        Ok((later, [])) if later != L::default() => Ok(later),
        Ok(_) => Err(corrupt("it is longer than it should be")),
        Err(error) => Err(corrupt(format!("it cannot be read as a row: {error}"))),
    }
}

/// Reads a value.
pub(super) fn decode<'v, T: Deserialize<'v>>(value: &'v [u8]) -> Result<T, StoreError> {
    let (row, tail) = decode_with(value)?;
    if tail.is_empty() { Ok(row) } else { Err(too_long()) }
}

/// Reads a value that ends in bytes of its own: the row, and these.
pub(super) fn decode_with<'v, T: Deserialize<'v>>(value: &'v [u8]) -> Result<(T, &'v [u8]), StoreError> {
    match value {
        [VERSION, NOT_SEALED, row @ ..] => {
            postcard::take_from_bytes(row).map_err(|error| corrupt(format!("it cannot be read as a row: {error}")))
        }
        [VERSION, key, ..] => Err(corrupt(format!("it is sealed with key {key}, which is not configured"))),
        [version, _, ..] => Err(corrupt(format!("it has version {version}, this program reads version {VERSION}"))),
        [] | [_] => Err(corrupt("it is cut short")),
    }
}

fn too_long() -> StoreError {
    corrupt("it is longer than it should be")
}

/// A stored value makes no sense, and why.
pub(super) fn corrupt(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "understand a stored value", why)
}

/// Lets postcard write behind what is there.
struct Appender<'b>(&'b mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appender<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
