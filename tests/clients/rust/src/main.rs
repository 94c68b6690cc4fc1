//! Every resource of the official SDK for Rust, unmodified, against a running daemon.
//!
//! Svix for Rust 2.9.1 (Cargo.toml). Needs SERVER_URL and SERVER_TOKEN: an organisation with nothing in it.

mod check;
mod endpoints;
mod forgetting;
mod messages;
mod operational;
mod owners;
mod receiver;

use std::{
    env,
    error::Error,
    io::{Read, Write},
    net::TcpStream,
    process::ExitCode,
};

use chrono::{DateTime, TimeDelta, Utc};
use svix::api::{Svix, SvixOptions};

use self::{
    check::{fails, same},
    receiver::Receiver,
};

pub type Failed = Box<dyn Error>;

/// What every part of the scenario uses.
pub struct World {
    url: String,
    token: String,
    pub client: Svix,
    pub receiver: Receiver,
    /// Before anything was done.
    pub began: DateTime<Utc>,
}

impl World {
    fn new() -> Result<Self, Failed> {
        let (url, token) = (env::var("SERVER_URL")?, env::var("SERVER_TOKEN")?);
        let client = client(&url, &token);
        let began = Utc::now() - TimeDelta::minutes(1);
        Ok(Self { url, token, client, receiver: Receiver::start()?, began })
    }

    pub fn with_token(&self, token: &str) -> Svix {
        client(&self.url, token)
    }

    /// What no SDK of Svix knows.
    pub fn patch_raw(&self, path: &str, body: &str) -> Result<(), Failed> {
        let host = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host)?;
        write!(
            stream,
            "PATCH /api/v1{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(answer.into()) }
    }
}

fn client(url: &str, token: &str) -> Svix {
    Svix::new(token.to_owned(), Some(SvixOptions { server_url: Some(url.to_owned()), ..SvixOptions::default() }))
}

async fn health(world: &World) -> Result<(), Failed> {
    Ok(world.client.health().get().await?)
}

async fn authentication(world: &World) -> Result<(), Failed> {
    use svix::models::{AppPortalAccessIn, ApplicationIn};
    let api = world.client.authentication();
    let asked = AppPortalAccessIn { expiry: Some(3600), ..AppPortalAccessIn::new() };
    let portal = world.with_token(&api.app_portal_access("one".into(), asked, None).await?.token);
    let own = world.client.application().get("one".into()).await?;
    same("its application", portal.application().get("one".into()).await?, own)?;
    let endpoints = portal.endpoint().list("one".into(), None).await?.data;
    let uids: Vec<_> = endpoints.into_iter().filter_map(|endpoint| endpoint.uid).collect();
    same("its endpoints", uids, ["heard", "late", "flaky", "main"])?;
    fails("others", portal.application().list(None).await, 403, "insufficient access")?;
    let application = ApplicationIn { uid: Some("portal".into()), ..ApplicationIn::new("Portal".into()) };
    let asked = AppPortalAccessIn { application: Some(application), ..AppPortalAccessIn::new() };
    let made = world.with_token(&api.app_portal_access("portal".into(), asked, None).await?.token);
    fails("another application", portal.application().get("portal".into()).await, 404, "not_found")?;
    same("one that was made", made.application().get("portal".into()).await?.name, "Portal")?;
    let nobody = world.with_token("nonsense");
    fails("no token", nobody.application().list(None).await, 401, "authentication_failed")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    macro_rules! run {
        ($world:ident: $($name:literal $resource:expr),+ $(,)?) => {
            $(if let Err(error) = $resource(&$world).await {
                println!("rust 2.9.1: {}: FAILED: {error}", $name);
                return ExitCode::FAILURE;
            }
            println!("rust 2.9.1: {}: ok", $name);)+
        };
    }
    let world = match World::new() {
        Ok(world) => world,
        Err(error) => {
            println!("rust 2.9.1: SERVER_URL and SERVER_TOKEN: {error}");
            return ExitCode::FAILURE;
        }
    };
    run! {
        world:
        "health" health,
        "applications" owners::applications,
        "event types" owners::event_types,
        "endpoints" endpoints::endpoints,
        "messages" messages::messages,
        "attempts" messages::attempts,
        "tasks" messages::tasks,
        "forgetting" forgetting::forgetting,
        "operational webhooks" operational::operational_webhooks,
        "authentication" authentication,
    }
    ExitCode::SUCCESS
}
