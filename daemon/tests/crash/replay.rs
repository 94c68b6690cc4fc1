//! A task that replays what an endpoint missed, killed in its middle: it goes on where it was.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Failed,
    daemon::{Client, Daemon},
    receiver::{Mood, Receiver},
};

const KEYS: u64 = 8;
const KILLS: usize = 3;
/// Messages in one request.
const BATCH: u64 = 1_000;

/// `CRASH_REPLAYED` messages, 6,000 unless given, each at least once, in the order of its key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_is_killed_goes_on_where_it_was() -> Result<(), Failed> {
    let all: u64 = std::env::var("CRASH_REPLAYED").ok().and_then(|text| text.parse().ok()).unwrap_or(6_000);
    let (folder, receiver) = (TempDir::new()?, Receiver::start(Mood::Well).await?);
    let mut daemon = Daemon::start(folder.path(), None, &[]).await?;
    let client = daemon.client();
    let app = client.post("/app", &json!({ "name": "Acme", "uid": "acme" }), None).await?;
    assert_eq!(app.0, 201, "{}", app.1);
    let first = publish(&client, all).await?;
    let hook = json!({ "url": receiver.url(), "uid": "hook", "delivery": { "ordering": "perKey", "breaker": null } });
    let made = client.post("/app/acme/endpoint", &hook, None).await?;
    assert_eq!(made.0, 201, "{}", made.1);
    let task = client.post("/app/acme/endpoint/hook/replay-missing", &json!({ "since": first }), None).await?;
    assert_eq!(task.0, 202, "{}", task.1);
    for kill in 1..=KILLS {
        // Some of it is done, and not all.
        receiver.wait_for_events(usize::try_from(all)? * kill / (KILLS + 2)).await?;
        let address = daemon.address;
        daemon.kill().await?;
        daemon = Daemon::start(folder.path(), Some(address), &[]).await?;
    }
    receiver.wait_for_events(usize::try_from(all)?).await?;
    let client = daemon.client();
    let path = format!("/background-task/{}", task.1["id"].as_str().unwrap_or_default());
    let ended = loop {
        let task = client.get(&path).await?;
        if task["status"] != "running" {
            break task;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((&ended["status"], &ended["data"]["done"]), (&json!("finished"), &json!(all)), "{ended}");
    let (keys, repeats) = receiver.by_key()?;
    for key in 0..KEYS {
        let came = keys.get(&format!("k{key}")).cloned().unwrap_or_default();
        assert_eq!(came, (0..all / KEYS).collect::<Vec<_>>(), "k{key}");
    }
    println!("{KILLS} kills, {all} messages replayed, all came in the order of their keys, {repeats} came again");
    daemon.stop().await?;
    Ok(())
}

/// For nobody yet; says when the first one was accepted.
async fn publish(client: &Client, all: u64) -> Result<Value, Failed> {
    let mut first = Value::Null;
    for batch in 0..all.div_ceil(BATCH) {
        let numbers = batch * BATCH..all.min((batch + 1) * BATCH);
        let message = |number: u64| {
            let key = format!("k{}", number % KEYS);
            let payload = json!({ "key": key, "number": number / KEYS });
            json!({ "eventType": "t", "orderingKey": key, "payload": payload })
        };
        let batch: Value = numbers.map(message).collect();
        let answer = client.post("/app/acme/msg/batch", &batch, None).await?;
        assert_eq!(answer.0, 202, "{}", answer.1);
        if first.is_null() {
            first = answer.1[0]["timestamp"].clone();
        }
    }
    Ok(first)
}
