//! What happened, as a digest that tells two runs apart, and as the last lines before a violation.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
};

use postrider_core::Timestamp;

const KEPT: usize = 60;

/// What happened.
#[derive(Debug)]
pub(crate) struct Trace {
    digest: DefaultHasher,
    last: VecDeque<String>,
    prints: bool,
    began: Timestamp,
}

impl Trace {
    pub(crate) fn new(prints: bool, began: Timestamp) -> Self {
        Self { digest: DefaultHasher::new(), last: VecDeque::new(), prints, began }
    }

    pub(crate) fn note(&mut self, now: Timestamp, what: std::fmt::Arguments<'_>) {
        let line = format!("{:>12.6} {what}", now.since(self.began).as_secs_f64());
        line.hash(&mut self.digest);
        if self.prints {
            println!("{line}");
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.clone().finish()
    }

    /// The last lines, to be read after a violation.
    pub(crate) fn last_lines(&self) -> String {
        self.last.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}
