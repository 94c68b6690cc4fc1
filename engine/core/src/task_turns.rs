//! Whose task has the next turn: organisations one after another, in each of them its applications, and a piece at a time.
//!
//! ```text
//! waits ── begin ──► runs ── Goes ──► waits        (behind the others of its application)
//!                     │
//!                     ├── Rests ──► rests ── its time has come ──► waits
//!                     └── Over
//! ```
//!
//! A task that has to wait, for room in a queue or for the store, holds nothing that another could run in, and is looked at
//! less and less often as long as it gets nowhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{ApplicationId, FairLimits, FairQueue, OrganisationId, TaskId, Timestamp};

/// The first rest of a task that gets nowhere; doubles to [`REST_MAX`].
const REST_FIRST: Duration = Duration::from_millis(250);
const REST_MAX: Duration = Duration::from_secs(8);

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskTurn {
    /// There is more to do.
    Goes(GotOn),
    /// It can do nothing more for now.
    Rests(GotOn),
    /// It has ended.
    Over,
}

/// Whether a task has got anywhere since its last rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GotOn {
    /// It is looked at again soon.
    Yes,
    /// It is looked at less often.
    No,
}

/// Whose task has the next turn.
#[derive(Debug)]
pub struct TaskTurns {
    /// As many turns of each organisation as it has tasks that wait.
    organisations: FairQueue<OrganisationId, ()>,
    lines: BTreeMap<OrganisationId, FairQueue<ApplicationId, TaskId>>,
    resting: BTreeSet<(Timestamp, TaskId)>,
    /// Every task that has not ended.
    known: BTreeMap<TaskId, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    organisation: OrganisationId,
    /// Its organisation's own, until it is read.
    application: ApplicationId,
    /// In a row, without getting anywhere.
    rests: u32,
}

impl TaskTurns {
    /// So many pieces are done at once, of all organisations together.
    pub const fn new(at_once: usize) -> Self {
        let organisations = FairQueue::new(FairLimits::running(at_once));
        Self { organisations, lines: BTreeMap::new(), resting: BTreeSet::new(), known: BTreeMap::new() }
    }

    /// There is such a task. One that is known already is not run twice.
    pub fn open(&mut self, organisation: OrganisationId, task: TaskId) {
        let application = ApplicationId::from_bytes(organisation.to_bytes());
        if let std::collections::btree_map::Entry::Vacant(entry) = self.known.entry(task) {
            entry.insert(Known { organisation, application, rests: 0 });
            self.waits(task);
        }
    }

    /// The next one of which a piece is to be done now. Say [`did`](Self::did) once it is.
    pub fn begin(&mut self, now: Timestamp) -> Option<(OrganisationId, TaskId)> {
        while let Some((_, task)) = self.resting.first().copied().filter(|(at, _)| *at <= now) {
            self.resting.pop_first();
            self.waits(task);
        }
        let (organisation, ()) = self.organisations.begin()?;
        let line = self.lines.get_mut(&organisation)?;
        let (_, task) = line.pop()?;
        if line.is_empty() {
            self.lines.remove(&organisation);
        }
        Some((organisation, task))
    }

    /// A piece of a task is done, or could not be done; it is about this application, if it is about one alone.
    pub fn did(&mut self, task: TaskId, about: Option<ApplicationId>, turn: TaskTurn, now: Timestamp) {
        let Some(known) = self.known.get_mut(&task) else { return };
        self.organisations.end(known.organisation);
        known.application = about.unwrap_or(known.application);
        match turn {
            TaskTurn::Goes(got_on) => {
                if got_on == GotOn::Yes {
                    known.rests = 0;
                }
                self.waits(task);
            }
            TaskTurn::Rests(got_on) => {
                known.rests = match got_on {
                    GotOn::Yes => 0,
                    GotOn::No => known.rests + 1,
                };
                let rest = REST_FIRST * 2_u32.saturating_pow(known.rests.min(8));
                self.resting.insert((now + rest.min(REST_MAX), task));
            }
            TaskTurn::Over => drop(self.known.remove(&task)),
        }
    }

    /// When the first that rests is to be looked at again.
    pub fn next(&self) -> Option<Timestamp> {
        self.resting.first().map(|(at, _)| *at)
    }

    fn waits(&mut self, task: TaskId) {
        let Some(Known { organisation, application, .. }) = self.known.get(&task).copied() else { return };
        let line = self.lines.entry(organisation).or_insert_with(|| FairQueue::new(FairLimits::NONE));
        // Neither bounds what waits: an organisation has a hundred tasks at most.
        let _there_is_room = line.push(application, task);
        let _there_is_room = self.organisations.push(organisation, ());
    }
}

#[cfg(test)]
mod tests;
