//! A machine reads what it needs in the order that it needs, from where it stopped.

use postrider_core::{
    Ask, Delivery, DueKey, Event, LaneId, OnExhausted, OrderingKey, OrderingMode, Place, Seq, Timestamp,
};

use crate::{
    OpenStore,
    testing::world::{HOUR, NOW, World, failed, seqs, succeeded},
};

const PER_KEY: OrderingMode = OrderingMode::PerKey(OnExhausted::Hold);
const FIFO: OrderingMode = OrderingMode::Fifo(OnExhausted::Continue);

/// Only the heads of lanes are shown, each lane's own, however much waits behind it.
pub async fn a_blocked_lane_hides_no_other(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    let mut heads = Vec::new();
    for _ in 0..50 {
        heads.push(world.publish("blocked").await);
    }
    heads.truncate(1);
    heads.extend([world.publish("b").await, world.publish("c").await]);
    heads.sort_by_key(|head| head.lane);
    assert_eq!(world.window(Ask::Lanes(None)).await, (heads, true));
}

/// Lanes come in their order, a few at a time, each once.
pub async fn lanes_are_read_on_after_the_last_one(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    let mut heads = Vec::new();
    for key in ["a", "b", "c", "d", "e"] {
        heads.push(world.publish(key).await);
    }
    heads.sort_by_key(|head| head.lane);
    let (first, is_last) = world.window_of(Ask::Lanes(None), 2).await;
    assert_eq!((first.as_slice(), is_last), (&heads[..2], false));
    let (rest, is_last) = world.window_of(Ask::Lanes(Some(heads[1].lane)), 3).await;
    assert_eq!((rest.as_slice(), is_last), (&heads[2..], true));
    assert_eq!(world.window(Ask::Lanes(Some(heads[4].lane))).await, (Vec::new(), true));
    assert_eq!(world.window(Ask::Lanes(Some(LaneId(u64::MAX)))).await, (Vec::new(), true));
}

/// A lane is read in order, from its cursor on, and the end is known when it is reached.
pub async fn a_lane_is_read_from_its_cursor(medium: &dyn OpenStore) {
    let world = World::open(medium, FIFO).await;
    let mut lane = Vec::new();
    for _ in 0..5 {
        lane.push(world.publish("any").await);
    }
    let read = async |after: Seq, rows| world.window_of(Ask::Lane(LaneId::WHOLE, after), rows).await;
    assert_eq!(read(Seq(0), 3).await, (lane[..3].to_vec(), false));
    assert_eq!(read(lane[2].id.seq, 2).await, (lane[3..].to_vec(), true));
    assert_eq!(read(lane[4].id.seq, 2).await, (Vec::new(), true));
    assert_eq!(read(Seq::MAX, 2).await, (Vec::new(), true));
}

/// Ready rows are read in order, from a position on.
pub async fn ready_rows_are_read_from_a_position(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let mut rows = Vec::new();
    for _ in 0..5 {
        rows.push(world.publish("any").await);
    }
    assert_eq!(world.window_of(Ask::ready_after(Seq(0)), 5).await, (rows.clone(), true));
    assert_eq!(world.window_of(Ask::ready_after(rows[0].id.seq), 2).await, (rows[1..3].to_vec(), false));
    assert_eq!(world.window_of(Ask::ready_after(Seq::MAX), 2).await, (Vec::new(), true));
}

/// `Concurrent`: a failure moves a row to those that wait for a time, soonest first.
pub async fn a_failure_moves_a_row_to_its_time(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let (one, other) = (world.publish("any").await, world.publish("any").await);
    world.step(failed(&one, NOW + HOUR * 2)).await;
    world.step(failed(&other, NOW + HOUR)).await;
    assert_eq!(world.ready().await, []);
    let due = world.due().await;
    assert_eq!(seqs(&due), [other.id.seq, one.id.seq]);
    assert_eq!((due[0].place, due[0].attempts), (Place::Due(NOW + HOUR), 1));
    world.step(failed(&due[0], NOW + HOUR * 3)).await;
    assert_eq!(seqs(&world.due().await), [one.id.seq, other.id.seq]);
    world.step(succeeded(&due[1])).await;
    assert_eq!(seqs(&world.due().await), [other.id.seq]);
}

/// `PerKey`: a head that waits stays in its place, and is found by its time until it moves.
pub async fn a_waiting_head_keeps_its_place_and_is_found_by_its_time(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    let (head, next) = (world.publish("a").await, world.publish("a").await);
    world.step(failed(&head, NOW + HOUR)).await;
    let waiting = Delivery { place: Place::Lane { due: Some(NOW + HOUR), held: false }, attempts: 1, ..head.clone() };
    assert_eq!(world.due().await, std::slice::from_ref(&waiting));
    assert_eq!(world.lane(head.lane).await, [waiting.clone(), next.clone()], "nothing passes it");
    assert_eq!(seqs(&world.waiting().await), [head.id.seq, next.id.seq], "it is one delivery");

    world.step(failed(&waiting, NOW + HOUR * 2)).await;
    assert_eq!(world.due().await.len(), 1, "its first time is forgotten");
    let waiting = world.due().await.remove(0);
    world.step(succeeded(&waiting)).await;
    assert_eq!(world.due().await, []);
    assert_eq!(world.lane(head.lane).await, [next]);
}

/// `Fifo`: the one head is found in its lane, and nothing else is written for it.
pub async fn one_lane_needs_no_times(medium: &dyn OpenStore) {
    let world = World::open(medium, FIFO).await;
    let head = world.publish("any").await;
    world.step(failed(&head, NOW + HOUR)).await;
    assert_eq!(world.due().await, []);
    assert_eq!(world.lane(LaneId::WHOLE).await[0].due(), Some(NOW + HOUR));
}

/// What waits for a time is read on after a time and position; rows that share both are not parted.
pub async fn due_rows_are_read_from_a_time_and_position(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let mut rows = Vec::new();
    for hours in [1, 1, 2] {
        let delivery = world.publish("any").await;
        world.step(failed(&delivery, NOW + HOUR * hours)).await;
        rows.push(delivery);
    }
    // A try by hand in the same moment, of the delivery that waits for it.
    let manual = world.resent(rows[1].event, NOW + HOUR).await;
    let key = |at, delivery: &Delivery| DueKey { at, seq: delivery.id.seq };
    let read = async |after, limit| {
        let (rows, is_last) = world.window_of(Ask::Due(after), limit).await;
        (seqs(&rows), is_last)
    };
    let shared = manual.id.seq;
    assert_eq!(read(DueKey::START, 1).await, (vec![rows[0].id.seq], false));
    assert_eq!(read(DueKey::START, 2).await, (vec![rows[0].id.seq], false), "both of a moment, or none");
    assert_eq!(read(key(NOW + HOUR, &rows[0]), 1).await, (vec![shared, shared], false), "all of a moment");
    assert_eq!(read(key(NOW + HOUR, &rows[1]), 5).await, (vec![rows[2].id.seq], true));
    assert_eq!(read(key(NOW + HOUR * 2, &rows[2]), 5).await, (Vec::new(), true));
    assert_eq!(read(DueKey::END, 5).await, (Vec::new(), true));
    assert_eq!(read(DueKey { at: Timestamp::MAX, seq: Seq(0) }, 5).await, (Vec::new(), true));
}

/// Events come along with their rows until they have so many bytes.
pub async fn events_come_along_until_their_bytes_are_used(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    for _ in 0..4 {
        world.accept(world.acceptance(Event::new("case.sized", vec![7; 100]))).await;
    }
    let with = async |bytes| {
        let (rows, _) = world.window_with_events(Ask::ready_after(Seq(0)), 10, bytes).await;
        assert!(rows.iter().all(|(row, event)| event.as_ref().is_none_or(|event| event.id == row.event)));
        rows.iter().map(|(_, event)| event.as_ref().map_or(0, |event| event.event.payload.len())).collect::<Vec<_>>()
    };
    assert_eq!(with(0).await, [0, 0, 0, 0]);
    assert_eq!(with(250).await, [100, 100, 0, 0]);
    assert_eq!(with(400).await, [100, 100, 100, 100]);
}

/// Without a key, a delivery has a lane of its own.
pub async fn without_a_key_nothing_waits_for_another(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    for _ in 0..3 {
        world.accept(world.acceptance(Event::new("case.unkeyed", "{}"))).await;
    }
    assert_eq!(world.window(Ask::Lanes(None)).await.0.len(), 3);
    assert_eq!(world.lane(LaneId::of(&OrderingKey("".into()))).await, []);
}
