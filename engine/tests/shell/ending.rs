//! Shutdown, and what the next start finds.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use postrider::{
    Engine, OnExhausted, OrderingMode, PageRequest, RetryPolicy,
    storage::{Fjall, MemoryStore, testing::InTempDir},
    testing::{Reply, ScriptedTransport},
};
use tokio::time::{Instant, sleep};

use crate::support::{Failed, Knobbed, Knobs, always_ok, event, hook, start};

#[tokio::test(start_paused = true)]
async fn shutdown_says_what_it_cut_short_and_the_next_start_repeats_it() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::Hang]);
    let store = MemoryStore::new();
    let engine = start(store.clone(), &receiver, hook()).await?;
    let receipt = engine.publish("acme", event("{}")).await?;
    receiver.wait_for(1).await;
    let began = Instant::now();
    let report = engine.shutdown(Duration::from_secs(10)).await;
    assert_eq!((report.endpoints_interrupted, report.attempts_interrupted, report.outcomes_lost), (1, 1, 0));
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());

    let again = Engine::builder(store, receiver.clone()).start().await?;
    receiver.wait_for(2).await;
    sleep(Duration::from_secs(1)).await;
    let attempts = again.events("acme").attempts(receipt.event, Default::default(), &Default::default()).await?.items;
    assert_eq!(attempts.len(), 1, "the one cut short is not counted");
    assert_eq!(again.shutdown(Duration::from_secs(10)).await.endpoints_interrupted, 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_ends_and_is_stored_within_the_grace() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::After(Duration::from_secs(5))]);
    let store = MemoryStore::new();
    let engine = start(store.clone(), &receiver, hook()).await?;
    let receipt = engine.publish("acme", event("1")).await?;
    engine.publish("acme", event("2")).await?;
    receiver.wait_for(2).await;
    let began = Instant::now();
    let report = engine.shutdown(Duration::from_secs(60)).await;
    assert_eq!(report.attempts_interrupted, 0);
    assert!(began.elapsed() < Duration::from_secs(6), "no longer than that takes: {:?}", began.elapsed());
    let again = Engine::builder(store, receiver.clone()).start().await?;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(receiver.count(), 2);
    assert_eq!(
        again.events("acme").attempts(receipt.event, Default::default(), &Default::default()).await?.items.len(),
        1
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_new_is_sent_during_shutdown() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new(vec![Reply::After(Duration::from_secs(5)); 3]);
    let fifo = OrderingMode::Fifo(OnExhausted::Continue);
    let engine = start(MemoryStore::new(), &receiver, hook().ordering(fifo)).await?;
    for _ in 0..3 {
        engine.publish("acme", event("1")).await?;
    }
    receiver.wait_for(1).await;
    let began = Instant::now();
    engine.shutdown(Duration::from_secs(60)).await;
    assert_eq!(receiver.count(), 1);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn after_shutdown_the_store_can_be_opened_again_although_handles_live_on() -> Result<(), Failed> {
    let medium = Arc::new(InTempDir::new(|dir| Fjall::at(dir)));
    let engine = start(Arc::clone(&medium), &always_ok(), hook()).await?;
    let clone = engine.clone();
    engine.publish("acme", event("1")).await?;
    engine.shutdown(Duration::from_secs(10)).await;
    let again = Engine::builder(medium, always_ok()).start().await;
    assert!(again.is_ok(), "{:?}", again.err());
    assert_eq!(clone.health().state, postrider::EngineState::Closed);
    assert!(clone.events("acme").list(Default::default(), &PageRequest::default()).await.is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_handle_is_left_after_shutdown_or_drop() -> Result<(), Failed> {
    for shuts_down in [true, false] {
        let store = Knobbed::new(MemoryStore::new());
        let receiver = ScriptedTransport::new([Reply::Hang]);
        let engine = start(store.clone(), &receiver, hook()).await?;
        engine.publish("acme", event("1")).await?;
        receiver.wait_for(1).await;
        if shuts_down {
            engine.shutdown(Duration::from_secs(1)).await;
        }
        drop(engine);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(Knobs::count(&store.knobs.open), 0, "{shuts_down}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_second_shutdown_waits_for_the_first() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::After(Duration::from_secs(5))]);
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    let began = Instant::now();
    let (_, ()) = tokio::join!(engine.shutdown(Duration::from_secs(30)), async {
        tokio::task::yield_now().await;
        engine.shutdown(Duration::ZERO).await;
        assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    });
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_nobody_waits_for_goes_on() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::After(Duration::from_secs(5))]);
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &receiver, hook()).await?;
    let receipt = engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    let given_up = tokio::time::timeout(Duration::from_secs(1), engine.shutdown(Duration::from_secs(30))).await;
    assert!(given_up.is_err());
    drop(engine);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(Knobs::count(&store.knobs.open), 0);
    let again = Engine::builder(store, receiver.clone()).start().await?;
    assert_eq!(
        again.events("acme").attempts(receipt.event, Default::default(), &Default::default()).await?.items.len(),
        1,
        "its outcome was stored"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_store_fails_during_shutdown_and_nobody_waits_for_it() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::After(Duration::from_secs(5))]);
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &receiver, hook()).await?;
    engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    Knobs::set(&store.knobs.fails);
    let began = Instant::now();
    let report = engine.shutdown(Duration::from_secs(600)).await;
    assert_eq!((report.attempts_interrupted, report.outcomes_lost), (0, 1));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    Ok(())
}

/// What hangs, and commits that take long, one after another: together no more than the grace and one commit.
#[tokio::test(start_paused = true)]
async fn a_shutdown_takes_its_grace_once() -> Result<(), Failed> {
    let receiver =
        ScriptedTransport::new([Reply::After(Duration::from_secs(2)), Reply::After(Duration::from_secs(14))]);
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &receiver, hook()).await?;
    for _ in 0..4 {
        engine.publish("acme", event("1")).await?;
    }
    receiver.wait_for(4).await;
    store.knobs.commit_millis.store(9_500, std::sync::atomic::Ordering::SeqCst);
    let began = Instant::now();
    engine.shutdown(Duration::from_secs(15)).await;
    assert!(began.elapsed() < Duration::from_secs(15 + 12), "{:?}", began.elapsed());
    Ok(())
}

/// Each commit takes longer than an idle actor stays.
#[tokio::test(start_paused = true)]
async fn an_idle_actor_leaves_although_commits_are_slow() -> Result<(), Failed> {
    let (receiver, store) = (always_ok(), Knobbed::new(MemoryStore::new()));
    let builder = Engine::builder(store.clone(), receiver.clone());
    let engine = builder.limits(|limits| limits.window.linger = Duration::from_secs(1)).start().await?;
    engine.applications().upsert("acme", postrider::ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").upsert("hook", hook()).await?;
    engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    store.knobs.commit_millis.store(5_000, std::sync::atomic::Ordering::SeqCst);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(engine.health().active_endpoints, 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn retries_are_due_after_a_restart_when_they_would_have_been() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::Status(503)]);
    let store = MemoryStore::new();
    let retry = RetryPolicy::delays([Duration::from_secs(3600)]).without_jitter();
    let engine = start(store.clone(), &receiver, hook().retry(retry)).await?;
    engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    let began = Instant::now();
    sleep(Duration::from_secs(1)).await;
    engine.shutdown(Duration::from_secs(1)).await;
    let clock = postrider::testing::ManualClock::new(engine_time(&store).await?);
    let _again = Engine::builder(store, receiver.clone()).clock(AlsoTokio(clock, Instant::now())).start().await?;
    receiver.wait_for(2).await;
    let waited = began.elapsed();
    assert!((3599..3605).contains(&waited.as_secs()), "{waited:?}");
    Ok(())
}

/// When the delivery that waits became due, less its delay: the time of the engine before.
async fn engine_time(store: &MemoryStore) -> Result<postrider::Timestamp, Failed> {
    use postrider::storage::Store;
    let far = postrider::Timestamp::MAX;
    let wakes = store.reads().wakes(None, far, NonZeroUsize::MIN).await?;
    let (at, _) = *wakes.first().ok_or("there is something to do")?;
    Ok(at + Duration::from_secs(1))
}

/// Goes on from a time with tokio's clock.
#[derive(Debug)]
pub(crate) struct AlsoTokio(pub(crate) postrider::testing::ManualClock, pub(crate) Instant);

impl postrider::Clock for AlsoTokio {
    fn now(&self) -> postrider::Timestamp {
        self.0.now() + self.1.elapsed()
    }

    fn wall(&self) -> postrider::Timestamp {
        self.now()
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_starts_no_more_actors_at_once_than_it_may() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new(vec![Reply::Hang; 40]);
    let store = MemoryStore::new();
    let engine = start(store.clone(), &receiver, hook()).await?;
    for n in 0..19 {
        engine.endpoints("acme").upsert(format!("more-{n}"), hook()).await?;
    }
    engine.publish("acme", event("1")).await?;
    receiver.wait_for(20).await;
    drop(engine);
    let three = NonZeroUsize::MIN.saturating_add(2);
    let builder = Engine::builder(store, receiver.clone()).limits(|limits| limits.active_endpoints = three);
    let again = builder.start().await?;
    receiver.wait_for(23).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!((receiver.count(), again.health().active_endpoints), (23, 3));
    receiver.wait_for(40 + 3).await;
    Ok(())
}
