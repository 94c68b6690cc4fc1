//! The power goes while the daemon serves: whatever it answered 202 to is there at the next start, and arrives in order.

use std::{collections::BTreeMap, path::Path};

use postrider_storage::testing::{
    Dice,
    power::{Cut, Model, Recorder, Recording},
};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    Failed,
    daemon::{Client, Daemon},
    receiver::{Mood, Receiver},
};

/// Images of each model, unless `POSTRIDER_POWER_IMAGES` says more.
const IMAGES: u32 = 3;
const KEYS: usize = 3;
const EVENTS: usize = 25;
const FLAGS: [&str; 4] = ["--set", "grace_seconds=1", "--set", "drain_seconds=0"];

/// Of each event that was acknowledged, by its id: its key, and its number there.
type Acknowledged = BTreeMap<String, (String, u64)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_whatever_was_answered_202_is_there_and_arrives_in_order() -> Result<(), Failed> {
    if !Recorder::is_there() {
        println!("NOT RUN: install strace to record what a power cut could take");
        return Ok(());
    }
    let (mut dice, _) = Dice::seeded();
    let images = std::env::var("POSTRIDER_POWER_IMAGES").ok().and_then(|images| images.parse().ok()).unwrap_or(IMAGES);
    // One endpoint takes nothing while it is recorded, and all from what is left; the other one takes all at once.
    let [behind, ahead] = [Receiver::start(Mood::Hanging).await?, Receiver::start(Mood::Well).await?];
    let folder = TempDir::new()?;
    let (recording, events) = record(folder.path(), &behind, &ahead).await?;
    behind.set(Mood::Well);
    for model in Model::HONEST {
        for cut in recording.cuts(model, images, &mut dice) {
            let cut = cut?;
            let (calls, acknowledged) = (cut.calls, cut.acknowledged.len());
            check(cut, &events, &behind).await.map_err(|error| format!("{model:?}, after {calls} calls: {error}"))?;
            println!("{model:?}, after {calls} calls: {acknowledged} events were acknowledged, and are there");
        }
    }
    // A disk that counts no sync loses, or this tests nothing.
    for cut in recording.cuts(Model::LYING, images.max(20), &mut dice) {
        if check(cut?, &events, &behind).await.is_err() {
            return Ok(());
        }
    }
    Err("a disk that counts no sync loses".into())
}

/// A daemon that takes events from its first start until it is stopped.
async fn record(folder: &Path, behind: &Receiver, ahead: &Receiver) -> Result<(Recording, Acknowledged), Failed> {
    let recorder = Recorder::new(folder)?;
    let daemon = Daemon::start_recorded(folder, &recorder, &FLAGS).await?;
    let client = daemon.client();
    client.register(&behind.url(), json!({ "ordering": "perKey", "breaker": null })).await?;
    let other = client.post("/app/acme/endpoint", &json!({ "url": ahead.url(), "uid": "other" }), None).await?;
    assert_eq!(other.0, 201, "{}", other.1);
    let publish = |key: usize| {
        let client = client.clone();
        tokio::spawn(async move { publish(&client, &format!("k{key}")).await })
    };
    let mut events = Acknowledged::new();
    for publisher in (0..KEYS).map(publish).collect::<Vec<_>>() {
        events.extend(publisher.await??);
    }
    ahead.wait_for_events(events.len()).await?;
    daemon.stop().await?;
    let recording = recorder.finish(ids)?;
    let (mut dice, all) = (Dice::new(1), recording.calls());
    let said = recording.cut_after(all, Model::HONEST[0], &mut dice)?.acknowledged;
    assert_eq!((said.len(), events.len()), (KEYS * EVENTS, KEYS * EVENTS));
    assert!(said.iter().all(|id| events.contains_key(id)), "what was recorded is what the clients heard");
    Ok((recording, events))
}

async fn publish(client: &Client, key: &str) -> Result<Acknowledged, Failed> {
    let mut events = Acknowledged::new();
    for number in 0..EVENTS as u64 {
        let payload = json!({ "key": key, "number": number, "more": "x".repeat(number as usize * 97) });
        let event = json!({ "eventType": "t", "orderingKey": key, "payload": payload });
        let (status, answer) = client.post("/app/acme/msg", &event, None).await?;
        assert_eq!(status, 202, "{answer}");
        events.insert(answer["id"].as_str().unwrap_or_default().to_owned(), (key.to_owned(), number));
    }
    Ok(events)
}

/// The ids of events in answers that say 202.
fn ids(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let id = |answer: &str| answer.split(r#""id":""#).nth(1)?.split('"').next().map(ToOwned::to_owned);
    text.split("HTTP/1.1 ")
        .filter(|answer| answer.starts_with("202 "))
        .map(|answer| id(answer).unwrap_or_default())
        .collect()
}

/// What the cut left is served: it has each acknowledged event, and each arrives, in the order of its key.
async fn check(cut: Cut, events: &Acknowledged, behind: &Receiver) -> Result<(), Failed> {
    behind.forget();
    let daemon = Daemon::start(cut.image.path(), None, &FLAGS).await?;
    let (client, mut lengths) = (daemon.client(), BTreeMap::<_, u64>::new());
    for id in &cut.acknowledged {
        let (key, number) = events.get(id).ok_or("it was published")?;
        let event = client.get(&format!("/app/acme/msg/{id}")).await?;
        if (event["payload"]["key"].as_str(), event["payload"]["number"].as_u64()) != (Some(key), Some(*number)) {
            return Err(format!("{key} {number} is lost: {event}").into());
        }
        let length = lengths.entry(key.clone()).or_default();
        *length = (*length).max(number + 1);
    }
    behind.wait_for_events(cut.acknowledged.len()).await?;
    let (keys, _) = behind.by_key()?;
    daemon.stop().await?;
    for (key, length) in lengths {
        let came = keys.get(&key).cloned().unwrap_or_default();
        // What was on its way to be acknowledged may be there as well.
        if !came.iter().copied().eq(0..came.len() as u64) || (came.len() as u64) < length {
            return Err(format!("{key}: {came:?} came, and {length} were acknowledged").into());
        }
    }
    Ok(())
}
