//! Which lanes are in memory, and how the others are found: by a rotation over all of them, and, before it has come round, by
//! what the store knows to be urgent. Where there is no room, what is less urgent leaves.

use super::{super::queue::Item, Lanes};
use crate::{LaneId, Priority};

/// What is known of lanes outside memory.
#[derive(Debug)]
pub(super) struct Search {
    rotation: Rotation,
    /// They may have a head that could start: another rotation is needed.
    left_out: bool,
    /// They may have a head that waits or is held.
    asleep: bool,
    urgent: Urgent,
    /// They may have something urgent that nobody has seen.
    urgent_left_out: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rotation {
    Idle,
    /// Read up to this lane; and whether a lane was left asleep outside memory meanwhile.
    At(Option<LaneId>, bool),
}

/// A walk over the lanes that have something urgent in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgent {
    Idle,
    /// Read up to this lane.
    At(Option<LaneId>),
}

/// There is no room for another lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) struct Full;

impl Search {
    pub(super) const fn new() -> Self {
        let (rotation, urgent) = (Rotation::Idle, Urgent::Idle);
        Self { rotation, left_out: true, asleep: false, urgent, urgent_left_out: true }
    }
}

impl Lanes {
    /// A head that was found in the store, of a lane that is not in memory. Gives it back if it waits for a time, to be put
    /// among the due rows.
    pub(in crate::machine) fn found(&mut self, item: Item) -> Result<Option<Item>, Full> {
        if item.delivery.is_held() && !self.has_room_for_held() {
            self.sleeps_outside();
            return Ok(None);
        }
        // Those that wait have a bound of their own, among the due rows.
        if self.room() == 0 && item.delivery.due().is_none() && !self.make_room(item.delivery.priority) {
            return Err(Full);
        }
        Ok(self.put_head(item.delivery.lane, item, true))
    }

    /// Something was added somewhere, and nobody knows where.
    pub(in crate::machine) fn missed_something(&mut self) {
        self.lanes.values_mut().for_each(|lane| lane.more = true);
        self.look_again();
    }

    /// Somebody changed a lane that is not in memory, or a head that is needed was found nowhere: look at all again.
    pub(in crate::machine) const fn look_again(&mut self) {
        self.search.left_out = true;
        self.search.urgent_left_out = true;
    }

    /// There is no room for a lane, whose head, or what was added to it, is of this class; none if that is not known.
    pub(super) fn leave_out(&mut self, of: Option<Priority>) {
        self.search.left_out = true;
        self.search.urgent_left_out |= of.is_none_or(|of| of == Priority::High);
    }

    pub(super) const fn has_room_for_held(&self) -> bool {
        self.held < self.lanes_max / 2
    }

    /// A head that waits, or holds its lane, had to leave memory, and its lane with it.
    pub(in crate::machine) fn evict(&mut self, lane: LaneId) {
        if let Some(known) = self.lanes.remove(&lane) {
            self.deliveries -= known.behind.len();
        }
        self.sleeps_outside();
    }

    /// Has the last of the heads that could start leave memory, its lane with it, for one of a higher class.
    pub(super) fn make_room(&mut self, of: Priority) -> bool {
        let Some((last, _, lane)) = self.startable.last().copied().filter(|(last, ..)| of < *last) else {
            return false;
        };
        self.startable.pop_last();
        if let Some(known) = self.lanes.remove(&lane) {
            self.deliveries -= 1 + known.behind.len();
        }
        self.leave_out(Some(last));
        true
    }

    pub(super) const fn sleeps_outside(&mut self) {
        self.search.asleep = true;
        if let Rotation::At(_, asleep) = &mut self.search.rotation {
            *asleep = true;
        }
    }

    /// After which lane to read on, and how many, if a rotation is needed and there is room for what it finds.
    pub(in crate::machine) fn rotate(&mut self) -> Option<(Option<LaneId>, usize)> {
        let room = self.room();
        if room < (self.lanes_max / 4).max(1) {
            return None;
        }
        match self.search.rotation {
            Rotation::Idle if !self.search.left_out => None,
            Rotation::Idle => {
                self.search.left_out = false;
                self.search.rotation = Rotation::At(None, false);
                Some((None, room))
            }
            Rotation::At(after, _) => Some((after, room)),
        }
    }

    /// How far the rotation has come.
    pub(in crate::machine) const fn rotated_to(&mut self, lane: LaneId) {
        if let Rotation::At(after, _) = &mut self.search.rotation {
            *after = Some(lane);
        }
    }

    /// The rotation has seen every lane.
    pub(in crate::machine) const fn rotated(&mut self) {
        if let Rotation::At(_, asleep) = self.search.rotation {
            self.search.asleep = asleep;
        }
        self.search.rotation = Rotation::Idle;
    }

    /// After which lane to look for something urgent, and how many, if there may be any and those that are in memory leave
    /// room for it.
    pub(in crate::machine) fn seek_urgent(&mut self) -> Option<(Option<LaneId>, usize)> {
        if self.search.urgent == Urgent::Idle && !self.search.urgent_left_out {
            return None;
        }
        let urgent = self.class(Priority::High).count();
        let room = self.lanes_max.saturating_sub(urgent + self.reading);
        if room < (self.lanes_max / 4).max(1) {
            return None;
        }
        match self.search.urgent {
            Urgent::Idle => {
                self.search.urgent_left_out = false;
                self.search.urgent = Urgent::At(None);
                Some((None, room))
            }
            Urgent::At(after) => Some((after, room)),
        }
    }

    /// How far the look for something urgent has come.
    pub(in crate::machine) const fn sought_to(&mut self, lane: LaneId) {
        self.search.urgent = Urgent::At(Some(lane));
    }

    /// Every lane with something urgent in it was seen.
    pub(in crate::machine) const fn sought(&mut self) {
        self.search.urgent = Urgent::Idle;
    }

    /// Lanes that may still be taken in. Those that wait, hold or are in flight have bounds of their own.
    pub(super) fn room(&self) -> usize {
        self.lanes_max.saturating_sub(self.startable.len() + self.reading)
    }

    /// Whether a lane that is not in memory has no rows.
    pub(super) const fn is_certain(&self) -> bool {
        !self.search.left_out && !self.search.asleep && matches!(self.search.rotation, Rotation::Idle)
    }
}
