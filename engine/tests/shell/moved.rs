//! An endpoint whose URL changes is judged anew: what the old target asked for, and what failed there, holds nothing back
//! from the new one, with an actor up and without one, and after a restart.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use postrider::{
    AttemptRequest, AttemptResponse, BreakerState, EndpointSpec, EndpointStatus, Engine, RetryPolicy, Transport,
    TransportError,
    http::{HeaderValue, StatusCode},
    storage::MemoryStore,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::support::{Failed, event};

const OLD: &str = "https://old.example/";
const NEW: &str = "https://new.example/";
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The old receiver answers with this status, and asks to be left alone for a day, once it may; the new one takes all.
#[derive(Clone, Debug)]
struct Moves {
    status: u16,
    may_answer: watch::Sender<bool>,
    came: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Moves {
    fn new(status: u16) -> Self {
        Self { status, may_answer: watch::Sender::new(true), came: Arc::default() }
    }

    fn at(&self, url: &str) -> Vec<Instant> {
        let came = self.came.lock().expect("nobody panics with it");
        came.iter().filter(|(_, to)| to == url).map(|(at, _)| *at).collect()
    }

    async fn wait_for(&self, url: &str, n: usize) {
        while self.at(url).len() < n {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

#[async_trait]
impl Transport for Moves {
    async fn send(&self, request: AttemptRequest) -> Result<AttemptResponse, TransportError> {
        self.came.lock().expect("nobody panics with it").push((Instant::now(), request.url.to_string()));
        if request.url.as_str() == NEW {
            return Ok(AttemptResponse::of(StatusCode::OK));
        }
        let mut may_answer = self.may_answer.subscribe();
        drop(may_answer.wait_for(|may| *may).await);
        let mut answer = AttemptResponse::of(StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK));
        answer.headers.insert("retry-after", HeaderValue::from_static("86400"));
        Ok(answer)
    }
}

async fn begin(store: &MemoryStore, receiver: &Moves, retry: RetryPolicy) -> Result<Engine, Failed> {
    let engine = Engine::builder(store.clone(), receiver.clone()).seed(7).start().await?;
    engine.applications().upsert("acme", postrider::ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").upsert("hook", EndpointSpec::new(OLD).retry(retry)).await?;
    Ok(engine)
}

async fn moves(engine: &Engine) -> Result<(), Failed> {
    engine.endpoints("acme").update("hook", |spec| spec.url = NEW.into()).await?;
    Ok(())
}

async fn a_new_event_goes_at_once(engine: &Engine, receiver: &Moves) -> Result<(), Failed> {
    let (began, before) = (Instant::now(), receiver.at(NEW).len());
    engine.publish("acme", event("{}")).await?;
    receiver.wait_for(NEW, before + 1).await;
    assert!(began.elapsed() < Duration::from_secs(10), "it waited for {:?}", began.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_new_url_does_not_inherit_the_wait_of_the_old_one() -> Result<(), Failed> {
    // Its actor is up, or has left.
    for rests in [Duration::from_secs(1), Duration::from_secs(120)] {
        let receiver = Moves::new(503);
        let engine = begin(&MemoryStore::new(), &receiver, RetryPolicy::delays([])).await?;
        engine.publish("acme", event("{}")).await?;
        receiver.wait_for(OLD, 1).await;
        sleep(rests).await;
        moves(&engine).await?;
        a_new_event_goes_at_once(&engine, &receiver).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_stored_of_the_old_target_holds_the_new_one() -> Result<(), Failed> {
    for rests in [Duration::ZERO, Duration::from_secs(120)] {
        let (store, receiver) = (MemoryStore::new(), Moves::new(500));
        let engine = begin(&store, &receiver, RetryPolicy::delays([])).await?;
        receiver.may_answer.send_replace(false);
        for _ in 0..8 {
            engine.publish("acme", event("{}")).await?;
        }
        receiver.wait_for(OLD, 8).await;
        receiver.may_answer.send_replace(true);
        sleep(Duration::from_secs(1)).await;
        let state = engine.endpoints("acme").state("hook").await?;
        assert!(matches!(state.breaker, BreakerState::Open { .. }), "{state:?}");
        sleep(rests).await;
        moves(&engine).await?;
        engine.shutdown(Duration::from_secs(1)).await;
        let engine = Engine::builder(store, receiver.clone()).seed(8).start().await?;
        let state = engine.endpoints("acme").state("hook").await?;
        assert_eq!((state.breaker, state.waiting), (BreakerState::default(), None));
        a_new_event_goes_at_once(&engine, &receiver).await?;
    }
    Ok(())
}

/// Sent to the old target, and answered when the endpoint has moved: 410 would disable it, 503 hold it for a day.
#[tokio::test(start_paused = true)]
async fn a_late_answer_of_the_old_target_says_nothing_of_the_new_one() -> Result<(), Failed> {
    for status in [410, 404, 503] {
        let receiver = Moves::new(status);
        let engine = begin(&MemoryStore::new(), &receiver, RetryPolicy::delays([Duration::from_secs(5); 5])).await?;
        receiver.may_answer.send_replace(false);
        engine.publish("acme", event("{}")).await?;
        receiver.wait_for(OLD, 1).await;
        moves(&engine).await?;
        receiver.may_answer.send_replace(true);
        let moved = Instant::now();
        receiver.wait_for(NEW, 1).await;
        assert!(moved.elapsed() < Duration::from_secs(60), "{status}: by its schedule, not {:?}", moved.elapsed());
        assert_eq!(engine.endpoints("acme").get("hook")?.status, EndpointStatus::Active, "{status}");
        a_new_event_goes_at_once(&engine, &receiver).await?;
    }
    Ok(())
}

/// And of the one that it has, everything.
#[tokio::test(start_paused = true)]
async fn a_change_of_anything_else_forgives_nothing() -> Result<(), Failed> {
    let receiver = Moves::new(503);
    let engine = begin(&MemoryStore::new(), &receiver, RetryPolicy::delays([])).await?;
    engine.publish("acme", event("{}")).await?;
    receiver.wait_for(OLD, 1).await;
    sleep(Duration::from_secs(1)).await;
    engine.endpoints("acme").update("hook", |spec| spec.description = "changed".into()).await?;
    engine.publish("acme", event("{}")).await?;
    sleep(DAY - MINUTE).await;
    assert_eq!(receiver.at(OLD).len(), 1, "it is left alone for as long as it asked");
    sleep(2 * MINUTE).await;
    assert_eq!(receiver.at(OLD).len(), 2);
    Ok(())
}
