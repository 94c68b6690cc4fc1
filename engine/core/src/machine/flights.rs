//! Attempts in flight, and those that ended and whose outcome has no answer yet.

use std::{collections::BTreeMap, sync::Arc};

use crate::{AttemptId, CommandId, Delivery, Endpoint, Place, Seq, Timestamp};

/// Attempts in flight, and outcomes without an answer.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: BTreeMap<CommandId, Flight>,
    ended: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) delivery: Delivery,
    /// As it was when the attempt began: what comes back speaks of that target.
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) since: Timestamp,
    pub(super) end: Option<End>,
}

/// How an attempt ended, as it is being committed.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// How the delivery will stand.
    pub(super) after: Option<Delivery>,
    /// What was done, if it was an attempt.
    pub(super) attempt: Option<AttemptId>,
    /// What may follow waits for a sync.
    pub(super) synced: bool,
}

/// Under which name a delivery is in flight: a manual try may belong to the same position as a scheduled one.
pub(super) const fn name(delivery: &Delivery) -> CommandId {
    match delivery.place {
        Place::Manual { .. } => CommandId::Manual(delivery.id.seq),
        Place::Ready | Place::Due(_) | Place::Lane { .. } => CommandId::Step(delivery.id.seq),
    }
}

impl Flights {
    pub(super) fn begin(&mut self, delivery: Delivery, endpoint: Arc<Endpoint>, since: Timestamp) {
        self.flights.insert(name(&delivery), Flight { delivery, endpoint, since, end: None });
    }

    /// It ended; its outcome is being committed.
    pub(super) fn ends(&mut self, id: CommandId, end: End) {
        if let Some(flight) = self.flights.get_mut(&id)
            && flight.end.replace(end).is_none()
        {
            self.ended += 1;
        }
    }

    pub(super) fn get(&self, id: CommandId) -> Option<&Flight> {
        self.flights.get(&id)
    }

    pub(super) fn remove(&mut self, id: CommandId) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        if flight.end.is_some() {
            self.ended -= 1;
        }
        Some(flight)
    }

    /// Whether any attempt of this delivery is under way, scheduled or manual.
    pub(super) fn is_busy(&self, seq: Seq) -> bool {
        self.flights.contains_key(&CommandId::Step(seq)) || self.flights.contains_key(&CommandId::Manual(seq))
    }

    /// Whether this row is in flight: for a scheduled one any picture of it, for a manual one that very try.
    pub(super) fn contains(&self, delivery: &Delivery) -> bool {
        let flight = self.flights.get(&name(delivery));
        flight.is_some_and(|flight| {
            !matches!(delivery.place, Place::Manual { .. }) || flight.delivery.place == delivery.place
        })
    }

    /// The positions of attempts in flight.
    pub(super) fn running(&self) -> impl Iterator<Item = Seq> + '_ {
        self.flights.values().filter(|flight| flight.end.is_none()).map(|flight| flight.delivery.id.seq)
    }

    /// When the oldest life in flight began.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.flights.values().map(|flight| flight.delivery.since).min()
    }

    /// The first position in flight.
    pub(super) fn first(&self) -> Option<Seq> {
        self.flights.values().map(|flight| flight.delivery.id.seq).min()
    }

    /// Attempts in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.flights.len() - self.ended
    }

    /// Attempts that ended and whose outcome has no answer.
    pub(super) const fn uncommitted(&self) -> usize {
        self.ended
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }
}
