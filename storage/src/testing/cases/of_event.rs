//! Lists of one event that went to many, or was tried again and again: read a page at a time, from any place.

use std::{collections::BTreeSet, sync::Arc};

use postrider_core::{
    Attempt, AttemptId, EndpointId, Event, EventId, Life, OrderingMode, Outcome, SplitMix, Step, Then, Transition,
    plan_recipients,
};

use super::{lists::pages, paging::wander};
use crate::{
    AttemptEnd, AttemptFilter, AttemptRecord, EventAttemptQuery, OpenStore, Page, PageRequest, Part, Responses,
    testing::world::{self, HOUR, NOW, World, endpoint, failed, failed_by_hand, many, succeeded},
};

const CONCURRENT: OrderingMode = OrderingMode::Concurrent;

/// Endpoints of an event, those that got it by hand with them, come in the order of their ids; each once, with its current
/// life; from any place, be it that of an endpoint or not, as many as are asked for.
pub async fn a_crowd_is_read_a_page_at_a_time(medium: &dyn OpenStore) {
    for recipients in [10, 300] {
        let world = World::open(medium, CONCURRENT).await;
        let (world, event, expected) = crowd(world, recipients).await;
        let read = async |page: &PageRequest<EndpointId>| {
            world.reads().deliveries(world.application.id, event, page).await.expect("reads work")
        };
        let all = read(&PageRequest::first(many(1000))).await.items;
        assert_eq!(all.iter().map(|record| record.id.endpoint).collect::<BTreeSet<_>>(), expected);
        assert!(all.windows(2).all(|pair| pair[0].id.endpoint < pair[1].id.endpoint));
        assert_eq!(all.iter().filter(|record| record.life == Life(2)).count(), 1, "the redriven one, once");
        for limit in [7, 127, 128, 129, 305] {
            let found = pages(limit, read).await;
            assert_eq!(found, all, "pages of {limit}");
        }
        for seed in 0..5 {
            wander(seed, read).await;
        }
        for n in 0..20 {
            let place = EndpointId::new(NOW, &mut SplitMix::new(90_000 + n));
            beside_a_place(&all, place, |record| record.id.endpoint.cmp(&place), read).await;
        }
    }
}

/// Attempts of an event come newest first, by whatever filter, from any place; without what was answered, if that is not
/// asked for.
pub async fn attempts_of_a_crowd_are_read_a_page_at_a_time(medium: &dyn OpenStore) {
    let world = World::open(medium, CONCURRENT).await;
    let (world, event, _) = crowd(world, 40).await;
    let all = world.attempts(event).await;
    assert!(all.len() > 40 && all.windows(2).all(|pair| pair[0].attempt.id > pair[1].attempt.id));
    let of = EventAttemptQuery::of(world.application.id, event);
    let filters = [
        AttemptFilter::default(),
        AttemptFilter { end: Some(AttemptEnd::Delivered), ..AttemptFilter::default() },
        AttemptFilter { end: Some(AttemptEnd::Failed), ..AttemptFilter::default() },
        AttemptFilter { status_class: Some(200), ..AttemptFilter::default() },
        AttemptFilter { status_class: Some(0), ..AttemptFilter::default() },
        AttemptFilter { after: Some(NOW + HOUR), ..AttemptFilter::default() },
        AttemptFilter { before: Some(NOW + HOUR), ..AttemptFilter::default() },
        AttemptFilter { responses: Responses::LeftOut, ..AttemptFilter::default() },
    ];
    for (filter, endpoint) in filters.into_iter().flat_map(|filter| [(filter, None), (filter, Some(world.endpoint.id))])
    {
        let query = EventAttemptQuery { filter, endpoint, ..of.clone() };
        let read = async |page: &PageRequest<AttemptId>| {
            world.reads().attempts_of_event(&query, page).await.expect("reads work")
        };
        let expected: Vec<_> = all.iter().filter_map(|record| shown(record, &query)).collect();
        assert!(!expected.is_empty(), "{query:?} wants something");
        for limit in [1, 7, 41, 1000] {
            assert_eq!(pages(limit, read).await, expected, "{query:?}, pages of {limit}");
        }
        wander(3, read).await;
        for n in 0..10 {
            let place = AttemptId::new(NOW + HOUR * n, &mut SplitMix::new(u64::from(n)));
            beside_a_place(&expected, place, |record| place.cmp(&record.attempt.id), read).await;
        }
    }
    for record in &all {
        let found = world.reads().attempt_of_event(world.application.id, event, record.attempt.id).await;
        assert_eq!(found.expect("reads work").as_ref(), Some(record));
    }
    let stranger = AttemptId::new(NOW, &mut SplitMix::new(7));
    let found = world.reads().attempt_of_event(world.application.id, event, stranger).await;
    assert_eq!(found.expect("reads work"), None);
}

/// An event for so many endpoints and for two that get it by hand; some are tried twice, one is redriven, and the world's
/// own one is among them.
async fn crowd(world: World, recipients: u64) -> (World, EventId, BTreeSet<EndpointId>) {
    let others: Vec<_> = (2..=recipients).map(|n| endpoint(&world.application, n, CONCURRENT)).collect();
    let strangers = [5_000, 5_001].map(|n| endpoint(&world.application, n, CONCURRENT));
    world.write(others.iter().chain(&strangers).map(|other| world.put(other))).await;
    let event = Event::new("case.crowd", "{}");
    let all: Vec<_> = others.iter().chain([&world.endpoint]).cloned().map(Arc::new).collect();
    let planned = plan_recipients(&event, &all);
    let deliveries = world.accept(world::acceptance(&world.application, event, planned)).await;
    let event = deliveries[0].event;
    for (index, delivery) in deliveries.iter().enumerate() {
        match index % 3 {
            0 => drop(world.step(apart(succeeded(delivery))).await),
            1 => {
                let first = apart(failed(delivery, NOW + HOUR * 2));
                let waiting = first.after.clone().expect("it is tried again");
                world.step(first).await;
                world.step(apart(succeeded(&waiting))).await;
            }
            _ => {}
        }
    }
    world.give_up(&deliveries[2]).await;
    world.redrive(deliveries[2].id).await;
    let own = world.endpoint.clone();
    let mut world = world;
    for stranger in &strangers {
        world = World { endpoint: stranger.clone(), ..world };
        let by_hand = world.resent(event, NOW + HOUR).await;
        world.step(apart(failed_by_hand(&by_hand))).await;
    }
    world = World { endpoint: own, ..world };
    for _ in 0..3 {
        let by_hand = world.resent(event, NOW + HOUR).await;
        world.step(apart(failed_by_hand(&by_hand))).await;
    }
    let ids = all.iter().map(|endpoint| endpoint.id).chain(strangers.map(|stranger| stranger.id)).collect();
    (world, event, ids)
}

/// Its attempt gets an id that those of other endpoints, made at the same time, do not have.
fn apart(mut transition: Transition) -> Transition {
    let Step::Attempted(attempt) = &mut transition.step else { return transition };
    let endpoint = transition.before.id.endpoint.to_bytes();
    let seed = endpoint.iter().fold(u64::from(attempt.number.0), |sum, byte| sum.wrapping_mul(257) + u64::from(*byte));
    attempt.id = AttemptId::new(attempt.started, &mut SplitMix::new(seed));
    transition
}

/// The record as a query wants it, if it does.
fn shown(record: &AttemptRecord, query: &EventAttemptQuery) -> Option<AttemptRecord> {
    let Attempt { started, outcome, then, .. } = &record.attempt;
    let AttemptFilter { before, after, end, status_class, responses } = query.filter;
    let is_wanted = query.endpoint.is_none_or(|endpoint| endpoint == record.delivery.endpoint)
        && before.is_none_or(|before| *started < before)
        && after.is_none_or(|after| after < *started)
        && end.is_none_or(|end| (end == AttemptEnd::Delivered) == (*then == Then::Delivered))
        && status_class.is_none_or(|class| (class == 200) == matches!(outcome, Outcome::Success { .. }));
    let mut shown = record.clone();
    if responses == Responses::LeftOut {
        shown.attempt.response = Box::default();
    }
    is_wanted.then_some(shown)
}

/// What lies on both sides of a place where nothing is.
async fn beside_a_place<T: Clone + PartialEq + std::fmt::Debug, C: Copy>(
    all: &[T],
    place: C,
    side: impl Fn(&T) -> std::cmp::Ordering,
    read: impl AsyncFn(&PageRequest<C>) -> Page<T, C>,
) {
    let split = all.partition_point(|item| side(item).is_lt());
    let before = read(&PageRequest { part: Part::Before(place), limit: many(5) }).await;
    assert_eq!((before.items, before.is_last), (all[split.saturating_sub(5)..split].to_vec(), split <= 5));
    let after = read(&PageRequest { part: Part::After(place), limit: many(5) }).await;
    let end = (split + 5).min(all.len());
    assert_eq!((after.items, after.is_last), (all[split..end].to_vec(), end == all.len()));
}
