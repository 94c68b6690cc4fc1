//! One idempotency key, one event, for a day; one uid, one event, for as long as it is kept.

use postrider_core::{
    Acceptance, Batch, Delivery, DeliveryId, Effect, Event, EventId, IdempotencyKey, KEY_REMEMBERED, KeyClaim,
    OrderingMode, Refused, SameBody, Seq, Timestamp, Write,
};

use crate::{
    OpenStore,
    testing::world::{NOW, WEEK, World, acceptance, application},
};

/// The second event with a key is the first one, in the same group, later, and after a reopening.
pub async fn one_key_is_one_event(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let verdicts = world.commit(["a", "a", "b"].map(|body| Batch::synced([keyed(&world, "key", body, NOW)]))).await;
    let (_, first) = verdicts[0].as_ref().expect("the first is new").accepted().expect("it is accepted");
    assert_eq!(verdicts[1], Err(Refused::KeyUsed(first, SameBody::Yes)));
    assert_eq!(verdicts[2], Err(Refused::KeyUsed(first, SameBody::No)));
    let world = world.reopen(medium).await;
    assert_eq!(world.refused(keyed(&world, "key", "a", NOW)).await, Refused::KeyUsed(first, SameBody::Yes));
    assert_eq!(world.ready().await.len(), 1);
}

/// A key is free again a day after its event was accepted, not a nanosecond sooner, wherever that day lies.
pub async fn a_key_is_remembered_for_exactly_a_day(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    for day in 0..9_u32 {
        let (key, at) = (format!("daily-{day}"), NOW + KEY_REMEMBERED * day);
        let first = accepted(&world.write([keyed(&world, &key, "a", at)]).await);
        let free = at + KEY_REMEMBERED;
        let just_before = Timestamp::from_nanos(free.as_nanos() - 1);
        let used = world.refused(keyed(&world, &key, "a", just_before)).await;
        assert_eq!(used, Refused::KeyUsed(first, SameBody::Yes), "day {day}");
        let second = accepted(&world.write([keyed(&world, &key, "a", free)]).await);
        let used = world.refused(keyed(&world, &key, "a", free)).await;
        assert_eq!(used, Refused::KeyUsed(second, SameBody::Yes), "day {day}");
    }
}

/// A clock that was set back makes no key free.
pub async fn a_key_of_the_future_is_used(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let first = accepted(&world.write([keyed(&world, "key", "a", NOW + KEY_REMEMBERED / 2)]).await);
    assert_eq!(world.refused(keyed(&world, "key", "a", NOW)).await, Refused::KeyUsed(first, SameBody::Yes));
}

/// Applications do not share keys, and no key reaches into another one's rows.
pub async fn each_application_has_keys_of_its_own(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let other = application(2);
    world.write([Write::Application(Box::new(other.clone()))]).await;
    world.write([keyed(&world, "key", "a", NOW)]).await;
    for name in ["ke", "key\0", "key2", "KEY"] {
        world.write([keyed(&world, name, "a", NOW)]).await;
    }
    let Write::Accept(theirs) = keyed(&world, "key", "a", NOW) else { unreachable!("it was built as one") };
    world.write([Write::Accept(Acceptance { application: other.id, recipients: Vec::new(), ..theirs })]).await;
}

/// A key belongs to a stored event only.
pub async fn the_key_of_a_refused_batch_is_free(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let nobody = DeliveryId { endpoint: world.endpoint.id, seq: Seq(99) };
    let refused = Batch::synced([keyed(&world, "key", "a", NOW), Write::Forget(nobody)]);
    assert_eq!(world.verdict(refused).await, Err(Refused::NoDeadLetter));
    world.write([keyed(&world, "key", "b", NOW)]).await;
}

/// A uid belongs to its event however long ago that was published, and finds it.
pub async fn an_event_uid_belongs_to_its_event(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let named = |at| {
        let event = Event::new("case.named", "{}").uid("invoice-7");
        Write::Accept(Acceptance { accepted_at: at, ..world.acceptance(event) })
    };
    let first = accepted(&world.write([named(NOW)]).await);
    for at in [NOW, NOW + WEEK, NOW + WEEK * 5] {
        assert_eq!(world.refused(named(at)).await, Refused::EventUidTaken(first));
    }
    let found =
        async |uid: &str| world.reads().event_named(world.application.id, &uid.into()).await.expect("reads work");
    assert_eq!(found("invoice-7").await, Some(first));
    assert_eq!((found("invoice-").await, found("invoice-77").await), (None, None));

    let other = application(2);
    let theirs = acceptance(&other, Event::new("case.named", "{}").uid("invoice-7"), Vec::new());
    let theirs = accepted(&world.write([Write::Application(Box::new(other)), Write::Accept(theirs)]).await[1..]);
    assert_ne!(theirs, first, "another application is free to use it");
}

/// A publisher that repeats itself is told so, and not that its own uid is taken.
pub async fn a_repetition_is_known_by_its_key_before_its_uid(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let event = Event::new("case.named", "{}").uid("invoice-7").idempotency_key("key");
    let publish = || {
        let key = Some(KeyClaim { key: IdempotencyKey("key".into()), body: event.body_hash() });
        Write::Accept(Acceptance { key, ..world.acceptance(event.clone()) })
    };
    let first = accepted(&world.write([publish()]).await);
    assert_eq!(world.refused(publish()).await, Refused::KeyUsed(first, SameBody::Yes));
}

/// Ids go on growing when the clock is set back, and everything stays in reach.
pub async fn a_clock_set_back_loses_no_event(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let mut events = Vec::new();
    for at in [NOW, NOW + WEEK * 2, NOW, NOW + WEEK] {
        let acceptance = Acceptance { accepted_at: at, ..world.acceptance(Event::new("case.clock", "{}")) };
        let delivery: Delivery = world.accept(acceptance).await.remove(0);
        events.push(delivery.event);
    }
    assert!(events.windows(2).all(|pair| pair[0] < pair[1]), "{events:?}");
    for event in &events {
        assert!(world.reads().event(world.application.id, *event).await.expect("reads work").is_some());
        assert_eq!(world.record(*event).await.event, *event);
    }
}

fn keyed(world: &World, key: &str, body: &'static str, at: Timestamp) -> Write {
    let event = Event::new("case.keyed", body).idempotency_key(key);
    let claim = KeyClaim { key: IdempotencyKey(key.into()), body: event.body_hash() };
    Write::Accept(Acceptance { accepted_at: at, key: Some(claim), ..world.acceptance(event) })
}

fn accepted(effects: &[Effect]) -> EventId {
    let Some(Effect::Accepted(_, id, _)) = effects.first() else { panic!("it is accepted: {effects:?}") };
    *id
}
