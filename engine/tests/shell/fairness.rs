//! What tenants share in the shell: one that takes what it can does not keep another waiting.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use postrider::{
    ApplicationSpec, AttemptRequest, AttemptResponse, EndpointSpec, Engine, Event, Limits, Proof, RetryPolicy,
    Transport, TransportError, http::StatusCode, storage::MemoryStore,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::support::{Failed, event};

/// Receivers whose path begins with `/hang` answer when they are released, those with `/fail` fail once; all others take
/// everything at once.
#[derive(Clone, Debug, Default)]
struct Receivers(Arc<Inside>);

#[derive(Debug, Default)]
struct Inside {
    sent: Mutex<Vec<AttemptRequest>>,
    released: Notify,
    failed: AtomicBool,
}

impl Receivers {
    fn sent(&self) -> MutexGuard<'_, Vec<AttemptRequest>> {
        self.0.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, path: &str) -> usize {
        self.sent().iter().filter(|request| request.url.path().starts_with(path)).count()
    }

    /// Waits until so many have come there, on paused time.
    async fn wait_for(&self, path: &str, count: usize, at_most: Duration) {
        let began = Instant::now();
        while self.count(path) < count {
            assert!(began.elapsed() < at_most, "{} of {count} have come to {path} in {at_most:?}", self.count(path));
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[async_trait]
impl Transport for Receivers {
    async fn send(&self, request: AttemptRequest) -> Result<AttemptResponse, TransportError> {
        let path = request.url.path().to_owned();
        let released = self.0.released.notified();
        self.sent().push(request);
        if path.starts_with("/hang") {
            released.await;
        }
        let fails = path.starts_with("/fail") && !self.0.failed.swap(true, Ordering::SeqCst);
        Ok(AttemptResponse::of(if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }))
    }
}

fn to(path: &str) -> EndpointSpec {
    EndpointSpec::new(format!("https://receiver.example{path}"))
}

fn proves(mut spec: EndpointSpec, proof: Proof) -> EndpointSpec {
    spec.proof = proof;
    spec
}

fn at_least_one(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)
}

async fn engine_with(receivers: &Receivers, limits: impl FnOnce(&mut Limits)) -> Result<Engine, Failed> {
    let engine = Engine::builder(MemoryStore::new(), receivers.clone()).limits(limits).seed(7).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    engine.applications().upsert("greedy", ApplicationSpec::new("Greedy")).await?;
    Ok(engine)
}

/// A hundred endpoints that hang, with large payloads: one held the memory, all others a permit while they waited for it, and
/// a neighbour's small event waited half a minute and more. They are those of many applications: of one alone, not all
/// would get one.
#[tokio::test(start_paused = true)]
async fn what_waits_for_memory_holds_no_permit() -> Result<(), Failed> {
    let receivers = Receivers::default();
    let limits = |limits: &mut Limits| {
        (limits.in_flight_requests, limits.payload_bytes_in_memory) = (at_least_one(64), 100 << 10);
    };
    let engine = engine_with(&receivers, limits).await?;
    engine.endpoints("acme").upsert("hook", to("/good")).await?;
    for greedy in 0..20 {
        let application = engine.applications().create(ApplicationSpec::new("Greedy")).await?.id;
        for n in 0..5 {
            engine.endpoints(application).create(to(&format!("/hang/{greedy}/{n}"))).await?;
        }
        engine.publish(application, Event::new("t", vec![b' '; 100 << 10])).await?;
    }
    receivers.wait_for("/hang", 1, Duration::from_secs(5)).await;
    sleep(Duration::from_secs(1)).await;
    assert!(engine.metrics().encode().contains("postrider_permits_free 63\n"), "all but one are free");
    engine.publish("acme", event("{}")).await?;
    receivers.wait_for("/good", 1, Duration::from_secs(1)).await;
    assert_eq!(receivers.count("/hang"), 1, "the others wait for memory");
    receivers.0.released.notify_waiters();
    receivers.wait_for("/hang", 2, Duration::from_secs(1)).await;
    engine.shutdown(Duration::ZERO).await;
    Ok(())
}

/// What was planned before it waited went to the address and with the headers of then, also to an endpoint that was paused
/// or deleted meanwhile.
#[tokio::test(start_paused = true)]
async fn what_waited_for_memory_goes_to_the_endpoint_as_it_is_then() -> Result<(), Failed> {
    let receivers = Receivers::default();
    let engine = engine_with(&receivers, |limits| limits.payload_bytes_in_memory = 100 << 10).await?;
    let of = engine.endpoints("acme");
    of.upsert("first", to("/hang")).await?;
    let large = || Event::new("t", vec![b' '; 100 << 10]);
    engine.publish("acme", large()).await?;
    receivers.wait_for("/hang", 1, Duration::from_secs(5)).await;
    of.pause("first").await?;
    for (uid, path) in [("moved", "/old"), ("paused", "/paused"), ("deleted", "/deleted")] {
        of.upsert(uid, to(path)).await?;
    }
    engine.publish("acme", large()).await?;
    sleep(Duration::from_secs(1)).await;
    of.upsert("moved", to("/new").header("x-new", "yes")).await?;
    of.pause("paused").await?;
    of.delete("deleted").await?;
    receivers.0.released.notify_waiters();
    receivers.wait_for("/new", 1, Duration::from_secs(10)).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(["/old", "/paused", "/deleted"].map(|path| receivers.count(path)), [0; 3]);
    assert!(receivers.sent().last().is_some_and(|request| request.headers.contains_key("x-new")));
    of.resume("paused").await?;
    receivers.wait_for("/paused", 1, Duration::from_secs(10)).await;
    Ok(())
}

/// Expunged while a delivery of it waited in memory for the rate of its endpoint, and sent all the same, hours later.
#[tokio::test(start_paused = true)]
async fn an_expunged_payload_is_not_sent_by_an_endpoint_that_is_slow_or_paused() -> Result<(), Failed> {
    let receivers = Receivers::default();
    let engine = engine_with(&receivers, |_| {}).await?;
    let of = engine.endpoints("acme");
    of.upsert("slow", to("/slow").rate(postrider::Rate::per_minute(NonZeroU32::MIN))).await?;
    of.upsert("ordered", to("/ordered").ordering(postrider::OrderingMode::Fifo(postrider::OnExhausted::Continue)))
        .await?;
    of.upsert("paused", to("/paused")).await?;
    of.pause("paused").await?;
    of.pause("ordered").await?;
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(engine.publish("acme", event("{\"secret\":1}")).await?.event);
    }
    sleep(Duration::from_secs(1)).await;
    let gone = *events.last().ok_or("three were published")?;
    engine.events("acme").expunge(gone).await?;
    // At once, so that its actor has not heard of it.
    of.resume("paused").await?;
    of.resume("ordered").await?;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(["/slow", "/ordered", "/paused"].map(|path| receivers.count(path)), [2; 3]);
    let id = gone.to_string();
    assert!(receivers.sent().iter().all(|request| request.headers["webhook-id"] != id.as_str()));
    Ok(())
}

/// As many endpoints as there may be were active by being published to, and no retry was due any more.
#[tokio::test(start_paused = true)]
async fn a_retry_is_due_though_many_are_active() -> Result<(), Failed> {
    let receivers = Receivers::default();
    let engine = engine_with(&receivers, |limits| limits.active_endpoints = at_least_one(10)).await?;
    for n in 0..20 {
        engine.endpoints("greedy").create(to(&format!("/busy/{n}"))).await?;
    }
    let retry = RetryPolicy::delays([Duration::from_secs(120)]);
    engine.endpoints("acme").upsert("hook", to("/fail").retry(retry)).await?;
    engine.publish("acme", event("{}")).await?;
    receivers.wait_for("/fail", 1, Duration::from_secs(5)).await;
    for _ in 0..200 {
        engine.publish("greedy", event("{}")).await?;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(receivers.count("/fail"), 2, "after two minutes");
    Ok(())
}

/// Four hundred and fifty receivers that did not answer the question for a proof kept another tenant's waiting for a minute.
#[tokio::test(start_paused = true)]
async fn receivers_that_do_not_prove_anything_keep_no_other_waiting() -> Result<(), Failed> {
    let receivers = Receivers::default();
    let engine = engine_with(&receivers, |_| {}).await?;
    for n in 0..450 {
        engine.endpoints("greedy").create(proves(to(&format!("/hang/{n}")), Proof::Ping)).await?;
    }
    receivers.wait_for("/hang", 30, Duration::from_secs(5)).await;
    engine.endpoints("acme").upsert("hook", proves(to("/good"), Proof::Ping)).await?;
    receivers.wait_for("/good", 1, Duration::from_secs(1)).await;
    receivers.wait_for("/hang", 450, Duration::from_secs(300)).await;
    Ok(())
}
