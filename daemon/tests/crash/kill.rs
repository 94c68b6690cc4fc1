//! `kill -9`, again and again, in the middle of load.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::{
    Failed,
    daemon::{Daemon, Shared},
    receiver::{Mood, Receiver},
};

const KEYS: usize = 8;
/// Between a start and a kill.
const UP: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_load_fjall_loses_and_overtakes_nothing() -> Result<(), Failed> {
    killed("fjall").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_load_sled_loses_and_overtakes_nothing() -> Result<(), Failed> {
    killed("sled").await
}

async fn killed(storage: &str) -> Result<(), Failed> {
    let rounds = std::env::var("CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let (folder, receiver) = (TempDir::new()?, Receiver::start(Mood::Well).await?);
    let flags = ["--storage", storage];
    let mut daemon = Daemon::start(folder.path(), None, &flags).await?;
    let in_order = json!({ "ordering": "perKey", "retrySchedule": [0.1, 0.1, 0.1], "breaker": null });
    daemon.client().register(&receiver.url(), in_order).await?;

    // One publisher a key: what it publishes next was not published before the last one was acknowledged.
    let (client, is_over) = (daemon.client(), Shared::<bool>::default());
    let publish = |key: usize| {
        let (client, is_over) = (client.clone(), is_over.clone());
        tokio::spawn(async move {
            let mut acknowledged = 0;
            while !is_over.with(|over| *over) {
                let (key, number) = (format!("k{key}"), acknowledged);
                let payload = json!({ "key": key, "number": number });
                let event = json!({ "eventType": "t", "orderingKey": key, "payload": payload });
                client.publish_surely(&event, &format!("{key}-{number}")).await?;
                acknowledged += 1;
            }
            Ok::<u64, Failed>(acknowledged)
        })
    };
    let publishers: Vec<_> = (0..KEYS).map(publish).collect();
    for _ in 0..rounds {
        tokio::time::sleep(UP).await;
        let address = daemon.address;
        daemon.kill().await?;
        daemon = Daemon::start(folder.path(), Some(address), &flags).await?;
    }
    is_over.with(|over| *over = true);
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.push(publisher.await??);
    }
    let all: u64 = acknowledged.iter().sum();
    receiver.wait_for_events(usize::try_from(all)?).await?;
    let (keys, repeats) = receiver.by_key()?;
    for (key, acknowledged) in acknowledged.into_iter().enumerate() {
        let came = keys.get(&format!("k{key}")).cloned().unwrap_or_default();
        assert_eq!(came, (0..acknowledged).collect::<Vec<_>>(), "k{key}: what came, against what was acknowledged");
    }
    println!("{storage}: {rounds} kills, {all} events acknowledged, all came in order, {repeats} came again");
    daemon.stop().await?;
    Ok(())
}

/// Row 122: after trouble the queue had filled and was never drained.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_filled_up_drains_by_itself_after_a_kill() -> Result<(), Failed> {
    const EVENTS: usize = 300;
    let (folder, receiver) = (TempDir::new()?, Receiver::start(Mood::Hanging).await?);
    let daemon = Daemon::start(folder.path(), None, &[]).await?;
    let client = daemon.client();
    client.register(&receiver.url(), json!({ "retrySchedule": [0.1, 0.1, 0.1], "breaker": null })).await?;
    for number in 0..EVENTS {
        let event = json!({ "eventType": "t", "payload": { "key": "k", "number": number } });
        client.publish_surely(&event, &number.to_string()).await?;
    }
    receiver.wait_for_requests(16).await?;
    let address = daemon.address;
    daemon.kill().await?;
    receiver.set(Mood::Well);
    let daemon = Daemon::start(folder.path(), Some(address), &[]).await?;
    receiver.wait_for_events(EVENTS).await?;
    daemon.stop().await?;
    Ok(())
}
