//! What of a queue is too old, wherever it waits: found in the store, and taken out of memory if it is there.

use super::{Item, Order, Queue};
use crate::{AgedKey, Ask, Delivery, DueKey, LoadId, Place, Timestamp};

impl Queue {
    /// Asks for what began by then, from there on, so many at once.
    pub(in crate::machine) fn read_aged(&mut self, before: Timestamp, after: AgedKey, rows: usize) -> LoadId {
        self.want(Ask::Aged(before, after), rows)
    }

    /// The answer has come; none if nobody asked.
    pub(in crate::machine) fn aged_read(&mut self, id: LoadId) -> Option<()> {
        self.aged = Some(self.loads.answered(id)?);
        Some(())
    }

    /// Whether a delivery of the answer stands as it shows.
    pub(in crate::machine) fn shows(&self, delivery: &Delivery) -> bool {
        self.aged.as_ref().is_some_and(|load| self.loads.shows(load, delivery))
    }

    /// Nothing more of the answer is looked at.
    pub(in crate::machine) fn aged_used(&mut self) {
        self.aged = None;
        self.loads.prune();
    }

    /// This one is being ended: nothing may start it. At the head of its lane it keeps its place until its end is durable.
    pub(in crate::machine) fn take_aged(&mut self, delivery: &Delivery) {
        let seq = delivery.id.seq;
        match (&mut self.order, delivery.place) {
            (_, Place::Manual { at, .. }) => drop(self.due.remove(delivery.priority, DueKey { at, seq })),
            (_, Place::Due(_)) => drop(self.due.remove_scheduled(seq)),
            (Order::Unordered(classes), Place::Ready | Place::Lane { .. }) => classes.remove(delivery),
            (Order::Lanes(lanes), Place::Ready | Place::Lane { .. }) => {
                self.due.remove_scheduled(seq);
                lanes.ends(delivery.lane, seq);
            }
        }
    }

    /// Whether every row of the queue is in memory or in flight.
    pub(in crate::machine) fn is_whole(&self) -> bool {
        let order = match &self.order {
            Order::Unordered(classes) => classes.is_whole(self.tail),
            Order::Lanes(lanes) => lanes.is_whole(),
        };
        order && self.due.is_whole() && self.is_settled()
    }

    /// When the oldest life in memory began, at whatever place of the queue. One that holds its lane was given up.
    pub(in crate::machine) fn oldest_of_all(&self) -> Option<Timestamp> {
        let since = |item: &Item| item.delivery.since;
        let due = self.due.iter().map(since).min();
        let order = match &self.order {
            Order::Unordered(classes) => classes.iter().map(since).min(),
            Order::Lanes(lanes) => lanes.iter().map(since).min(),
        };
        [due, order].into_iter().flatten().min()
    }
}
