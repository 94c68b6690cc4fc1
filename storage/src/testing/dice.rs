//! Chance for tests: the same rolls from the same seed.

/// xorshift.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Rolls the same as others of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// Of the seed in `POSTRIDER_SEED`, else of one that changes from run to run. Prints it.
    pub fn seeded() -> (Self, u64) {
        let given = std::env::var("POSTRIDER_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
        let seed = given.unwrap_or_else(|| std::process::id().into()).max(1);
        println!("POSTRIDER_SEED={seed}");
        (Self::new(seed), seed)
    }

    /// Any number of 56 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, bytes: usize) -> Vec<u8> {
        (0..bytes).map(|_| self.roll() as u8).collect()
    }
}
