//! The bits of an id: 20 bytes that sort by time, printed as 27 base62 digits that sort the same way.
//!
//! ```text
//! | 4 bytes: seconds since 2014-05-13T16:53:20Z | 1 byte: milliseconds / 4 | 15 bytes: chance |
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Dice, SplitMix, Timestamp};

/// What the seconds of an id count from, in seconds since the Unix epoch.
const EPOCH_SECONDS: u64 = 1_400_000_000;
/// Digits of the printed form.
pub(super) const DIGITS: usize = 27;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Five digits at a time: the largest power of 62 whose product with a limb fits into 64 bits with room to spare.
const CHUNK_DIGITS: usize = 5;
const CHUNK: u64 = 62_u64.pow(CHUNK_DIGITS as u32);
const NOT_A_DIGIT: u8 = u8::MAX;

/// The value of each byte as a base62 digit.
const VALUES: [u8; 256] = {
    let mut values = [NOT_A_DIGIT; 256];
    let mut digit = 0;
    while digit < ALPHABET.len() {
        values[ALPHABET[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

/// The bits of an id. Byte order, text order and, between different times, time order are one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Ksuid([u8; 20]);

impl Ksuid {
    /// Times before 2014 and after 2150 become the first and the last that fit.
    pub(super) fn new(now: Timestamp, dice: &mut dyn Dice) -> Self {
        let millis = (now.as_nanos() / 1_000_000).saturating_sub(EPOCH_SECONDS * 1000);
        let seconds = u32::try_from(millis / 1000).unwrap_or(u32::MAX);
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&seconds.to_be_bytes());
        bytes[4] = (millis % 1000 / 4) as u8;
        bytes[5..13].copy_from_slice(&dice.roll().to_be_bytes());
        bytes[13..].copy_from_slice(&dice.roll().to_be_bytes()[..7]);
        Self(bytes)
    }

    pub(super) fn after(last: Option<Self>, now: Timestamp, entropy: u64) -> Self {
        let fresh = Self::new(now, &mut SplitMix::new(entropy));
        last.map_or(fresh, |last| fresh.max(last.next()))
    }

    /// The next one in order; the very last one has itself.
    fn next(self) -> Self {
        let mut bytes = self.0;
        for byte in bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Self(bytes);
            }
        }
        self
    }

    pub(super) fn time(self) -> Timestamp {
        let [a, b, c, d, quarters, ..] = self.0;
        let seconds = EPOCH_SECONDS + u64::from(u32::from_be_bytes([a, b, c, d]));
        Timestamp::from_nanos(0) + Duration::from_millis(seconds * 1000 + u64::from(quarters) * 4)
    }

    pub(super) const fn to_bytes(self) -> [u8; 20] {
        self.0
    }

    pub(super) const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Divides by 62^5 again and again, in 32-bit limbs: no number larger than 64 bits is needed.
    pub(super) fn digits(self) -> [u8; DIGITS] {
        let mut limbs = [0_u32; 5];
        for (limb, bytes) in limbs.iter_mut().zip(self.0.chunks_exact(4)) {
            *limb = bytes.iter().fold(0, |limb, byte| limb << 8 | u32::from(*byte));
        }
        let mut digits = [b'0'; DIGITS];
        for chunk in digits.rchunks_mut(CHUNK_DIGITS) {
            let mut rest = 0;
            for limb in &mut limbs {
                let value = rest << 32 | u64::from(*limb);
                *limb = (value / CHUNK) as u32;
                rest = value % CHUNK;
            }
            for digit in chunk.iter_mut().rev() {
                *digit = ALPHABET[(rest % 62) as usize];
                rest /= 62;
            }
        }
        digits
    }

    /// None for another length, another alphabet, or a number of more than 160 bits.
    pub(super) const fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != DIGITS {
            return None;
        }
        let mut limbs = [0_u32; 5];
        let mut at = 0;
        while at < DIGITS {
            let digit = VALUES[text[at] as usize];
            if digit == NOT_A_DIGIT {
                return None;
            }
            let mut carry = digit as u64;
            let mut limb = limbs.len();
            while limb > 0 {
                limb -= 1;
                let value = limbs[limb] as u64 * 62 + carry;
                limbs[limb] = value as u32;
                carry = value >> 32;
            }
            if carry != 0 {
                return None;
            }
            at += 1;
        }
        let mut bytes = [0; 20];
        let mut byte = 0;
        while byte < bytes.len() {
            bytes[byte] = (limbs[byte / 4] >> (24 - 8 * (byte % 4))) as u8;
            byte += 1;
        }
        Some(Self(bytes))
    }
}
