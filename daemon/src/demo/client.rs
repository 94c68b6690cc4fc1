//! Asks the daemon over HTTP, as any client would.

use std::{net::SocketAddr, time::Duration};

use reqwest::Method;
use serde_json::Value;

use super::DemoError;

/// A client of the API with a token.
pub(super) struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    token: String,
}

impl Client {
    pub(super) fn new(address: SocketAddr, token: String) -> Result<Self, DemoError> {
        // It asks for one even where nothing is encrypted.
        let _there_already = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build();
        let http = http.map_err(|error| DemoError::Daemon(error.to_string()))?;
        Ok(Self { http, address, token })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, DemoError> {
        self.send(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Result<Value, DemoError> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Every item of a list.
    pub(super) async fn all(&self, path: &str) -> Result<Vec<Value>, DemoError> {
        let (mut all, mut next) = (Vec::new(), String::new());
        loop {
            let sign = if path.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{path}{sign}limit=250{next}")).await?;
            all.extend(page["data"].as_array().cloned().unwrap_or_default());
            match page["iterator"].as_str() {
                Some(iterator) if page["done"] == Value::Bool(false) => next = format!("&iterator={iterator}"),
                Some(_) | None => return Ok(all),
            }
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, DemoError> {
        let failed = |what: String| DemoError::Api { path: path.to_owned(), what };
        let mut request = self.http.request(method, format!("http://{}/api/v1{path}", self.address));
        request = request.bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.map_err(|error| failed(error.without_url().to_string()))?;
        let status = answer.status();
        let text = answer.bytes().await.map_err(|error| failed(error.without_url().to_string()))?;
        if !status.is_success() {
            return Err(failed(format!("answered {status}: {}", String::from_utf8_lossy(&text))));
        }
        serde_json::from_slice(&text).map_err(|error| failed(format!("answered no JSON: {error}")))
    }
}
