//! What the writer knows of queues, for readers: how much waits in each, and where its rows begin.

use std::{
    collections::hash_map::Entry,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::HashMap;
use postrider_core::{ApplicationId, DueKey, EndpointId, Generation, Queued};

use super::NextQueues;
use crate::{
    StoreError,
    kv::{
        starts::{Start, Starts},
        view::View,
        waiting::{Change, Few},
    },
};

/// What is known of queues as they are written: shared by the writer, which alone changes it, and readers.
#[derive(Clone, Debug, Default)]
pub(in crate::kv) struct Known(Arc<Mutex<Queues>>);

#[derive(Debug, Default)]
pub(super) struct Queues {
    /// Those in which something waits, and those that were counted before their turn, or not to their end.
    pub(super) counts: HashMap<EndpointId, Count>,
    pub(super) reach: Reach,
    pub(super) starts: Starts,
    pub(super) few: Few,
    /// What was found by reading, and nobody heard of yet.
    pub(super) found: Vec<Queued>,
}

/// How much waits at one endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    pub(super) application: ApplicationId,
    pub(super) generation: Generation,
    /// Rows that were read, and what became of these since: all that wait, if it is whole.
    pub(super) queued: u64,
    /// How many more came than went since the first came that was heard of, wherever; of no interest once it is whole.
    pub(super) grown: i64,
    /// All its rows were read.
    pub(super) is_whole: bool,
    /// One of them makes no sense: whoever asks reads them, and hears of it.
    pub(super) is_damaged: bool,
}

impl Count {
    /// Of a queue in which nothing waits.
    pub(super) const fn empty(application: ApplicationId, generation: Generation) -> Self {
        Self { application, generation, queued: 0, grown: 0, is_whole: true, is_damaged: false }
    }

    /// Of a queue of which no row was read.
    pub(super) const fn begun(application: ApplicationId, generation: Generation) -> Self {
        Self { is_whole: false, ..Self::empty(application, generation) }
    }

    /// So many wait, or more: there cannot be fewer than came and did not go again.
    pub(super) fn at_least(&self) -> u64 {
        match self.is_whole {
            true => self.queued,
            false => self.queued.max(u64::try_from(self.grown).unwrap_or(0)),
        }
    }

    /// A row came or went, among those that were read or not.
    #[must_use]
    pub(super) fn changed(self, by: i64, is_read: bool) -> Self {
        let queued = if is_read { self.queued.saturating_add_signed(by) } else { self.queued };
        let grown = if self.is_whole { 0 } else { self.grown.saturating_add(by) };
        Self { queued, grown, ..self }
    }

    /// Nothing of it need be kept, once its endpoint has had its turn.
    pub(super) const fn says_nothing(&self) -> bool {
        self.queued == 0 && self.is_whole && !self.is_damaged
    }

    /// Whether it says how many wait.
    pub(super) const fn is_exact(&self) -> bool {
        self.is_whole && !self.is_damaged
    }

    /// How much more is known to wait now.
    pub(super) fn since(&self, before: u64) -> Queued {
        let [now, before] = [self.at_least(), before].map(|queued| i64::try_from(queued).unwrap_or(i64::MAX));
        Queued { application: self.application, by: now - before }
    }
}

/// Which endpoints have had their turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reach {
    #[default]
    None,
    /// This one and all before it.
    To(EndpointId),
    All,
}

impl Known {
    /// How many wait in this queue; none if they are not counted to the end.
    pub(in crate::kv) fn waiting(&self, of: EndpointId, generation: Generation) -> Option<u64> {
        let queues = self.queues();
        match queues.counts.get(&of) {
            Some(count) => (count.is_exact() && count.generation == generation).then_some(count.queued),
            None => queues.reach.covers(of).then_some(0),
        }
    }

    /// Where the rows of a queue begin, as far as it is known.
    pub(in crate::kv) fn start(&self, of: EndpointId, generation: Generation) -> Start {
        let queues = self.queues();
        queues.starts.of(of, generation).with_waiting(queues.few.of(of, generation))
    }

    /// As [`Starts::look_for_due`].
    pub(in crate::kv) fn look_for_due(&self, of: EndpointId, generation: Generation) -> Option<DueKey> {
        self.queues().starts.look_for_due(of, generation)
    }

    /// As [`Starts::due_found`].
    pub(in crate::kv) fn due_found(&self, of: EndpointId, generation: Generation, first: DueKey) {
        self.queues().starts.due_found(of, generation, first);
    }

    /// The next queues whose turn it is, at most so many, as a snapshot shows them. What is added to others meanwhile is
    /// heard of from its commit.
    pub(in crate::kv) fn next(&self, view: View<'_>, queues_max: NonZeroUsize) -> Result<NextQueues, StoreError> {
        let after = match self.queues().reach {
            Reach::None => None,
            Reach::To(last) => Some(last),
            Reach::All => return Ok(NextQueues { queues: Vec::new(), are_all: true }),
        };
        NextQueues::read(view, after, queues_max)
    }

    /// What was found by reading since this was last asked. For whoever tells it on at once: it is told once.
    pub(in crate::kv) fn found(&self) -> Vec<Queued> {
        let mut found = std::mem::take(&mut self.queues().found);
        found.retain(|queued| queued.by != 0);
        found
    }

    pub(super) fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    /// This is known of a queue; none: nothing waits there, or it is gone.
    pub(super) fn put(&mut self, of: EndpointId, count: Option<Count>) {
        match count.filter(|count| !count.says_nothing() || !self.reach.covers(of)) {
            Some(count) => drop(self.counts.insert(of, count)),
            None => {
                self.counts.remove(&of);
                self.few.change(Change::Empty(of));
            }
        }
    }

    /// It is the turn of this endpoint; what is known of its queue, unless something is already; none if it has none.
    pub(super) fn has_turn(&mut self, of: EndpointId, begun: Option<Count>) {
        if !self.reach.covers(of) {
            self.reach = Reach::To(of);
            if let (Entry::Vacant(unknown), Some(begun)) = (self.counts.entry(of), begun) {
                unknown.insert(begun);
            }
        }
    }

    /// There are no more of them.
    pub(super) fn had_all_turns(&mut self) {
        if self.reach != Reach::All {
            self.reach = Reach::All;
            self.counts.retain(|_, count| !count.says_nothing());
        }
    }
}

impl Reach {
    pub(super) fn covers(self, endpoint: EndpointId) -> bool {
        match self {
            Self::None => false,
            Self::To(last) => endpoint <= last,
            Self::All => true,
        }
    }
}
