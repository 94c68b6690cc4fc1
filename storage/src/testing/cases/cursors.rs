//! Cursors come from outside: they show nothing of anyone else, and nothing breaks on them.

use bytes::Bytes;
use postrider_core::{OrderingMode, Write};

use crate::{
    Cursor, DeadLetterQuery, EventQuery, OpenStore, PageRequest,
    testing::world::{HOUR, NOW, World, application, endpoint, failed, many},
};

/// Whatever a cursor is, a list shows its own items only.
pub async fn a_cursor_shows_nothing_of_another_list(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let neighbour = endpoint(&world.application, 2, OrderingMode::Concurrent);
    let other = application(2);
    world.write([world.put(&neighbour), Write::Application(Box::new(other.clone()))]).await;
    let mut cursors = foreign();
    let mut world = world;
    for endpoint in [neighbour.clone(), world.endpoint.clone()] {
        world = World { endpoint, ..world };
        for _ in 0..3 {
            let (dead, waits, retried) = (world.publish("a").await, world.publish("a").await, world.publish("a").await);
            world.give_up(&dead).await;
            world.step(failed(&retried, NOW + HOUR)).await;
            assert_ne!(waits.id, dead.id);
        }
        cursors.extend(own(&world).await);
    }
    let reads = world.reads();
    let (id, generation) = (world.endpoint.id, world.endpoint.generation);
    let letters = DeadLetterQuery { endpoints: vec![id], ..DeadLetterQuery::default() };
    for cursor in cursors {
        let page = PageRequest { after: Some(Cursor(cursor)), limit: many(100) };
        let queue = reads.queue(id, generation, &page).await.expect("a strange cursor is no failure");
        assert!(queue.items.iter().all(|delivery| delivery.id.endpoint == id), "{page:?}");
        let attempts = reads.attempts_of_endpoint(id, &page).await.expect("a strange cursor is no failure");
        assert!(attempts.items.iter().all(|record| record.delivery.endpoint == id), "{page:?}");
        let found = reads.dead_letters(&letters, &page).await.expect("a strange cursor is no failure");
        assert!(found.items.iter().all(|letter| letter.last.id.endpoint == id), "{page:?}");
        let events = reads.events(&EventQuery::of(other.id), &page).await.expect("a strange cursor is no failure");
        assert_eq!(events.items, [], "{page:?}");
        reads.applications(&page).await.expect("a strange cursor is no failure");
        reads.endpoints(&page).await.expect("a strange cursor is no failure");
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
    let letters = DeadLetterQuery { endpoints: vec![id], ..DeadLetterQuery::default() };
    for cursor in foreign() {
        let page = PageRequest { after: Some(Cursor(cursor)), limit: many(100) };
        let items = [
            reads.queue(id, generation, &page).await.expect("no failure").items.len(),
            reads.attempts_of_endpoint(id, &page).await.expect("no failure").items.len(),
            reads.dead_letters(&letters, &page).await.expect("no failure").items.len(),
            reads.events(&EventQuery::of(world.application.id), &page).await.expect("no failure").items.len(),
            reads.applications(&page).await.expect("no failure").items.len(),
            reads.endpoints(&page).await.expect("no failure").items.len(),
        ];
        assert_eq!(items, [0; 6], "{page:?}");
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
    let rest = PageRequest { after: first.next, limit: many(2) };
    let rest = world.reads().dead_letters(&letters, &rest).await.expect("reads work").items;
    assert_eq!(rest.iter().map(|letter| letter.last.id).collect::<Vec<_>>(), [dead[1], dead[0]]);
}

/// Cursors of every list of this world's endpoint and application.
async fn own(world: &World) -> Vec<Bytes> {
    let (reads, page) = (world.reads(), PageRequest::first(many(1)));
    let (id, generation) = (world.endpoint.id, world.endpoint.generation);
    let letters = DeadLetterQuery { endpoints: vec![id], ..DeadLetterQuery::default() };
    let cursors = [
        reads.queue(id, generation, &page).await.expect("reads work").next,
        reads.attempts_of_endpoint(id, &page).await.expect("reads work").next,
        reads.dead_letters(&letters, &page).await.expect("reads work").next,
        reads.events(&EventQuery::of(world.application.id), &page).await.expect("reads work").next,
        reads.endpoints(&page).await.expect("reads work").next,
        reads.applications(&page).await.expect("reads work").next,
    ];
    cursors.into_iter().flatten().map(|Cursor(bytes)| bytes).collect()
}

/// Bytes that are no cursor of any list: of lengths that none has.
fn foreign() -> Vec<Bytes> {
    let lengths = [0, 1, 2, 3, 5, 7, 100, 1000, 100_000];
    let filled = |byte: u8| lengths.map(|length| Bytes::from(vec![byte; length]));
    [0, 1, b'R', b'D', b'L', u8::MAX].into_iter().flat_map(filled).collect()
}
