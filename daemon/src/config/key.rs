//! A setting's key, and what any setting can do.

use std::ops::RangeInclusive;

use super::{Config, Given};

/// One row of the table of settings.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// The section in the file, or nothing for settings at the top.
    pub(super) section: &'static str,
    /// What the section is about.
    pub(super) section_doc: &'static str,
    /// The name within the section.
    pub(super) field: &'static str,
    /// What it means: lines, each with a space before it.
    pub(super) doc: &'static str,
    /// What a number may be.
    pub(super) range: Option<RangeInclusive<u64>>,
}

impl Key {
    /// The table, in order.
    pub(super) fn all() -> Vec<Self> {
        let mut keys = Vec::new();
        Config::default().visit(&mut |key, _| keys.push(key.clone()));
        keys
    }

    /// As in a file, with its section: `limits.payload_bytes`.
    pub(super) fn name(&self) -> String {
        if self.section.is_empty() { self.field.to_owned() } else { format!("{}.{}", self.section, self.field) }
    }

    /// Its environment variable: `POSTRIDER_LIMITS_PAYLOAD_BYTES`.
    pub(super) fn variable(&self) -> String {
        format!("POSTRIDER_{}", self.name().replace('.', "_").to_uppercase())
    }

    /// The flag of its own, if it has one. Others are given as `--set KEY=VALUE`.
    pub(super) fn flag(&self) -> Option<&'static str> {
        match self.name().as_str() {
            "listen" => Some("--listen"),
            "data" => Some("--data"),
            "storage" => Some("--storage"),
            "dev" => Some("--dev"),
            _ => None,
        }
    }

    /// The lines of its documentation.
    pub(super) fn doc_lines(&self) -> impl Iterator<Item = &'static str> {
        self.doc.lines().map(str::trim)
    }
}

/// The value of a setting, whatever its type.
pub(crate) trait Value {
    /// Takes what was given. Nothing, if it is not what this setting [takes](Self::takes).
    fn set(&mut self, given: &Given, key: &Key) -> Option<()>;

    /// What it takes, to go on after "give".
    fn takes(&self, key: &Key) -> String;

    /// What it is, for people.
    fn show(&self) -> Shown;

    /// Whether what was given must not be repeated in a message.
    fn is_secret(&self) -> bool {
        false
    }
}

/// A value, as far as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// As it would stand in a file.
    Toml(String),
    /// It is set, and that is all that may be said.
    Hidden,
    /// It is not set.
    Unset,
}
