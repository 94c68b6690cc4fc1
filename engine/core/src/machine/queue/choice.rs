//! Which delivery is next: of the highest class that has one, first what waited for its time, then the first in its order.

use super::{Item, Order, Queue};
use crate::{Delivery, Place, Priority, Seq, Timestamp, machine::startable::Startable};

impl Queue {
    /// The next delivery to start, if one may: of the highest class that has one. Another than `avoided`, where there is one.
    pub(in crate::machine) fn take(
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
        Priority::ALL.into_iter().find_map(|of| self.take_of(of, now, &may_start))
    }

    fn take_of(&mut self, of: Priority, now: Timestamp, may_start: impl Fn(&Item) -> bool) -> Option<Item> {
        if let Some(item) = self.due.take_due(of, now, &may_start) {
            if let (Order::Lanes(lanes), Place::Lane { .. }) = (&mut self.order, item.delivery.place) {
                lanes.starts(item.delivery.lane, item.delivery.id.seq);
            }
            return Some(item);
        }
        match &mut self.order {
            Order::Unordered(classes) => classes.take_first(of, may_start),
            Order::Lanes(lanes) => lanes.take_first(of, may_start),
        }
    }

    /// How many could start, counted up to `at_most`.
    pub(in crate::machine) fn startable(&self, now: Timestamp, at_most: usize, may_start: &Startable<'_>) -> usize {
        let free = |item: &Item| may_start.has(&item.delivery);
        let due = self.due.count_due(now, at_most, free);
        let ready = match &self.order {
            // Tries by hand wait for a time, never here: nobody looks through a window of which nothing may start.
            _ if may_start.only_by_hand => 0,
            Order::Unordered(classes) => classes.count(at_most - due, free),
            Order::Lanes(lanes) => lanes.count(at_most - due, free),
        };
        due + ready
    }

    /// Takes out what will never be sent: too old, or named.
    pub(in crate::machine) fn take_doomed(&mut self, now: Timestamp, doomed: impl Fn(&Delivery) -> bool) -> Vec<Item> {
        let is_doomed = |item: &Item| !item.is_manual() && doomed(&item.delivery);
        let mut taken = self.due.take_matching(now, is_doomed);
        match &mut self.order {
            Order::Unordered(classes) => taken.extend(classes.take_leading(is_doomed)),
            Order::Lanes(lanes) => {
                for item in &taken {
                    lanes.starts(item.delivery.lane, item.delivery.id.seq);
                }
                for of in Priority::ALL {
                    while let Some(item) = lanes.take_first(of, is_doomed) {
                        taken.push(item);
                    }
                }
            }
        }
        taken
    }
}
