//! Counts the rows of one queue, a bounded number of them at a time.

use std::num::NonZeroUsize;

use postrider_core::{EndpointId, Generation, LaneId, Place, Seq};

use crate::{
    StoreError, StoreErrorKind,
    kv::{
        Direction, Partition,
        keys::{self, Key, table},
        rows::{self, QueueRow},
        starts::Start,
        view::View,
        waiting::QUEUE_MAX,
    },
};

/// Rows read at once.
const READ_AT_ONCE: usize = 256;

/// Queues with rows, in the order of their endpoints.
#[derive(Debug)]
pub(in crate::kv) struct NextQueues {
    pub(super) queues: Vec<(EndpointId, Generation)>,
    /// There are no more of them.
    pub(super) are_all: bool,
}

impl NextQueues {
    /// Those after this endpoint, at most so many; a seek in each table for each of them.
    pub(super) fn read(
        view: View<'_>,
        mut after: Option<EndpointId>,
        queues_max: NonZeroUsize,
    ) -> Result<Self, StoreError> {
        let mut queues = Vec::new();
        for _ in 0..queues_max.get() {
            let Some(next) = next_endpoint(view, after)? else { return Ok(Self { queues, are_all: true }) };
            let generation = match view.get::<QueueRow>(&Key::Queue(next)) {
                Ok(row) => row.map_or(Generation(0), |row| row.generation),
                // A person must look; what cannot be delivered to is counted as empty.
                Err(error) if error.kind() == StoreErrorKind::Corrupt => Generation(0),
                Err(error) => return Err(error),
            };
            queues.push((next, generation));
            after = Some(next);
        }
        Ok(Self { queues, are_all: false })
    }
}

/// The first endpoint with rows after this one.
fn next_endpoint(view: View<'_>, after: Option<EndpointId>) -> Result<Option<EndpointId>, StoreError> {
    let mut next = None::<EndpointId>;
    for table in [table::READY, table::DUE] {
        let from = after.map_or_else(|| keys::all(table), |last| keys::end_of(&keys::under(table, last.to_bytes())));
        let found = view.scan(Partition::LASTING, &from, &keys::end_of(&[table]), NonZeroUsize::MIN)?;
        let id = found.first().and_then(|(key, _)| keys::Suffix(key.get(1..)?).id()).map(EndpointId::from_bytes);
        next = [next, id].into_iter().flatten().min();
    }
    Ok(next)
}

/// What was found of a queue.
pub(super) struct Found {
    pub(super) rows: u64,
    /// All rows were read.
    pub(super) is_whole: bool,
    /// There are some that make no sense.
    pub(super) is_damaged: bool,
    /// Where the rows lie that were read in lanes, as far as these are few.
    pub(super) lanes: Vec<(LaneId, Seq)>,
}

/// Counts the deliveries behind the last row that was read, at most `left` rows.
pub(super) fn count_rows(
    view: View<'_>,
    (of, generation): (EndpointId, Generation),
    start: Start,
    read_to: &mut Vec<u8>,
    left: &mut usize,
) -> Result<Found, StoreError> {
    let (mut counted, mut is_damaged, mut lanes) = (0, false, Vec::new());
    let start = beginning(view, of, start)?;
    for part in [table::DUE, table::READY] {
        let prefix = keys::queue(part, of, generation);
        let begin = if part == table::READY { prefix.clone() } else { start.of_due(&prefix) };
        let (mut from, end) = (keys::after(read_to).max(begin), keys::end_of(&prefix));
        loop {
            let Some(limit) = NonZeroUsize::new((*left).min(READ_AT_ONCE)) else {
                return Ok(Found { rows: counted, is_whole: false, is_damaged, lanes });
            };
            let rows = match part {
                table::READY => view.scan_lanes(&start, &prefix, (&from, &end), Direction::Forward, limit)?,
                _ => view.scan(Partition::LASTING, &from, &end, limit)?,
            };
            *left -= rows.len();
            for (key, value) in &rows {
                let suffix = &key[prefix.len()..];
                let waits = match part {
                    table::READY => place(suffix).map(|place| {
                        if lanes.len() <= QUEUE_MAX {
                            lanes.push(place);
                        }
                        true
                    }),
                    _ => is_delivery(of, generation, suffix, value),
                };
                counted += u64::from(waits == Some(true));
                is_damaged |= waits.is_none();
            }
            if let Some((last, _)) = rows.last() {
                from = keys::after(last);
                *read_to = last.to_vec();
            }
            if rows.len() < limit.get() {
                break;
            }
        }
    }
    Ok(Found { rows: counted, is_whole: true, is_damaged, lanes })
}

/// Where a row lies in its lane; none if its key makes no sense.
pub(super) fn place(suffix: &[u8]) -> Option<(LaneId, Seq)> {
    let mut suffix = keys::Suffix(suffix);
    Some((LaneId(suffix.u64()?), Seq(suffix.u64()?)))
}

/// Where its rows begin: not among the many that ended.
fn beginning(view: View<'_>, of: EndpointId, start: Start) -> Result<Start, StoreError> {
    match view.soft(of) {
        Ok(soft) => Ok(start.with_heads(&soft.heads)),
        // It says where to begin, no more.
        Err(error) if error.kind() == StoreErrorKind::Corrupt => Ok(start),
        Err(error) => Err(error),
    }
}

/// Whether a row among those that wait for a time is a delivery of its own, and not what finds one. None if it makes no
/// sense: nobody can count it, and nobody may take its queue for an empty one.
fn is_delivery(of: EndpointId, generation: Generation, suffix: &[u8], value: &[u8]) -> Option<bool> {
    let row = rows::decode_due(of, generation, suffix, value).ok()?;
    Some(match row.place {
        Place::Due(_) | Place::Manual { .. } => true,
        Place::Ready | Place::Lane { .. } => false,
    })
}
