//! What is wrong with the settings: all of it at once, each with its place and what to do.

use std::{fmt, io, path::PathBuf};

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// What `dev` brings along.
    Development,
    /// A line of the file.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Development => f.write_str("dev"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing to put right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Mistake {
    /// Correct the name of the file, or its permissions.
    #[error("could not read the configuration file {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// Correct the line.
    #[error("{place}: {message}")]
    Syntax { place: Origin, message: String },
    /// Correct the key, or remove it.
    #[error("{place}: unknown key `{key}`; {}", meant("key", nearest.as_deref()))]
    UnknownKey { place: Origin, key: String, nearest: Option<String> },
    /// Correct the variable, or unset it.
    #[error("{place}: unknown variable; {}", meant("one", nearest.as_deref()))]
    UnknownVariable { place: Origin, nearest: Option<String> },
    /// Give what it takes.
    #[error("{place}: {key} cannot be {given}; give {takes}")]
    Value { place: Origin, key: String, given: String, takes: String },
    /// Use another way.
    #[error("{place}: the command line can be read by others; put `{key}` into the environment or the file")]
    SecretInFlag { place: Origin, key: String },
    /// Write it as key=value.
    #[error("--set {given}: write it as KEY=VALUE")]
    NotAnAssignment { given: String },
    /// Remove one of them.
    #[error("`{first}` ({first_place}) and `{second}` ({second_place}) are both set; remove one")]
    Both { first: &'static str, first_place: Origin, second: &'static str, second_place: Origin },
    /// Set the other one, too.
    #[error("`{first}` ({first_place}) needs `{second}`; set it, too")]
    Needs { first: &'static str, first_place: Origin, second: &'static str },
    /// Raise the one, or lower the other.
    #[error("`{lower}` ({lower_place}) must be at least `{than}` ({than_place})")]
    TooLow { lower: &'static str, lower_place: Origin, than: &'static str, than_place: Origin },
    /// Remove it, or choose what it is for.
    #[error("`{key}` ({place}) is of no use with {with}; remove it, or choose another algorithm")]
    OfNoUse { key: &'static str, place: Origin, with: String },
}

/// What may be meant in the place of what is not known.
fn meant(what: &str, nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("the nearest known {what} is `{nearest}`"),
        None => "`postrider config` shows all that are known".to_owned(),
    }
}

/// Everything that is wrong.
#[derive(Debug)]
pub(crate) struct Mistakes(pub(super) Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return only.fmt(f);
        }
        write!(f, "the configuration has {} mistakes", self.0.len())?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}
