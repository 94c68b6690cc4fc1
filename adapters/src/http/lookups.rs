//! Shares lookups among the applications that want them: each name once at a time, in turns by application, and what
//! failed is remembered for a while.
//!
//! Lookups of names whose servers are silent take as long as the resolver waits. One application with a thousand of them
//! would fill what runs at once, and all others would wait behind it; so each has its turns, and no more than a share of
//! what runs. A name that is wanted no more leaves the line.
//!
//! What failed for want of an answer may be our own trouble or the name's. While other names are resolved between its
//! failures, it is the name's ([`Whose::Name`]): its owner must be told so, and its deliveries must not wait for ever.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider::core::{ApplicationId, FairLimits, FairQueue};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{Lookup, LookupError};

/// Names that are looked up at once.
pub(super) const NAMES_AT_ONCE: usize = 64;
/// Longer than any resolver waits for its name servers.
const LOOKUP_WITHIN: Duration = Duration::from_secs(30);
/// How long a failure is remembered; doubles with each, to [`REMEMBERED_MAX`].
const REMEMBERED: Duration = Duration::from_secs(5);
const REMEMBERED_MAX: Duration = Duration::from_secs(60);
/// Failures beside others that did not fail, until they are the name's own.
const FAILURES_OF_A_NAME: u32 = 3;
/// Failures older than this say nothing any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Names whose failures are known. Then the old ones are forgotten, and if there are none, all.
const NAMES_KNOWN_MAX: usize = 16 << 10;

/// For whom a name is looked up; none is for no application.
pub(super) type Asker = Option<ApplicationId>;
type Found = Result<Vec<IpAddr>, LookupError>;

/// Whose doing it is that there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// That of this machine, or of its name server, as far as can be seen.
    Ours,
    /// The name's: others were resolved meanwhile.
    Name,
}

/// Looks names up. Clones share what runs and what is known.
#[derive(Clone, Debug)]
pub(super) struct Lookups {
    lookup: Arc<dyn Lookup>,
    desk: Arc<Mutex<Desk>>,
}

/// What is wanted, what runs, and what is known.
#[derive(Debug)]
struct Desk {
    names: HashMap<Box<str>, Name>,
    lines: FairQueue<Asker, Box<str>>,
    last_success: Option<Instant>,
    /// Somebody begins what has its turn: one at a time, see [`Lookups::begin`].
    is_beginning: bool,
}

#[derive(Debug, Default)]
struct Name {
    state: NameState,
    failures: u32,
    /// Those beside which others were resolved.
    failures_alone: u32,
    last_failed: Option<Instant>,
}

#[derive(Debug, Default)]
enum NameState {
    /// Not wanted. What is known may be told until then.
    #[default]
    Unknown,
    Failed {
        error: LookupError,
        until: Instant,
    },
    /// In the line of everyone who wants it.
    Wanted {
        by: Vec<Asker>,
        answer: watch::Sender<Option<Found>>,
    },
    Running {
        since: Instant,
        answer: watch::Sender<Option<Found>>,
    },
}

enum Answer {
    Known(LookupError),
    Comes(watch::Receiver<Option<Found>>),
}

impl Lookups {
    pub(super) fn new(lookup: Arc<dyn Lookup>) -> Self {
        let lines = FairQueue::new(FairLimits::running(NAMES_AT_ONCE));
        let desk = Desk { names: HashMap::new(), lines, last_success: None, is_beginning: false };
        Self { lookup, desk: Arc::new(Mutex::new(desk)) }
    }

    /// The addresses of `name`, as of now. When it is dropped and nothing else wants the name, it leaves its line.
    pub(super) async fn addresses(&self, name: &str, asker: Asker) -> Found {
        let answer = self.desk().ask(name, asker, Instant::now());
        let mut answer = match answer {
            Answer::Known(error) => return Err(error),
            Answer::Comes(answer) => answer,
        };
        let _wanted = Wanting { lookups: self, name };
        self.begin();
        let given = answer.wait_for(Option::is_some).await.map(|answer| answer.clone());
        given.ok().flatten().unwrap_or_else(|| Err(unanswered("the lookup was cut short")))
    }

    /// Whose doing it is if there is no answer for this name.
    pub(super) fn whose(&self, name: &str) -> Whose {
        match self.desk().names.get(name) {
            Some(known) if known.failures_alone >= FAILURES_OF_A_NAME => Whose::Name,
            Some(_) | None => Whose::Ours,
        }
    }

    /// Begins whatever has its turn.
    ///
    /// A runtime that ends drops what is spawned at once, and what is dropped begins the next one. That is left to the loop
    /// that has begun: one within another for each name that waits would take more stack than there is.
    fn begin(&self) {
        if std::mem::replace(&mut self.desk().is_beginning, true) {
            return;
        }
        loop {
            let Some((asker, name)) = self.desk().next(Instant::now()) else { return };
            let ends = Ending { lookups: self.clone(), asker, name };
            tokio::spawn(async move {
                let found = timeout(LOOKUP_WITHIN, ends.lookups.lookup.lookup(&ends.name)).await;
                ends.with(found.unwrap_or_else(|_elapsed| Err(unanswered("no answer within 30 s"))));
            });
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody's wish for a name.
struct Wanting<'l> {
    lookups: &'l Lookups,
    name: &'l str,
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.lookups.desk().leave(self.name);
    }
}

/// A lookup that runs. It ends, and gives its place back, also if the lookup panics.
struct Ending {
    lookups: Lookups,
    asker: Asker,
    name: Box<str>,
}

impl Ending {
    fn with(self, found: Found) {
        self.lookups.desk().found(&self.name, found, Instant::now());
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.lookups.desk().ended(self.asker, &self.name);
        self.lookups.begin();
    }
}

impl Desk {
    fn ask(&mut self, name: &str, asker: Asker, now: Instant) -> Answer {
        if self.names.len() >= NAMES_KNOWN_MAX && !self.names.contains_key(name) {
            self.forget_old(now);
        }
        let known = self.names.entry(name.into()).or_default();
        match &mut known.state {
            NameState::Failed { error, until } if now < *until => Answer::Known(error.clone()),
            NameState::Running { answer, .. } => Answer::Comes(answer.subscribe()),
            NameState::Wanted { by, answer } => {
                let answer = answer.subscribe();
                if !by.contains(&asker) && self.lines.push(asker, name.into()).is_ok() {
                    by.push(asker);
                }
                Answer::Comes(answer)
            }
            NameState::Failed { .. } | NameState::Unknown => {
                let (give, answer) = watch::channel(None);
                known.state = NameState::Wanted { by: vec![asker], answer: give };
                // It takes any number: each is wanted by an attempt, and those are bounded.
                let _no_limit = self.lines.push(asker, name.into());
                Answer::Comes(answer)
            }
        }
    }

    /// One wish for it is gone. Without another it leaves its lines.
    fn leave(&mut self, name: &str) {
        let Some(known) = self.names.get_mut(name) else { return };
        let NameState::Wanted { by, answer } = &mut known.state else { return };
        // The receiver of the wish that ends is dropped after this.
        if answer.receiver_count() > 1 {
            return;
        }
        for asker in std::mem::take(by) {
            self.lines.retain(asker, |wanted| **wanted != *name);
        }
        known.state = NameState::Unknown;
        if known.failures == 0 {
            self.names.remove(name);
        }
    }

    /// What has its turn; without it, whoever comes next begins anew.
    fn next(&mut self, now: Instant) -> Option<(Asker, Box<str>)> {
        loop {
            let Some((asker, name)) = self.lines.begin() else {
                self.is_beginning = false;
                return None;
            };
            if let Some(known) = self.names.get_mut(&name) {
                match std::mem::take(&mut known.state) {
                    NameState::Wanted { answer, .. } => {
                        known.state = NameState::Running { since: now, answer };
                        return Some((asker, name));
                    }
                    other => known.state = other,
                }
            }
            // It came up in another line before.
            self.lines.end(asker);
        }
    }

    fn found(&mut self, name: &str, found: Found, now: Instant) {
        let Some(known) = self.names.get_mut(name) else { return };
        let NameState::Running { since, answer } = std::mem::take(&mut known.state) else { return };
        answer.send_replace(Some(found.clone()));
        let Err(error) = found else {
            self.names.remove(name);
            self.last_success = Some(now);
            return;
        };
        let before = known.last_failed.unwrap_or(since);
        if now - before > FORGOTTEN_AFTER {
            (known.failures, known.failures_alone) = (0, 0);
        }
        known.failures = known.failures.saturating_add(1);
        if self.last_success.is_some_and(|at| at >= before) {
            known.failures_alone = known.failures_alone.saturating_add(1);
        }
        known.last_failed = Some(now);
        let wait = REMEMBERED.saturating_mul(1 << (known.failures - 1).min(8)).min(REMEMBERED_MAX);
        known.state = NameState::Failed { error, until: now + wait };
    }

    fn ended(&mut self, asker: Asker, name: &str) {
        self.lines.end(asker);
        // Only if nothing was found: the lookup panicked, and whoever waits hears that it was cut short.
        if self.names.get(name).is_some_and(|known| matches!(known.state, NameState::Running { .. })) {
            self.names.remove(name);
        }
    }

    fn forget_old(&mut self, now: Instant) {
        let is_idle = |known: &Name| matches!(known.state, NameState::Unknown | NameState::Failed { .. });
        let is_old = |known: &Name| known.last_failed.is_none_or(|at| now - at > FORGOTTEN_AFTER);
        self.names.retain(|_, known| !is_idle(known) || !is_old(known));
        if self.names.len() >= NAMES_KNOWN_MAX {
            self.names.retain(|_, known| !is_idle(known));
        }
    }
}

fn unanswered(why: &'static str) -> LookupError {
    LookupError::Unavailable(Arc::new(io::Error::other(why)))
}

#[cfg(test)]
mod tests;
