//! SIGTERM with work in flight.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::{
    Failed,
    daemon::Daemon,
    receiver::{Mood, Receiver},
};

const EVENTS: usize = 100;

/// Row 112: a graceful stop left events locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_while_a_receiver_hangs_it_ends_within_its_grace_and_goes_on_after_the_start() -> Result<(), Failed> {
    let (folder, receiver) = (TempDir::new()?, Receiver::start(Mood::Hanging).await?);
    let flags = ["--set", "grace_seconds=1"];
    let daemon = Daemon::start(folder.path(), None, &flags).await?;
    let client = daemon.client();
    client.register(&receiver.url(), json!({ "retrySchedule": [0.1, 0.1], "breaker": null })).await?;
    for number in 0..EVENTS {
        let event = json!({ "eventType": "t", "payload": { "key": "k", "number": number } });
        client.publish_surely(&event, &number.to_string()).await?;
    }
    receiver.wait_for_requests(16).await?;
    let address = daemon.address;
    let took = daemon.stop().await?;
    // The machine may be slow; a grace of a second that takes ten is not kept.
    assert!(took < Duration::from_secs(10), "{took:?}");
    receiver.set(Mood::Well);
    let daemon = Daemon::start(folder.path(), Some(address), &flags).await?;
    receiver.wait_for_events(EVENTS).await?;
    // What was cut short came again, under its old id.
    receiver.by_key()?;
    daemon.stop().await?;
    Ok(())
}
