//! Fair turns: what waits is taken one key after another (an application, an organisation), however much one key has
//! waiting, and no key may run so much at once that nothing is left for a key that comes later.
//!
//! A queue that tenants share is first come, first served until one tenant fills it; then all others wait behind that
//! tenant. Here the next item of a key waits for at most one item of each other key. Where items run for a while
//! ([`FairQueue::begin`] to [`FairQueue::end`]), turns alone are not enough: items that hang keep what they run in. So
//! a key begins another only while it runs fewer than are free. One key then gets half, two get a third each, and
//! there is always room for one that runs nothing.

use std::collections::{BTreeMap, VecDeque};

/// How much may run at once, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FairLimits {
    /// Items of all keys that run at once.
    pub running: usize,
    /// Items of one key that run at once, beside the rule that it begins another only while it runs fewer than are free.
    pub running_per_key: usize,
    /// Items of one key that wait.
    pub waiting_per_key: usize,
}

/// What waits for its turn: one key after another, and within one key in the order of coming.
#[derive(Debug)]
pub struct FairQueue<K, T> {
    limits: FairLimits,
    /// Keys with something waiting, by the number of their turn.
    turns: BTreeMap<u64, K>,
    lines: BTreeMap<K, Line<T>>,
    next_turn: u64,
    waiting: usize,
    running: usize,
}

#[derive(Debug)]
struct Line<T> {
    /// Counts only while something waits.
    turn: u64,
    waiting: VecDeque<T>,
    running: usize,
}

impl FairLimits {
    /// For what is taken with [`FairQueue::pop`] alone: nothing runs, and whoever pushes bounds what waits.
    pub const NONE: Self = Self { running: usize::MAX, running_per_key: usize::MAX, waiting_per_key: usize::MAX };

    /// So many at once in all.
    pub const fn running(running: usize) -> Self {
        Self { running, ..Self::NONE }
    }
}

impl<K: Ord + Copy, T> FairQueue<K, T> {
    /// An empty one.
    pub const fn new(limits: FairLimits) -> Self {
        Self { limits, turns: BTreeMap::new(), lines: BTreeMap::new(), next_turn: 0, waiting: 0, running: 0 }
    }

    /// Adds an item behind the others of its key.
    ///
    /// # Errors
    ///
    /// Gives it back if as many of this key wait as may.
    pub fn push(&mut self, key: K, item: T) -> Result<(), T> {
        if self.len_of(key) >= self.limits.waiting_per_key {
            return Err(item);
        }
        self.line_that_waits(key).waiting.push_back(item);
        self.waiting += 1;
        Ok(())
    }

    /// Puts back one that was taken and could not begin: in front of the others of its key, however many they are.
    pub fn push_front(&mut self, key: K, item: T) {
        self.line_that_waits(key).waiting.push_front(item);
        self.waiting += 1;
    }

    /// The line of a key, which has its turn behind all others unless something waits in it already.
    fn line_that_waits(&mut self, key: K) -> &mut Line<T> {
        let line = self.lines.entry(key).or_insert_with(Line::new);
        if line.waiting.is_empty() {
            line.turn = self.next_turn;
            self.turns.insert(self.next_turn, key);
            self.next_turn += 1;
        }
        line
    }

    /// What [`pop`](Self::pop) would take.
    pub fn peek(&self) -> Option<(K, &T)> {
        let (_, key) = self.turns.first_key_value()?;
        Some((*key, self.lines.get(key)?.waiting.front()?))
    }

    /// Takes the next item, without a look at what runs.
    pub fn pop(&mut self) -> Option<(K, T)> {
        let (turn, key) = self.turns.pop_first()?;
        self.take(turn, key)
    }

    /// The first item of each key that has one, in the order of their turns: for a choice of one's own, taken with
    /// [`pop_of`](Self::pop_of).
    pub fn heads(&self) -> impl Iterator<Item = (K, &T)> {
        self.turns.values().filter_map(|key| Some((*key, self.lines.get(key)?.waiting.front()?)))
    }

    /// Takes the next item of a key, which gives up its turn for it.
    pub fn pop_of(&mut self, key: K) -> Option<T> {
        let turn = self.lines.get(&key).filter(|line| !line.waiting.is_empty())?.turn;
        self.turns.remove(&turn);
        self.take(turn, key).map(|(_, item)| item)
    }

    /// Takes the next item that may begin to run. Say [`end`](Self::end) once it is over.
    pub fn begin(&mut self) -> Option<(K, T)> {
        // Those that are passed over run something: they are no more than run in all.
        let (turn, key) = self.turns.iter().find(|(_, key)| self.may_begin(**key)).map(|(turn, key)| (*turn, *key))?;
        self.turns.remove(&turn);
        let begun = self.take(turn, key)?;
        self.running += 1;
        self.lines.entry(key).or_insert_with(Line::new).running += 1;
        Some(begun)
    }

    /// One that had begun is over, however that went.
    pub fn end(&mut self, key: K) {
        let Some(line) = self.lines.get_mut(&key).filter(|line| line.running > 0) else { return };
        line.running -= 1;
        self.running -= 1;
        Self::forget_empty(&mut self.lines, key);
    }

    /// Takes out all that wait of one key, in their order.
    pub fn remove(&mut self, key: K) -> VecDeque<T> {
        let Some(line) = self.lines.get_mut(&key) else { return VecDeque::new() };
        let removed = std::mem::take(&mut line.waiting);
        if !removed.is_empty() {
            self.turns.remove(&line.turn);
        }
        self.waiting -= removed.len();
        Self::forget_empty(&mut self.lines, key);
        removed
    }

    /// Takes out the item of a key that would be last.
    pub fn remove_last(&mut self, key: K) -> Option<T> {
        let line = self.lines.get_mut(&key)?;
        let removed = line.waiting.pop_back()?;
        if line.waiting.is_empty() {
            self.turns.remove(&line.turn);
        }
        self.waiting -= 1;
        Self::forget_empty(&mut self.lines, key);
        Some(removed)
    }

    /// Keeps only those of a key that are still wanted, in their order. Costs as much as the key has waiting.
    pub fn retain(&mut self, key: K, is_wanted: impl FnMut(&T) -> bool) {
        let Some(line) = self.lines.get_mut(&key).filter(|line| !line.waiting.is_empty()) else { return };
        let before = line.waiting.len();
        line.waiting.retain(is_wanted);
        self.waiting -= before - line.waiting.len();
        if line.waiting.is_empty() {
            self.turns.remove(&line.turn);
        }
        Self::forget_empty(&mut self.lines, key);
    }

    /// Items that wait.
    pub const fn len(&self) -> usize {
        self.waiting
    }

    /// Nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Items of one key that wait.
    pub fn len_of(&self, key: K) -> usize {
        self.lines.get(&key).map_or(0, |line| line.waiting.len())
    }

    /// Items that run.
    pub const fn running(&self) -> usize {
        self.running
    }

    /// Items of one key that run.
    pub fn running_of(&self, key: K) -> usize {
        self.lines.get(&key).map_or(0, |line| line.running)
    }

    /// Nothing waits and nothing runs: it may be forgotten.
    pub fn is_idle(&self) -> bool {
        self.lines.is_empty()
    }

    fn may_begin(&self, key: K) -> bool {
        let (runs, free) = (self.running_of(key), self.limits.running.saturating_sub(self.running));
        runs < free && runs < self.limits.running_per_key
    }

    /// The first of this key, whose turn is over: it has its next behind all others.
    fn take(&mut self, turn: u64, key: K) -> Option<(K, T)> {
        let line = self.lines.get_mut(&key).filter(|line| line.turn == turn)?;
        let item = line.waiting.pop_front()?;
        self.waiting -= 1;
        if !line.waiting.is_empty() {
            line.turn = self.next_turn;
            self.turns.insert(self.next_turn, key);
            self.next_turn += 1;
        }
        Self::forget_empty(&mut self.lines, key);
        Some((key, item))
    }

    fn forget_empty(lines: &mut BTreeMap<K, Line<T>>, key: K) {
        if lines.get(&key).is_some_and(|line| line.waiting.is_empty() && line.running == 0) {
            lines.remove(&key);
        }
    }
}

impl<T> Line<T> {
    const fn new() -> Self {
        Self { turn: 0, waiting: VecDeque::new(), running: 0 }
    }
}

#[cfg(test)]
mod tests;
