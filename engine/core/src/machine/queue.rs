//! What is in memory of an endpoint's queue, and what has to be read: the only place that knows cursors.

mod aged;
mod answers;
mod choice;

use std::{collections::BTreeSet, sync::Arc};

use super::{
    WindowLimits,
    classes::Classes,
    due::DueRows,
    lanes::{Lanes, Next, Nudged},
    loads::{Load, Loads},
};
use crate::{
    Ask, Delivery, Endpoint, EventId, LaneId, LoadId, Nudge, OrderingMode, PerPriority, Place, Seq, StoredEvent,
    Timestamp, WindowShare,
};
use std::num::NonZeroUsize;

/// Rows of one lane that are read at once.
const LANE_ROWS: usize = 64;

/// A delivery in memory, and its event if that is at hand.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) delivery: Delivery,
    pub(super) event: Option<Arc<StoredEvent>>,
}

impl Item {
    pub(super) const fn is_manual(&self) -> bool {
        matches!(self.delivery.place, Place::Manual { .. })
    }
}

/// What is in memory of an endpoint's queue.
#[derive(Debug)]
pub(super) struct Queue {
    order: Order,
    due: DueRows,
    loads: Loads,
    tail: Option<Seq>,
    /// Retries of this endpoint are in the store's due index.
    indexed: bool,
    limits: WindowLimits,
    event_bytes: usize,
    wanted: Vec<(LoadId, Ask, WindowShare)>,
    /// The search for what is too old whose answer is being looked at.
    aged: Option<Load>,
}

#[derive(Debug)]
enum Order {
    Unordered(Classes),
    Lanes(Lanes),
}

impl Queue {
    pub(super) fn new(endpoint: &Endpoint, limits: WindowLimits, tail: Option<Seq>) -> Self {
        let (ready, lanes) = (limits.ready_deliveries.get(), limits.lanes.get());
        let (order, indexed) = match endpoint.policy.ordering {
            OrderingMode::Concurrent => (Order::Unordered(Classes::new(ready)), true),
            OrderingMode::PerKey(_) => (Order::Lanes(Lanes::new(lanes, ready)), true),
            OrderingMode::Fifo(_) => (Order::Lanes(Lanes::new(lanes, ready)), false),
        };
        Self {
            order,
            due: DueRows::new(limits.waiting_deliveries.get()),
            loads: Loads::default(),
            tail,
            indexed,
            limits,
            event_bytes: limits.event_bytes,
            wanted: Vec::new(),
            aged: None,
        }
    }

    /// The queue was cut off: nothing of it is left, and what is on its way is of no use.
    pub(super) fn renew(&mut self, endpoint: &Endpoint) {
        let loads = std::mem::take(&mut self.loads).renewed();
        *self = Self { loads, ..Self::new(endpoint, self.limits, self.tail) };
    }

    /// An earlier actor sent this one, and it has not ended.
    pub(super) fn runs_already(&mut self, delivery: &Delivery) {
        if let (Order::Lanes(lanes), Place::Lane { .. }) = (&mut self.order, delivery.place) {
            lanes.runs_already(delivery.lane, delivery.id.seq);
        }
    }

    /// What to read first, before anything else.
    pub(super) fn read_soft(&mut self) {
        self.want(Ask::Soft, 1);
    }

    /// Nothing of a class that was never attempted lies before its head.
    pub(super) fn begin_at(&mut self, heads: &PerPriority<Seq>) {
        if let Order::Unordered(classes) = &mut self.order {
            classes.begin_at(heads);
        }
    }

    /// There is work. Says whether anything was left unheard before it.
    pub(super) fn nudged(&mut self, nudge: Nudge) -> Heard {
        if self.tail.is_some_and(|tail| nudge.seq <= tail) {
            return Heard::Before;
        }
        let follows = self.tail.is_some() && nudge.previous == self.tail && nudge.newest.is_some();
        self.tail = Some(nudge.seq);
        match &mut self.order {
            Order::Unordered(classes) => classes.nudged(nudge),
            Order::Lanes(lanes) => {
                let seq = nudge.seq;
                let (lane, item) = match nudge.newest {
                    Some((delivery, event)) => (Some(delivery.lane), Some(Item { delivery, event })),
                    None => (None, None),
                };
                let nudged = match lane {
                    Some(lane) => lanes.nudged(lane, seq, item, follows),
                    None => {
                        lanes.missed_something();
                        Nudged::Noted
                    }
                };
                if let (Nudged::ReadLane, Some(lane)) = (nudged, lane) {
                    self.read_lane(lane, Seq(0));
                }
            }
        }
        if follows { Heard::InOrder } else { Heard::AfterAGap }
    }

    /// Among the due rows with it; whoever has to leave for it can be found again.
    fn waits(&mut self, item: Item) {
        let Some(evicted) = self.due.insert(item) else { return };
        if evicted.is_manual() {
            return;
        }
        if let Order::Lanes(lanes) = &mut self.order {
            lanes.evict(evicted.delivery.lane);
            if !self.indexed {
                lanes.look_again();
            }
        }
    }

    /// A delivery changed in the store by a step of ours, and waits, holds its lane, or has ended.
    pub(super) fn stepped(&mut self, before: &Delivery, after: Option<Item>) {
        self.loads.changed(before);
        match (after, &mut self.order) {
            // It need not be the head: whoever is too old is ended wherever it waits.
            (Some(item), Order::Lanes(lanes))
                if item.delivery.is_held() && lanes.head(before.lane) != Some(before.id.seq) =>
            {
                lanes.holds_later(item);
            }
            (Some(item), _) => self.put_back(item),
            (None, _) => self.ended(before),
        }
    }

    /// A delivery was not sent: it waits as it did.
    pub(super) fn put_back(&mut self, item: Item) {
        let waits = match (&mut self.order, item.delivery.place) {
            (_, Place::Manual { .. } | Place::Due(_)) => Some(item),
            (Order::Lanes(lanes), Place::Lane { .. } | Place::Ready) => lanes.put_back(item),
            (Order::Unordered(classes), Place::Ready | Place::Lane { .. }) => {
                classes.put_back(item);
                None
            }
        };
        if let Some(waits) = waits {
            self.waits(waits);
        }
    }

    /// The row of a delivery is gone.
    fn ended(&mut self, delivery: &Delivery) {
        let (Order::Lanes(lanes), Place::Lane { .. }) = (&mut self.order, delivery.place) else { return };
        let (lane, seq) = (delivery.lane, delivery.id.seq);
        if !lanes.knows(lane) {
            return lanes.look_again();
        }
        if lanes.head(lane) != Some(seq) {
            return lanes.remove_behind(lane, seq);
        }
        let next = lanes.head_ended(lane, seq);
        self.lane_needs(lane, next);
    }

    /// Somebody else ended a delivery: a person called it off, or a manual try succeeded.
    pub(super) fn removed(&mut self, delivery: &Delivery) {
        let seq = delivery.id.seq;
        self.loads.changed(delivery);
        self.due.remove_scheduled(seq);
        match &mut self.order {
            Order::Unordered(classes) => classes.remove(delivery),
            Order::Lanes(_) => self.ended(delivery),
        }
    }

    /// The head of a held lane begins its next life in its place.
    pub(super) fn revived(&mut self, delivery: Delivery) {
        self.loads.changed(&delivery);
        let Order::Lanes(lanes) = &mut self.order else { return };
        if lanes.is_held(delivery.lane, delivery.id.seq) {
            if let Some(waits) = lanes.revive(Item { delivery, event: None }) {
                self.waits(waits);
            }
        } else {
            lanes.remove_behind(delivery.lane, delivery.id.seq);
            lanes.look_again();
        }
    }

    /// A person wants this one tried.
    pub(super) fn resent(&mut self, delivery: Delivery) {
        self.waits(Item { delivery, event: None });
    }

    /// Keeps no copy of these: in memory now, or in an answer that may have been read before.
    pub(super) fn expunge(&mut self, events: &BTreeSet<EventId>) {
        self.loads.distrust_events();
        let forget = |item: &mut Item| drop(item.event.take_if(|event| events.contains(&event.id)));
        self.due.iter_mut().for_each(forget);
        match &mut self.order {
            Order::Unordered(classes) => classes.iter_mut().for_each(forget),
            Order::Lanes(lanes) => lanes.iter_mut().for_each(forget),
        }
    }

    /// Asks for what is missing.
    /// `with_events`: they will be needed soon.
    pub(super) fn fill(&mut self, with_events: bool) {
        self.event_bytes = if with_events { self.limits.event_bytes } else { 0 };
        let after = match &self.order {
            Order::Unordered(classes) => classes.read_after(self.tail),
            Order::Lanes(_) => None,
        };
        if let Some((ask, room)) = after
            && !self.loads.has(|ask| matches!(ask, Ask::Ready(_)))
        {
            self.want(ask, room);
        }
        if self.indexed
            && !self.loads.has(|ask| matches!(ask, Ask::Urgent(_)))
            && let Order::Lanes(lanes) = &mut self.order
            && let Some((after, room)) = lanes.seek_urgent()
        {
            self.want(Ask::Urgent(after), room);
        }
        if !self.loads.has(|ask| matches!(ask, Ask::Lanes(_)))
            && let Order::Lanes(lanes) = &mut self.order
            && let Some((after, room)) = lanes.rotate()
        {
            self.want(Ask::Lanes(after), room);
        }
        if !self.loads.has(|ask| matches!(ask, Ask::Due(_)))
            && let Some(after) = self.due.read_after()
        {
            self.due.reading();
            self.want(Ask::Due(after), self.limits.waiting_deliveries.get());
        }
    }

    /// Reads that were asked for and not given out yet.
    pub(super) fn wanted(&mut self) -> impl Iterator<Item = (LoadId, Ask, WindowShare)> + '_ {
        self.wanted.drain(..)
    }

    fn lane_needs(&mut self, lane: LaneId, next: Next) {
        match next {
            Next::Nothing | Next::Left => {}
            Next::Read(after) => self.read_lane(lane, after),
        }
    }

    fn read_lane(&mut self, lane: LaneId, after: Seq) {
        let id = self.want(Ask::Lane(lane, after), LANE_ROWS);
        if let Order::Lanes(lanes) = &mut self.order {
            lanes.reading(lane, id, after);
        }
    }

    fn want(&mut self, ask: Ask, rows: usize) -> LoadId {
        let id = self.loads.issue(ask, self.tail);
        let rows = NonZeroUsize::new(rows).unwrap_or(NonZeroUsize::MIN);
        self.wanted.push((id, ask, WindowShare { rows, event_bytes: self.event_bytes, at_hand: None }));
        id
    }

    /// Whether another delivery waits, or may wait, behind the end of this one.
    pub(super) fn has_successor(&self, delivery: &Delivery) -> bool {
        match (&self.order, delivery.place) {
            (Order::Lanes(lanes), Place::Lane { .. }) => lanes.has_successor(delivery.lane),
            (Order::Unordered(_) | Order::Lanes(_), _) => false,
        }
    }

    /// Which delivery of its lane goes first, if it is known.
    pub(super) fn head_of(&self, delivery: &Delivery) -> Option<Seq> {
        match (&self.order, delivery.place) {
            (Order::Lanes(lanes), Place::Lane { .. }) => lanes.head(delivery.lane),
            (Order::Unordered(_) | Order::Lanes(_), _) => None,
        }
    }

    /// Nothing is being read or has to be.
    pub(super) fn is_settled(&self) -> bool {
        self.loads.is_empty() && self.wanted.is_empty()
    }

    pub(super) const fn is_laned(&self) -> bool {
        match self.order {
            Order::Unordered(_) => false,
            Order::Lanes(_) => true,
        }
    }

    /// None of a class that was never attempted lies before these positions, as far as this knows; in flight ones aside.
    pub(super) fn heads(&self) -> PerPriority<Seq> {
        match &self.order {
            Order::Unordered(classes) => classes.heads(),
            Order::Lanes(_) => PerPriority::default(),
        }
    }

    /// When the first that is not due yet will be.
    pub(super) fn next_due_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.due.next_after(now)
    }

    /// When the first is due, in the past or not.
    pub(super) fn first_due(&self) -> Option<Timestamp> {
        self.due.first()
    }

    /// When the oldest life in memory began.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let due = self.due.iter().filter(|item| !item.is_manual()).map(|item| item.delivery.since).min();
        let ready = match &self.order {
            Order::Unordered(classes) => classes.firsts().map(|item| item.delivery.since).min(),
            Order::Lanes(lanes) => lanes.firsts().map(|item| item.delivery.since).min(),
        };
        [due, ready].into_iter().flatten().min()
    }

    pub(super) const fn tail(&self) -> Option<Seq> {
        self.tail
    }

    pub(super) fn ready(&self) -> usize {
        match &self.order {
            Order::Unordered(classes) => classes.len(),
            Order::Lanes(lanes) => lanes.ready(),
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.due.len()
    }

    pub(super) fn lanes(&self) -> usize {
        match &self.order {
            Order::Unordered(_) => 0,
            Order::Lanes(lanes) => lanes.len(),
        }
    }

    pub(super) fn is_outlived(&self) -> bool {
        self.loads.is_outlived()
    }

    pub(super) fn loads(&self) -> usize {
        self.loads.len()
    }
}

/// Whether a nudge told of everything since the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It was heard already, or read.
    Before,
    /// It directly follows.
    InOrder,
    /// Something lies between that was not heard.
    AfterAGap,
}
