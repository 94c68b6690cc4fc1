//! What a delivery costs: rows are what storage is slow at, so their number is fixed here; and the disk is not read.

use postrider_core::{
    Acceptance, Delivery, Effect, EndpointId, Event, Generation, Guard, IdempotencyKey, KeyClaim, OnExhausted,
    OrderingMode, Then, Write, plan_recipients,
};

use super::{
    equivalence::{Ids, endpoint, records, step},
    *,
};
use crate::{
    AttemptFilter, AttemptQuery, EventQuery, PageRequest, Part, Reads,
    testing::{Counted, Counting},
};

#[tokio::test]
async fn rows_written_are_as_few_as_promised() -> Result<(), Failed> {
    check(OrderingMode::Concurrent, Costs { publish: 2, success: 2, failure: 3, retry: 3 }).await?;
    check(OrderingMode::Fifo(OnExhausted::Hold), Costs { publish: 2, success: 2, failure: 2, retry: 3 }).await?;
    check(OrderingMode::PerKey(OnExhausted::Hold), Costs { publish: 2, success: 2, failure: 3, retry: 4 }).await
}

/// Rows written for one delivery.
struct Costs {
    publish: usize,
    success: usize,
    failure: usize,
    retry: usize,
}

async fn check(ordering: OrderingMode, costs: Costs) -> Result<(), Failed> {
    let kv = Counting::default();
    let (store, ids) = (KvStore::over(kv.clone())?, Ids::new());
    let endpoint = Arc::new(endpoint(&ids, ids.endpoint, ordering));
    commit(&store, Batch::synced(records(&ids, [(*endpoint).clone()]))).await?;
    let count = |kv: &Counting| {
        let Counted { rows_written, of_the_store, asked, .. } = kv.take();
        (rows_written - of_the_store, asked)
    };

    let publish = async |keyed: bool| -> Result<Delivery, Failed> {
        let event = Arc::new(Event::new("case.counted", "{}").ordering_key("a"));
        let key = keyed.then(|| KeyClaim { key: IdempotencyKey("key".into()), body: event.body_hash() });
        let recipients = plan_recipients(&event, [&endpoint]);
        let (application, accepted_at) = (ids.application, ids.now);
        let acceptance = Acceptance { application, accepted_at, entropy: 1, event, key, recipients };
        let batch = Batch::synced([Write::Accept(acceptance.clone())]).guarded(Guard::Routing(application, 1));
        let committed = commit(&store, batch).await?;
        let (seq, id) = committed.accepted().ok_or("it is accepted")?;
        Ok(acceptance.delivery(&acceptance.recipients[0], seq, id))
    };
    count(&kv);
    let keyed = publish(true).await?;
    assert_eq!(count(&kv).0, costs.publish + 1, "{ordering:?}: one more with a key");
    commit(&store, step(&ids, &keyed, Then::Delivered)).await?;
    count(&kv);
    let delivery = publish(false).await?;
    assert_eq!(count(&kv), (costs.publish, 0), "{ordering:?}: publish");
    commit(&store, step(&ids, &delivery, Then::Delivered)).await?;
    assert_eq!(count(&kv), (costs.success, 0), "{ordering:?}: success");
    let delivery = publish(false).await?;
    count(&kv);
    let failed = step(&ids, &delivery, Then::RetryAt(ids.now));
    let Write::Outcome(transition) = &failed.writes[0] else { unreachable!("it was built as one") };
    let waiting = transition.after.clone().ok_or("it is tried again")?;
    commit(&store, failed).await?;
    assert_eq!(count(&kv), (costs.failure, 0), "{ordering:?}: failure");
    commit(&store, step(&ids, &waiting, Then::Delivered)).await?;
    assert_eq!(count(&kv), (costs.retry, 0), "{ordering:?}: retry");
    Ok(())
}

/// The first commit after an opening reads what any other reads, however much waits or waited where it adds.
#[tokio::test]
async fn the_first_commit_after_an_opening_reads_no_row_of_a_queue() -> Result<(), Failed> {
    let mut costs = Vec::new();
    for count in [20, 5_000] {
        let (kv, store, ids, of) = full_of(count).await?;
        let endpoint = Arc::new(endpoint(&ids, of, OrderingMode::Concurrent));
        store.reopen()?;
        kv.take();
        let event = Arc::new(Event::new("case.counted", "{}"));
        let recipients = plan_recipients(&event, [&endpoint]);
        let (application, accepted_at) = (ids.application, ids.now);
        let acceptance = Acceptance { application, accepted_at, entropy: 1, event, key: None, recipients };
        let batch = Batch::synced([Write::Accept(acceptance)]).guarded(Guard::Generation(of, Generation(0)));
        let committed = commit(&store, batch).await?;
        assert!(committed.accepted().is_some());
        let Counted { asked, scanned, .. } = kv.take();
        costs.push((asked, scanned));
    }
    assert_eq!(costs, [(1, 0); 2], "the guard's row");
    Ok(())
}

/// A page costs what it shows, in both directions, from the ends and from the middle, however long its list is.
#[tokio::test]
async fn a_page_costs_the_same_however_long_its_list_is() -> Result<(), Failed> {
    let (short, long) = (pages_of(200).await?, pages_of(5_000).await?);
    assert_eq!(short, long);
    assert!(short.iter().all(|(_, rows)| *rows <= 220), "{short:?}");
    Ok(())
}

/// A filter that wants nothing passes over a bounded number of rows, in both directions.
#[tokio::test]
async fn a_page_that_finds_nothing_ends() -> Result<(), Failed> {
    let (kv, store, ids, endpoint) = full_of(3_000).await?;
    let nothing = EventQuery { event_types: vec!["none".into()], ..EventQuery::of(ids.application) };
    let no_time = AttemptFilter { before: Some(ids.now), after: Some(ids.now), ..AttemptFilter::default() };
    let never = AttemptQuery { filter: no_time, ..AttemptQuery::of(endpoint) };
    for part in [Part::First, Part::Last] {
        let (mut request, mut pages) = (PageRequest { part, limit: PAGE }, 1);
        kv.take();
        loop {
            let found = store.events(&nothing, &request).await?;
            assert!(found.items.is_empty() && kv.take().scanned < 1_100);
            if !request.turn(&found) {
                break;
            }
            pages += 1;
        }
        assert_eq!(pages, 6, "{part:?}");
    }
    for part in [Part::First, Part::Last] {
        let (mut request, mut pages) = (PageRequest { part, limit: PAGE }, 1);
        kv.take();
        loop {
            let found = store.attempts_of_endpoint(&never, &request).await?;
            assert!(found.items.is_empty() && kv.take().scanned < 1_200);
            if !request.turn(&found) {
                break;
            }
            pages += 1;
        }
        assert!(pages <= 3, "{pages}");
    }
    Ok(())
}

const PAGE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(49);

/// A store with so many events that were tried once, and as many that wait.
async fn full_of(count: usize) -> Result<(Counting, KvStore<Counting>, Ids, EndpointId), Failed> {
    let kv = Counting::default();
    let (store, ids) = (KvStore::over(kv.clone())?, Ids::new());
    let endpoint = Arc::new(endpoint(&ids, ids.endpoint, OrderingMode::Concurrent));
    commit(&store, Batch::synced(records(&ids, [(*endpoint).clone()]))).await?;
    let event = Arc::new(Event::new("case.counted", "{}"));
    let recipients = plan_recipients(&event, [&endpoint]);
    let (application, accepted_at) = (ids.application, ids.now);
    let acceptance = Acceptance { application, accepted_at, entropy: 1, event, key: None, recipients };
    let accepted = commit(&store, Batch::synced((0..2 * count).map(|_| Write::Accept(acceptance.clone())))).await?;
    let deliveries = accepted.effects.iter().filter_map(|effect| match effect {
        Effect::Accepted(seq, id, _) => Some(acceptance.delivery(&acceptance.recipients[0], *seq, *id)),
        _ => None,
    });
    let steps = deliveries.step_by(2).flat_map(|delivery| step(&ids, &delivery, Then::Delivered).writes);
    commit(&store, Batch::synced(steps)).await?;
    Ok((kv, store, ids, endpoint.id))
}

/// What pages of fifty cost where there are so many events: questions asked, and rows answered.
async fn pages_of(count: usize) -> Result<Vec<(usize, usize)>, Failed> {
    let (kv, store, ids, endpoint) = full_of(count).await?;
    let mut costs = Vec::new();
    let mut count = || {
        let Counted { asked, scanned, .. } = kv.take();
        costs.push((asked, scanned));
    };
    let events = EventQuery::of(ids.application);
    let tried = AttemptQuery::of(endpoint);
    let first = store.events(&events, &PageRequest { part: Part::First, limit: PAGE }).await?;
    let middle = first.next.ok_or("there are more")?;
    for part in [Part::First, Part::Last, Part::After(middle), Part::Before(middle)] {
        store.events(&events, &PageRequest { part, limit: PAGE }).await?;
        count();
    }
    let first = store.attempts_of_endpoint(&tried, &PageRequest::first(PAGE)).await?;
    let middle = first.next.ok_or("there are more")?;
    for part in [Part::First, Part::Last, Part::After(middle.clone()), Part::Before(middle)] {
        store.attempts_of_endpoint(&tried, &PageRequest { part, limit: PAGE }).await?;
        count();
    }
    let first = store.queue(endpoint, Generation(0), &PageRequest::first(PAGE)).await?;
    let middle = first.next.ok_or("there are more")?;
    for part in [Part::First, Part::Last, Part::After(middle.clone()), Part::Before(middle)] {
        store.queue(endpoint, Generation(0), &PageRequest { part, limit: PAGE }).await?;
        count();
    }
    costs.remove(0);
    Ok(costs)
}

async fn commit(store: &KvStore<Counting>, batch: Batch) -> Result<postrider_core::Committed, Failed> {
    let mut verdicts = store.commit(Arc::new([batch]), Durability::Synced).await?;
    Ok(verdicts.remove(0).map_err(|refused| format!("{refused:?}"))?)
}
