//! Load without a network: every event arrives exactly once, lanes keep their order, and no guard refuses a step. Real
//! threads and real time, a few seconds. `POSTRIDER_LOAD_EVENTS` makes it longer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use postrider::{
    ApplicationSpec, AttemptRequest, AttemptResponse, Engine, Event, OnExhausted, OrderingMode, Transport,
    TransportError,
    http::StatusCode,
    storage::{Fjall, MemoryStore, OpenStore, testing::InTempDir},
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

async fn load(store: impl OpenStore, endpoints: usize, ordering: OrderingMode) -> Result<(), Failed> {
    let events = std::env::var("POSTRIDER_LOAD_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let ledger = Ledger::default();
    let engine = Engine::builder(store, ledger.clone()).start().await?;
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
    ($($name:ident: $store:expr, $endpoints:expr, $ordering:expr;)+) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() -> Result<(), Failed> {
            load($store, $endpoints, $ordering).await
        }
    )+ };
}

loads! {
    memory_concurrent_one_endpoint: MemoryStore::new(), 1, OrderingMode::Concurrent;
    memory_concurrent_a_hundred: MemoryStore::new(), 100, OrderingMode::Concurrent;
    memory_per_key_one_endpoint: MemoryStore::new(), 1, PER_KEY;
    memory_per_key_a_hundred: MemoryStore::new(), 100, PER_KEY;
    memory_fifo_one_endpoint: MemoryStore::new(), 1, FIFO;
    fjall_concurrent_one_endpoint: fjall(), 1, OrderingMode::Concurrent;
    fjall_concurrent_a_hundred: fjall(), 100, OrderingMode::Concurrent;
    fjall_per_key_one_endpoint: fjall(), 1, PER_KEY;
    fjall_per_key_a_hundred: fjall(), 100, PER_KEY;
    fjall_fifo_one_endpoint: fjall(), 1, FIFO;
}
