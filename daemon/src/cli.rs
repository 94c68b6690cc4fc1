//! The command line: subcommands and flags.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use postrider::{ApplicationId, OrganisationId};
use reqwest::Url;

use crate::config::{Flag, Layers, Mistakes, Settings};

/// Delivers webhooks: stores events durably and sends them, signed, until every endpoint has them.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon until it gets SIGTERM or SIGINT; a second one ends it at once
    Serve(ConfigArgs),
    /// Show the main job in a minute: a daemon that is killed and goes on, three receivers, dead letters
    Demo,
    /// Ask a running daemon which endpoints are in trouble, and show the worst first
    Status(StatusArgs),
    /// Say what is damaged in the journals of a store that does not open, and how many writes that costs; nothing is
    /// changed unless the loss is accepted. The daemon must not run
    Repair {
        /// Go on without what is damaged and all that was written after it; it is kept beside the journals
        #[arg(long)]
        accept_loss: bool,
        #[command(flatten)]
        settings: ConfigArgs,
    },
    /// Make tokens for the API, and the secret that signs them
    #[command(subcommand)]
    Token(TokenCommand),
    /// Print the settings that hold and where each comes from; secrets are hidden
    Config {
        #[command(flatten)]
        settings: ConfigArgs,
        /// Print every setting there is, with what it means and its default, as a file to begin with
        #[arg(long)]
        reference: bool,
    },
}

/// What to do about tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Print a token: of an organisation (good for ten years), or of one application of it (28 days)
    Create {
        /// The organisation; without it the default one
        #[arg(long, value_name = "ID")]
        organisation: Option<OrganisationId>,
        /// The application, if the token is to be good for nothing else
        #[arg(long, value_name = "ID", requires = "organisation")]
        application: Option<ApplicationId>,
        /// How long it is good: a number of seconds, or with m, h or d behind it of minutes, hours or days
        #[arg(long, value_name = "TIME", value_parser = duration)]
        expires: Option<Duration>,
        /// It changes nothing
        #[arg(long)]
        read_only: bool,
        #[command(flatten)]
        settings: ConfigArgs,
    },
    /// Print a fresh random secret to sign tokens with
    Secret,
}

/// `90`, `90s`, `15m`, `12h`, `30d`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, seconds) = match text.char_indices().last() {
        Some((end, 's')) => (&text[..end], 1),
        Some((end, 'm')) => (&text[..end], 60),
        Some((end, 'h')) => (&text[..end], 3_600),
        Some((end, 'd')) => (&text[..end], 86_400),
        Some(_) | None => (text, 1),
    };
    let wrong = || "must be a number of seconds, or one with m, h or d behind it, such as 30d".to_owned();
    let count = number.parse::<u64>().ok().filter(|count| *count > 0).ok_or_else(wrong)?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// Whom to ask, and how much to show.
#[derive(Args, Clone, Debug)]
pub(crate) struct StatusArgs {
    /// The organisation; without it the default one
    #[arg(long, value_name = "ID")]
    pub(crate) organisation: Option<OrganisationId>,
    /// Where the API is reached; without it, where the settings say that it listens
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<Url>,
    /// How many endpoints are shown at most
    #[arg(long, value_name = "NUMBER", default_value = "50")]
    pub(crate) limit: NonZeroUsize,
    #[command(flatten)]
    pub(crate) settings: ConfigArgs,
}

/// Where settings come from: a file, `POSTRIDER_*` in the environment, flags; later ones are stronger.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigArgs {
    /// Settings as a TOML file; POSTRIDER_CONFIG names it, too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port where the API listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Folder of everything that is stored
    #[arg(long, value_name = "FOLDER")]
    data: Option<String>,
    /// Where events are kept: fjall, sled or memory
    #[arg(long, value_name = "KIND")]
    storage: Option<String>,
    /// For trying things out: allows plain http and loopback targets, prints a token
    #[arg(long)]
    dev: bool,
    /// Any setting of `postrider config --reference`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ConfigArgs {
    /// The settings that hold.
    pub(crate) fn load(self) -> Result<Settings, Mistakes> {
        let own = [
            ("--listen", "listen", self.listen),
            ("--data", "data", self.data),
            ("--storage", "storage", self.storage),
            ("--dev", "dev", self.dev.then(|| "true".to_owned())),
        ];
        // A flag of its own is what is seen first, so it is the one that holds.
        let flags = self.set.into_iter().map(Flag::Set);
        let flags = flags.chain(own.into_iter().filter_map(|(flag, key, value)| Some(Flag::Own(flag, key, value?))));
        Layers { file: self.config, environment: std::env::vars_os().collect(), flags: flags.collect() }.load()
    }
}
