//! How many deliveries wait at each endpoint, as the only writer knows it: what decides whether a queue is full, and what
//! is shown of it.
//!
//! Counts are not stored. A row of its own would be one more to write with every publish and every end, or would drift
//! from what it counts; here every row that comes to a queue or goes from it changes the count, in one place, and nothing
//! else does. Queues that are empty take no memory.
//!
//! ```text
//!                 rows of endpoints, in the order of their ids
//!   ├──────── counted ────────┤─── not counted ───[one that is added to]──┤
//!    exact; none known: empty  ▲                    counted out of turn
//!                           reach
//! ```
//!
//! After an opening all queues are counted from their rows, beside the commits and a bounded number of rows at a time: no
//! commit reads a row for it, so none waits for a queue with a million rows, or the remains of as many. A queue to which
//! something is added before its turn is counted next. What is read of a queue is read in one picture, taken between two
//! commits; what commits change meanwhile behind the last row that was read is kept by its key, and added to what was
//! read as far as that came.
//!
//! Until a queue is counted to its end, it is known to hold as many as were counted so far, or as many as came since it was
//! first added to and did not go again, whichever is more. So a count is exact or too small, never too large. A limit is
//! judged by what is known: in the moments after an opening a queue may grow over its limit, by no more than comes to it
//! until it is counted, and never by as much again as it may hold.

mod beside;
mod known;
mod reading;

use std::num::NonZeroU32;

use foldhash::{HashMap, HashMapExt};
use postrider_core::{ApplicationId, Delivery, DeliveryId, DueKey, EndpointId, Generation, LaneId, Queued, Seq, Space};

use self::{
    beside::Beside,
    known::{Count, Queues, Reach},
};
pub(super) use self::{beside::Looked, known::Known, reading::NextQueues};
use super::{keys::Key, waiting::Change};

/// What the only writer knows of queues, and changes.
#[derive(Debug)]
pub(super) struct Counts {
    known: Known,
    /// Queues that the group in hand changed, over those that are known; none: nothing waits there, or it is gone.
    group: HashMap<EndpointId, Option<Count>>,
    /// What is counted beside the commits.
    beside: Beside,
    /// How the batch in hand found what it changed, newest last; the inner none: as it is known.
    undo: Vec<(EndpointId, Option<Option<Count>>)>,
    /// What the batch in hand changed, by application.
    changed: Vec<Queued>,
    /// Lanes of which the group in hand attempted the head, and where that stood or the next one stands at the earliest;
    /// and how many there were before the batch in hand.
    heads: (Vec<(EndpointId, LaneId, Seq)>, usize),
    /// What the group in hand put among those that wait for a time.
    due: Vec<(EndpointId, DueKey)>,
    /// What the group in hand changed in lanes; and how much of that was before the batch in hand.
    rows: (Vec<Change>, usize),
    /// Rows that it brought to the queue that is being read, or took from it, behind what was read; and so on.
    unread: (Vec<(Vec<u8>, i64)>, usize),
}

impl Counts {
    /// Of a store that was just opened: whatever was known before is not.
    pub(super) fn new(known: Known) -> Self {
        *known.queues() = Queues::default();
        Self {
            known,
            group: HashMap::new(),
            beside: Beside::default(),
            undo: Vec::new(),
            changed: Vec::new(),
            heads: (Vec::new(), 0),
            due: Vec::new(),
            rows: (Vec::new(), 0),
            unread: (Vec::new(), 0),
        }
    }

    /// A batch begins.
    pub(super) fn begin(&mut self) {
        self.undo.clear();
        self.changed.clear();
        self.heads.1 = self.heads.0.len();
        self.rows.1 = self.rows.0.len();
        self.unread.1 = self.unread.0.len();
    }

    /// The batch was refused.
    pub(super) fn roll_back(&mut self) {
        while let Some((endpoint, before)) = self.undo.pop() {
            match before {
                Some(before) => drop(self.group.insert(endpoint, before)),
                None => drop(self.group.remove(&endpoint)),
            }
        }
        self.changed.clear();
        self.heads.0.truncate(self.heads.1);
        self.rows.0.truncate(self.rows.1);
        self.unread.0.truncate(self.unread.1);
    }

    /// What the batch changed.
    pub(super) fn report(&mut self) -> Vec<Queued> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|queued| queued.by != 0);
        changed
    }

    /// The group is written: readers see it.
    pub(super) fn publish(&mut self) {
        let mut queues = self.known.queues();
        for change in self.rows.0.drain(..) {
            queues.few.change(change);
        }
        for (key, by) in self.unread.0.drain(..) {
            self.beside.changed(key, by);
        }
        for (endpoint, count) in self.group.drain() {
            match count {
                Some(count) if !count.is_whole => self.beside.wants(endpoint, &queues),
                Some(_) | None => self.beside.is_known(endpoint),
            }
            queues.put(endpoint, count);
        }
        for (endpoint, lane, seq) in self.heads.0.drain(..) {
            queues.starts.lane_begins(endpoint, lane, seq);
        }
        for (endpoint, key) in self.due.drain(..) {
            queues.starts.due_added(endpoint, key);
        }
    }

    /// A delivery waits that did not. An owner is named unless it only moves.
    pub(super) fn added(&mut self, owner: Option<ApplicationId>, delivery: &Delivery) {
        let (endpoint, generation) = (delivery.id.endpoint, delivery.generation);
        if let Some(at) = delivery.due() {
            self.due.push((endpoint, DueKey { at, seq: delivery.id.seq }));
        }
        let known = self.count(endpoint);
        let is_first = self.says_empty(known, endpoint, generation) == Some(true);
        self.rows.0.extend(Change::added(delivery, is_first));
        let count = match (known, owner) {
            (Some(count), _) => count,
            (None, Some(application)) if self.reach().covers(endpoint) => Count::empty(application, generation),
            (None, Some(application)) => Count::begun(application, generation),
            (None, None) => return,
        };
        self.changed(count, delivery, 1);
    }

    /// A delivery does not wait any more.
    pub(super) fn removed(&mut self, delivery: &Delivery) {
        self.rows.0.extend(Change::removed(delivery));
        if let Some(count) = self.count(delivery.id.endpoint) {
            self.changed(count, delivery, -1);
        }
    }

    fn changed(&mut self, count: Count, delivery: &Delivery, by: i64) {
        let endpoint = delivery.id.endpoint;
        if count.generation != delivery.generation {
            return;
        }
        let is_read = count.is_whole || {
            let key = Key::of(delivery).bytes();
            let is_read = self.beside.has_read(endpoint, &key);
            if !is_read && self.beside.is_reading(endpoint) {
                self.unread.0.push((key, by));
            }
            is_read
        };
        let changed = count.changed(by, is_read);
        self.set(endpoint, Some(changed));
        add(&mut self.changed, changed.since(count.at_least()));
    }

    /// There is a new endpoint, in whose queue there is nothing.
    pub(super) fn created(&mut self, endpoint: EndpointId, application: ApplicationId, generation: Generation) {
        if !self.reach().covers(endpoint) {
            self.set(endpoint, Some(Count::empty(application, generation)));
        }
    }

    /// The head of a lane was attempted: nothing of that lane lies before it, or before what follows if it is gone.
    pub(super) fn attempted(&mut self, before: &Delivery, is_gone: bool) {
        let DeliveryId { endpoint, seq } = before.id;
        self.heads.0.push((endpoint, before.lane, if is_gone { seq.next() } else { seq }));
    }

    /// The queue was cut off: nothing waits there any more, in this generation.
    pub(super) fn cut_off(&mut self, endpoint: EndpointId, generation: Generation) {
        self.rows.0.push(Change::Empty(endpoint));
        if let Some(count) = self.emptied(endpoint) {
            // Of what was cut off no row is met any more, and of the new generation there is none.
            self.set(endpoint, Some(Count::empty(count.application, generation)));
        }
    }

    /// The endpoint is gone, and its queue with it.
    pub(super) fn dropped(&mut self, endpoint: EndpointId) {
        self.rows.0.push(Change::Empty(endpoint));
        if self.emptied(endpoint).is_some() {
            self.set(endpoint, None);
        }
    }

    /// Whether as many wait as may, as far as they are counted.
    pub(super) fn is_full(&self, endpoint: EndpointId, generation: Generation, limit: NonZeroU32) -> bool {
        !self.has_space(endpoint, generation, Space { added: 1, limit })
    }

    /// Whether so many more may wait, as far as they are counted.
    pub(super) fn has_space(&self, endpoint: EndpointId, generation: Generation, space: Space) -> bool {
        let count = self.count(endpoint).filter(|count| count.generation == generation);
        let queued = count.map_or(0, |count| count.at_least());
        queued.saturating_add(u64::from(space.added)) <= u64::from(space.limit.get())
    }

    /// Whether nothing waits in this queue; none if that is not known.
    pub(super) fn is_empty(&self, endpoint: EndpointId, generation: Generation) -> Option<bool> {
        self.says_empty(self.count(endpoint), endpoint, generation)
    }

    fn says_empty(&self, count: Option<Count>, endpoint: EndpointId, generation: Generation) -> Option<bool> {
        match count {
            Some(count) if count.generation != generation => None,
            Some(count) => (count.is_exact() || count.at_least() > 0).then(|| count.at_least() == 0),
            None => self.reach().covers(endpoint).then_some(true),
        }
    }

    fn count(&self, endpoint: EndpointId) -> Option<Count> {
        match self.group.get(&endpoint) {
            Some(count) => *count,
            None => self.known.queues().counts.get(&endpoint).copied(),
        }
    }

    fn set(&mut self, endpoint: EndpointId, count: Option<Count>) {
        let before = self.group.insert(endpoint, count);
        self.undo.push((endpoint, before));
    }

    fn emptied(&mut self, endpoint: EndpointId) -> Option<Count> {
        let count = self.count(endpoint)?;
        let nothing = Count::empty(count.application, count.generation);
        add(&mut self.changed, nothing.since(count.at_least()));
        Some(count)
    }

    fn reach(&self) -> Reach {
        self.known.queues().reach
    }
}

/// Changes of one application are one change.
fn add(to: &mut Vec<Queued>, change: Queued) {
    match to.iter_mut().find(|known| known.application == change.application) {
        Some(known) => known.by += change.by,
        None => to.push(change),
    }
}
