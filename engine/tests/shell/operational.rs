//! Operators hear what becomes of endpoints and deliveries, durably, and each thing once.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use postrider::{
    ApplicationSpec, AttemptRequest, AttemptResponse, BreakerPolicy, BreakerSetting, Clock as _, EndpointSpec, Engine,
    OPERATIONAL_EVENT_TYPES, OrganisationId, RetryPolicy, SystemClock, Transport, TransportError,
    storage::{MemoryStore, OpenStore},
    testing::{ManualClock, ScriptedTransport},
};
use tokio::time::{Instant, sleep};

use crate::{
    ending::AlsoTokio,
    support::{Failed, Knobbed, Knobs, always_ok, event, hook},
};

const OPERATORS: &str = "https://operators.example/hook";
const SECOND: Duration = Duration::from_secs(1);

/// Receivers of two kinds.
#[derive(Clone, Debug)]
struct Receivers {
    hooks: ScriptedTransport,
    operators: ScriptedTransport,
}

#[async_trait]
impl Transport for Receivers {
    async fn send(&self, request: AttemptRequest) -> Result<AttemptResponse, TransportError> {
        let to = if request.url.as_str() == OPERATORS { &self.operators } else { &self.hooks };
        to.send(request).await
    }
}

impl Receivers {
    fn new(hooks: ScriptedTransport) -> Self {
        Self { hooks, operators: always_ok() }
    }

    /// What operators were told, by type, once that is so much.
    async fn told(&self, count: usize) -> Vec<(String, String)> {
        let body = |sent: &AttemptRequest| String::from_utf8_lossy(&sent.body).into_owned();
        let typed = |body: String| {
            let event_type = body.split("\"type\":\"").nth(1).and_then(|rest| rest.split('"').next());
            (event_type.unwrap_or_default().to_owned(), body)
        };
        self.operators.wait_for(count).await.iter().map(body).map(typed).collect()
    }

    async fn types(&self, count: usize) -> Vec<String> {
        sleep(SECOND * 120).await;
        let told = self.told(count).await;
        assert_eq!(told.len(), count, "{told:?}");
        told.into_iter().map(|(event_type, _)| event_type).collect()
    }
}

/// An engine whose operators listen to these, and an application `acme`.
async fn start(medium: impl OpenStore, receivers: &Receivers, only: &[&str]) -> Result<Engine, Failed> {
    let engine = Engine::builder(medium, receivers.clone()).seed(7).start().await?;
    let organisation = engine.organisation(OrganisationId::DEFAULT);
    organisation.prepare_operational().await?;
    let spec = EndpointSpec::new(OPERATORS).event_types(only.iter().copied());
    organisation.operational_endpoints().upsert("all", spec).await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    Ok(engine)
}

// cases.md 144
#[tokio::test(start_paused = true)]
async fn failing_recovered_and_exhausted_come_once_each() -> Result<(), Failed> {
    let script = [500_u16, 500, 500, 500, 500, 200].into_iter().chain([500; 6]);
    let receivers = Receivers::new(ScriptedTransport::new(script));
    let only =
        ["message.attempt.failing", "message.attempt.recovered", "message.attempt.exhausted", "message.dead_lettered"];
    let engine = start(MemoryStore::new(), &receivers, &only).await?;
    let mut spec = hook().retry(RetryPolicy::delays([SECOND; 5]));
    spec.delivery.breaker = BreakerSetting::Off;
    engine.endpoints("acme").upsert("hook", spec).await?;
    let recovers = engine.publish("acme", event("{}")).await?.event;
    assert_eq!(receivers.types(2).await, ["message.attempt.failing", "message.attempt.recovered"]);
    let told = receivers.told(2).await;
    for (_, body) in &told {
        for part in [
            &*recovers.to_string(),
            "\"appUid\":\"acme\"",
            "\"endpointUid\":\"hook\"",
            "\"lastAttempt\":{\"id\":\"atmpt_",
        ] {
            assert!(body.contains(part), "{part}: {body}");
        }
    }
    assert!(told[0].1.contains("\"responseStatusCode\":500") && told[1].1.contains("\"responseStatusCode\":200"));
    engine.publish("acme", event("{}")).await?;
    let types = receivers.types(5).await;
    assert_eq!(types[2..], ["message.attempt.failing", "message.attempt.exhausted", "message.dead_lettered"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_change_of_an_endpoint_is_told_and_nothing_of_those_who_are_told() -> Result<(), Failed> {
    let receivers = Receivers::new(ScriptedTransport::new([410_u16]));
    let engine = start(MemoryStore::new(), &receivers, &[]).await?;
    let endpoints = engine.endpoints("acme");
    endpoints.upsert("hook", hook()).await?;
    assert_eq!(receivers.types(1).await, ["endpoint.created"]);
    endpoints.update("hook", |spec| spec.description = "changed".into()).await?;
    assert_eq!(receivers.types(2).await[1], "endpoint.updated");
    endpoints.rotate_secret("hook", None, SECOND).await?;
    assert_eq!(receivers.types(3).await[2], "endpoint.secret.rotated");
    // The receiver says that it is gone: it is disabled, and the event is given up.
    engine.publish("acme", event("{}")).await?;
    let mut types = receivers.types(6).await.split_off(3);
    types.sort();
    assert_eq!(types, ["endpoint.disabled", "message.attempt.exhausted", "message.dead_lettered"]);
    endpoints.enable("hook").await?;
    assert_eq!(receivers.types(7).await[6], "endpoint.enabled");
    endpoints.delete("hook").await?;
    assert_eq!(receivers.types(8).await[7], "endpoint.deleted");
    let all = engine.organisation(OrganisationId::DEFAULT).operational_endpoints();
    all.update("all", |spec| spec.description = "nobody hears of it".into()).await?;
    assert_eq!(receivers.types(8).await.len(), 8);
    let known = |event_type: &String| OPERATIONAL_EVENT_TYPES.contains(&&**event_type);
    assert!(receivers.types(8).await.iter().all(known));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_breaker_and_an_old_backlog_are_told() -> Result<(), Failed> {
    let receivers = Receivers::new(ScriptedTransport::new([500_u16; 3]));
    let only = ["endpoint.breaker.opened", "endpoint.breaker.closed", "endpoint.backlog.old"];
    let engine = start(MemoryStore::new(), &receivers, &only).await?;
    let policy = BreakerPolicy { consecutive_failures: 3_u32.try_into()?, ..BreakerPolicy::default() };
    let mut spec = hook().retry(RetryPolicy::delays([SECOND * 90]));
    spec.delivery.breaker = BreakerSetting::On(policy);
    engine.endpoints("acme").upsert("hook", spec).await?;
    for _ in 0..3 {
        engine.publish("acme", event("{}")).await?;
    }
    assert_eq!(receivers.types(2).await, ["endpoint.breaker.opened", "endpoint.breaker.closed"]);
    engine.endpoints("acme").pause("hook").await?;
    for _ in 0..3 {
        engine.publish("acme", event("{}")).await?;
    }
    sleep(SECOND * 3700).await;
    engine.endpoints("acme").resume("hook").await?;
    assert_eq!(receivers.types(3).await[2], "endpoint.backlog.old", "once a day, however many are late");
    Ok(())
}

/// What holds an endpoint until it is let go.
async fn hold(engine: &Engine, by: &str) -> Result<(), Failed> {
    match by {
        "paused" => drop(engine.endpoints("acme").pause("hook").await?),
        "disabled" => drop(engine.endpoints("acme").disable("hook").await?),
        _ => {}
    }
    Ok(())
}

/// An old backlog was told with the first attempt that was late; whoever was held for long made none.
#[tokio::test(start_paused = true)]
async fn an_old_backlog_is_told_by_the_clock_whatever_holds_it() -> Result<(), Failed> {
    for held in ["paused", "disabled", "by its breaker"] {
        let receivers = Receivers::new(ScriptedTransport::new([500_u16; 3]));
        let engine = start(MemoryStore::new(), &receivers, &["endpoint.backlog.old"]).await?;
        let policy = BreakerPolicy {
            consecutive_failures: 3_u32.try_into()?,
            cool_down: SECOND * 20_000,
            cool_down_max: SECOND * 20_000,
            ..BreakerPolicy::default()
        };
        let mut spec = hook().retry(RetryPolicy::delays([SECOND * 10; 60]));
        spec.delivery.max_in_flight = Some(1_u32.try_into()?);
        spec.delivery.breaker = BreakerSetting::On(policy);
        engine.endpoints("acme").upsert("hook", spec).await?;
        // Held only after that: whoever is disabled is sent nothing new.
        engine.endpoints("acme").pause("hook").await?;
        for _ in 0..5 {
            engine.publish("acme", event("{}")).await?;
        }
        hold(&engine, held).await?;
        if held == "by its breaker" {
            engine.endpoints("acme").resume("hook").await?;
        }
        sleep(SECOND * 3590).await;
        assert_eq!(receivers.operators.count(), 0, "{held}: it is young");
        sleep(SECOND * 20).await;
        assert_eq!(receivers.operators.count(), 1, "{held}");
        assert!(receivers.told(1).await[0].1.contains("\"waitedSeconds\":3600"), "{:?}", receivers.told(1).await);
        sleep(SECOND * 14_400).await;
        assert_eq!(receivers.operators.count(), 1, "{held}: once");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_backlog_that_gets_old_again_is_told_again() -> Result<(), Failed> {
    let receivers = Receivers::new(always_ok());
    let engine = start(MemoryStore::new(), &receivers, &["endpoint.backlog.old"]).await?;
    engine.endpoints("acme").upsert("hook", hook()).await?;
    for round in 1..=3 {
        engine.endpoints("acme").pause("hook").await?;
        engine.publish("acme", event("{}")).await?;
        sleep(SECOND * 3 * 3600).await;
        assert_eq!(receivers.operators.count(), round);
        engine.endpoints("acme").resume("hook").await?;
        sleep(SECOND * 3600).await;
        assert_eq!(receivers.hooks.count(), 21 * round - 20);
        // It is not old after that, as long as something is sent now and then.
        for _ in 0..20 {
            engine.publish("acme", event("{}")).await?;
            sleep(SECOND * 600).await;
        }
        assert_eq!(receivers.operators.count(), round);
        receivers.hooks.wait_for(round * 21).await;
    }
    Ok(())
}

/// No actor of this engine knows of it: it is found by its wake row, at the start and when operators come.
#[tokio::test(start_paused = true)]
async fn a_backlog_from_before_is_told() -> Result<(), Failed> {
    let (medium, receivers) = (MemoryStore::new(), Receivers::new(always_ok()));
    let engine = Engine::builder(medium.clone(), receivers.clone()).seed(7).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").upsert("hook", hook()).await?;
    engine.endpoints("acme").pause("hook").await?;
    engine.publish("acme", event("{}")).await?;
    sleep(SECOND * 7200).await;
    let organisation = engine.organisation(OrganisationId::DEFAULT);
    organisation.prepare_operational().await?;
    let spec = EndpointSpec::new(OPERATORS).event_types(["endpoint.backlog.old"]);
    organisation.operational_endpoints().upsert("all", spec).await?;
    sleep(SECOND * 3700).await;
    assert_eq!(receivers.operators.count(), 1, "within an hour of the first who listens");
    engine.shutdown(SECOND).await;
    let later = AlsoTokio(ManualClock::new(SystemClock::new().now() + SECOND * 14_400), Instant::now());
    let engine = Engine::builder(medium, receivers.clone()).clock(later).start().await?;
    sleep(SECOND * 10).await;
    assert_eq!(receivers.operators.count(), 2, "and at once after a start");
    engine.endpoints("acme").delete("hook").await?;
    sleep(SECOND * 7200).await;
    assert_eq!(receivers.operators.count(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_told_is_stored_with_what_it_is_about() -> Result<(), Failed> {
    let (medium, receivers) = (MemoryStore::new(), Receivers::new(always_ok()));
    let engine = start(medium.clone(), &receivers, &["endpoint.created", "background_task.ended"]).await?;
    engine.endpoints("acme").upsert("hook", hook()).await?;
    // As if it had crashed: what was committed is told after the next start.
    drop(engine);
    let engine = Engine::builder(medium, receivers.clone()).start().await?;
    assert!(receivers.types(1).await.contains(&"endpoint.created".to_owned()));
    let task = engine.dead_letters("acme").redrive_many(&Default::default()).await?;
    let told = receivers.told(2).await;
    assert_eq!(told[1].0, "background_task.ended");
    assert!(told[1].1.contains(&task.id.to_string()) && told[1].1.contains("\"status\":\"finished\""), "{told:?}");
    Ok(())
}

/// What was told of dead letters, by the reason, and how many they were.
async fn letters_told(receivers: &Receivers, count: usize) -> Vec<u64> {
    let told = receivers.told(count).await;
    let letters = |(_, body): &(String, String)| {
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        assert_eq!(
            (&body["data"]["reason"], &body["data"]["endpointUid"]),
            (&"QueueFull".into(), &"hook".into()),
            "{body}"
        );
        body["data"]["deadLetters"].as_u64().unwrap_or_default()
    };
    told.iter().map(letters).collect()
}

/// An engine whose queue at `hook` has room for one.
async fn start_full(medium: impl OpenStore, receivers: &Receivers) -> Result<Engine, Failed> {
    let engine = start(medium, receivers, &["message.dead_lettered"]).await?;
    let mut spec = hook();
    spec.delivery.max_queued = Some(1_u32.try_into()?);
    engine.endpoints("acme").upsert("hook", spec).await?;
    engine.endpoints("acme").pause("hook").await?;
    engine.publish("acme", event("{}")).await?;
    Ok(engine)
}

/// Only the store knows that a queue is full: nothing was told of such dead letters.
#[tokio::test(start_paused = true)]
async fn dead_letters_of_a_full_queue_are_told_together() -> Result<(), Failed> {
    let receivers = Receivers::new(always_ok());
    let engine = start_full(MemoryStore::new(), &receivers).await?;
    assert_eq!(engine.publish("acme", event("{}")).await?.queues_full, 1);
    assert_eq!(letters_told(&receivers, 1).await, [1], "at once");
    for _ in 0..500 {
        engine.publish("acme", event("{}")).await?;
    }
    sleep(SECOND * 50).await;
    assert_eq!(receivers.operators.count(), 1, "no flood");
    sleep(SECOND * 20).await;
    assert_eq!(letters_told(&receivers, 2).await, [1, 500]);
    sleep(SECOND * 600).await;
    assert_eq!(receivers.operators.count(), 2, "each once");
    engine.publish("acme", event("{}")).await?;
    assert_eq!(letters_told(&receivers, 3).await, [1, 500, 1]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dead_letters_of_a_full_queue_are_told_over_a_shutdown_and_a_failing_store() -> Result<(), Failed> {
    let (medium, receivers) = (MemoryStore::new(), Receivers::new(always_ok()));
    let engine = start_full(medium.clone(), &receivers).await?;
    let (one, more) = (event("{}"), vec![event("{}"); 9]);
    engine.publish("acme", one).await?;
    letters_told(&receivers, 1).await;
    engine.organisation(OrganisationId::DEFAULT).publish_all("acme", more).await;
    engine.shutdown(SECOND).await;
    let engine = Engine::builder(medium, receivers.clone()).start().await?;
    assert_eq!(letters_told(&receivers, 2).await, [1, 9]);
    engine.shutdown(SECOND).await;

    let (store, receivers) = (Knobbed::new(MemoryStore::new()), Receivers::new(always_ok()));
    let knobs = Arc::clone(&store.knobs);
    let engine = start_full(store, &receivers).await?;
    engine.publish("acme", event("{}")).await?;
    letters_told(&receivers, 1).await;
    engine.publish("acme", event("{}")).await?;
    // While the store fails it is their turn.
    sleep(SECOND * 59).await;
    Knobs::set(&knobs.fails);
    Knobs::set(&knobs.is_away);
    sleep(SECOND * 10).await;
    knobs.fails.store(false, Ordering::SeqCst);
    knobs.is_away.store(false, Ordering::SeqCst);
    assert_eq!(letters_told(&receivers, 2).await, [1, 1]);
    Ok(())
}

/// What is told of those who are told would never end.
#[tokio::test(start_paused = true)]
async fn a_full_queue_of_operators_is_told_to_nobody() -> Result<(), Failed> {
    let receivers = Receivers::new(always_ok());
    let engine = start(MemoryStore::new(), &receivers, &[]).await?;
    let endpoints = engine.organisation(OrganisationId::DEFAULT).operational_endpoints();
    let mut spec = EndpointSpec::new(OPERATORS);
    spec.delivery.max_queued = Some(1_u32.try_into()?);
    endpoints.upsert("full", spec).await?;
    endpoints.pause("full").await?;
    // Even where somebody listens to what becomes of the endpoints of operators.
    let management = engine.organisation(OrganisationId::MANAGEMENT);
    management.prepare_operational().await?;
    management.operational_endpoints().upsert("all", EndpointSpec::new(OPERATORS)).await?;
    let uid = OrganisationId::DEFAULT.to_string();
    let mut full = 0;
    for _ in 0..10 {
        full += management.publish(uid.as_str(), event("{}")).await?.queues_full;
    }
    assert_eq!(full, 9);
    sleep(SECOND * 300).await;
    let told = receivers.told(10).await;
    assert!(told.iter().all(|(event_type, _)| event_type.is_empty()), "only what was published: {told:?}");
    Ok(())
}
