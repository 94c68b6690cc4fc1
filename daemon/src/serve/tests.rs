use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};

use super::{Api, reachable};

const PATIENCE: Duration = Duration::from_secs(20);

type Failed = Box<dyn std::error::Error>;

#[tokio::test]
async fn a_request_that_runs_when_the_api_stops_is_answered() -> Result<(), Failed> {
    let Running { api, mut client, address, go_on } = Running::start().await?;
    let stopping = tokio::spawn(api.stop(PATIENCE));
    timeout(PATIENCE, async { while TcpStream::connect(address).await.is_ok() {} }).await?;
    go_on.notify_one();
    let mut answer = String::new();
    timeout(PATIENCE, client.read_to_string(&mut answer)).await??;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
    timeout(PATIENCE, stopping).await??;
    Ok(())
}

#[tokio::test]
async fn a_request_that_does_not_end_does_not_hold_up_the_stop() -> Result<(), Failed> {
    let Running { api, client, address, go_on } = Running::start().await?;
    timeout(PATIENCE, api.stop(Duration::from_millis(10))).await?;
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    drop((client, go_on));
    Ok(())
}

#[test]
fn an_address_that_means_every_interface_is_reached_on_this_machine() -> Result<(), Failed> {
    for (listening, expected) in
        [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80")]
    {
        assert_eq!(reachable(listening.parse()?), expected.parse()?);
    }
    Ok(())
}

/// An API with one request that has begun, and ends when told.
struct Running {
    api: Api,
    client: TcpStream,
    address: SocketAddr,
    go_on: Arc<Notify>,
}

impl Running {
    async fn start() -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
            async move || {
                begun.notify_one();
                go_on.notified().await;
                "done"
            }
        };
        let api = Api::start(listener, Router::new().route("/", get(slow)));
        let mut client = TcpStream::connect(address).await?;
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        timeout(PATIENCE, begun.notified()).await?;
        Ok(Self { api, client, address, go_on })
    }
}
