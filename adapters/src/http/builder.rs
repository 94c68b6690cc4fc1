//! Puts an [`HttpTransport`] together.

use std::{error::Error, sync::Arc, time::Duration};

use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use postrider::TargetRules;

use super::{
    HttpTransport, Lookup, SystemLookup, connector::Connector, resolver::CheckedResolver, roots, transport::Clients,
};

/// Bytes of an answer's head, and of what is read at once. hyper's own bound is six times as much.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Puts an [`HttpTransport`] together.
#[derive(Debug)]
#[must_use]
pub struct HttpTransportBuilder {
    targets: TargetRules,
    connect_timeout: Duration,
    lookup_timeout: Duration,
    idle_timeout: Duration,
    connection_life: Duration,
    idle_connections_per_host: usize,
    extra_roots_pem: Vec<Vec<u8>>,
    lookup: Arc<dyn Lookup>,
}

/// Why a transport was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Look at the PEM text: it holds no certificate, or one that cannot be read.
    #[error("could not read the extra root certificates: give PEM text with at least one certificate")]
    Pem(#[source] Option<Box<dyn Error + Send + Sync>>),
    /// TLS cannot work on this machine.
    #[error("could not set up tls")]
    Tls(#[source] rustls::Error),
}

impl HttpTransportBuilder {
    pub(super) fn new() -> Self {
        Self {
            targets: TargetRules::public(),
            connect_timeout: Duration::from_secs(10),
            lookup_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(4),
            connection_life: Duration::from_secs(90),
            idle_connections_per_host: 64,
            extra_roots_pem: Vec::new(),
            lookup: Arc::new(SystemLookup::default()),
        }
    }

    /// Which targets may be called. Those of the public internet over https by default.
    pub fn targets(self, targets: TargetRules) -> Self {
        Self { targets, ..self }
    }

    /// How long name, connection and TLS may take together, for all addresses of the name. 10 s by default.
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// How long resolving a name may take. 5 s by default.
    pub fn lookup_timeout(self, lookup_timeout: Duration) -> Self {
        Self { lookup_timeout, ..self }
    }

    /// How long an open connection may rest. 4 s by default: many servers close after 5 s, and a request that meets the
    /// closing fails.
    pub fn idle_timeout(self, idle_timeout: Duration) -> Self {
        Self { idle_timeout, ..self }
    }

    /// How long one connection is used for requests, however many there are. 90 s by default: where a name points is only
    /// looked up for a new connection.
    pub fn connection_life(self, connection_life: Duration) -> Self {
        Self { connection_life, ..self }
    }

    /// How many connections to one host and port may rest. 64 by default; fewer than an endpoint's `max_in_flight` means
    /// connecting anew again and again.
    pub fn idle_connections_per_host(self, idle_connections_per_host: usize) -> Self {
        Self { idle_connections_per_host, ..self }
    }

    /// Trusts these certificates besides those of the operating system: PEM text with one or more of them, for receivers
    /// with a private authority, or one that signed its own certificate (made with `basicConstraints=CA:FALSE`).
    pub fn extra_root_certificates(mut self, pem: &[u8]) -> Self {
        self.extra_roots_pem.push(pem.to_vec());
        self
    }

    /// Resolves names another way than the operating system does.
    pub fn lookup(self, lookup: impl Lookup) -> Self {
        Self { lookup: Arc::new(lookup), ..self }
    }

    /// Builds it. Reads the root certificates of the operating system; says so in the log if there are none.
    pub fn build(self) -> Result<HttpTransport, BuildError> {
        let resolver = CheckedResolver::new(self.targets.clone(), self.lookup, self.lookup_timeout);
        let connector = Connector::new(resolver, roots::tls_config(&self.extra_roots_pem)?, self.connect_timeout);
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_idle_timeout(self.idle_timeout).pool_timer(TokioTimer::new()).http1_max_buf_size(HEAD_BYTES_MAX);
        let mut clients = |kept| {
            client.pool_max_idle_per_host(kept);
            let plain = client.http1_preserve_header_case(false).build(connector.clone());
            let spelling = client.http1_preserve_header_case(true).build(connector.clone());
            Clients { plain, spelling }
        };
        let (kept, fresh) = (clients(self.idle_connections_per_host), clients(0));
        Ok(HttpTransport::from_parts(kept, fresh, self.connection_life, self.targets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only for a new connection it is asked where a name points; two minutes after it has moved, nothing goes to the old
    /// address.
    #[test]
    fn a_connection_has_a_life_of_two_minutes_at_most() {
        let built = HttpTransportBuilder::new();
        assert!(built.connection_life <= Duration::from_secs(120), "{:?}", built.connection_life);
        assert!(built.idle_timeout < built.connection_life, "{:?}", built.idle_timeout);
    }
}
