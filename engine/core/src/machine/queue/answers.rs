//! What reads answer, and how much of it is taken for true.

use super::{Item, Order, Queue};
use crate::{
    Ask, Delivery, DueKey, LaneId, LoadId, Priority, Rows, Seq,
    machine::{classes::ReadTo, due, loads::Load},
};

impl Queue {
    /// The answer to a read. `in_flight` knows what was started.
    pub(in crate::machine) fn loaded(&mut self, id: LoadId, found: Rows, in_flight: impl Fn(&Item) -> bool) {
        let Some(load) = self.loads.answered(id) else { return };
        let Rows { rows, is_last } = found;
        let last = rows.last().map(|(delivery, _)| delivery.clone());
        let read_to = ReadTo::of(rows.iter().map(|(delivery, _)| delivery));
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(delivery, event)| Item { delivery, event: event.filter(|_| load.events_hold(&self.loads)) })
            .collect();
        // Of a lane all must stand as it was read: without a row that changed, or is being ended, another one would seem
        // to be the head.
        let whole = rows.iter().all(|item| self.loads.shows(&load, &item.delivery) && !in_flight(item));
        if let (Order::Lanes(lanes), Ask::Lanes(_) | Ask::Urgent(_)) = (&mut self.order, load.ask) {
            // Found too old while its lane was not in memory, and not ended yet: nothing of its lane may pass it.
            let ending = rows.iter().filter(|item| in_flight(item) && !item.is_manual());
            ending.for_each(|item| lanes.is_ending(item.delivery.lane, item.delivery.id.seq));
        }
        let fresh: Vec<Item> =
            rows.into_iter().filter(|item| self.loads.shows(&load, &item.delivery) && !in_flight(item)).collect();
        match load.ask {
            Ask::Soft | Ask::Aged(..) => {}
            Ask::Ready(_) => self.ready_read(&load, fresh, read_to, is_last),
            Ask::Due(_) => self.due_read(fresh, last, is_last),
            Ask::Lanes(_) => self.lanes_read(fresh, last.map(|last| last.lane), is_last),
            Ask::Urgent(_) => self.urgent_read(fresh, last.map(|last| last.lane), is_last),
            Ask::Lane(lane, _) if whole => self.lane_read(lane, id, fresh, is_last),
            Ask::Lane(lane, after) => self.read_lane_again(lane, id, after),
        }
        self.loads.prune();
    }

    /// The answer to the first read has come.
    pub(in crate::machine) fn soft_read(&mut self, id: LoadId) {
        self.loads.answered(id);
        self.loads.prune();
    }

    fn ready_read(&mut self, load: &Load, rows: Vec<Item>, to: ReadTo, is_last: bool) {
        let Order::Unordered(classes) = &mut self.order else { return };
        classes.read(load, rows, to, is_last);
        self.tail = self.tail.max(to.last());
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

    /// A head that is not urgent itself, and for which there is no room, is found by the rotation.
    fn urgent_read(&mut self, heads: Vec<Item>, last: Option<LaneId>, is_last: bool) {
        for item in heads {
            let Order::Lanes(lanes) = &mut self.order else { return };
            let (lane, priority) = (item.delivery.lane, item.delivery.priority);
            if lanes.knows(lane) {
                continue;
            }
            match lanes.found(item) {
                Ok(Some(waits)) => self.waits(waits),
                Ok(None) => {}
                Err(_full) if priority == Priority::High => return,
                Err(_full) => {}
            }
            if let Order::Lanes(lanes) = &mut self.order {
                lanes.sought_to(lane);
            }
        }
        let Order::Lanes(lanes) = &mut self.order else { return };
        match last.filter(|_| !is_last) {
            Some(last) => lanes.sought_to(last),
            None => lanes.sought(),
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
}
