//! The types of settings: how each is read from a file, a variable or a flag, and how it is shown.

use axum::http::{HeaderName, HeaderValue, Uri};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use postrider::RetryPolicy;
use tracing_subscriber::EnvFilter;

use super::key::{Key, Shown, Value};

/// What somebody gave as a value.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    /// Of a variable or a flag: text that may mean any type.
    Text(String),
    /// Of a file.
    String(String),
    /// Of a file. Nothing if it is out of all proportion.
    Integer(Option<i128>),
    /// Of a file.
    Boolean(bool),
    /// Of a file.
    List(Vec<Self>),
    /// Of a file, and of a type that no setting has; its name.
    Other(&'static str),
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) if text.is_empty() => f.write_str("empty"),
            Self::Text(text) => write!(f, "`{text}`"),
            Self::String(text) => f.write_str(&quoted(text)),
            Self::Integer(Some(number)) => number.fmt(f),
            Self::Integer(None) => f.write_str("so large a number"),
            Self::Boolean(value) => value.fmt(f),
            Self::List(items) => {
                f.write_str("[")?;
                for (place, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if place == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Other(name) => write!(f, "a {name}"),
        }
    }
}

impl Given {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::String(text) => Some(text),
            Self::Integer(_) | Self::Boolean(_) | Self::List(_) | Self::Other(_) => None,
        }
    }

    pub(super) fn parse<T: FromStr>(&self) -> Option<T> {
        self.text()?.parse().ok()
    }

    fn number(&self) -> Option<u64> {
        match self {
            Self::Text(text) => text.replace('_', "").parse().ok(),
            Self::Integer(number) => u64::try_from((*number)?).ok(),
            Self::String(_) | Self::Boolean(_) | Self::List(_) | Self::Other(_) => None,
        }
    }

    fn boolean(&self) -> Option<bool> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Boolean(value) => Some(*value),
            Self::String(_) | Self::Integer(_) | Self::List(_) | Self::Other(_) => None,
        }
    }

    /// Whole numbers; in a variable or a flag they stand between commas.
    fn numbers(&self) -> Option<Vec<u64>> {
        match self {
            Self::Text(_) => self.items()?.into_iter().map(|item| item.replace('_', "").parse().ok()).collect(),
            Self::List(items) => items.iter().map(Self::number).collect(),
            Self::String(_) | Self::Integer(_) | Self::Boolean(_) | Self::Other(_) => None,
        }
    }

    /// The items; in a variable or a flag they stand between commas.
    fn items(&self) -> Option<Vec<&str>> {
        match self {
            Self::Text(text) => Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()),
            Self::List(items) => items.iter().map(Self::text).collect(),
            Self::String(_) | Self::Integer(_) | Self::Boolean(_) | Self::Other(_) => None,
        }
    }
}

pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

impl Value for u64 {
    fn set(&mut self, given: &Given, key: &Key) -> Option<()> {
        let number = given.number()?;
        if key.range.as_ref().is_some_and(|range| !range.contains(&number)) {
            return None;
        }
        *self = number;
        Some(())
    }

    fn takes(&self, key: &Key) -> String {
        let unit = key.field.rsplit('_').next().unwrap_or_default();
        match &key.range {
            Some(range) => format!("a whole number of {unit} from {} to {}", range.start(), range.end()),
            None => format!("a whole number of {unit}"),
        }
    }

    fn show(&self) -> Shown {
        Shown::Toml(self.to_string())
    }
}

impl Value for bool {
    fn set(&mut self, given: &Given, _key: &Key) -> Option<()> {
        *self = given.boolean()?;
        Some(())
    }

    fn takes(&self, _key: &Key) -> String {
        "true or false".to_owned()
    }

    fn show(&self) -> Shown {
        Shown::Toml(self.to_string())
    }
}

impl Value for SocketAddr {
    fn set(&mut self, given: &Given, _key: &Key) -> Option<()> {
        *self = given.parse()?;
        Some(())
    }

    fn takes(&self, _key: &Key) -> String {
        "an address and a port, such as 127.0.0.1:8071 or [::1]:8071".to_owned()
    }

    fn show(&self) -> Shown {
        Shown::Toml(quoted(&self.to_string()))
    }
}

impl Value for PathBuf {
    fn set(&mut self, given: &Given, _key: &Key) -> Option<()> {
        *self = given.text().filter(|text| !text.is_empty())?.into();
        Some(())
    }

    fn takes(&self, _key: &Key) -> String {
        "a path".to_owned()
    }

    fn show(&self) -> Shown {
        Shown::Toml(quoted(&self.to_string_lossy()))
    }
}

/// A name of a host: letters, digits, dots and hyphens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostName(HeaderValue);

impl HostName {
    pub(crate) const fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl Default for HostName {
    fn default() -> Self {
        Self(HeaderValue::from_static("postrider"))
    }
}

impl Value for HostName {
    fn set(&mut self, given: &Given, _key: &Key) -> Option<()> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let name = given.text().filter(|name| (1..=253).contains(&name.len()) && name.bytes().all(allowed))?;
        self.0 = HeaderValue::from_str(name).ok()?;
        Some(())
    }

    fn takes(&self, _key: &Key) -> String {
        "a DNS name, such as hooks.example.com".to_owned()
    }

    fn show(&self) -> Shown {
        Shown::Toml(quoted(self.0.to_str().unwrap_or_default()))
    }
}

/// Where something is reached from outside: no query, no fragment, and no slash at its end.
#[derive(Clone, Debug)]
pub(crate) struct PublicUrl(String);

impl PublicUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A path below it.
    pub(crate) fn join(&self, path: &str) -> Option<Uri> {
        format!("{}{path}", self.0).parse().ok()
    }
}

impl Blank for PublicUrl {
    fn blank() -> Self {
        Self(String::new())
    }
}

impl Value for PublicUrl {
    fn set(&mut self, given: &Given, _key: &Key) -> Option<()> {
        let text = given.text()?.trim_end_matches('/');
        let url: Uri = text.parse().ok()?;
        let is_public = matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some();
        let is_bare = !text.contains(['?', '#']) && url.authority().is_some_and(|host| !host.as_str().contains('@'));
        self.0 = Some(text).filter(|_| is_public && is_bare)?.to_owned();
        Some(())
    }

    fn takes(&self, _key: &Key) -> String {
        "a URL, such as https://hooks.example.com".to_owned()
    }

    fn show(&self) -> Shown {
        Shown::Toml(quoted(&self.0))
    }
}

impl Value for Vec<IpNet> {
    fn set(&mut self, given: &Given, _key: &Key) -> Option<()> {
        let network = |item: &str| item.parse().ok().or_else(|| item.parse::<IpAddr>().ok().map(IpNet::from));
        *self = given.items()?.into_iter().map(network).collect::<Option<_>>()?;
        Some(())
    }

    fn takes(&self, _key: &Key) -> String {
        "a list of networks, such as 10.1.0.0/16 and fd00::/8 (in a variable or a flag with commas between)".to_owned()
    }

    fn show(&self) -> Shown {
        Shown::Toml(toml::Value::from(self.iter().map(ToString::to_string).collect::<Vec<_>>()).to_string())
    }
}

/// Seconds before each attempt after the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule(Vec<u64>);

impl Schedule {
    pub(crate) fn delays(&self) -> impl Iterator<Item = Duration> {
        self.0.iter().copied().map(Duration::from_secs)
    }
}

impl Default for Schedule {
    /// As the engine has it.
    fn default() -> Self {
        Self(RetryPolicy::default().schedule().iter().map(Duration::as_secs).collect())
    }
}

impl Value for Schedule {
    fn set(&mut self, given: &Given, _key: &Key) -> Option<()> {
        let delays = Self(given.numbers()?);
        RetryPolicy::delays(delays.delays()).validate().ok()?;
        *self = delays;
        Some(())
    }

    fn takes(&self, _key: &Key) -> String {
        "a list of at most 64 whole numbers of seconds, none above 604800 (in a variable or a flag with commas between)"
            .to_owned()
    }

    fn show(&self) -> Shown {
        Shown::Toml(format!("[{}]", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")))
    }
}

/// What names of headers begin with, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderPrefix(String);

impl HeaderPrefix {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Vec<HeaderPrefix> {
    fn set(&mut self, given: &Given, _key: &Key) -> Option<()> {
        let is_name = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
        let prefix = |item: &str| is_name(item).then(|| HeaderPrefix(item.to_ascii_lowercase()));
        *self = given.items()?.into_iter().map(prefix).collect::<Option<_>>()?;
        Some(())
    }

    fn takes(&self, _key: &Key) -> String {
        "a list of beginnings of header names, such as x-acme- (in a variable or a flag with commas between)".to_owned()
    }

    fn show(&self) -> Shown {
        Shown::Toml(toml::Value::from(self.iter().map(|prefix| prefix.0.clone()).collect::<Vec<_>>()).to_string())
    }
}

/// A setting that may be left out.
impl<T: Value + Blank> Value for Option<T> {
    fn set(&mut self, given: &Given, key: &Key) -> Option<()> {
        let mut value = T::blank();
        value.set(given, key)?;
        *self = Some(value);
        Some(())
    }

    fn takes(&self, key: &Key) -> String {
        T::blank().takes(key)
    }

    fn show(&self) -> Shown {
        self.as_ref().map_or(Shown::Unset, Value::show)
    }

    fn is_secret(&self) -> bool {
        T::blank().is_secret()
    }
}

/// Something to set, where there is no default.
pub(crate) trait Blank {
    fn blank() -> Self;
}

impl Blank for SocketAddr {
    fn blank() -> Self {
        Self::from(([0, 0, 0, 0], 0))
    }
}

impl Blank for PathBuf {
    fn blank() -> Self {
        Self::new()
    }
}

/// What is logged: a level, or levels by module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLevel(String);

impl LogLevel {
    /// The filter that it means.
    pub(crate) fn filter(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl Default for LogLevel {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl Value for LogLevel {
    fn set(&mut self, given: &Given, _key: &Key) -> Option<()> {
        const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
        let text = given.text()?.trim();
        // A word alone would be taken as the name of a module, so that a misspelt level logged nothing.
        let is_level = |word: &str| word.contains('=') || word.contains('[') || LEVELS.contains(&word);
        if !text.split(',').map(str::trim).all(is_level) || EnvFilter::try_new(text).is_err() {
            return None;
        }
        text.clone_into(&mut self.0);
        Some(())
    }

    fn takes(&self, _key: &Key) -> String {
        "error, warn, info, debug, trace or off, or levels by module, such as info,postrider=debug".to_owned()
    }

    fn show(&self) -> Shown {
        Shown::Toml(quoted(&self.0))
    }
}

/// Declares a setting that is one of a few words.
macro_rules! choice {
    ($(#[$doc:meta])+ $name:ident { $( $(#[$choice_doc:meta])+ $choice:ident = $word:literal, )+ }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $( $(#[$choice_doc])+ $choice, )+ }

        impl Value for $name {
            fn set(&mut self, given: &Given, _key: &Key) -> Option<()> {
                *self = match given.text()? { $( $word => Self::$choice, )+ _ => return None };
                Some(())
            }

            fn takes(&self, _key: &Key) -> String {
                format!("one of {}", [$( $word ),+].join(", "))
            }

            fn show(&self) -> Shown {
                Shown::Toml(quoted(match self { $( Self::$choice => $word, )+ }))
            }
        }
    };
}

choice! {
    /// Where events are kept.
    Storage {
        /// On disk, synced.
        Fjall = "fjall",
        /// On disk, not safe from a power cut.
        Sled = "sled",
        /// Nowhere but here.
        Memory = "memory",
    }
}

choice! {
    /// How tokens are signed.
    TokenAlgorithm {
        /// With the secret.
        Hs256 = "HS256",
        /// With the secret.
        Hs384 = "HS384",
        /// With the secret.
        Hs512 = "HS512",
        /// With a pair of keys.
        Rs256 = "RS256",
        /// With a pair of keys.
        Rs384 = "RS384",
        /// With a pair of keys.
        Rs512 = "RS512",
        /// With a pair of keys.
        EdDsa = "EdDSA",
    }
}

choice! {
    /// How a log line looks.
    LogFormat {
        /// For people.
        Text = "text",
        /// For machines.
        Json = "json",
    }
}

choice! {
    /// What is made for a new endpoint to sign with.
    SecretType {
        /// A shared secret.
        Hmac = "hmac",
        /// A private key, whose public half receivers get.
        Ed25519 = "ed25519",
    }
}

choice! {
    /// Which deliveries wait for which.
    Ordering {
        /// None.
        Concurrent = "concurrent",
        /// Those with one key.
        PerKey = "perKey",
        /// All.
        Fifo = "fifo",
    }
}

choice! {
    /// What becomes of those behind a delivery that is given up.
    OnExhausted {
        /// They go on.
        Continue = "continue",
        /// They wait.
        Hold = "hold",
    }
}

choice! {
    /// Which failures use the whole schedule.
    RetryOn {
        /// What may pass.
        Default = "default",
        /// All.
        AnyFailure = "anyFailure",
        /// Those of the receiver's own.
        ServerErrors = "serverErrors",
    }
}

choice! {
    /// What becomes of an event for a queue that is full.
    WhenFull {
        /// A dead letter.
        DeadLetter = "deadLetter",
        /// It is refused.
        Refuse = "refuse",
    }
}

choice! {
    /// Which headers carry the signature.
    SignatureStyle {
        /// Standard Webhooks.
        Standard = "standard",
        /// Svix's names of the same.
        Svix = "svix",
        /// One header, as Stripe's receivers expect it.
        Stripe = "stripe",
        /// One header, as GitHub's receivers expect it.
        Github = "github",
    }
}
