//! Many endpoints at once: those that hang take nothing from the rest, and those that are idle cost nothing.
//! `POSTRIDER_IDLE_ENDPOINTS` registers more of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use postrider::{
    ApplicationSpec, AttemptRequest, AttemptResponse, Endpoint, EndpointSpec, Engine, Event, OrganisationId,
    RetryPolicy, Transport, TransportError,
    core::{
        Application, ApplicationId, Batch, DeliveryPolicy, Durability, EndpointStatus, Generation, SplitMix, Write,
    },
    http::StatusCode,
    storage::{MemoryStore, Store},
    testing::ScriptedTransport,
};
use tokio::time::{Instant, sleep};

use crate::support::{Failed, always_ok, hook};

/// Whoever has `hang` in its path never answers; the others do at once. Counts the bytes that wait in it.
#[derive(Clone, Debug, Default)]
struct Receivers(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    answered: AtomicUsize,
    hanging: AtomicUsize,
    bytes: AtomicUsize,
    bytes_most: AtomicUsize,
}

/// Goes with the request, also when that is given up.
struct Hanging<'c>(&'c Counts, usize);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.hanging.fetch_sub(1, Ordering::SeqCst);
        self.0.bytes.fetch_sub(self.1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Transport for Receivers {
    async fn send(&self, request: AttemptRequest) -> Result<AttemptResponse, TransportError> {
        let counts = &*self.0;
        if request.url.path().contains("hang") {
            let bytes = request.body.len();
            counts.hanging.fetch_add(1, Ordering::SeqCst);
            let now = counts.bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
            counts.bytes_most.fetch_max(now, Ordering::SeqCst);
            let _hanging = Hanging(counts, bytes);
            std::future::pending::<()>().await;
        }
        counts.answered.fetch_add(1, Ordering::SeqCst);
        Ok(AttemptResponse::of(StatusCode::OK))
    }
}

impl Receivers {
    fn answered(&self) -> usize {
        self.0.answered.load(Ordering::SeqCst)
    }

    /// Publishes to the healthy ones, and says how long all of them took.
    async fn healthy(&self, engine: &Engine, endpoints: usize, bytes: usize) -> Result<Duration, Failed> {
        let (before, began) = (self.answered(), Instant::now());
        engine.publish("acme", Event::new("good", vec![b'g'; bytes])).await?;
        while self.answered() < before + endpoints {
            sleep(Duration::from_millis(1)).await;
            assert!(began.elapsed() < Duration::from_secs(60), "{} of {endpoints}", self.answered() - before);
        }
        Ok(began.elapsed())
    }
}

async fn engine_with(receivers: &Receivers, hanging: usize, healthy: usize, bytes: usize) -> Result<Engine, Failed> {
    let builder = Engine::builder(MemoryStore::new(), receivers.clone());
    let engine = builder.limits(|limits| limits.payload_bytes_in_memory = bytes).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    for n in 0..hanging {
        let spec = EndpointSpec::new(format!("https://receiver.example/hang/{n}"));
        engine.endpoints("acme").upsert(format!("hangs-{n}"), spec.event_types([format!("bad.{n}")])).await?;
    }
    for n in 0..healthy {
        let spec = EndpointSpec::new(format!("https://receiver.example/ok/{n}"));
        engine.endpoints("acme").upsert(format!("ok-{n}"), spec.event_types(["good"])).await?;
    }
    Ok(engine)
}

/// From the first moment on, and when all of them are known to be slow.
#[tokio::test(start_paused = true)]
async fn two_thousand_endpoints_that_hang_take_no_permits_from_the_rest() -> Result<(), Failed> {
    const HANGING: usize = 2_000;
    const HEALTHY: usize = 20;
    let receivers = Receivers::default();
    let engine = engine_with(&receivers, HANGING, HEALTHY, 256 << 20).await?;
    let event = |n: usize| Event::new(format!("bad.{}", n % HANGING), "{}");
    for piece in (0..3 * HANGING).collect::<Vec<_>>().chunks(1_000) {
        let events = piece.iter().copied().map(event);
        for receipt in engine.organisation(OrganisationId::DEFAULT).publish_all("acme", events).await {
            receipt?;
        }
    }
    sleep(Duration::from_secs(1)).await;
    // One request each, and of the half for more all but what is kept for another application.
    assert!(receivers.0.hanging.load(Ordering::SeqCst) >= 3_900, "they have as much as there is for them");
    for wait in [0, 10, 25, 40] {
        sleep(Duration::from_secs(wait)).await;
        let took = receivers.healthy(&engine, HEALTHY, 1_000).await?;
        assert!(took < Duration::from_secs(1), "{took:?} after {wait} s");
    }
    Ok(())
}

/// Payloads of what hangs are bounded, and leave room for those of others, whether they are in memory or read again.
#[tokio::test(start_paused = true)]
async fn endpoints_that_hang_take_no_memory_from_the_rest() -> Result<(), Failed> {
    const MEMORY: usize = 8 << 20;
    const HEALTHY: usize = 5;
    let receivers = Receivers::default();
    let engine = engine_with(&receivers, 40, HEALTHY, MEMORY).await?;
    for n in 0..200 {
        engine.publish("acme", Event::new(format!("bad.{}", n % 40), vec![b'b'; 500_000])).await?;
    }
    // Large ones as soon as it is known that they answer.
    for (wait, bytes) in [(1, 1_000), (0, 400_000), (10, 400_000), (25, 400_000), (60, 400_000)] {
        sleep(Duration::from_secs(wait)).await;
        let took = receivers.healthy(&engine, HEALTHY, bytes).await?;
        assert!(took < Duration::from_secs(1), "{took:?} after {wait} s");
    }
    let most = receivers.0.bytes_most.load(Ordering::SeqCst);
    assert!((MEMORY / 4..=MEMORY).contains(&most), "{most} bytes of {MEMORY}");
    Ok(())
}

/// Registered and idle: a record in memory, no actor; and one with work starts its own alone.
#[tokio::test(start_paused = true)]
async fn registered_endpoints_that_are_idle_start_no_actor() -> Result<(), Failed> {
    let all = std::env::var("POSTRIDER_IDLE_ENDPOINTS").ok().and_then(|text| text.parse().ok()).unwrap_or(50_000);
    let store = MemoryStore::new();
    let named = register(&store, all).await?;
    let receiver = always_ok();
    let engine = Engine::builder(store, receiver.clone()).start().await?;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.health().active_endpoints, 0);
    engine.publish(named, Event::new("wanted", "{}")).await?;
    receiver.wait_for(1).await;
    assert_eq!(engine.health().active_endpoints, 1);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.health().active_endpoints, 0);
    Ok(())
}

/// Writes so many endpoints, a thousand to an application; only the first wants the event type `wanted`.
async fn register(store: &MemoryStore, all: usize) -> Result<ApplicationId, Failed> {
    let now = postrider::Timestamp::from_nanos(1_767_225_600_000_000_000);
    let mut dice = SplitMix::new(1);
    let mut first = None;
    for piece in 0..all.div_ceil(1_000) {
        let id = ApplicationId::new(now, &mut dice);
        first.get_or_insert(id);
        let (organisation, spec) = (OrganisationId::DEFAULT, ApplicationSpec::new(format!("{piece}")));
        let application = Application { id, organisation, spec, created_at: now, updated_at: now, revision: 1 };
        let endpoint = |n: usize, dice: &mut SplitMix| {
            let wants = if (piece, n) == (0, 0) { "wanted" } else { "other" };
            let spec = EndpointSpec::new("https://receiver.example/idle").event_types([wants]);
            Write::Endpoint(Box::new(Endpoint {
                id: postrider::EndpointId::new(now, dice),
                application: id,
                target: spec.validate().expect("it is a valid endpoint"),
                spec,
                policy: DeliveryPolicy::default(),
                secrets: Vec::new(),
                status: EndpointStatus::Active,
                created_at: now,
                updated_at: now,
                revision: 1,
                generation: Generation(0),
                granted: None,
            }))
        };
        let mut writes = vec![Write::Application(Box::new(application))];
        writes.extend((0..1_000.min(all - piece * 1_000)).map(|n| endpoint(n, &mut dice)));
        let verdicts = store.commit(Arc::new([Batch::synced(writes)]), Durability::Synced).await?;
        verdicts.into_iter().collect::<Result<Vec<_>, _>>().map_err(|refused| format!("{refused:?}"))?;
    }
    first.ok_or_else(|| "there is one".into())
}

/// Whoever has something to do tomorrow is not looked at today.
#[tokio::test(start_paused = true)]
async fn a_restart_starts_only_whose_time_has_come() -> Result<(), Failed> {
    const ALL: usize = 300;
    let receiver = ScriptedTransport::new(vec![500_u16; 1_000]);
    let store = MemoryStore::new();
    let engine = Engine::builder(store.clone(), receiver.clone()).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    for n in 0..ALL {
        let due = Duration::from_secs(if n < 3 { 60 } else { 20 * 3600 });
        let spec = hook().retry(RetryPolicy::delays([due; 10]));
        engine.endpoints("acme").upsert(format!("hook-{n}"), spec).await?;
    }
    for _ in 0..2 {
        engine.publish("acme", Event::new("t", "{}")).await?;
    }
    receiver.wait_for(2 * ALL).await;
    while engine.health().active_endpoints > 0 {
        sleep(Duration::from_secs(1)).await;
    }
    engine.shutdown(Duration::from_secs(1)).await;
    let again = Engine::builder(store, receiver.clone()).start().await?;
    let mut most = 0;
    for _ in 0..120 {
        sleep(Duration::from_secs(1)).await;
        most = most.max(again.health().active_endpoints);
    }
    assert!((1..=3).contains(&most), "and the others not at all: {most}");
    assert!(receiver.count() >= 2 * ALL + 6);
    Ok(())
}
