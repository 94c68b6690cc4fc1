//! Rows that say who is to be looked at, and by when.

use postrider_core::{Effect, EndpointId, OrderingMode, SplitMix, Timestamp, Write};

use crate::{
    OpenStore,
    testing::world::{HOUR, NOW, World, many},
};

/// Wakes come soonest first, up to a time and including it, each once.
pub async fn wakes_come_soonest_first(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let mut endpoints: Vec<_> = (1..=4).map(|n| EndpointId::new(NOW, &mut SplitMix::new(n))).collect();
    endpoints.sort_unstable();
    let times = [NOW + HOUR * 2, NOW, NOW + HOUR, NOW + HOUR];
    let wakes = endpoints.iter().zip(times).map(|(endpoint, at)| Write::Wake(*endpoint, None, Some(at)));
    assert_eq!(world.write(wakes).await, vec![Effect::Done; 4]);
    let world = world.reopen(medium).await;
    let read = async |after, until, limit| world.reads().wakes(after, until, many(limit)).await.expect("reads work");
    let all =
        [(NOW, endpoints[1]), (NOW + HOUR, endpoints[2]), (NOW + HOUR, endpoints[3]), (NOW + HOUR * 2, endpoints[0])];
    assert_eq!(read(None, Timestamp::MAX, 10).await, all);
    assert_eq!(read(None, NOW + HOUR, 10).await, all[..3]);
    assert_eq!(read(None, Timestamp::from_nanos(NOW.as_nanos() + 1), 10).await, all[..1]);
    assert_eq!(read(None, Timestamp::MAX, 2).await, all[..2]);
    assert_eq!(read(Some(all[1]), Timestamp::MAX, 2).await, all[2..]);
    assert_eq!(read(Some(all[3]), Timestamp::MAX, 2).await, []);
    assert_eq!(read(Some(all[3]), NOW, 2).await, [], "nothing lies before what was read");
}

/// A wake is moved in one step, and taken away.
pub async fn a_wake_is_moved_in_one_step(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let endpoint = world.endpoint.id;
    let read = async || world.reads().wakes(None, Timestamp::MAX, many(10)).await.expect("reads work");
    world.write([Write::Wake(endpoint, None, Some(NOW))]).await;
    world.write([Write::Wake(endpoint, Some(NOW), Some(NOW + HOUR))]).await;
    assert_eq!(read().await, [(NOW + HOUR, endpoint)]);
    world.write([Write::Wake(endpoint, Some(NOW + HOUR), Some(NOW + HOUR))]).await;
    assert_eq!(read().await, [(NOW + HOUR, endpoint)], "to where it was");
    world.write([Write::Wake(endpoint, Some(NOW + HOUR), None)]).await;
    assert_eq!(read().await, []);
}
