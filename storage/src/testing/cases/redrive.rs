//! A dead letter back into the queue: the next life.

use postrider_core::{
    Ask, Batch, Delivery, DeliveryId, Effect, Endpoint, Event, Generation, LaneId, Life, OnExhausted, OrderingKey,
    OrderingMode, Place, Refused, Seq, Write,
};

use crate::{
    DeliveryState, OpenStore, PageRequest,
    testing::world::{DAY, HOUR, NOW, World, cancelled, endpoint, expired, failed, given_up, holding, seqs, succeeded},
};

const CONCURRENT: OrderingMode = OrderingMode::Concurrent;
const HOLD: OrderingMode = OrderingMode::PerKey(OnExhausted::Hold);

/// The next life begins at the end of the queue, with attempts counted anew, and its age begins with it.
pub async fn the_next_life_begins_at_the_end_of_the_queue(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let (dead, waits) = (world.publish("a").await, world.publish("b").await);
    world.give_up(&dead).await;
    let again = world.redrive(dead.id).await;
    assert!(again.id.seq > waits.id.seq);
    let expected = Delivery { id: again.id, life: Life(2), since: NOW + DAY, ..dead.clone() };
    assert_eq!(again, expected);
    let world = world.reopen(medium).await;
    assert_eq!(world.ready().await, [waits, again.clone()]);
    assert_eq!(world.letter(dead.id).await, None);
    let record = world.record(dead.event).await;
    assert_eq!((record.id, record.life, record.attempts), (again.id, Life(2), 0));
    assert_eq!(record.state, DeliveryState::Pending(again));
}

/// In a lane that it holds, a delivery begins its next life in its old place, and keeps what was tried before.
pub async fn in_a_held_lane_it_keeps_its_place(medium: &dyn OpenStore) {
    let world = World::open(medium, HOLD).await;
    let (head, next) = (world.publish("a").await, world.publish("a").await);
    world.step(given_up(&head, Some(holding(&head)))).await;
    let again = world.redrive(head.id).await;
    assert_eq!(again, Delivery { life: Life(2), since: NOW + DAY, ..head.clone() });
    assert_eq!(world.lane(head.lane).await, [again.clone(), next]);

    world.step(succeeded(&again)).await;
    let record = world.record(head.event).await;
    assert_eq!((record.life, record.attempts, record.state), (Life(2), 1, DeliveryState::Delivered));
    let all = world.attempts(head.event).await;
    let lives: Vec<_> = all.iter().map(|record| (record.life, record.attempt.number.count())).collect();
    assert_eq!(lives, [(Life(2), 1), (Life(1), 1)], "the first life keeps its attempt");
}

/// Called off while it held its lane, a delivery has no place to go back to, and no letter.
pub async fn what_was_called_off_is_not_redriven(medium: &dyn OpenStore) {
    let world = World::open(medium, HOLD).await;
    let head = world.publish("a").await;
    world.step(given_up(&head, Some(holding(&head)))).await;
    world.step(cancelled(&holding(&head), NOW)).await;
    assert_eq!(world.refused(Write::Redrive(head.id, NOW)).await, Refused::NoDeadLetter);
}

/// One letter is redriven once, also within one batch, which then is refused whole.
pub async fn a_letter_is_redriven_once(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let dead = world.publish("a").await;
    world.give_up(&dead).await;
    let redrive = || Write::Redrive(dead.id, NOW);
    assert_eq!(world.verdict(Batch::synced([redrive(), redrive()])).await, Err(Refused::NoDeadLetter));
    assert_eq!(world.ready().await, [], "the first of the two left no trace");
    let verdicts = world.commit([Batch::synced([redrive()]), Batch::synced([redrive()])]).await;
    assert!(verdicts[0].is_ok());
    assert_eq!(verdicts[1], Err(Refused::NoDeadLetter));
    assert_eq!(world.ready().await.len(), 1);
}

/// Many letters in one batch: one answer each, in their order, each at a position of its own.
pub async fn each_letter_of_a_batch_has_its_answer(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let mut dead = Vec::new();
    for _ in 0..3 {
        dead.push(world.publish("a").await);
    }
    for delivery in &dead {
        world.give_up(delivery).await;
    }
    let effects = world.write(dead.iter().map(|delivery| Write::Redrive(delivery.id, NOW))).await;
    let again: Vec<Delivery> =
        effects.iter().map(|effect| super::super::world::queued(std::slice::from_ref(effect))).collect();
    assert!(again.iter().zip(&dead).all(|(again, dead)| again.event == dead.event), "{again:?}");
    assert_eq!(world.ready().await, again);
}

/// A position that was given to a redrive or a resend is never given again.
pub async fn a_position_is_never_given_twice(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let dead = world.publish("a").await;
    world.give_up(&dead).await;
    let again = world.redrive(dead.id).await;
    let stranger = endpoint(&world.application, 2, CONCURRENT);
    world.write([world.put(&stranger)]).await;
    let world = World { endpoint: stranger, ..world };
    let manual = world.resent(dead.event, NOW).await;
    let world = world.reopen(medium).await;
    let new = world.publish("a").await;
    assert!(dead.id.seq < again.id.seq && again.id.seq < manual.id.seq && manual.id.seq < new.id.seq);
}

/// The third life follows the second, and each keeps its attempts.
pub async fn lives_follow_one_another(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let first = world.publish("a").await;
    world.give_up(&first).await;
    let second = world.redrive(first.id).await;
    world.step(failed(&second, NOW + DAY * 2)).await;
    world.step(expired(&world.due().await[0], NOW + DAY * 3)).await;
    let third = world.redrive(second.id).await;
    assert_eq!(third.life, Life(3));
    world.step(succeeded(&third)).await;
    let all = world.attempts(first.event).await;
    let mut lives: Vec<_> = all.iter().map(|record| (record.life, record.delivery)).collect();
    lives.sort_unstable();
    assert_eq!(lives, [(Life(1), first.id), (Life(2), second.id), (Life(3), third.id)]);
    assert_eq!(world.state(first.event).await, DeliveryState::Delivered);
}

/// After its queue was cut off, a letter is dead as well.
pub async fn nothing_comes_back_into_a_queue_that_was_cut_off(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let (dead, waits) = (world.publish("a").await, world.publish("b").await);
    world.give_up(&dead).await;
    let cut = Endpoint { generation: Generation(1), ..world.endpoint.clone() };
    world.write([world.put(&cut)]).await;
    assert_eq!(world.refused(Write::Redrive(dead.id, NOW)).await, Refused::Generation);
    assert_eq!(world.state(waits.event).await, DeliveryState::CutOff);
    let world = World { endpoint: cut, ..world };
    assert_eq!(world.waiting().await, []);
}

/// A queue that was left empty was not cut off: its letters come back where the ordering says now.
pub async fn letters_outlive_a_change_of_ordering(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let dead = [world.publish("a").await, world.publish("a").await];
    for delivery in &dead {
        world.give_up(delivery).await;
    }
    let per_key = endpoint(&world.application, 1, HOLD);
    let world = World { endpoint: Endpoint { generation: Generation(1), ..per_key }, ..world };
    world.write([world.put(&world.endpoint)]).await;
    let again = world.redrive(dead[0].id).await;
    let lane = LaneId::of(&OrderingKey("a".into()));
    let place = Place::Lane { due: None, held: false };
    assert_eq!((again.lane, again.place, again.generation), (lane, place, Generation(1)));
    assert_eq!(world.window(Ask::Lanes(None)).await.0, std::slice::from_ref(&again));
    world.step(succeeded(&again)).await;

    let fifo = endpoint(&world.application, 1, OrderingMode::Fifo(OnExhausted::Hold));
    let world = World { endpoint: Endpoint { generation: Generation(2), ..fifo }, ..world };
    world.write([world.put(&world.endpoint)]).await;
    let again = world.redrive(dead[1].id).await;
    assert_eq!((again.lane, again.place), (LaneId::WHOLE, place));
    assert_eq!(world.lane(LaneId::WHOLE).await, [again]);
}

/// A letter that was forgotten is gone, and what it was about stays given up.
pub async fn a_forgotten_letter_is_gone(medium: &dyn OpenStore) {
    let world = World::open(medium, HOLD).await;
    let head = world.publish("a").await;
    world.step(given_up(&head, Some(holding(&head)))).await;
    assert_eq!(world.write([Write::Forget(head.id)]).await, [Effect::Done]);
    assert_eq!(world.letter(head.id).await, None);
    assert_eq!(world.state(head.event).await, DeliveryState::GivenUp(None));
    assert_eq!(world.refused(Write::Forget(head.id)).await, Refused::NoDeadLetter);
    assert_eq!(world.refused(Write::Redrive(head.id, NOW)).await, Refused::NoDeadLetter);
    assert_eq!(seqs(&world.lane(head.lane).await), [head.id.seq], "its lane is held until it is called off");
}

/// There is no letter of what was not given up.
pub async fn what_was_not_given_up_is_not_redriven(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let delivery = world.accept(world.acceptance(Event::new("case.lives", "{}"))).await.remove(0);
    assert_eq!(world.refused(Write::Redrive(delivery.id, NOW + HOUR)).await, Refused::NoDeadLetter);
    let nobody = DeliveryId { seq: Seq(u64::MAX), ..delivery.id };
    assert_eq!(world.refused(Write::Redrive(nobody, NOW + HOUR)).await, Refused::NoDeadLetter);
    let page = PageRequest::default();
    let letters = crate::DeadLetterQuery { endpoints: vec![world.endpoint.id], ..crate::DeadLetterQuery::default() };
    assert_eq!(world.reads().dead_letters(&letters, &page).await.expect("reads work").items, []);
}
