//! Lists are whole: each item once, in their order, whatever the size of a page.

use std::{fmt, num::NonZeroUsize};

use postrider_core::{
    Acceptance, AttemptId, Delivery, DeliveryId, EndpointId, Event, EventId, Life, OnExhausted, OrderingMode, Place,
    Step, Timestamp, Write,
};

use crate::{
    AttemptCounts, AttemptQuery, Backlog, CountedTime, DeadLetterQuery, DeliveryState, EventAttemptQuery, EventQuery,
    OpenStore, Page, PageRequest, Part,
    testing::world::{
        DAY, HOUR, NOW, WEEK, World, application, endpoint, failed, failed_by_hand, many, seqs, succeeded,
    },
};

const CONCURRENT: OrderingMode = OrderingMode::Concurrent;

/// What was tried in a time is counted, whenever it was published, and nothing that would take too long.
pub async fn attempts_are_counted_in_their_time(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let deliveries = [world.publish("a").await, world.publish("b").await, world.publish("c").await];
    world.step(succeeded(&deliveries[0])).await;
    world.give_up(&deliveries[1]).await;
    world.step(failed(&deliveries[2], NOW + DAY)).await;
    let due = world.due().await.remove(0);
    world.step(succeeded(&due)).await;
    let counts = async |since, until, at_most| {
        let time = CountedTime { since, until, age_max: DAY * 7 };
        world.reads().attempt_counts(world.endpoint.id, time, many(at_most)).await.expect("reads work")
    };
    let all = AttemptCounts { succeeded: 2, failed: 2, given_up: 1 };
    assert_eq!(counts(NOW, NOW + DAY, 4).await, Some(all));
    assert_eq!(counts(NOW + HOUR, NOW + DAY, 4).await, Some(AttemptCounts::default()));
    let first_minute = counts(NOW, NOW + std::time::Duration::from_secs(90), 4).await;
    assert_eq!(first_minute, Some(AttemptCounts { succeeded: 1, failed: 2, given_up: 1 }), "the retry came later");
    assert_eq!(counts(NOW, NOW + DAY, 3).await, None);
}

/// Events come newest first, over all the weeks that they lie in.
pub async fn events_come_newest_first(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let events = eight_weeks(&world).await;
    let world = world.reopen(medium).await;
    let newest_first: Vec<_> = events.iter().rev().copied().collect();
    let query = EventQuery::of(world.application.id);
    for limit in [1, 3, 8, 9] {
        assert_eq!(events_of(&world, &query, limit).await, newest_first, "pages of {limit}");
    }
    let other = EventQuery::of(application(2).id);
    assert_eq!(events_of(&world, &other, 5).await, []);
}

/// A filter lets through what it says, and a page that found little says where to go on.
pub async fn events_are_filtered(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let events = eight_weeks(&world).await;
    let all = EventQuery::of(world.application.id);
    let even: Vec<_> = events.iter().step_by(2).rev().copied().collect();
    let typed = EventQuery { event_types: vec!["even".into(), "none".into()], ..all.clone() };
    assert_eq!(events_of(&world, &typed, 2).await, even);
    let on_channel = EventQuery { channel: Some("odd-ones".into()), ..all.clone() };
    let odd: Vec<_> = events.iter().skip(1).step_by(2).rev().copied().collect();
    assert_eq!(events_of(&world, &on_channel, 2).await, odd);
    let at = |n: u32| Some(NOW + WEEK * n);
    let between = EventQuery { after: at(2), before: at(5), ..all.clone() };
    assert_eq!(events_of(&world, &between, 2).await, [events[4], events[3]], "both ends are left out");
    let nothing = EventQuery { after: at(5), before: at(2), ..all };
    assert_eq!(events_of(&world, &nothing, 2).await, []);
}

/// The other way round, too, from a time on, and over all the weeks.
pub async fn events_come_oldest_first_if_that_is_asked_for(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let events = eight_weeks(&world).await;
    let query = EventQuery { oldest_first: true, ..EventQuery::of(world.application.id) };
    for limit in [1, 3, 8, 9] {
        assert_eq!(events_of(&world, &query, limit).await, events, "pages of {limit}");
    }
    let at = |n: u32| Some(NOW + WEEK * n);
    let between = EventQuery { after: at(2), before: at(5), ..query.clone() };
    assert_eq!(events_of(&world, &between, 1).await, events[3..5], "both ends are left out");
    let letters = DeadLetterQuery { endpoints: vec![world.endpoint.id], oldest_first: true, ..Default::default() };
    let waiting = world.waiting().await;
    for delivery in &waiting {
        world.give_up(delivery).await;
    }
    let read =
        async |page: &PageRequest<DeliveryId>| world.reads().dead_letters(&letters, page).await.expect("reads work");
    let found: Vec<_> = pages(3, read).await.iter().map(|letter| letter.last.id.seq).collect();
    assert_eq!(found, seqs(&waiting));
}

/// A filter by time is about the acceptance, also where a clock was set back.
pub async fn events_are_found_by_their_acceptance(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let mut events = Vec::new();
    for at in [NOW + WEEK, NOW, NOW + HOUR] {
        let acceptance = Acceptance { accepted_at: at, ..world.acceptance(Event::new("case.clock", "{}")) };
        events.push(world.accept(acceptance).await.remove(0).event);
    }
    let query = EventQuery { before: Some(NOW + DAY), ..EventQuery::of(world.application.id) };
    assert_eq!(events_of(&world, &query, 1).await, [events[2], events[1]]);
    let query = EventQuery { after: Some(NOW + DAY), ..EventQuery::of(world.application.id) };
    assert_eq!(events_of(&world, &query, 1).await, [events[0]]);
}

/// A list of exactly one page ends with it.
pub async fn the_last_page_leads_nowhere(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    for _ in 0..3 {
        let delivery = world.publish("a").await;
        world.give_up(&delivery).await;
        world.publish("a").await;
    }
    let reads = world.reads();
    let query = EventQuery::of(world.application.id);
    let letters = DeadLetterQuery { endpoints: vec![world.endpoint.id], ..DeadLetterQuery::default() };
    let (id, generation) = (world.endpoint.id, world.endpoint.generation);
    let tried = AttemptQuery::of(id);
    for (limit, is_last) in [(6, true), (5, false)] {
        let found = reads.events(&query, &PageRequest::first(many(limit))).await.expect("reads work");
        assert_eq!(found.is_last, is_last);
    }
    for (limit, is_last) in [(3, true), (2, false)] {
        let found = reads.dead_letters(&letters, &PageRequest::first(many(limit))).await.expect("reads work");
        assert_eq!(found.is_last, is_last);
        let found = reads.attempts_of_endpoint(&tried, &PageRequest::first(many(limit))).await.expect("reads work");
        assert_eq!(found.is_last, is_last);
        let found = reads.queue(id, generation, &PageRequest::first(many(limit))).await.expect("reads work");
        assert_eq!(found.is_last, is_last);
    }
    assert!(reads.endpoints(&PageRequest::first(many(1))).await.expect("reads work").is_last);
    assert!(reads.applications(&PageRequest::first(many(1))).await.expect("reads work").is_last);
    let nothing_older = EventQuery { event_types: vec!["odd".into()], ..query };
    let odd = world.accept(world.acceptance(Event::new("odd", "{}"))).await.remove(0);
    let found = reads.events(&nothing_older, &PageRequest::first(many(1))).await.expect("reads work");
    assert_eq!((found.items[0].id, found.is_last), (odd.event, true), "what is left is not wanted");
}

/// Records come in the order of their ids, applications with their routing version.
pub async fn records_come_in_the_order_of_their_ids(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let endpoints: Vec<_> = (2..=5).map(|n| endpoint(&world.application, n, CONCURRENT)).collect();
    world.write(endpoints.iter().map(|endpoint| world.put(endpoint))).await;
    world.write((2..=5).map(|n| Write::Application(Box::new(application(n))))).await;
    let mut expected: Vec<_> = endpoints.into_iter().chain([world.endpoint.clone()]).collect();
    expected.sort_by_key(|endpoint| endpoint.id);
    let found = pages(2, async |page| world.reads().endpoints(page).await.expect("reads work")).await;
    assert_eq!(found, expected);
    let found = pages(2, async |page| world.reads().applications(page).await.expect("reads work")).await;
    assert!(found.windows(2).all(|pair| pair[0].application.id < pair[1].application.id));
    let routed: Vec<_> = found.iter().map(|found| found.routing).collect();
    assert_eq!((found.len(), routed.iter().sum::<u64>()), (5, 5), "one endpoint, then four: {routed:?}");
}

/// Every recipient of an event has its record, in the order of their ids.
pub async fn each_recipient_has_a_record(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let others: Vec<_> = (2..=4).map(|n| endpoint(&world.application, n, CONCURRENT)).collect();
    world.write(others.iter().map(|other| world.put(other))).await;
    let event = Event::new("case.fan-out", "{}");
    let all: Vec<_> = others.iter().chain([&world.endpoint]).cloned().map(std::sync::Arc::new).collect();
    let recipients = postrider_core::plan_recipients(&event, &all);
    let mut deliveries = world.accept(super::super::world::acceptance(&world.application, event, recipients)).await;
    deliveries.sort_by_key(|delivery| delivery.id.endpoint);
    world.step(succeeded(&deliveries[1])).await;
    let event = deliveries[0].event;
    for limit in [1, 2, 4, 9] {
        let read = async |page: &PageRequest<EndpointId>| {
            world.reads().deliveries(world.application.id, event, page).await.expect("reads work")
        };
        assert_eq!(pages(limit, read).await.iter().map(|record| record.id).collect::<Vec<_>>(), ids(&deliveries));
    }
    let all = PageRequest::default();
    let records = world.reads().deliveries(world.application.id, event, &all).await.expect("reads work").items;
    assert_eq!(records.iter().map(|record| record.id).collect::<Vec<_>>(), ids(&deliveries));
    assert_eq!(records[1].state, DeliveryState::Delivered);
    assert_eq!(records[0].state, DeliveryState::Pending(deliveries[0].clone()));
    assert!(records.iter().all(|record| record.event == event && record.life == Life::FIRST));
    let theirs = world.reads().deliveries(application(2).id, event, &all).await.expect("reads work");
    assert_eq!(theirs.items, [], "another application has no such event");
    let stranger = world.reads().delivery(world.application.id, event, endpoint(&world.application, 9, CONCURRENT).id);
    assert_eq!(stranger.await.expect("reads work"), None);
}

/// The attempts of an event come newest first, of all endpoints and lives.
pub async fn attempts_of_an_event_come_newest_first(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let delivery = world.publish("a").await;
    world.step(failed(&delivery, NOW + HOUR)).await;
    world.give_up(&world.due().await[0]).await;
    let second = world.redrive(delivery.id).await;
    world.step(succeeded(&second)).await;
    let query = EventAttemptQuery::of(world.application.id, delivery.event);
    let read =
        async |page: &PageRequest<AttemptId>| world.reads().attempts_of_event(&query, page).await.expect("reads work");
    let found = pages(2, read).await;
    let told: Vec<_> = found.iter().map(|record| (record.life.0, record.attempt.number.0)).collect();
    assert_eq!(told, [(2, 1), (1, 2), (1, 1)]);
    assert!(found.iter().all(|record| record.event == delivery.event));
    assert_eq!(found[0].delivery, second.id);
}

/// The attempts of an endpoint come newest first: retries and tries by hand among the first attempts of younger events.
pub async fn attempts_of_an_endpoint_come_newest_first(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let expected = three_weeks_of_attempts(&world).await;
    let world = world.reopen(medium).await;
    for limit in [1, 2, 5, 21, 100] {
        let read = async |page: &PageRequest| {
            world.reads().attempts_of_endpoint(&AttemptQuery::of(world.endpoint.id), page).await.expect("reads work")
        };
        let found = pages(limit, read).await;
        let ids: Vec<_> = found.iter().map(|record| record.attempt.id).collect();
        assert_eq!(ids, expected, "pages of {limit}");
    }
    let stranger = endpoint(&world.application, 2, CONCURRENT).id;
    let none = AttemptQuery::of(stranger);
    let page = world.reads().attempts_of_endpoint(&none, &PageRequest::default()).await.expect("reads work");
    assert_eq!(page.items, []);
}

/// Dead letters come endpoint by endpoint as asked, the newest first within each, filtered by when they died.
pub async fn dead_letters_come_newest_first(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let second = endpoint(&world.application, 2, CONCURRENT);
    world.write([world.put(&second)]).await;
    let mut expected = Vec::new();
    let mut world = world;
    for endpoint in [second.clone(), world.endpoint.clone()] {
        world = World { endpoint, ..world };
        let mut letters = Vec::new();
        for hour in 0..4_u32 {
            let at = NOW + HOUR * hour;
            let event = Event::new("case.dead", "{}");
            let delivery = world.accept(Acceptance { accepted_at: at, ..world.acceptance(event) }).await.remove(0);
            world.step(super::super::world::expired(&delivery, at)).await;
            letters.insert(0, delivery.id);
        }
        expected.extend(letters);
    }
    // By endpoint, in whatever order they are named.
    expected.sort_by_key(|letter: &DeliveryId| letter.endpoint);
    let all = DeadLetterQuery { endpoints: vec![second.id, world.endpoint.id], ..DeadLetterQuery::default() };
    let read = async |query: &DeadLetterQuery, limit| {
        let read =
            async |page: &PageRequest<DeliveryId>| world.reads().dead_letters(query, page).await.expect("reads work");
        pages(limit, read).await.into_iter().map(|letter| letter.last.id).collect::<Vec<DeliveryId>>()
    };
    for limit in [1, 3, 4, 8] {
        assert_eq!(read(&all, limit).await, expected, "pages of {limit}");
    }
    let between = DeadLetterQuery { after: Some(NOW), before: Some(NOW + HOUR * 3), ..all.clone() };
    assert_eq!(read(&between, 3).await, [&expected[1..3], &expected[5..7]].concat());
    let one = DeadLetterQuery { endpoints: vec![second.id], ..all };
    let of_one: Vec<_> = expected.into_iter().filter(|letter| letter.endpoint == second.id).collect();
    assert_eq!(read(&one, 2).await, of_one);
    assert_eq!(read(&DeadLetterQuery::default(), 2).await, []);
}

/// What is unfinished at an endpoint: by lane and position, then what waits for a time, soonest first, each once.
pub async fn a_queue_is_listed_whole(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let mut deliveries = Vec::new();
    for _ in 0..5 {
        deliveries.push(world.publish("a").await);
    }
    world.step(failed(&deliveries[0], NOW + HOUR * 2)).await;
    world.step(failed(&deliveries[3], NOW + HOUR)).await;
    let order = [1, 2, 4, 3, 0].map(|n: usize| deliveries[n].id.seq);
    let (id, generation) = (world.endpoint.id, world.endpoint.generation);
    let read = async |page: &PageRequest| world.reads().queue(id, generation, page).await.expect("reads work");
    for limit in [1, 2, 3, 5] {
        assert_eq!(seqs(&pages(limit, read).await), order, "pages of {limit}");
    }

    let per_key = endpoint(&world.application, 2, OrderingMode::PerKey(OnExhausted::Hold));
    world.write([world.put(&per_key)]).await;
    let world = World { endpoint: per_key, ..world };
    let mut deliveries = Vec::new();
    for key in ["a", "b", "a", "b"] {
        deliveries.push(world.publish(key).await);
    }
    world.step(failed(&deliveries[0], NOW + HOUR)).await;
    deliveries.sort_by_key(|delivery| (delivery.lane, delivery.id));
    let (id, generation) = (world.endpoint.id, world.endpoint.generation);
    let read = async |page: &PageRequest| world.reads().queue(id, generation, page).await.expect("reads work");
    for limit in [1, 3, 4] {
        assert_eq!(seqs(&pages(limit, read).await), seqs(&deliveries), "pages of {limit}");
    }
    assert!(read(&PageRequest::first(many(4))).await.is_last, "the waiting head was listed in its lane");
}

/// What a delivery waits for in its lane is what is tried first there.
pub async fn what_is_ahead_is_the_head_of_the_lane(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::PerKey(OnExhausted::Hold)).await;
    let (head, other) = (world.publish("a").await, world.publish("b").await);
    let (second, third) = (world.publish("a").await, world.publish("a").await);
    let ahead = async |of: &Delivery| world.reads().ahead(of).await.expect("reads work");
    assert_eq!(ahead(&third).await, Some(head.clone()));
    assert_eq!(ahead(&second).await, Some(head.clone()));
    assert_eq!(ahead(&head).await, None, "it waits for nobody");
    assert_eq!(ahead(&other).await, None);
    let apart = Delivery { place: Place::Ready, ..third };
    assert_eq!(ahead(&apart).await, None, "it waits in no lane");
}

/// A backlog says how much waits, tries by hand with it, however few rows are looked at; or that it is more than it says.
pub async fn a_backlog_says_how_much_waits(medium: &dyn OpenStore) {
    for (n, ordering) in [(2, CONCURRENT), (3, OrderingMode::PerKey(OnExhausted::Hold))] {
        let world = World::open(medium, CONCURRENT).await;
        let mut world = World { endpoint: endpoint(&world.application, n, ordering), ..world };
        world.write([world.put(&world.endpoint)]).await;
        let (id, generation) = (world.endpoint.id, world.endpoint.generation);
        let count = async |world: &World, rows_max: NonZeroUsize| {
            world.reads().backlog(id, generation, rows_max).await.expect("reads work")
        };
        assert_eq!(count(&world, many(10)).await, Backlog::default());
        let mut deliveries = Vec::new();
        for minute in 0..4_u32 {
            let event = Event::new("case.counted", "{}").ordering_key("a");
            let accepted_at: Timestamp = NOW + std::time::Duration::from_secs(60) * minute;
            deliveries.extend(world.accept(Acceptance { accepted_at, ..world.acceptance(event) }).await);
        }
        world.step(failed(&deliveries[0], NOW + HOUR)).await;
        world.resent(deliveries[0].event, NOW).await;
        let exactly = Backlog { queued: 5, is_at_least: false, oldest: Some(NOW) };
        assert_eq!(count(&world, many(10)).await, exactly);
        world = world.reopen(medium).await;
        assert_eq!(count(&world, many(10)).await, exactly, "{ordering:?}");
        let some = count(&world, many(2)).await;
        assert!(some.is_at_least && some.queued <= 2, "not counted yet: {some:?}");
        world.count().await;
        let counted = count(&world, many(2)).await;
        assert_eq!((counted.queued, counted.is_at_least), (5, false), "{ordering:?}");
    }
}

/// One event a week, of type `even` or `odd`, the odd ones on a channel.
async fn eight_weeks(world: &World) -> Vec<EventId> {
    let mut events = Vec::new();
    for week in 0..8_u32 {
        let event = match week % 2 {
            0 => Event::new("even", "{}"),
            _ => Event::new("odd", "{}").channels(["odd-ones"]),
        };
        let acceptance = Acceptance { accepted_at: NOW + WEEK * week, ..world.acceptance(event) };
        events.push(world.accept(acceptance).await.remove(0).event);
    }
    events
}

/// Attempts of three weeks, the newest first: at three events of each, twice, and one by hand.
pub(super) async fn three_weeks_of_attempts(world: &World) -> Vec<AttemptId> {
    let mut expected: Vec<AttemptId> = Vec::new();
    for week in 0..3_u32 {
        let mut deliveries = Vec::new();
        for minute in 0..3_u32 {
            let accepted_at = NOW + WEEK * week + HOUR * 5 * minute;
            let acceptance = Acceptance { accepted_at, ..world.acceptance(Event::new("case.tried", "{}")) };
            deliveries.extend(world.accept(acceptance).await);
        }
        for delivery in &deliveries {
            let first = failed(delivery, delivery.since + HOUR);
            let waiting = first.after.clone().expect("it is tried again");
            expected.extend(attempt_of(&first));
            world.step(first).await;
            let retry = succeeded(&waiting);
            expected.extend(attempt_of(&retry));
            world.step(retry).await;
        }
        let manual = world.resent(deliveries[0].event, NOW + WEEK * week + DAY).await;
        let by_hand = failed_by_hand(&manual);
        expected.extend(attempt_of(&by_hand));
        world.step(by_hand).await;
    }
    expected.sort_unstable();
    expected.reverse();
    expected
}

async fn events_of(world: &World, query: &EventQuery, limit: usize) -> Vec<EventId> {
    let read = async |page: &PageRequest<EventId>| world.reads().events(query, page).await.expect("reads work");
    pages(limit, read).await.into_iter().map(|event| event.id).collect()
}

/// All items of a list, in pages of at most `limit`; back from its end, and from each page to the one before, they are the
/// same.
pub(super) async fn pages<T: PartialEq + fmt::Debug, C: Clone>(
    limit: usize,
    read: impl AsyncFn(&PageRequest<C>) -> Page<T, C>,
) -> Vec<T> {
    let (mut items, mut request) = (Vec::new(), PageRequest::first(many(limit)));
    loop {
        let page = read(&request).await;
        assert!(page.items.len() <= limit, "a page has at most {limit} items");
        if let Some(previous) = page.previous.clone().filter(|_| !items.is_empty()) {
            let back = read(&PageRequest { part: Part::Before(previous), limit: many(limit) }).await;
            assert_eq!(back.items, items[items.len().saturating_sub(limit)..], "the page before, of {limit}");
            assert_eq!(back.is_last, items.len() <= limit, "whether one lies before that");
        }
        let goes_on = request.turn(&page);
        items.extend(page.items);
        assert!(items.len() < 1000, "the list has an end");
        if !goes_on {
            break;
        }
    }
    let (mut left, mut request) = (items.len(), PageRequest { part: Part::Last, limit: many(limit) });
    loop {
        let page = read(&request).await;
        let before = left.checked_sub(page.items.len()).expect("nothing comes twice");
        assert_eq!(page.items, items[before..left], "back, {limit} at a time");
        left = before;
        if !request.turn(&page) {
            break;
        }
    }
    assert_eq!(left, 0, "back to the beginning, {limit} at a time");
    items
}

pub(super) fn attempt_of(transition: &postrider_core::Transition) -> Option<AttemptId> {
    match &transition.step {
        Step::Attempted(attempt) => Some(attempt.id),
        Step::GaveUp | Step::Cancelled(_) => None,
    }
}

fn ids(deliveries: &[Delivery]) -> Vec<DeliveryId> {
    deliveries.iter().map(|delivery| delivery.id).collect()
}
