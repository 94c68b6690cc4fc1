//! How a name becomes addresses.
//!
//! What `getaddrinfo` tells apart, by its text alone (the standard library keeps no code): that a name has no address
//! ("not known", "no address associated"), and everything else. "Temporary failure" may be our name server, the way to
//! it, or the name's own servers; a lookup that is too slow may be any of them too. Both count as ours at first, so that
//! the delivery waits and keeps its attempts, and as the name's once it fails again and again beside others that do not.
//! A [`Lookup`] of one's own, which sees the answer of the name server, can be exact.

use std::{
    error::Error,
    fmt, io,
    net::{IpAddr, ToSocketAddrs},
    sync::Arc,
};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::lookups::NAMES_AT_ONCE;

/// Resolves names. At most 64 are asked for at once, each once at a time, in turns of the applications that want them; what
/// takes longer than half a minute is dropped.
#[async_trait]
pub trait Lookup: fmt::Debug + Send + Sync + 'static {
    /// Every address of `name`, those to be tried first in front.
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError>;
}

/// Why a name has no addresses.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// There is no such name, or it has no address. The attempt failed.
    #[error("name has no address")]
    NotFound(#[source] Arc<dyn Error + Send + Sync>),
    /// No answer, or one that leaves it open. The delivery is sent later, and no attempt is used up, unless this name fails
    /// again and again while others do not.
    #[error("no name server answered")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
}

/// Asks the operating system (`getaddrinfo`), so that `/etc/hosts` and the like count.
///
/// It blocks a thread as long as it takes, which nothing can cut short: at most 64 at once, so that a dead name server
/// takes no threads from the store.
#[derive(Clone, Debug)]
pub struct SystemLookup {
    threads: Arc<Semaphore>,
}

impl Default for SystemLookup {
    fn default() -> Self {
        Self { threads: Arc::new(Semaphore::new(NAMES_AT_ONCE)) }
    }
}

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        let name = name.to_owned();
        let asked = tokio::task::spawn_blocking(move || {
            // Held until the thread is free, also if nothing waits for it any more.
            let _thread = thread;
            (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect())
        });
        asked.await.map_err(io::Error::other).and_then(|found| found).map_err(sorted)
    }
}

fn unavailable(error: io::Error) -> LookupError {
    LookupError::Unavailable(Arc::new(error))
}

/// Texts of glibc, musl, macOS and the BSDs for `EAI_NONAME`, `EAI_NODATA` and `EAI_ADDRFAMILY`.
const NOT_FOUND: [&str; 7] = [
    "name or service not known",
    "no address associated with",
    "name does not resolve",
    "name has no usable address",
    "nodename nor servname provided",
    "address family for hostname not supported",
    "hostname nor servname provided",
];

fn sorted(error: io::Error) -> LookupError {
    let text = error.to_string().to_ascii_lowercase();
    // An operating system error is one of this machine: no descriptor for the socket, say.
    if error.raw_os_error().is_none() && NOT_FOUND.iter().any(|known| text.contains(known)) {
        LookupError::NotFound(Arc::new(error))
    } else {
        unavailable(error)
    }
}

#[cfg(test)]
mod tests;
