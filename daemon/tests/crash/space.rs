//! A disk without room.

use serde_json::json;
use tempfile::TempDir;

use crate::{
    Failed,
    daemon::Daemon,
    receiver::{Mood, Receiver},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_mark_of_free_space_events_are_refused_and_deliveries_go_on() -> Result<(), Failed> {
    let (folder, receiver) = (TempDir::new()?, Receiver::start(Mood::Hanging).await?);
    let daemon = Daemon::start(folder.path(), None, &[]).await?;
    let client = daemon.client();
    client.register(&receiver.url(), json!({ "retrySchedule": [0.1, 0.1] })).await?;
    let event = |number: u64| json!({ "eventType": "t", "payload": { "key": "k", "number": number } });
    client.publish_surely(&event(0), "0").await?;
    receiver.wait_for_requests(1).await?;
    let address = daemon.address;
    daemon.kill().await?;

    // No disk has that much.
    let flags = ["--set", "limits.min_free_bytes=1000000000000000"];
    let daemon = Daemon::start(folder.path(), Some(address), &flags).await?;
    let client = daemon.client();
    let (status, answer) = client.post("/app/acme/msg", &event(1), Some("1")).await?;
    assert_eq!((status, &answer["code"]), (503, &json!("unavailable")), "{answer}");
    receiver.set(Mood::Well);
    receiver.wait_for_events(1).await?;
    daemon.stop().await?;

    let daemon = Daemon::start(folder.path(), Some(address), &[]).await?;
    daemon.client().publish_surely(&event(1), "1").await?;
    receiver.wait_for_events(2).await?;
    assert_eq!(receiver.by_key()?.0["k"], [0, 1]);
    daemon.stop().await?;
    Ok(())
}
