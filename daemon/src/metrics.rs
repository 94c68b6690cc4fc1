//! What the daemon shows to Prometheus: the engine's numbers, its own, and those of the process.
//!
//! A scrape gets text that was made as a whole before its first byte goes out: one that reads slowly holds its
//! connection, and nothing else.

mod process;
mod text;

use std::{fmt, sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use postrider::Engine;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use self::process::Process;
use crate::outlet;

/// What Prometheus asks for when it can read it.
const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is counted. Clones share it.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<OfRequest, Counter>,
    request: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

impl Metrics {
    pub(crate) fn new(engine: &Engine) -> Self {
        let mut registry = Registry::default();
        engine.metrics().register(&mut registry);
        let (requests, request) =
            (Family::<OfRequest, Counter>::default(), Histogram::new(exponential_buckets(0.000_5, 2.0, 18)));
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        let own = registry.sub_registry_with_prefix("postrider");
        own.register("api_requests", "Requests to the API that were answered", requests.clone());
        own.register_with_unit("api_request", "Time until the head of the answer", Unit::Seconds, request.clone());
        own.register("build_info", "1, with the version that runs", build);
        registry.register_collector(Box::new(Process::begun_now()));
        registry.register_collector(Box::new(LostLines));
        Self { registry: Arc::new(registry), requests, request }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _infallible = encode(&mut text, &self.registry);
        text
    }
}

/// The route.
pub(crate) async fn show(State(metrics): State<Metrics>, headers: HeaderMap) -> Response {
    let accepts = headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|accepted| accepted.to_ascii_lowercase().contains(OPEN_METRICS)));
    let (content_type, text) = match accepts {
        true => (OPEN_METRICS_TYPE, metrics.text()),
        false => (TEXT_TYPE, text::from_open_metrics(&metrics.text())),
    };
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

/// Around the API: counts what is answered.
pub(crate) async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let (method, began) = (known(request.method()), Instant::now());
    let answer = next.run(request).await;
    metrics.requests.get_or_create(&OfRequest { method, status: answer.status().as_u16() }).inc();
    metrics.request.observe(began.elapsed().as_secs_f64());
    answer
}

/// A client may send any word as its method.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Lines of output that could not be written.
#[derive(Debug)]
struct LostLines;

impl Collector for LostLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let lost = ConstCounter::new(outlet::stderr().lost() + outlet::stdout().lost());
        let words = "Lines of output and log that could not be written";
        let metric = encoder.encode_descriptor("postrider_log_lines_lost", words, None, lost.metric_type())?;
        lost.encode(metric)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
