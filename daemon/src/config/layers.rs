//! Puts the settings together: defaults, the file, the environment, the flags, each stronger than the one before.
//!
//! An unknown key is a mistake and not ignored, because a misspelt limit would silently not hold. All mistakes are
//! reported together.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use toml::de::{DeTable, DeValue};

use super::{
    Config, Given, combinations,
    key::Key,
    mistake::{Mistake, Mistakes, Origin},
};

const PREFIX: &str = "POSTRIDER_";
/// Names the file. Not a setting itself, because a file cannot name itself.
pub(crate) const FILE_VARIABLE: &str = "POSTRIDER_CONFIG";
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// A setting given on the command line.
#[derive(Clone, Debug)]
pub(crate) enum Flag {
    /// A flag of its own: the flag, the key, the value.
    Own(&'static str, &'static str, String),
    /// What was given to `--set`.
    Set(String),
}

/// What settings are put together from.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    /// The file that a flag names.
    pub(crate) file: Option<PathBuf>,
    /// The whole environment, in any order.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// In the order of the command line.
    pub(crate) flags: Vec<Flag>,
}

/// The settings that hold, and where each comes from.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The values.
    pub(crate) config: Config,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    /// The settings that hold.
    pub(crate) fn load(self) -> Result<Settings, Mistakes> {
        let named = self.environment.iter().find(|(name, _)| name == FILE_VARIABLE).map(|(_, value)| value.into());
        let path: Option<PathBuf> = self.file.clone().or(named).filter(|path| !path.as_os_str().is_empty());
        let Some(path) = path else { return self.over(Loading::default()) };
        match fs::read_to_string(&path) {
            Ok(text) => self.over_file(&path, &text),
            Err(error) => Err(Mistakes(vec![Mistake::Unreadable { path, error }])),
        }
    }

    /// The settings that hold over a file that was read.
    pub(super) fn over_file(self, path: &Path, text: &str) -> Result<Settings, Mistakes> {
        let mut loading = Loading::default();
        loading.file(path, text);
        self.over(loading)
    }

    fn over(self, mut loading: Loading) -> Result<Settings, Mistakes> {
        loading.environment(&self.environment);
        self.flags.into_iter().for_each(|flag| loading.flag(flag));
        loading.finish()
    }
}

impl Settings {
    /// Where the value of this key comes from.
    pub(super) fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }
}

#[derive(Default)]
struct Loading {
    config: Config,
    origins: BTreeMap<String, Origin>,
    mistakes: Vec<Mistake>,
}

impl Loading {
    fn file(&mut self, path: &Path, text: &str) {
        let line =
            |offset: usize| 1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count();
        let place = |offset: usize| Origin::File(path.to_owned(), line(offset));
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            self.table("", table.get_ref(), &place);
        }
        for error in errors {
            let place = place(error.span().map_or(0, |span| span.start));
            self.mistakes.push(Mistake::Syntax { place, message: error.message().to_owned() });
        }
    }

    fn table(&mut self, section: &str, table: &DeTable<'_>, place: &dyn Fn(usize) -> Origin) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name =
                if section.is_empty() { key.get_ref().to_string() } else { format!("{section}.{}", key.get_ref()) };
            let at = place(key.span().start);
            if self.set(&name, &given(value.get_ref()), &at) {
                continue;
            }
            match value.get_ref() {
                DeValue::Table(inner) if !inner.is_empty() => self.table(&name, inner, place),
                DeValue::Table(_) if Key::all().iter().any(|key| key.section == name) => {}
                _ => self.unknown_key(name, at),
            }
        }
    }

    fn environment(&mut self, variables: &[(OsString, OsString)]) {
        let keys = Key::all();
        let mut ours: Vec<_> =
            variables.iter().filter(|(name, _)| name.to_string_lossy().starts_with(PREFIX)).collect();
        ours.sort();
        for (name, value) in ours {
            let (name, text) = (name.to_string_lossy(), value.to_str());
            if name == FILE_VARIABLE || is_of_kubernetes(&name, text.unwrap_or_default()) {
                continue;
            }
            let place = Origin::Variable(name.to_string());
            let given = text.map_or(Given::Other("value that is not UTF-8"), |text| Given::Text(text.to_owned()));
            match keys.iter().find(|key| key.variable() == name) {
                Some(key) => drop(self.set(&key.name(), &given, &place)),
                None => {
                    let nearest = nearest(&name, keys.iter().map(Key::variable));
                    self.mistakes.push(Mistake::UnknownVariable { place, nearest });
                }
            }
        }
    }

    fn flag(&mut self, flag: Flag) {
        let (place, key, value) = match flag {
            Flag::Own(flag, key, value) => (flag.to_owned(), key.to_owned(), value),
            Flag::Set(given) => match given.split_once('=') {
                Some((key, value)) => (format!("--set {}", key.trim()), key.trim().to_owned(), value.trim().to_owned()),
                None => return self.mistakes.push(Mistake::NotAnAssignment { given }),
            },
        };
        let place = Origin::Flag(place);
        if is_secret(&key) {
            self.mistakes.push(Mistake::SecretInFlag { place, key });
        } else if !self.set(&key, &Given::Text(value), &place) {
            self.unknown_key(key, place);
        }
    }

    /// Sets the setting of this name. False if there is none; what is wrong with the value is a mistake.
    fn set(&mut self, name: &str, given: &Given, place: &Origin) -> bool {
        let (mut found, origins, mistakes) = (false, &mut self.origins, &mut self.mistakes);
        self.config.visit(&mut |key, value| {
            if key.name() != name {
                return;
            }
            found = true;
            if value.set(given, key).is_some() {
                origins.insert(name.to_owned(), place.clone());
                return;
            }
            let given = if value.is_secret() { "what it is set to".to_owned() } else { given.to_string() };
            mistakes.push(Mistake::Value { place: place.clone(), key: key.name(), given, takes: value.takes(key) });
        });
        found
    }

    fn unknown_key(&mut self, key: String, place: Origin) {
        let nearest = nearest(&key, Key::all().iter().map(Key::name));
        self.mistakes.push(Mistake::UnknownKey { place, key, nearest });
    }

    fn finish(mut self) -> Result<Settings, Mistakes> {
        let place = |key: &str| self.origins.get(key).cloned().unwrap_or(Origin::Default);
        self.mistakes.extend(combinations::mistakes(&self.config, &place));
        if !self.mistakes.is_empty() {
            return Err(Mistakes(self.mistakes));
        }
        if self.config.general.dev {
            self.allow_loopback();
        }
        Ok(Settings { config: self.config, origins: self.origins })
    }

    /// What `dev` is short for.
    fn allow_loopback(&mut self) {
        if !self.origins.contains_key("targets.https_only") {
            self.set("targets.https_only", &Given::Boolean(false), &Origin::Development);
        }
        let targets = &mut self.config.targets.allow_targets;
        for network in LOOPBACK.iter().filter_map(|network| network.parse::<IpNet>().ok()) {
            if !targets.contains(&network) {
                targets.push(network);
            }
        }
        self.origins.entry("targets.allow_targets".to_owned()).or_insert(Origin::Development);
    }
}

fn given(value: &DeValue<'_>) -> Given {
    match value {
        DeValue::String(text) => Given::String(text.to_string()),
        DeValue::Integer(number) => Given::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Boolean(value) => Given::Boolean(*value),
        DeValue::Array(items) => Given::List(items.iter().map(|item| given(item.get_ref())).collect()),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => Given::Other(value.type_str()),
    }
}

fn is_secret(name: &str) -> bool {
    let mut secret = false;
    Config::default().visit(&mut |key, value| secret |= key.name() == name && value.is_secret());
    secret
}

/// Names less alike than this have nothing to do with each other.
const ALIKE: f64 = 0.6;

/// The known name that this one was most likely meant to be: the same within another section, or the least different. None
/// if it is like none of them.
fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let likeness = |known: &str| {
        let alike = strsim::normalized_damerau_levenshtein;
        let (section, within) = known.rsplit_once('.').unwrap_or(("", known));
        alike(name, known).max(alike(name, section)).max(alike(name.rsplit('.').next().unwrap_or(name), within))
    };
    // Of two that are as like within their sections, the one that is more like as a whole.
    let whole = |known: &str| strsim::normalized_damerau_levenshtein(name, known);
    let likely = known.filter(|known| likeness(known) >= ALIKE);
    likely.max_by(|a, b| likeness(a).total_cmp(&likeness(b)).then(whole(a).total_cmp(&whole(b))))
}

/// Kubernetes puts the addresses of services into every container: for a service called `postrider`, variables that
/// begin like ours.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let is_address = |text: &str| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_address(value))
        || name.split("_PORT_").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}
