//! The HTTP transport alone, over real loopback, against the scripted receiver.

mod answer;
mod kept;
mod machine;
mod request;
mod ssrf;
mod tls;
mod url;

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use postrider::{AttemptRequest, AttemptResponse, TargetRules, Transport, TransportError};
use postrider_adapters::http::{HttpTransport, HttpTransportBuilder};
use postrider_tests::Receiver;

type Failed = Box<dyn Error + Send + Sync>;

/// Only this one: 127.0.0.2 stays forbidden.
fn allowed() -> TargetRules {
    let loopback = "127.0.0.1/32".parse().expect("it is a range");
    TargetRules { https_only: false, allow: vec![loopback] }
}

/// The default.
fn internet() -> TargetRules {
    TargetRules { https_only: false, ..TargetRules::public() }
}

fn builder() -> HttpTransportBuilder {
    HttpTransport::builder().targets(allowed())
}

fn transport() -> Result<HttpTransport, Failed> {
    Ok(builder().build()?)
}

/// As the engine makes it.
fn attempt(url: &str) -> Result<AttemptRequest, Failed> {
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", "1700000000"),
        ("webhook-signature", "v1,c2lnbmF0dXJl"),
        ("content-type", "application/json"),
    ];
    let headers: HeaderMap = headers
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .into_iter()
        .collect();
    let url: ::url::Url = url.parse()?;
    Ok(AttemptRequest::new(url, headers, Bytes::from_static(b"{}")).timeout(Duration::from_secs(20)))
}

async fn post(transport: &HttpTransport, url: &str) -> Result<AttemptResponse, TransportError> {
    let request = attempt(url).expect("the test gives a url");
    transport.send(request).await
}

/// Sends one request to `path`, and gives the answer.
async fn answer_of(receiver: &Receiver, path: &str) -> Result<AttemptResponse, Failed> {
    Ok(post(&transport()?, &receiver.url(path)).await?)
}

/// The error of an attempt that must fail.
async fn error_of(transport: &HttpTransport, url: &str) -> TransportError {
    match post(transport, url).await {
        Err(error) => error,
        Ok(answer) => panic!("{url} was answered with {}", answer.status),
    }
}

/// What the endpoint's owner is shown: the text of the source.
fn words(error: &TransportError) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// Everything that could end in a log.
fn all_texts(error: &TransportError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(current) = cause {
        text += &format!(" {current} {current:?}");
        cause = current.source();
    }
    text
}
