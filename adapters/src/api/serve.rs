//! The listener of the API: bounded in connections and in the patience it has with them.
//!
//! Whatever may take its time, a handshake or a request, happens in a task of its connection, and none of it in the
//! loop that accepts: a client that stands still holds its own place and nothing else.

mod connection;
mod room;
mod taking;
mod tls;

use std::{
    convert::Infallible,
    future::{Future, pending},
    io,
    net::SocketAddr,
    pin::pin,
    time::Duration,
};

use axum::{Extension, Router};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tracing::{debug, error, warn};

pub use self::tls::{Tls, TlsError};
use self::{
    connection::Protocols,
    room::{Place, Places, Room},
};
use super::origin::Encrypted;

/// Connections at once. One more takes the place of the one that is silent for longest, or waits if none is.
const CONNECTIONS_MAX: usize = 10_000;
/// The same of one address: a proxy may bring the requests of many, and leaves room for another one.
const CONNECTIONS_OF_ADDRESS_MAX: usize = CONNECTIONS_MAX / 2;
/// From the accepted connection to its first byte.
const FIRST_BYTE_WITHIN: Duration = Duration::from_secs(10);
/// After the operating system refused a connection, for want of descriptors most likely.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);
/// From the accepted connection to the end of its TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

const PLACES: Places = Places { in_all: CONNECTIONS_MAX, of_address: CONNECTIONS_OF_ADDRESS_MAX };

/// Where requests come in: in the clear, or with TLS.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Tls>,
}

impl Listener {
    /// Speaks TLS, and nothing else.
    pub const fn with_tls(tcp: TcpListener, tls: Tls) -> Self {
        Self { tcp, tls: Some(tls) }
    }

    /// A connection, once there is room for it.
    async fn accept(&self, room: &Room) -> io::Result<Accepted> {
        loop {
            let (stream, peer) = self.tcp.accept().await?;
            if let Some(place) = room.enter(peer.ip()).await {
                return Ok(Accepted { stream, peer, place });
            }
            debug!(%peer, "connection is refused: its address has as many as it may");
        }
    }

    /// Serves certificates as they change, for as long as it is waited for.
    async fn renew(tls: Option<&Tls>) -> Infallible {
        match tls {
            Some(tls) => tls.renew().await,
            None => pending().await,
        }
    }
}

/// In the clear.
impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None }
    }
}

/// A connection, and the place that it takes.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
}

/// Serves `router` on `listener` over HTTP/1.1 and HTTP/2 until `stop` is ready; then takes no more connections, and
/// returns when the requests that run have been answered. Connections are cut off when it is dropped.
///
/// A connection is closed that sends nothing for 10 s at first, no whole head within 30 s, or no request for a minute; that
/// takes less of an answer than 256 KiB a second, after half a minute; or when its place is needed and it is silent for
/// longest.
///
/// # Errors
/// None at the moment: whoever cannot be accepted is logged, and others are.
pub async fn serve(listener: impl Into<Listener>, router: Router, stop: impl Future<Output = ()>) -> io::Result<()> {
    serve_in(PLACES, listener.into(), router, stop).await
}

async fn serve_in(
    places: Places,
    listener: Listener,
    router: Router,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = if listener.tls.is_some() { router.layer(Extension(Encrypted)) } else { router };
    let (protocols, room) = (Protocols::new(), Room::new(places));
    let (stopping, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    {
        let (mut stop, mut renewing) = (pin!(stop), pin!(Listener::renew(listener.tls.as_ref())));
        // Kept while others end: who waits for a place has been accepted already, and would be cut off.
        let mut accepting = pin!(listener.accept(&room));
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                never = &mut renewing => match never {},
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                accepted = &mut accepting => {
                    accepting.set(listener.accept(&room));
                    accepted
                }
            };
            match accepted {
                Ok(accepted) => {
                    let tls = listener.tls.clone();
                    connections.spawn(converse(accepted, tls, protocols.clone(), router.clone(), stopped.clone()));
                }
                Err(error) => {
                    warn!(%error, "could not accept a connection");
                    sleep(AFTER_REFUSAL).await;
                }
            }
        }
    }
    drop((listener, stopped));
    stopping.send_replace(());
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
    Ok(())
}

/// From the handshake to the end.
async fn converse(
    accepted: Accepted,
    tls: Option<Tls>,
    protocols: Protocols,
    router: Router,
    mut stop: watch::Receiver<()>,
) {
    let Accepted { stream, peer, place } = accepted;
    let _slower_without = stream.set_nodelay(true);
    let mut first = [0];
    let begun = tokio::select! {
        begun = timeout(FIRST_BYTE_WITHIN, stream.peek(&mut first)) => matches!(begun, Ok(Ok(1..))),
        () = place.is_needed() => false,
        _ = stop.changed() => false,
    };
    if !begun {
        return;
    }
    let ended = match tls {
        None => protocols.converse(stream, place.into(), router, stop).await,
        Some(tls) => {
            let shaken = tokio::select! {
                shaken = timeout(HANDSHAKE_WITHIN, tls.accept(stream)) => shaken,
                () = place.is_needed() => return,
                _ = stop.changed() => return,
            };
            match shaken.map_err(io::Error::from).and_then(|shaken| shaken) {
                Ok(stream) => protocols.converse(stream, place.into(), router, stop).await,
                Err(error) => Err(error.into()),
            }
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "connection to the api ended");
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a connection to the api ended by a fault of ours");
    }
}

#[cfg(test)]
mod tests;
