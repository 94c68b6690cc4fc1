//! What was cut off is dead at once, and is removed a piece at a time.

use postrider_core::{
    DeliveryId, Effect, Endpoint, Generation, More, OnExhausted, OrderingMode, Refused, SoftState, Write,
};

use crate::{
    DeadLetterQuery, OpenStore, PageRequest,
    testing::world::{HOUR, NOW, World, endpoint, failed, many},
};

const PER_KEY: OrderingMode = OrderingMode::PerKey(OnExhausted::Continue);

/// A deleted endpoint's rows are dead at once, and gone when the purge has said so; nobody else's are touched.
pub async fn a_deleted_queue_is_purged_in_pieces(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    let neighbour = endpoint(&world.application, 2, PER_KEY);
    world.write([world.put(&neighbour)]).await;
    let letters = full_queue(&world).await;
    let world = World { endpoint: neighbour, ..world };
    let kept = full_queue(&world).await;
    let before = world.waiting().await;
    let world = World { endpoint: endpoint(&world.application, 1, PER_KEY), ..world };

    world.write([Write::DropEndpoint(world.endpoint.id)]).await;
    assert_eq!(world.waiting().await, []);
    assert_eq!(world.letter(letters[0]).await, None);
    let query = DeadLetterQuery { endpoints: vec![world.endpoint.id], ..DeadLetterQuery::default() };
    assert_eq!(world.reads().dead_letters(&query, &PageRequest::default()).await.expect("reads work").items, []);
    assert_eq!(world.refused(Write::Redrive(letters[0], NOW)).await, Refused::Generation);

    let mut world = world;
    let cut_off = async |world: &World| world.reads().cut_off(many(10)).await.expect("reads work");
    let mut pieces = 0;
    while cut_off(&world).await == [world.endpoint.id] {
        if pieces % 2 == 0 {
            world.store.find_cut_off(world.endpoint.id, many(3)).await.expect("it looks");
        }
        let purged = world.write([Write::Purge(world.endpoint.id, many(3))]).await;
        let more = if cut_off(&world).await.is_empty() { More::No } else { More::Yes };
        assert_eq!(purged, [Effect::Purged(more)]);
        pieces += 1;
        world = world.reopen(medium).await;
    }
    assert!((4..=8).contains(&pieces), "{pieces} pieces of three rows, for four ready, two due, two letters, one soft");
    assert_eq!(world.write([Write::Purge(world.endpoint.id, many(3))]).await, [Effect::Purged(More::No)]);
    assert_eq!(world.refused(Write::Redrive(letters[1], NOW)).await, Refused::NoDeadLetter, "its row is gone");

    let world = World { endpoint: endpoint(&world.application, 2, PER_KEY), ..world };
    assert_eq!(world.waiting().await, before, "the neighbour has all of its own");
    assert!(world.letter(kept[0]).await.is_some());
}

/// Pieces of one purge may lie in one group.
pub async fn pieces_of_a_purge_may_share_a_group(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    full_queue(&world).await;
    world.write([Write::DropEndpoint(world.endpoint.id)]).await;
    world.store.find_cut_off(world.endpoint.id, many(4)).await.expect("it looks");
    let piece = || Write::Purge(world.endpoint.id, many(4));
    let effects = world.write([piece(), piece(), piece(), piece()]).await;
    assert_eq!(effects[0], Effect::Purged(More::Yes));
    assert_eq!(effects[3], Effect::Purged(More::No));
    assert_eq!(world.reads().cut_off(many(1)).await.expect("reads work"), []);
}

/// Raising the generation cuts off what waits, and leaves what comes after.
pub async fn a_raised_generation_cuts_off_what_waits(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    let letters = full_queue(&world).await;
    let world = World { endpoint: Endpoint { generation: Generation(1), ..world.endpoint.clone() }, ..world };
    world.write([world.put(&world.endpoint)]).await;
    assert_eq!(world.waiting().await, []);
    // What comes after it was looked for what to purge stays as well.
    world.store.find_cut_off(world.endpoint.id, many(100)).await.expect("it looks");
    let new = world.publish("a").await;
    let dead = world.publish("b").await;
    world.give_up(&dead).await;
    assert_eq!(world.reads().cut_off(many(10)).await.expect("reads work"), [world.endpoint.id]);
    assert_eq!(world.write([Write::Purge(world.endpoint.id, many(100))]).await, [Effect::Purged(More::No)]);
    assert_eq!(world.reads().cut_off(many(10)).await.expect("reads work"), []);
    assert_eq!(world.waiting().await, [new]);
    assert!(world.letter(dead.id).await.is_some());
    assert_eq!(world.refused(Write::Redrive(letters[0], NOW)).await, Refused::NoDeadLetter);
    let back = Endpoint { generation: Generation(0), ..world.endpoint.clone() };
    assert_eq!(world.refused(world.put(&back)).await, Refused::Generation, "what is dead stays dead");
}

/// What was looked for to be purged is of no use once more is cut off.
pub async fn what_is_cut_off_meanwhile_is_purged_as_well(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    full_queue(&world).await;
    let world = World { endpoint: Endpoint { generation: Generation(1), ..world.endpoint.clone() }, ..world };
    world.write([world.put(&world.endpoint)]).await;
    let letters = full_queue(&world).await;
    world.store.find_cut_off(world.endpoint.id, many(100)).await.expect("it looks");
    world.write([Write::DropEndpoint(world.endpoint.id)]).await;
    assert_eq!(world.write([Write::Purge(world.endpoint.id, many(100))]).await, [Effect::Purged(More::No)]);
    world.write([world.put(&world.endpoint)]).await;
    let world = world.reopen(medium).await;
    assert_eq!(world.waiting().await, [], "of an endpoint that has its id");
    assert_eq!(world.letter(letters[0]).await, None);
}

/// What was tried stays on record when the endpoint is gone.
pub async fn attempts_outlive_their_endpoint(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    let delivery = world.publish("a").await;
    world.give_up(&delivery).await;
    world.write([Write::DropEndpoint(world.endpoint.id)]).await;
    world.write([Write::Purge(world.endpoint.id, many(100))]).await;
    let attempts = world.attempts(delivery.event).await;
    assert_eq!(attempts.len(), 1);
    assert_eq!(world.record(delivery.event).await.state, crate::DeliveryState::GivenUp(None));
}

/// What comes too late for a deleted endpoint leaves nothing behind that nobody would purge.
pub async fn nothing_is_written_behind_a_purge(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    world.write([Write::DropEndpoint(world.endpoint.id)]).await;
    world.write([Write::Purge(world.endpoint.id, many(100))]).await;
    world.write([Write::Soft(world.endpoint.id, SoftState::default())]).await;
    assert_eq!(world.write([Write::Purge(world.endpoint.id, many(100))]).await, [Effect::Purged(More::No)]);
}

/// Rows of every kind: two lanes with two rows each, two of them waiting; two letters; soft state.
async fn full_queue(world: &World) -> Vec<DeliveryId> {
    let mut letters = Vec::new();
    for key in ["a", "b"] {
        let dead = world.publish(key).await;
        letters.push(world.give_up(&dead).await.id);
        let head = world.publish(key).await;
        world.step(failed(&head, NOW + HOUR)).await;
        world.publish(key).await;
    }
    world.write([Write::Soft(world.endpoint.id, SoftState::default())]).await;
    letters
}
