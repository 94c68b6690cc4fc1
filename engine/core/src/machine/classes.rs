//! `Concurrent`: deliveries that were never attempted, a window of its own for each class, so that what is less urgent
//! fills none of a higher one.

use super::{
    loads::Load,
    queue::Item,
    unordered::{News, Unordered},
};
use crate::{Ask, Delivery, Nudge, PerPriority, Place, Priority, Seq};

/// Deliveries that were never attempted.
#[derive(Debug)]
pub(super) struct Classes(PerPriority<Unordered>);

/// Where a read ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadTo {
    /// The last row of each class in the picture.
    last: PerPriority<Option<Seq>>,
    /// The class of the last row of all.
    end: Option<Priority>,
}

impl ReadTo {
    pub(super) fn of<'r>(rows: impl Iterator<Item = &'r Delivery>) -> Self {
        let mut read = Self { last: PerPriority::default(), end: None };
        for row in rows {
            read.last[row.priority] = Some(row.id.seq);
            read.end = Some(row.priority);
        }
        read
    }
}

impl ReadTo {
    /// The furthest position in the picture.
    pub(super) fn last(&self) -> Option<Seq> {
        self.last.iter().filter_map(|(_, last)| *last).max()
    }
}

impl Classes {
    pub(super) fn new(limit: usize) -> Self {
        Self(PerPriority::from_fn(|_| Unordered::new(limit)))
    }

    /// Nothing of a class lies before its head.
    pub(super) fn begin_at(&mut self, heads: &PerPriority<Seq>) {
        for (priority, class) in self.0.iter_mut() {
            class.begin_at(heads[priority]);
        }
    }

    /// A nudge without its delivery is one of any class: each has to read.
    pub(super) fn nudged(&mut self, nudge: Nudge) {
        let (previous, seq) = (nudge.previous, nudge.seq);
        let Some((delivery, event)) = nudge.newest.filter(|(newest, _)| newest.place == Place::Ready) else { return };
        let of = delivery.priority;
        for (priority, class) in self.0.iter_mut() {
            if priority != of {
                class.nudged(previous, seq, News::Elsewhere);
            }
        }
        self.0[of].nudged(previous, seq, News::Here(Item { delivery, event }));
    }

    /// What to read, and how many rows of it, if a class has room and something to read.
    pub(super) fn read_after(&self, tail: Option<Seq>) -> Option<(Ask, usize)> {
        let after = PerPriority::from_fn(|priority| self.0[priority].read_after(tail));
        let asked = after.iter().filter(|(_, after)| after.is_some());
        let room = asked.map(|(priority, _)| self.0[priority].room()).min()?;
        Some((Ask::Ready(after), room))
    }

    /// What a read found and still stands, and where it ended.
    pub(super) fn read(&mut self, load: &Load, rows: Vec<Item>, to: ReadTo, is_last: bool) {
        let Ask::Ready(after) = load.ask else { return };
        for item in rows {
            let class = &mut self.0[item.delivery.priority];
            if !class.holds(item.delivery.id.seq) {
                class.read(item);
            }
        }
        // Whatever lies before a row that the picture has, or that was heard of, is in the picture, too.
        let seen = to.last().max(load.tail).unwrap_or_default();
        for (priority, class) in self.0.iter_mut().filter(|(priority, _)| after[*priority].is_some()) {
            if is_last || Some(priority) < to.end {
                class.has_read_to(seen, false);
            } else if Some(priority) == to.end {
                class.has_read_to(to.last[priority].unwrap_or_default(), true);
            }
        }
    }

    pub(super) fn put_back(&mut self, item: Item) {
        self.0[item.delivery.priority].put_back(item);
    }

    /// The first of this class.
    pub(super) fn take_first(&mut self, of: Priority, may_start: impl Fn(&Item) -> bool) -> Option<Item> {
        self.0[of].take_first(may_start)
    }

    pub(super) fn count(&self, at_most: usize, may_start: impl Fn(&Item) -> bool) -> usize {
        self.0.iter().fold(0, |count, (_, class)| count + class.count(at_most - count, &may_start))
    }

    pub(super) fn remove(&mut self, delivery: &Delivery) {
        self.0[delivery.priority].remove(delivery.id.seq);
    }

    /// Removes those that match, from the first of each class on, as long as they do.
    pub(super) fn take_leading(&mut self, matches: impl Fn(&Item) -> bool) -> Vec<Item> {
        self.0.iter_mut().flat_map(|(_, class)| class.take_leading(&matches)).collect()
    }

    /// No row of a class lies before its head, as far as this knows.
    pub(super) fn heads(&self) -> PerPriority<Seq> {
        PerPriority::from_fn(|priority| self.0[priority].head())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.0.iter().flat_map(|(_, class)| class.iter())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        self.0.iter_mut().flat_map(|(_, class)| class.iter_mut())
    }

    /// Whether every row is in memory, or in flight.
    pub(super) fn is_whole(&self, tail: Option<Seq>) -> bool {
        self.0.iter().all(|(_, class)| class.is_whole(tail))
    }

    /// The first of each class.
    pub(super) fn firsts(&self) -> impl Iterator<Item = &Item> {
        self.0.iter().filter_map(|(_, class)| class.first())
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|(_, class)| class.len()).sum()
    }
}
