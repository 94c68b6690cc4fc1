//! `PerKey`, `Fifo`: the lanes in memory, each with its true head; `search` finds the others.
//!
//! ```text
//!              ┌──────────── its row comes ◄── Reading ◄── the head ended, the store may hold more
//!              ▼                                                        ▲
//!  (unknown) ─► Ready ── starts ──► InFlight ── its end is durable ─────┼── the next one is in memory ──► Ready
//!                 ▲                    │ failed: Waiting ── due ── starts ──► InFlight
//!                 └── redriven ─ Held ◄┘ given up, on_exhausted: Hold
//! ```
//!
//! A lane in memory has its head, and only by its end does another delivery become the head. A lane that is not in
//! memory may have rows in the store, unless a whole rotation has shown that there are none.

mod search;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::search::Search;
use super::queue::Item;
use crate::{Delivery, LaneId, LoadId, Priority, Seq};

/// Lanes that are read one by one at the same time; beyond that a rotation finds them.
const READING_MAX: usize = 64;

/// The lanes in memory, and what is known of the others.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: BTreeMap<LaneId, Lane>,
    /// Heads that may start: the most urgent first, of one class the oldest.
    startable: BTreeSet<(Priority, Seq, LaneId)>,
    /// Deliveries in memory, heads and those behind them.
    deliveries: usize,
    held: usize,
    reading: usize,
    search: Search,
    lanes_max: usize,
    deliveries_max: usize,
}

#[derive(Debug)]
struct Lane {
    head: Head,
    /// What follows the head, without a gap.
    behind: VecDeque<Item>,
    /// The store may hold more of this lane, after what is in memory.
    more: bool,
    /// The last one in memory.
    last: Seq,
    /// The last one that a nudge told of since the lane is being read.
    heard: Seq,
}

impl Lane {
    const fn with(head: Head, last: Seq) -> Self {
        Self { head, behind: VecDeque::new(), more: false, last, heard: Seq(0) }
    }
}

#[derive(Debug)]
enum Head {
    /// Being read: after this position.
    Reading(LoadId, Seq),
    Ready(Item),
    /// Among the due rows.
    Waiting(Seq),
    InFlight(Seq),
    Held(Delivery),
}

/// What a lane needs now that its head has ended, or could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: its next head is in memory, or it has no more.
    Nothing,
    /// It left memory.
    Left,
    /// Read it after this position, and say so with [`Lanes::reading`].
    Read(Seq),
}

/// What became of a nudge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nudged {
    /// Noted.
    Noted,
    /// It is in a lane that is not in memory and may have rows before it: read that lane.
    ReadLane,
}

impl Lanes {
    pub(super) const fn new(lanes_max: usize, deliveries_max: usize) -> Self {
        Self {
            lanes: BTreeMap::new(),
            startable: BTreeSet::new(),
            deliveries: 0,
            held: 0,
            reading: 0,
            search: Search::new(),
            lanes_max,
            deliveries_max,
        }
    }

    /// A lane whose head an earlier actor sent, and that has not ended.
    pub(super) fn runs_already(&mut self, lane: LaneId, seq: Seq) {
        self.lanes.insert(lane, Lane { more: true, ..Lane::with(Head::InFlight(seq), seq) });
    }

    /// The head of a lane is being ended. If the lane is not in memory, it is from now on.
    pub(super) fn is_ending(&mut self, lane: LaneId, seq: Seq) {
        if !self.lanes.contains_key(&lane) {
            self.runs_already(lane, seq);
        }
    }

    /// A delivery was added at the end of its lane. `follows`: nothing was added since the nudge before it.
    pub(super) fn nudged(&mut self, lane: LaneId, seq: Seq, item: Option<Item>, follows: bool) -> Nudged {
        if !follows {
            self.missed_something();
        }
        let (certain, room) = (self.is_certain(), self.deliveries < self.deliveries_max);
        if let Some(known) = self.lanes.get_mut(&lane) {
            known.heard = known.heard.max(seq);
            if matches!(known.head, Head::Reading(..)) {
                return Nudged::Noted;
            }
            match item.filter(|_| room && !known.more && known.last < seq) {
                Some(item) => {
                    known.behind.push_back(item);
                    known.last = seq;
                    self.deliveries += 1;
                }
                None => known.more |= known.last < seq,
            }
            return Nudged::Noted;
        }
        let has_room = self.room() > 0 && room;
        let urgent = item.as_ref().map(|item| item.delivery.priority).filter(|_| !has_room);
        if self.reading >= READING_MAX || !(has_room || urgent.is_some_and(|of| self.make_room(of))) {
            self.leave_out(item.map(|item| item.delivery.priority));
            return Nudged::Noted;
        }
        match item.filter(|_| certain) {
            Some(item) => {
                self.put_head(lane, item, false);
                Nudged::Noted
            }
            None if follows => Nudged::ReadLane,
            // The rotation that is needed anyway finds it.
            None => Nudged::Noted,
        }
    }

    /// A lane is being read.
    pub(super) fn reading(&mut self, lane: LaneId, load: LoadId, after: Seq) {
        let known = self.lanes.entry(lane).or_insert_with(|| Lane::with(Head::InFlight(after), after));
        if !matches!(known.head, Head::Reading(..)) {
            self.reading += 1;
        }
        known.head = Head::Reading(load, after);
        known.more = false;
        // What was heard before is in the picture, or was called off.
        known.heard = Seq(0);
        known.last = known.last.max(after);
    }

    /// Whether this answer is the one that the lane waits for.
    pub(super) fn waits_for(&self, lane: LaneId, load: LoadId) -> bool {
        matches!(self.lanes.get(&lane), Some(Lane { head: Head::Reading(id, _), .. }) if *id == load)
    }

    /// What was read of a lane: its head, and what follows.
    pub(super) fn lane_read(&mut self, lane: LaneId, rows: Vec<Item>, is_last: bool) -> (Next, Option<Item>) {
        let Some(known) = self.lanes.get_mut(&lane) else { return (Next::Nothing, None) };
        let Head::Reading(_, after) = known.head else { return (Next::Nothing, None) };
        let read_to = rows.last().map_or(known.last, |row| row.delivery.id.seq);
        known.more |= !is_last || read_to < known.heard;
        let mut rows = rows.into_iter();
        let Some(head) = rows.next() else {
            if known.more {
                return (Next::Read(after), None);
            }
            self.lanes.remove(&lane);
            self.reading -= 1;
            return (Next::Left, None);
        };
        self.reading -= 1;
        let more = known.more;
        let waits = self.put_head(lane, head, more);
        if let Some(known) = self.lanes.get_mut(&lane) {
            for item in rows {
                known.last = item.delivery.id.seq;
                known.behind.push_back(item);
                self.deliveries += 1;
            }
        }
        (Next::Nothing, waits)
    }

    /// Puts a head into its place; gives it back if it waits for a time. One that holds its lane does so in the store: in
    /// memory are as many of these as are found there, or with each that is given up another lane would stay for good.
    fn put_head(&mut self, lane: LaneId, item: Item, more: bool) -> Option<Item> {
        let seq = item.delivery.id.seq;
        if item.delivery.is_held() && !self.has_room_for_held() {
            self.evict(lane);
            return None;
        }
        let (head, waits) = if item.delivery.is_held() {
            self.held += 1;
            (Head::Held(item.delivery), None)
        } else if item.delivery.due().is_some() {
            (Head::Waiting(seq), Some(item))
        } else {
            self.startable.insert((item.delivery.priority, seq, lane));
            self.deliveries += 1;
            (Head::Ready(item), None)
        };
        match self.lanes.get_mut(&lane) {
            Some(known) => {
                known.head = head;
                known.more |= more;
                known.last = known.last.max(seq);
            }
            None => drop(self.lanes.insert(lane, Lane { more, ..Lane::with(head, seq) })),
        }
        waits
    }

    /// The oldest head of a class that may start.
    pub(super) fn take_first(&mut self, of: Priority, may_start: impl Fn(&Item) -> bool) -> Option<Item> {
        let ready = |(_, seq, lane): &&(Priority, Seq, LaneId)| match self.lanes.get(lane).map(|lane| &lane.head) {
            Some(Head::Ready(item)) => item.delivery.id.seq == *seq && may_start(item),
            Some(Head::Reading(..) | Head::Waiting(_) | Head::InFlight(_) | Head::Held(_)) | None => false,
        };
        let (_, seq, lane) = self.class(of).find(ready).copied()?;
        self.startable.remove(&(of, seq, lane));
        let known = self.lanes.get_mut(&lane)?;
        match std::mem::replace(&mut known.head, Head::InFlight(seq)) {
            Head::Ready(item) => {
                self.deliveries -= 1;
                Some(item)
            }
            other @ (Head::Reading(..) | Head::Waiting(_) | Head::InFlight(_) | Head::Held(_)) => {
                known.head = other;
                None
            }
        }
    }

    pub(super) fn count(&self, at_most: usize, may_start: impl Fn(&Item) -> bool) -> usize {
        let ready = |(.., lane): &&(Priority, Seq, LaneId)| match self.lanes.get(lane).map(|lane| &lane.head) {
            Some(Head::Ready(item)) => may_start(item),
            Some(Head::Reading(..) | Head::Waiting(_) | Head::InFlight(_) | Head::Held(_)) | None => false,
        };
        self.startable.iter().filter(ready).take(at_most).count()
    }

    /// A head that waited starts, or ends.
    pub(super) fn starts(&mut self, lane: LaneId, seq: Seq) {
        if let Some(known) = self.lanes.get_mut(&lane) {
            known.head = Head::InFlight(seq);
        }
    }

    /// A head that was not sent, or failed, or holds: back into its place. Gives it back if it waits for a time.
    pub(super) fn put_back(&mut self, item: Item) -> Option<Item> {
        let lane = item.delivery.lane;
        self.put_head(lane, item, false)
    }

    /// One that could start, or waits for its time, is being ended without an attempt: until that is durable, nothing
    /// takes its place.
    pub(super) fn ends(&mut self, lane: LaneId, seq: Seq) {
        let Some(known) = self.lanes.get_mut(&lane) else { return };
        match &known.head {
            Head::Ready(item) if item.delivery.id.seq == seq => {
                self.startable.remove(&(item.delivery.priority, seq, lane));
                self.deliveries -= 1;
            }
            Head::Waiting(head) if *head == seq => {}
            Head::Ready(_) | Head::Waiting(_) | Head::Reading(..) | Head::InFlight(_) | Head::Held(_) => return,
        }
        known.head = Head::InFlight(seq);
    }

    /// One behind the head, or outside memory, was given up and holds the lane once its turn comes.
    pub(super) fn holds_later(&mut self, item: Item) {
        let Some(known) = self.lanes.get_mut(&item.delivery.lane) else { return self.sleeps_outside() };
        let seq = item.delivery.id.seq;
        match known.behind.iter_mut().find(|behind| behind.delivery.id.seq == seq) {
            Some(behind) => *behind = item,
            None => known.more |= seq > known.last,
        }
    }

    /// Whether every row is in memory, or in flight.
    pub(super) fn is_whole(&self) -> bool {
        self.is_certain() && self.reading == 0 && self.lanes.values().all(|lane| !lane.more)
    }

    /// Those in memory that may start, now or later, or wait behind another.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Item> {
        let ready = self.lanes.values().filter_map(|lane| match &lane.head {
            Head::Ready(item) => Some(item),
            Head::Reading(..) | Head::Waiting(_) | Head::InFlight(_) | Head::Held(_) => None,
        });
        ready.chain(self.lanes.values().flat_map(|lane| &lane.behind)).filter(|item| !item.delivery.is_held())
    }

    /// All that hold an event, or may.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        self.lanes.values_mut().flat_map(|lane| {
            let head = match &mut lane.head {
                Head::Ready(item) => Some(item),
                Head::Reading(..) | Head::Waiting(_) | Head::InFlight(_) | Head::Held(_) => None,
            };
            head.into_iter().chain(&mut lane.behind)
        })
    }

    /// Whether a delivery waits behind the head of this lane, or may.
    pub(super) fn has_successor(&self, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_some_and(|known| known.more || !known.behind.is_empty())
    }

    /// The head ended, and its end is durable: the next one is the head.
    pub(super) fn head_ended(&mut self, lane: LaneId, seq: Seq) -> Next {
        let Some(known) = self.lanes.get_mut(&lane) else { return Next::Nothing };
        match &known.head {
            Head::InFlight(head) | Head::Waiting(head) if *head == seq => {}
            Head::Ready(head) if head.delivery.id.seq == seq => {
                self.startable.remove(&(head.delivery.priority, seq, lane));
                self.deliveries -= 1;
            }
            Head::Held(head) if head.id.seq == seq => self.held -= 1,
            Head::InFlight(_) | Head::Waiting(_) | Head::Ready(_) | Head::Held(_) | Head::Reading(..) => {
                return Next::Nothing;
            }
        }
        if let Some(item) = known.behind.pop_front() {
            self.deliveries -= 1;
            self.put_head(lane, item, false);
            return Next::Nothing;
        }
        if known.more {
            return Next::Read(seq);
        }
        self.lanes.remove(&lane);
        Next::Left
    }

    /// One that does not wait at the head was called off.
    pub(super) fn remove_behind(&mut self, lane: LaneId, seq: Seq) {
        let Some(known) = self.lanes.get_mut(&lane) else { return };
        let before = known.behind.len();
        known.behind.retain(|item| item.delivery.id.seq != seq);
        self.deliveries -= before - known.behind.len();
        if let Head::Reading(..) = known.head {
            known.more = true;
        }
    }

    /// The position of the head, if one is known.
    pub(super) fn head(&self, lane: LaneId) -> Option<Seq> {
        match &self.lanes.get(&lane)?.head {
            Head::Reading(..) => None,
            Head::Ready(item) => Some(item.delivery.id.seq),
            Head::Waiting(seq) | Head::InFlight(seq) => Some(*seq),
            Head::Held(delivery) => Some(delivery.id.seq),
        }
    }

    pub(super) fn is_held(&self, lane: LaneId, seq: Seq) -> bool {
        matches!(self.lanes.get(&lane), Some(Lane { head: Head::Held(head), .. }) if head.id.seq == seq)
    }

    /// A head that held its lane begins its next life there.
    pub(super) fn revive(&mut self, item: Item) -> Option<Item> {
        self.held -= 1;
        self.put_back(item)
    }

    pub(super) fn knows(&self, lane: LaneId) -> bool {
        self.lanes.contains_key(&lane)
    }

    /// Heads in memory that may start, the first of each class.
    pub(super) fn firsts(&self) -> impl Iterator<Item = &Item> {
        let first = |of| self.class(of).next();
        let lanes = Priority::ALL.into_iter().filter_map(first).filter_map(|(.., lane)| self.lanes.get(lane));
        lanes.filter_map(|lane| match &lane.head {
            Head::Ready(item) => Some(item),
            Head::Reading(..) | Head::Waiting(_) | Head::InFlight(_) | Head::Held(_) => None,
        })
    }

    /// The heads of a class that may start, the oldest first.
    fn class(&self, of: Priority) -> impl Iterator<Item = &(Priority, Seq, LaneId)> {
        self.startable.range((of, Seq(0), LaneId(0))..=(of, Seq::MAX, LaneId(u64::MAX)))
    }

    pub(super) fn ready(&self) -> usize {
        self.startable.len()
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }
}
