//! Everything comes in its time: after its wait, after its turn, and not later.

use std::{
    collections::BTreeSet,
    num::{NonZeroU32, NonZeroUsize},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use postrider::{
    ApplicationSpec, AttemptRequest, AttemptResponse, Engine, EventFilter, OnExhausted, OrderingMode, PageRequest,
    Rate, RetryPolicy,
    http::StatusCode,
    storage::MemoryStore,
    testing::{ManualClock, Reply, ScriptedTransport},
    transport_fn,
};
use tokio::time::{Instant, sleep};

use crate::{
    ending::AlsoTokio,
    support::{Failed, Knobbed, always_ok, event, hook, start},
};

const FIFO: OrderingMode = OrderingMode::Fifo(OnExhausted::Continue);
const PER_KEY: OrderingMode = OrderingMode::PerKey(OnExhausted::Continue);
const ALMOST_AT_ONCE: Duration = Duration::from_millis(100);

// cases.md 95
#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_when_it_changes_and_when_the_engine_starts_again() -> Result<(), Failed> {
    type Sent = Arc<Mutex<Vec<(Instant, String)>>>;
    const MESSAGES: usize = 20;
    let (store, sent) = (MemoryStore::new(), Sent::default());
    let (began, from) = (Instant::now(), ManualClock::new(postrider::Clock::now(&postrider::SystemClock::new())));
    let begin = async || {
        let sent = Arc::clone(&sent);
        let transport = transport_fn(move |request: AttemptRequest| {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            sent.lock().expect("nobody panics with it").push((Instant::now(), body));
            async { Ok(AttemptResponse::of(StatusCode::OK)) }
        });
        Engine::builder(store.clone(), transport).clock(AlsoTokio(from.clone(), began)).start().await
    };
    let count = || sent.lock().expect("nobody panics with it").len();
    let reaches = async |n: usize| {
        while count() < n {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let rate = |attempts: u32| Rate::per_second(NonZeroU32::MIN.saturating_add(attempts - 1));
    let engine = begin().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").upsert("hook", hook().ordering(FIFO).rate(rate(2))).await?;
    for n in 0..MESSAGES {
        engine.publish("acme", postrider::Event::new("t", n.to_string())).await?;
    }
    reaches(5).await;
    engine.shutdown(Duration::from_secs(1)).await;
    let engine = begin().await?;
    reaches(9).await;
    engine.endpoints("acme").edit("hook", |draft| draft.spec.rate = Some(rate(10))).await?;
    let (faster_at, faster_from) = (Instant::now(), count());
    reaches(MESSAGES).await;
    let sent = sent.lock().expect("nobody panics with it");
    let order: Vec<_> = sent.iter().map(|(_, body)| body.clone()).collect();
    assert_eq!(order, (0..MESSAGES).map(|n| n.to_string()).collect::<Vec<_>>(), "each once, in order");
    for (first, (from, _)) in sent.iter().enumerate() {
        for (last, (to, _)) in sent.iter().enumerate().skip(first) {
            let per_second = if last < faster_from { 2.0 } else { 10.0 };
            let most = per_second + per_second * (*to - *from).as_secs_f64() + 1e-6;
            assert!((last - first + 1) as f64 <= most, "{first} to {last} within {:?}", *to - *from);
        }
    }
    assert!(faster_at.elapsed() < Duration::from_secs(3), "the new rate counts: {:?}", faster_at.elapsed());
    Ok(())
}

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
            let attempts =
                engine.deliveries("acme").attempts("hook", Default::default(), &Default::default()).await?.items;
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
            if !request.turn(&page) {
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
