//! A receiver of webhooks that behaves, or misbehaves, as the path says, and remembers what came.
//!
//! It speaks HTTP/1.1 by hand over a socket, so that it can do what no server library would, and so that it sees the
//! bytes as they were sent. The paths are listed at [`Behaviour`](behaviour::Behaviour).
//!
//! ```
//! # async fn example() -> std::io::Result<()> {
//! use postrider_tests::Receiver;
//!
//! let receiver = Receiver::start().await?;
//! let url = receiver.url("/script?do=/503&do=/ok");
//! // ... have something sent there twice ...
//! let requests = receiver.wait_for(2).await;
//! assert_eq!(requests[0].body, requests[1].body);
//! # Ok(())
//! # }
//! ```

pub mod behaviour;
mod connection;
mod log;
mod request;
mod seen;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

pub use self::request::ReceivedRequest;
use self::{connection::Connection, log::RequestLog, seen::Seen};
use crate::tls::TlsSettings;

/// How long [`Receiver::wait_for`] and [`Receiver::wait_until`] wait, in real time.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A running receiver. It stops, and breaks its connections, soon after it is dropped, or at once by [`Receiver::stop`].
#[derive(Debug)]
pub struct Receiver {
    seen: Arc<Seen>,
    addresses: Vec<SocketAddr>,
    scheme: &'static str,
    listeners: JoinSet<()>,
}

/// Puts a [`Receiver`] together.
#[derive(Debug, Default)]
#[must_use]
pub struct ReceiverBuilder {
    addresses: Vec<SocketAddr>,
    tls: Option<TlsSettings>,
    log: Option<PathBuf>,
    forget: bool,
}

impl Receiver {
    /// A receiver at a free port of 127.0.0.1.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Address, TLS and log can be chosen here.
    pub fn builder() -> ReceiverBuilder {
        ReceiverBuilder::default()
    }

    /// Stops, and breaks its connections. When this returns the address is free, and connecting to it is refused.
    pub async fn stop(mut self) {
        self.listeners.shutdown().await;
    }

    /// The URL of `path` (which may have a query) at the first address.
    pub fn url(&self, path: &str) -> String {
        self.url_at(0, path)
    }

    /// The URL of `path` at one of the addresses, in the order they were bound.
    ///
    /// # Panics
    /// If there are not so many addresses.
    pub fn url_at(&self, index: usize, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.addresses[index])
    }

    /// The URL of `path` under another host name: for TLS, and for resolvers of a test's own.
    pub fn url_as(&self, host: &str, path: &str) -> String {
        format!("{}://{host}:{}{path}", self.scheme, self.addresses[0].port())
    }

    /// The first address.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Everything that came, in the order in which it was wholly there.
    pub fn requests(&self) -> Vec<Arc<ReceivedRequest>> {
        self.seen.requests()
    }

    /// What came to `path`, whatever the query.
    pub fn requests_to(&self, path: &str) -> Vec<Arc<ReceivedRequest>> {
        self.requests().into_iter().filter(|request| request.path() == path).collect()
    }

    /// Waits until at least `n` requests came, and gives them all.
    ///
    /// # Panics
    /// After [`DEADLINE`], with what came.
    pub async fn wait_for(&self, n: usize) -> Vec<Arc<ReceivedRequest>> {
        self.wait(&format!("{n} requests"), |requests| requests.len() >= n).await
    }

    /// Waits until `enough` says so, and gives what came by then.
    ///
    /// # Panics
    /// After [`DEADLINE`], with what came.
    pub async fn wait_until(&self, enough: impl FnMut(&[Arc<ReceivedRequest>]) -> bool) -> Vec<Arc<ReceivedRequest>> {
        self.wait("what the test waits for", enough).await
    }

    /// The most requests that were being answered at once.
    pub fn in_flight_max(&self) -> usize {
        self.seen.in_flight_max()
    }

    /// Requests being answered now.
    pub fn in_flight(&self) -> usize {
        self.seen.in_flight()
    }

    /// Connections accepted so far, those whose TLS handshake failed included.
    pub fn connections(&self) -> usize {
        self.seen.connections()
    }

    /// What came and was no HTTP request: its first bytes, one entry a connection.
    pub fn unreadable(&self) -> Vec<Vec<u8>> {
        self.seen.unreadable()
    }

    /// Forgets what came. The counters of scripts go on.
    pub fn clear(&self) {
        self.seen.clear();
    }

    async fn wait(
        &self,
        what: &str,
        mut enough: impl FnMut(&[Arc<ReceivedRequest>]) -> bool,
    ) -> Vec<Arc<ReceivedRequest>> {
        let mut changes = self.seen.changes();
        let waiting = async {
            loop {
                let requests = self.requests();
                // A change between these two lines is noticed: the receiver of changes is older than the look.
                if enough(&requests) || changes.changed().await.is_err() {
                    return requests;
                }
            }
        };
        match timeout(DEADLINE, waiting).await {
            Ok(requests) => requests,
            Err(_elapsed) => {
                let came: Vec<_> = self.requests().iter().map(ToString::to_string).collect();
                panic!("no {what} within {DEADLINE:?}, but {} requests:\n{}", came.len(), came.join("\n"))
            }
        }
    }
}

/// An address of 127.0.0.1 where nobody listens, until somebody binds it.
pub fn unused_address() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

impl ReceiverBuilder {
    /// Listens here too. Port 0 is a free one: the same for all addresses that give it after the first.
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Speaks TLS.
    pub fn tls(self, settings: TlsSettings) -> Self {
        Self { tls: Some(settings), ..self }
    }

    /// Writes a line about each request to this file (see [`ReceivedRequest::log_line`]), at once.
    pub fn log(self, path: impl Into<PathBuf>) -> Self {
        Self { log: Some(path.into()), ..self }
    }

    /// Keeps nothing in memory; for long runs that read the log.
    pub fn forget(self) -> Self {
        Self { forget: true, ..self }
    }

    /// Binds and starts.
    pub async fn start(self) -> io::Result<Receiver> {
        let log = self.log.map(|path| RequestLog::open(&path)).transpose()?;
        let seen = Arc::new(Seen::new(log, self.forget));
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let acceptor = self.tls.map(|settings| settings.acceptor()).transpose()?;
        let mut wanted = self.addresses;
        if wanted.is_empty() {
            wanted.push(SocketAddr::from(([127, 0, 0, 1], 0)));
        }
        let (mut addresses, mut listeners) = (Vec::new(), JoinSet::new());
        for mut address in wanted {
            if let (0, Some(first)) = (address.port(), addresses.first().map(SocketAddr::port)) {
                address.set_port(first);
            }
            let listener = TcpListener::bind(address).await?;
            addresses.push(listener.local_addr()?);
            listeners.spawn(accept(listener, acceptor.clone(), Arc::clone(&seen)));
        }
        Ok(Receiver { seen, addresses, scheme, listeners })
    }
}

static NEXT_CONNECTION: AtomicUsize = AtomicUsize::new(1);

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    // Holds the connections, so that they break when the receiver is dropped.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of descriptors, say: what is open goes on.
                let Ok((stream, _peer)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                seen.connected();
                connections.spawn(serve(stream, tls.clone(), Arc::clone(&seen)));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    let number = NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed);
    let (Ok(local), Ok(())) = (stream.local_addr(), stream.set_nodelay(true)) else { return };
    // What breaks a connection is the peer's affair; the test looks at what came.
    let _broke_off = match tls {
        None => Connection::new(stream, number, local, seen).serve().await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => Connection::new(stream, number, local, seen).serve().await,
            Err(error) => Err(error),
        },
    };
}
