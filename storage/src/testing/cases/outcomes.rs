//! A step of a delivery is stored once, and its end is remembered.

use postrider_core::{
    Attempt, Batch, BreakerState, DeadLetter, Delivery, Effect, GiveUpReason, Guard, OnExhausted, OrderingMode,
    PerPriority, Refused, Seq, SoftState, Then, Transition, Write,
};

use crate::{
    DeliveryState, OpenStore,
    testing::world::{
        HOUR, NOW, World, attempt, cancelled, expired, failed, given_up, holding, outcome, seqs, succeeded,
    },
};

const CONCURRENT: OrderingMode = OrderingMode::Concurrent;

/// A success leaves an attempt, and nothing that waits.
pub async fn a_success_is_the_end(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let delivery = world.publish("a").await;
    let transition = succeeded(&delivery);
    assert_eq!(world.step(transition.clone()).await, Effect::Done);
    let world = world.reopen(medium).await;
    assert_eq!(world.waiting().await, []);
    let record = world.record(delivery.event).await;
    assert_eq!((record.id, record.state), (delivery.id, DeliveryState::Delivered));
    let expected = attempt(&delivery, postrider_core::Outcome::Success { status: 200 }, Then::Delivered);
    let kept: Vec<_> = world.attempts(delivery.event).await.into_iter().map(|record| record.attempt).collect();
    assert_eq!(kept, [expected], "all of it");
    assert_eq!((record.attempts, record.last), (1, Some(Attempt { response: Box::default(), ..kept[0].clone() })));
}

/// Who does not know whether an outcome arrived commits it again, and is told that it did; anyone else is told no.
pub async fn an_outcome_is_stored_once(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let delivery = world.publish("a").await;
    let own = succeeded(&delivery);
    let postrider_core::Step::Attempted(attempt) = &own.step else { unreachable!("it was attempted") };
    let id = attempt.id;
    let verdicts = world.commit([outcome(own.clone()), outcome(own.clone())]).await;
    assert_eq!(verdicts[1], Err(Refused::Stands(Some(id))));
    let world = world.reopen(medium).await;
    assert_eq!(world.verdict(outcome(own)).await, Err(Refused::Stands(Some(id))));
    let other = cancelled(&delivery, NOW);
    assert_eq!(world.verdict(outcome(other)).await, Err(Refused::Stands(None)));
}

/// A failure that is committed again after its retry is known by its attempt.
pub async fn a_failure_is_stored_once(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let delivery = world.publish("a").await;
    let first = failed(&delivery, NOW + HOUR);
    world.step(first.clone()).await;
    world.step(failed(&world.due().await[0], NOW + HOUR * 2)).await;
    let postrider_core::Step::Attempted(attempt) = &first.step else { unreachable!("it was attempted") };
    let id = attempt.id;
    assert_eq!(world.verdict(outcome(first)).await, Err(Refused::Stands(Some(id))));
}

/// A step that was decided about an older row is refused, though a row of that delivery is there.
pub async fn a_step_from_an_old_picture_is_refused(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::PerKey(OnExhausted::Continue)).await;
    let delivery = world.publish("a").await;
    world.step(failed(&delivery, NOW + HOUR)).await;
    assert_eq!(world.verdict(outcome(cancelled(&delivery, NOW))).await, Err(Refused::Stands(None)));
    assert_eq!(world.lane(delivery.lane).await.len(), 1);
}

/// What waits for a retry is unfinished, and says for when.
pub async fn what_waits_for_its_retry_is_pending(medium: &dyn OpenStore) {
    for ordering in [CONCURRENT, OrderingMode::Fifo(OnExhausted::Hold)] {
        let world = World::open(medium, ordering).await;
        let delivery = world.publish("a").await;
        assert_eq!(world.state(delivery.event).await, DeliveryState::Pending(delivery.clone()));
        let transition = failed(&delivery, NOW + HOUR);
        world.step(transition.clone()).await;
        let after = transition.after.expect("it is tried again");
        assert_eq!(world.state(delivery.event).await, DeliveryState::Pending(after.clone()));
        assert_eq!(after.due(), Some(NOW + HOUR));
        world.step(succeeded(&after)).await;
    }
}

/// Giving up leaves a dead letter, and the lane goes on.
pub async fn giving_up_leaves_a_dead_letter(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Fifo(OnExhausted::Continue)).await;
    let (head, next) = (world.publish("a").await, world.publish("a").await);
    let transition = given_up(&head, None);
    world.step(transition.clone()).await;
    let world = world.reopen(medium).await;
    assert_eq!(world.letter(head.id).await, transition.dead);
    assert_eq!(world.state(head.event).await, DeliveryState::GivenUp(transition.dead));
    assert_eq!(world.waiting().await, [next]);
}

/// A given-up head that holds its lane is not passed by, until a person calls it off.
pub async fn a_held_head_holds_its_lane_until_it_is_called_off(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::PerKey(OnExhausted::Hold)).await;
    let (head, next) = (world.publish("a").await, world.publish("a").await);
    let held = holding(&head);
    world.step(given_up(&head, Some(held.clone()))).await;
    assert_eq!(world.lane(head.lane).await, [held.clone(), next.clone()]);
    assert_eq!(world.due().await, [], "it waits for nothing");
    assert!(matches!(world.state(head.event).await, DeliveryState::GivenUp(Some(_))));

    world.step(cancelled(&held, NOW + HOUR)).await;
    assert_eq!(world.lane(head.lane).await, [next]);
    assert_eq!(world.letter(head.id).await, None, "who calls it off has no use for its letter");
    assert_eq!(world.state(head.event).await, DeliveryState::Cancelled(NOW + HOUR));
}

/// When the letter of a head that holds its lane was forgotten, nothing could find its row any more: it was neither called
/// off nor redriven, and its lane stood still until all that waited behind it was too old. The row is what holds the lane.
pub async fn a_held_head_is_found_without_its_letter(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::PerKey(OnExhausted::Hold)).await;
    let (attempted, expired_head) = (world.publish("a").await, world.publish("b").await);
    let (held, held_too) = (holding(&attempted), Delivery { attempts: 0, ..holding(&expired_head) });
    world.step(given_up(&attempted, Some(held.clone()))).await;
    let gone = expired(&expired_head, NOW + HOUR);
    let dead = gone.dead.map(|dead| DeadLetter { last: held_too.clone(), ..dead });
    world.step(Transition { after: Some(held_too.clone()), dead, ..gone }).await;
    for held in [held, held_too] {
        let record = world.record(held.event).await;
        assert!(matches!(record.state, DeliveryState::GivenUp(Some(_))), "{record:?}");
        assert_eq!(record.held, Some(held.clone()));
        world.write([Write::Forget(held.id)]).await;
        let record = world.record(held.event).await;
        assert_eq!((record.state, record.held), (DeliveryState::GivenUp(None), Some(held.clone())));
        world.step(cancelled(&held, NOW + HOUR)).await;
        let record = world.record(held.event).await;
        assert_eq!((record.state, record.held), (DeliveryState::Cancelled(NOW + HOUR), None));
        assert_eq!(world.lane(held.lane).await, []);
    }
    let passed_by = world.publish("c").await;
    world.give_up(&passed_by).await;
    assert_eq!(world.record(passed_by.event).await.held, None, "it holds nothing");
}

/// An end without an attempt is remembered, with its reason or its time.
pub async fn an_end_without_an_attempt_is_remembered(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let (old, unwanted) = (world.publish("a").await, world.publish("b").await);
    world.step(expired(&old, NOW + HOUR)).await;
    world.step(failed(&unwanted, NOW + HOUR)).await;
    world.step(cancelled(&world.due().await[0], NOW + HOUR)).await;
    let world = world.reopen(medium).await;
    assert_eq!(world.waiting().await, []);
    let DeliveryState::GivenUp(Some(letter)) = world.state(old.event).await else { panic!("it was given up") };
    assert_eq!((letter.reason, letter.dead_at), (GiveUpReason::Expired, NOW + HOUR));
    let record = world.record(unwanted.event).await;
    assert_eq!((record.state, record.attempts), (DeliveryState::Cancelled(NOW + HOUR), 1));
}

/// Health is written with the outcome that changes it, and is there after a crash.
pub async fn soft_state_is_what_was_last_written(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    assert_eq!(world.soft().await, SoftState::default());
    let breaker = BreakerState::Open { until: NOW + HOUR, cool_down: HOUR, last_failed: Seq(1) };
    let heads = PerPriority::from_fn(|priority| Seq(7 + priority as u64));
    let soft = SoftState { breaker, throttled_until: Some(NOW), failing_since: Some(NOW), heads, oldest: Some(NOW) };
    let delivery = world.publish("a").await;
    let mut batch = outcome(failed(&delivery, NOW + HOUR));
    batch.writes.push(Write::Soft(world.endpoint.id, soft.clone()));
    world.verdict(batch.clone()).await.expect("it stands");
    batch.writes[1] = Write::Soft(world.endpoint.id, SoftState::default());
    assert!(world.verdict(batch).await.is_err(), "the delivery does not stand so any more");
    assert_eq!(world.reopen(medium).await.soft().await, soft);
}

/// An outcome that comes after its endpoint was deleted is refused.
pub async fn an_outcome_for_a_deleted_endpoint_is_refused(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let (tried, waits): (Delivery, Delivery) = (world.publish("a").await, world.publish("b").await);
    let stored = failed(&tried, NOW + HOUR);
    world.step(stored.clone()).await;
    world.write([Write::DropEndpoint(world.endpoint.id)]).await;
    assert_eq!(world.verdict(outcome(succeeded(&waits))).await, Err(Refused::Generation));
    let again = world.verdict(outcome(stored)).await;
    assert!(matches!(again, Err(Refused::Stands(Some(_)))), "it is stored nevertheless: {again:?}");
    let guard = Guard::Generation(world.endpoint.id, world.endpoint.generation);
    let batch = Batch::synced([Write::Wake(world.endpoint.id, None, Some(NOW))]).guarded(guard);
    assert_eq!(world.verdict(batch).await, Err(Refused::Generation));
    assert_eq!(world.state(waits.event).await, DeliveryState::CutOff);
    assert_eq!(seqs(&world.ready().await), [], "its rows are dead at once");
}
