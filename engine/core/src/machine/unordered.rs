//! `Concurrent`: deliveries of one class that were never attempted, in the order of their positions.

use std::collections::BTreeMap;

use super::queue::Item;
use crate::Seq;

/// Deliveries that were never attempted.
///
/// Every row of the class up to `read_to` is in memory, or in flight, or gone; what is read to never goes back.
#[derive(Debug)]
pub(super) struct Unordered {
    rows: BTreeMap<Seq, Item>,
    read_to: Seq,
    /// Nothing lay before this position when the machine began; kept as long as it meets none of the class.
    begun_at: Option<Seq>,
    /// Something was read, so that `read_to` means something.
    began: bool,
    /// The last read did not reach the end.
    more: bool,
    limit: usize,
}

/// What a nudge says of a class.
#[derive(Debug)]
pub(super) enum News {
    /// A delivery of it.
    Here(Item),
    /// One of another class.
    Elsewhere,
}

impl Unordered {
    pub(super) const fn new(limit: usize) -> Self {
        Self { rows: BTreeMap::new(), read_to: Seq(0), begun_at: Some(Seq(0)), began: false, more: true, limit }
    }

    /// Nothing lies before this position.
    pub(super) const fn begin_at(&mut self, head: Seq) {
        self.read_to = Seq(head.0.saturating_sub(1));
        self.begun_at = Some(head);
    }

    /// Takes a nudge's delivery if it directly follows what was read, and there is room. If not, the tail makes us read.
    pub(super) fn nudged(&mut self, previous: Option<Seq>, seq: Seq, news: News) {
        let follows = self.began && previous.is_some_and(|previous| previous <= self.read_to);
        if seq <= self.read_to || !follows {
            return;
        }
        match news {
            News::Elsewhere => self.read_to = seq,
            News::Here(item) if self.rows.len() < self.limit => self.read(item),
            News::Here(_) => {}
        }
    }

    /// After which position to read on, if there is room and something to read.
    pub(super) fn read_after(&self, tail: Option<Seq>) -> Option<Seq> {
        let behind = self.more || tail.is_some_and(|tail| self.read_to < tail);
        (behind && self.rows.len() <= self.limit / 2).then_some(self.read_to)
    }

    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.rows.len())
    }

    /// Back after all: it was not sent.
    pub(super) fn put_back(&mut self, item: Item) {
        self.rows.insert(item.delivery.id.seq, item);
    }

    pub(super) fn read(&mut self, item: Item) {
        self.read_to = self.read_to.max(item.delivery.id.seq);
        self.begun_at = None;
        self.rows.insert(item.delivery.id.seq, item);
    }

    /// Everything up to there was in the picture; and whether there was more.
    pub(super) fn has_read_to(&mut self, seq: Seq, more: bool) {
        self.began = true;
        self.more = more;
        self.read_to = self.read_to.max(seq);
    }

    pub(super) fn holds(&self, seq: Seq) -> bool {
        self.rows.contains_key(&seq)
    }

    pub(super) fn take_first(&mut self, may_start: impl Fn(&Item) -> bool) -> Option<Item> {
        let seq = self.rows.iter().find(|(_, item)| may_start(item)).map(|(seq, _)| *seq)?;
        self.rows.remove(&seq)
    }

    pub(super) fn count(&self, at_most: usize, may_start: impl Fn(&Item) -> bool) -> usize {
        self.rows.values().filter(|item| may_start(item)).take(at_most).count()
    }

    pub(super) fn remove(&mut self, seq: Seq) -> Option<Item> {
        self.rows.remove(&seq)
    }

    /// Removes those that match, from the first on, as long as they do.
    pub(super) fn take_leading(&mut self, matches: impl Fn(&Item) -> bool) -> Vec<Item> {
        let mut taken = Vec::new();
        while let Some(first) = self.rows.first_entry().filter(|entry| matches(entry.get())) {
            taken.push(first.remove());
        }
        taken
    }

    /// No row of the class lies before this position, as far as this knows.
    pub(super) fn head(&self) -> Seq {
        let first = self.rows.first_key_value().map(|(seq, _)| *seq);
        first.or(self.begun_at).unwrap_or_else(|| self.read_to.next())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.rows.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        self.rows.values_mut()
    }

    /// Whether every row of the class is in memory, or in flight.
    pub(super) fn is_whole(&self, tail: Option<Seq>) -> bool {
        self.began && !self.more && tail.is_none_or(|tail| tail <= self.read_to)
    }

    pub(super) fn first(&self) -> Option<&Item> {
        self.rows.first_key_value().map(|(_, item)| item)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}
