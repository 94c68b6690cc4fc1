//! Which targets may be called: keeps a URL that somebody else chose from reaching our own network.
//!
//! A target is checked three times: its text when it is given ([`parse_target`]), its URL before every attempt
//! ([`TargetRules::check_url`]), and every address that its name resolves to ([`TargetRules::check_address`]). A
//! redirect is not followed, so there is nothing else to check.

mod range;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Position, Url};

use self::range::kind_of;
pub use self::range::{AddressRange, InvalidRange};

/// Bytes that a target may have.
pub const TARGET_BYTES_MAX: usize = 4096;

/// Which targets may be called.
///
/// Blocked is every address that is not globally reachable by IANA's registries: private, loopback, link-local, shared,
/// documentation, multicast, reserved, the metadata services of clouds, and IPv6 addresses that carry such an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRules {
    /// Plain http is refused.
    pub https_only: bool,
    /// Ranges that may be called although they are blocked.
    pub allow: Vec<AddressRange>,
}

impl TargetRules {
    /// For the open internet: https, and no blocked address.
    pub const fn public() -> Self {
        Self { https_only: true, allow: Vec::new() }
    }

    /// For a developer's own machine: plain http and loopback, too.
    pub fn dev() -> Self {
        let allow = vec![AddressRange::of(Ipv4Addr::LOCALHOST, 8), AddressRange::of(Ipv6Addr::LOCALHOST, 128)];
        Self { https_only: false, allow }
    }

    /// Whether `url` may be called, as far as can be said without resolving its host.
    pub fn check_url(&self, url: &Url) -> Result<(), TargetRefused> {
        match url.scheme() {
            "https" => {}
            "http" if self.https_only => return Err(TargetRefused::HttpsOnly),
            "http" => {}
            _ => return Err(TargetRefused::Scheme),
        }
        if url.port() == Some(0) {
            return Err(TargetRefused::Port);
        }
        match url.host() {
            None => Err(TargetRefused::Host),
            Some(Host::Domain(name)) if is_local_name(name) && !self.allows_loopback() => Err(TargetRefused::LocalName),
            Some(Host::Domain(_)) => Ok(()),
            Some(Host::Ipv4(address)) => self.check_address(address.into()),
            Some(Host::Ipv6(address)) => self.check_address(address.into()),
        }
    }

    /// Whether `address` may be called. Ask for every address that a name resolves to, and connect to that address.
    pub fn check_address(&self, address: IpAddr) -> Result<(), TargetRefused> {
        if self.allows(address) {
            return Ok(());
        }
        match embedded_v4(address) {
            // What carries an IPv4 address reaches that one.
            Some(embedded) if self.allows(embedded.into()) => Ok(()),
            Some(embedded) => refuse(kind_of(embedded.into()), address),
            None => refuse(kind_of(address), address),
        }
    }

    fn allows(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|range| range.contains(address))
    }

    fn allows_loopback(&self) -> bool {
        self.allows(Ipv4Addr::LOCALHOST.into()) || self.allows(Ipv6Addr::LOCALHOST.into())
    }
}

impl Default for TargetRules {
    fn default() -> Self {
        Self::public()
    }
}

fn refuse(kind: Option<&'static str>, address: IpAddr) -> Result<(), TargetRefused> {
    kind.map_or(Ok(()), |kind| Err(TargetRefused::Address { kind, address }))
}

fn is_local_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// The IPv4 address that an IPv4-mapped or well-known NAT64 address stands for. The other forms that carry one (6to4,
/// Teredo, IPv4-compatible, IPv4-translated) are blocked as a whole: nobody receives webhooks there.
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))),
        _ => address.to_ipv4_mapped(),
    }
}

/// Why a target may not be called. Says nothing of what its name resolves to: that may be nobody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetRefused {
    /// Use https, or set `https_only = false`.
    #[error("url must begin with https:// unless https_only is switched off (targets.https_only of the daemon)")]
    HttpsOnly,
    /// Use https or http.
    #[error("url must begin with https:// or http://")]
    Scheme,
    /// Give a URL with a host.
    #[error("url has no host")]
    Host,
    /// Give another port.
    #[error("port 0 cannot be called")]
    Port,
    /// Give a public name, or list loopback in `allow_targets`.
    #[error("localhost is blocked unless allow_targets lists a loopback range")]
    LocalName,
    /// Give a public address, or list its range in `allow_targets`.
    #[error("{kind} addresses are blocked unless allow_targets lists their range")]
    Address {
        /// Of which kind it is: loopback, private …
        kind: &'static str,
        /// For logs.
        address: IpAddr,
    },
}

/// Reads a target as somebody gave it: an absolute http or https URL. Its fragment is dropped, since it is never sent.
///
/// Stricter than browsers: blanks around it, control and invisible characters, `http:/x` and `http:\\x` are refused and
/// not repaired, so that what is shown is what is called. Whether it may be called, [`TargetRules`] say.
pub fn parse_target(text: &str) -> Result<Url, InvalidTarget> {
    if text.len() > TARGET_BYTES_MAX {
        return Err(InvalidTarget::TooLong { bytes: text.len() });
    }
    if text.chars().any(|char| char.is_control() || is_invisible(char)) {
        return Err(InvalidTarget::Invisible);
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err(InvalidTarget::Blank);
    }
    let (scheme, rest) = text.split_once("://").ok_or(InvalidTarget::Scheme)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(InvalidTarget::Scheme);
    }
    if rest.is_empty() || rest.starts_with(['/', '\\', '?', '#', ':']) {
        return Err(InvalidTarget::Host);
    }
    if rest.split(['?', '#']).next().is_some_and(|address| address.contains('\\')) {
        return Err(InvalidTarget::Backslash);
    }
    let mut url = Url::parse(text)?;
    if url.port() == Some(0) {
        return Err(InvalidTarget::Port);
    }
    url.set_fragment(None);
    Ok(url)
}

/// The URL that is called, as it is shown: as it was given, unless calling it by the URL standard changes its path or its
/// query: `x/../y` is `y`, and a backtick is escaped.
pub fn as_called<'u>(given: &'u str, target: &'u Url) -> &'u str {
    // Every attempt asks: no search for more than one byte.
    let rest = given.get(target.scheme().len() + "://".len()..).unwrap_or_default();
    let path = rest.bytes().position(|byte| matches!(byte, b'/' | b'?' | b'#')).map_or("", |start| &rest[start..]);
    let path = path.bytes().position(|byte| byte == b'#').map_or(path, |end| &path[..end]);
    let called = &target[Position::BeforePath..Position::AfterQuery];
    let is_same = path == called || (!path.starts_with('/') && called.strip_prefix('/') == Some(path));
    if is_same { given } else { target.as_str() }
}

/// Characters without a width of their own, and those that change the direction of others.
fn is_invisible(char: char) -> bool {
    matches!(
        char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Not a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// Use a shorter URL.
    #[error("url has {bytes} bytes, at most {TARGET_BYTES_MAX} are allowed")]
    TooLong {
        /// Of the URL given.
        bytes: usize,
    },
    /// Paste it without them: a tab, a line break, a zero-width space …
    #[error("url contains a control character or an invisible one")]
    Invisible,
    /// Paste it without them.
    #[error("url must not begin or end with a blank")]
    Blank,
    /// Give an absolute URL.
    #[error("url must begin with https:// or http://")]
    Scheme,
    /// Name the receiver.
    #[error("url has no host")]
    Host,
    /// Use `/`, or `%5C` where a backslash is meant.
    #[error("url must not contain a backslash before its query")]
    Backslash,
    /// Give a port from 1 to 65535, or none.
    #[error("url has port 0, which cannot be called")]
    Port,
    /// The source says where it goes wrong.
    #[error("url is not valid")]
    Url(#[from] url::ParseError),
}

#[cfg(test)]
mod tests;
