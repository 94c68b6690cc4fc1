//! An event once more in a queue, whatever became of it there.

use postrider_core::{
    Batch, Delivery, Effect, Event, EventId, Generation, Guard, Life, OnExhausted, OrderingMode, Refused, Replay,
    ReplayTo, Space, Write,
};

use crate::{
    DeliveryState, OpenStore,
    testing::world::{DAY, NOW, World, acceptance, cancelled, failed, given_up, holding, queued, succeeded},
};

const CONCURRENT: OrderingMode = OrderingMode::Concurrent;
const HOLD: OrderingMode = OrderingMode::PerKey(OnExhausted::Hold);

fn replay(world: &World, event: EventId, whom: ReplayTo) -> Write {
    let (application, endpoint, generation) = (world.application.id, world.endpoint.id, world.endpoint.generation);
    Write::Replay(Replay { application, event, endpoint, generation, at: NOW + DAY, whom, limit: None })
}

/// However it ended, its next life begins at the end of its lane, and its dead letter is gone.
pub async fn what_has_ended_begins_its_next_life(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::PerKey(OnExhausted::Continue)).await;
    let all = [world.publish("a").await, world.publish("a").await, world.publish("b").await];
    world.step(succeeded(&all[0])).await;
    world.step(given_up(&all[1], None)).await;
    world.step(cancelled(&all[2], NOW)).await;
    let waits = world.publish("a").await;
    for ended in &all {
        let again = queued(&world.write([replay(&world, ended.event, ReplayTo::All)]).await);
        assert!(again.id.seq > waits.id.seq);
        assert_eq!(again, Delivery { id: again.id, life: Life(2), since: NOW + DAY, ..ended.clone() });
        assert_eq!(world.letter(ended.id).await, None);
        let record = world.record(ended.event).await;
        assert_eq!((record.life, record.state), (Life(2), DeliveryState::Pending(again)));
    }
}

/// What waits is not there twice, be it ready or due.
pub async fn what_waits_already_is_left_alone(medium: &dyn OpenStore) {
    leaves_alone_what_waits(medium, CONCURRENT).await;
}

/// Nor in a lane, be it the head that holds it.
pub async fn what_waits_already_in_a_lane_is_left_alone(medium: &dyn OpenStore) {
    leaves_alone_what_waits(medium, HOLD).await;
}

async fn leaves_alone_what_waits(medium: &dyn OpenStore, ordering: OrderingMode) {
    let world = World::open(medium, ordering).await;
    let (ready, due, held) = (world.publish("a").await, world.publish("b").await, world.publish("c").await);
    world.step(failed(&due, NOW + DAY)).await;
    if ordering == HOLD {
        world.step(given_up(&held, Some(holding(&held)))).await;
    }
    for waits in [&ready, &due, &held] {
        let effects = world.write([replay(&world, waits.event, ReplayTo::All)]).await;
        assert_eq!(effects, [Effect::Done], "{ordering:?}");
    }
}

/// What was no recipient gets its first life, once; whoever had it keeps what he has.
pub async fn only_what_is_missing_is_replayed_if_that_is_asked_for(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let had = world.publish("a").await;
    world.step(succeeded(&had)).await;
    let missed = acceptance(&world.application, Event::new("case.missed", "{}"), Vec::new());
    let effects = world.write([Write::Accept(missed)]).await;
    let Effect::Accepted(_, missed, _) = effects[0] else { panic!("an acceptance is accepted: {effects:?}") };
    assert_eq!(world.write([replay(&world, had.event, ReplayTo::Missing)]).await, [Effect::Done]);
    let first = queued(&world.write([replay(&world, missed, ReplayTo::Missing)]).await);
    assert_eq!((first.event, first.life, first.attempts), (missed, Life::FIRST, 0));
    assert_eq!(world.write([replay(&world, missed, ReplayTo::Missing)]).await, [Effect::Done], "once");
    let world = world.reopen(medium).await;
    assert_eq!(world.ready().await, std::slice::from_ref(&first));
    world.step(succeeded(&first)).await;
    assert_eq!(world.state(missed).await, DeliveryState::Delivered);
}

/// Into a queue that was cut off, or one that has no room for all, nothing of a batch is put.
pub async fn a_replay_needs_its_queue_and_room_in_it(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let events = [world.publish("a").await, world.publish("b").await, world.publish("c").await];
    for ended in &events[1..] {
        world.step(succeeded(ended)).await;
    }
    let space = |limit: u32| {
        let space = Space { added: 2, limit: limit.try_into().expect("at least one") };
        Guard::Space(world.endpoint.id, world.endpoint.generation, space)
    };
    let both = || Batch::synced(events[1..].iter().map(|ended| replay(&world, ended.event, ReplayTo::All)));
    let verdicts = world.commit([both().guarded(space(2)), both().guarded(space(3))]).await;
    assert_eq!(verdicts[0], Err(Refused::QueueFull(world.endpoint.id)));
    assert!(verdicts[1].is_ok(), "{verdicts:?}");
    let Write::Replay(of_other) = replay(&world, events[0].event, ReplayTo::All) else { return };
    let of_other = Replay { generation: Generation(9), ..of_other };
    assert_eq!(world.refused(Write::Replay(of_other)).await, Refused::Generation);
    let unknown = EventId::from_bytes([7; 20]);
    assert_eq!(world.write([replay(&world, unknown, ReplayTo::All)]).await, [Effect::Done], "its payload is gone");
}
