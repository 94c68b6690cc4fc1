//! Sends a request over HTTP, and waits for the head of its answer.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use postrider::{AttemptRequest, AttemptResponse, TargetRules, Transport, TransportError};
use reqwest::{Client, Request};
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

    /// The client's own way of making a request copies each header; it is needed only for credentials in the URL.
    fn post(&self, url: &Url, headers: HeaderMap, body: Bytes) -> reqwest::Result<Request> {
        if has_credentials(url) {
            return self.inner.client.post(url.clone()).headers(headers).body(body).build();
        }
        let mut post = Request::new(Method::POST, url.clone());
        *post.headers_mut() = headers;
        *post.body_mut() = Some(body.into());
        Ok(post)
    }

    pub(super) fn from_parts(client: Client, targets: TargetRules, connect_timeout: Duration) -> Self {
        Self { inner: Arc::new(Inner { client, targets, connect_timeout }) }
    }
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: AttemptRequest) -> Result<AttemptResponse, TransportError> {
        let deadline = Instant::now() + request.timeout;
        // At every attempt, because the resolver is never asked about hosts that are addresses, in whatever spelling.
        self.inner.targets.check_url(&request.url).map_err(|why| TransportError::Blocked(why.into()))?;
        let mut headers = request.headers;
        if request.body.is_empty() {
            // The client would send no length at all, which some servers answer with 411.
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let post = self.post(&request.url, headers, request.body);
        let response = match post {
            Ok(post) => self.inner.client.execute(post).await,
            Err(error) => Err(error),
        };
        let response = response.map_err(|error| failure::told(error, self.inner.connect_timeout))?;
        Ok(answer::read(response, request.limits, deadline).await)
    }
}
