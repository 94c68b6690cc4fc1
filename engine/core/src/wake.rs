//! Finds whose time has come: reads the wake rows in order, and starts no more actors at once than there may be.
//!
//! It counts those that it started itself. Endpoints are active by being published to, too, as many as there are, and
//! that others are busy is no reason for a retry to wait. Nor is it that those it started stay busy: each counts for some
//! seconds, or until it leaves, and then others have their turn.
//!
//! Rows lie in the order of their times, whoever they belong to, and one tenant may have a million of them in one moment.
//! So what is due is read on, also where nothing may be started, and no application starts so many that nothing is left
//! for another. What it may not start is left to the store, with the place where that begins, and applications of which
//! something is left take turns.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque},
    num::NonZeroUsize,
    time::Duration,
};

use crate::{
    ApplicationId, EndpointId, Timestamp,
    endpoint_turns::{SHARE, is_within_share},
    unread::Unread,
};

/// Rows asked for at once.
const AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);
/// As that, of what was left, where few may be started.
const FEW_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
/// Times noted in memory; beyond that, the store is asked for the next one.
const NOTED_MAX: usize = 10_000;
/// How long one that was started counts, if it does not leave before.
const COUNTS_FOR: Duration = Duration::from_secs(30);

/// Where a scan stands: the last wake row that was read.
pub type WakeKey = (Timestamp, EndpointId);

/// What the scanner does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeCommand {
    /// Read so many rows after this one and up to that time; show each of them to [`WakeScanner::found`], and answer with
    /// [`WakeScanner::scanned`].
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

/// Whether an endpoint is looked at now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeTurn {
    /// Its actor is started, if it is not up.
    Now,
    /// Its row is met again.
    Later,
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
    unnoted: Unread,
    /// Those that it started and that count, since when, and whose they are.
    started: HashMap<EndpointId, (Timestamp, ApplicationId)>,
    /// In the order of their start; of those that have left, too.
    in_order: VecDeque<(Timestamp, EndpointId)>,
    /// How many of those that count an application has.
    held: HashMap<ApplicationId, usize>,
    /// Applications that may start no more for now.
    left: BTreeMap<ApplicationId, Left>,
    turns: BTreeMap<u64, ApplicationId>,
    next_turn: u64,
    reading: Option<Reading>,
    /// What was left is read in turn with what follows.
    has_read_on: bool,
}

/// Rows of an application, up to where all is read, that are not looked at.
#[derive(Clone, Copy, Debug)]
struct Left {
    turn: u64,
    /// All of them lie behind this row.
    behind: Option<WakeKey>,
}

/// A read that is on its way.
#[derive(Debug)]
enum Reading {
    /// What follows, and the last row of it that was found.
    On(Option<WakeKey>),
    /// What was left behind this row, and whose rows are left again.
    Left(Option<WakeKey>, BTreeSet<ApplicationId>),
}

impl WakeScanner {
    /// One that has read nothing. At most `max_active` actors that it starts are up, those aside that are up for long.
    pub fn new(max_active: usize) -> Self {
        Self {
            max_active: max_active.max(1),
            read_to: None,
            noted: BinaryHeap::new(),
            unnoted: Unread::Unknown,
            started: HashMap::new(),
            in_order: VecDeque::new(),
            held: HashMap::new(),
            left: BTreeMap::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
            reading: None,
            has_read_on: false,
        }
    }

    /// An actor was started because of a row.
    pub fn started(&mut self, endpoint: EndpointId, application: ApplicationId, now: Timestamp) {
        self.left(endpoint);
        self.started.insert(endpoint, (now, application));
        self.in_order.push_back((now, endpoint));
        *self.held.entry(application).or_default() += 1;
    }

    /// An actor has left. Says whether that makes room.
    pub fn left(&mut self, endpoint: EndpointId) -> bool {
        let Some((_, application)) = self.started.remove(&endpoint) else { return false };
        if let Some(held) = self.held.get_mut(&application) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&application);
            }
        }
        true
    }

    /// A wake row was written for this time.
    pub fn note(&mut self, at: Timestamp) {
        if self.noted.len() < NOTED_MAX {
            self.noted.push(Reverse(at));
            return;
        }
        self.unnoted = self.unnoted.with(at);
    }

    /// The store was opened anew.
    pub fn store_reopened(&mut self) {
        *self = Self::new(self.max_active);
    }

    /// What to do now.
    pub fn next(&mut self, now: Timestamp) -> WakeCommand {
        let first = self.first_that_counts(now);
        let next = self.next_unread();
        let in_turn = self.in_turn();
        if next.is_due(now) && (in_turn.is_none() || !self.has_read_on) {
            self.has_read_on = true;
            self.reading = Some(Reading::On(self.read_to));
            return WakeCommand::Scan { after: self.read_to, until: now, limit: AT_ONCE };
        }
        if let (Some(application), Some((until, _))) = (in_turn, self.read_to) {
            self.has_read_on = false;
            let after = self.put_behind(application);
            self.reading = Some(Reading::Left(after, BTreeSet::new()));
            let free = NonZeroUsize::new(self.free()).unwrap_or(FEW_AT_ONCE);
            return WakeCommand::Scan { after, until, limit: free.clamp(FEW_AT_ONCE, AT_ONCE) };
        }
        let has_room_at = first.filter(|_| !self.left.is_empty()).map(|since| since + COUNTS_FOR);
        WakeCommand::Sleep(next.at().into_iter().chain(has_room_at).min())
    }

    /// A row was read, of an endpoint of this application. In the order of the rows, before [`scanned`](Self::scanned).
    pub fn found(&mut self, row: WakeKey, application: ApplicationId) -> WakeTurn {
        let has_room = is_within_share(self.held.get(&application).copied().unwrap_or(0), self.free(), SHARE);
        let left = self.left.get_mut(&application);
        match (&mut self.reading, left) {
            (None, _) | (Some(Reading::On(_)), Some(_)) | (Some(Reading::Left(..)), None) => WakeTurn::Later,
            (Some(Reading::On(last)), None) => {
                let behind = last.replace(row);
                if has_room {
                    return WakeTurn::Now;
                }
                let turn = self.next_turn();
                self.turns.insert(turn, application);
                self.left.insert(application, Left { turn, behind });
                WakeTurn::Later
            }
            (Some(Reading::Left(from, again)), Some(left)) => {
                let is_left = left.behind >= *from && left.behind < Some(row) && Some(row) <= self.read_to;
                if !is_left || again.contains(&application) {
                    return WakeTurn::Later;
                }
                if has_room {
                    left.behind = Some(row);
                    return WakeTurn::Now;
                }
                again.insert(application);
                WakeTurn::Later
            }
        }
    }

    /// What was read up to `until`, and the first row after all that, if there is one.
    pub fn scanned(&mut self, rows: &[WakeKey], limit: NonZeroUsize, until: Timestamp, then: Option<Timestamp>) {
        let is_cut_short = rows.len() >= limit.get();
        match self.reading.take() {
            // The store was opened anew meanwhile.
            None => {}
            Some(Reading::On(_)) => {
                self.read_to = rows.last().copied().or(self.read_to);
                if is_cut_short {
                    // There may be more that is due.
                    self.unnoted = Unread::Unknown;
                    return;
                }
                while self.noted.peek().is_some_and(|Reverse(at)| *at <= until) {
                    self.noted.pop();
                }
                self.unnoted = Unread::first(then);
            }
            Some(Reading::Left(from, again)) => {
                let to = rows.last().copied().filter(|last| is_cut_short && Some(*last) < self.read_to);
                self.left.retain(|application, left| {
                    if left.behind < from || again.contains(application) {
                        return true;
                    }
                    left.behind = left.behind.max(to);
                    if to.is_none() {
                        self.turns.remove(&left.turn);
                    }
                    to.is_some()
                });
            }
        }
    }

    /// Where the first row lies that was not read, noted or not.
    fn next_unread(&self) -> Unread {
        self.noted.peek().map_or(self.unnoted, |Reverse(at)| self.unnoted.with(*at))
    }

    /// The application of which something is left that has the next turn.
    fn in_turn(&self) -> Option<ApplicationId> {
        let free = self.free();
        // Those that are passed over have so many that there cannot be many of them.
        let has_room = |held: usize| is_within_share(held, free, SHARE);
        let may_start = |application: &&ApplicationId| has_room(self.held.get(application).copied().unwrap_or(0));
        if free == 0 { None } else { self.turns.values().find(may_start).copied() }
    }

    /// It has its next turn behind all others. Says where its rows begin.
    fn put_behind(&mut self, application: ApplicationId) -> Option<WakeKey> {
        let turn = self.next_turn();
        let left = self.left.get_mut(&application)?;
        self.turns.remove(&std::mem::replace(&mut left.turn, turn));
        self.turns.insert(turn, application);
        left.behind
    }

    const fn next_turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }

    fn free(&self) -> usize {
        self.max_active.saturating_sub(self.started.len())
    }

    /// Since when the one counts that was started first.
    fn first_that_counts(&mut self, now: Timestamp) -> Option<Timestamp> {
        while let Some((since, endpoint)) = self.in_order.front().copied() {
            let counts = self.started.get(&endpoint).is_some_and(|(started, _)| *started == since);
            if counts && now.since(since) < COUNTS_FOR {
                return Some(since);
            }
            if counts {
                self.left(endpoint);
            }
            self.in_order.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests;
