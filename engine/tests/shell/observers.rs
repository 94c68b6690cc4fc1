//! What observes the engine cannot stop it: a subscriber that does not read, operators whose receiver is slow, gone, or
//! whose queue is full, a log that nobody reads. And what the log says of endpoints.

use std::{
    io::{self, Write},
    num::NonZeroU32,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use postrider::{
    ApplicationSpec, AttemptRequest, AttemptResponse, Carries, EndpointSpec, Engine, Notice, OrganisationId, Purpose,
    RetryPolicy, Transport, TransportError, WhenFull,
    storage::MemoryStore,
    testing::{Reply, ScriptedTransport},
};
use tokio::time::{Instant, sleep};
use tracing::{Dispatch, Level, subscriber::DefaultGuard};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Failed, always_ok, event, hook, start};

const SECOND: Duration = Duration::from_secs(1);
const OPERATORS: &str = "https://operators.example/hook";

/// Lines of the log of this thread.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn captured() -> (Self, DefaultGuard) {
        Self::captured_to(Level::INFO)
    }

    fn captured_to(level: Level) -> (Self, DefaultGuard) {
        // With one subscriber alone, tracing asks that of the thread which first comes by a span or line, and remembers the
        // answer for all threads: that of a test which captures nothing would be "never". With two it asks both.
        static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
        LazyLock::force(&ANOTHER);
        let lines = Self::default();
        let subscriber = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).without_time();
        (lines.clone(), tracing::subscriber::set_default(subscriber.with_writer(lines).finish()))
    }

    fn with(&self, words: &str) -> Vec<String> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_does_not_read_holds_up_nothing_and_is_told_what_it_missed() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new(vec![500_u16; 3000]);
    let mut spec = hook().retry(RetryPolicy::delays([]));
    spec.delivery.breaker = postrider::BreakerSetting::Off;
    let engine = start(MemoryStore::new(), &receiver, spec).await?;
    let mut notices = engine.notices();
    for _ in 0..3000 {
        engine.publish("acme", event("{}")).await?;
    }
    receiver.wait_for(3000).await;
    sleep(SECOND).await;
    assert_eq!(engine.endpoints("acme").state("hook").await?.backlog.queued, 0);
    assert!(matches!(notices.next().await, Some(Notice::Missed(missed)) if missed > 1000));
    assert!(matches!(notices.next().await, Some(Notice::DeadLettered { .. })));
    Ok(())
}

/// Operators and others, each with a receiver.
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

async fn with_operators(reply: Reply, when_full: WhenFull) -> Result<(), Failed> {
    let receivers = Receivers { hooks: ScriptedTransport::new(vec![500_u16; 50]), operators: always_ok() };
    let receivers = Receivers { operators: ScriptedTransport::new(vec![reply.clone(); 100_000]), ..receivers };
    let engine = Engine::builder(MemoryStore::new(), receivers.clone()).seed(7).start().await?;
    let organisation = engine.organisation(OrganisationId::DEFAULT);
    organisation.prepare_operational().await?;
    let mut operators = EndpointSpec::new(OPERATORS);
    operators.delivery.max_queued = Some(NonZeroU32::MIN);
    operators.delivery.when_full = Some(when_full);
    organisation.operational_endpoints().upsert("all", operators).await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let mut spec = hook().retry(RetryPolicy::delays([]));
    spec.delivery.breaker = postrider::BreakerSetting::Off;
    engine.endpoints("acme").upsert("hook", spec).await?;
    let began = Instant::now();
    for _ in 0..100 {
        engine.publish("acme", event("{}")).await?;
    }
    receivers.hooks.wait_for(100).await;
    assert!(began.elapsed() < 10 * SECOND, "{reply:?} {when_full:?}: {:?}", began.elapsed());
    sleep(SECOND).await;
    assert_eq!(engine.endpoints("acme").state("hook").await?.backlog.queued, 0, "{reply:?} {when_full:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn operators_who_are_slow_gone_or_full_hold_up_nothing() -> Result<(), Failed> {
    for reply in [Reply::Hang, Reply::Refuse, Reply::Status(500), Reply::After(600 * SECOND), Reply::Panic] {
        for when_full in [WhenFull::Refuse, WhenFull::DeadLetter] {
            with_operators(reply.clone(), when_full).await?;
        }
    }
    Ok(())
}

// Endpoints were disabled and thousands of deliveries given up without one line at the level that operators read.
#[tokio::test(start_paused = true)]
async fn what_becomes_of_an_endpoint_is_in_the_log_with_its_reason() -> Result<(), Failed> {
    let (lines, _captured) = Lines::captured();
    let receiver = ScriptedTransport::new([410_u16]);
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    let endpoint = engine.endpoints("acme").get("hook")?;
    engine.publish("acme", event("{}")).await?;
    receiver.wait_for(1).await;
    sleep(SECOND).await;
    let about = [endpoint.id.to_string(), endpoint.application.to_string()];
    for (words, reason) in [("endpoint is disabled", "answered 410"), ("delivery was given up", "Refused")] {
        let said = lines.with(words);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("WARN") && said[0].contains(reason), "{said:?}");
        assert!(about.iter().all(|id| said[0].contains(id)), "{said:?}");
    }
    engine.endpoints("acme").enable("hook").await?;
    assert_eq!(lines.with("endpoint is enabled again").len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_all_the_time_fills_no_log() -> Result<(), Failed> {
    let (lines, _captured) = Lines::captured();
    let receiver = ScriptedTransport::new(vec![500_u16; 1000]);
    let mut spec = hook().retry(RetryPolicy::delays([]));
    spec.delivery.breaker = postrider::BreakerSetting::Off;
    let engine = start(MemoryStore::new(), &receiver, spec).await?;
    for number in 0..1000 {
        if number == 999 {
            sleep(60 * SECOND).await;
        }
        engine.publish("acme", event("{}")).await?;
    }
    receiver.wait_for(1000).await;
    sleep(SECOND).await;
    let said = lines.with("delivery was given up");
    assert_eq!(said.len(), 6, "{said:?}");
    assert!(said[5].contains("left_out=994"), "{said:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_and_closes_is_in_the_log() -> Result<(), Failed> {
    let (lines, _captured) = Lines::captured();
    let receiver = ScriptedTransport::new(vec![500_u16; 10]);
    let engine = start(MemoryStore::new(), &receiver, hook().retry(RetryPolicy::delays([SECOND; 20]))).await?;
    for _ in 0..5 {
        engine.publish("acme", event("{}")).await?;
    }
    receiver.wait_for(15).await;
    sleep(SECOND).await;
    assert_eq!((lines.with("breaker opened").len(), lines.with("breaker closed").len()), (1, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_send_says_so_once_and_that_it_can_again() -> Result<(), Failed> {
    let (lines, _captured) = Lines::captured();
    let receiver = ScriptedTransport::new(vec![Reply::NotSent("no name server answered"); 20]);
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    engine.publish("acme", event("{}")).await?;
    receiver.wait_for(21).await;
    sleep(SECOND).await;
    let said = lines.with("could not send");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("no name server answered"), "{said:?}");
    assert_eq!(lines.with("can send again").len(), 1);
    Ok(())
}

/// Says something where it sends.
#[derive(Debug)]
struct Telling;

#[async_trait]
impl Transport for Telling {
    async fn send(&self, _request: AttemptRequest) -> Result<AttemptResponse, TransportError> {
        tracing::debug!("sending");
        Ok(AttemptResponse::of(http::StatusCode::OK))
    }
}

/// Traces of one's own had nothing to tell attempts apart by.
#[tokio::test(start_paused = true)]
async fn what_happens_in_an_attempt_happens_in_a_span_that_names_it() -> Result<(), Failed> {
    let (lines, _guard) = Lines::captured_to(Level::DEBUG);
    let engine = Engine::builder(MemoryStore::new(), Telling).seed(7).start().await?;
    let application = engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let endpoint = engine.endpoints("acme").upsert("hook", hook()).await?;
    let receipt = engine.publish("acme", event("{}")).await?;
    let began = Instant::now();
    while lines.with("sending").is_empty() && began.elapsed() < 60 * SECOND {
        sleep(SECOND).await;
    }
    let sent = lines.with("sending");
    assert_eq!(sent.len(), 1, "{sent:?}");
    for (name, value) in [
        ("application", application.id.to_string()),
        ("endpoint", endpoint.id.to_string()),
        ("event", receipt.event.to_string()),
        ("event_type", "invoice.paid".to_owned()),
        ("number", "1".to_owned()),
    ] {
        assert!(sent[0].contains("attempt{") && sent[0].contains(&format!("{name}={value}")), "{name}: {}", sent[0]);
    }
    Ok(())
}

// A transport of one's own could not say for whom it sends, nor what.
#[tokio::test(start_paused = true)]
async fn a_request_says_what_it_is_sent_for() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([500_u16]);
    let engine = start(MemoryStore::new(), &receiver, hook().retry(RetryPolicy::delays([SECOND]))).await?;
    let endpoint = engine.endpoints("acme").get("hook")?;
    let published = engine.publish("acme", event("{}")).await?.event;
    let sent = receiver.wait_for(2).await;
    for (number, request) in (1..).zip(&sent) {
        let attempt = postrider::AttemptNumber(number);
        let carries = Carries::Event { id: published, event_type: "invoice.paid".into(), attempt };
        assert_eq!(request.purpose, Some(Purpose::new(endpoint.application, endpoint.id, carries)));
    }
    Ok(())
}
