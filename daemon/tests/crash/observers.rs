//! What looks at the daemon cannot stop it: whoever reads its output may leave, or stand still.

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    Failed,
    daemon::Daemon,
    receiver::{Mood, Receiver},
};

// `postrider serve 2>&1 | head`: the next line of the log ended the process, and what was in flight was sent twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_its_output_closed_it_serves_and_stops_without_sending_anything_twice() -> Result<(), Failed> {
    let (folder, receiver) = (TempDir::new()?, Receiver::start(Mood::Hanging).await?);
    let (daemon, output) = Daemon::start_piped(folder.path(), "debug", &[]).await?;
    drop(output);
    let client = daemon.client();
    client.register(&receiver.url(), json!({ "retrySchedule": [0.1, 0.1] })).await?;
    let event = |number: u64| json!({ "eventType": "t", "payload": { "key": "k", "number": number } });
    client.publish_surely(&event(0), "0").await?;
    receiver.wait_for_requests(1).await?;
    daemon.signal(Signal::TERM)?;
    receiver.set(Mood::Well);
    daemon.ended().await?;

    let daemon = Daemon::start(folder.path(), None, &[]).await?;
    daemon.client().publish_surely(&event(1), "1").await?;
    receiver.wait_for_events(2).await?;
    daemon.stop().await?;
    let (keys, repeats) = receiver.by_key()?;
    assert_eq!((keys["k"].as_slice(), repeats), (&[0, 1][..], 0));
    Ok(())
}

// Whoever wrote a line waited for ever once the pipe was full: after some hundred requests nothing was answered any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_its_output_full_it_serves_and_stops() -> Result<(), Failed> {
    let (folder, receiver) = (TempDir::new()?, Receiver::start(Mood::Well).await?);
    let (daemon, output) = Daemon::start_piped(folder.path(), "trace", &[]).await?;
    let client = daemon.client();
    client.register(&receiver.url(), json!({ "retrySchedule": [0.1, 0.1] })).await?;
    let event = |number: u64| json!({ "eventType": "t", "payload": { "key": "k", "number": number } });
    for number in 0..300 {
        client.publish_surely(&event(number), &number.to_string()).await?;
    }
    receiver.wait_for_events(300).await?;
    daemon.stop().await?;
    drop(output);
    Ok(())
}
