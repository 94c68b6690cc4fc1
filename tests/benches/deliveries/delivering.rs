//! The engine over a store: publish, and wait until every outcome is committed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use postrider::{
    ApplicationSpec, AttemptRequest, AttemptResponse, EndpointSpec, Engine, Event, TargetRules, Transport,
    TransportError,
    http::StatusCode,
    storage::{Fjall, MemoryStore, OpenStore, Sled, testing::InTempDir},
};
use postrider_adapters::http::HttpTransport;
use postrider_core::{Dice, SplitMix};
use tokio::sync::Semaphore;

use crate::{
    Failed, Wanted,
    measure::{Measured, Side, Watch},
};

const PAYLOAD_BYTES: usize = 1024;
const UNSENT: usize = 1024;

/// Random bytes: they cannot be compressed.
pub(crate) fn payload(dice: &mut SplitMix) -> Bytes {
    (0..PAYLOAD_BYTES / 8).flat_map(|_| dice.roll().to_be_bytes()).collect::<Vec<_>>().into()
}

/// An endpoint's address, one of its own.
pub(crate) fn url(port: u16, n: usize) -> String {
    format!("http://127.0.{}.{}:{port}/hook", 1 + n / 250, 1 + n % 250)
}

/// Sends over HTTP, and makes room for the next publisher whenever a request begins.
#[derive(Debug)]
struct Counted {
    /// None: whatever is sent has arrived.
    http: Option<HttpTransport>,
    unsent: Arc<Semaphore>,
}

#[async_trait]
impl Transport for Counted {
    async fn send(&self, request: AttemptRequest) -> Result<AttemptResponse, TransportError> {
        self.unsent.add_permits(1);
        match &self.http {
            Some(http) => http.send(request).await,
            None => Ok(AttemptResponse::of(StatusCode::OK)),
        }
    }
}

pub(crate) async fn run(side: Side, port: u16, endpoints: usize, wanted: &Wanted) -> Result<Measured, Failed> {
    match side {
        Side::Bare => Err("the bare loop has no engine".into()),
        Side::Memory => over(MemoryStore::new(), port, endpoints, wanted).await,
        Side::Fjall => over(InTempDir::new(|path| Fjall::at(path)), port, endpoints, wanted).await,
        Side::Sled => over(InTempDir::new(|path| Sled::at(path)), port, endpoints, wanted).await,
    }
}

async fn over(store: impl OpenStore, port: u16, endpoints: usize, wanted: &Wanted) -> Result<Measured, Failed> {
    let Wanted { deliveries, publishers, null, .. } = *wanted;
    let rules = TargetRules::dev();
    let unsent = Arc::new(Semaphore::new(UNSENT));
    let http = if null { None } else { Some(HttpTransport::new(rules.clone())?) };
    let transport = Counted { http, unsent: Arc::clone(&unsent) };
    let engine = Engine::builder(store, transport).targets(rules).start().await?;
    for n in 0..endpoints {
        engine.applications().upsert(name(n), ApplicationSpec::new("Bench")).await?;
        engine.endpoints(name(n).as_str()).create(EndpointSpec::new(url(port, n))).await?;
    }
    let load = Load { publishers, endpoints, unsent };
    load.publish(&engine, (deliveries / 10).max(endpoints)).await?;
    let watch = Watch::start();
    load.publish(&engine, deliveries).await?;
    let measured = watch.measured(deliveries);
    if engine.metrics().steps_refused() > 0 {
        return Err("a guard refused a step, which nothing here may cause".into());
    }
    engine.shutdown(Duration::from_secs(10)).await;
    Ok(measured)
}

struct Load {
    publishers: usize,
    endpoints: usize,
    unsent: Arc<Semaphore>,
}

impl Load {
    async fn publish(&self, engine: &Engine, events: usize) -> Result<(), Failed> {
        let Self { publishers, endpoints, unsent } = self;
        let (publishers, endpoints) = (*publishers, *endpoints);
        let until = engine.metrics().deliveries_ended_well() + events as u64;
        let next = Arc::new(AtomicUsize::new(0));
        let publishers: Vec<_> = (0..publishers)
            .map(|publisher| {
                let (engine, unsent, next) = (engine.clone(), Arc::clone(unsent), Arc::clone(&next));
                tokio::spawn(async move {
                    let body = payload(&mut SplitMix::new(publisher as u64));
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= events {
                            return Ok::<(), Failed>(());
                        }
                        unsent.acquire().await?.forget();
                        engine
                            .publish(name(n % endpoints).as_str(), Event::new("bench.delivered", body.clone()))
                            .await?;
                    }
                })
            })
            .collect();
        for publisher in publishers {
            publisher.await??;
        }
        while engine.metrics().deliveries_ended_well() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

fn name(n: usize) -> String {
    format!("bench-{n}")
}
