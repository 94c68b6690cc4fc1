//! A receiver that has something to prove is sent nothing before, and everything after.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use postrider::{
    ApplicationSpec, AttemptRequest, AttemptResponse, EndpointSpec, EndpointStatus, Engine, Proof, Transport,
    TransportError, Waiting,
    http::{HeaderValue, Method, StatusCode},
    storage::MemoryStore,
};
use tokio::time::sleep;

use crate::support::{Failed, event, hook};

const MINUTE: Duration = Duration::from_secs(60);

/// What a receiver says to one who asks.
type Answer = fn(&AttemptRequest) -> AttemptResponse;

/// A receiver that answers those who ask in its way, and takes all that is posted.
#[derive(Clone)]
struct Asked {
    answer: Arc<Mutex<Answer>>,
    seen: Arc<Mutex<Vec<AttemptRequest>>>,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked")
    }
}

#[async_trait]
impl Transport for Asked {
    async fn send(&self, request: AttemptRequest) -> Result<AttemptResponse, TransportError> {
        self.seen.lock().expect("nobody panics with it").push(request.clone());
        let answer = *self.answer.lock().expect("nobody panics with it");
        Ok(answer(&request))
    }
}

impl Asked {
    fn new(answer: Answer) -> Self {
        Self { answer: Arc::new(Mutex::new(answer)), seen: Arc::default() }
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().expect("nobody panics with it") = answer;
    }

    fn posted(&self) -> Vec<AttemptRequest> {
        let seen = self.seen.lock().expect("nobody panics with it");
        seen.iter().filter(|request| request.method == Method::POST && request.body == "{}").cloned().collect()
    }
}

fn ok(_: &AttemptRequest) -> AttemptResponse {
    AttemptResponse::of(StatusCode::OK)
}

fn meets_challenge(request: &AttemptRequest) -> AttemptResponse {
    let mut answer = ok(request);
    if request.method == Method::GET {
        let challenge = request.url.query_pairs().find(|(name, _)| name == "challenge");
        answer.body = challenge.map(|(_, value)| value.into_owned()).unwrap_or_default().into();
    }
    answer
}

fn grants(request: &AttemptRequest) -> AttemptResponse {
    let mut answer = AttemptResponse::of(StatusCode::METHOD_NOT_ALLOWED);
    if request.method != Method::OPTIONS {
        answer.status = StatusCode::OK;
    } else if request.headers["webhook-request-origin"] == "hooks.example.com" {
        answer.headers.insert("webhook-allowed-origin", HeaderValue::from_static("hooks.example.com"));
        answer.headers.insert("webhook-allowed-rate", HeaderValue::from_static("60"));
    }
    answer
}

async fn start(medium: MemoryStore, receiver: &Asked, proof: Proof) -> Result<Engine, Failed> {
    let origin = HeaderValue::from_static("hooks.example.com");
    let engine = Engine::builder(medium, receiver.clone()).seed(7).origin(origin).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let mut spec: EndpointSpec = hook();
    spec.proof = proof;
    engine.endpoints("acme").upsert("hook", spec).await?;
    Ok(engine)
}

async fn status(engine: &Engine) -> Result<EndpointStatus, Failed> {
    Ok(engine.endpoints("acme").get("hook")?.status)
}

#[tokio::test(start_paused = true)]
async fn what_is_published_waits_until_the_challenge_is_met() -> Result<(), Failed> {
    let (medium, receiver) = (MemoryStore::new(), Asked::new(ok));
    let engine = start(medium.clone(), &receiver, Proof::Challenge).await?;
    engine.publish("acme", event("{}")).await?;
    sleep(MINUTE).await;
    assert!(receiver.posted().is_empty());
    let state = engine.endpoints("acme").state("hook").await?;
    assert_eq!((state.status, state.waiting), (EndpointStatus::Unproven, Some(Waiting::Unproven)));
    assert!(state.proof_failure.is_some_and(|why| why.contains("challenge")));
    // Neither a pause nor a restart is a way around it.
    engine.endpoints("acme").pause("hook").await?;
    engine.endpoints("acme").resume("hook").await?;
    engine.shutdown(MINUTE).await;
    let engine = Engine::builder(medium, receiver.clone()).start().await?;
    sleep(MINUTE).await;
    assert!(receiver.posted().is_empty());
    receiver.answers(meets_challenge);
    sleep(MINUTE * 11).await;
    assert_eq!(status(&engine).await?, EndpointStatus::Active);
    assert_eq!(receiver.posted().len(), 1);
    assert_eq!(engine.endpoints("acme").state("hook").await?.proof_failure, None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn another_address_must_be_proved_anew() -> Result<(), Failed> {
    let receiver = Asked::new(meets_challenge);
    let engine = start(MemoryStore::new(), &receiver, Proof::Challenge).await?;
    sleep(MINUTE).await;
    assert_eq!(status(&engine).await?, EndpointStatus::Active);
    engine.endpoints("acme").update("hook", |spec| spec.description = "the same".into()).await?;
    assert_eq!(status(&engine).await?, EndpointStatus::Active);
    receiver.answers(ok);
    engine.endpoints("acme").update("hook", |spec| spec.url = "https://other.example/hook".into()).await?;
    engine.publish("acme", event("{}")).await?;
    sleep(MINUTE).await;
    assert_eq!(status(&engine).await?, EndpointStatus::Unproven);
    engine.endpoints("acme").disable("hook").await?;
    engine.endpoints("acme").enable("hook").await?;
    assert_eq!(status(&engine).await?, EndpointStatus::Unproven, "enabling is no proof");
    assert!(receiver.posted().is_empty());
    engine.endpoints("acme").update("hook", |spec| spec.proof = Proof::None).await?;
    sleep(MINUTE).await;
    assert_eq!(receiver.posted().len(), 1, "nothing is asked for any more");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_grant_says_how_fast_and_our_origin_goes_along() -> Result<(), Failed> {
    let receiver = Asked::new(grants);
    let engine = start(MemoryStore::new(), &receiver, Proof::CloudEvents).await?;
    for _ in 0..10 {
        engine.publish("acme", event("{}")).await?;
    }
    sleep(MINUTE * 2).await;
    let endpoint = engine.endpoints("acme").get("hook")?;
    let rate = endpoint.policy.rate.ok_or("the grant is a rate")?;
    assert_eq!((rate.attempts_per_second(), rate.burst_attempts()), (1, 1), "60 a minute");
    let posted = receiver.posted();
    assert_eq!(posted.len(), 10);
    assert!(posted.iter().all(|sent| sent.headers["webhook-request-origin"] == "hooks.example.com"));
    engine.endpoints("acme").update("hook", |spec| spec.description = "changed".into()).await?;
    assert_eq!(engine.endpoints("acme").get("hook")?.policy.rate, Some(rate), "a change forgets no grant");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_signed_and_proves_by_its_status() -> Result<(), Failed> {
    let receiver = Asked::new(|request| match request.headers.contains_key("webhook-signature") {
        true => ok(request),
        false => AttemptResponse::of(StatusCode::UNAUTHORIZED),
    });
    let engine = start(MemoryStore::new(), &receiver, Proof::Ping).await?;
    sleep(MINUTE).await;
    assert_eq!(status(&engine).await?, EndpointStatus::Active);
    let seen = receiver.seen.lock().expect("nobody panics with it").clone();
    assert!(String::from_utf8_lossy(&seen[0].body).contains("webhook.ping"));
    Ok(())
}
