//! Counts queues beside the commits: which is next, what was read of it, and what commits changed meanwhile.
//!
//! ```text
//!   begin            look                       note
//!   between commits  in one picture,            between commits
//!                    commits go on
//!   ├────────────────┼──────────────────────────┤
//!   read to ───── rows that are read ─────▶ read to there
//!             + what came or went among them meanwhile
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use foldhash::HashMap;
use postrider_core::{EndpointId, Generation, More};

use super::{
    Counts, NextQueues, add,
    known::{Count, Known, Queues, Reach},
    reading::{self, Found, count_rows},
};
use crate::{
    StoreError, StoreErrorKind,
    kv::{
        Snapshot,
        keys::{self, Key, table},
        rows::QueueRow,
        starts::Start,
        view::View,
        waiting::{Change, QUEUE_MAX},
    },
};

/// Which queues are to be counted, and how far those are that were begun.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// The next ones in the order of their ids.
    ahead: VecDeque<(EndpointId, Generation)>,
    /// There are none behind them.
    are_all: bool,
    /// Those that were added to before their turn, and those that were begun: a piece of each in turn.
    unfinished: VecDeque<EndpointId>,
    /// The last row that was read of them. Waiting rows lie before ready ones.
    read_to: HashMap<EndpointId, Vec<u8>>,
    in_hand: Option<InHand>,
}

/// The piece that is being read.
#[derive(Debug)]
struct InHand {
    mark: Mark,
    of: EndpointId,
    /// By their keys, rows that came since it was begun and are there, and rows that are not there any more: behind what
    /// was read before. Those that came and went again cancel out.
    changes: BTreeMap<Vec<u8>, i64>,
}

/// A piece is told from every other one by the place of this in memory, and whether somebody reads it by who else has it.
type Mark = Arc<u8>;

/// A piece of a queue that is to be read.
#[derive(Debug)]
pub(in crate::kv) struct Piece {
    mark: Mark,
    of: EndpointId,
    generation: Generation,
    start: Start,
    /// The last row that was read before; none if this is the first piece.
    read_to: Option<Vec<u8>>,
}

/// A piece that was read.
pub(in crate::kv) struct Looked {
    piece: Piece,
    found: Found,
    read_to: Vec<u8>,
}

impl Beside {
    /// Something is added to a queue that is not counted to its end.
    pub(super) fn wants(&mut self, of: EndpointId, queues: &Queues) {
        if !queues.counts.contains_key(&of) {
            self.unfinished.push_back(of);
        }
    }

    /// It is known how much waits there: nothing more of it is to be read.
    pub(super) fn is_known(&mut self, of: EndpointId) {
        if !self.read_to.is_empty() {
            self.read_to.remove(&of);
        }
        self.in_hand.take_if(|in_hand| in_hand.of == of);
    }

    /// Whether a row of this queue is among those that were read.
    pub(super) fn has_read(&self, of: EndpointId, key: &[u8]) -> bool {
        self.read_to.get(&of).is_some_and(|read_to| key <= &read_to[..])
    }

    pub(super) fn is_reading(&self, of: EndpointId) -> bool {
        self.in_hand.as_ref().is_some_and(|in_hand| in_hand.of == of)
    }

    /// A row that was not read before came to the queue in hand, or went.
    pub(super) fn changed(&mut self, key: Vec<u8>, by: i64) {
        let Some(in_hand) = &mut self.in_hand else { return };
        let changed = in_hand.changes.get(&key).copied().unwrap_or(0) + by;
        match changed {
            0 => drop(in_hand.changes.remove(&key)),
            _ => drop(in_hand.changes.insert(key, changed)),
        }
    }
}

impl Counts {
    /// Whether the next queues are to be looked for.
    pub(in crate::kv) fn needs_queues(&self) -> bool {
        let Beside { ahead, are_all, unfinished, in_hand, .. } = &self.beside;
        ahead.is_empty() && unfinished.is_empty() && in_hand.is_none() && !are_all
    }

    /// These are the next ones.
    pub(in crate::kv) fn come(&mut self, next: NextQueues) {
        if self.needs_queues() {
            (self.beside.ahead, self.beside.are_all) = (next.queues.into(), next.are_all);
        }
    }

    /// The queue whose first row will be looked for.
    pub(in crate::kv) fn next(&self) -> Option<(EndpointId, Generation)> {
        let Beside { ahead, unfinished, read_to, .. } = &self.beside;
        let Some(of) = unfinished.front() else { return ahead.front().copied() };
        let queues = self.known.queues();
        let count = queues.counts.get(of).filter(|_| !read_to.contains_key(of));
        count.map(|count| (*of, count.generation))
    }

    /// Begins the next piece, of which this shows the rows: what is written from here on is not in it. None if there is
    /// nothing to be read, or somebody reads already.
    pub(in crate::kv) fn begin_piece(&mut self, snapshot: &dyn Snapshot) -> Result<Option<Piece>, StoreError> {
        let Self { known, beside, .. } = self;
        if beside.in_hand.as_ref().is_some_and(|in_hand| Arc::strong_count(&in_hand.mark) > 1) {
            return Ok(None);
        }
        // Whoever read it failed.
        beside.unfinished.extend(beside.in_hand.take().map(|in_hand| in_hand.of));
        let Some((of, Count { generation, .. })) = next_unfinished(known, beside, snapshot)? else { return Ok(None) };
        let mark = Mark::default();
        beside.in_hand = Some(InHand { mark: Arc::clone(&mark), of, changes: BTreeMap::new() });
        let (start, read_to) = (known.start(of, generation), beside.read_to.get(&of).cloned());
        Ok(Some(Piece { mark, of, generation, start, read_to }))
    }

    /// Adds what was read to what is known.
    pub(in crate::kv) fn note(&mut self, Looked { piece, found, read_to }: Looked) {
        let Self { known, beside, .. } = self;
        let Some(in_hand) = beside.in_hand.take_if(|in_hand| Arc::ptr_eq(&in_hand.mark, &piece.mark)) else { return };
        let mut queues = known.queues();
        let is_open = |count: &Count| !count.is_whole && count.generation == piece.generation;
        let Some(count) = queues.counts.get(&piece.of).copied().filter(is_open) else { return };
        let Found { rows, is_whole, is_damaged, .. } = found;
        let changes = in_hand.changes.iter().filter(|(key, _)| is_whole || **key <= read_to);
        let queued = (count.queued + rows).saturating_add_signed(changes.map(|(_, by)| by).sum());
        let is_damaged = count.is_damaged || is_damaged;
        let counted = Count { queued, is_whole, is_damaged, ..count };
        add(&mut queues.found, counted.since(count.at_least()));
        if is_whole {
            beside.read_to.remove(&piece.of);
            let is_first = piece.read_to.is_none() && !is_damaged;
            for change in is_first.then(|| few(&piece, &found, &in_hand.changes)).into_iter().flatten().flatten() {
                queues.few.change(change);
            }
        } else {
            beside.read_to.insert(piece.of, read_to);
            beside.unfinished.push_back(piece.of);
        }
        queues.put(piece.of, Some(counted));
    }

    /// Whether there is more to be counted.
    pub(in crate::kv) fn more(&self) -> More {
        let Beside { unfinished, in_hand, .. } = &self.beside;
        let is_through = unfinished.is_empty() && in_hand.is_none() && self.known.queues().reach == Reach::All;
        if is_through { More::No } else { More::Yes }
    }
}

impl Piece {
    /// Reads it, at most `left` rows.
    pub(in crate::kv) fn look(self, snapshot: &dyn Snapshot, left: &mut usize) -> Result<Looked, StoreError> {
        let before = || keys::queue(table::DUE, self.of, self.generation);
        let mut read_to = self.read_to.clone().unwrap_or_else(before);
        let view = View::new(snapshot, &[]);
        let found = count_rows(view, (self.of, self.generation), self.start.clone(), &mut read_to, left)?;
        Ok(Looked { piece: self, found, read_to })
    }
}

/// The next queue that is not counted to its end: first those that were begun, then those whose turn it is.
fn next_unfinished(
    known: &Known,
    beside: &mut Beside,
    snapshot: &dyn Snapshot,
) -> Result<Option<(EndpointId, Count)>, StoreError> {
    let unfinished = |of: EndpointId| known.queues().counts.get(&of).copied().filter(|count| !count.is_whole);
    while let Some(of) = beside.unfinished.pop_front() {
        if let Some(count) = unfinished(of) {
            return Ok(Some((of, count)));
        }
    }
    while let Some((of, _)) = beside.ahead.front().copied() {
        let row = match View::new(snapshot, &[]).get::<QueueRow>(&Key::Queue(of)) {
            Ok(row) => row,
            // A person must look; what cannot be delivered to is counted as empty.
            Err(error) if error.kind() == StoreErrorKind::Corrupt => None,
            Err(error) => return Err(error),
        };
        beside.ahead.pop_front();
        known.queues().has_turn(of, row.map(|row| Count::begun(row.application, row.generation)));
        if let Some(count) = unfinished(of) {
            return Ok(Some((of, count)));
        }
    }
    if beside.are_all {
        known.queues().had_all_turns();
    }
    Ok(None)
}

/// What waits in lanes, if it is few.
fn few(piece: &Piece, found: &Found, changes: &BTreeMap<Vec<u8>, i64>) -> Option<Vec<Change>> {
    let (of, generation) = (piece.of, piece.generation);
    if found.lanes.len() > QUEUE_MAX {
        return None;
    }
    let mut places: BTreeSet<_> = found.lanes.iter().copied().collect();
    let prefix = keys::queue(table::READY, of, generation);
    for (key, by) in changes {
        let Some(place) = key.strip_prefix(&prefix[..]).and_then(reading::place) else { continue };
        let _was_there = if *by > 0 { places.insert(place) } else { places.remove(&place) };
    }
    let is_worth_it = places.len() <= QUEUE_MAX && places.iter().any(|(lane, _)| lane.is_keyed());
    let added = |place| Change::Added { of, generation, place };
    is_worth_it.then(|| std::iter::once(Change::Begins(of, generation)).chain(places.into_iter().map(added)).collect())
}
