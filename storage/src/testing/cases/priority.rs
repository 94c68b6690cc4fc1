//! What is urgent is found without a look at what is not, and stays urgent whatever becomes of it.

use postrider_core::{
    Ask, Delivery, Effect, Event, LaneId, More, OnExhausted, OrderingMode, PerPriority, Place, Priority, Replay,
    ReplayTo, Seq, Write,
};

use crate::{
    OpenStore,
    testing::world::{DAY, HOUR, NOW, World, failed, given_up, holding, many, queued, succeeded},
};

const PER_KEY: OrderingMode = OrderingMode::PerKey(OnExhausted::Hold);

/// `Concurrent`: each class by itself, in its order, the most urgent first, and from a position of its own.
pub async fn classes_are_read_one_after_another(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let mut of = PerPriority::<Vec<Delivery>>::default();
    for priority in [Priority::Low, Priority::Normal, Priority::High, Priority::High, Priority::Low, Priority::High] {
        of[priority].push(publish(&world, "any", priority).await);
    }
    let [high, normal, low] = Priority::ALL.map(|priority| of[priority].clone());
    let all = [&high[..], &normal, &low].concat();
    assert_eq!(world.window_of(Ask::ready_after(Seq(0)), 6).await, (all.clone(), true));
    assert_eq!(world.window_of(Ask::ready_after(Seq(0)), 5).await, (all[..5].to_vec(), false));
    assert_eq!(world.window_of(Ask::ready_after(Seq(0)), 3).await, (high.clone(), false), "there are other classes");
    let mut after = PerPriority::<Option<Seq>>::default();
    assert_eq!(world.window_of(Ask::Ready(after), 5).await, (Vec::new(), true), "none was asked for");
    after[Priority::High] = Some(high[0].id.seq);
    assert_eq!(world.window_of(Ask::Ready(after), 2).await, (high[1..].to_vec(), true));
    after[Priority::Low] = Some(low[0].id.seq);
    assert_eq!(world.window_of(Ask::Ready(after), 5).await, ([&high[1..], &low[1..]].concat(), true));
    let mut waiting = world.waiting().await;
    waiting.sort_by_key(|delivery| (delivery.priority, delivery.id));
    assert_eq!(waiting, all, "people see all of it");
}

/// `Concurrent`: through failures, giving up and what people do about that, a delivery is as urgent as its event.
pub async fn a_delivery_stays_as_urgent_as_its_event(medium: &dyn OpenStore) {
    let mut world = World::open(medium, OrderingMode::Concurrent).await;
    for priority in Priority::ALL {
        let urgent = publish(&world, "any", priority).await;
        let is_it = |delivery: &Delivery| (delivery.event, delivery.priority) == (urgent.event, priority);
        world.step(failed(&urgent, NOW + HOUR)).await;
        world = world.reopen(medium).await;
        let waiting = world.due().await.remove(0);
        assert!(is_it(&waiting) && waiting.place == Place::Due(NOW + HOUR), "{waiting:?}");
        world.step(given_up(&waiting, None)).await;
        world = world.reopen(medium).await;
        assert!(world.letter(urgent.id).await.is_some_and(|letter| is_it(&letter.last)));
        let again = world.redrive(urgent.id).await;
        assert!(is_it(&again) && again.lane == LaneId::unordered(priority), "{again:?}");
        assert_eq!(world.ready().await, std::slice::from_ref(&again));
        let tried = world.resent(urgent.event, NOW + DAY).await;
        assert!(is_it(&tried), "{tried:?}");
        assert_eq!(world.step(succeeded(&tried)).await, Effect::Ended(Some(again)));
        let replay = Replay {
            application: world.application.id,
            event: urgent.event,
            endpoint: world.endpoint.id,
            generation: world.endpoint.generation,
            at: NOW + DAY,
            whom: ReplayTo::All,
            limit: None,
        };
        let replayed = queued(&world.write([Write::Replay(replay)]).await);
        assert!(is_it(&replayed) && replayed.lane == LaneId::unordered(priority), "{replayed:?}");
        world.step(succeeded(&replayed)).await;
        assert_eq!(world.waiting().await, []);
    }
}

/// `PerKey`: lanes with something of the highest class in them are found by it, wherever it stands in them; their heads are
/// shown. What failed is found by its time instead.
pub async fn lanes_with_something_urgent_are_found(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    for key in 0..20 {
        publish(&world, &key.to_string(), [Priority::Normal, Priority::Low][key % 2]).await;
    }
    assert_eq!(world.window(Ask::Urgent(None)).await, (Vec::new(), true));
    let head = publish(&world, "behind", Priority::Low).await;
    let mut behind = publish(&world, "behind", Priority::High).await;
    publish(&world, "behind", Priority::High).await;
    let alone = publish(&world, "alone", Priority::High).await;
    let mut heads = vec![head.clone(), alone.clone()];
    heads.sort_by_key(|head| head.lane);
    assert_eq!(world.window(Ask::Urgent(None)).await, (heads.clone(), true));
    assert_eq!(world.window_of(Ask::Urgent(None), 1).await, (heads[..1].to_vec(), false));
    assert_eq!(world.window_of(Ask::Urgent(Some(heads[0].lane)), 1).await, (heads[1..].to_vec(), true));
    assert_eq!(world.window(Ask::Urgent(Some(LaneId(u64::MAX)))).await, (Vec::new(), true));
    world.step(failed(&alone, NOW + HOUR)).await;
    assert_eq!(world.window(Ask::Urgent(None)).await, (vec![head.clone()], true));
    world.step(succeeded(&head)).await;
    let world = world.reopen(medium).await;
    assert_eq!(world.window(Ask::Urgent(None)).await, (vec![behind.clone()], true));
    let held = holding(&behind);
    world.step(given_up(&behind, Some(held.clone()))).await;
    assert_eq!(world.window(Ask::Urgent(None)).await, (vec![held], true), "there is a second one behind it");
    behind = world.redrive(behind.id).await;
    assert_eq!(behind.priority, Priority::High);
    assert_eq!(world.window(Ask::Urgent(None)).await, (vec![behind], true));
}

/// What found something urgent goes with the queue.
pub async fn what_finds_the_urgent_is_purged(medium: &dyn OpenStore) {
    let world = World::open(medium, PER_KEY).await;
    publish(&world, "a", Priority::High).await;
    publish(&world, "b", Priority::High).await;
    world.write([Write::DropEndpoint(world.endpoint.id)]).await;
    let piece = || Write::Purge(world.endpoint.id, many(3));
    assert_eq!(world.write([piece()]).await, [Effect::Purged(More::Yes)], "two that wait, and what finds them");
    assert_eq!(world.write([piece()]).await, [Effect::Purged(More::No)]);
}

async fn publish(world: &World, key: &str, priority: Priority) -> Delivery {
    let event = Event::new("case.published", "{}").ordering_key(key).priority(priority);
    world.accept(world.acceptance(event)).await.remove(0)
}
