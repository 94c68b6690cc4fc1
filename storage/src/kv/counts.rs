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
//! After an opening all queues are counted from their rows, a bounded number of rows at a time, so that no commit waits
//! behind a million of them; one to which something is added before its turn is counted then. Until a queue is counted to
//! its end, its count is of the rows up to the last one that was read, and changes before that row are added to it, those
//! behind it are met later. So a count is exact or too small, never too large: after an opening a queue of more rows than
//! one piece may grow a little over its limit before it is known to be full.

mod known;
mod reading;

use std::{
    collections::HashSet,
    num::{NonZeroU32, NonZeroUsize},
};

use foldhash::{HashMap, HashMapExt};
use postrider_core::{
    ApplicationId, Batch, Delivery, DeliveryId, DueKey, EndpointId, Generation, Guard, LaneId, More, Queued, Recipient,
    Seq, Space, Write,
};

pub(super) use self::{known::Known, reading::NextQueues};
use self::{
    known::{Count, Queues, Reach},
    reading::{Found, count_rows},
};
use super::{
    Snapshot,
    keys::{self, Key, table},
    rows::QueueRow,
    view::View,
    waiting::{self, Change},
};
use crate::{StoreError, StoreErrorKind};

/// Rows that are counted in one commit.
const COUNTED_AT_ONCE: usize = 8 * 1024;

/// What the only writer knows of queues, and changes.
#[derive(Debug)]
pub(super) struct Counts {
    known: Known,
    reach: Reach,
    /// Queues that the group in hand changed, over those that are known; none: nothing waits there, or it is gone.
    group: HashMap<EndpointId, Option<Count>>,
    /// The last row that was read, of queues that are not read to their end. Waiting rows lie before ready ones.
    read_to: HashMap<EndpointId, Vec<u8>>,
    /// How the batch in hand found what it changed, newest last; the inner none: as it is known.
    undo: Vec<(EndpointId, Option<Option<Count>>)>,
    /// What the batch in hand changed, by application.
    changed: Vec<Queued>,
    /// What was found by reading, and is not reported yet.
    found: Vec<Queued>,
    /// Lanes of which the group in hand attempted the head, and where that stood or the next one stands at the earliest;
    /// and how many there were before the batch in hand.
    heads: (Vec<(EndpointId, LaneId, Seq)>, usize),
    /// What the group in hand put among those that wait for a time.
    due: Vec<(EndpointId, DueKey)>,
    /// What the group in hand changed in lanes; and how much of that was before the batch in hand.
    rows: (Vec<Change>, usize),
}

impl Counts {
    /// Of a store that was just opened: whatever was known before is not.
    pub(super) fn new(known: Known) -> Self {
        *known.queues() = Queues::default();
        Self {
            known,
            reach: Reach::None,
            group: HashMap::new(),
            read_to: HashMap::new(),
            undo: Vec::new(),
            changed: Vec::new(),
            found: Vec::new(),
            heads: (Vec::new(), 0),
            due: Vec::new(),
            rows: (Vec::new(), 0),
        }
    }

    /// Reads what is not counted yet of the queues to which this group adds. Before anything of the group is applied: a
    /// snapshot shows nothing of it.
    pub(super) fn prepare(&mut self, snapshot: &dyn Snapshot, group: &[Batch]) -> Result<(), StoreError> {
        if self.reach == Reach::All {
            return Ok(());
        }
        let (mut left, mut seen) = (COUNTED_AT_ONCE, HashSet::new());
        for endpoint in group.iter().flat_map(grows) {
            // Also where nothing of it can be counted now: it is known to be begun.
            if !self.reach.covers(endpoint) && seen.insert(endpoint) {
                self.count_queue(View::new(snapshot, &[]), endpoint, &mut left)?;
            }
        }
        Ok(())
    }

    /// Counts on: queues that were begun, then the next ones, at most so many rows. Between two groups.
    pub(super) fn go_on(
        &mut self,
        snapshot: &dyn Snapshot,
        next: &NextQueues,
        rows_max: NonZeroUsize,
    ) -> Result<More, StoreError> {
        let (view, mut left) = (View::new(snapshot, &[]), rows_max.get());
        // What was begun is brought to its end first: its rows may all be gone meanwhile.
        while let Some(begun) = self.read_to.keys().next().copied() {
            if !self.count_queue(view, begun, &mut left)? {
                return Ok(More::Yes);
            }
        }
        for (endpoint, _) in &next.queues {
            if self.reach.covers(*endpoint) {
                continue;
            }
            if left == 0 || !self.count_queue(view, *endpoint, &mut left)? {
                return Ok(More::Yes);
            }
            left = left.saturating_sub(1);
            self.reach = Reach::To(*endpoint);
        }
        if next.are_all {
            self.reach = Reach::All;
        }
        Ok(if self.reach == Reach::All { More::No } else { More::Yes })
    }

    /// A batch begins.
    pub(super) fn begin(&mut self) {
        self.undo.clear();
        self.changed.clear();
        self.heads.1 = self.heads.0.len();
        self.rows.1 = self.rows.0.len();
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
    }

    /// What the batch changed, and what was found by reading since the last report.
    pub(super) fn report(&mut self) -> Vec<Queued> {
        let mut changed = std::mem::take(&mut self.changed);
        self.found.drain(..).for_each(|found| add(&mut changed, found));
        changed.retain(|queued| queued.by != 0);
        changed
    }

    /// The group is written: readers see it.
    pub(super) fn publish(&mut self) {
        let mut queues = self.known.queues();
        for change in self.rows.0.drain(..) {
            queues.few.change(change);
        }
        for (endpoint, count) in self.group.drain() {
            if count.is_none_or(|count| count.is_whole) && !self.read_to.is_empty() {
                self.read_to.remove(&endpoint);
            }
            match count.filter(|count| !count.says_nothing() || !self.reach.covers(endpoint)) {
                Some(count) => drop(queues.counts.insert(endpoint, count)),
                None => {
                    queues.counts.remove(&endpoint);
                    queues.few.change(Change::Empty(endpoint));
                }
            }
        }
        for (endpoint, lane, seq) in self.heads.0.drain(..) {
            queues.starts.lane_begins(endpoint, lane, seq);
        }
        for (endpoint, key) in self.due.drain(..) {
            queues.starts.due_added(endpoint, key);
        }
        if queues.reach != self.reach {
            queues.reach = self.reach;
            if self.reach == Reach::All {
                queues.counts.retain(|_, count| !count.says_nothing());
            }
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
            (None, Some(application)) if self.reach.covers(endpoint) => Count::empty(application, generation),
            (None, _) => return,
        };
        if count.generation == generation && self.is_read(&count, delivery) {
            self.set(endpoint, Some(Count { queued: count.queued + 1, ..count }));
            add(&mut self.changed, Queued { application: count.application, by: 1 });
        }
    }

    /// A delivery does not wait any more.
    pub(super) fn removed(&mut self, delivery: &Delivery) {
        let endpoint = delivery.id.endpoint;
        self.rows.0.extend(Change::removed(delivery));
        let Some(count) = self.count(endpoint).filter(|count| count.generation == delivery.generation) else { return };
        if self.is_read(&count, delivery) {
            self.set(endpoint, Some(Count { queued: count.queued.saturating_sub(1), ..count }));
            add(&mut self.changed, Queued { application: count.application, by: -1 });
        }
    }

    /// There is a new endpoint, in whose queue there is nothing.
    pub(super) fn created(&mut self, endpoint: EndpointId, application: ApplicationId, generation: Generation) {
        if !self.reach.covers(endpoint) {
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
        let queued = count.map_or(0, |count| count.queued);
        queued.saturating_add(u64::from(space.added)) <= u64::from(space.limit.get())
    }

    /// Whether nothing waits in this queue; none if it is not counted to the end.
    pub(super) fn is_empty(&self, endpoint: EndpointId, generation: Generation) -> Option<bool> {
        self.says_empty(self.count(endpoint), endpoint, generation)
    }

    fn says_empty(&self, count: Option<Count>, endpoint: EndpointId, generation: Generation) -> Option<bool> {
        match count {
            Some(count) => (count.is_exact() && count.generation == generation).then_some(count.queued == 0),
            None => self.reach.covers(endpoint).then_some(true),
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
        let by = i64::try_from(count.queued).unwrap_or(i64::MAX);
        add(&mut self.changed, Queued { application: count.application, by: by.saturating_neg() });
        Some(count)
    }

    /// Whether a row is among those that were counted.
    fn is_read(&self, count: &Count, delivery: &Delivery) -> bool {
        if count.is_whole {
            return true;
        }
        let read_to = self.read_to.get(&delivery.id.endpoint);
        read_to.is_some_and(|read_to| Key::of(delivery).bytes() <= *read_to)
    }

    /// Counts a queue on, at most `left` rows. Says whether it is through.
    fn count_queue(&mut self, view: View<'_>, of: EndpointId, left: &mut usize) -> Result<bool, StoreError> {
        let count = match self.count(of) {
            Some(count) if count.is_whole => return Ok(true),
            Some(count) => count,
            None => {
                let row = match view.get::<QueueRow>(&Key::Queue(of)) {
                    Ok(Some(row)) => row,
                    Ok(None) => return Ok(true),
                    // A person must look; what cannot be delivered to is counted as empty.
                    Err(error) if error.kind() == StoreErrorKind::Corrupt => return Ok(true),
                    Err(error) => return Err(error),
                };
                let QueueRow { application, generation, .. } = row;
                Count { is_whole: false, ..Count::empty(application, generation) }
            }
        };
        let before = keys::queue(table::DUE, of, count.generation);
        let mut read_to = self.read_to.get(&of).cloned().unwrap_or(before);
        let start = self.known.start(of, count.generation);
        let is_begun = self.read_to.contains_key(&of);
        let found = count_rows(view, (of, count.generation), start, &mut read_to, left)?;
        let Found { rows, is_whole, is_damaged, lanes } = found;
        let is_known = is_whole && !is_begun && !is_damaged;
        if is_known && lanes.len() <= waiting::QUEUE_MAX && lanes.iter().any(|(lane, _)| lane.is_keyed()) {
            let (generation, begins) = (count.generation, Change::Begins(of, count.generation));
            let added = lanes.into_iter().map(|place| Change::Added { of, generation, place });
            self.rows.0.extend(std::iter::once(begins).chain(added));
        }
        if is_whole {
            self.read_to.remove(&of);
        } else {
            self.read_to.insert(of, read_to);
        }
        let (queued, is_damaged) = (count.queued + rows, count.is_damaged || is_damaged);
        self.group.insert(of, Some(Count { queued, is_whole, is_damaged, ..count }));
        let by = i64::try_from(rows).unwrap_or(i64::MAX);
        add(&mut self.found, Queued { application: count.application, by });
        Ok(is_whole)
    }
}

/// Changes of one application are one change.
fn add(to: &mut Vec<Queued>, change: Queued) {
    match to.iter_mut().find(|known| known.application == change.application) {
        Some(known) => known.by += change.by,
        None => to.push(change),
    }
}

/// Endpoints to whose queue a batch adds.
fn grows(batch: &Batch) -> impl Iterator<Item = EndpointId> + '_ {
    let written = batch.writes.iter().flat_map(|write| {
        let (recipients, added): (&[Recipient], _) = match write {
            Write::Accept(acceptance) => (&acceptance.recipients, None),
            Write::Replay(replay) => (&[], Some(replay.endpoint)),
            Write::Resend(resend) => (&[], Some(resend.endpoint)),
            Write::Redrive(letter, _) => (&[], Some(letter.endpoint)),
            Write::Outcome(_)
            | Write::Forget(_)
            | Write::Soft(..)
            | Write::Wake(..)
            | Write::Application(_)
            | Write::DropApplication(_)
            | Write::Endpoint(_)
            | Write::DropEndpoint(_)
            | Write::Purge(..)
            | Write::Clock(..)
            | Write::Document(_)
            | Write::DropDocument(_)
            | Write::Expunge(..)
            | Write::ExpungeResponse(_)
            | Write::Agenda(_)
            | Write::Rescue(..) => (&[], None),
        };
        recipients.iter().map(|to| to.endpoint).chain(added)
    });
    let guarded = batch.guards.iter().filter_map(|guard| match guard {
        Guard::Room(letter, ..) => Some(letter.endpoint),
        Guard::Space(endpoint, ..) => Some(*endpoint),
        Guard::Routing(..) | Guard::Generation(..) | Guard::Stands(_) => None,
        Guard::Revision(..) | Guard::Document(..) => None,
    });
    written.chain(guarded)
}
