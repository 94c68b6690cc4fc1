//! Clients that are busy while the daemon is stopped, as behind a load balancer.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    Failed,
    daemon::{Daemon, PATIENCE},
};

const CLIENTS: usize = 24;
/// Between two requests of a client: its connection rests most of the time.
const REST: Duration = Duration::from_millis(10);

/// A connection that is used for one request after another. Nothing hides what breaks on it.
struct Connection {
    stream: BufReader<TcpStream>,
}

/// The head of an answer without a body.
struct Head {
    status: u16,
    asks_to_leave: bool,
}

impl Connection {
    async fn to(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(TcpStream::connect(address).await?) })
    }

    async fn ask(&mut self, method: &str, path: &str) -> io::Result<Head> {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        let (mut lines, mut line) = (Vec::new(), String::new());
        while line != "\r\n" {
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"));
            }
            lines.push(line.trim_end().to_ascii_lowercase());
        }
        let status = lines[0].split(' ').nth(1).and_then(|status| status.parse().ok());
        let asks_to_leave = lines.iter().any(|line| line == "connection: close");
        Ok(Head { status: status.ok_or(io::ErrorKind::InvalidData)?, asks_to_leave })
    }

    /// Whether the other side closes it, with nothing more to say.
    async fn ends(mut self) -> io::Result<bool> {
        Ok(self.stream.read(&mut [0]).await? == 0)
    }
}

/// Asks until it is asked to leave.
async fn busy(address: SocketAddr, answered: watch::Sender<usize>) -> io::Result<()> {
    let mut connection = Connection::to(address).await?;
    for count in 0.. {
        let head = connection.ask("GET", "/api/v1/health/ping").await?;
        assert_eq!(head.status, 204, "also while it drains");
        if count == 0 {
            answered.send_modify(|clients| *clients += 1);
        }
        if head.asks_to_leave {
            assert!(connection.ends().await?);
            return Ok(());
        }
        sleep(REST).await;
    }
    Ok(())
}

// The port was closed at once and resting connections with it: of 24 busy clients some wrote their next request to a
// connection that was being closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_clients_are_asked_to_leave_before_anything_is_closed() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let daemon = Daemon::start(folder.path(), None, &["--set", "drain_seconds=3"]).await?;
    let address = daemon.address;
    let answered = watch::Sender::new(0);
    let mut clients_answered = answered.subscribe();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(busy(address, answered.clone()));
    }
    timeout(PATIENCE, clients_answered.wait_for(|clients| *clients == CLIENTS)).await??;
    assert_eq!(Connection::to(address).await?.ask("HEAD", "/api/v1/health").await?.status, 200);
    daemon.signal(Signal::TERM)?;
    let began = Instant::now();
    // A load balancer that looks at any moment is told before the port is closed.
    while Connection::to(address).await?.ask("HEAD", "/api/v1/health").await?.status == 200 {
        assert!(began.elapsed() < PATIENCE);
        sleep(REST).await;
    }
    while let Some(client) = timeout(PATIENCE, clients.join_next()).await? {
        client??;
    }
    daemon.ended().await?;
    assert!(Connection::to(address).await.is_err());
    Ok(())
}
