//! An API over a store that is full of what is expensive: attempts with long answers, an event for a crowd, many events, large
//! payloads, schemas at their bounds.

use std::{num::NonZeroUsize, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use bytes::Bytes;
use postrider::{
    ApplicationSpec, AttemptResponse, BreakerSetting, EndpointSpec, Engine, Event, OrganisationId, PageRequest,
    RetryPolicy, TargetRules, Timestamp, TransportError,
    storage::testing::{Counted, Counting},
    transport_fn,
};
use postrider_adapters::{api::router, token::TokenKey};
use tower::ServiceExt;

use crate::{
    MEMORY,
    requests::{Case, first, with_ids},
};

pub(crate) type Failed = Box<dyn std::error::Error>;

/// Endpoints of one event, and attempts at each.
const CROWD: usize = 300;
const RETRIES: usize = 9;
/// As much of an answer as is kept.
const ANSWER: usize = 16 << 10;
const SMALL_EVENTS: usize = 2_000;
const LARGE_EVENTS: usize = 100;
const LARGE: usize = 200 << 10;

pub(crate) struct World {
    engine: Engine,
    router: Router,
    store: Counting,
    organisation: String,
    portal: String,
    /// Of the event that went to the crowd, and of its newest attempt.
    event: String,
    attempt: String,
}

/// What a request took.
#[derive(Debug)]
pub(crate) struct Spent {
    pub(crate) status: u16,
    pub(crate) answer: String,
    pub(crate) peak_bytes: usize,
    pub(crate) rows_read: usize,
    pub(crate) rows_written: usize,
    pub(crate) bytes_written: usize,
}

impl World {
    pub(crate) async fn new() -> Result<Self, Failed> {
        let store = Counting::default();
        let engine = Engine::builder(store.clone(), transport_fn(answer)).targets(TargetRules::dev()).start().await?;
        engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
        engine.applications().upsert("full", ApplicationSpec::new("Full")).await?;
        for n in 0..CROWD {
            let delays = [Duration::from_secs(1); RETRIES];
            let mut spec =
                EndpointSpec::new(format!("https://receiver.example/{n}")).retry(RetryPolicy::delays(delays));
            spec.delivery.breaker = BreakerSetting::Off;
            engine.endpoints("acme").upsert(format!("hook-{n}").as_str(), spec).await?;
        }
        let sent = engine.publish("acme", Event::new("case.crowd", "{}").uid("crowd")).await?;
        let all = PageRequest::first(NonZeroUsize::MIN);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let attempt = engine.events("acme").attempts("crowd", Default::default(), &all).await?.items.remove(0);
        for n in 0..SMALL_EVENTS {
            let event = Event::new("case.small", format!("{{\"n\":{n}}}")).channels(["one"]).tags(["red"]);
            engine.publish("full", event).await?;
        }
        for _ in 0..LARGE_EVENTS {
            engine.publish("full", Event::new("case.large", format!("{{\"x\":\"{}\"}}", "x".repeat(LARGE)))).await?;
        }
        let key = TokenKey::for_development("a secret for tests, and for nothing else")?;
        let organisation = key.issue_organisation(OrganisationId::DEFAULT, now())?;
        let application = engine.applications().get("acme")?.id;
        let portal = key.issue_application(application, OrganisationId::DEFAULT, now())?;
        let router = router(engine.clone(), key);
        let (event, attempt) = (sent.event.to_string(), attempt.attempt.id.to_string());
        let world = Self { engine, router, store, organisation, portal, event, attempt };
        // What is made once, at the first request, is no cost of one.
        world.spend(&first()).await?;
        Ok(world)
    }

    pub(crate) async fn spend(&self, case: &Case) -> Result<Spent, Failed> {
        let uri = with_ids(&case.uri, &self.event, &self.attempt);
        let token = if case.is_portal { &self.portal } else { &self.organisation };
        let mut request = Request::builder()
            .method(case.method)
            .uri(uri)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, case.content_type);
        for (name, value) in &case.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from((case.body)()))?;
        self.store.take();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let answer = self.router.clone().oneshot(request).await?;
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await?;
        let peak_bytes = MEMORY.peak_usage().saturating_sub(before);
        let Counted { asked, scanned, rows_written, bytes_written, .. } = self.store.take();
        let rows_read = asked + scanned;
        let answer = if status == StatusCode::OK { String::new() } else { shortened(&body) };
        let spent = Spent { status: status.as_u16(), answer, peak_bytes, rows_read, rows_written, bytes_written };
        // What it has begun is not counted as what comes next.
        tokio::time::sleep(Duration::from_secs(60)).await;
        debug_assert_eq!(self.engine.metrics().steps_refused(), 0);
        Ok(spent)
    }
}

fn shortened(body: &Bytes) -> String {
    String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned()
}

async fn answer(_request: postrider::AttemptRequest) -> Result<AttemptResponse, TransportError> {
    let mut answer = AttemptResponse::of(StatusCode::INTERNAL_SERVER_ERROR);
    answer.body = Bytes::from(vec![b'x'; ANSWER]);
    Ok(answer)
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(0) + since
}
