//! What a machine asks of the store, and what it is told: a bounded part of an endpoint's queue.

use std::{num::NonZeroUsize, sync::Arc};

use crate::{Delivery, EventId, LaneId, PerPriority, Seq, SoftState, StoredEvent, Timestamp};

/// What to read. Each has its own order, so that nothing starves behind what cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// What a restart must not forgive.
    Soft,
    /// `Concurrent`: never attempted in this life, of each class after this position, class after class, in order; none of
    /// a class without a position. So if there are more, those of the last row's class and of the classes behind it are
    /// not all read.
    Ready(PerPriority<Option<Seq>>),
    /// Failed before, or manual: after this due time and position, soonest first. In `PerKey` these are the heads of
    /// lanes that wait; in `Fifo` manual ones only.
    Due(DueKey),
    /// `PerKey`, `Fifo`: the heads of the lanes after this one, in lane order, one seek a lane.
    Lanes(Option<LaneId>),
    /// `PerKey`: the heads of those lanes after this one in which something of the highest class waits that was never
    /// attempted, be it the head or not.
    Urgent(Option<LaneId>),
    /// The deliveries of this lane after this position, in order.
    Lane(LaneId, Seq),
    /// Whatever is too old: lives that began by then, and manual tries asked for by then, after this row. Not those that
    /// hold their lane.
    Aged(Timestamp, AgedKey),
}

impl Ask {
    /// What was never attempted and lies after this position, of each class.
    pub fn ready_after(position: Seq) -> Self {
        Self::Ready(PerPriority::from_fn(|_| Some(position)))
    }
}

/// Where a delivery stands among those that wait for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueKey {
    /// When it is due.
    pub at: Timestamp,
    /// Its position.
    pub seq: Seq,
}

impl DueKey {
    /// Before every other.
    pub const START: Self = Self { at: Timestamp::from_nanos(0), seq: Seq(0) };
    /// After every other.
    pub const END: Self = Self { at: Timestamp::MAX, seq: Seq::MAX };
}

/// Where a search for what is too old stands: those that wait for a time come first, then those in lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgedKey {
    /// Before every other.
    Start,
    /// After those that are due then, at this position.
    Due(DueKey),
    /// After this position in this lane.
    Lane(LaneId, Seq),
}

/// The store's answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// To [`Ask::Soft`].
    Soft(SoftState),
    /// To [`Ask::Aged`].
    Aged(Aged),
    /// To the others.
    Rows(Rows),
}

/// Rows of a queue, as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// In the order of what was asked, each with its event if that was cheap to have.
    pub rows: Vec<(Delivery, Option<Arc<StoredEvent>>)>,
    /// Nothing else matched at that moment.
    pub is_last: bool,
}

impl Rows {
    /// Gives this event to those of its deliveries that have none. Says whether there were any.
    pub fn bring(&mut self, event: &Arc<StoredEvent>) -> bool {
        let lacking = self.rows.iter_mut().filter(|(delivery, found)| delivery.event == event.id && found.is_none());
        lacking.map(|(_, found)| *found = Some(Arc::clone(event))).count() > 0
    }
}

/// What is too old, among the rows that were looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aged {
    /// They are.
    pub rows: Vec<Delivery>,
    /// When the oldest of the others began.
    pub oldest: Option<Timestamp>,
    /// How many rows were looked at, about: what it cost.
    pub looked_at: usize,
    /// Where to go on; none if that was all.
    pub next: Option<AgedKey>,
}

/// How much of a queue is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowShare {
    /// At most so many rows.
    pub rows: NonZeroUsize,
    /// Events are read along with their rows until they have so many payload bytes.
    pub event_bytes: usize,
    /// This one is in memory, and is not read.
    pub at_hand: Option<EventId>,
}
