//! Publishes one event for a thousand and for ten thousand idle endpoints, at once and for a later time, and says how the
//! cost grows with their number: prints ratios. 1.0 is a cost in proportion to endpoints, 10 one in proportion to its square.
//!
//! `cargo bench -p postrider-tests --bench fanout`; with `BYTES` in the environment the event is as large as that says.

use std::time::{Duration, Instant};

use postrider::{
    ApplicationSpec, EndpointSpec, Engine, Event,
    storage::{Fjall, testing::InTempDir},
    testing::NullTransport,
};
use tokio::time::sleep;

type Failed = Box<dyn std::error::Error + Send + Sync>;

const FEW: usize = 1_000;
const MANY: usize = 10_000;
/// Endpoints that are made together.
const AT_ONCE: usize = 250;
const LATER: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let bytes = std::env::var("BYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(1024);
    for (name, wait) in [("at once", None), ("later", Some(LATER))] {
        let (few, many) = (delivered(FEW, bytes, wait).await?, delivered(MANY, bytes, wait).await?);
        let ratio = many.as_secs_f64() / (few.as_secs_f64() * (MANY / FEW) as f64);
        println!("{bytes} bytes {name}: {FEW} endpoints {few:?}, {MANY} endpoints {many:?}, ratio {ratio:.2}");
    }
    Ok(())
}

/// Until all endpoints have it, from when it is due.
async fn delivered(endpoints: usize, bytes: usize, wait: Option<Duration>) -> Result<Duration, Failed> {
    let receiver = NullTransport::new();
    let engine = Engine::builder(InTempDir::new(|dir| Fjall::at(dir)), receiver.clone()).start().await?;
    engine.applications().upsert("bench", ApplicationSpec::new("Bench")).await?;
    for first in (0..endpoints).step_by(AT_ONCE) {
        let create = |n: usize| {
            let engine = engine.clone();
            let spec = EndpointSpec::new(format!("https://receiver.example/{n}"));
            tokio::spawn(async move { engine.endpoints("bench").create(spec).await.map(drop) })
        };
        for made in (first..first + AT_ONCE).map(create).collect::<Vec<_>>() {
            made.await??;
        }
    }
    let event = Event::new("bench.published", "x".repeat(bytes)).content_type("text/plain");
    // It goes to nobody, and says what time it is.
    engine.applications().upsert("clock", ApplicationSpec::new("Clock")).await?;
    let now = engine.publish("clock", Event::new("bench.clock", "{}")).await?.accepted_at;
    let (event, due) = match wait {
        None => (event, Instant::now()),
        Some(wait) => (event.deliver_at(now + wait), Instant::now() + wait),
    };
    engine.publish("bench", event).await?;
    while receiver.count() < endpoints as u64 {
        sleep(Duration::from_millis(2)).await;
    }
    let took = Instant::now().saturating_duration_since(due);
    engine.shutdown(Duration::from_secs(10)).await;
    Ok(took)
}
