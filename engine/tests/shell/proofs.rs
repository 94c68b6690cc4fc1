//! A receiver that has something to prove is sent nothing before, and everything after.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use postrider::{
    ApplicationSpec, AttemptRequest, AttemptResponse, EndpointSpec, EndpointStatus, Engine, Grant, GrantError, Proof,
    Transport, TransportError, Waiting,
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

const GRANT_AT: &str = "https://hooks.example.com/grant/";

/// The token at the end of the address that the receiver was told of last.
fn token(receiver: &Asked) -> Result<String, Failed> {
    let seen = receiver.seen.lock().expect("nobody panics with it");
    let told = seen.iter().rev().find_map(|request| request.headers.get("webhook-request-callback"));
    let token = told.ok_or("it was told of no address")?.to_str()?.strip_prefix(GRANT_AT);
    Ok(token.ok_or("it is below ours")?.to_owned())
}

/// An engine that tells receivers where to grant later.
async fn start_granting(medium: MemoryStore, receiver: &Asked) -> Result<Engine, Failed> {
    let origin = HeaderValue::from_static("hooks.example.com");
    let builder = Engine::builder(medium, receiver.clone()).seed(7).origin(origin);
    Ok(builder.grant_at(GRANT_AT.parse()?).start().await?)
}

async fn with_hook(engine: &Engine, proof: Proof) -> Result<(), Failed> {
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let mut spec: EndpointSpec = hook();
    spec.proof = proof;
    engine.endpoints("acme").upsert("hook", spec).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_receiver_may_grant_later_at_an_address_that_it_was_told_of() -> Result<(), Failed> {
    let (medium, receiver) = (MemoryStore::new(), Asked::new(ok));
    let engine = start_granting(medium.clone(), &receiver).await?;
    with_hook(&engine, Proof::CloudEvents).await?;
    engine.publish("acme", event("{}")).await?;
    sleep(MINUTE).await;
    let first = token(&receiver)?;
    sleep(MINUTE * 60).await;
    assert_ne!(first, token(&receiver)?, "each time it is asked it is told another one");
    assert_eq!((status(&engine).await?, receiver.posted().len()), (EndpointStatus::Unproven, 0));
    // An address outlives a restart: somebody found it in a log.
    engine.shutdown(MINUTE).await;
    let engine = start_granting(medium, &receiver).await?;
    let other = if first.ends_with('A') { 'B' } else { 'A' };
    for none in ["", "token", &first[1..], &format!("{}{other}", &first[..first.len() - 1])] {
        assert!(matches!(engine.grant(none, Grant::Unlimited).await, Err(GrantError::NoSuchToken)), "{none}");
        assert!(!engine.awaits_grant(none));
    }
    assert!(engine.awaits_grant(&first));
    assert_eq!(status(&engine).await?, EndpointStatus::Unproven, "asking grants nothing");
    engine.grant(&first, Grant::PerMinute(60_u32.try_into()?)).await?;
    sleep(MINUTE).await;
    assert_eq!((status(&engine).await?, receiver.posted().len()), (EndpointStatus::Active, 1));
    assert_eq!(receiver.posted()[0].headers["webhook-request-origin"], "hooks.example.com");
    let endpoint = engine.endpoints("acme").get("hook")?;
    let rate = endpoint.policy.rate.ok_or("the grant is a rate")?;
    assert_eq!((rate.attempts_per_second(), rate.burst_attempts()), (1, 1), "60 a minute");
    assert_eq!(engine.endpoints("acme").state("hook").await?.proof_failure, None);
    // Again, and with another rate.
    engine.grant(&first, Grant::PerMinute(60_u32.try_into()?)).await?;
    assert_eq!(engine.endpoints("acme").get("hook")?.revision, endpoint.revision, "nothing has changed");
    engine.grant(&first, Grant::AsAsked).await?;
    let rate = engine.endpoints("acme").get("hook")?.policy.rate.ok_or("what was asked for is a rate")?;
    assert_eq!(rate.attempts_per_second(), 100);
    engine.endpoints("acme").pause("hook").await?;
    engine.grant(&first, Grant::Unlimited).await?;
    let endpoint = engine.endpoints("acme").get("hook")?;
    assert_eq!((endpoint.status, endpoint.policy.rate), (EndpointStatus::Paused, None), "a pause is not lifted by it");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_address_to_grant_at_is_good_for_what_was_asked_alone() -> Result<(), Failed> {
    let receiver = Asked::new(ok);
    let engine = start_granting(MemoryStore::new(), &receiver).await?;
    with_hook(&engine, Proof::CloudEvents).await?;
    sleep(MINUTE).await;
    let endpoints = engine.endpoints("acme");
    let refused = async |token: &str, why: &str| {
        let granted = engine.grant(token, Grant::Unlimited).await;
        assert!(matches!(granted, Err(GrantError::NoSuchToken)), "{why}: {granted:?}");
    };
    let old = token(&receiver)?;
    endpoints.update("hook", |spec| spec.url = "https://victim.example/hook".into()).await?;
    refused(&old, "it posts elsewhere now").await;
    sleep(MINUTE).await;
    let disabled = token(&receiver)?;
    endpoints.disable("hook").await?;
    refused(&disabled, "it is disabled").await;
    endpoints.enable("hook").await?;
    assert!(engine.awaits_grant(&disabled), "the same receiver");
    endpoints.update("hook", |spec| spec.proof = Proof::Ping).await?;
    refused(&disabled, "something else is asked for").await;
    endpoints.update("hook", |spec| spec.proof = Proof::CloudEvents).await?;
    sleep(MINUTE).await;
    let late = token(&receiver)?;
    endpoints.pause("hook").await?;
    sleep(MINUTE * 60 * 24 * 7).await;
    refused(&late, "it is a week old").await;
    let young = token(&receiver)?;
    endpoints.delete("hook").await?;
    refused(&young, "it is gone").await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_an_address_that_is_not_there() -> Result<(), Failed> {
    let receiver = Asked::new(grants);
    start(MemoryStore::new(), &receiver, Proof::CloudEvents).await?;
    sleep(MINUTE).await;
    assert!(token(&receiver).is_err());
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

/// Disabled and enabled again by an edit, as the API does it, or paused and resumed: it came out without its proof.
#[tokio::test(start_paused = true)]
async fn no_change_of_its_status_gets_an_endpoint_past_its_proof() -> Result<(), Failed> {
    use postrider::{DisableReason, EndpointDraft};
    let receiver = Asked::new(|_| AttemptResponse::of(StatusCode::INTERNAL_SERVER_ERROR));
    let engine = Engine::builder(MemoryStore::new(), receiver.clone()).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let mut spec = hook();
    spec.proof = Proof::Ping;
    engine.endpoints("acme").upsert("hook", spec).await?;
    let endpoints = engine.endpoints("acme");
    let ask = |status: EndpointStatus| endpoints.edit("hook", move |draft: &mut EndpointDraft| draft.status = status);
    ask(EndpointStatus::Disabled(DisableReason::ByPerson)).await?;
    assert_eq!(ask(EndpointStatus::Active).await?.status, EndpointStatus::Unproven);
    assert_eq!(ask(EndpointStatus::Paused).await?.status, EndpointStatus::Unproven);
    assert_eq!(endpoints.resume("hook").await?.status, EndpointStatus::Unproven);
    endpoints.disable("hook").await?;
    assert_eq!(endpoints.enable("hook").await?.status, EndpointStatus::Unproven);
    assert!(receiver.posted().is_empty());
    Ok(())
}
