//! Applications and endpoints: what names them, what is guarded, what a change does to a queue.

use postrider_core::{
    Application, Batch, Effect, Endpoint, Generation, Guard, OnExhausted, OrderingMode, RecordId, Refused, Write,
};

use crate::{
    OpenStore,
    testing::world::{NOW, World, application, endpoint, succeeded},
};

const CONCURRENT: OrderingMode = OrderingMode::Concurrent;

/// A uid belongs to one record of its owner, and is free when that record gives it up or goes.
pub async fn a_uid_names_one_record(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let named = |n, uid: &str| {
        let mut endpoint = endpoint(&world.application, n, CONCURRENT);
        endpoint.spec.uid = Some(uid.into());
        endpoint
    };
    world.write([world.put(&named(2, "hook"))]).await;
    world.write([world.put(&named(2, "hook"))]).await;
    assert_eq!(world.refused(world.put(&named(3, "hook"))).await, Refused::UidTaken);
    world.write([world.put(&named(2, "renamed")), world.put(&named(3, "hook"))]).await;
    assert_eq!(world.refused(world.put(&named(4, "renamed"))).await, Refused::UidTaken);
    world.write([Write::DropEndpoint(named(2, "renamed").id)]).await;
    world.write([world.put(&named(4, "renamed"))]).await;

    let mut other = application(2);
    other.spec.uid = Some("acme".into());
    let mut third = application(3);
    third.spec.uid = Some("acme".into());
    world.write([Write::Application(Box::new(other.clone()))]).await;
    assert_eq!(world.refused(Write::Application(Box::new(third.clone()))).await, Refused::UidTaken);
    let mut theirs = endpoint(&other, 5, CONCURRENT);
    theirs.spec.uid = Some("hook".into());
    world.write([world.put(&theirs)]).await;
    world.write([Write::DropEndpoint(theirs.id), Write::DropApplication(other.id)]).await;
    world.write([Write::Application(Box::new(third))]).await;
}

/// A change that nobody saw is not overwritten.
pub async fn a_change_guards_what_its_writer_saw(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let change = |seen| {
        let changed = Endpoint { revision: seen + 1, ..world.endpoint.clone() };
        Batch::synced([world.put(&changed)]).guarded(Guard::Revision(RecordId::Endpoint(changed.id), seen))
    };
    let verdicts = world.commit([change(1), change(1), change(2)]).await;
    assert!(verdicts[0].is_ok() && verdicts[2].is_ok(), "{verdicts:?}");
    assert_eq!(verdicts[1], Err(Refused::Revision));
    let new = application(2);
    let create = || {
        let guard = Guard::Revision(RecordId::Application(new.id), 0);
        Batch::synced([Write::Application(Box::new(new.clone()))]).guarded(guard)
    };
    let verdicts = world.commit([create(), create()]).await;
    assert!(verdicts[0].is_ok());
    assert_eq!(verdicts[1], Err(Refused::Revision), "0 is for a record that is not there");
}

/// Only the store raises the routing version: with every endpoint that is written or dropped, and never back.
pub async fn the_routing_version_only_grows(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let second = endpoint(&world.application, 2, CONCURRENT);
    let routed = |effects: Vec<Effect>| match effects[..] {
        [Effect::Routed(version)] => version,
        _ => panic!("a version is told: {effects:?}"),
    };
    let first = routed(world.write([world.put(&second)]).await);
    let renamed = Application { revision: 2, ..world.application.clone() };
    assert_eq!(world.write([Write::Application(Box::new(renamed))]).await, [Effect::Done]);
    let world = world.reopen(medium).await;
    assert_eq!(routed(world.write([world.put(&second)]).await), first + 1);
    assert_eq!(routed(world.write([Write::DropEndpoint(second.id)]).await), first + 2);
    let read = world.reads().application(world.application.id).await.expect("reads work").expect("it is there");
    assert_eq!((read.routing, read.application.revision), (first + 2, 2));
    assert_eq!(world.write([Write::DropEndpoint(second.id)]).await, [Effect::Done], "it is gone already");
}

/// What was dropped is not there, and what names it neither.
pub async fn a_dropped_record_is_gone(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    world.write([Write::DropEndpoint(world.endpoint.id), Write::DropApplication(world.application.id)]).await;
    let world = world.reopen(medium).await;
    assert_eq!(world.reads().endpoint(world.endpoint.id).await.expect("reads work"), None);
    assert_eq!(world.reads().application(world.application.id).await.expect("reads work"), None);
    assert_eq!(world.reads().endpoints(&crate::PageRequest::default()).await.expect("reads work").items, []);
    let routing = Guard::Routing(world.application.id, 0);
    let publish = Batch::synced([Write::Accept(world.acceptance(postrider_core::Event::new("t", "{}")))]);
    assert_eq!(world.verdict(publish.guarded(routing)).await, Err(Refused::Routing));
}

/// A change that would strand the rows of a queue waits until it is empty.
pub async fn a_queue_is_emptied_before_its_order_changes(medium: &dyn OpenStore) {
    let (hold, go_on) = (OnExhausted::Hold, OnExhausted::Continue);
    let world = World::open(medium, OrderingMode::PerKey(hold)).await;
    let delivery = world.publish("a").await;
    let ordered = |ordering| endpoint(&world.application, 1, ordering);
    for ordering in [CONCURRENT, OrderingMode::Fifo(hold)] {
        assert_eq!(world.refused(world.put(&ordered(ordering))).await, Refused::QueueNotEmpty);
        let raised = Endpoint { generation: Generation(1), ..ordered(ordering) };
        assert_eq!(world.refused(world.put(&raised)).await, Refused::QueueNotEmpty);
    }
    world.write([world.put(&ordered(OrderingMode::PerKey(go_on)))]).await;
    assert_eq!(world.lane(delivery.lane).await.len(), 1, "they keep their rows");
    let last = Batch::synced([Write::Outcome(Box::new(succeeded(&delivery)))]);
    let change = Batch::synced([world.put(&ordered(CONCURRENT))]);
    let verdicts = world.commit([last, change]).await;
    assert!(verdicts.iter().all(Result::is_ok), "empty within the same group: {verdicts:?}");
    world.write([world.put(&ordered(OrderingMode::PerKey(hold)))]).await;
    world.resent(delivery.event, NOW).await;
    assert_eq!(world.refused(world.put(&ordered(CONCURRENT))).await, Refused::QueueNotEmpty, "tries by hand count");
}
