//! How a name becomes addresses.
//!
//! What `getaddrinfo` tells apart, by its text alone (the standard library keeps no code): that a name has no address
//! ("not known", "no address associated"), and everything else. "Temporary failure" may be our name server, the way to
//! it, or the name's own servers; a lookup that is too slow may be any of them too. Both count as ours: the delivery
//! waits and keeps its attempts. A [`Lookup`] of one's own, which sees the answer of the name server, can be exact.

use std::{
    collections::HashMap,
    error::Error,
    fmt, io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::{Semaphore, watch};

/// Resolves names. Called for each new connection, and dropped when it takes too long.
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
    /// Nobody could say. The delivery is sent later, and no attempt is used up.
    #[error("no name server answered")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
}

/// Asks the operating system (`getaddrinfo`), so that `/etc/hosts` and the like count.
///
/// It blocks a thread as long as it takes, which nobody can cut short: at most 64 names are looked up at once, each only
/// once at a time, so that a dead name server takes no threads from the store.
#[derive(Clone, Debug)]
pub struct SystemLookup {
    threads: Arc<Semaphore>,
    running: Arc<Mutex<HashMap<String, watch::Receiver<Answer>>>>,
}

type Answer = Option<Result<Vec<IpAddr>, LookupError>>;

const NAMES_AT_ONCE: usize = 64;

impl Default for SystemLookup {
    fn default() -> Self {
        Self { threads: Arc::new(Semaphore::new(NAMES_AT_ONCE)), running: Arc::default() }
    }
}

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let mut answer = self.running_for(name);
        let given = answer.wait_for(Option::is_some).await.map(|answer| answer.clone());
        given.ok().flatten().unwrap_or_else(|| Err(unavailable(io::Error::other("lookup was cut short"))))
    }
}

impl SystemLookup {
    /// Joins the lookup of this name that runs, or starts one. It runs to its end even if nobody waits any more.
    fn running_for(&self, name: &str) -> watch::Receiver<Answer> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = running.get(name) {
            return answer.clone();
        }
        let (give, answer) = watch::channel(None);
        running.insert(name.to_owned(), answer.clone());
        let (name, threads, running) = (name.to_owned(), Arc::clone(&self.threads), Arc::clone(&self.running));
        let guard = Running { name, running };
        tokio::spawn(async move {
            let _thread = threads.acquire().await;
            let found = tokio::net::lookup_host((guard.name.as_str(), 0)).await;
            let found = found.map(|found| found.map(|address| address.ip()).collect()).map_err(sorted);
            drop(guard);
            give.send_replace(Some(found));
        });
        answer
    }
}

/// Takes the name out of what runs, however that ends.
struct Running {
    name: String,
    running: Arc<Mutex<HashMap<String, watch::Receiver<Answer>>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
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
