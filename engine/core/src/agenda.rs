//! Decides what of that which is due at a time of its own is done next: deliveries of events that were published for
//! later, and payloads that are to be forgotten.
//!
//! What is due is read in the order of its times, from where the last read ended: what was done before lies behind that,
//! however much it was. Of each application some is in hand, of each kind by itself, and they take turns: one that has
//! millions due keeps another waiting for one of its own. What finds no room is left to the store, with the place where it
//! begins. What is written behind the place that was read to is told by [`Agenda::note`], and not lost either.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroUsize,
    ops::Bound::{Excluded, Unbounded},
};

use crate::{AgendaItem, AgendaKind, ApplicationId, EventId, FairLimits, FairQueue, Timestamp, unread::Unread};

/// Items that are done together.
const PAGE: usize = 32;
/// Of these, no more are of one kind while there are others.
const PAGE_OF_KIND: usize = PAGE * 3 / 4;
/// Of these, no more go on that were begun before: who has one piece is not kept waiting by those who have forty.
const PAGE_GOES_ON: usize = PAGE / 2;
/// Deliveries of which a part is done; while they are so many, no other is begun.
const BEGUN: usize = 4 * PAGE;
/// Items of one application and kind that are in hand and not begun.
const LINE: usize = 128;
/// Items of one application and kind that are in hand, those that rest with them.
const OF_LINE: usize = 8 * LINE;
/// Items in hand, of all together; beyond them each application may have a few of each kind.
const IN_HAND: usize = 16 * 1024;
const FEW: usize = 32;
/// Rows read at once: nothing but keys.
const READ_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// Rows read at once to fill one line.
const LEFT_READ_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2 * LINE - 1);

/// What is done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgendaCommand {
    /// Read so many rows behind this one, and answer with [`Agenda::read`].
    Read {
        /// The last row that was read.
        after: Option<AgendaItem>,
        /// At most so many.
        limit: NonZeroUsize,
    },
    /// Do these, each by itself, and say of each what became of it.
    Do(Vec<AgendaItem>),
    /// Nothing is due before then, or at all: come back at that time, or when something is noted.
    Sleep(Option<Timestamp>),
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgendaStep {
    /// It is done, or set aside: its row is gone, or is left to the next start.
    Over,
    /// A part of it is done; the next one is to be done with the next page. Until it is over no other delivery of its
    /// application is begun: they begin in the order of their times.
    Goes,
    /// It was not begun: it has the next turn of its application.
    NotBegun,
    /// It could not be done, and is tried again then. Nothing waits for it.
    Rests(Timestamp),
}

/// Decides what of that which is due is done next.
#[derive(Debug)]
pub struct Agenda {
    /// Everything up to there was read. As an item: the last one of its time, as a rule.
    read_to: Option<AgendaItem>,
    /// When the first lies that was not read.
    next: Unread,
    deliveries: FairQueue<ApplicationId, AgendaItem>,
    expiries: FairQueue<ApplicationId, AgendaItem>,
    /// A part of them is done.
    begun: VecDeque<AgendaItem>,
    resting: BTreeSet<(Timestamp, AgendaItem)>,
    /// All that wait, rest, or are being done; and how many of each line.
    in_hand: BTreeSet<AgendaItem>,
    of_line: BTreeMap<Line, usize>,
    /// Of whom items up to `read_to` are left to the store: behind this place.
    left: BTreeMap<Line, Option<AgendaItem>>,
    /// Whose are read next.
    turn: Option<Line>,
    reading: Option<Reading>,
    /// Noted while a read was on its way, which may have missed them.
    meanwhile: Vec<AgendaItem>,
    /// Pages and reads take turns.
    has_done: bool,
}

type Line = (AgendaKind, ApplicationId);

/// What is being read.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// What follows.
    On,
    /// What was left of one line.
    Left(Line),
}

impl Agenda {
    /// One that has read nothing.
    pub const fn new() -> Self {
        let limits = FairLimits::NONE;
        Self {
            read_to: None,
            next: Unread::Unknown,
            deliveries: FairQueue::new(limits),
            expiries: FairQueue::new(limits),
            begun: VecDeque::new(),
            resting: BTreeSet::new(),
            in_hand: BTreeSet::new(),
            of_line: BTreeMap::new(),
            left: BTreeMap::new(),
            turn: None,
            reading: None,
            meanwhile: Vec::new(),
            has_done: false,
        }
    }

    /// The store was opened anew, or an earlier read failed: all is read again. What is being done may be done twice.
    pub fn begin_anew(&mut self) {
        *self = Self::new();
    }

    /// A row was written.
    pub fn note(&mut self, item: AgendaItem) {
        if self.reading.is_some() {
            self.meanwhile.push(item);
        }
        self.written(item);
    }

    /// What to do now.
    pub fn next(&mut self, now: Timestamp) -> AgendaCommand {
        self.rise(now);
        let may_do = !self.begun.is_empty() || !self.deliveries.is_empty() || !self.expiries.is_empty();
        let wanted = if may_do && !std::mem::replace(&mut self.has_done, true) { None } else { self.wanted(now) };
        if let Some((reading, after)) = wanted {
            self.has_done = false;
            self.reading = Some(reading);
            let limit = match reading {
                Reading::On => READ_AT_ONCE,
                Reading::Left(_) => LEFT_READ_AT_ONCE,
            };
            return AgendaCommand::Read { after, limit };
        }
        if may_do {
            return AgendaCommand::Do(self.page());
        }
        AgendaCommand::Sleep(self.next.at().into_iter().chain(self.resting.first().map(|(at, _)| *at)).min())
    }

    /// What was read; `now` as it was when that was asked for.
    pub fn read(&mut self, rows: &[AgendaItem], limit: NonZeroUsize, now: Timestamp) {
        let is_last = rows.len() < limit.get();
        match self.reading.take() {
            Some(Reading::On) => self.read_on(rows, is_last, now),
            Some(Reading::Left(line)) => self.read_left(line, rows, is_last),
            // It was begun anew meanwhile.
            None => {}
        }
        for item in std::mem::take(&mut self.meanwhile) {
            self.written(item);
        }
    }

    /// What became of an item that was to be done.
    pub fn did(&mut self, item: AgendaItem, step: AgendaStep) {
        if !self.in_hand.contains(&item) {
            return;
        }
        match step {
            AgendaStep::Over => self.let_go(item),
            AgendaStep::Goes => self.begun.push_back(item),
            AgendaStep::NotBegun => self.line_of(item.what).push_front(item.application, item),
            AgendaStep::Rests(until) => drop(self.resting.insert((until, item))),
        }
    }

    fn read_on(&mut self, rows: &[AgendaItem], is_last: bool, now: Timestamp) {
        for row in rows {
            if row.at > now {
                self.next = Unread::At(row.at);
                self.read_to = self.read_to.max(Some(last_of(now)));
                return;
            }
            let behind = self.read_to.replace(*row);
            if !self.in_hand.contains(row) {
                self.take(*row, behind);
            }
        }
        if is_last {
            self.next = Unread::Nothing;
            self.read_to = self.read_to.max(Some(last_of(now)));
        } else {
            self.next = Unread::Unknown;
        }
    }

    fn read_left(&mut self, line: Line, rows: &[AgendaItem], is_last: bool) {
        let Some(mut behind) = self.left.remove(&line) else { return };
        for row in rows {
            if Some(*row) > self.read_to {
                return;
            }
            if (row.what, row.application) == line && !self.in_hand.contains(row) {
                self.take(*row, behind);
                if self.left.contains_key(&line) {
                    return;
                }
            }
            behind = Some(*row);
        }
        if !is_last {
            self.left.insert(line, behind);
        }
    }

    /// Takes an item in hand; where there is no room, it is left to the store, and so is all of its line behind it.
    fn take(&mut self, item: AgendaItem, behind: Option<AgendaItem>) {
        let line = (item.what, item.application);
        if self.left.contains_key(&line) {
            return;
        }
        if !self.has_room(line) || self.waiting_in(line) >= LINE {
            self.left.insert(line, behind);
            return;
        }
        self.wait(item);
        if self.in_hand.insert(item) {
            *self.of_line.entry(line).or_default() += 1;
        }
    }

    fn let_go(&mut self, item: AgendaItem) {
        let line = (item.what, item.application);
        if self.in_hand.remove(&item)
            && let Some(held) = self.of_line.get_mut(&line)
        {
            *held -= 1;
            if *held == 0 {
                self.of_line.remove(&line);
            }
        }
    }

    /// Whether one more of this line may be in hand. What rests counts, or one that can do nothing would have all.
    fn has_room(&self, line: Line) -> bool {
        let most = if self.in_hand.len() < IN_HAND { OF_LINE } else { FEW };
        self.of_line.get(&line).is_none_or(|held| *held < most)
    }

    fn waiting_in(&self, (what, application): Line) -> usize {
        match what {
            AgendaKind::Deliver => self.deliveries.len_of(application),
            AgendaKind::Expunge => self.expiries.len_of(application),
        }
    }

    fn wait(&mut self, item: AgendaItem) {
        // Whoever takes it in hand has looked at the limits.
        let _nothing_bounds_it = self.line_of(item.what).push(item.application, item);
    }

    fn written(&mut self, item: AgendaItem) {
        if Some(item) > self.read_to {
            self.next = self.next.with(item.at);
            return;
        }
        let behind = item.at.as_nanos().checked_sub(1).map(|at| last_of(Timestamp::from_nanos(at)));
        match self.left.get_mut(&(item.what, item.application)) {
            Some(left) => *left = behind.min(*left),
            None if self.in_hand.contains(&item) => {}
            None => self.take(item, behind),
        }
    }

    /// What rested long enough waits for its turn again.
    fn rise(&mut self, now: Timestamp) {
        while let Some((_, item)) = self.resting.first().copied().filter(|(at, _)| *at <= now) {
            self.resting.pop_first();
            self.wait(item);
        }
    }

    /// What is to be read, and behind which row.
    fn wanted(&mut self, now: Timestamp) -> Option<(Reading, Option<AgendaItem>)> {
        if self.next.is_due(now) {
            return Some((Reading::On, self.read_to));
        }
        let may_have_more = |line: Line| self.waiting_in(line) <= LINE / 2 && self.has_room(line);
        let in_turn = self.left.range((self.turn.map_or(Unbounded, Excluded), Unbounded)).chain(&self.left);
        let (line, behind) = in_turn.into_iter().find(|(line, _)| may_have_more(**line))?;
        let (line, behind) = (*line, *behind);
        self.turn = Some(line);
        Some((Reading::Left(line), behind))
    }

    /// What was begun goes on; then deliveries, which somebody waits for, without keeping all else waiting.
    fn page(&mut self) -> Vec<AgendaItem> {
        let goes_on = self.begun.len().min(PAGE_GOES_ON);
        let mut page: Vec<_> = self.begun.drain(..goes_on).collect();
        let busy: BTreeSet<_> = page.iter().chain(&self.begun).map(|item| item.application).collect();
        let deliveries = if self.expiries.is_empty() { PAGE } else { PAGE_OF_KIND };
        let deliveries = deliveries.min(BEGUN.saturating_sub(self.begun.len()));
        let mut passed_over = Vec::new();
        while page.len() < deliveries
            && let Some((application, item)) = self.deliveries.pop()
        {
            if busy.contains(&application) { passed_over.push(item) } else { page.push(item) }
        }
        passed_over.into_iter().rev().for_each(|item| self.deliveries.push_front(item.application, item));
        while page.len() < PAGE
            && let Some((_, item)) = self.expiries.pop()
        {
            page.push(item);
        }
        page
    }

    const fn line_of(&mut self, what: AgendaKind) -> &mut FairQueue<ApplicationId, AgendaItem> {
        match what {
            AgendaKind::Deliver => &mut self.deliveries,
            AgendaKind::Expunge => &mut self.expiries,
        }
    }
}

impl Default for Agenda {
    fn default() -> Self {
        Self::new()
    }
}

/// Behind every item of this time, and before every later one.
const fn last_of(at: Timestamp) -> AgendaItem {
    let (application, event) = (ApplicationId::from_bytes([u8::MAX; 20]), EventId::from_bytes([u8::MAX; 20]));
    AgendaItem { at, what: AgendaKind::Expunge, application, event }
}

#[cfg(test)]
mod tests;
