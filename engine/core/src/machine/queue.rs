//! What is in memory of an endpoint's queue, and what has to be read: the only place that knows cursors.

mod aged;

use std::sync::Arc;

use super::{
    WindowLimits,
    due::{self, DueRows},
    lanes::{Lanes, Next, Nudged},
    loads::{Load, Loads},
    startable::Startable,
    unordered::Unordered,
};
use crate::{
    Ask, Delivery, DueKey, Endpoint, LaneId, LoadId, Nudge, OrderingMode, Place, Rows, Seq, StoredEvent, Timestamp,
    WindowShare,
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
    Unordered(Unordered),
    Lanes(Lanes),
}

impl Queue {
    pub(super) fn new(endpoint: &Endpoint, limits: WindowLimits, tail: Option<Seq>) -> Self {
        let (ready, lanes) = (limits.ready_deliveries.get(), limits.lanes.get());
        let (order, indexed) = match endpoint.policy.ordering {
            OrderingMode::Concurrent => (Order::Unordered(Unordered::new(ready)), true),
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

    /// Nothing of lane 0 lies before this position.
    pub(super) const fn begin_at(&mut self, head: Seq) {
        if let Order::Unordered(ready) = &mut self.order {
            ready.begin_at(head);
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
            Order::Unordered(ready) => ready.nudged(nudge, |nudge| {
                let (delivery, event) = nudge.newest?;
                matches!(delivery.place, Place::Ready).then_some(Item { delivery, event })
            }),
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

    /// The answer to a read. `in_flight` knows what was started.
    pub(super) fn loaded(&mut self, id: LoadId, found: Rows, in_flight: impl Fn(&Item) -> bool) {
        let Some(load) = self.loads.answered(id) else { return };
        let Rows { rows, is_last } = found;
        let last = rows.last().map(|(delivery, _)| delivery.clone());
        let rows: Vec<_> = rows.into_iter().map(|(delivery, event)| Item { delivery, event }).collect();
        // Of a lane all must stand as it was read: without a row that changed, or is being ended, another one would seem
        // to be the head.
        let whole = rows.iter().all(|item| self.loads.shows(&load, &item.delivery) && !in_flight(item));
        if let (Order::Lanes(lanes), Ask::Lanes(_)) = (&mut self.order, load.ask) {
            // Found too old while its lane was not in memory, and not ended yet: nothing of its lane may pass it.
            let ending = rows.iter().filter(|item| in_flight(item) && !item.is_manual());
            ending.for_each(|item| lanes.is_ending(item.delivery.lane, item.delivery.id.seq));
        }
        let fresh: Vec<Item> =
            rows.into_iter().filter(|item| self.loads.shows(&load, &item.delivery) && !in_flight(item)).collect();
        match load.ask {
            Ask::Soft | Ask::Aged(..) => {}
            Ask::Ready(_) => self.ready_read(&load, fresh, last.map(|last| last.id.seq), is_last),
            Ask::Due(_) => self.due_read(fresh, last, is_last),
            Ask::Lanes(_) => self.lanes_read(fresh, last.map(|last| last.lane), is_last),
            Ask::Lane(lane, _) if whole => self.lane_read(lane, id, fresh, is_last),
            Ask::Lane(lane, after) => self.read_lane_again(lane, id, after),
        }
        self.loads.prune();
    }

    /// The answer to the first read has come.
    pub(super) fn soft_read(&mut self, id: LoadId) {
        self.loads.answered(id);
        self.loads.prune();
    }

    fn ready_read(&mut self, load: &Load, rows: Vec<Item>, last: Option<Seq>, is_last: bool) {
        let Order::Unordered(ready) = &mut self.order else { return };
        for item in rows {
            if !ready.holds(item.delivery.id.seq) {
                ready.read(item);
            }
        }
        let seen = last.max(load.tail.filter(|_| is_last)).unwrap_or_default();
        ready.has_read_to(seen, !is_last);
        self.tail = self.tail.max(last);
    }

    fn due_read(&mut self, rows: Vec<Item>, last: Option<Delivery>, is_last: bool) {
        let end = last.and_then(|last| Some(DueKey { at: last.due()?, seq: last.id.seq }));
        let end = if is_last { DueKey::END } else { end.map_or(DueKey::START, due::after) };
        self.due.read_to(end);
        for item in rows {
            if self.due.holds(&item) {
                continue;
            }
            match &mut self.order {
                Order::Lanes(lanes) if !item.is_manual() => {
                    if lanes.knows(item.delivery.lane) {
                        continue;
                    }
                    match lanes.found(item) {
                        Ok(Some(waits)) => self.waits(waits),
                        Ok(None) => {}
                        Err(_full) => {
                            lanes.look_again();
                        }
                    }
                }
                Order::Lanes(_) | Order::Unordered(_) => self.waits(item),
            }
        }
    }

    fn lanes_read(&mut self, heads: Vec<Item>, last: Option<LaneId>, is_last: bool) {
        for item in heads {
            let Order::Lanes(lanes) = &mut self.order else { return };
            let lane = item.delivery.lane;
            if lanes.knows(lane) {
                continue;
            }
            match lanes.found(item) {
                Ok(Some(waits)) => self.waits(waits),
                Ok(None) => {}
                // Goes on from here when there is room again.
                Err(_full) => return,
            }
            if let Order::Lanes(lanes) = &mut self.order {
                lanes.rotated_to(lane);
            }
        }
        let Order::Lanes(lanes) = &mut self.order else { return };
        if let Some(last) = last {
            lanes.rotated_to(last);
        }
        if is_last {
            lanes.rotated();
        }
    }

    fn lane_read(&mut self, lane: LaneId, id: LoadId, rows: Vec<Item>, is_last: bool) {
        let Order::Lanes(lanes) = &mut self.order else { return };
        if !lanes.waits_for(lane, id) {
            return;
        }
        let (next, waits) = lanes.lane_read(lane, rows, is_last);
        if let Some(waits) = waits {
            self.waits(waits);
        }
        self.lane_needs(lane, next);
    }

    fn read_lane_again(&mut self, lane: LaneId, id: LoadId, after: Seq) {
        if let Order::Lanes(lanes) = &self.order
            && lanes.waits_for(lane, id)
        {
            self.read_lane(lane, after);
        }
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
            (Order::Unordered(ready), Place::Ready | Place::Lane { .. }) => {
                ready.put_back(item);
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
            Order::Unordered(ready) => drop(ready.remove(seq)),
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

    /// The next delivery to start, if one may; another than `avoided`, where there is one.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        avoided: Option<Seq>,
        may_start: impl Fn(&Delivery) -> bool,
    ) -> Option<Item> {
        let free = |item: &Item| may_start(&item.delivery);
        let other = |item: &Item| free(item) && Some(item.delivery.id.seq) != avoided;
        let item = self.take_if(now, other);
        if avoided.is_some() { item.or_else(|| self.take_if(now, free)) } else { item }
    }

    fn take_if(&mut self, now: Timestamp, may_start: impl Fn(&Item) -> bool) -> Option<Item> {
        if let Some(item) = self.due.take_due(now, &may_start) {
            if let (Order::Lanes(lanes), Place::Lane { .. }) = (&mut self.order, item.delivery.place) {
                lanes.starts(item.delivery.lane, item.delivery.id.seq);
            }
            return Some(item);
        }
        match &mut self.order {
            Order::Unordered(ready) => ready.take_first(may_start),
            Order::Lanes(lanes) => lanes.take_first(may_start),
        }
    }

    /// How many could start, counted up to `at_most`.
    pub(super) fn startable(&self, now: Timestamp, at_most: usize, may_start: &Startable<'_>) -> usize {
        let free = |item: &Item| may_start.has(&item.delivery);
        let due = self.due.count_due(now, at_most, free);
        let ready = match &self.order {
            // Tries by hand wait for a time, never here: nobody looks through a window of which nothing may start.
            _ if may_start.only_by_hand => 0,
            Order::Unordered(ready) => ready.count(at_most - due, free),
            Order::Lanes(lanes) => lanes.count(at_most - due, free),
        };
        due + ready
    }

    /// Takes out what will never be sent: too old, or named.
    pub(super) fn take_doomed(&mut self, now: Timestamp, doomed: impl Fn(&Delivery) -> bool) -> Vec<Item> {
        let is_doomed = |item: &Item| !item.is_manual() && doomed(&item.delivery);
        let mut taken = self.due.take_matching(now, is_doomed);
        match &mut self.order {
            Order::Unordered(ready) => taken.extend(ready.take_leading(is_doomed)),
            Order::Lanes(lanes) => {
                for item in &taken {
                    lanes.starts(item.delivery.lane, item.delivery.id.seq);
                }
                while let Some(item) = lanes.take_first(is_doomed) {
                    taken.push(item);
                }
            }
        }
        taken
    }

    /// Asks for what is missing.
    /// `with_events`: they will be needed soon.
    pub(super) fn fill(&mut self, with_events: bool) {
        self.event_bytes = if with_events { self.limits.event_bytes } else { 0 };
        let after = match &self.order {
            Order::Unordered(ready) => ready.read_after(self.tail).map(|after| (Ask::Ready(after), ready.room())),
            Order::Lanes(_) => None,
        };
        if let Some((ask, room)) = after
            && !self.loads.has(|ask| matches!(ask, Ask::Ready(_)))
        {
            self.want(ask, room);
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
        self.wanted.push((id, ask, WindowShare { rows, event_bytes: self.event_bytes }));
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

    /// No row of lane 0 lies before this position, as far as this knows; in flight ones aside.
    pub(super) fn head(&self) -> Seq {
        match &self.order {
            Order::Unordered(ready) => ready.head(),
            Order::Lanes(_) => Seq(0),
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
            Order::Unordered(ready) => ready.first(),
            Order::Lanes(lanes) => lanes.first(),
        };
        [due, ready.map(|item| item.delivery.since)].into_iter().flatten().min()
    }

    pub(super) const fn tail(&self) -> Option<Seq> {
        self.tail
    }

    pub(super) fn ready(&self) -> usize {
        match &self.order {
            Order::Unordered(ready) => ready.len(),
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
