//! A queue takes so many deliveries: one more is a dead letter from the beginning, or is refused.

use std::num::NonZeroU32;

use postrider_core::{
    Acceptance, Batch, Delivery, DeliveryId, Effect, Endpoint, Event, GiveUpReason, Guard, OnExhausted, OrderingMode,
    Priority, QueueLimit, Refused, Replay, ReplayTo, Seq, WhenFull, Write,
};

use crate::{
    DeliveryState, OpenStore,
    testing::world::{DAY, HOUR, NOW, World, failed, given_up, holding, many, succeeded},
};

const CONCURRENT: OrderingMode = OrderingMode::Concurrent;
const HOLD: OrderingMode = OrderingMode::PerKey(OnExhausted::Hold);

/// The event is accepted, its delivery is a dead letter, and neither waits nor counts.
pub async fn over_its_limit_a_delivery_is_a_dead_letter(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let first = publish(&world, 2, WhenFull::DeadLetter).await;
    let second = publish(&world, 2, WhenFull::DeadLetter).await;
    let third = publish(&world, 2, WhenFull::DeadLetter).await;
    assert_eq!([first.1, second.1, third.1], [false, false, true]);
    assert_eq!(world.ready().await, [first.0.clone(), second.0]);
    let letter = world.letter(third.0.id).await.expect("it is a dead letter");
    assert_eq!((letter.reason, letter.dead_at, &letter.last), (GiveUpReason::QueueFull, NOW, &third.0));
    assert_eq!(world.state(third.0.event).await, DeliveryState::GivenUp(Some(letter)));
    world.step(succeeded(&first.0)).await;
    assert!(!publish(&world, 2, WhenFull::DeadLetter).await.1, "there is room again");
    assert!(publish(&world, 2, WhenFull::DeadLetter).await.1);
}

/// What was published for later comes to a queue that is full meanwhile.
pub async fn what_was_put_off_is_a_dead_letter_where_its_queue_is_full(medium: &dyn OpenStore) {
    for ordering in [CONCURRENT, HOLD] {
        let world = World::open(medium, ordering).await;
        let event = Event::new("case.published", "{}").ordering_key("a").priority(Priority::High);
        let later =
            world.write([Write::Accept(crate::testing::world::acceptance(&world.application, event, vec![]))]).await;
        let Effect::Accepted(_, event, _) = later[0] else { panic!("an acceptance is accepted: {later:?}") };
        let first = publish(&world, 2, WhenFull::DeadLetter).await.0;
        let begin = |limit| {
            let Endpoint { id: endpoint, generation, application, .. } = world.endpoint;
            let (at, whom, limit) = (NOW + HOUR, ReplayTo::Missing, NonZeroU32::new(limit));
            Write::Replay(Replay { application, event, endpoint, generation, at, whom, limit })
        };
        let effects = world.write([begin(1)]).await;
        let Effect::Dead(dead) = &effects[0] else { panic!("the queue is full: {effects:?}") };
        assert_eq!((dead.event, dead.priority, world.waiting().await), (event, Priority::High, vec![first]));
        let letter = world.letter(dead.id).await.expect("it is a dead letter");
        assert_eq!((letter.reason, letter.dead_at, &letter.last), (GiveUpReason::QueueFull, NOW + HOUR, dead));
        assert_eq!(world.state(event).await, DeliveryState::GivenUp(Some(letter)));
        assert_eq!(world.write([begin(9)]).await, [Effect::Done], "it was a recipient");
        world.redrive(dead.id).await;
        assert_eq!(world.waiting().await.len(), 2);
        world.write([Write::DropEndpoint(world.endpoint.id)]).await;
        world.write([Write::Purge(world.endpoint.id, std::num::NonZeroUsize::MAX)]).await;
    }
}

/// Two publishers in one group: the second one sees what the first one took.
pub async fn two_publishers_in_one_group_do_not_both_pass(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let accept = |limit| Batch::synced([Write::Accept(acceptance(&world, limit, WhenFull::Refuse))]);
    let verdicts = world.commit([accept(1), accept(1), accept(2)]).await;
    assert_eq!(verdicts[1], Err(Refused::QueueFull(world.endpoint.id)));
    assert!(verdicts[0].is_ok() && verdicts[2].is_ok(), "what was refused takes no place: {verdicts:?}");
    assert_eq!(world.ready().await.len(), 2);
}

/// What counts is what waits, wherever: retries, the heads of lanes that wait or hold, tries by hand.
pub async fn what_waits_counts_whatever_it_waits_for(medium: &dyn OpenStore) {
    for ordering in [CONCURRENT, HOLD] {
        let mut world = World::open(medium, ordering).await;
        let [retried, held, tried] = [world.publish("a").await, world.publish("b").await, world.publish("c").await];
        world.step(failed(&retried, NOW + HOUR)).await;
        world.resent(tried.event, NOW).await;
        let held_row = (ordering == HOLD).then(|| holding(&held));
        world.step(given_up(&held, held_row)).await;
        let waiting = if ordering == HOLD { 4 } else { 3 };
        for _ in 0..2 {
            assert!(has_room(&world, waiting + 1).await, "{ordering:?}");
            assert!(!has_room(&world, waiting).await, "{ordering:?}");
            world = world.reopen(medium).await;
            world.count().await;
        }
        world.redrive(held.id).await;
        assert!(has_room(&world, 5).await && !has_room(&world, 4).await, "{ordering:?}, with the next life");
        world.write([Write::DropEndpoint(world.endpoint.id)]).await;
        world.write([Write::Purge(world.endpoint.id, std::num::NonZeroUsize::MAX)]).await;
    }
}

/// A queue is counted a piece at a time, beside the commits, and known to be full once as many are counted.
pub async fn a_long_queue_is_counted_piece_by_piece(medium: &dyn OpenStore) {
    const ROWS: u32 = 20_000;
    let world = World::open(medium, HOLD).await;
    for _ in 0..ROWS / 1_000 {
        let accept = |_| Batch::synced([Write::Accept(acceptance(&world, u32::MAX, WhenFull::Refuse))]);
        world.commit((0..1_000).map(accept)).await;
    }
    let world = world.reopen(medium).await;
    let mut pieces = 0;
    while has_room(&world, ROWS).await {
        let counted = world.store.count_queued(many(3_000)).await.expect("it counts");
        assert!(counted.queued.iter().all(|queued| queued.by <= 3_000), "{counted:?}");
        pieces += 1;
        assert!(pieces < 10, "it is counted at last");
    }
    world.count().await;
    assert!(has_room(&world, ROWS + 1).await, "and not beyond what there is");
}

/// No commit waits for a queue to be counted: after an opening its limit is kept as far as it is known. It grows over it by
/// what comes before it is counted, and by no more than it may hold.
pub async fn after_an_opening_a_queue_takes_no_more_than_it_may_hold(medium: &dyn OpenStore) {
    for ordering in [CONCURRENT, HOLD] {
        let mut world = World::open(medium, ordering).await;
        for _ in 0..3 {
            assert!(!publish(&world, 3, WhenFull::DeadLetter).await.1, "{ordering:?}");
        }
        world = world.reopen(medium).await;
        for taken in 0..6 {
            let (delivery, is_full) = publish(&world, 3, WhenFull::DeadLetter).await;
            assert_eq!(is_full, taken >= 3, "{ordering:?}");
            if taken == 1 {
                world.step(succeeded(&delivery)).await;
                assert!(!publish(&world, 3, WhenFull::DeadLetter).await.1, "{ordering:?}: it is gone again");
            }
        }
        assert_eq!(world.waiting().await.len(), 6, "{ordering:?}");
        world.count().await;
        assert!(has_room(&world, 7).await && !has_room(&world, 6).await, "{ordering:?}");
        world.write([Write::DropEndpoint(world.endpoint.id)]).await;
        world.write([Write::Purge(world.endpoint.id, std::num::NonZeroUsize::MAX)]).await;
    }
}

/// The limit binds whoever redrives, too, and leaves the letter where it is.
pub async fn a_full_queue_takes_nothing_back(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let dead = world.give_up(&world.publish("a").await).await;
    world.publish("b").await;
    let redrive = Batch::synced([Write::Redrive(dead.id, NOW + DAY)]).guarded(room(&world, dead.id, 1));
    assert_eq!(world.verdict(redrive).await, Err(Refused::QueueFull(world.endpoint.id)));
    assert!(world.letter(dead.id).await.is_some());
    let redrive = Batch::synced([Write::Redrive(dead.id, NOW + DAY)]).guarded(room(&world, dead.id, 2));
    assert!(world.verdict(redrive).await.is_ok());
    assert!(!has_room(&world, 2).await);
}

/// What holds its lane has its place in a full queue, or nothing could ever end there.
pub async fn a_held_head_is_redriven_in_a_full_queue(medium: &dyn OpenStore) {
    let world = World::open(medium, HOLD).await;
    let head = world.publish("a").await;
    world.publish("a").await;
    world.step(given_up(&head, Some(holding(&head)))).await;
    assert!(!has_room(&world, 2).await);
    let redrive = Batch::synced([Write::Redrive(head.id, NOW + DAY)]).guarded(room(&world, head.id, 2));
    assert!(world.verdict(redrive).await.is_ok());
    assert!(has_room(&world, 3).await && !has_room(&world, 2).await, "as many wait as before");
}

fn acceptance(world: &World, deliveries: u32, when_full: WhenFull) -> Acceptance {
    let mut acceptance = world.acceptance(Event::new("case.published", "{}").ordering_key("one"));
    let deliveries = NonZeroU32::new(deliveries).expect("a case asks for at least one");
    acceptance.recipients.iter_mut().for_each(|to| to.queue = QueueLimit { deliveries, when_full });
    acceptance
}

/// The delivery, and whether its queue was full.
async fn publish(world: &World, deliveries: u32, when_full: WhenFull) -> (Delivery, bool) {
    let acceptance = acceptance(world, deliveries, when_full);
    let effects = world.write([Write::Accept(acceptance.clone())]).await;
    let Effect::Accepted(seq, id, full) = &effects[0] else { panic!("an acceptance is accepted: {effects:?}") };
    (acceptance.delivery(&acceptance.recipients[0], *seq, *id), full.contains(&world.endpoint.id))
}

fn room(world: &World, letter: DeliveryId, deliveries: u32) -> Guard {
    let deliveries = NonZeroU32::new(deliveries).expect("a case asks for at least one");
    Guard::Room(letter, world.endpoint.generation, deliveries)
}

async fn has_room(world: &World, deliveries: u32) -> bool {
    let nothing = DeliveryId { endpoint: world.endpoint.id, seq: Seq(0) };
    world.verdict(Batch::synced([]).guarded(room(world, nothing, deliveries))).await.is_ok()
}
