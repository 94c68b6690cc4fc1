//! Which deliveries wait in the lanes of keys, of queues with few of them: reads need not look for these among the remains
//! of those that ended, of which each has left one in a lane of its own if no two had one key.
//!
//! A queue is known from the moment on at which it was empty, and until more wait in it than are kept here. Who reads
//! asks for the rows that are named and finds those that his snapshot has; what was added after that he is told of.

use std::{collections::BTreeSet, sync::Arc};

use foldhash::{HashMap, HashMapExt};
use postrider_core::{Delivery, DeliveryId, EndpointId, Generation, LaneId, Place, Seq};

/// Deliveries of one queue at most; of one with more nothing is known until it is empty again.
pub(super) const QUEUE_MAX: usize = 1024;
/// Deliveries of all queues at most.
const ALL_MAX: usize = 64 * 1024;

/// Those of one queue, in the order of their rows.
pub(super) type Waiting = Arc<BTreeSet<(LaneId, Seq)>>;

/// Queues with few that wait.
#[derive(Debug)]
pub(super) struct Few {
    queues: HashMap<EndpointId, (Generation, Waiting)>,
    /// In all of them.
    count: usize,
}

/// What became of a queue.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// Nothing waits in it, and it is of no interest.
    Empty(EndpointId),
    /// Nothing waits in it yet.
    Begins(EndpointId, Generation),
    Added {
        of: EndpointId,
        generation: Generation,
        place: (LaneId, Seq),
    },
    Removed {
        of: EndpointId,
        generation: Generation,
        place: (LaneId, Seq),
    },
}

impl Change {
    /// A delivery waits that did not; in a queue that was empty, if it is the first. Where none has a lane of its own it is
    /// known otherwise where lanes begin.
    pub(super) fn added(delivery: &Delivery, is_first: bool) -> impl Iterator<Item = Self> {
        let (DeliveryId { endpoint: of, .. }, generation) = (delivery.id, delivery.generation);
        let begins = (is_first && delivery.lane.is_keyed()).then_some(Self::Begins(of, generation));
        begins.into_iter().chain(place(delivery).map(|place| Self::Added { of, generation, place }))
    }

    pub(super) fn removed(delivery: &Delivery) -> Option<Self> {
        let (DeliveryId { endpoint: of, .. }, generation) = (delivery.id, delivery.generation);
        place(delivery).map(|place| Self::Removed { of, generation, place })
    }
}

/// Its lane and position, if its row is where lanes are.
fn place(delivery: &Delivery) -> Option<(LaneId, Seq)> {
    match delivery.place {
        Place::Ready | Place::Lane { .. } => Some((delivery.lane, delivery.id.seq)),
        Place::Due(_) | Place::Manual { .. } => None,
    }
}

impl Default for Few {
    fn default() -> Self {
        Self { queues: HashMap::new(), count: 0 }
    }
}

impl Few {
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Empty(of) => self.forget(of),
            Change::Begins(of, generation) => {
                self.forget(of);
                self.queues.insert(of, (generation, Waiting::default()));
            }
            Change::Added { of, generation, place } => {
                let is_full = self.count >= ALL_MAX;
                let Some((of_generation, waiting)) = self.queues.get_mut(&of) else { return };
                if is_full || waiting.len() >= QUEUE_MAX || *of_generation != generation {
                    self.forget(of);
                } else if Arc::make_mut(waiting).insert(place) {
                    self.count += 1;
                }
            }
            Change::Removed { of, generation, place } => {
                let queue = self.queues.get_mut(&of).filter(|(of_generation, _)| *of_generation == generation);
                if queue.is_some_and(|(_, waiting)| Arc::make_mut(waiting).remove(&place)) {
                    self.count -= 1;
                }
            }
        }
    }

    /// All that wait in the lanes of a queue, if they are known.
    pub(super) fn of(&self, of: EndpointId, generation: Generation) -> Option<Waiting> {
        self.queues.get(&of).filter(|(known, _)| *known == generation).map(|(_, waiting)| Arc::clone(waiting))
    }

    fn forget(&mut self, of: EndpointId) {
        self.count -= self.queues.remove(&of).map_or(0, |(_, waiting)| waiting.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Generation = Generation(0);

    fn endpoint(number: u8) -> EndpointId {
        EndpointId::from_bytes([number; 20])
    }

    fn added(of: u8, number: u64) -> Change {
        Change::Added { of: endpoint(of), generation: FIRST, place: (LaneId(1_000_000 - number), Seq(number)) }
    }

    #[test]
    fn a_queue_is_known_from_when_it_was_empty_until_it_has_many() {
        let mut few = Few::default();
        few.change(added(1, 1));
        assert_eq!(few.of(endpoint(1), FIRST), None, "something waited before");
        few.change(Change::Begins(endpoint(1), FIRST));
        few.change(added(1, 2));
        few.change(added(1, 3));
        few.change(Change::Removed { of: endpoint(1), generation: FIRST, place: (LaneId(999_998), Seq(2)) });
        let waiting = few.of(endpoint(1), FIRST).expect("it is known");
        assert_eq!(waiting.iter().copied().collect::<Vec<_>>(), [(LaneId(999_997), Seq(3))]);
        assert_eq!(few.of(endpoint(1), Generation(1)), None);
        (4..QUEUE_MAX as u64 + 3).for_each(|number| few.change(added(1, number)));
        assert_eq!(few.of(endpoint(1), FIRST).map(|waiting| waiting.len()), Some(QUEUE_MAX));
        few.change(added(1, 5_000));
        assert_eq!((few.of(endpoint(1), FIRST), few.count), (None, 0), "there are too many");
    }

    #[test]
    fn all_queues_together_have_a_bound() {
        let (mut few, queues) = (Few::default(), (ALL_MAX / QUEUE_MAX) as u8);
        for of in 0..=queues {
            few.change(Change::Begins(endpoint(of), FIRST));
            (0..QUEUE_MAX as u64).for_each(|number| few.change(added(of, number)));
        }
        assert_eq!((few.count, few.of(endpoint(queues), FIRST)), (ALL_MAX, None));
        few.change(Change::Empty(endpoint(0)));
        assert_eq!((few.count, few.of(endpoint(0), FIRST)), (ALL_MAX - QUEUE_MAX, None));
    }
}
