//! Events are taken once, whole, in order.

use std::sync::Arc;

use postrider_core::{
    Acceptance, Batch, DeliveryId, Durability, Effect, Event, Guard, LaneId, OnExhausted, OrderingKey, OrderingMode,
    Place, QueueLimit, Recipient, RecipientLane, Refused, Seq, Write,
};

use crate::{
    OpenStore, PageRequest,
    testing::world::{World, acceptance, application, endpoint},
};

const CONCURRENT: OrderingMode = OrderingMode::Concurrent;

/// What was committed is there after the store was dropped and opened again.
pub async fn what_was_committed_is_there_after_reopening(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let delivery = world.publish("a").await;
    let world = world.reopen(medium).await;
    assert_eq!(world.ready().await, std::slice::from_ref(&delivery));
    let event = world.reads().event(world.application.id, delivery.event).await.expect("reads work");
    assert!(event.is_some());
    assert_eq!(world.reads().endpoint(world.endpoint.id).await.expect("reads work"), Some(world.endpoint.clone()));
}

/// A relaxed commit is visible as soon as it is answered, and the death of the process does not take it.
pub async fn a_relaxed_commit_is_visible_at_once(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let batch = Batch::synced([Write::Accept(world.acceptance(plain()))]).relaxed();
    world.store.commit(Arc::new([batch]), Durability::Relaxed).await.expect("commits").remove(0).expect("stands");
    assert_eq!(world.ready().await.len(), 1);
    assert_eq!(world.reopen(medium).await.ready().await.len(), 1);
}

/// Requests of different callers share a commit, not their fate: all of a batch is stored, or nothing of it.
pub async fn a_refused_batch_leaves_no_trace_and_fails_no_other(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let nobody = DeliveryId { endpoint: world.endpoint.id, seq: Seq(99) };
    let accept = || Write::Accept(world.acceptance(plain().uid("half-done")));
    let wrong = Batch::synced([accept(), Write::Redrive(nobody, super::super::world::NOW)]);
    let verdicts = world.commit([wrong, Batch::synced([accept()])]).await;
    assert_eq!(verdicts[0], Err(Refused::NoDeadLetter));
    assert!(verdicts[1].is_ok(), "the uid of an event that was not stored is free: {verdicts:?}");
    assert_eq!(world.ready().await.len(), 1);
}

/// The batches of a group apply one after another.
pub async fn a_batch_sees_those_before_it_in_its_group(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let named = || Batch::synced([Write::Accept(world.acceptance(plain().uid("order-7")))]);
    let verdicts = world.commit([named(), named()]).await;
    let (_, first) = verdicts[0].as_ref().expect("the first is new").accepted().expect("it is accepted");
    assert_eq!(verdicts[1], Err(Refused::EventUidTaken(first)));
}

/// Positions and ids grow together, in the order of commits, whatever lies between.
pub async fn positions_and_ids_only_grow(medium: &dyn OpenStore) {
    let mut world = World::open(medium, CONCURRENT).await;
    let mut all = Vec::new();
    for _ in 0..3 {
        let batch =
            || Batch::synced([Write::Accept(world.acceptance(plain())), Write::Accept(world.acceptance(plain()))]);
        for committed in world.commit([batch(), batch()]).await {
            let effects = committed.expect("nothing stands against it").effects;
            all.extend(effects.into_iter().map(|effect| match effect {
                Effect::Accepted(seq, id, _) => (seq, id),
                other => panic!("it is accepted: {other:?}"),
            }));
        }
        world = world.reopen(medium).await;
    }
    assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{all:?}");
}

/// Every part of an event comes back as it was published; its payload is bytes.
pub async fn an_event_is_read_as_it_was_published(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let payload: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let event = Event::new("invoice.paid", payload)
        .uid("invoice-7")
        .content_type("application/octet-stream")
        .channels(["eu", "vip"])
        .ordering_key("customer \u{1f60a} \u{0}")
        .idempotency_key("k");
    let published = world.acceptance(event.clone());
    let delivery = world.accept(published.clone()).await.remove(0);
    let world = world.reopen(medium).await;
    let stored = world.reads().event(world.application.id, delivery.event).await.expect("reads work");
    let stored = stored.expect("it is there");
    assert_eq!((stored.id, stored.accepted_at), (delivery.event, published.accepted_at));
    assert_eq!(*stored.event, event);
    let other = application(2);
    assert_eq!(world.reads().event(other.id, delivery.event).await.expect("reads work"), None, "it is not theirs");
}

/// Each recipient has its own delivery, where its ordering says.
pub async fn each_recipient_waits_where_its_ordering_says(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let generation = world.endpoint.generation;
    let (per_key, fifo) = (OrderingMode::PerKey(OnExhausted::Continue), OrderingMode::Fifo(OnExhausted::Hold));
    let others = [endpoint(&world.application, 2, per_key), endpoint(&world.application, 3, fifo)];
    world.write(others.iter().map(|other| world.put(other))).await;
    let key = LaneId::of(&OrderingKey("key".into()));
    let to = |endpoint, lane| Recipient { endpoint, generation, lane, queue: QueueLimit::default() };
    let recipients = vec![
        to(world.endpoint.id, RecipientLane::Unordered),
        to(others[0].id, RecipientLane::In(key)),
        to(others[1].id, RecipientLane::In(LaneId::WHOLE)),
    ];
    let expected = world.accept(acceptance(&world.application, plain(), recipients)).await;
    let in_lane = Place::Lane { due: None, held: false };
    assert_eq!(expected.iter().map(|delivery| delivery.place).collect::<Vec<_>>(), [Place::Ready, in_lane, in_lane]);
    let mut endpoints = vec![world.endpoint.clone()];
    endpoints.extend(others);
    for (endpoint, expected) in endpoints.into_iter().zip(expected) {
        let page = PageRequest::default();
        let found = world.reads().queue(endpoint.id, generation, &page).await.expect("reads work").items;
        assert_eq!(found, [expected]);
    }
}

/// An event that nobody wants is kept as well.
pub async fn an_event_without_recipients_is_kept(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let unwanted = Acceptance { recipients: Vec::new(), ..world.acceptance(plain()) };
    let effects = world.write([Write::Accept(unwanted)]).await;
    let Effect::Accepted(_, id, _) = effects[0] else { panic!("it is accepted: {effects:?}") };
    assert!(world.reads().event(world.application.id, id).await.expect("reads work").is_some());
    assert_eq!(
        world.reads().deliveries(world.application.id, id, &PageRequest::default()).await.expect("reads work").items,
        []
    );
}

/// A publish that was planned for other endpoints is planned again, also if they changed in the same group.
pub async fn a_publish_planned_for_other_endpoints_is_refused(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let routing = async || {
        let read = world.reads().application(world.application.id).await.expect("reads work");
        read.expect("the application is there").routing
    };
    let planned = routing().await;
    let publish = |routing| {
        let guard = Guard::Routing(world.application.id, routing);
        Batch::synced([Write::Accept(world.acceptance(plain()))]).guarded(guard)
    };
    let new = Batch::synced([world.put(&endpoint(&world.application, 2, CONCURRENT))]);
    let verdicts = world.commit([publish(planned), new, publish(planned)]).await;
    assert!(verdicts[0].is_ok());
    assert_eq!(verdicts[2], Err(Refused::Routing));
    assert!(world.verdict(publish(routing().await)).await.is_ok());

    let nobody = application(9).id;
    let unknown = Batch::synced([Write::Accept(world.acceptance(plain()))]).guarded(Guard::Routing(nobody, 0));
    assert_eq!(world.verdict(unknown).await, Err(Refused::Routing), "there is no such application");
}

fn plain() -> Event {
    Event::new("case.accepted", "{}")
}
