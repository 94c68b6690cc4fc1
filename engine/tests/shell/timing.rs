//! Everything comes in its time: after its wait, after its turn, and not later.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use postrider::{
    ApplicationSpec, Engine, EventFilter, OnExhausted, OrderingMode, PageRequest, RetryPolicy,
    storage::MemoryStore,
    testing::{ManualClock, Reply, ScriptedTransport},
};
use tokio::time::{Instant, sleep};

use crate::{
    ending::AlsoTokio,
    support::{Failed, Knobbed, always_ok, event, hook, start},
};

const FIFO: OrderingMode = OrderingMode::Fifo(OnExhausted::Continue);
const PER_KEY: OrderingMode = OrderingMode::PerKey(OnExhausted::Continue);
const ALMOST_AT_ONCE: Duration = Duration::from_millis(100);

// cases.md 110
#[tokio::test(start_paused = true)]
async fn what_comes_after_a_long_rest_goes_out_at_once_and_a_retry_needs_no_company() -> Result<(), Failed> {
    for ordering in [OrderingMode::Concurrent, PER_KEY, FIFO] {
        let receiver = ScriptedTransport::new([200, 200, 500]);
        let retry = RetryPolicy::delays([Duration::from_secs(600)]);
        let engine = start(MemoryStore::new(), &receiver, hook().ordering(ordering).retry(retry)).await?;
        for n in 1..=3 {
            sleep(Duration::from_secs(600)).await;
            let began = Instant::now();
            engine.publish("acme", event("{}")).await?;
            receiver.wait_for(n).await;
            assert!(began.elapsed() < ALMOST_AT_ONCE, "{ordering:?}: {:?}", began.elapsed());
        }
        sleep(Duration::from_secs(60)).await;
        let state = engine.endpoints("acme").state("hook").await?;
        assert_eq!(engine.health().active_endpoints, 0, "nobody is up");
        let due = state.next_attempt.ok_or("a retry is due")?;
        receiver.wait_for(4).await;
        // It was sent; that is stored a moment later.
        let attempts = loop {
            let attempts = engine.deliveries("acme").attempts("hook", &Default::default()).await?.items;
            if attempts.len() == 4 {
                break attempts;
            }
            tokio::task::yield_now().await;
        };
        let last = attempts.iter().map(|record| record.attempt.started).max().ok_or("there are attempts")?;
        assert!(last >= due && last.since(due) < ALMOST_AT_ONCE, "{ordering:?}: {:?} late", last.since(due));
    }
    Ok(())
}

// cases.md 116
#[tokio::test(start_paused = true)]
async fn the_next_attempt_is_never_in_the_past_without_a_reason() -> Result<(), Failed> {
    for ordering in [OrderingMode::Concurrent, PER_KEY, FIFO] {
        let (store, receiver) = (MemoryStore::new(), ScriptedTransport::new([500, 503, 500, 500]));
        let (began, from) = (Instant::now(), ManualClock::new(postrider::Clock::now(&postrider::SystemClock::new())));
        let retry = RetryPolicy::delays([5, 30, 120].map(Duration::from_secs));
        let mut engine: Option<Engine> = None;
        let mut seen = 0;
        for second in 0..400 {
            // A restart in the middle of each wait.
            if [0, 10, 60].contains(&second) {
                if let Some(engine) = engine.take() {
                    engine.shutdown(Duration::from_secs(1)).await;
                }
                let clock = AlsoTokio(from.clone(), began);
                let started = Engine::builder(store.clone(), receiver.clone()).clock(clock).start().await?;
                if second == 0 {
                    started.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
                    started.endpoints("acme").upsert("hook", hook().ordering(ordering).retry(retry.clone())).await?;
                    started.publish("acme", event("{}")).await?;
                }
                engine = Some(started);
            }
            let running = engine.as_ref().ok_or("it was started")?;
            sleep(Duration::from_secs(1)).await;
            let state = running.endpoints("acme").state("hook").await?;
            let now = postrider::Clock::now(&AlsoTokio(from.clone(), began));
            let is_late = state.next_attempt.is_some_and(|at| now.since(at) > Duration::from_secs(2));
            assert!(!is_late || state.waiting.is_some(), "{ordering:?}, second {second}: {state:?}");
            let told = state.next_attempt.is_some() || state.in_flight > 0 || state.backlog.queued == 0;
            assert!(told, "{ordering:?}, second {second}: {state:?}");
            seen = seen.max(receiver.count());
        }
        assert_eq!(seen, 4, "{ordering:?}: the last scheduled attempt came, too");
    }
    Ok(())
}

// cases.md 162
#[tokio::test(start_paused = true)]
async fn a_retry_comes_within_its_delay_after_a_wrong_clock_was_set_right() -> Result<(), Failed> {
    const AHEAD: Duration = Duration::from_secs(8 * 3600);
    const DELAY: Duration = Duration::from_secs(300);
    for ordering in [OrderingMode::Concurrent, PER_KEY, FIFO] {
        let (store, receiver) = (MemoryStore::new(), ScriptedTransport::new([500]));
        let (began, right) = (Instant::now(), ManualClock::new(postrider::Clock::now(&postrider::SystemClock::new())));
        let wrong = ManualClock::new(postrider::Clock::now(&right) + AHEAD);
        let retry = RetryPolicy::delays([DELAY]).without_jitter();
        let builder = Engine::builder(store.clone(), receiver.clone());
        let engine = builder.clock(AlsoTokio(wrong, began)).start().await?;
        engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
        engine.endpoints("acme").upsert("hook", hook().ordering(ordering).retry(retry)).await?;
        let mut published = vec![engine.publish("acme", event("1")).await?.event];
        receiver.wait_for(1).await;
        sleep(Duration::from_secs(1)).await;
        engine.shutdown(Duration::from_secs(1)).await;

        let began_again = Instant::now();
        let builder = Engine::builder(store.clone(), receiver.clone());
        let engine = builder.clock(AlsoTokio(right, began)).start().await?;
        for _ in 0..3 {
            published.push(engine.publish("acme", event("2")).await?.event);
        }
        receiver.wait_for(5).await;
        assert!(began_again.elapsed() <= DELAY, "{ordering:?}: {:?}", began_again.elapsed());
        let unique: BTreeSet<_> = published.iter().copied().collect();
        assert!(unique.into_iter().eq(published.iter().copied()), "ids go on: {published:?}");
        let mut listed = Vec::new();
        let mut request = PageRequest::first(NonZeroUsize::MIN);
        loop {
            let page = engine.events("acme").list(EventFilter::default(), &request).await?;
            listed.extend(page.items.iter().map(|stored| stored.id));
            request.after = page.next;
            if request.after.is_none() {
                break;
            }
        }
        listed.reverse();
        assert_eq!(listed, published, "a list leads to all of them, one at a time");
    }
    Ok(())
}

// cases.md 121
#[tokio::test(start_paused = true)]
async fn in_a_burst_nothing_times_out_while_it_waits_for_its_turn() -> Result<(), Failed> {
    const MESSAGES: usize = 2_000;
    let receiver = ScriptedTransport::new(vec![Reply::After(Duration::from_secs(1)); MESSAGES]);
    let engine = start(MemoryStore::new(), &receiver, hook().timeout(Duration::from_secs(5))).await?;
    let began = Instant::now();
    for _ in 0..MESSAGES {
        engine.publish("acme", event("{}")).await?;
    }
    while engine.metrics().deliveries_ended_well() < MESSAGES as u64 {
        sleep(Duration::from_millis(100)).await;
        assert!(began.elapsed() < Duration::from_secs(140), "{} sent", receiver.count());
    }
    assert_eq!(receiver.count(), MESSAGES, "each once");
    assert!(began.elapsed() >= Duration::from_secs(124), "16 at once, a second each: {:?}", began.elapsed());
    Ok(())
}

// cases.md 124
#[tokio::test(start_paused = true)]
async fn taking_turns_costs_a_commit_and_no_backoff() -> Result<(), Failed> {
    const MESSAGES: usize = 100;
    const COMMIT: Duration = Duration::from_millis(5);
    for ordering in [FIFO, PER_KEY] {
        let (receiver, store) = (always_ok(), Knobbed::new(MemoryStore::new()));
        let engine = start(store.clone(), &receiver, hook().ordering(ordering)).await?;
        store.knobs.commit_millis.store(COMMIT.as_millis() as u64, Ordering::SeqCst);
        engine.endpoints("acme").pause("hook").await?;
        for n in 0..MESSAGES {
            let event = postrider::Event::new("t", n.to_string()).ordering_key("one");
            engine.publish("acme", event).await?;
        }
        engine.endpoints("acme").resume("hook").await?;
        let longest = Arc::new(AtomicUsize::new(0));
        let mut last = Instant::now();
        for n in 1..=MESSAGES {
            receiver.wait_for(n).await;
            longest.fetch_max(last.elapsed().as_millis() as usize, Ordering::SeqCst);
            last = Instant::now();
        }
        let longest = longest.load(Ordering::SeqCst);
        assert!(longest <= 4 * COMMIT.as_millis() as usize, "{ordering:?}: {longest} ms between two requests");
    }
    Ok(())
}
