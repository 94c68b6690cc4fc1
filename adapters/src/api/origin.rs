//! Where this API is reached, for addresses in its answers.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts, uri::Authority},
};

use super::Api;

/// What stands in front of every path: `https://hooks.example.com`, as the settings say it, else as the client has called.
#[derive(Clone, Debug)]
pub(super) struct Origin(pub(super) String);

/// Marks requests that came over TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encrypted;

impl FromRequestParts<Api> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Infallible> {
        Ok(Self(match &api.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => called(parts),
        }))
    }
}

fn called(parts: &Parts) -> String {
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).and_then(|host| host.parse::<Authority>().ok());
    let host = parts.uri.authority().cloned().or(host).filter(|host| !host.as_str().contains('@'));
    let host = host.unwrap_or_else(|| Authority::from_static("localhost"));
    let is_encrypted = parts.extensions.get::<Encrypted>().is_some()
        || parts.headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let scheme = if is_encrypted { "https" } else { "http" };
    format!("{scheme}://{host}")
}
