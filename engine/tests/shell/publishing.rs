//! Publishing: repeats, conflicts, bounds, wake rows, and events that many receive.

use std::{num::NonZeroUsize, sync::atomic::Ordering, time::Duration};

use postrider::{
    ApplicationSpec, CommitError, Engine, Event, EventTypeError, EventTypeSpec, PublishError, SchemaCheck,
    storage::MemoryStore,
    testing::{NullTransport, Reply, ScriptedTransport},
};
use tokio::time::sleep;

use crate::support::{Failed, Knobbed, Knobs, always_ok, event, hook, start};

#[tokio::test(start_paused = true)]
async fn a_repeated_key_is_one_event_and_another_body_is_refused() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    let first = engine.publish("acme", event("1").idempotency_key("k")).await?;
    let again = engine.publish("acme", event("1").idempotency_key("k")).await?;
    assert_eq!((again.event, again.is_repeat, again.deliveries), (first.event, true, 0));
    let other = engine.publish("acme", event("2").idempotency_key("k")).await;
    assert!(matches!(other, Err(PublishError::KeyConflict { first: known }) if known == first.event), "{other:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_key_is_remembered_for_a_day_and_no_longer() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    let daily = || event("{}").idempotency_key("daily-report");
    let first = engine.publish("acme", daily()).await?;
    sleep(Duration::from_secs(23 * 3600)).await;
    assert_eq!(engine.publish("acme", daily()).await?.event, first.event);
    sleep(Duration::from_secs(2 * 3600)).await;
    assert_ne!(engine.publish("acme", daily()).await?.event, first.event);
    Ok(())
}

// cases.md 138
#[tokio::test(start_paused = true)]
async fn one_event_uid_is_one_event_of_its_application() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    engine.applications().upsert("other", ApplicationSpec::new("Other")).await?;
    let named = (0..50).map(|_| event("1").uid("order-7"));
    let answers = engine.organisation(postrider::OrganisationId::DEFAULT).publish_all("acme", named).await;
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
    let refused = answers.iter().filter(|answer| matches!(answer, Err(PublishError::UidTaken { .. }))).count();
    assert_eq!((accepted, refused), (1, 49));
    engine.publish("other", event("1").uid("order-7")).await?;
    receiver.wait_for(1).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(receiver.count(), 1);
    assert_eq!(engine.events("acme").get("order-7").await?.event.payload, "1");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn many_are_published_at_once_in_their_order() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    let events = (0..500).map(|n| Event::new("t", format!("{n}")));
    let receipts = engine.organisation(postrider::OrganisationId::DEFAULT).publish_all("acme", events).await;
    let ids = receipts.into_iter().map(|receipt| Ok(receipt?.event)).collect::<Result<Vec<_>, PublishError>>()?;
    assert!(ids.is_sorted());
    assert_eq!(receiver.wait_for(500).await.len(), 500);
    Ok(())
}

// cases.md 126
#[tokio::test(start_paused = true)]
async fn two_endpoints_with_one_url_get_an_event_each_and_a_type_named_twice_gets_one() -> Result<(), Failed> {
    let receiver = always_ok();
    let twice = hook().event_types(["invoice.paid", "invoice.paid"]);
    let engine = start(MemoryStore::new(), &receiver, twice).await?;
    engine.endpoints("acme").upsert("second", hook()).await?;
    engine.endpoints("acme").upsert("others", hook().event_types(["invoice.void"])).await?;
    assert_eq!(engine.publish("acme", event("{}")).await?.deliveries, 2);
    let sent = receiver.wait_for(2).await;
    assert_eq!(sent[0].headers["webhook-id"], sent[1].headers["webhook-id"]);
    assert_ne!(sent[0].headers["webhook-signature"], sent[1].headers["webhook-signature"]);
    sleep(Duration::from_secs(1)).await;
    let attempts = engine.events("acme").list(postrider::EventFilter::default(), &Default::default()).await?;
    let attempts =
        engine.events("acme").attempts(attempts.items[0].id, Default::default(), &Default::default()).await?.items;
    assert_ne!(attempts[0].attempt.id, attempts[1].attempt.id, "actors of one moment roll different dice");
    Ok(())
}

/// A publish was refused while its wake row was already in the same group: the slot believed in a row that was not
/// stored, and the next accept wrote none. Now the row is stored although the publish is refused, and taken away later.
#[tokio::test(start_paused = true)]
async fn a_refused_publish_leaves_no_belief_in_a_wake_row_that_is_not_there() -> Result<(), Failed> {
    let receiver = always_ok();
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &receiver, hook()).await?;
    let first = engine.publish("acme", event("1").idempotency_key("k")).await?;
    receiver.wait_for(1).await;
    sleep(Duration::from_secs(60)).await;
    let soon = first.accepted_at + Duration::from_secs(3600);
    let wakes = || store.knobs.wakes.lock().expect("nobody panics with it").iter().filter(|(at, _)| *at < soon).count();
    assert_eq!((engine.health().active_endpoints, wakes()), (0, 0), "the actor has left and took its row away");

    let refused = engine.publish("acme", event("2").idempotency_key("k")).await;
    assert!(refused.is_err());
    let hang = engine.publish("acme", event("3")).await;
    assert!(hang.is_ok());
    assert_eq!(wakes(), 1, "a crash now finds the third event");
    sleep(Duration::from_secs(60)).await;
    assert_eq!((receiver.count(), wakes()), (2, 0));

    let refused = engine.publish("acme", event("4").idempotency_key("k")).await;
    assert!(refused.is_err());
    sleep(Duration::from_secs(60)).await;
    assert_eq!((wakes(), engine.health().active_endpoints), (0, 0), "a row without work is taken away");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_accept_loses_nothing() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new(vec![Reply::Hang; 6]);
    let store = MemoryStore::new();
    for n in 1..=3 {
        let engine = start(store.clone(), &receiver, hook()).await?;
        engine.publish("acme", event("{}")).await?;
        receiver.wait_for(n * (n + 1) / 2).await;
    }
    let _last = Engine::builder(store, receiver.clone()).start().await?;
    let sent = receiver.wait_for(9).await;
    let ids: std::collections::BTreeSet<_> =
        sent.iter().map(|request| request.headers["webhook-id"].as_bytes()).collect();
    assert_eq!(ids.len(), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn too_much_waiting_is_overloaded_and_says_when_to_come_again() -> Result<(), Failed> {
    let store = Knobbed::new(MemoryStore::new());
    let one = NonZeroUsize::MIN;
    let builder = Engine::builder(store.clone(), NullTransport::new()).limits(|limits| limits.waiting_requests = one);
    let engine = builder.start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    Knobs::set(&store.knobs.hangs);
    let (first, second, third) =
        tokio::join!(engine.publish("acme", event("1")), engine.publish("acme", event("2")), async {
            sleep(Duration::from_secs(1)).await;
            let waits = engine.publish("acme", event("3"));
            let too_much = engine.publish("acme", event("4"));
            let (waits, too_much) = tokio::join!(waits, too_much);
            assert!(waits.is_err(), "the store has failed meanwhile");
            too_much
        });
    assert!(first.is_err() && second.is_err());
    let Err(PublishError::Commit(CommitError::Overloaded { retry_after })) = third else {
        return Err(format!("{third:?}").into());
    };
    assert!(retry_after > Duration::ZERO);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_publishing_first() -> Result<(), Failed> {
    let free = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let asked = std::sync::Arc::clone(&free);
    let builder =
        Engine::builder(MemoryStore::new(), always_ok()).free_bytes(move || Some(asked.load(Ordering::Relaxed)));
    let engine = builder.start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let refused = engine.publish("acme", event("1")).await;
    assert!(matches!(refused, Err(PublishError::Commit(CommitError::Unavailable { .. }))), "{refused:?}");
    assert!(!engine.health().has_space);
    free.store(u64::MAX, Ordering::Relaxed);
    sleep(Duration::from_secs(2)).await;
    engine.publish("acme", event("1")).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_synced_in_time_although_new_ones_keep_coming() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new(vec![Reply::Status(500); 10_000]);
    let store = Knobbed::new(MemoryStore::new());
    let retry = postrider::RetryPolicy::delays([Duration::from_millis(10); 60]).without_jitter();
    let mut spec = hook().retry(retry);
    spec.delivery.breaker = postrider::BreakerSetting::Off;
    let engine = start(store.clone(), &receiver, spec).await?;
    store.knobs.commit_millis.store(30, Ordering::SeqCst);
    // From now on there is always an outcome of one that waits when the commit of the other ends.
    engine.publish("acme", event("1")).await?;
    sleep(Duration::from_millis(15)).await;
    engine.publish("acme", event("2")).await?;
    receiver.wait_for(10).await;
    let (synced, commits) = (Knobs::count(&store.knobs.synced), Knobs::count(&store.knobs.commits));
    sleep(Duration::from_millis(600)).await;
    let (synced, commits) = (Knobs::count(&store.knobs.synced) - synced, Knobs::count(&store.knobs.commits) - commits);
    assert!((3..=6).contains(&synced) && commits >= 18, "{synced} of {commits}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_over_the_budget_for_payloads_is_read_back() -> Result<(), Failed> {
    let receiver = always_ok();
    let builder =
        Engine::builder(MemoryStore::new(), receiver.clone()).limits(|limits| limits.payload_bytes_in_memory = 0);
    let engine = builder.start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").upsert("hook", hook()).await?;
    engine.publish("acme", event("all of it")).await?;
    assert_eq!(receiver.wait_for(1).await[0].body, "all of it");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn metrics_are_counted_and_printed() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([503_u16]);
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    engine.publish("acme", event("{}")).await?;
    receiver.wait_for(2).await;
    sleep(Duration::from_secs(1)).await;
    let text = engine.metrics().encode();
    for line in [
        "postrider_events_accepted_total 1",
        "postrider_attempts_total{outcome=\"server_error\"} 1",
        "postrider_attempts_total{outcome=\"success\"} 1",
        "postrider_delivered_total 1",
        "postrider_permits_free 4096",
        "postrider_stalled 0",
        "postrider_queued 0",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    Ok(())
}

/// A schema with a costly pattern kept the threads that serve everybody busy: nothing was answered for seconds.
#[test]
fn a_check_that_takes_its_time_is_made_beside_the_threads_that_serve() -> Result<(), Failed> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).max_blocking_threads(1);
    runtime.build()?.block_on(checked_aside())
}

async fn checked_aside() -> Result<(), Failed> {
    let engine = start(MemoryStore::new(), &always_ok(), hook()).await?;
    let schema = r#"{"properties":{"all":{"items":{"type":"string"}}}}"#;
    let spec = EventTypeSpec::new("").schema(1, schema).check(SchemaCheck::Enforce);
    engine.event_types().create("invoice.paid", spec).await?;
    let of = |count: usize| Event::new("invoice.paid", format!(r#"{{"all":[{}0]}}"#, "0,".repeat(count)));
    // The first one makes the schema ready.
    for (count, is_aside) in [(1, true), (1, false), (100_000, true)] {
        let mut publishing = std::pin::pin!(engine.publish("acme", of(count)));
        // What is refused by a check on this thread is refused the first time that it is asked.
        let standing = stand();
        let at_once = futures_now(publishing.as_mut());
        assert_eq!(at_once.is_none(), is_aside, "{count}: {at_once:?}");
        drop(standing);
        let refused = match at_once {
            Some(refused) => refused,
            None => publishing.await,
        };
        assert!(matches!(refused, Err(PublishError::SchemaMismatch { .. })), "{count}: {refused:?}");
    }
    let describes = EventTypeSpec::new("").schema(1, r#"{"type":"objekt"}"#);
    let mut describing = std::pin::pin!(engine.event_types().create("other", describes));
    let standing = stand();
    assert!(futures_now(describing.as_mut()).is_none(), "a schema is compiled aside");
    drop(standing);
    assert!(matches!(describing.await, Err(EventTypeError::Invalid(_))));
    Ok(())
}

/// Nothing is done aside until this is dropped: there is one thread for it.
fn stand() -> std::sync::mpsc::Sender<()> {
    let (standing, goes_on) = std::sync::mpsc::channel();
    drop(tokio::task::spawn_blocking(move || goes_on.recv()));
    standing
}

/// What comes of it without waiting for anything.
fn futures_now<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(done) => Some(done),
        std::task::Poll::Pending => None,
    }
}
