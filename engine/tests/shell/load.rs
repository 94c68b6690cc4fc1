//! Load without a network: every event arrives exactly once, lanes keep their order, and no guard refuses a step. Real
//! threads and real time, a few seconds. `POSTRIDER_LOAD_EVENTS` makes it longer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use postrider::{
    ApplicationSpec, AttemptRequest, AttemptResponse, Engine, Event, OnExhausted, OrderingMode, StartError, Transport,
    TransportError,
    http::StatusCode,
    storage::{Fjall, MemoryStore, OpenStore, StoreErrorKind, testing::InTempDir},
};

use crate::support::{Failed, hook};

const PUBLISHERS: usize = 32;
const KEYS: usize = 100;

/// Takes everything at once, and remembers what came to whom in which order.
#[derive(Clone, Debug, Default)]
struct Ledger(Arc<Mutex<HashMap<String, Vec<u64>>>>);

impl Ledger {
    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum()
    }
}

#[async_trait]
impl Transport for Ledger {
    async fn send(&self, request: AttemptRequest) -> Result<AttemptResponse, TransportError> {
        let text = String::from_utf8_lossy(&request.body);
        let (lane, number) = text.split_once(' ').unwrap_or_default();
        let lane = format!("{}#{lane}", request.url.path());
        let mut came = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        came.entry(lane).or_default().push(number.parse().unwrap_or_default());
        Ok(AttemptResponse::of(StatusCode::OK))
    }
}

/// How long an actor stays when there is nothing to do.
const STAYS: Duration = Duration::from_secs(10);
/// It leaves whenever it has nothing to do, and comes back in the next moment.
const LEAVES: Duration = Duration::from_micros(1);

async fn load(store: impl OpenStore, endpoints: usize, ordering: OrderingMode, linger: Duration) -> Result<(), Failed> {
    let events = std::env::var("POSTRIDER_LOAD_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000);
    let ledger = Ledger::default();
    let builder = Engine::builder(store, ledger.clone()).limits(|limits| limits.window.linger = linger);
    let engine = builder.start().await?;
    for n in 0..endpoints {
        let application = format!("app-{n}");
        engine.applications().upsert(application.clone(), ApplicationSpec::new("Load")).await?;
        let mut spec = hook().ordering(ordering);
        spec.url = format!("https://receiver.example/{n}");
        engine.endpoints(application.as_str()).create(spec).await?;
    }
    let began = Instant::now();
    let each = events / PUBLISHERS;
    let publish = |publisher: usize| {
        let engine = engine.clone();
        tokio::spawn(async move {
            for n in 0..each {
                // One publisher a lane, so that the order within it is known.
                let lane = publisher + PUBLISHERS * (n % (KEYS / PUBLISHERS).max(1));
                let event = Event::new("t", format!("{lane} {n}")).ordering_key(format!("{lane}"));
                engine.publish(format!("app-{}", lane % endpoints).as_str(), event).await?;
            }
            Ok::<(), postrider::PublishError>(())
        })
    };
    for publisher in (0..PUBLISHERS).map(publish).collect::<Vec<_>>() {
        publisher.await??;
    }
    let all = each * PUBLISHERS;
    let patience = Instant::now() + Duration::from_secs(60);
    while engine.metrics().deliveries_ended_well() < all as u64 && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = began.elapsed();
    let per_second = all as f64 / took.as_secs_f64();
    println!("{endpoints} endpoints, {ordering:?}: {all} in {took:?}, {per_second:.0}/s");
    // What would be sent twice comes a moment later.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ledger.count(), all, "each once");
    assert_eq!(engine.metrics().steps_refused(), 0, "without faults nothing is refused");
    let came = ledger.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (lane, mut numbers) in came {
        let is_laned = match ordering {
            OrderingMode::Concurrent => false,
            OrderingMode::PerKey(_) | OrderingMode::Fifo(_) => true,
        };
        assert!(!is_laned || numbers.is_sorted(), "lane {lane} is out of order");
        numbers.sort_unstable();
        let before = numbers.len();
        numbers.dedup();
        assert_eq!(numbers.len(), before, "lane {lane} has something twice");
    }
    let report = engine.shutdown(Duration::from_secs(10)).await;
    assert_eq!((report.attempts_interrupted, report.outcomes_lost), (0, 0));
    Ok(())
}

const PER_KEY: OrderingMode = OrderingMode::PerKey(OnExhausted::Continue);
const FIFO: OrderingMode = OrderingMode::Fifo(OnExhausted::Continue);

fn fjall() -> impl OpenStore {
    InTempDir::new(|dir| Fjall::at(dir))
}

macro_rules! loads {
    ($($name:ident: $store:expr, $endpoints:expr, $ordering:expr, $linger:expr;)+) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() -> Result<(), Failed> {
            load($store, $endpoints, $ordering, $linger).await
        }
    )+ };
}

loads! {
    memory_concurrent_one_endpoint: MemoryStore::new(), 1, OrderingMode::Concurrent, STAYS;
    memory_concurrent_a_hundred: MemoryStore::new(), 100, OrderingMode::Concurrent, STAYS;
    memory_per_key_one_endpoint: MemoryStore::new(), 1, PER_KEY, STAYS;
    memory_per_key_a_hundred: MemoryStore::new(), 100, PER_KEY, STAYS;
    memory_fifo_one_endpoint: MemoryStore::new(), 1, FIFO, STAYS;
    fjall_concurrent_one_endpoint: fjall(), 1, OrderingMode::Concurrent, STAYS;
    fjall_concurrent_a_hundred: fjall(), 100, OrderingMode::Concurrent, STAYS;
    fjall_per_key_one_endpoint: fjall(), 1, PER_KEY, STAYS;
    fjall_per_key_a_hundred: fjall(), 100, PER_KEY, STAYS;
    fjall_fifo_one_endpoint: fjall(), 1, FIFO, STAYS;
    memory_actors_come_and_go: MemoryStore::new(), 20, OrderingMode::Concurrent, LEAVES;
    memory_lanes_come_and_go: MemoryStore::new(), 20, PER_KEY, LEAVES;
    memory_queues_come_and_go: MemoryStore::new(), 20, FIFO, LEAVES;
    fjall_actors_come_and_go: fjall(), 20, OrderingMode::Concurrent, LEAVES;
    fjall_lanes_come_and_go: fjall(), 20, PER_KEY, LEAVES;
}

/// Starts over the store of an engine that was dropped: it lets go of it when the calls that it had begun are over.
async fn start_again(store: &(impl OpenStore + Clone), ledger: &Ledger) -> Result<Engine, Failed> {
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        let builder = Engine::builder(store.clone(), ledger.clone());
        match builder.limits(|limits| limits.window.linger = LEAVES).start().await {
            Err(StartError::Store(error)) if error.kind() == StoreErrorKind::Locked && Instant::now() < patience => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            started => return Ok(started?),
        }
    }
}

/// Dropped in the middle of everything, as in a crash, again and again: what was acknowledged arrives all the same.
async fn crashes(store: impl OpenStore + Clone, ordering: OrderingMode) -> Result<(), Failed> {
    const ENDPOINTS: usize = 10;
    let ledger = Ledger::default();
    let mut acknowledged = 0_u64;
    for round in 0..5 {
        let engine = start_again(&store, &ledger).await?;
        for n in 0..ENDPOINTS {
            let application = format!("app-{n}");
            engine.applications().upsert(application.clone(), ApplicationSpec::new("Load")).await?;
            let mut spec = hook().ordering(ordering);
            spec.url = format!("https://receiver.example/{n}");
            engine.endpoints(application.as_str()).upsert("hook", spec).await?;
        }
        let publish = |publisher: usize| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let application = format!("app-{}", publisher % ENDPOINTS);
                let mut accepted = 0_u64;
                for n in 0..200 {
                    let event =
                        Event::new("t", format!("{publisher} {round}{n:03}")).ordering_key(format!("{publisher}"));
                    accepted += u64::from(engine.publish(application.as_str(), event).await.is_ok());
                }
                accepted
            })
        };
        for publisher in (0..PUBLISHERS).map(publish).collect::<Vec<_>>() {
            acknowledged += publisher.await?;
        }
        drop(engine);
    }
    let last = start_again(&store, &ledger).await?;
    let distinct = || {
        let came = ledger.0.lock().unwrap_or_else(PoisonError::into_inner);
        came.values().map(|numbers| numbers.iter().collect::<std::collections::BTreeSet<_>>().len() as u64).sum::<u64>()
    };
    let patience = Instant::now() + Duration::from_secs(60);
    while distinct() < acknowledged && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(distinct(), acknowledged, "every acknowledged event arrives");
    last.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_crashes_lose_nothing() -> Result<(), Failed> {
    crashes(MemoryStore::new(), OrderingMode::Concurrent).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_crashes_lose_nothing_of_lanes() -> Result<(), Failed> {
    crashes(MemoryStore::new(), PER_KEY).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fjall_crashes_lose_nothing() -> Result<(), Failed> {
    crashes(Arc::new(fjall()), OrderingMode::Concurrent).await
}
