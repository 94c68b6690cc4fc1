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

use std::{
    collections::HashSet,
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::{HashMap, HashMapExt};
use postrider_core::{
    ApplicationId, Batch, Delivery, EndpointId, Generation, Guard, LaneId, More, Place, Priority, Queued, Recipient,
    Seq, Space, Write,
};

use super::{
    Partition, Snapshot,
    keys::{self, Key, table},
    rows::{self, QueueRow},
    view::View,
};
use crate::{StoreError, StoreErrorKind};

/// Rows that are counted in one commit.
const COUNTED_AT_ONCE: usize = 8 * 1024;
/// Rows read at once.
const READ_AT_ONCE: usize = 256;

/// What is known of queues as they are written: shared by the writer, which alone changes it, and readers.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<Mutex<Queues>>);

#[derive(Debug, Default)]
struct Queues {
    /// Those in which something waits, and those that were counted before their turn, or not to their end.
    counts: HashMap<EndpointId, Count>,
    reach: Reach,
}

/// How much waits at one endpoint.
#[derive(Clone, Copy, Debug)]
struct Count {
    application: ApplicationId,
    generation: Generation,
    queued: u64,
    /// All its rows were read.
    is_whole: bool,
}

/// Which endpoints have had their turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reach {
    #[default]
    None,
    /// This one and all before it.
    To(EndpointId),
    All,
}

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
}

impl Known {
    /// How many wait in this queue; none if they are not counted to the end.
    pub(super) fn waiting(&self, of: EndpointId, generation: Generation) -> Option<u64> {
        let queues = self.queues();
        match queues.counts.get(&of) {
            Some(count) => (count.is_whole && count.generation == generation).then_some(count.queued),
            None => queues.reach.covers(of).then_some(0),
        }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reach {
    fn covers(self, endpoint: EndpointId) -> bool {
        match self {
            Self::None => false,
            Self::To(last) => endpoint <= last,
            Self::All => true,
        }
    }
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
            if left > 0 && !self.reach.covers(endpoint) && seen.insert(endpoint) {
                self.count_queue(View::new(snapshot, &[]), endpoint, &mut left)?;
            }
        }
        Ok(())
    }

    /// Counts on where it stopped, at most so many rows. Between two groups.
    pub(super) fn go_on(&mut self, snapshot: &dyn Snapshot, rows_max: NonZeroUsize) -> Result<More, StoreError> {
        let (view, mut left) = (View::new(snapshot, &[]), rows_max.get());
        loop {
            // What was begun is brought to its end first: its rows may all be gone meanwhile.
            let begun = self.read_to.keys().next().copied();
            let next = match begun {
                Some(begun) => Some(begun),
                None if self.reach == Reach::All => return Ok(More::No),
                None => self.next_endpoint(view)?,
            };
            let Some(fewer) = left.checked_sub(1) else { return Ok(More::Yes) };
            left = fewer;
            match next {
                Some(endpoint) if !self.count_queue(view, endpoint, &mut left)? => return Ok(More::Yes),
                Some(_) if begun.is_some() => {}
                Some(endpoint) => self.reach = Reach::To(endpoint),
                None => self.reach = Reach::All,
            }
        }
    }

    /// A batch begins.
    pub(super) fn begin(&mut self) {
        self.undo.clear();
        self.changed.clear();
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
        for (endpoint, count) in self.group.drain() {
            if count.is_none_or(|count| count.is_whole) && !self.read_to.is_empty() {
                self.read_to.remove(&endpoint);
            }
            match count.filter(|count| count.queued > 0 || !count.is_whole || !self.reach.covers(endpoint)) {
                Some(count) => drop(queues.counts.insert(endpoint, count)),
                None => drop(queues.counts.remove(&endpoint)),
            }
        }
        if queues.reach != self.reach {
            queues.reach = self.reach;
            if self.reach == Reach::All {
                queues.counts.retain(|_, count| count.queued > 0);
            }
        }
    }

    /// A delivery waits that did not. An owner is named unless it only moves.
    pub(super) fn added(&mut self, owner: Option<ApplicationId>, delivery: &Delivery) {
        let (endpoint, generation) = (delivery.id.endpoint, delivery.generation);
        let known = self.count(endpoint);
        let count = match (known, owner) {
            (Some(count), _) => count,
            (None, Some(application)) if self.reach.covers(endpoint) => {
                Count { application, generation, queued: 0, is_whole: true }
            }
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
        let Some(count) = self.count(endpoint).filter(|count| count.generation == delivery.generation) else { return };
        if self.is_read(&count, delivery) {
            self.set(endpoint, Some(Count { queued: count.queued.saturating_sub(1), ..count }));
            add(&mut self.changed, Queued { application: count.application, by: -1 });
        }
    }

    /// There is a new endpoint, in whose queue there is nothing.
    pub(super) fn created(&mut self, endpoint: EndpointId, application: ApplicationId, generation: Generation) {
        if !self.reach.covers(endpoint) {
            self.set(endpoint, Some(Count { application, generation, queued: 0, is_whole: true }));
        }
    }

    /// The queue was cut off: nothing waits there any more, in this generation.
    pub(super) fn cut_off(&mut self, endpoint: EndpointId, generation: Generation) {
        if let Some(count) = self.emptied(endpoint) {
            // Of what was cut off no row is met any more, and of the new generation there is none.
            self.set(endpoint, Some(Count { generation, queued: 0, is_whole: true, ..count }));
        }
    }

    /// The endpoint is gone, and its queue with it.
    pub(super) fn dropped(&mut self, endpoint: EndpointId) {
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
        match self.count(endpoint) {
            Some(count) => (count.is_whole && count.generation == generation).then_some(count.queued == 0),
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
                Count { application, generation, queued: 0, is_whole: false }
            }
        };
        let before = keys::queue(table::DUE, of, count.generation);
        let mut read_to = self.read_to.get(&of).cloned().unwrap_or(before);
        let Found { rows, is_whole } = count_rows(view, of, count.generation, &mut read_to, left)?;
        if is_whole {
            self.read_to.remove(&of);
        } else {
            self.read_to.insert(of, read_to);
        }
        self.group.insert(of, Some(Count { queued: count.queued + rows, is_whole, ..count }));
        let by = i64::try_from(rows).unwrap_or(i64::MAX);
        add(&mut self.found, Queued { application: count.application, by });
        Ok(is_whole)
    }

    /// The first endpoint with rows that had no turn yet.
    fn next_endpoint(&self, view: View<'_>) -> Result<Option<EndpointId>, StoreError> {
        let mut next = None::<EndpointId>;
        for table in [table::READY, table::DUE] {
            let from = match self.reach {
                Reach::None => keys::all(table),
                Reach::To(last) => keys::end_of(&keys::under(table, last.to_bytes())),
                Reach::All => return Ok(None),
            };
            let found = view.scan(Partition::LASTING, &from, &keys::end_of(&[table]), NonZeroUsize::MIN)?;
            let id = found.first().and_then(|(key, _)| keys::Suffix(key.get(1..)?).id());
            let id = id.map(EndpointId::from_bytes);
            next = [next, id].into_iter().flatten().min();
        }
        Ok(next)
    }
}

/// What was found of a queue.
struct Found {
    rows: u64,
    is_whole: bool,
}

/// Counts the deliveries behind the last row that was read, at most `left` rows.
fn count_rows(
    view: View<'_>,
    of: EndpointId,
    generation: Generation,
    read_to: &mut Vec<u8>,
    left: &mut usize,
) -> Result<Found, StoreError> {
    let mut counted = 0;
    for part in [table::DUE, table::READY] {
        let prefix = keys::queue(part, of, generation);
        let (mut from, end) = (keys::after(read_to), keys::end_of(&prefix));
        if from >= end {
            continue;
        }
        if from < prefix {
            from = beginning(view, of, generation)?;
        }
        loop {
            let Some(limit) = NonZeroUsize::new((*left).min(READ_AT_ONCE)) else {
                return Ok(Found { rows: counted, is_whole: false });
            };
            let rows = view.scan(Partition::LASTING, &from, &end, limit)?;
            *left -= rows.len();
            let waits = |(key, value): &&(bytes::Bytes, bytes::Bytes)| {
                part == table::READY || is_delivery(of, generation, &key[prefix.len()..], value)
            };
            counted += rows.iter().filter(waits).count() as u64;
            if let Some((last, _)) = rows.last() {
                from = keys::after(last);
                *read_to = last.to_vec();
            }
            if rows.len() < limit.get() {
                break;
            }
        }
    }
    Ok(Found { rows: counted, is_whole: true })
}

/// Where ready rows begin: not among the many that ended.
fn beginning(view: View<'_>, of: EndpointId, generation: Generation) -> Result<Vec<u8>, StoreError> {
    let head = match view.soft(of) {
        Ok(soft) => soft.heads[Priority::Normal],
        // It says where to begin, no more.
        Err(error) if error.kind() == StoreErrorKind::Corrupt => Seq::default(),
        Err(error) => return Err(error),
    };
    Ok(Key::Ready(of, generation, LaneId::WHOLE, head).bytes())
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

/// Whether a row among those that wait for a time is a delivery of its own, and not what finds one. One that cannot be
/// read is counted by nobody.
fn is_delivery(of: EndpointId, generation: Generation, suffix: &[u8], value: &[u8]) -> bool {
    rows::decode_due(of, generation, suffix, value).is_ok_and(|row| match row.place {
        Place::Due(_) | Place::Manual { .. } => true,
        Place::Ready | Place::Lane { .. } => false,
    })
}
