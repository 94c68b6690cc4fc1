//! Settings whose value must not appear in any output.

use std::fmt;

use url::Url;

use super::{
    key::{Key, Shown, Value},
    values::{Blank, Given, quoted},
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

/// A proxy's URL. It may hold a password, hence it is not shown.
#[derive(Clone)]
pub(crate) struct Proxy(pub(crate) Option<Url>);

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.0.as_ref().map(Url::host_str)).finish()
    }
}

impl Blank for Proxy {
    fn blank() -> Self {
        Self(None)
    }
}

impl Value for Proxy {
    fn set(&mut self, given: &Given, _key: &Key) -> Option<()> {
        let url: Url = given.parse()?;
        if !matches!(url.scheme(), "http" | "https" | "socks5") || !url.has_host() {
            return None;
        }
        self.0 = Some(url);
        Some(())
    }

    fn takes(&self, _key: &Key) -> String {
        "a URL such as http://proxy.example:3128, https://… or socks5://…".to_owned()
    }

    fn show(&self) -> Shown {
        match &self.0 {
            None => Shown::Unset,
            Some(url) if url.password().is_some() || !url.username().is_empty() => Shown::Hidden,
            Some(url) => Shown::Toml(quoted(url.as_str())),
        }
    }

    fn is_secret(&self) -> bool {
        true
    }
}
