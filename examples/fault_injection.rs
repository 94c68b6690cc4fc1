//! A program's own behaviour tested against a store that fails on purpose and a receiver without a network, in no time:
//! tokio's clock is paused, and every wait is over at once.

use std::time::Duration;

use postrider::{
    ApplicationSpec, EndpointSpec, Engine, Event, PublishError,
    storage::{
        MemoryStore,
        testing::{Fault, Faulty},
    },
    testing::ScriptedTransport,
};

/// What an application should do when publishing fails: the same event with the same key again, a little later.
async fn publish_surely(engine: &Engine, event: Event) -> Result<u32, PublishError> {
    assert!(event.idempotency_key.is_some(), "without a key a repeat may be a second event");
    let mut tries = 1;
    loop {
        match engine.publish("acme", event.clone()).await {
            Ok(_) => return Ok(tries),
            Err(error) => {
                let Some(wait) = error.retry_after() else { return Err(error) };
                println!("  {error}; again in {wait:?}");
                tokio::time::sleep(wait).await;
                tries += 1;
            }
        }
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Commits 1 and 2 make the application and the endpoint. The third is stored but its answer is lost, as when a disk
    // hangs at the wrong moment; the fourth fails outright.
    let store = Faulty::new(MemoryStore::new(), [(3, Fault::LoseAnswer), (4, Fault::Refuse)]);
    let receiver = ScriptedTransport::new([500, 200]);
    let engine = Engine::builder(store, receiver.clone()).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme Ltd")).await?;
    engine.endpoints("acme").create(EndpointSpec::new("https://example.com/hook")).await?;

    let tries = publish_surely(&engine, Event::new("invoice.paid", "{}").idempotency_key("paid-7")).await?;
    println!("accepted at try {tries}");
    let requests = receiver.wait_for(2).await;
    let ids: Vec<_> = requests.iter().map(|request| &request.headers["webhook-id"]).collect();
    assert_eq!(ids[0], ids[1], "one event, tried twice, and never a second one");
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
