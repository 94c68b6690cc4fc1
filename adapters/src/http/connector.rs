//! Makes connections: name, address and TLS together within one time.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;

use super::{link::Linked, racer::Racer, resolver::CheckedResolver};

type BoxError = Box<dyn Error + Send + Sync>;
type Stream = TokioIo<Linked<TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>>>;

/// Makes connections for the client.
#[derive(Clone)]
pub(super) struct Connector {
    inner: HttpsConnector<Racer>,
    time: Duration,
}

/// The time for connecting was up.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {} s", .0.as_secs_f32())]
pub(super) struct ConnectTooSlow(Duration);

impl Connector {
    pub(super) fn new(resolver: CheckedResolver, tls: ClientConfig, time: Duration) -> Self {
        Self { inner: HttpsConnector::from((Racer::new(resolver), Arc::new(tls))), time }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (connecting, time) = (self.inner.call(to), self.time);
        Box::pin(async move {
            let stream = timeout(time, connecting).await.unwrap_or_else(|_| Err(ConnectTooSlow(time).into()))?;
            Ok(TokioIo::new(Linked::new(TokioIo::new(stream))))
        })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("time", &self.time).finish_non_exhaustive()
    }
}
