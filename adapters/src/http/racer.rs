//! Connects to whichever address of a name answers, within one time for all of them.
//!
//! As RFC 8305 has it: the addresses are tried in the order in which they were resolved, the two families in turn, each
//! a little after the one before, or at once if that one failed; the first connection that is made is used. So an
//! address where nothing answers costs a quarter of a second, and not the time for connecting.

use std::{
    error::Error,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{net::TcpStream, task::JoinSet, time::sleep};
use tower_service::Service;

use super::{lookups::Asker, resolver::CheckedResolver, transport::asker};

/// After this long without an answer the next address is tried too.
const NEXT_AFTER: Duration = Duration::from_millis(250);
/// Asks now and then whether a connection that rests is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type BoxError = Box<dyn Error + Send + Sync>;
type Connected = TokioIo<TcpStream>;

/// Makes the connections below TLS.
#[derive(Clone)]
pub(super) struct Racer {
    /// Connects to one address.
    tcp: HttpConnector,
    resolver: CheckedResolver,
}

impl Racer {
    pub(super) fn new(resolver: CheckedResolver) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        Self { tcp, resolver }
    }

    async fn connect(mut self, to: Uri, name: Name, asker: Asker) -> Result<Connected, BoxError> {
        let Name::Resolved(name) = name else { return Ok(self.tcp.call(to).await?) };
        let addresses = self.resolver.addresses(&name, asker).await?;
        let attempts = in_turn(addresses).into_iter().filter_map(|address| {
            let (mut tcp, to) = (self.tcp.clone(), at(&to, address)?);
            Some(async move { tcp.call(to).await.map_err(BoxError::from) })
        });
        first_of(attempts, NEXT_AFTER).await.unwrap_or_else(|| Err("no address can be connected to".into()))
    }
}

impl Service<Uri> for Racer {
    type Response = Connected;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Connected, BoxError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let host = to.host().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = if bare.parse::<IpAddr>().is_ok() { Name::Address } else { Name::Resolved(host.into()) };
        // Asked now: the future may be run by another task than that of the request.
        Box::pin(self.clone().connect(to, name, asker()))
    }
}

/// What stands in a URL as its host.
enum Name {
    /// Checked with the URL.
    Address,
    Resolved(Box<str>),
}

/// The same port at this address.
fn at(to: &Uri, address: IpAddr) -> Option<Uri> {
    let port = to.port_u16().unwrap_or(if to.scheme_str() == Some("https") { 443 } else { 80 });
    let authority = SocketAddr::new(address, port).to_string();
    Uri::builder().scheme(to.scheme_str()?).authority(authority).path_and_query("/").build().ok()
}

/// One of each family after the other, beginning with the first.
fn in_turn(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let Some(begins_with_v6) = addresses.first().map(IpAddr::is_ipv6) else { return addresses };
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == begins_with_v6);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut ordered = Vec::new();
    loop {
        let (next, after) = (one.next(), other.next());
        if next.is_none() && after.is_none() {
            return ordered;
        }
        ordered.extend(next.into_iter().chain(after));
    }
}

/// The first success; the last failure if there is none, and nothing if there is nothing to try. Each attempt begins
/// `next_after` the one before, or when one has failed. The others are dropped.
async fn first_of<T, F>(mut attempts: impl Iterator<Item = F>, next_after: Duration) -> Option<Result<T, BoxError>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, BoxError>> + Send + 'static,
{
    let (mut running, mut failure) = (JoinSet::new(), None);
    let mut next = attempts.next();
    loop {
        if let Some(attempt) = next.take() {
            running.spawn(attempt);
            next = attempts.next();
        }
        tokio::select! {
            ended = running.join_next() => match ended {
                Some(Ok(Ok(made))) => return Some(Ok(made)),
                Some(Ok(Err(error))) => failure = Some(Err(error)),
                Some(Err(panicked)) => failure = Some(Err(panicked.into())),
                None => return failure,
            },
            () = sleep(next_after), if next.is_some() => {}
        }
    }
}

#[cfg(test)]
mod tests;
