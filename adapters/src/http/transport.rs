//! Sends a request over HTTP, and waits for the head of its answer.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderValue, header};
use postrider::{AttemptRequest, AttemptResponse, TargetRules, Transport, TransportError};
use reqwest::Client;
use tokio::time::Instant;
use url::Url;

use super::{BuildError, HttpTransportBuilder, answer, failure};

/// Sends over HTTP with one shared client. Clones share it.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    targets: TargetRules,
    connect_timeout: Duration,
}

impl HttpTransport {
    /// Calls only the targets given, with the defaults of [`HttpTransport::builder`].
    pub fn new(targets: TargetRules) -> Result<Self, BuildError> {
        Self::builder().targets(targets).build()
    }

    /// Timeouts, certificates and the resolver can be chosen here.
    pub fn builder() -> HttpTransportBuilder {
        HttpTransportBuilder::new()
    }

    pub(super) fn from_parts(client: Client, targets: TargetRules, connect_timeout: Duration) -> Self {
        Self { inner: Arc::new(Inner { client, targets, connect_timeout }) }
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: AttemptRequest) -> Result<AttemptResponse, TransportError> {
        let deadline = Instant::now() + request.timeout;
        // At every attempt, because the resolver is never asked about hosts that are addresses, in whatever spelling.
        self.inner.targets.check_url(&request.url).map_err(|why| TransportError::Blocked(why.into()))?;
        let url = Url::clone(&request.url);
        let mut headers = request.headers;
        if request.body.is_empty() {
            // The client would send no length at all, which some servers answer with 411.
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let post = self.inner.client.post(url).headers(headers).body(request.body);
        let response = post.send().await.map_err(|error| failure::told(error, self.inner.connect_timeout))?;
        Ok(answer::read(response, request.limits, deadline).await)
    }
}
