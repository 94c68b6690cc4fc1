//! `postrider status`: asks a running daemon which endpoints are in trouble, and shows the worst first.

use std::{net::SocketAddr, time::Duration};

use postrider::OrganisationId;
use postrider_adapters::token::Access;
use reqwest::{Client, Url};
use serde_json::Value;

use crate::{Failure, cli::StatusArgs, config::Config, now, serve::reachable, signing_secret::known_token_key};

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
const PAGE: usize = 250;
/// It is used at once; clocks may differ.
const TOKEN_TTL: Duration = Duration::from_secs(600);
const TITLES: [&str; 4] = ["status", "application", "endpoint", "url"];

type Row = [String; TITLES.len()];

/// What to print.
pub(crate) fn show(args: StatusArgs) -> Result<String, Failure> {
    let StatusArgs { organisation, url, limit, settings } = args;
    let config = settings.load()?.config;
    let key = known_token_key(&config)?;
    let organisation = organisation.unwrap_or(OrganisationId::DEFAULT);
    let token = key.issue_organisation_for(organisation, Access::ALL.read_only(), now(), TOKEN_TTL);
    let token = token.map_err(Failure::Token)?;
    let url = url.map_or_else(|| listening(&config), Ok)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    let (rows, is_all) = runtime.block_on(Daemon { url, token }.in_trouble(limit.get()))?;
    Ok(written(&rows, is_all))
}

/// Where the daemon listens that has these settings.
fn listening(config: &Config) -> Result<Url, StatusError> {
    let scheme = if config.tls.cert_file.is_some() { "https" } else { "http" };
    let address: SocketAddr = reachable(config.general.listen);
    let url = format!("{scheme}://{address}").parse().ok();
    url.filter(|_| address.port() != 0).ok_or(StatusError::NoPort)
}

struct Daemon {
    url: Url,
    token: String,
}

impl Daemon {
    /// At most so many, and whether there are no more.
    async fn in_trouble(&self, limit: usize) -> Result<(Vec<Row>, bool), StatusError> {
        // It asks for one even where nothing is encrypted.
        let _there_already = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().timeout(PATIENCE).build();
        let client = client.map_err(|error| self.unreachable(error))?;
        let (mut rows, mut next) = (Vec::new(), String::new());
        loop {
            let page = self.get(&client, &format!("/api/v1/endpoint-health?limit={PAGE}{next}")).await?;
            let found = page["data"].as_array().map(Vec::as_slice).unwrap_or_default();
            // Those that are well come last.
            for health in found.iter().take_while(|health| health["status"] != "active") {
                if rows.len() == limit {
                    return Ok((rows, false));
                }
                rows.push(row(health));
            }
            let is_through = found.last().is_none_or(|last| last["status"] == "active");
            match page["iterator"].as_str() {
                Some(iterator) if !is_through && page["done"] == Value::Bool(false) => {
                    next = format!("&iterator={iterator}");
                }
                Some(_) | None => return Ok((rows, true)),
            }
        }
    }

    async fn get(&self, client: &Client, path: &str) -> Result<Value, StatusError> {
        let address = format!("{}{path}", self.url.as_str().trim_end_matches('/'));
        let answer = client.get(address).bearer_auth(&self.token).send().await;
        let answer = answer.map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| self.unreachable(error))?;
        let read = serde_json::from_str(&text).ok().filter(|_| status.is_success());
        read.ok_or_else(|| StatusError::Answer { url: self.url.clone(), status: status.as_u16(), text })
    }

    fn unreachable(&self, error: reqwest::Error) -> StatusError {
        StatusError::Unreachable { url: self.url.clone(), error: error.without_url() }
    }
}

fn row(health: &Value) -> Row {
    let text = |name: &str| health[name].as_str().map(str::to_owned);
    let named = |uid, id| text(uid).or_else(|| text(id)).unwrap_or_default();
    [
        text("status").unwrap_or_default(),
        named("appUid", "appId"),
        named("endpointUid", "endpointId"),
        text("url").unwrap_or_default(),
    ]
}

fn written(rows: &[Row], is_all: bool) -> String {
    if rows.is_empty() {
        return "no endpoint is in trouble: all are active\n".to_owned();
    }
    let titles = TITLES.map(str::to_owned);
    let all = || std::iter::once(&titles).chain(rows);
    let widths: Vec<_> =
        (0..TITLES.len()).map(|column| all().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in all() {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    if !is_all {
        text.push_str("and more: --limit shows them\n");
    }
    text
}

/// Why it could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    /// Name the address.
    #[error("the port is chosen when the daemon starts (listen is port 0): name its address with --url")]
    NoPort,
    /// Start it, or name its address.
    #[error("could not reach the daemon at {url}: is it running? Name another address with --url")]
    Unreachable {
        url: Url,
        #[source]
        error: reqwest::Error,
    },
    /// Look at what it says: most often it has another secret.
    #[error("the daemon at {url} answered {status}: {text}")]
    Answer { url: Url, status: u16, text: String },
}

#[cfg(test)]
mod tests {
    use super::{Row, written};

    fn row(status: &str, endpoint: &str) -> Row {
        [status, "acme", endpoint, "https://example.com/"].map(str::to_owned)
    }

    #[test]
    fn rows_stand_under_each_other_and_what_is_left_out_is_said() {
        assert_eq!(written(&[], true), "no endpoint is in trouble: all are active\n");
        let rows = [row("disabledByPerson", "a"), row("paused", "billing")];
        let expected = "\
            status            application  endpoint  url\n\
            disabledByPerson  acme         a         https://example.com/\n\
            paused            acme         billing   https://example.com/\n";
        assert_eq!(written(&rows, true), expected);
        assert_eq!(written(&rows, false), format!("{expected}and more: --limit shows them\n"));
    }
}
