//! Both formats are clean: every number has a type, a word of help and a name as its type asks for.

use std::collections::BTreeMap;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::header,
    middleware,
    routing::get,
};
use postrider::{Engine, storage::MemoryStore, transport_fn};
use tower::ServiceExt;

use super::{Metrics, count, show};

type Failed = Box<dyn std::error::Error>;

async fn scraped(accept: &str) -> Result<(String, String), Failed> {
    let nowhere = transport_fn(|_| async { Err(postrider::TransportError::Connect("by the test".into())) });
    let engine = Engine::builder(MemoryStore::new(), nowhere).start().await?;
    let metrics = Metrics::new(&engine);
    let counted = Router::new().route("/", get(|| async { "" }));
    let counted = counted.layer(middleware::from_fn_with_state(metrics.clone(), count));
    let routes = Router::new().route("/metrics", get(show)).with_state(metrics);
    counted.oneshot(Request::new(Body::empty())).await?;
    let request = Request::get("/metrics").header(header::ACCEPT, accept).body(Body::empty())?;
    let answer = routes.oneshot(request).await?;
    let content_type = answer.headers()[header::CONTENT_TYPE].to_str()?.to_owned();
    Ok((content_type, String::from_utf8(to_bytes(answer.into_body(), 1 << 20).await?.to_vec())?))
}

/// What `promtool check metrics` looks at.
fn check_text(text: &str) {
    let (mut types, mut helps) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            assert_eq!(types.insert(name, kind), None, "{name} has two types");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else if let Some((name, words)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            assert_eq!(helps.insert(name, words), None, "{name} has two helps");
        } else {
            assert!(!line.is_empty() && !line.starts_with('#'), "{line}");
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let parts = ["_bucket", "_sum", "_count"];
            let whole = parts.iter().find_map(|part| name.strip_suffix(part).filter(|whole| types.contains_key(whole)));
            let whole = whole.unwrap_or(name);
            assert!(types.contains_key(whole) && helps.contains_key(whole), "{line}");
        }
    }
}

#[tokio::test]
async fn a_scraper_that_asks_for_nothing_gets_text_that_every_scraper_reads() -> Result<(), Failed> {
    let (content_type, text) = scraped("*/*").await?;
    assert!(content_type.starts_with("text/plain; version=0.0.4"), "{content_type}");
    check_text(&text);
    for name in [
        "postrider_events_accepted_total 0",
        "postrider_log_lines_lost_total",
        "postrider_api_requests_total{method=\"GET\",status=\"200\"} 1",
        "postrider_api_request_seconds_count 1",
        "postrider_build_info{version=",
        "process_start_time_seconds",
        "process_max_fds",
    ] {
        assert!(text.contains(&format!("\n{name}")), "{name}: {text}");
    }
    #[cfg(target_os = "linux")]
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_threads"] {
        assert!(text.contains(&format!("\n{name} ")), "{name}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_scraper_that_asks_for_open_metrics_gets_them() -> Result<(), Failed> {
    let (content_type, text) = scraped("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await?;
    assert!(content_type.starts_with("application/openmetrics-text"), "{content_type}");
    assert!(text.ends_with("# EOF\n"));
    Ok(())
}
