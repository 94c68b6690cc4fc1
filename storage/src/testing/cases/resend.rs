//! One try that a person asked for, beside whatever became of the delivery.

use std::{num::NonZeroU32, time::Duration};

use postrider_core::{
    ApplicationId, AttemptNumber, Delivery, Effect, EventId, Generation, GiveUpReason, Life, OnExhausted, OrderingMode,
    Place, Refused, Resend, SplitMix, Trigger, Write,
};

use crate::{
    DeliveryState, OpenStore, PageRequest,
    testing::world::{
        DAY, HOUR, NOW, World, cancelled, endpoint, failed, failed_by_hand, given_up, holding, outcome, queued, seqs,
        succeeded,
    },
};

const CONCURRENT: OrderingMode = OrderingMode::Concurrent;

/// A manual try waits beside the row of its life, and is found by its time.
pub async fn a_try_waits_beside_its_delivery(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let delivery = world.publish("a").await;
    let manual = world.resent(delivery.event, NOW + HOUR).await;
    let number = AttemptNumber::manual(1);
    assert_eq!((manual.id, manual.event, manual.life), (delivery.id, delivery.event, Life::FIRST));
    assert_eq!((manual.place, manual.since), (Place::Manual { at: NOW + HOUR, number }, NOW + HOUR));
    assert_eq!((manual.next_attempt(), manual.trigger(), manual.bytes), (number, Trigger::Manual, delivery.bytes));
    let world = world.reopen(medium).await;
    assert_eq!(world.due().await, [manual]);
    assert_eq!(world.ready().await, std::slice::from_ref(&delivery));
    assert_eq!(world.state(delivery.event).await, DeliveryState::Pending(delivery));
}

/// A failed try changes nothing else; the next one has the next number.
pub async fn a_failed_try_changes_nothing(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let delivery = world.publish("a").await;
    world.give_up(&delivery).await;
    let state = world.state(delivery.event).await;
    let first = world.resent(delivery.event, NOW + HOUR).await;
    assert_eq!(world.step(failed_by_hand(&first)).await, Effect::Done);
    assert_eq!(world.due().await, []);
    assert_eq!(world.state(delivery.event).await, state);
    let world = world.reopen(medium).await;
    let second = world.resent(delivery.event, NOW + HOUR * 2).await;
    let third = world.resent(delivery.event, NOW + HOUR * 2).await;
    assert_eq!((second.next_attempt(), third.next_attempt()), (AttemptNumber::manual(2), AttemptNumber::manual(3)));
    let apart = third.due().zip(second.due()).map(|(third, second)| third.since(second));
    assert_eq!(apart, Some(Duration::from_nanos(1)), "a machine tells them apart by their times");
    world.step(failed_by_hand(&third)).await;
    assert_eq!(world.due().await, [second], "each is a row of its own");
    let tried = world.attempts(delivery.event).await;
    let numbers: Vec<_> = tried.iter().rev().map(|record| record.attempt.number).collect();
    assert_eq!(numbers, [AttemptNumber(1), AttemptNumber::manual(1), AttemptNumber::manual(3)]);
    let record = world.record(delivery.event).await;
    assert_eq!((record.attempts, record.last.map(|last| last.number)), (3, Some(AttemptNumber::manual(3))));
}

/// A success by hand ends the life wherever its row waits, and says which row that was.
pub async fn a_success_by_hand_ends_the_life(medium: &dyn OpenStore) {
    let per_key = OrderingMode::PerKey(OnExhausted::Continue);
    for (n, ordering) in [(1, CONCURRENT), (2, per_key), (3, OrderingMode::Fifo(OnExhausted::Hold))] {
        let world = World::open(medium, ordering).await;
        let world = World { endpoint: endpoint(&world.application, 10 + n, ordering), ..world };
        world.write([world.put(&world.endpoint)]).await;
        for is_waiting in [false, true] {
            let mut scheduled = world.publish("a").await;
            if is_waiting {
                let transition = failed(&scheduled, NOW + HOUR);
                world.step(transition.clone()).await;
                scheduled = transition.after.expect("it is tried again");
            }
            let manual = world.resent(scheduled.event, NOW).await;
            let ended = world.step(succeeded(&manual)).await;
            assert_eq!(ended, Effect::Ended(Some(scheduled.clone())), "{ordering:?}");
            assert_eq!(world.waiting().await, [], "{ordering:?}");
            assert_eq!(world.due().await, [], "{ordering:?}");
            assert_eq!(world.state(scheduled.event).await, DeliveryState::Delivered);
            let late = world.verdict(outcome(succeeded(&scheduled))).await;
            assert_eq!(late, Err(Refused::Stands(None)), "a life ends once");
        }
    }
}

/// A success by hand removes the dead letter, and lets go of the lane that was held.
pub async fn a_success_by_hand_removes_the_dead_letter(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::PerKey(OnExhausted::Hold)).await;
    let (head, next) = (world.publish("a").await, world.publish("a").await);
    let held = holding(&head);
    world.step(given_up(&head, Some(held.clone()))).await;
    let manual = world.resent(head.event, NOW + HOUR).await;
    assert_eq!(world.step(succeeded(&manual)).await, Effect::Ended(Some(held)));
    assert_eq!(world.letter(head.id).await, None);
    assert_eq!(world.lane(head.lane).await, std::slice::from_ref(&next));
    assert_eq!(world.state(head.event).await, DeliveryState::Delivered);

    world.give_up(&next).await;
    let manual = world.resent(next.event, NOW + HOUR).await;
    assert_eq!(world.step(succeeded(&manual)).await, Effect::Ended(None), "nothing waited");
    assert_eq!(world.letter(next.id).await, None);
}

/// A try of an earlier life does not end a later one.
pub async fn a_try_of_an_earlier_life_ends_no_later_one(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::PerKey(OnExhausted::Hold)).await;
    let head = world.publish("a").await;
    world.step(given_up(&head, Some(holding(&head)))).await;
    let manual = world.resent(head.event, NOW).await;
    let second = world.redrive(head.id).await;
    assert_eq!(world.step(succeeded(&manual)).await, Effect::Ended(None));
    assert_eq!(world.lane(head.lane).await, std::slice::from_ref(&second));
    let manual = world.resent(head.event, NOW).await;
    assert_eq!((manual.life, manual.next_attempt()), (Life(2), AttemptNumber::manual(1)), "it is of the current life");
    assert_eq!(world.step(succeeded(&manual)).await, Effect::Ended(Some(second)));
}

/// An endpoint that was no recipient gets a life that is only ever tried by hand.
pub async fn an_endpoint_that_was_no_recipient_gets_it_by_hand(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let event = world.publish("a").await.event;
    let stranger = endpoint(&world.application, 2, OrderingMode::Fifo(OnExhausted::Continue));
    world.write([world.put(&stranger)]).await;
    let world = World { endpoint: stranger, ..world };
    let first = world.resent(event, NOW).await;
    assert_eq!(world.state(event).await, DeliveryState::Manual);
    world.step(failed_by_hand(&first)).await;
    let second = world.resent(event, NOW).await;
    assert_eq!((second.id, second.next_attempt()), (first.id, AttemptNumber::manual(2)), "it is one life");
    assert_eq!(world.step(succeeded(&second)).await, Effect::Ended(None));
    let records = world.reads().deliveries(world.application.id, event, &PageRequest::default()).await;
    let records = records.expect("reads work").items;
    let states: Vec<_> = records.iter().map(|record| (record.attempts, &record.state)).collect();
    assert!(states.contains(&(2, &DeliveryState::Delivered)), "{states:?}");
    assert_eq!(states.len(), 2);
}

/// A try that is called off or too late says nothing about its life.
pub async fn a_try_that_is_called_off_ends_nothing(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let delivery = world.publish("a").await;
    let manual = world.resent(delivery.event, NOW).await;
    world.step(cancelled(&manual, NOW + DAY)).await;
    assert_eq!(seqs(&world.waiting().await), [delivery.id.seq]);
    assert_eq!(world.state(delivery.event).await, DeliveryState::Pending(delivery));
}

/// Only what is there can be sent, only to whom is there.
pub async fn a_try_needs_an_event_and_an_endpoint(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let event = world.publish("a").await.event;
    let asked = world.resend(event, NOW);
    let unknown = EventId::new(NOW, &mut SplitMix::new(99));
    assert_eq!(world.refused(Write::Resend(Resend { event: unknown, ..asked })).await, Refused::NoEvent);
    let other = ApplicationId::new(NOW, &mut SplitMix::new(99));
    assert_eq!(world.refused(Write::Resend(Resend { application: other, ..asked })).await, Refused::NoEvent);
    let cut = Resend { generation: Generation(7), ..asked };
    assert_eq!(world.refused(Write::Resend(cut)).await, Refused::Generation);
    let given_up: Delivery = world.ready().await.remove(0);
    world.give_up(&given_up).await;
    assert_eq!(world.letter(given_up.id).await.map(|letter| letter.reason), Some(GiveUpReason::Exhausted));
}

/// Thousands of tries by hand of one event were taken by an endpoint that may have one waiting. There are so many of a
/// life, whatever became of them; and each that waits takes a place in the queue.
pub async fn tries_by_hand_are_bounded(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let delivery = world.publish("a").await;
    let (two, three) = (NonZeroU32::MIN.saturating_add(1), NonZeroU32::MIN.saturating_add(2));
    let asked = Resend { tries_max: two, ..world.resend(delivery.event, NOW) };
    let try_it = async || queued(&world.write([Write::Resend(asked)]).await);
    world.step(failed_by_hand(&try_it().await)).await;
    world.step(failed_by_hand(&try_it().await)).await;
    assert_eq!(world.refused(Write::Resend(asked)).await, Refused::TriesUsedUp, "though none waits");
    let world = world.reopen(medium).await;
    assert_eq!(world.refused(Write::Resend(asked)).await, Refused::TriesUsedUp);
    world.count().await;
    let other = world.publish("b").await;
    let asked = Resend { limit: three, ..world.resend(other.event, NOW) };
    let manual = queued(&world.write([Write::Resend(asked)]).await);
    let full = Refused::QueueFull(delivery.id.endpoint);
    assert_eq!(world.refused(Write::Resend(asked)).await, full, "two deliveries wait, and a try");
    world.step(failed_by_hand(&manual)).await;
    world.write([Write::Resend(asked)]).await;
}
