//! Where the rows of queues begin: before that lie only the remains of rows that were deleted.
//!
//! A store on disk steps over such remains one by one until it has compacted them away, and a queue that moved on a
//! million times has a million of them in front. So where a queue begins is kept, and reads begin there. It is in memory,
//! for queues that move; what is not known costs steps, and never a row. What is known comes from
//!
//! | rows | why nothing lies before |
//! |---|---|
//! | of a lane | only its head is attempted, and positions are drawn in order: what is added comes behind |
//! | of a class, without order | the soft state says so, and is stored with the outcomes that it speaks of |
//! | that wait for a time | who read from the start found this one first; what is added before it lowers the bound |
//! | of lanes with a key each | all that wait are known, because they are few ([`waiting`](super::waiting)) |

use std::collections::BTreeMap;

use foldhash::{HashMap, HashMapExt};
use postrider_core::{DueKey, EndpointId, Generation, LaneId, PerPriority, Seq};

use super::waiting::Waiting;

/// Lanes in the younger half; there are at most twice as many in all.
const LANES_MAX: usize = 32 * 1024;
/// A lane that moved on less often has too few remains for a read to jump over them.
const WORTH_A_JUMP: u32 = 64;
/// Over so many lanes of one queue a read jumps at most.
const JUMPS_MAX: usize = 256;
/// Queues with rows that wait for a time whose beginning is kept.
const DUE_MAX: usize = 64 * 1024;

/// Where the rows of all queues begin, as far as it is known.
#[derive(Debug)]
pub(super) struct Starts {
    young: Lanes,
    old: Lanes,
    due: HashMap<EndpointId, Due>,
}

type Lanes = BTreeMap<(EndpointId, LaneId), Lane>;

/// Where a lane begins, and how often that changed.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    seq: Seq,
    moved: u32,
}

/// Where those that wait for a time begin.
#[derive(Clone, Copy, Debug)]
struct Due {
    generation: Generation,
    first: DueKey,
    /// The first that was added while one looks for the beginning; none if no one does.
    added: Option<DueKey>,
}

/// Where the rows of one queue begin.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// By lane, in their order: none lies before this position.
    lanes: Vec<(LaneId, Seq)>,
    /// None is due before.
    due: DueKey,
    /// All that wait in lanes, if they are few.
    waiting: Option<Waiting>,
}

impl Default for Starts {
    fn default() -> Self {
        Self { young: Lanes::new(), old: Lanes::new(), due: HashMap::new() }
    }
}

impl Starts {
    /// No delivery of this lane lies before this position, nor ever will.
    pub(super) fn lane_begins(&mut self, of: EndpointId, lane: LaneId, seq: Seq) {
        if !self.young.contains_key(&(of, lane)) {
            if self.young.len() >= LANES_MAX {
                self.old = std::mem::take(&mut self.young);
            }
            let known = self.old.remove(&(of, lane)).unwrap_or_default();
            self.young.insert((of, lane), known);
        }
        if let Some(known) = self.young.get_mut(&(of, lane)).filter(|known| known.seq < seq) {
            *known = Lane { seq, moved: known.moved.saturating_add(1) };
        }
    }

    /// A row was written that waits for a time.
    pub(super) fn due_added(&mut self, of: EndpointId, key: DueKey) {
        if let Some(due) = self.due.get_mut(&of) {
            due.first = due.first.min(key);
            due.added = due.added.map(|added| added.min(key));
        }
    }

    /// Somebody looks for the first that waits for a time: from where. None if another one is looking.
    pub(super) fn look_for_due(&mut self, of: EndpointId, generation: Generation) -> Option<DueKey> {
        if self.due.len() >= DUE_MAX {
            // But for those that are being looked for: whoever looks knows nothing of what is added before it looks again.
            self.due.retain(|_, due| due.added.is_some());
        }
        let unknown = Due { generation, first: DueKey::START, added: None };
        let due = self.due.entry(of).or_insert(unknown);
        if due.generation != generation {
            *due = unknown;
        }
        if due.added.is_some() {
            return None;
        }
        due.added = Some(DueKey::END);
        Some(due.first)
    }

    /// It was this one, or none at all; in rows that show at least what was added before the search.
    pub(super) fn due_found(&mut self, of: EndpointId, generation: Generation, first: DueKey) {
        if let Some(due) = self.due.get_mut(&of).filter(|due| due.generation == generation)
            && let Some(added) = due.added.take()
        {
            due.first = first.min(added);
        }
    }

    /// Where the rows of a queue begin.
    pub(super) fn of(&self, of: EndpointId, generation: Generation) -> Start {
        let range = (of, LaneId(0))..=(of, LaneId(u64::MAX));
        let both = self.old.range(range.clone()).chain(self.young.range(range));
        let worth = both.filter(|(_, lane)| lane.moved >= WORTH_A_JUMP);
        let mut lanes: Vec<_> = worth.map(|((_, lane), known)| (*lane, *known)).collect();
        if lanes.len() > JUMPS_MAX {
            lanes.sort_unstable_by_key(|(_, known)| std::cmp::Reverse(known.moved));
            lanes.truncate(JUMPS_MAX);
        }
        lanes.sort_unstable_by_key(|(lane, _)| *lane);
        let due = self.due.get(&of).filter(|due| due.generation == generation);
        let lanes = lanes.into_iter().map(|(lane, known)| (lane, known.seq)).collect();
        Start { lanes, due: due.map_or(DueKey::START, |due| due.first), waiting: None }
    }
}

impl Start {
    /// Nothing is known.
    pub(super) const UNKNOWN: Self = Self { lanes: Vec::new(), due: DueKey::START, waiting: None };

    /// And of these classes nothing lies before their heads.
    #[must_use]
    pub(super) fn with_heads(mut self, heads: &PerPriority<Seq>) -> Self {
        let heads = heads.iter().map(|(priority, head)| (LaneId::unordered(priority), *head));
        for (lane, head) in heads.filter(|(_, head)| *head > Seq(0)) {
            match self.lanes.binary_search_by_key(&lane, |(lane, _)| *lane) {
                Ok(at) => self.lanes[at].1 = self.lanes[at].1.max(head),
                Err(at) => self.lanes.insert(at, (lane, head)),
            }
        }
        self
    }

    /// And if these are known, no others wait in lanes.
    #[must_use]
    pub(super) fn with_waiting(self, waiting: Option<Waiting>) -> Self {
        Self { waiting, ..self }
    }

    /// The keys in a range at which rows may lie, in their order, if they are few; keys begin so, then follow lane and
    /// position.
    pub(super) fn waiting<'a>(
        &'a self,
        prefix: &'a [u8],
        from: &'a [u8],
        to: &'a [u8],
    ) -> Option<impl DoubleEndedIterator<Item = Vec<u8>> + 'a> {
        let first = from.strip_prefix(prefix).unwrap_or_default();
        let lane = first.first_chunk().map_or(LaneId(0), |lane| LaneId(u64::from_be_bytes(*lane)));
        let waiting = self.waiting.as_ref()?.range((lane, Seq(0))..);
        let key = move |(lane, seq): &(LaneId, Seq)| [prefix, &lane.0.to_be_bytes(), &seq.0.to_be_bytes()].concat();
        Some(waiting.map(key).filter(move |key| from <= &key[..] && &key[..] < to))
    }

    /// None of this lane lies before.
    pub(super) fn of_lane(&self, lane: LaneId) -> Seq {
        let known = self.lanes.binary_search_by_key(&lane, |(lane, _)| *lane);
        known.map_or(Seq(0), |at| self.lanes[at].1)
    }

    /// Where the rows that wait for a time begin, whose keys begin so.
    pub(super) fn of_due(&self, prefix: &[u8]) -> Vec<u8> {
        [prefix, &self.due.at.as_nanos().to_be_bytes(), &self.due.seq.0.to_be_bytes()].concat()
    }

    /// The parts of a range of keys in which rows may lie; keys begin so, then follow lane and position.
    pub(super) fn parts(&self, prefix: &[u8], from: &[u8], to: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (mut parts, mut next) = (Vec::new(), from.to_vec());
        for (lane, seq) in &self.lanes {
            let remains_from = [prefix, &lane.0.to_be_bytes()].concat();
            let remains_to = [&remains_from[..], &seq.0.to_be_bytes()].concat();
            if remains_to <= next {
                continue;
            }
            if *to <= remains_from[..] {
                break;
            }
            if next < remains_from {
                parts.push((next, remains_from));
            }
            next = remains_to;
        }
        if next[..] < *to {
            parts.push((next, to.to_vec()));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use postrider_core::Timestamp;

    use super::*;

    const ONE: EndpointId = EndpointId::from_bytes([1; 20]);
    const OTHER: EndpointId = EndpointId::from_bytes([2; 20]);
    const FIRST: Generation = Generation(0);

    fn due(at: u64) -> DueKey {
        DueKey { at: Timestamp::from_nanos(at), seq: Seq(1) }
    }

    #[test]
    fn a_lane_that_moved_on_is_begun_where_it_begins() {
        let mut starts = Starts::default();
        for seq in 1..=100 {
            starts.lane_begins(ONE, LaneId(7), Seq(seq));
            starts.lane_begins(OTHER, LaneId(7), Seq(900 + seq));
        }
        starts.lane_begins(ONE, LaneId(7), Seq(5));
        starts.lane_begins(ONE, LaneId(9), Seq(50));
        let start = starts.of(ONE, FIRST);
        assert_eq!((start.of_lane(LaneId(7)), start.of_lane(LaneId(9))), (Seq(100), Seq(0)), "9 is not worth a jump");
        let key = |lane: u64, seq: u64| [&b"R"[..], &lane.to_be_bytes(), &seq.to_be_bytes()].concat();
        let parts = start.parts(b"R", &key(3, 0), &key(8, 0));
        let to = [&b"R"[..], &7_u64.to_be_bytes()].concat();
        assert_eq!(parts, [(key(3, 0), to), (key(7, 100), key(8, 0))]);
        assert_eq!(start.parts(b"R", &key(7, 200), &key(8, 0)), [(key(7, 200), key(8, 0))]);
        assert_eq!(start.parts(b"R", &key(7, 1), &key(7, 100)), []);
        let start = start.with_heads(&PerPriority::from_fn(|_| Seq(4)));
        assert_eq!(start.of_lane(LaneId::WHOLE), Seq(4));
    }

    #[test]
    fn what_is_added_while_one_looks_is_not_jumped_over() {
        let mut starts = Starts::default();
        assert_eq!(starts.look_for_due(ONE, FIRST), Some(DueKey::START));
        assert_eq!(starts.look_for_due(ONE, FIRST), None, "one looks already");
        starts.due_added(ONE, due(20));
        starts.due_added(OTHER, due(1));
        starts.due_found(ONE, FIRST, due(30));
        assert_eq!(starts.of(ONE, FIRST).due, due(20));
        assert_eq!(starts.look_for_due(ONE, FIRST), Some(due(20)));
        starts.due_found(ONE, FIRST, DueKey::END);
        assert_eq!(starts.of(ONE, FIRST).due, DueKey::END);
        starts.due_added(ONE, due(10));
        assert_eq!(starts.of(ONE, FIRST).due, due(10));
        assert_eq!(starts.of(ONE, Generation(1)).due, DueKey::START, "it speaks of other rows");
    }

    #[test]
    fn a_search_outlives_what_is_forgotten_meanwhile() {
        // When there were too many queues, searches that were on their way were forgotten with the rest. The answer to one
        // was then taken for that of the next, though it knew nothing of what was added in between: that delivery lay
        // before the place where its queue was said to begin, and was never met.
        let mut starts = Starts::default();
        assert_eq!(starts.look_for_due(ONE, FIRST), Some(DueKey::START));
        for n in 0..=DUE_MAX {
            let mut id = [7; 20];
            id[..8].copy_from_slice(&(n as u64).to_be_bytes());
            let other = EndpointId::from_bytes(id);
            starts.look_for_due(other, FIRST);
            starts.due_found(other, FIRST, due(5));
        }
        assert!(starts.due.len() <= DUE_MAX, "others are forgotten");
        starts.due_added(ONE, due(20));
        starts.look_for_due(ONE, FIRST);
        starts.due_found(ONE, FIRST, due(30));
        assert!(starts.of(ONE, FIRST).due <= due(20));
    }
}
