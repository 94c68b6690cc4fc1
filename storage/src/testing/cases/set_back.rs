//! A clock that was set back: what waits for a time it named while it ran ahead comes no later for it.

use std::time::Duration;

use postrider_core::{
    BreakerState, Delivery, Effect, More, OnExhausted, OrderingMode, Seq, SoftState, Timestamp, Write,
};

use crate::{
    OpenStore,
    testing::world::{HOUR, NOW, World, failed, many},
};

const MINUTE: Duration = Duration::from_secs(60);
/// How far the store may be mistaken in how late it was.
const MARK: Duration = Duration::from_secs(10);

/// Retries, manual tries, a breaker that is open, a receiver that asked to be left alone, and wakes: each is moved by as
/// much as the clock was, a few rows at a time, also if the store is opened anew in between; and only once.
pub async fn what_waits_for_a_time_that_a_wrong_clock_named_is_moved(medium: &dyn OpenStore) {
    for ordering in [
        OrderingMode::Concurrent,
        OrderingMode::PerKey(OnExhausted::Continue),
        OrderingMode::Fifo(OnExhausted::Continue),
    ] {
        let mut world = World::open(medium, ordering).await;
        let (ahead, right) = (NOW, NOW.earlier_by(HOUR * 8));
        let (a, b) = (world.publish("a").await, world.publish("b").await);
        let is_one_lane = matches!(ordering, OrderingMode::Fifo(_));
        world.step(failed(&a, ahead + HOUR)).await;
        if !is_one_lane {
            world.step(failed(&b, ahead + HOUR * 2)).await;
        }
        world.resent(a.event, ahead + MINUTE).await;
        let breaker = BreakerState::Open { until: ahead + MINUTE, cool_down: MINUTE, last_failed: Seq(1) };
        let soft = SoftState { breaker, throttled_until: Some(ahead + MINUTE), ..SoftState::default() };
        let endpoint = world.endpoint.id;
        world.write([Write::Soft(endpoint, soft), Write::Wake(endpoint, None, Some(ahead + HOUR))]).await;

        let mut pieces = 0;
        while world.reads().was_ahead_of(right).await.expect("reads work") {
            let effects = world.write([Write::Clock(right, many(2))]).await;
            pieces += 1;
            assert!(pieces < 20, "{effects:?}");
            world = world.reopen(medium).await;
        }
        assert!(pieces > 1, "a piece at a time, {ordering:?}");
        assert_eq!(world.write([Write::Clock(right, many(100))]).await, [Effect::Purged(More::No)], "only once");

        let found = world.reads().wakes(None, Timestamp::MAX, many(10)).await.expect("reads work");
        assert!(found.iter().all(|(at, of)| *of == endpoint && is_about(*at, right + HOUR)), "{found:?}");
        assert_eq!(found.len(), 1, "{ordering:?}");
        let waiting = world.waiting().await;
        let at = |of: &Delivery, is_manual: bool| {
            let mut rows = waiting.iter().filter(|row| row.event == of.event);
            let row = rows.find(|row| row.next_attempt().is_manual() == is_manual);
            row.and_then(Delivery::due).expect("it waits for a time")
        };
        assert!(is_about(at(&a, false), right + HOUR), "{ordering:?}: {waiting:?}");
        assert!(is_about(at(&a, true), right + MINUTE), "{ordering:?}: {waiting:?}");
        if !is_one_lane {
            assert!(is_about(at(&b, false), right + HOUR * 2), "{ordering:?}: {waiting:?}");
        }
        let soft = world.soft().await;
        let BreakerState::Open { until, .. } = soft.breaker else { panic!("it is open: {soft:?}") };
        assert!(is_about(until, right + MINUTE), "{soft:?}");
        assert!(soft.throttled_until.is_some_and(|until| is_about(until, right + MINUTE)), "{soft:?}");
        world.write([Write::DropEndpoint(endpoint), Write::Purge(endpoint, many(100))]).await;
        world.write(found.iter().map(|(at, _)| Write::Wake(endpoint, Some(*at), None))).await;
        // For the next one the clock is wrong again.
        world.write([Write::Clock(ahead, many(100))]).await;
    }
}

/// Time that went on is no reason to move anything.
pub async fn a_clock_that_went_on_moves_nothing(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let a = world.publish("a").await;
    world.step(failed(&a, NOW + HOUR)).await;
    let before = world.waiting().await;
    let world = world.reopen(medium).await;
    for now in [NOW + MINUTE * 2, NOW + HOUR * 2] {
        assert!(!world.reads().was_ahead_of(now).await.expect("reads work"));
        assert_eq!(world.write([Write::Clock(now, many(100))]).await, [Effect::Purged(More::No)]);
    }
    assert_eq!(world.waiting().await, before);
    assert!(world.reads().was_ahead_of(NOW + HOUR).await.expect("reads work"), "it was later than that");
}

/// Not after it, and earlier by no more than the store may be mistaken and the attempt before it took.
fn is_about(at: Timestamp, expected: Timestamp) -> bool {
    at <= expected && expected.since(at) <= MARK + MINUTE * 3
}
