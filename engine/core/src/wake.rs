//! Finds whose time has come: reads the wake rows in order, and starts no more actors at once than there may be.
//!
//! It counts those that it started itself. Endpoints are active by being published to, too, as many as there are, and
//! that others are busy is no reason for a retry to wait. Nor is it that those it started stay busy: each counts for some
//! seconds, or until it leaves, and then others have their turn.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    num::NonZeroUsize,
    time::Duration,
};

use crate::{EndpointId, Timestamp};

/// Rows asked for at once.
const AT_ONCE: usize = 1_000;
/// Times noted in memory; beyond that, the store is asked for the next one.
const NOTED_MAX: usize = 10_000;
/// How long one that was started counts, if it does not leave before.
const COUNTS_FOR: Duration = Duration::from_secs(30);

/// Where a scan stands: the last wake row that was read.
pub type WakeKey = (Timestamp, EndpointId);

/// What the scanner does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeCommand {
    /// Read so many rows after this one and up to that time; answer with [`WakeScanner::scanned`].
    Scan {
        /// The last row that was read.
        after: Option<WakeKey>,
        /// No later than this.
        until: Timestamp,
        /// At most so many.
        limit: NonZeroUsize,
    },
    /// Nothing is due before then (or at all): come back at that time, or when something is noted or an actor leaves.
    Sleep(Option<Timestamp>),
}

/// Finds whose time has come.
///
/// Rows that are written behind the place where it reads belong to endpoints that are active already: with an accept, or
/// beside an actor. After the store was opened anew it begins again.
#[derive(Debug)]
pub struct WakeScanner {
    max_active: usize,
    read_to: Option<WakeKey>,
    /// Times of rows that this engine wrote, soonest first.
    noted: BinaryHeap<Reverse<Timestamp>>,
    /// There may be rows that are not noted: this is the time of the first, or not known.
    unnoted: Unnoted,
    /// Those that it started and that count, and since when.
    started: HashMap<EndpointId, Timestamp>,
    /// In the order of their start; of those that have left, too.
    in_order: VecDeque<(Timestamp, EndpointId)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unnoted {
    Unknown,
    At(Timestamp),
    None,
}

impl WakeScanner {
    /// One that has read nothing. At most `max_active` actors that it starts are up, those aside that are up for long.
    pub fn new(max_active: usize) -> Self {
        Self {
            max_active: max_active.max(1),
            read_to: None,
            noted: BinaryHeap::new(),
            unnoted: Unnoted::Unknown,
            started: HashMap::new(),
            in_order: VecDeque::new(),
        }
    }

    /// An actor was started because of a row.
    pub fn started(&mut self, endpoint: EndpointId, now: Timestamp) {
        self.started.insert(endpoint, now);
        self.in_order.push_back((now, endpoint));
    }

    /// An actor has left. Says whether that makes room.
    pub fn left(&mut self, endpoint: EndpointId) -> bool {
        self.started.remove(&endpoint).is_some()
    }

    /// A wake row was written for this time.
    pub fn note(&mut self, at: Timestamp) {
        if self.noted.len() < NOTED_MAX {
            self.noted.push(Reverse(at));
            return;
        }
        self.unnoted = match self.unnoted {
            Unnoted::Unknown => Unnoted::Unknown,
            Unnoted::At(first) => Unnoted::At(first.min(at)),
            Unnoted::None => Unnoted::At(at),
        };
    }

    /// The store was opened anew.
    pub fn store_reopened(&mut self) {
        *self = Self::new(self.max_active);
    }

    /// What to do now.
    pub fn next(&mut self, now: Timestamp) -> WakeCommand {
        let first = self.first_that_counts(now);
        let Some(room) = NonZeroUsize::new(self.max_active.saturating_sub(self.started.len())) else {
            return WakeCommand::Sleep(first.map(|since| since + COUNTS_FOR));
        };
        let noted = self.noted.peek().map(|Reverse(at)| *at);
        let due = |at: Timestamp| at <= now;
        match self.unnoted {
            Unnoted::Unknown => {}
            Unnoted::At(at) if due(at) => {}
            Unnoted::None | Unnoted::At(_) if noted.is_some_and(due) => {}
            Unnoted::At(at) => return WakeCommand::Sleep(Some(noted.map_or(at, |noted| noted.min(at)))),
            Unnoted::None => return WakeCommand::Sleep(noted),
        }
        let limit = room.min(NonZeroUsize::MIN.saturating_add(AT_ONCE - 1));
        WakeCommand::Scan { after: self.read_to, until: now, limit }
    }

    /// Since when the one counts that was started first.
    fn first_that_counts(&mut self, now: Timestamp) -> Option<Timestamp> {
        while let Some((since, endpoint)) = self.in_order.front().copied() {
            let counts = self.started.get(&endpoint) == Some(&since);
            if counts && now.since(since) < COUNTS_FOR {
                return Some(since);
            }
            if counts {
                self.started.remove(&endpoint);
            }
            self.in_order.pop_front();
        }
        None
    }

    /// What was read up to `until`, and the first row after all that, if there is one.
    pub fn scanned(&mut self, rows: &[WakeKey], limit: NonZeroUsize, until: Timestamp, then: Option<Timestamp>) {
        if let Some(last) = rows.last() {
            self.read_to = Some(*last);
        }
        if rows.len() >= limit.get() {
            // Cut short: there may be more that is due.
            self.unnoted = Unnoted::Unknown;
            return;
        }
        while self.noted.peek().is_some_and(|Reverse(at)| *at <= until) {
            self.noted.pop();
        }
        self.unnoted = then.map_or(Unnoted::None, Unnoted::At);
    }
}

#[cfg(test)]
mod tests;
