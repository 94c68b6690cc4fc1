//! A URL as it may be shown: whatever in it lets in who knows it is masked. Everything that shows a URL to anybody, or
//! keeps it to be shown, holds one of these; and the rule which names promise a secret is here, for headers, too.
//!
//! Masked are a password; a user without one, which is a token as a rule; and in the query the values of parameters whose
//! names say so. The path is shown: it is the address. Whoever keeps a secret there does so in the open.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::{Endpoint, as_called, parse_target};

/// What stands where a secret is.
pub const MASK: &str = "***";

/// A URL without its secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownUrl(Box<str>);

impl ShownUrl {
    /// The address of an endpoint.
    pub fn of(endpoint: &Endpoint) -> Self {
        Self::masked(as_called(&endpoint.spec.url, &endpoint.target))
    }

    /// A URL, or a part of one, as somebody wrote it.
    pub fn masked(text: &str) -> Self {
        let (mut shown, mut from) = (String::with_capacity(text.len()), 0);
        for secret in secrets(text) {
            shown.push_str(&text[from..secret.start]);
            shown.push_str(MASK);
            from = secret.end;
        }
        shown.push_str(&text[from..]);
        Self(shown.into())
    }

    /// One that was masked before, as it was stored.
    pub fn stored(masked: &str) -> Self {
        Self(masked.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Nothing is known of it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ShownUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URL that is meant by one that is given for an endpoint which has another: what was shown of that, and comes back,
/// changes nothing.
pub fn meant<'u>(given: &'u str, stored: &'u str) -> &'u str {
    let is_as_shown =
        || parse_target(stored).is_ok_and(|target| ShownUrl::masked(as_called(stored, &target)).0.as_ref() == given);
    if given.contains(MASK) && is_as_shown() { stored } else { given }
}

/// Whether a mask stands in the place of a secret: it was shown so, and is not what is meant.
pub(crate) fn has_mask(url: &str) -> bool {
    secrets(url).into_iter().any(|secret| &url[secret] == MASK)
}

/// Whether a name says that what stands beside it lets in whoever knows it, in whatever case it is written. Rather one too
/// many: who set it knows it.
pub fn promises_secret(name: &str) -> bool {
    const SAY_SO: [&str; 11] = [
        "key",
        "auth",
        "token",
        "secret",
        "password",
        "passwd",
        "signature",
        "credential",
        "cookie",
        "session",
        "private",
    ];
    /// Those that stand within other words, too.
    const SAY_SO_ALONE: [&str; 5] = ["sas", "sig", "pass", "pwd", "jwt"];
    let name = name.to_ascii_lowercase();
    let says = |part: &str| SAY_SO_ALONE.contains(&part);
    SAY_SO.iter().any(|word| name.contains(word)) || name.split(|c: char| !c.is_ascii_alphanumeric()).any(says)
}

/// Where in a URL its secrets are, in their order.
fn secrets(text: &str) -> Vec<Range<usize>> {
    if !text.bytes().any(|byte| matches!(byte, b'@' | b'?' | b'#')) {
        return Vec::new();
    }
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let mut found: Vec<_> = in_address(&text[..end]).into_iter().collect();
    let mut from = end;
    while from < text.len() {
        // Behind '?', '&' or '#', each of one byte.
        from += 1;
        let len = text[from..].find(['&', '#']).unwrap_or(text.len() - from);
        if let Some(value) = in_pair(&text[from..from + len]) {
            found.push(from + value.start..from + value.end);
        }
        from += len;
    }
    found
}

/// The password, or the user of one who has none.
fn in_address(address: &str) -> Option<Range<usize>> {
    let start = address.find("//")? + 2;
    let authority = address[start..].split('/').next().unwrap_or_default();
    let user = &authority[..authority.rfind('@')?];
    let secret = match user.split_once(':') {
        Some((name, "")) => 0..name.len(),
        Some((name, _)) => name.len() + 1..user.len(),
        None => 0..user.len(),
    };
    (!secret.is_empty()).then(|| start + secret.start..start + secret.end)
}

/// The value of a parameter whose name promises a secret. Functions of clouds call their keys `code`.
fn in_pair(pair: &str) -> Option<Range<usize>> {
    let equals = pair.find('=')?;
    let (name, _) = form_urlencoded::parse(&pair.as_bytes()[..equals]).next()?;
    let is_secret = promises_secret(&name) || name.eq_ignore_ascii_case("code");
    (is_secret && equals + 1 < pair.len()).then(|| equals + 1..pair.len())
}

#[cfg(test)]
mod tests;
