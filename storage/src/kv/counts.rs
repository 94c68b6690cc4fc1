//! How many deliveries wait at each endpoint, as the only writer knows it: what decides whether a queue is full.
//!
//! Counts are not stored. A row of its own would be one more to write with every publish and every end, or would drift
//! from what it counts; here a change costs one look into memory, and a queue is counted from its rows when something is
//! first added to it. That is done a piece at a time, a bounded number of rows a commit, so that nobody waits behind a
//! million of them: until it is through, a count is of the rows up to the last one that was read, and changes before that
//! row are added to it, those behind it are met later. So a count is exact or too small, never too large: after an opening
//! a queue of more rows than one piece may grow a little over its limit before it is known to be full.

use std::{
    collections::{HashMap, HashSet},
    num::{NonZeroU32, NonZeroUsize},
};

use postrider_core::{
    Batch, Delivery, EndpointId, Generation, Guard, LaneId, Place, Priority, Recipient, Seq, Space, Write,
};

use super::{
    Partition, Snapshot,
    keys::{self, Key, table},
    rows,
    view::View,
};
use crate::StoreError;

/// Rows that are counted in one commit.
const COUNTED_AT_ONCE: usize = 8 * 1024;
/// Rows read at once.
const READ_AT_ONCE: usize = 256;
/// Endpoints in the younger half; there are at most twice as many in all, some 80 bytes each. Whoever is forgotten is
/// counted anew.
const ENDPOINTS_MAX: usize = 64 * 1024;

/// How many deliveries wait at each endpoint. Manual tries do not count.
#[derive(Debug, Default)]
pub(super) struct Counts {
    young: HashMap<EndpointId, Count>,
    old: HashMap<EndpointId, Count>,
    /// What the batch that is being applied changed.
    changed: Vec<(EndpointId, i64)>,
}

#[derive(Clone, Debug)]
struct Count {
    generation: Generation,
    queued: i64,
    /// The last row that was read; none if all were. Waiting rows lie before ready ones.
    read_to: Option<Vec<u8>>,
}

impl Counts {
    /// Reads what is not counted yet of the queues to which this group adds. Before anything of the group is applied: a
    /// snapshot shows nothing of it.
    pub(super) fn prepare(&mut self, snapshot: &dyn Snapshot, group: &[Batch]) -> Result<(), StoreError> {
        let mut left = COUNTED_AT_ONCE;
        let mut seen = HashSet::new();
        for (endpoint, generation) in group.iter().flat_map(grows) {
            if left == 0 || !seen.insert(endpoint) {
                continue;
            }
            let mut count = match self.take(endpoint) {
                Some(count) if count.generation == generation => count,
                Some(_) | None => Count::before_everything(endpoint, generation),
            };
            count.go_on(View::new(snapshot, &[]), endpoint, &mut left)?;
            self.put(endpoint, count);
        }
        Ok(())
    }

    /// A batch begins.
    pub(super) fn begin(&mut self) {
        self.changed.clear();
    }

    /// The batch was refused.
    pub(super) fn roll_back(&mut self) {
        for (endpoint, by) in std::mem::take(&mut self.changed) {
            if let Some(count) = self.known(endpoint) {
                count.queued -= by;
            }
        }
    }

    /// A delivery waits that did not.
    pub(super) fn added(&mut self, delivery: &Delivery) {
        self.change(delivery, 1);
    }

    /// A delivery does not wait any more.
    pub(super) fn removed(&mut self, delivery: &Delivery) {
        self.change(delivery, -1);
    }

    /// Whether as many wait as may, as far as they are counted.
    pub(super) fn is_full(&mut self, endpoint: EndpointId, generation: Generation, limit: NonZeroU32) -> bool {
        !self.has_space(endpoint, generation, Space { added: 1, limit })
    }

    /// Whether so many more may wait, as far as they are counted.
    pub(super) fn has_space(&mut self, endpoint: EndpointId, generation: Generation, space: Space) -> bool {
        let count = self.known(endpoint).filter(|count| count.generation == generation);
        count.is_none_or(|count| count.queued + i64::from(space.added) <= i64::from(space.limit.get()))
    }

    /// The endpoint is gone. If that is refused after all, it is counted anew.
    pub(super) fn forget(&mut self, endpoint: EndpointId) {
        self.young.remove(&endpoint);
        self.old.remove(&endpoint);
    }

    fn change(&mut self, delivery: &Delivery, by: i64) {
        match delivery.place {
            Place::Manual { .. } => return,
            Place::Ready | Place::Due(_) | Place::Lane { .. } => {}
        }
        let endpoint = delivery.id.endpoint;
        let Some(count) = self.known(endpoint).filter(|count| count.generation == delivery.generation) else { return };
        if count.read_to.as_ref().is_none_or(|read_to| Key::of(delivery).bytes() <= *read_to) {
            count.queued += by;
            self.changed.push((endpoint, by));
        }
    }

    fn known(&mut self, endpoint: EndpointId) -> Option<&mut Count> {
        if !self.young.contains_key(&endpoint) {
            let count = self.old.remove(&endpoint)?;
            self.put(endpoint, count);
        }
        self.young.get_mut(&endpoint)
    }

    fn take(&mut self, endpoint: EndpointId) -> Option<Count> {
        self.young.remove(&endpoint).or_else(|| self.old.remove(&endpoint))
    }

    fn put(&mut self, endpoint: EndpointId, count: Count) {
        if self.young.len() >= ENDPOINTS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(endpoint, count);
    }
}

impl Count {
    fn before_everything(of: EndpointId, generation: Generation) -> Self {
        Self { generation, queued: 0, read_to: Some(keys::queue(table::DUE, of, generation)) }
    }

    /// Counts on, at most `left` rows.
    fn go_on(&mut self, view: View<'_>, of: EndpointId, left: &mut usize) -> Result<(), StoreError> {
        for part in [table::DUE, table::READY] {
            let prefix = keys::queue(part, of, self.generation);
            let end = keys::end_of(&prefix);
            let Some(mut from) = self.read_to.as_deref().map(keys::after).filter(|from| *from < end) else { continue };
            if from < prefix {
                from = self.beginning(view, of)?;
            }
            loop {
                let Some(limit) = NonZeroUsize::new((*left).min(READ_AT_ONCE)) else { return Ok(()) };
                let rows = view.scan(Partition::LASTING, &from, &end, limit)?;
                *left -= rows.len();
                let waits = |(key, value): &&(bytes::Bytes, bytes::Bytes)| {
                    part == table::READY || is_delivery(of, self.generation, &key[prefix.len()..], value)
                };
                self.queued += i64::try_from(rows.iter().filter(waits).count()).unwrap_or_default();
                if let Some((last, _)) = rows.last() {
                    from = keys::after(last);
                    self.read_to = Some(last.to_vec());
                }
                if rows.len() < limit.get() {
                    break;
                }
            }
        }
        self.read_to = None;
        Ok(())
    }

    /// Where ready rows begin: not among the many that ended.
    fn beginning(&self, view: View<'_>, of: EndpointId) -> Result<Vec<u8>, StoreError> {
        let head = match view.soft(of) {
            Ok(soft) => soft.heads[Priority::Normal],
            // It says where to begin, no more.
            Err(error) if error.kind() == crate::StoreErrorKind::Corrupt => Seq::default(),
            Err(error) => return Err(error),
        };
        Ok(Key::Ready(of, self.generation, LaneId::WHOLE, head).bytes())
    }
}

/// Endpoints to whose queue a batch adds.
fn grows(batch: &Batch) -> impl Iterator<Item = (EndpointId, Generation)> + '_ {
    let written = batch.writes.iter().flat_map(|write| {
        let (recipients, replayed): (&[Recipient], _) = match write {
            Write::Accept(acceptance) => (&acceptance.recipients, None),
            // Without a limit a guard asks for its space.
            Write::Replay(replay) => (&[], replay.limit.map(|_| (replay.endpoint, replay.generation))),
            Write::Outcome(_)
            | Write::Redrive(..)
            | Write::Resend(_)
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
        recipients.iter().map(|to| (to.endpoint, to.generation)).chain(replayed)
    });
    let guarded = batch.guards.iter().filter_map(|guard| match guard {
        Guard::Room(letter, generation, _) => Some((letter.endpoint, *generation)),
        Guard::Space(endpoint, generation, _) => Some((*endpoint, *generation)),
        Guard::Routing(..) | Guard::Generation(..) | Guard::Stands(_) => None,
        Guard::Revision(..) | Guard::Document(..) => None,
    });
    written.chain(guarded)
}

/// Whether a row among those that wait for a time is a delivery of its own, and not what finds one, or a manual try. One
/// that cannot be read is counted by nobody.
fn is_delivery(of: EndpointId, generation: Generation, suffix: &[u8], value: &[u8]) -> bool {
    rows::decode_due(of, generation, suffix, value).is_ok_and(|row| matches!(row.place, Place::Due(_)))
}
