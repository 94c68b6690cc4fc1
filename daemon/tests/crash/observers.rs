//! What looks at the daemon cannot stop it: whoever reads its output may leave, or stand still.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use crate::{
    Failed,
    daemon::{Daemon, PATIENCE},
    receiver::{Mood, Receiver},
};

/// Scrapes that are not read, and how many stand behind each other in one connection.
const SCRAPES: usize = 16;
const SCRAPES_BEHIND_EACH_OTHER: usize = 500;

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

// The line about a store that failed was what ended the process, with the store in the middle of it.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_its_output_closed_it_outlives_a_store_that_fails() -> Result<(), Failed> {
    let (folder, receiver) = (TempDir::new()?, Receiver::start(Mood::Well).await?);
    let (daemon, output) = Daemon::start_piped(folder.path(), "info", &[]).await?;
    drop(output);
    let client = daemon.client();
    client.register(&receiver.url(), json!({ "retrySchedule": [0.1, 0.1] })).await?;
    let event = |number: u64| json!({ "eventType": "t", "payload": { "key": "k", "number": number } });
    client.publish_surely(&event(0), "0").await?;
    receiver.wait_for_events(1).await?;

    daemon.let_write_files(false)?;
    let (status, answer) = client.post("/app/acme/msg", &event(1), Some("1")).await?;
    assert_eq!(status, 503, "{answer}");
    let lost = async || -> Result<u64, Failed> {
        let numbers = client.metrics().await?;
        let line = numbers.lines().find_map(|line| line.strip_prefix("postrider_log_lines_lost_total "));
        Ok(line.ok_or("lines that were lost are counted")?.parse()?)
    };
    let began = Instant::now();
    while lost().await? == 0 {
        assert!(began.elapsed() < PATIENCE, "it says nothing of a store that fails");
        sleep(Duration::from_millis(20)).await;
    }
    daemon.let_write_files(true)?;
    client.publish_surely(&event(1), "1").await?;
    receiver.wait_for_events(2).await?;
    daemon.stop().await?;
    Ok(())
}

// A scrape that is not read holds its connection, and no number, no other scrape and no delivery.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scrapes_that_are_not_read_stop_nothing() -> Result<(), Failed> {
    let (folder, receiver) = (TempDir::new()?, Receiver::start(Mood::Well).await?);
    let daemon = Daemon::start(folder.path(), None, &["--set", "grace_seconds=4"]).await?;
    let mut scrapes = Vec::new();
    for _ in 0..SCRAPES {
        let mut scrape = TcpStream::connect(daemon.address).await?;
        // More answers than all buffers between us hold.
        scrape
            .write_all("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(SCRAPES_BEHIND_EACH_OTHER).as_bytes())
            .await?;
        scrapes.push(scrape);
    }
    let client = daemon.client();
    client.register(&receiver.url(), json!({ "retrySchedule": [0.1, 0.1] })).await?;
    for number in 0..50 {
        let event = json!({ "eventType": "t", "payload": { "key": "k", "number": number } });
        client.publish_surely(&event, &number.to_string()).await?;
    }
    receiver.wait_for_events(50).await?;
    assert!(client.metrics().await?.contains("postrider_events_accepted_total 50"));
    daemon.stop().await?;
    drop(scrapes);
    Ok(())
}
