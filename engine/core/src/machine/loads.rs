//! Reads without an answer, and what has changed since they were asked for.
//!
//! What is read is an old picture: between the moment that it shows and its answer, deliveries start, end and are
//! evicted. So every read has a stamp, and of its answer only what did not change since is taken. Whoever changes
//! something meanwhile sees to it that it is found again.

use std::collections::{BTreeMap, HashMap};

use crate::{Ask, Delivery, LoadId, Place, Seq, Timestamp};

/// So many changes are remembered at most: a read that is not answered for so long is worth nothing any more.
const CHANGES_MAX: usize = 1 << 16;

/// Names a row, whatever it holds: a manual try is one beside that of its life, and there may be several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct RowName(Seq, Option<Timestamp>);

impl RowName {
    const fn of(delivery: &Delivery) -> Self {
        let manual = match delivery.place {
            Place::Manual { at, .. } => Some(at),
            Place::Ready | Place::Due(_) | Place::Lane { .. } => None,
        };
        Self(delivery.id.seq, manual)
    }
}

/// Reads without an answer.
#[derive(Debug, Default)]
pub(super) struct Loads {
    issued: u64,
    open: BTreeMap<LoadId, Load>,
    changes: HashMap<RowName, u64>,
    /// Events in the answers to reads up to this stamp may be expunged by now.
    events_distrusted: u64,
}

/// A read that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) ask: Ask,
    /// The tail then known: every delivery up to it is in the picture.
    pub(super) tail: Option<Seq>,
    stamp: u64,
}

impl Load {
    /// Whether the events in its answer are as they are stored now.
    pub(super) const fn events_hold(&self, loads: &Loads) -> bool {
        self.stamp > loads.events_distrusted
    }
}

impl Loads {
    pub(super) fn issue(&mut self, ask: Ask, tail: Option<Seq>) -> LoadId {
        self.issued += 1;
        let id = LoadId(self.issued);
        self.open.insert(id, Load { ask, tail, stamp: self.issued });
        id
    }

    /// None is open, and answers to earlier ones are no answers to later ones.
    pub(super) fn renewed(self) -> Self {
        Self { issued: self.issued, events_distrusted: self.events_distrusted, ..Self::default() }
    }

    /// The read that this answers; none if nobody asked.
    pub(super) fn answered(&mut self, id: LoadId) -> Option<Load> {
        self.open.remove(&id)
    }

    /// Forgets changes that no open read needs to know of. After an answer has been used.
    pub(super) fn prune(&mut self) {
        match self.open.first_key_value() {
            None => self.changes.clear(),
            Some((_, oldest)) => {
                let needed = oldest.stamp;
                self.changes.retain(|_, changed| *changed >= needed);
            }
        }
    }

    /// The row of this delivery is not what an open read may show.
    pub(super) fn changed(&mut self, delivery: &Delivery) {
        if !self.open.is_empty() {
            self.changes.insert(RowName::of(delivery), self.issued);
        }
    }

    /// Some payload is gone: those that are being read may still show it, and are read again for their attempt.
    pub(super) const fn distrust_events(&mut self) {
        self.events_distrusted = self.issued;
    }

    /// Whether the delivery stands as this read shows it.
    pub(super) fn shows(&self, load: &Load, delivery: &Delivery) -> bool {
        self.changes.get(&RowName::of(delivery)).is_none_or(|changed| *changed < load.stamp)
    }

    /// Whether more has changed than is remembered, because a read stays without an answer.
    pub(super) fn is_outlived(&self) -> bool {
        self.changes.len() >= CHANGES_MAX
    }

    pub(super) fn has(&self, wanted: impl Fn(&Ask) -> bool) -> bool {
        self.open.values().any(|load| wanted(&load.ask))
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests;
