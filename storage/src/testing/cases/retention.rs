//! What is forgotten by age, and what of it is kept for as long as it is needed.

use std::num::NonZeroUsize;

use bytes::Bytes;
use postrider_core::{
    Acceptance, AgendaItem, AgendaKind, Attempt, AttemptPlace, Delivery, EXPUNGED, Effect, Event, EventId, Life, More,
    OnExhausted, OrderingMode, Priority, Refused, Replay, ReplayTo, Timestamp, Week, Write,
};

use crate::{
    DeliveryState, EventQuery, OpenStore, PageRequest,
    testing::world::{DAY, HOUR, NOW, WEEK, World, cancelled, failed, given_up, holding, many, queued, succeeded},
};

const CONCURRENT: OrderingMode = OrderingMode::Concurrent;

/// An event of three weeks ago, and its delivery.
async fn old(world: &World, payload: &'static str) -> Delivery {
    let acceptance = Acceptance { accepted_at: NOW, ..world.acceptance(Event::new("case.old", payload)) };
    world.accept(acceptance).await.remove(0)
}

/// Something of this week, so that there are two.
async fn young(world: &World) -> Delivery {
    let acceptance = Acceptance { accepted_at: NOW + WEEK * 3, ..world.acceptance(Event::new("case.young", "{}")) };
    world.accept(acceptance).await.remove(0)
}

async fn forget(world: &World, at_once: usize) {
    let week = Week::of(NOW);
    let rescue = || Write::Rescue(week, many(at_once));
    while world.write([rescue()]).await == [Effect::Purged(More::Yes)] {}
    world.store.forget(week).await.expect("it is forgotten");
}

async fn payload(world: &World, event: EventId) -> Option<Bytes> {
    let stored = world.reads().event(world.application.id, event).await.expect("reads work");
    stored.map(|stored| stored.event.payload.clone())
}

/// A week is forgotten whole, and what is younger stays.
pub async fn a_week_is_forgotten_whole(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let (gone, stays) = (old(&world, "gone").await, young(&world).await);
    world.step(succeeded(&gone)).await;
    assert_eq!(world.reads().weeks().await.expect("reads work"), [Week::of(NOW), Week::of(NOW + WEEK * 3)]);
    forget(&world, 10).await;
    let world = world.reopen(medium).await;
    assert_eq!(world.reads().weeks().await.expect("reads work"), [Week::of(NOW + WEEK * 3)]);
    assert_eq!(payload(&world, gone.event).await, None);
    assert_eq!(payload(&world, stays.event).await, Some("{}".into()));
    let all = EventQuery::of(world.application.id);
    let found = world.reads().events(&all, &PageRequest::default()).await.expect("reads work");
    assert_eq!(found.items.iter().map(|event| event.id).collect::<Vec<_>>(), [stays.event]);
    let tried = crate::AttemptQuery::of(world.endpoint.id);
    let attempts = world.reads().attempts_of_endpoint(&tried, &PageRequest::default()).await;
    assert!(attempts.expect("reads work").items.is_empty());
    world.store.forget(Week::of(NOW)).await.expect("again is no error");
}

/// A dead letter keeps its payload, can be redriven after its week is gone, and then lets go of it.
pub async fn a_dead_letter_keeps_its_payload(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let mut dead = Vec::new();
    for payload in ["1", "2", "3"] {
        let delivery = old(&world, payload).await;
        world.give_up(&delivery).await;
        dead.push(delivery);
    }
    young(&world).await;
    // Forgotten before its week goes, it keeps nothing.
    world.write([Write::Forget(dead[2].id)]).await;
    forget(&world, 1).await;
    let world = world.reopen(medium).await;
    assert_eq!(payload(&world, dead[0].event).await, Some("1".into()));
    assert_eq!(payload(&world, dead[1].event).await, Some("2".into()));
    assert_eq!(payload(&world, dead[2].event).await, None);
    assert!(matches!(world.state(dead[0].event).await, DeliveryState::GivenUp(Some(_))));

    let again = world.redrive(dead[0].id).await;
    assert_eq!(payload(&world, dead[0].event).await, Some("1".into()), "while it waits");
    let found = world
        .window_with_events(postrider_core::Ask::ready_after(postrider_core::Seq(again.id.seq.0 - 1)), 1, 100)
        .await
        .0;
    assert_eq!(found[0].1.as_ref().map(|event| event.event.payload.clone()), Some("1".into()));
    world.step(succeeded(&again)).await;
    assert_eq!(payload(&world, dead[0].event).await, None, "nobody needs it any more");
    world.write([Write::Forget(dead[1].id)]).await;
    assert_eq!(payload(&world, dead[1].event).await, None);
}

/// One that is more or less urgent than others keeps its payload as they do: its row has more behind it, and what could not
/// read that refused to let any week go.
pub async fn a_letter_of_any_priority_keeps_its_payload(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let mut dead = Vec::new();
    for priority in Priority::ALL {
        let event = Event::new("case.old", "urgent or not").priority(priority);
        let delivery = world.accept(world.acceptance(event)).await.remove(0);
        dead.push(world.give_up(&delivery).await);
    }
    young(&world).await;
    forget(&world, 2).await;
    let world = world.reopen(medium).await;
    for letter in dead {
        assert_eq!(payload(&world, letter.event).await, Some("urgent or not".into()), "{:?}", letter.priority);
        let again = world.redrive(letter.id).await;
        world.step(succeeded(&again)).await;
        assert_eq!(payload(&world, letter.event).await, None);
    }
}

/// What is given up between the rescue and the end of its week is kept, too, and so is a later life that waits.
pub async fn what_is_needed_late_is_kept(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let (late, alive) = (old(&world, "late").await, old(&world, "alive").await);
    world.step(succeeded(&alive)).await;
    let (application, event, endpoint) = (world.application.id, alive.event, world.endpoint.id);
    let (generation, at) = (world.endpoint.generation, NOW + WEEK * 3);
    world
        .write([Write::Replay(Replay {
            application,
            event,
            endpoint,
            generation,
            at,
            whom: ReplayTo::All,
            limit: None,
        })])
        .await;
    assert_eq!(world.write([Write::Rescue(Week::of(NOW), many(10))]).await, [Effect::Purged(More::No)]);
    world.give_up(&late).await;
    world.store.forget(Week::of(NOW)).await.expect("it is forgotten");
    assert_eq!(payload(&world, late.event).await, Some("late".into()));
    assert_eq!(payload(&world, alive.event).await, Some("alive".into()));
    let waiting = world.waiting().await;
    assert_eq!(
        waiting.iter().map(|waiting| (waiting.event, waiting.life)).collect::<Vec<_>>(),
        [(alive.event, Life(2))]
    );
    world.step(succeeded(&waiting[0])).await;
    assert_eq!(payload(&world, alive.event).await, None);
}

/// What is tried again of an event whose week is gone is written into that week anew, and the event is as well kept, and let go
/// of, as before. After a start its week seemed never to have gone, and the event stayed for ever.
pub async fn a_week_that_comes_back_keeps_nothing(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let dead = old(&world, "kept").await;
    world.give_up(&dead).await;
    young(&world).await;
    forget(&world, 2).await;
    let again = world.redrive(dead.id).await;
    world.step(given_up(&again, None)).await;
    assert!(world.reads().weeks().await.expect("reads work").contains(&Week::of(NOW)), "what was tried lies there");
    let world = world.reopen(medium).await;
    assert_eq!(payload(&world, dead.event).await, Some("kept".into()));
    let last = world.redrive(again.id).await;
    world.step(succeeded(&last)).await;
    assert_eq!(payload(&world, dead.event).await, None, "nobody needs it any more");
}

/// What was published for later, or missed and replayed, begins its first life after its event was accepted, and needs that
/// as long as it waits. However it ended, its event was kept for ever as if it still waited.
pub async fn what_began_late_keeps_its_event_as_long_as_it_waits(medium: &dyn OpenStore) {
    for ordering in [CONCURRENT, OrderingMode::PerKey(OnExhausted::Hold), OrderingMode::Fifo(OnExhausted::Continue)] {
        let world = World::open(medium, ordering).await;
        let mut late = Vec::new();
        for key in ["sent before", "sent after", "tried before", "called off", "purged"] {
            let event = Event::new("case.late", "kept").ordering_key(key);
            let nobody = Acceptance { recipients: Vec::new(), ..world.acceptance(event) };
            let effects = world.write([Write::Accept(nobody)]).await;
            let Effect::Accepted(_, event, _) = effects[0] else { panic!("it is accepted: {effects:?}") };
            let (application, endpoint, generation) =
                (world.application.id, world.endpoint.id, world.endpoint.generation);
            let (at, whom) = (NOW + HOUR, ReplayTo::Missing);
            let begins = Replay { application, event, endpoint, generation, at, whom, limit: None };
            late.push(queued(&world.write([Write::Replay(begins)]).await));
        }
        assert!(late.iter().all(|late| late.life == Life::FIRST));
        world.step(succeeded(&late[0])).await;
        let retried = failed(&late[2], NOW + DAY);
        late[2] = retried.after.clone().expect("it is tried again");
        world.step(retried).await;
        forget(&world, 2).await;
        let world = world.reopen(medium).await;
        let there = async |nth: usize| payload(&world, late[nth].event).await.is_some();
        assert!(!there(0).await, "{ordering:?}: it had ended");
        for waits in 1..late.len() {
            assert!(there(waits).await, "{ordering:?}: {waits} waits");
        }
        world.step(succeeded(&late[1])).await;
        world.step(succeeded(&late[2])).await;
        world.step(cancelled(&late[3], NOW + HOUR)).await;
        for ended in 1..=3 {
            assert!(!there(ended).await, "{ordering:?}: {ended} has ended");
        }
        world.write([Write::DropEndpoint(world.endpoint.id)]).await;
        world.write([Write::Purge(world.endpoint.id, many(99))]).await;
        assert!(!there(4).await, "{ordering:?}: its endpoint is gone");
        world.write([Write::DropApplication(world.application.id)]).await;
    }
}

/// A head that was given up and holds its lane is found by its event, and called off, after the week of that is gone, its
/// letter forgotten before or not. Then nothing needs the event any more.
pub async fn what_holds_its_lane_is_kept(medium: &dyn OpenStore) {
    let mut world = World::open(medium, OrderingMode::PerKey(OnExhausted::Hold)).await;
    let mut heads = Vec::new();
    for key in ["cancelled", "sent by hand", "purged", "with its letter"] {
        let event = Event::new("case.old", "kept").ordering_key(key);
        let head = world.accept(world.acceptance(event)).await.remove(0);
        let held = holding(&head);
        world.step(given_up(&head, Some(held.clone()))).await;
        heads.push(held);
    }
    for held in &heads[..3] {
        world.write([Write::Forget(held.id)]).await;
    }
    let by_hand = world.resent(heads[1].event, NOW + HOUR).await;
    forget(&world, 10).await;
    world = world.reopen(medium).await;
    let [cancelled_head, .., with_letter] = &heads[..] else { panic!("there are four") };
    let record = world.record(cancelled_head.event).await;
    assert_eq!((record.state, record.held), (DeliveryState::GivenUp(None), Some(cancelled_head.clone())));
    let record = world.record(with_letter.event).await;
    assert!(matches!(record.state, DeliveryState::GivenUp(Some(_))), "it does not wait: {record:?}");
    for held in [cancelled_head, with_letter] {
        world.step(cancelled(held, NOW + HOUR)).await;
        assert_eq!(payload(&world, held.event).await, None);
    }
    assert_eq!(payload(&world, heads[1].event).await, Some("kept".into()));
    world.step(succeeded(&by_hand)).await;
    assert_eq!(payload(&world, heads[1].event).await, None);
    assert_eq!(world.waiting().await, [heads[2].clone()]);
    world.write([Write::DropEndpoint(world.endpoint.id)]).await;
    world.write([Write::Purge(world.endpoint.id, many(99))]).await;
    assert_eq!(payload(&world, heads[2].event).await, None);
}

/// One event that two endpoints gave up is kept until both let go of it; a deleted endpoint lets go of all.
pub async fn what_two_need_is_kept_for_both(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let second = crate::testing::world::endpoint(&world.application, 2, CONCURRENT);
    world.write([world.put(&second)]).await;
    let both = postrider_core::plan_recipients(
        &Event::new("case.old", "both"),
        [&std::sync::Arc::new(world.endpoint.clone()), &std::sync::Arc::new(second.clone())],
    );
    let event = Event::new("case.old", "both");
    let deliveries = world.accept(crate::testing::world::acceptance(&world.application, event, both)).await;
    for delivery in &deliveries {
        world.step(given_up(delivery, None)).await;
    }
    forget(&world, 10).await;
    let event = deliveries[0].event;
    world.write([Write::Forget(deliveries[0].id)]).await;
    assert_eq!(payload(&world, event).await, Some("both".into()));
    world.write([Write::DropEndpoint(deliveries[1].id.endpoint)]).await;
    let purge = Write::Purge(deliveries[1].id.endpoint, NonZeroUsize::MIN.saturating_add(99));
    world.write([purge]).await;
    assert_eq!(payload(&world, event).await, None);
}

/// An expunged event is there without its payload, and nothing can be sent of it any more.
pub async fn an_expunged_payload_is_gone(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let event = Event::new("case.secret", "secret").tags(["a"]).uid("named");
    let delivery = world.accept(world.acceptance(event)).await.remove(0);
    world.write([Write::Expunge(world.application.id, delivery.event)]).await;
    let world = world.reopen(medium).await;
    let stored = world.reads().event(world.application.id, delivery.event).await.expect("reads work");
    let stored = stored.expect("it is there");
    assert!(stored.is_expunged && stored.event.payload.is_empty());
    assert_eq!((&*stored.event.event_type, &stored.event.tags[..]), ("case.secret", &["a".into()][..]));
    let found = world.window_with_events(postrider_core::Ask::ready_after(postrider_core::Seq(0)), 1, 100).await.0;
    assert_eq!(found[0].1, None, "nothing empty is sent in its place");
    assert_eq!(world.refused(Write::Resend(world.resend(delivery.event, NOW))).await, Refused::NoEvent);
    let unknown = EventId::from_bytes([7; 20]);
    assert_eq!(world.refused(Write::Expunge(world.application.id, unknown)).await, Refused::NoEvent);
}

/// A response that is forgotten is told apart from one that was empty; the rest of its attempt stays.
pub async fn an_expunged_response_is_gone(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let delivery = world.publish("a").await;
    world.step(succeeded(&delivery)).await;
    let before = world.attempts(delivery.event).await.remove(0).attempt;
    let place = AttemptPlace { delivery: delivery.id, life: Life::FIRST, number: before.number, event: delivery.event };
    world.write([Write::ExpungeResponse(place)]).await;
    let after = world.attempts(delivery.event).await.remove(0).attempt;
    assert_eq!(after, Attempt { response: EXPUNGED.into(), ..before });
    let none = AttemptPlace { life: Life(7), ..place };
    assert_eq!(world.refused(Write::ExpungeResponse(none)).await, Refused::NoEvent);
}

/// What is to be done later is found by its time, and is there until it is done.
pub async fn the_agenda_is_kept_until_it_is_done(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let later = Event::new("case.later", "{}").deliver_at(NOW + HOUR).payload_kept(HOUR * 2);
    let acceptance = Acceptance { recipients: Vec::new(), ..world.acceptance(later) };
    let effects = world.write([Write::Accept(acceptance)]).await;
    let Effect::Accepted(_, event, _) = effects[0] else { panic!("an acceptance is accepted: {effects:?}") };
    let application = world.application.id;
    let item = |at: Timestamp, what| AgendaItem { at, what, application, event };
    let (deliver, expunge) = (item(NOW + HOUR, AgendaKind::Deliver), item(NOW + HOUR * 2, AgendaKind::Expunge));
    let world = world.reopen(medium).await;
    let until = async |at| world.reads().agenda(None, at, many(10)).await.expect("reads work");
    assert_eq!(until(NOW).await, []);
    assert_eq!(until(NOW + HOUR).await, [deliver]);
    assert_eq!(until(NOW + DAY).await, [deliver, expunge]);
    let behind =
        async |at: AgendaItem, until| world.reads().agenda(Some(at), until, many(10)).await.expect("reads work");
    assert_eq!(behind(deliver, Timestamp::MAX).await, [expunge]);
    let nothing = item(NOW + HOUR * 3 / 2, AgendaKind::Deliver);
    assert_eq!(behind(nothing, NOW + DAY).await, [expunge], "a place need not be there");
    assert_eq!(behind(expunge, NOW + HOUR).await, [], "that is no range");
    assert_eq!(behind(expunge, Timestamp::MAX).await, []);
    world.write([Write::Agenda(deliver)]).await;
    assert_eq!(until(NOW + DAY).await, [expunge]);
}

/// Tags are kept, and found by.
pub async fn events_are_found_by_their_tags(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let tagged = world.accept(world.acceptance(Event::new("case.tagged", "1").tags(["red", "big"]))).await.remove(0);
    world.accept(world.acceptance(Event::new("case.tagged", "2").tags(["blue"]))).await;
    world.accept(world.acceptance(Event::new("case.tagged", "3"))).await;
    let query = EventQuery { tag: Some("big".into()), ..EventQuery::of(world.application.id) };
    let found = world.reads().events(&query, &PageRequest::default()).await.expect("reads work").items;
    assert_eq!(found.iter().map(|event| event.id).collect::<Vec<_>>(), [tagged.event]);
    assert_eq!(found[0].event.tags, ["red".into(), "big".into()]);
}
