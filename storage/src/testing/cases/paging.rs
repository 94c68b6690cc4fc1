//! Lists lead back as they lead forward, from anywhere, while items arrive.

use std::{collections::BTreeSet, fmt, time::Duration};

use postrider_core::{
    Acceptance, AttemptId, DeliveryId, Dice, Event, EventId, OrderingMode, SplitMix, Step, Timestamp, Write,
};

use super::lists::{attempt_of, pages, three_weeks_of_attempts};
use crate::{
    AttemptFilter, AttemptQuery, DeadLetterQuery, EventQuery, OpenStore, Page, PageRequest, Part,
    testing::world::{HOUR, NOW, WEEK, World, application, endpoint, failed, many, succeeded},
};

const CONCURRENT: OrderingMode = OrderingMode::Concurrent;

/// Of a time only, whatever lies around it; from its end back to its beginning, too.
pub async fn attempts_of_a_time_are_found(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let all = three_weeks_of_attempts(&world).await;
    let of_time = |after: Option<Timestamp>, before: Option<Timestamp>| {
        let is_wanted = |id: &&AttemptId| {
            before.is_none_or(|before| id.time() < before) && after.is_none_or(|after| after < id.time())
        };
        all.iter().filter(is_wanted).copied().collect::<Vec<_>>()
    };
    let times = [NOW, NOW + HOUR * 6, NOW + WEEK, NOW + WEEK + HOUR * 3, NOW + WEEK * 2 + HOUR * 9, NOW + WEEK * 4];
    let times = times.map(Some).into_iter().chain([None]).collect::<Vec<_>>();
    for (after, before) in times.iter().flat_map(|after| times.iter().map(|before| (*after, *before))) {
        let query = AttemptQuery {
            filter: AttemptFilter { before, after, ..Default::default() },
            ..AttemptQuery::of(world.endpoint.id)
        };
        let read = async |page: &PageRequest| {
            let found = world.reads().attempts_of_endpoint(&query, page).await.expect("reads work");
            let ids = found.items.iter().map(|record| record.attempt.id).collect();
            found.with(ids)
        };
        assert_eq!(pages(3, read).await, of_time(after, before), "{after:?} to {before:?}");
    }
}

/// A first attempt that was made long after those of younger events lies among theirs, and moves no other, whichever way.
pub async fn a_late_attempt_moves_no_other(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    tried_hourly(&world, |hour| hour == 12).await;
    for limit in [1, 3, 7, 100] {
        let read = async |page: &PageRequest| {
            world.reads().attempts_of_endpoint(&AttemptQuery::of(world.endpoint.id), page).await.expect("reads work")
        };
        pages(limit, read).await;
    }
}

/// Where many first attempts were made late, each comes once, whichever way.
pub async fn attempts_that_were_late_come_once_either_way(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let mut dice = SplitMix::new(5);
    let all = tried_hourly(&world, |_| dice.roll().is_multiple_of(4)).await;
    for limit in [1, 3, 7, 100] {
        for part in [Part::First, Part::Last] {
            let (mut found, mut request) = (Vec::new(), PageRequest { part, limit: many(limit) });
            loop {
                let query = AttemptQuery::of(world.endpoint.id);
                let page = world.reads().attempts_of_endpoint(&query, &request).await.expect("reads work");
                found.extend(page.items.iter().map(|record| Some(record.attempt.id)));
                if !request.turn(&page) {
                    break;
                }
            }
            assert_eq!(found.len(), all.len(), "pages of {limit}");
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), all, "pages of {limit}");
        }
    }
}

/// An event in each of forty hours, tried half an hour later or much later, and once more.
async fn tried_hourly(world: &World, mut is_late: impl FnMut(u32) -> bool) -> BTreeSet<Option<AttemptId>> {
    let mut all = BTreeSet::new();
    for hour in 0..40 {
        let acceptance = Acceptance { accepted_at: NOW + HOUR * hour, ..world.acceptance(Event::new("a", "{}")) };
        let delivery = world.accept(acceptance).await.remove(0);
        let mut first = failed(&delivery, NOW + WEEK);
        let waiting = first.after.clone().expect("it is tried again");
        let Step::Attempted(attempt) = &mut first.step else { panic!("it is an attempt") };
        attempt.started = delivery.since + if is_late(hour) { HOUR * 30 } else { HOUR / 2 };
        attempt.id = AttemptId::new(attempt.started, &mut SplitMix::new(u64::from(hour)));
        let retry = succeeded(&waiting);
        all.extend([attempt_of(&first), attempt_of(&retry)]);
        world.step(first).await;
        world.step(retry).await;
    }
    all
}

/// Back and forth at random, in pages of any size, a list is one and the same.
pub async fn a_walk_to_and_fro_meets_what_lies_there(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    for _ in 0..7 {
        let (dead, waits, retried) = (world.publish("a").await, world.publish("a").await, world.publish("a").await);
        world.give_up(&dead).await;
        world.step(failed(&retried, NOW + HOUR * u32::try_from(retried.id.seq.0 % 5).unwrap_or(0))).await;
        assert_ne!(waits.id, dead.id);
    }
    three_weeks_of_attempts(&world).await;
    let reads = world.reads();
    let (id, generation) = (world.endpoint.id, world.endpoint.generation);
    let events = EventQuery::of(world.application.id);
    let letters = DeadLetterQuery { endpoints: vec![id], ..DeadLetterQuery::default() };
    for seed in 0..20 {
        wander(seed, async |page| reads.events(&events, page).await.expect("reads work")).await;
        let oldest_first = EventQuery { oldest_first: true, ..events.clone() };
        wander(seed, async |page| reads.events(&oldest_first, page).await.expect("reads work")).await;
        let tried = AttemptQuery::of(id);
        wander(seed, async |page| reads.attempts_of_endpoint(&tried, page).await.expect("reads work")).await;
        wander(seed, async |page| reads.dead_letters(&letters, page).await.expect("reads work")).await;
        wander(seed, async |page| reads.queue(id, generation, page).await.expect("reads work")).await;
    }
}

/// What arrives while somebody reads is met on the way back, and puts nothing out of its place.
pub async fn what_arrives_between_pages_is_met_on_the_way_back(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let letters = DeadLetterQuery { endpoints: vec![world.endpoint.id], ..DeadLetterQuery::default() };
    let read = async |page: &PageRequest<DeliveryId>| {
        let found = world.reads().dead_letters(&letters, page).await.expect("reads work");
        let events = found.items.iter().map(|letter| letter.last.event).collect();
        found.with(events)
    };
    met_on_the_way_back(&world, read).await;
    let world = World { endpoint: endpoint(&world.application, 2, CONCURRENT), ..world };
    world.write([world.put(&world.endpoint)]).await;
    let tried = AttemptQuery::of(world.endpoint.id);
    let read = async |page: &PageRequest| {
        let found = world.reads().attempts_of_endpoint(&tried, page).await.expect("reads work");
        let events = found.items.iter().map(|record| record.event).collect();
        found.with(events)
    };
    met_on_the_way_back(&world, read).await;
    let mut known = read(&PageRequest { part: Part::Last, limit: many(100) }).await;
    for _ in 0..2 {
        let waiting = failed(&world.publish("a").await, NOW + HOUR);
        let retry = waiting.after.clone().expect("it is tried again");
        world.step(waiting).await;
        world.step(succeeded(&retry)).await;
        let back = PageRequest { part: Part::Before(known.previous.expect("it has items")), limit: many(100) };
        known = read(&back).await;
        assert_eq!(known.items, [retry.event; 2], "the first retry of all, too");
    }
    let other = application(3);
    let endpoint = endpoint(&other, 3, CONCURRENT);
    world.write([Write::Application(Box::new(other.clone())), world.put(&endpoint)]).await;
    let world = World { application: other, endpoint, ..world };
    let events = EventQuery::of(world.application.id);
    let read = async |page: &PageRequest<EventId>| {
        let found = world.reads().events(&events, page).await.expect("reads work");
        let events = found.items.iter().map(|event| event.id).collect();
        found.with(events)
    };
    met_on_the_way_back(&world, read).await;
}

/// A page of a time ends where its items end: whoever leaves that time from it, either way, misses nothing.
pub async fn a_page_of_a_time_is_left_either_way(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    // Closer together than the order of ids and of times may differ.
    let at = |place: u32| NOW + Duration::from_millis(100) * place;
    for place in 0..30 {
        let acceptance = Acceptance { accepted_at: at(place), ..world.acceptance(Event::new("a", "{}")) };
        let delivery = world.accept(acceptance).await.remove(0);
        if place % 3 == 0 {
            let retried = failed(&delivery, NOW + HOUR);
            let waiting = retried.after.clone().expect("it is tried again");
            world.step(retried).await;
            world.step(succeeded(&waiting)).await;
        } else {
            world.step(succeeded(&delivery)).await;
        }
    }
    let owner = EventQuery::of(world.application.id);
    let tried = AttemptQuery::of(world.endpoint.id);
    for (after, before) in [(None, Some(10)), (Some(10), None), (Some(8), Some(20)), (Some(29), None), (None, Some(0))]
    {
        for limit in [3, 100] {
            let (after, before) = (after.map(at), before.map(at));
            left_either_way(limit, async |in_time, page| {
                let query = if in_time { EventQuery { before, after, ..owner.clone() } } else { owner.clone() };
                let found = world.reads().events(&query, page).await.expect("reads work");
                let ids = found.items.iter().map(|event| event.id.to_bytes()).collect();
                found.with(ids)
            })
            .await;
            let minute = Duration::from_secs(60);
            let (after, before) = (after.map(|after| after + minute), before.map(|before| before + minute));
            left_either_way(limit, async |in_time, page| {
                let query = if in_time {
                    AttemptQuery { filter: AttemptFilter { before, after, ..Default::default() }, ..tried.clone() }
                } else {
                    tried.clone()
                };
                let found = world.reads().attempts_of_endpoint(&query, page).await.expect("reads work");
                let ids = found.items.iter().map(|record| record.attempt.id.to_bytes()).collect();
                found.with(ids)
            })
            .await;
        }
    }
}

/// The first page of a time, and the last, with what lies around them, is all that there is.
async fn left_either_way<C: Clone>(limit: usize, read: impl AsyncFn(bool, &PageRequest<C>) -> Page<[u8; 20], C>) {
    let all = read(false, &PageRequest::first(many(1000))).await.items;
    for part in [Part::First, Part::Last] {
        let page = read(true, &PageRequest { part, limit: many(limit) }).await;
        let (Some(previous), Some(next)) = (page.previous, page.next) else {
            assert_eq!(page.items, [] as [[u8; 20]; 0]);
            continue;
        };
        let around = async |part: Part<C>| read(false, &PageRequest { part, limit: many(1000) }).await.items;
        let (newer, older) = (around(Part::Before(previous)).await, around(Part::After(next)).await);
        assert_eq!([newer, page.items, older].concat(), all);
    }
}

/// Goes on and back at random, from either end, and compares with what was read at once.
pub(super) async fn wander<T: PartialEq + fmt::Debug, C: Clone>(
    seed: u64,
    read: impl AsyncFn(&PageRequest<C>) -> Page<T, C>,
) {
    let all = read(&PageRequest::first(many(1000))).await.items;
    let mut dice = SplitMix::new(seed);
    let mut roll = |sides: u64| usize::try_from(dice.roll() % sides).unwrap_or_default();
    let (mut at, mut known) = (0..0, Page::<T, C>::default());
    for step in 0..60 {
        let size = 1 + roll(6);
        let (part, span) = match (roll(2), known.next.clone(), known.previous.clone()) {
            (0, Some(next), _) => (Part::After(next), at.end..(at.end + size).min(all.len())),
            (_, _, Some(previous)) => (Part::Before(previous), at.start.saturating_sub(size)..at.start),
            (0, ..) => (Part::First, 0..size.min(all.len())),
            _ => (Part::Last, all.len().saturating_sub(size)..all.len()),
        };
        let is_last = if part.is_back() { span.start == 0 } else { span.end == all.len() };
        let found = read(&PageRequest { part, limit: many(size) }).await;
        assert_eq!(found.items, all[span.clone()], "{span:?} at step {step} of seed {seed}");
        assert_eq!(found.is_last, is_last, "{span:?} at step {step} of seed {seed}");
        (at, known) = (span, found);
    }
}

/// Reads a list of what is given up at the world's endpoint while there is ever more of it.
async fn met_on_the_way_back<C: Clone>(world: &World, read: impl AsyncFn(&PageRequest<C>) -> Page<EventId, C>) {
    let arrive = async |count: usize| {
        let mut events = Vec::new();
        for _ in 0..count {
            let delivery = world.publish("a").await;
            events.push(world.give_up(&delivery).await.event);
        }
        events
    };
    let of = async |part: Part<C>| read(&PageRequest { part, limit: many(2) }).await;
    let back = async |known: &Page<EventId, C>| of(Part::Before(known.previous.clone().expect("it has items"))).await;
    let old = arrive(5).await;
    let first = of(Part::First).await;
    assert_eq!((&first.items[..], first.is_last), (&[old[4], old[3]][..], false));
    let new = arrive(3).await;
    let second = of(Part::After(first.next.clone().expect("it has items"))).await;
    assert_eq!((&second.items[..], second.is_last), (&[old[2], old[1]][..], false));
    let again = back(&second).await;
    assert_eq!((&again.items[..], again.is_last), (&first.items[..], false));
    let newer = back(&again).await;
    assert_eq!((&newer.items[..], newer.is_last), (&[new[1], new[0]][..], false));
    let newest = back(&newer).await;
    assert_eq!((&newest.items[..], newest.is_last), (&[new[2]][..], true));
    assert_eq!(back(&newest).await.items, [], "nothing is newer");
    let latest = arrive(1).await;
    assert_eq!(back(&newest).await.items, latest, "until something is");
}
