//! Settings whose value must not appear in any output.

use std::fmt;

use super::{
    key::{Key, Shown, Value},
    values::{Blank, Given},
};

/// Text that is never shown.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Blank for Secret {
    fn blank() -> Self {
        Self(String::new())
    }
}

impl Value for Secret {
    fn set(&mut self, given: &Given, _key: &Key) -> Option<()> {
        given.text().filter(|text| !text.is_empty())?.clone_into(&mut self.0);
        Some(())
    }

    fn takes(&self, _key: &Key) -> String {
        "a text that is not empty".to_owned()
    }

    fn show(&self) -> Shown {
        Shown::Hidden
    }

    fn is_secret(&self) -> bool {
        true
    }
}
