//! Cursors come from outside: they show nothing of anyone else, and nothing breaks on them.

use std::cmp::Reverse;

use bytes::Bytes;
use postrider_core::{DeliveryId, EndpointId, EventId, OrderingMode, Seq, Write};

use crate::{
    AttemptQuery, Cursor, DeadLetterQuery, EventQuery, OpenStore, PageRequest, Part,
    testing::world::{HOUR, NOW, World, application, endpoint, failed, many},
};

/// Whatever a cursor is, a list shows its own items only.
pub async fn a_cursor_shows_nothing_of_another_list(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let neighbour = endpoint(&world.application, 2, OrderingMode::Concurrent);
    let other = application(2);
    world.write([world.put(&neighbour), Write::Application(Box::new(other.clone()))]).await;
    let mut cursors = foreign();
    let mut letters_at = Vec::new();
    let mut world = world;
    for endpoint in [neighbour.clone(), world.endpoint.clone()] {
        world = World { endpoint, ..world };
        for _ in 0..3 {
            let (dead, waits, retried) = (world.publish("a").await, world.publish("a").await, world.publish("a").await);
            world.give_up(&dead).await;
            world.step(failed(&retried, NOW + HOUR)).await;
            assert_ne!(waits.id, dead.id);
            letters_at.push(dead.id);
        }
        cursors.extend(own(&world).await);
    }
    let reads = world.reads();
    let (id, generation) = (world.endpoint.id, world.endpoint.generation);
    for page in cursors.into_iter().flat_map(around) {
        let queue = reads.queue(id, generation, &page).await.expect("a strange cursor is no failure");
        assert!(queue.items.iter().all(|delivery| delivery.id.endpoint == id), "{page:?}");
        let attempts = reads.attempts_of_endpoint(&AttemptQuery::of(id), &page).await;
        let attempts = attempts.expect("a strange cursor is no failure").items;
        assert!(attempts.iter().all(|record| record.delivery.endpoint == id), "{page:?}");
    }
    let letters = DeadLetterQuery { endpoints: vec![id], ..DeadLetterQuery::default() };
    for page in letters_at.into_iter().flat_map(around) {
        let found = reads.dead_letters(&letters, &page).await.expect("a strange place is no failure");
        assert!(found.items.iter().all(|letter| letter.last.id.endpoint == id), "{page:?}");
    }
    let published = reads.events(&EventQuery::of(world.application.id), &PageRequest::default()).await;
    for page in published.expect("reads work").items.into_iter().flat_map(|event| around(event.id)) {
        let events = reads.events(&EventQuery::of(other.id), &page).await.expect("a strange place is no failure");
        assert_eq!(events.items, [], "{page:?}");
    }
}

/// A cursor that no store made leads to an empty page.
pub async fn a_cursor_that_no_store_made_leads_nowhere(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let dead = world.publish("a").await;
    world.give_up(&dead).await;
    world.publish("a").await;
    let reads = world.reads();
    let (id, generation) = (world.endpoint.id, world.endpoint.generation);
    for page in foreign().into_iter().flat_map(around) {
        let items = [
            reads.queue(id, generation, &page).await.expect("no failure").items.len(),
            reads.attempts_of_endpoint(&AttemptQuery::of(id), &page).await.expect("no failure").items.len(),
        ];
        assert_eq!(items, [0; 2], "{page:?}");
    }
}

/// Any id is a place in a list of what has such ids: in front of all of it, behind all of it, or between.
pub async fn any_id_is_a_place(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let dead = world.publish("a").await;
    world.give_up(&dead).await;
    let (reads, id) = (world.reads(), world.endpoint.id);
    let letters = DeadLetterQuery { endpoints: vec![id], ..DeadLetterQuery::default() };
    let events = EventQuery::of(world.application.id);
    for (byte, [behind, before]) in [(0, [0, 1]), (u8::MAX, [1, 0])] {
        let page = around(EventId::from_bytes([byte; 20]));
        assert_eq!(reads.events(&events, &page[0]).await.expect("no failure").items.len(), behind, "{page:?}");
        assert_eq!(reads.events(&events, &page[1]).await.expect("no failure").items.len(), before, "{page:?}");
        let page = around(DeliveryId { endpoint: id, seq: Seq(u64::from_be_bytes([byte; 8])) });
        assert_eq!(reads.dead_letters(&letters, &page[0]).await.expect("no failure").items.len(), behind, "{page:?}");
        assert_eq!(reads.dead_letters(&letters, &page[1]).await.expect("no failure").items.len(), before, "{page:?}");
        let page = around(EndpointId::from_bytes([byte; 20]));
        assert_eq!(reads.endpoints(&page[0]).await.expect("no failure").items.len(), before, "{page:?}");
        assert_eq!(reads.endpoints(&page[1]).await.expect("no failure").items.len(), behind, "{page:?}");
        // The place of an endpoint that is not in the list.
        let page = around(DeliveryId { endpoint: EndpointId::from_bytes([byte; 20]), seq: dead.id.seq });
        assert_eq!(reads.dead_letters(&letters, &page[0]).await.expect("no failure").items.len(), before, "{page:?}");
        assert_eq!(reads.dead_letters(&letters, &page[1]).await.expect("no failure").items.len(), behind, "{page:?}");
    }
}

/// A list of the dead letters of several endpoints went on behind the place where it stood only if the endpoint of that
/// place was still among them: when it was deleted between two pages, the rest of the list was empty, and a task over it
/// ended as if it were done. Places compare by order.
pub async fn a_cursor_outlives_its_endpoint(medium: &dyn OpenStore) {
    let mut world = World::open(medium, OrderingMode::Concurrent).await;
    let others = [2, 3].map(|n| endpoint(&world.application, n, OrderingMode::Concurrent));
    world.write(others.iter().map(|other| world.put(other))).await;
    let mut dead = Vec::new();
    for endpoint in [world.endpoint.clone()].into_iter().chain(others) {
        world = World { endpoint, ..world };
        for _ in 0..2 {
            let delivery = world.publish("a").await;
            dead.push(world.give_up(&delivery).await.id);
        }
    }
    dead.sort_unstable_by_key(|id| (id.endpoint, Reverse(id.seq)));
    // Whoever asks names them in any order.
    let named = |ids: &[DeliveryId]| ids.iter().rev().map(|id| id.endpoint).collect::<Vec<_>>();
    let found = async |endpoints: Vec<EndpointId>, page: &PageRequest<DeliveryId>| {
        let letters = DeadLetterQuery { endpoints, ..DeadLetterQuery::default() };
        let found = world.reads().dead_letters(&letters, page).await.expect("reads work");
        found.items.iter().map(|letter| letter.last.id).collect::<Vec<_>>()
    };
    assert_eq!(found(named(&dead), &PageRequest::first(many(100))).await, dead);
    let [first, middle, last] = [&dead[..2], &dead[2..4], &dead[4..]];
    world.write([Write::DropEndpoint(middle[0].endpoint)]).await;
    let left = named(&[first, last].concat());
    for place in middle {
        let [after, before] = around(*place);
        assert_eq!(found(left.clone(), &after).await, last, "{place:?}");
        assert_eq!(found(left.clone(), &before).await, first, "{place:?}");
    }
}

/// A cursor stays good while rows come and go around it.
pub async fn a_cursor_outlives_its_row(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let mut dead = Vec::new();
    for _ in 0..4 {
        let delivery = world.publish("a").await;
        dead.push(world.give_up(&delivery).await.id);
    }
    let letters = DeadLetterQuery { endpoints: vec![world.endpoint.id], ..DeadLetterQuery::default() };
    let first = world.reads().dead_letters(&letters, &PageRequest::first(many(2))).await.expect("reads work");
    assert_eq!(first.items.last().map(|letter| letter.last.id), Some(dead[2]));
    world.write([Write::Forget(dead[2])]).await;
    let world = world.reopen(medium).await;
    let [after, before] = around(first.next.expect("it has a place"));
    let rest = world.reads().dead_letters(&letters, &after).await.expect("reads work").items;
    assert_eq!(rest.iter().map(|letter| letter.last.id).collect::<Vec<_>>(), [dead[1], dead[0]]);
    let back = world.reads().dead_letters(&letters, &before).await.expect("reads work").items;
    assert_eq!(back.iter().map(|letter| letter.last.id).collect::<Vec<_>>(), [dead[3]]);
}

/// What follows a place, and what comes before it.
fn around<C: Clone>(place: C) -> [PageRequest<C>; 2] {
    [Part::After(place.clone()), Part::Before(place)].map(|part| PageRequest { part, limit: many(100) })
}

/// Cursors of every list of this world's endpoint that has cursors.
async fn own(world: &World) -> Vec<Cursor> {
    let (reads, page) = (world.reads(), PageRequest::first(many(1)));
    let (id, generation) = (world.endpoint.id, world.endpoint.generation);
    let queue = reads.queue(id, generation, &page).await.expect("reads work");
    let tried = reads.attempts_of_endpoint(&AttemptQuery::of(id), &page).await.expect("reads work");
    [queue.previous, queue.next, tried.previous, tried.next].into_iter().flatten().collect()
}

/// Bytes that are no cursor of any list: of lengths that none has.
fn foreign() -> Vec<Cursor> {
    let lengths = [0, 1, 2, 3, 5, 7, 100, 1000, 100_000];
    let filled = |byte: u8| lengths.map(|length| Cursor(Bytes::from(vec![byte; length])));
    [0, 1, b'R', b'D', b'L', u8::MAX].into_iter().flat_map(filled).collect()
}
