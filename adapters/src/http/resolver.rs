//! Checks every address of a name before anything connects to it.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::client::legacy::connect::dns::Name;
use postrider::{TargetRefused, TargetRules};
use tokio::time::timeout;
use tower_service::Service;

use super::{Lookup, LookupError};

/// The resolver of the client. Only addresses that are allowed leave it.
#[derive(Clone, Debug)]
pub(super) struct CheckedResolver {
    targets: Arc<TargetRules>,
    lookup: Arc<dyn Lookup>,
    time: Duration,
}

/// Why a name gave no address to connect to.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("{why} ({name} points there)")]
    Blocked { name: String, why: TargetRefused },
    #[error("{name} does not exist, or has no address")]
    NotFound {
        name: String,
        #[source]
        why: Option<LookupError>,
    },
    #[error("no name server answered for {name}")]
    Unavailable {
        name: String,
        #[source]
        why: LookupError,
    },
    #[error("no name server answered for {name} within {} s", time.as_secs_f32())]
    TooSlow { name: String, time: Duration },
    #[error("this machine has no route to {name}")]
    NoRoute { name: String },
}

impl CheckedResolver {
    pub(super) fn new(targets: TargetRules, lookup: Arc<dyn Lookup>, time: Duration) -> Self {
        Self { targets: Arc::new(targets), lookup, time }
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let owned = || name.to_owned();
        let found = match timeout(self.time, self.lookup.lookup(name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(why @ LookupError::NotFound(_))) => {
                return Err(ResolveError::NotFound { name: owned(), why: Some(why) });
            }
            Ok(Err(why @ LookupError::Unavailable(_))) => return Err(ResolveError::Unavailable { name: owned(), why }),
            Err(_elapsed) => return Err(ResolveError::TooSlow { name: owned(), time: self.time }),
        };
        let (mut allowed, mut blocked) = (Vec::with_capacity(found.len()), None);
        for address in found {
            match self.targets.check_address(address) {
                Ok(()) => allowed.push(address),
                Err(why) => blocked = blocked.or(Some(why)),
            }
        }
        match blocked {
            Some(why) if allowed.is_empty() => Err(ResolveError::Blocked { name: owned(), why }),
            None if allowed.is_empty() => Err(ResolveError::NotFound { name: owned(), why: None }),
            Some(_) | None => with_route(allowed, has_route).ok_or_else(|| ResolveError::NoRoute { name: owned() }),
        }
    }
}

impl Service<Name> for CheckedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ResolveError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str()).await?;
            // The client puts in the port.
            let addresses: Vec<_> = addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(addresses.into_iter())
        })
    }
}

/// Those that this machine has a route to, if there are both kinds. Otherwise a machine without IPv6 would be blamed
/// when the IPv4 address refuses: of two families the error of the last one tried is told.
fn with_route(mut addresses: Vec<IpAddr>, has_route: impl Fn(IpAddr) -> bool) -> Option<Vec<IpAddr>> {
    if addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6) {
        addresses.retain(|address| has_route(*address));
    }
    if addresses.is_empty() { None } else { Some(addresses) }
}

/// Connecting a datagram socket sends nothing; it only asks the routing table.
fn has_route(address: IpAddr) -> bool {
    let any = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((address, 9))).is_ok()
}

#[cfg(test)]
mod tests;
