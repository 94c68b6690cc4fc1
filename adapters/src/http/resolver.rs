//! Checks every address of a name before anything connects to it.
//!
//! A name whose addresses may not be called is told and treated as one that does not exist: whoever may add endpoints must
//! not learn from attempts which names there are in the network behind us. The log has the truth.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use postrider::TargetRules;
use tokio::time::timeout;
use tracing::debug;

use super::{
    Lookup, LookupError,
    lookups::{Asker, Lookups, Whose},
};

/// Resolves names. Only addresses that are allowed leave it.
#[derive(Clone, Debug)]
pub(super) struct CheckedResolver {
    targets: Arc<TargetRules>,
    lookups: Lookups,
    time: Duration,
}

/// Why a name gave no address to connect to.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("{name} does not exist, or has no address that may be called")]
    NotFound {
        name: String,
        #[source]
        why: Option<LookupError>,
    },
    #[error("the name servers of {name} do not answer, while those of others do")]
    Silent { name: String },
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
        Self { targets: Arc::new(targets), lookups: Lookups::new(lookup), time }
    }

    /// Those addresses of `name` that may be connected to.
    pub(super) async fn addresses(&self, name: &str, asker: Asker) -> Result<Vec<IpAddr>, ResolveError> {
        let owned = || name.to_owned();
        let found = match timeout(self.time, self.lookups.addresses(name, asker)).await {
            Ok(Ok(found)) => found,
            Ok(Err(why @ LookupError::NotFound(_))) => {
                return Err(ResolveError::NotFound { name: owned(), why: Some(why) });
            }
            unanswered => {
                return Err(match (self.lookups.whose(name), unanswered) {
                    (Whose::Name, _) => ResolveError::Silent { name: owned() },
                    (Whose::Ours, Ok(Err(why))) => ResolveError::Unavailable { name: owned(), why },
                    (Whose::Ours, _) => ResolveError::TooSlow { name: owned(), time: self.time },
                });
            }
        };
        let (mut allowed, mut blocked) = (Vec::with_capacity(found.len()), None);
        for address in found {
            match self.targets.check_address(address) {
                Ok(()) => allowed.push(address),
                Err(why) => blocked = blocked.or(Some(why)),
            }
        }
        if allowed.is_empty() {
            if let Some(why) = blocked {
                debug!(name, %why, "every address of the name is blocked");
            }
            return Err(ResolveError::NotFound { name: owned(), why: None });
        }
        with_route(allowed, has_route).ok_or_else(|| ResolveError::NoRoute { name: owned() })
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
