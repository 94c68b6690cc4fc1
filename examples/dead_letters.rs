//! Giving up is not losing: what could not be delivered is kept with its payload, looked at, and put back.

use std::time::Duration;

use postrider::{
    ApplicationSpec, DeadLetterFilter, EndpointSpec, Engine, Event, Notice, PageRequest, RetryPolicy, TargetRules,
    storage::MemoryStore,
};
use postrider_adapters::http::HttpTransport;
use postrider_examples::receiver;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Three events, two attempts each, all of them refused; repaired afterwards.
    let (url, mut arrivals) = receiver([500; 6]).await?;
    let transport = HttpTransport::new(TargetRules::dev())?;
    let engine = Engine::builder(MemoryStore::new(), transport).targets(TargetRules::dev()).start().await?;
    let mut notices = engine.notices();
    engine.applications().upsert("acme", ApplicationSpec::new("Acme Ltd")).await?;
    let retry = RetryPolicy::delays([Duration::from_millis(100)]);
    let mut hook = EndpointSpec::new(url).retry(retry);
    hook.delivery.breaker = postrider::BreakerSetting::Off;
    engine.endpoints("acme").upsert("billing", hook).await?;
    for invoice in 1..=3 {
        engine.publish("acme", Event::new("invoice.paid", format!("invoice {invoice}"))).await?;
    }

    // Operators are told; a real one would write a ticket.
    let mut dead = 0;
    while dead < 3 {
        match tokio::time::timeout(Duration::from_secs(30), notices.next()).await? {
            Some(Notice::DeadLettered { .. }) => dead += 1,
            Some(_) => {}
            None => return Err("the engine ended".into()),
        }
    }
    let letters = engine.dead_letters("acme");
    let of_billing = DeadLetterFilter::of("billing");
    for letter in letters.list(&of_billing, &PageRequest::default()).await?.items {
        let (letter, event) = letters.get(letter.last.id).await?;
        let payload = event.map(|event| String::from_utf8_lossy(&event.event.payload).into_owned());
        println!(
            "{} is dead: {:?} after {} attempts, payload {payload:?}",
            letter.last.event, letter.reason, letter.last.attempts
        );
    }

    let task = letters.redrive_many(&of_billing).await?;
    let redriven = engine.tasks().ended(task.id).await?.progress.done;
    println!("The receiver is repaired. Redriven {redriven}:");
    for _ in 0..3 {
        tokio::time::timeout(Duration::from_secs(30), arrivals.recv()).await?.ok_or("the receiver ended")?;
    }
    engine.shutdown(Duration::from_secs(10)).await;
    Ok(())
}
