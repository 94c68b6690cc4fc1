//! When something in the queue gets too old, in memory or not, and how far the search for it has come.
//!
//! What is in memory ends by itself; what is not, behind a lane that holds, in a lane that found no room, or among the many
//! that wait for a time, is looked for in the store once it may be there. Between two searches nobody looks, and no actor
//! stays for it: a wake row for the time is enough.

use std::time::Duration;

use crate::{Aged, AgedKey, LoadId, Timestamp};

/// A search rests for this long for each row that it looked at: about a hundred times as long as it took.
const REST_PER_ROW: Duration = Duration::from_micros(100);
/// After a search met something that it could not end, because it is in flight or just changed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// An actor that does not know how old its queue is finds out after this, if it does not rest sooner.
const UNKNOWN_MAX: Duration = Duration::from_secs(60);
/// What a search of more rows found out is stored, so that the next actor does not have to search.
const NOTED_FROM: usize = 1_024;

/// When something in the queue gets too old.
#[derive(Debug)]
pub(super) struct Aging {
    age_max: Duration,
    /// Nothing that is known of gets too old before.
    bound: Timestamp,
    /// If there may be more than that: when to look.
    unknown: Option<Timestamp>,
    search: Option<Search>,
    rests_until: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Search {
    /// Lives that began by then are too old.
    before: Timestamp,
    /// The read without an answer; none if the next one waits for its turn.
    load: Option<LoadId>,
    after: AgedKey,
    looked_at: usize,
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Searched {
    /// There is more to read.
    On,
    /// The end, and worth a note or not.
    Done { note: bool },
}

impl Aging {
    pub(super) fn new(age_max: Duration, now: Timestamp) -> Self {
        let (bound, unknown) = (Timestamp::MAX, Some(now + UNKNOWN_MAX));
        Self { age_max, bound, unknown, search: None, rests_until: Timestamp::from_nanos(0) }
    }

    /// What an earlier actor found out.
    pub(super) fn restore(&mut self, stored: Option<Timestamp>) {
        if let Some(oldest) = stored {
            self.note(oldest);
            self.unknown = None;
        }
    }

    /// A delivery whose life began then is in the queue.
    pub(super) fn note(&mut self, since: Timestamp) {
        self.bound = self.bound.min(since + self.age_max);
    }

    /// Deliveries of unknown age are in the queue: they are young.
    pub(super) fn note_unheard(&mut self, now: Timestamp) {
        self.bound = self.bound.min(now + self.age_max / 2);
    }

    /// All of the queue is known: its oldest life began then.
    pub(super) fn knows_all(&mut self, oldest: Option<Timestamp>) {
        self.bound = oldest.map_or(Timestamp::MAX, |since| since + self.age_max);
        self.unknown = None;
    }

    pub(super) const fn is_certain(&self) -> bool {
        self.unknown.is_none()
    }

    pub(super) const fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// When to look, if anything is there that ever gets too old.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let bound = self.unknown.map_or(self.bound, |look| look.min(self.bound));
        Some(bound.max(self.rests_until)).filter(|_| bound != Timestamp::MAX)
    }

    /// What may be stored of it: whoever reads it knows nothing of what came after, which is younger.
    pub(super) fn stored(&self, now: Timestamp) -> Option<Timestamp> {
        let expires = self.bound.min(now + self.age_max / 2);
        Some(before(expires, self.age_max)).filter(|_| self.is_certain() && self.search.is_none())
    }

    /// Begins a search.
    pub(super) fn begin(&mut self, now: Timestamp) {
        let before = before(now, self.age_max);
        self.search = Some(Search { before, load: None, after: AgedKey::Start, looked_at: 0 });
        // What is noted from now on is not in the pictures, or is found there as well.
        self.bound = Timestamp::MAX;
        self.unknown = None;
    }

    /// What to read next, if the search goes on and nothing is being read.
    pub(super) fn wants(&self) -> Option<(Timestamp, AgedKey)> {
        let search = self.search.filter(|search| search.load.is_none())?;
        Some((search.before, search.after))
    }

    pub(super) const fn reads(&mut self, load: LoadId) {
        if let Some(search) = &mut self.search {
            search.load = Some(load);
        }
    }

    /// Something of the answer could not be ended now.
    pub(super) fn met_busy(&mut self, now: Timestamp) {
        self.bound = self.bound.min(now + AGAIN_AFTER);
    }

    pub(super) fn answered(&mut self, found: &Aged, now: Timestamp) -> Searched {
        if let Some(oldest) = found.oldest {
            self.note(oldest);
        }
        let Some(search) = &mut self.search else { return Searched::On };
        search.looked_at += found.looked_at;
        search.load = None;
        if let Some(next) = found.next {
            search.after = next;
            return Searched::On;
        }
        let looked_at = search.looked_at;
        self.search = None;
        self.rests_until = now + REST_PER_ROW * u32::try_from(looked_at).unwrap_or(u32::MAX);
        Searched::Done { note: looked_at >= NOTED_FROM }
    }
}

fn before(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos().saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}
