//! Maps by id with a cheap hash: half of an id is chance, and outsiders only look ids up.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
};

/// A map by id.
pub(crate) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// The same for the same thing, in every run.
pub(crate) fn hash_of(thing: impl Hash) -> u64 {
    let mut hasher = IdHasher::default();
    thing.hash(&mut hasher);
    hasher.finish()
}

/// Which of `n` parts an id belongs to. The low bits of the hash choose buckets in the maps of each part.
pub(crate) fn part_of(id: impl Hash, n: usize) -> usize {
    (hash_of(id) >> 40) as usize % n
}

/// Multiplies and folds, eight bytes at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

impl IdHasher {
    const fn mix(&mut self, word: u64) {
        let wide = (self.0 ^ word) as u128 * 0x9e37_79b9_7f4a_7c15;
        self.0 = (wide as u64) ^ ((wide >> 64) as u64);
    }
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.mix(chunk.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
        }
        for byte in chunks.remainder() {
            self.mix(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.mix(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    fn write_u128(&mut self, n: u128) {
        self.mix(n as u64);
        self.mix((n >> 64) as u64);
    }

    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }
}
