//! The deliveries that wait for a time, soonest first: as many as fit, and a frontier that says what is not in memory.

use std::collections::{BTreeMap, HashSet};

use super::queue::Item;
use crate::{DueKey, Place, Priority, Seq, Timestamp};

/// The deliveries that wait for a time.
///
/// Every row of the store's due index before `known_below` is in memory, or in flight, or gone. Evicting one moves the
/// frontier back in front of it, also that of a read which is on its way.
#[derive(Debug)]
pub(super) struct DueRows {
    /// Each class by itself: of what is due, the most urgent is found without a look at the others.
    rows: BTreeMap<(Priority, DueKey), Item>,
    /// Scheduled ones in memory, so that an older picture of one is not taken for another.
    scheduled: HashSet<Seq>,
    known_below: DueKey,
    /// The first one evicted since the open read was asked for.
    evicted: Option<DueKey>,
    limit: usize,
}

impl DueRows {
    pub(super) fn new(limit: usize) -> Self {
        Self { rows: BTreeMap::new(), scheduled: HashSet::new(), known_below: DueKey::START, evicted: None, limit }
    }

    /// Takes one in, and says which one had to leave for it: the latest; not one by hand, as long as those are few, or a person
    /// who wants it now would wait for all others.
    pub(super) fn insert(&mut self, item: Item) -> Option<Item> {
        let Some(at) = item.delivery.due() else { return Some(item) };
        let key = DueKey { at, seq: item.delivery.id.seq };
        if !item.is_manual() {
            self.scheduled.insert(key.seq);
        }
        self.rows.insert((item.delivery.priority, key), item);
        if self.rows.len() <= self.limit {
            return None;
        }
        let many_by_hand = self.rows.len() - self.scheduled.len() > self.limit / 2;
        let latest = Priority::ALL.into_iter().filter_map(|of| {
            let mut latest_first = self.class(of, DueKey::END).rev();
            latest_first.find(|(_, item)| many_by_hand || !item.is_manual()).map(|(key, _)| (key, of))
        });
        let (key, of) = latest.max()?;
        let evicted = self.remove(of, key)?;
        self.known_below = self.known_below.min(key);
        self.evicted = Some(self.evicted.map_or(key, |first| first.min(key)));
        Some(evicted)
    }

    /// Whether this very row is in memory, or the scheduled row of its life is under another time.
    pub(super) fn holds(&self, item: &Item) -> bool {
        let (of, seq) = (item.delivery.priority, item.delivery.id.seq);
        let same = |at| self.rows.contains_key(&(of, DueKey { at, seq }));
        item.delivery.due().is_some_and(same) || (!item.is_manual() && self.scheduled.contains(&seq))
    }

    /// The first of a class that is due and that nothing holds back.
    pub(super) fn take_due(&mut self, of: Priority, now: Timestamp, may_start: impl Fn(&Item) -> bool) -> Option<Item> {
        let key = self.due(of, now).find(|(_, item)| may_start(item)).map(|(key, _)| key)?;
        self.remove(of, key)
    }

    /// How many are due and nothing holds back, counted up to `at_most`.
    pub(super) fn count_due(&self, now: Timestamp, at_most: usize, may_start: impl Fn(&Item) -> bool) -> usize {
        let due = Priority::ALL.into_iter().flat_map(|of| self.due(of, now));
        due.filter(|(_, item)| may_start(item)).take(at_most).count()
    }

    /// When the first one that is not due yet will be.
    pub(super) fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        let next = |of| self.rows.range((of, all_due(now))..=(of, DueKey::END)).next();
        Priority::ALL.into_iter().filter_map(next).map(|((_, key), _)| key.at).min()
    }

    /// When the first one is due, in the past or not.
    pub(super) fn first(&self) -> Option<Timestamp> {
        let first = |of| self.class(of, DueKey::END).next();
        Priority::ALL.into_iter().filter_map(first).map(|(key, _)| key.at).min()
    }

    pub(super) fn remove(&mut self, of: Priority, key: DueKey) -> Option<Item> {
        let item = self.rows.remove(&(of, key))?;
        self.forget(&item);
        Some(item)
    }

    /// Removes the scheduled row of a delivery.
    pub(super) fn remove_scheduled(&mut self, seq: Seq) -> Option<Item> {
        if !self.scheduled.contains(&seq) {
            return None;
        }
        let is_it = |((_, key), item): &(&(Priority, DueKey), &Item)| key.seq == seq && !item.is_manual();
        let (of, key) = self.rows.iter().find(is_it).map(|(key, _)| *key)?;
        self.remove(of, key)
    }

    /// Removes all that are due and match: only they can be too old, since nothing is due after its end.
    pub(super) fn take_matching(&mut self, now: Timestamp, matches: impl Fn(&Item) -> bool) -> Vec<Item> {
        let due = Priority::ALL.into_iter().flat_map(|of| self.due(of, now).map(move |(key, item)| (of, key, item)));
        let keys: Vec<_> = due.filter(|(.., item)| matches(item)).map(|(of, key, _)| (of, key)).collect();
        keys.into_iter().filter_map(|(of, key)| self.remove(of, key)).collect()
    }

    /// After which row to read on, if there is room and something to read. Half of the room may be taken by tries by hand,
    /// which are not evicted: what is read must fill what is left, or it would be asked for again and again.
    pub(super) fn read_after(&self) -> Option<DueKey> {
        if self.known_below == DueKey::END {
            return None;
        }
        let last_known = before(self.known_below);
        let known: usize = Priority::ALL.into_iter().map(|of| self.class(of, last_known).count()).sum();
        (known < self.limit.div_ceil(2)).then_some(last_known)
    }

    /// A read was asked for.
    pub(super) const fn reading(&mut self) {
        self.evicted = None;
    }

    /// A read ended: everything before `end` was in its picture.
    pub(super) fn read_to(&mut self, end: DueKey) {
        let end = self.evicted.take().map_or(end, |first| first.min(end));
        self.known_below = self.known_below.max(end);
    }

    /// Whether every row is in memory, or in flight.
    pub(super) fn is_whole(&self) -> bool {
        self.known_below == DueKey::END
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.rows.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        self.rows.values_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Those of a class that are due, soonest first.
    fn due(&self, of: Priority, now: Timestamp) -> impl DoubleEndedIterator<Item = (DueKey, &Item)> {
        self.class(of, all_due(now))
    }

    /// Those of a class up to this one.
    fn class(&self, of: Priority, to: DueKey) -> impl DoubleEndedIterator<Item = (DueKey, &Item)> {
        self.rows.range((of, DueKey::START)..=(of, to)).map(|((_, key), item)| (*key, item))
    }

    fn forget(&mut self, item: &Item) {
        match item.delivery.place {
            Place::Manual { .. } => {}
            Place::Ready | Place::Due(_) | Place::Lane { .. } => drop(self.scheduled.remove(&item.delivery.id.seq)),
        }
    }
}

/// The last key that is due.
const fn all_due(now: Timestamp) -> DueKey {
    DueKey { at: now, seq: Seq::MAX }
}

/// The key directly before this one.
const fn before(key: DueKey) -> DueKey {
    match key.seq.0.checked_sub(1) {
        Some(seq) => DueKey { at: key.at, seq: Seq(seq) },
        None => DueKey { at: Timestamp::from_nanos(key.at.as_nanos().saturating_sub(1)), seq: Seq::MAX },
    }
}

/// The key directly after this one.
pub(super) const fn after(key: DueKey) -> DueKey {
    match key.seq.0.checked_add(1) {
        Some(seq) => DueKey { at: key.at, seq: Seq(seq) },
        None => DueKey { at: Timestamp::from_nanos(key.at.as_nanos().saturating_add(1)), seq: Seq(0) },
    }
}
