//! The main job over real HTTP: ordered events to a receiver that fails at first; only the failing key waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::post};
use postrider::{
    ApplicationSpec, EndpointSpec, Engine, Event, OnExhausted, OrderingMode, RetryPolicy, TargetRules, storage::Fjall,
};
use postrider_adapters::http::HttpTransport;
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (came, mut arrivals) = mpsc::unbounded_channel();
    let failures = Arc::new(AtomicU32::new(2));
    let receive = move |body: String| async move {
        // Customer a's first event fails twice.
        let left = failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let fails = body == "a1" && left.is_ok();
        println!("  {body}  {}", if fails { "500, will be retried" } else { "200" });
        let _nobody_counts = if fails { Ok(()) } else { came.send(body) };
        if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, Router::new().route("/hook", post(receive))).await });

    let folder = tempfile::tempdir()?;
    let transport = HttpTransport::new(TargetRules::dev())?;
    let builder = Engine::builder(Fjall::at(folder.path().join("data")), transport).targets(TargetRules::dev());
    let engine = builder.start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme Ltd")).await?;
    let retry = RetryPolicy::delays([Duration::from_millis(300); 3]);
    let hook = EndpointSpec::new(url).ordering(OrderingMode::PerKey(OnExhausted::Continue)).retry(retry);
    engine.endpoints("acme").upsert("billing", hook).await?;

    println!("Publishing a1 to a3 for customer a, b1 to b3 for customer b; a1 fails twice:");
    for n in 1..=3 {
        for customer in ["a", "b"] {
            engine.publish("acme", Event::new("invoice.paid", format!("{customer}{n}")).ordering_key(customer)).await?;
        }
    }
    let mut order = Vec::new();
    while order.len() < 6 {
        order.extend(tokio::time::timeout(Duration::from_secs(30), arrivals.recv()).await?);
    }
    println!("Accepted in this order: {}", order.join(" "));
    let of = |customer: &str| order.iter().filter(|body| body.starts_with(customer)).cloned().collect::<Vec<_>>();
    assert_eq!(
        (of("a"), of("b")),
        (["a1", "a2", "a3"].map(String::from).into(), ["b1", "b2", "b3"].map(String::from).into())
    );
    println!("Each customer's events in order, each accepted once.");
    engine.shutdown(Duration::from_secs(10)).await;
    Ok(())
}
