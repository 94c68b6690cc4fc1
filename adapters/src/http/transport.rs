//! Sends a request over HTTP, and waits for the head of its answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri,
    header::{self, Entry},
};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::capture_connection};
use percent_encoding::percent_decode_str;
use postrider::{AttemptRequest, AttemptResponse, TargetRules, Transport, TransportError};
use tokio::{sync::Notify, time::Instant};
use tracing::debug;
use url::{Position, Url};

use super::{
    BuildError, HttpTransportBuilder, answer,
    connector::Connector,
    failure,
    link::{self, Link},
    lookups::Asker,
    name_case::NameCases,
};

/// A longer timeout is taken for this one, so that no time overflows.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Sent with every request, unless the endpoint has a header of this name.
const DEFAULTS: [(HeaderName, HeaderValue); 3] = [
    (header::ACCEPT, HeaderValue::from_static("*/*")),
    // Without this header any coding may be used.
    (header::ACCEPT_ENCODING, HeaderValue::from_static("identity")),
    (header::USER_AGENT, HeaderValue::from_static(concat!("Postrider/", env!("CARGO_PKG_VERSION")))),
];

/// Sends over HTTP with one shared client. Clones share it.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// With connections that are used again.
    kept: Clients,
    /// With a connection for each request.
    fresh: Clients,
    connection_life: Duration,
    names: NameCases,
    targets: TargetRules,
}

/// Two clients that differ in how they write.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) plain: Client<Connector, Full<Bytes>>,
    /// Writes names in the case in which they were given. It notes those of answers too, which is not free.
    pub(super) spelling: Client<Connector, Full<Bytes>>,
}

tokio::task_local! {
    /// For whom the task sends just now: what makes connections hears of a request only where it goes.
    static ASKER: Asker;
}

/// For whom this task sends.
pub(super) fn asker() -> Asker {
    ASKER.try_with(|asker| *asker).ok().flatten()
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

    pub(super) fn from_parts(kept: Clients, fresh: Clients, connection_life: Duration, targets: TargetRules) -> Self {
        Self { inner: Arc::new(Inner { kept, fresh, connection_life, names: NameCases::default(), targets }) }
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: AttemptRequest) -> Result<AttemptResponse, TransportError> {
        // A caller of this transport may ask for any timeout.
        let deadline = Instant::now() + request.timeout.min(TIMEOUT_MAX);
        // At every attempt, because the resolver is never asked about hosts that are addresses, in whatever spelling.
        self.inner.targets.check_url(&request.url).map_err(|why| TransportError::Blocked(why.into()))?;
        let asker = request.purpose.map(|purpose| purpose.application);
        let mut sent = outgoing(request.method, &request.url, asker, request.headers, request.body)?;
        let spells = !request.names.is_empty();
        if spells {
            *sent.extensions_mut() = self.inner.names.of(&request.names).await;
        }
        let response = ASKER.scope(asker, self.inner.response(sent, spells)).await?;
        Ok(answer::read(response, request.limits, deadline).await)
    }
}

impl Inner {
    /// The head of the answer. A request that broke on a kept connection before anything came is sent once more.
    async fn response(
        &self,
        request: Request<Full<Bytes>>,
        spells: bool,
    ) -> Result<Response<Incoming>, TransportError> {
        // The first one has room for the headers that the client adds; its copy has not.
        let again = request.clone();
        match self.exchange(&self.kept, request, spells).await {
            Err(Broken { error, on: Some(link) }) if link.was_kept_and_silent() => {
                debug!(%error, "kept connection broke, sent once more on a fresh one");
                self.exchange(&self.fresh, again, spells).await.map_err(|broken| broken.error)
            }
            answered => answered.map_err(|broken| broken.error),
        }
    }

    async fn exchange(
        &self,
        clients: &Clients,
        mut request: Request<Full<Bytes>>,
        spells: bool,
    ) -> Result<Response<Incoming>, Broken> {
        let captured = capture_connection(&mut request);
        let interim = Arc::new(Interim::default());
        let counted = Arc::clone(&interim);
        hyper::ext::on_informational(&mut request, move |_| counted.came());
        let client = if spells { &clients.spelling } else { &clients.plain };
        let answered = tokio::select! {
            biased;
            answered = client.request(request) => answered.map_err(failure::told),
            () = interim.too_many.notified() => Err(TransportError::Exchange(TOO_MANY_INTERIM.into())),
        };
        match answered {
            Ok(response) => {
                link::retire(&captured, response.extensions(), self.connection_life);
                Ok(response)
            }
            Err(error) => Err(Broken { error, on: Link::of(&captured) }),
        }
    }
}

/// No answer came, on this connection if it came so far.
struct Broken {
    error: TransportError,
    on: Option<Link>,
}

const TOO_MANY_INTERIM: &str = "the receiver sends interim answers (1xx) without end";
/// Servers send one or two.
const INTERIM_MAX: u32 = 32;

/// Counts the answers before the answer.
#[derive(Debug, Default)]
struct Interim {
    count: AtomicU32,
    too_many: Notify,
}

impl Interim {
    fn came(&self) {
        if self.count.fetch_add(1, Ordering::Relaxed) == INTERIM_MAX {
            self.too_many.notify_one();
        }
    }
}

fn outgoing(
    method: Method,
    url: &Url,
    asker: Asker,
    mut headers: HeaderMap,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, TransportError> {
    for (name, value) in DEFAULTS {
        if let Entry::Vacant(vacant) = headers.entry(name) {
            vacant.insert(value);
        }
    }
    if body.is_empty() && method == Method::POST {
        // The client would send no length at all, which some servers answer with 411.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if has_credentials(url)
        && let Entry::Vacant(vacant) = headers.entry(header::AUTHORIZATION)
    {
        vacant.insert(basic(url));
    }
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri(url, asker)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// What is called, without the URL's own user and password, which become a header.
///
/// The pool keeps connections by what stands before the host, too, which is sent nowhere: the application. So none uses a
/// connection of another one at the same host: what a receiver sends unasked, behind an answer to one of them, would be
/// taken for the answer to the next request, whoever's it is.
///
/// Both types follow RFC 3986, but for a few characters that browsers let stand in a query.
fn uri(url: &Url, asker: Asker) -> Result<Uri, TransportError> {
    let (scheme, rest) = (url.scheme(), &url[Position::BeforeHost..Position::AfterQuery]);
    let text = match asker {
        Some(application) => format!("{scheme}://{application}@{rest}"),
        None => format!("{scheme}://{rest}"),
    };
    Uri::try_from(text).map_err(|_| TransportError::Blocked("url holds characters that must be escaped".into()))
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// RFC 7617, in UTF-8.
fn basic(url: &Url) -> HeaderValue {
    let mut plain: Vec<u8> = percent_decode_str(url.username()).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(url.password().unwrap_or_default()));
    let text = format!("Basic {}", STANDARD.encode(plain));
    // Base64 is always a header.
    let mut value = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}
