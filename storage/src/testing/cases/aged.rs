//! What is too old is found wherever it waits, a piece at a time, without a look at all that is young.

use std::{collections::BTreeSet, time::Duration};

use postrider_core::{
    Acceptance, Aged, AgedKey, Ask, Batch, Delivery, Event, Found, OnExhausted, OrderingMode, Timestamp, WindowShare,
    Write,
};

use crate::{
    OpenStore,
    testing::world::{HOUR, NOW, World, failed, given_up, holding, many, seqs},
};

const CONCURRENT: OrderingMode = OrderingMode::Concurrent;
const FIFO: OrderingMode = OrderingMode::Fifo(OnExhausted::Hold);
const PER_KEY: OrderingMode = OrderingMode::PerKey(OnExhausted::Hold);

/// Ready, waiting for a retry, behind a head that waits or holds: whatever began by then is found, once, and the oldest of
/// the others is told.
pub async fn what_is_too_old_is_found_wherever_it_waits(medium: &dyn OpenStore) {
    for ordering in [CONCURRENT, FIFO, PER_KEY] {
        let world = World::open(medium, ordering).await;
        let old = [publish(&world, "a", 1).await, publish(&world, "a", 2).await, publish(&world, "b", 3).await];
        let young = [publish(&world, "a", 10).await, publish(&world, "c", 11).await];
        let retried = old[2].clone();
        if ordering != FIFO {
            world.step(failed(&retried, NOW + HOUR * 20)).await;
        }
        let tried = world.resent(young[0].event, at(4)).await;
        let found = all(&world, at(5), 100).await;
        let mut expected: BTreeSet<_> = seqs(&old).into_iter().collect();
        expected.insert(tried.id.seq);
        assert_eq!(seqs(&found.rows).into_iter().collect::<BTreeSet<_>>(), expected, "{ordering:?}");
        assert_eq!(found.rows.len(), 4, "each once, {ordering:?}");
        assert_eq!(found.oldest, Some(at(10)), "{ordering:?}");
        assert_eq!(all(&world, at(5), 1).await.rows, found.rows, "a piece at a time, {ordering:?}");
        assert_eq!(all(&world, at(0), 100).await.oldest, Some(at(1)), "{ordering:?}");
        world.write([Write::DropEndpoint(world.endpoint.id), Write::Purge(world.endpoint.id, many(100))]).await;
    }
}

/// One that was given up and holds its lane has ended; those behind it have not, whenever its next life begins.
pub async fn behind_a_held_head_age_goes_on(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    let (head, behind) = (publish(&world, "a", 1).await, publish(&world, "a", 2).await);
    world.step(given_up(&head, Some(holding(&head)))).await;
    assert_eq!(all(&world, at(5), 10).await.rows, std::slice::from_ref(&behind));
    world.redrive(head.id).await;
    let found = all(&world, at(5), 10).await;
    assert_eq!(found.rows, [behind], "the head began anew, and is young");
}

/// A lane whose first delivery is young is not read any further.
pub async fn what_is_young_costs_a_look_a_lane(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    for key in ["a", "b", "c"] {
        let accept = |_| Batch::synced([Write::Accept(acceptance(&world, key, 9))]);
        world.commit((0..500).map(accept)).await;
    }
    let found = all(&world, at(5), 10).await;
    assert_eq!((found.rows.len(), found.oldest), (0, Some(at(9))));
    assert!(found.looked_at < 10, "{}", found.looked_at);
}

const fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos(NOW.as_nanos() + second * 1_000_000_000)
}

fn acceptance(world: &World, key: &str, second: u64) -> Acceptance {
    let event = Event::new("case.published", "{}").ordering_key(key);
    Acceptance { accepted_at: NOW + Duration::from_secs(second), ..world.acceptance(event) }
}

async fn publish(world: &World, key: &str, second: u64) -> Delivery {
    world.accept(acceptance(world, key, second)).await.remove(0)
}

/// All pieces together.
async fn all(world: &World, before: Timestamp, rows: usize) -> Aged {
    let share = WindowShare { rows: many(rows), event_bytes: 0, at_hand: None };
    let (of, generation) = (world.endpoint.id, world.endpoint.generation);
    let mut all = Aged::default();
    let mut after = AgedKey::Start;
    loop {
        let found = world.reads().window(of, generation, Ask::Aged(before, after), share).await.expect("reads work");
        let Found::Aged(found) = found else { panic!("what is too old was asked for: {found:?}") };
        assert!(found.rows.len() <= rows.max(2), "{} of {rows}", found.rows.len());
        all.rows.extend(found.rows);
        all.looked_at += found.looked_at;
        all.oldest = [all.oldest, found.oldest].into_iter().flatten().min();
        match found.next {
            Some(next) => after = next,
            None => return all,
        }
    }
}
