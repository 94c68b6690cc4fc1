//! The daemon at work: store, transport, engine and API, started in this order and stopped in reverse.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    path::Path,
    time::Duration,
};

use axum::{Router, middleware, routing::get};
use postrider::{
    AddressRange, Engine, OrganisationId, StartError, TargetRules,
    storage::{Fjall, MemoryStore, OpenStore, Sled},
};
use postrider_adapters::{
    api::{self, Listener, RequestLimits, Tls, TlsError},
    http::{BuildError, HttpTransport},
    token::{IssueError, TokenKey},
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};
use tracing::{info, warn};

use crate::{
    config::{Config, General, HeaderPrefix, Storage},
    delivery,
    drain::{self, Drain},
    metrics::{self, Metrics},
    now, outlet,
    signals::{Asked, Signals},
    signing_secret::{KeyError, make_folder, renew, token_key},
};

/// How much longer than its grace period the engine may take before we stop waiting for it.
const OVERTIME: Duration = Duration::from_secs(5);

/// Runs until a signal, and returns when everything in flight has ended, or was handed back, and is stored.
pub(crate) async fn run(config: &Config, reload: &impl Fn()) -> Result<(), ServeError> {
    let mut signals = Signals::new().map_err(ServeError::Signals)?;
    let key = token_key(config)?;
    let tls = tls(config)?;
    // Bound first: a port that is taken should be known before anything has been sent.
    let listener = bind(config.general.listen, "--listen").await?;
    let address =
        listener.local_addr().map_err(|error| ServeError::listen(config.general.listen, "--listen", error))?;
    let metrics_listener = match config.metrics.listen {
        Some(address) => Some(bind(address, "--set metrics.listen=ADDRESS:PORT").await?),
        None => None,
    };
    let engine = tokio::select! {
        started = start_engine(config) => started?,
        signal = signals.stop() => {
            info!(signal, "stopped before the engine had started");
            return Ok(());
        }
    };
    tokio::spawn(renew(config.clone(), key.clone()));
    let router = api::limited_router(engine.clone(), key.clone(), request_limits(config));
    let (metrics, drain) = (Metrics::new(&engine), Drain::default());
    let router = router
        .layer(middleware::from_fn_with_state(metrics.clone(), metrics::count))
        .layer(middleware::from_fn_with_state(drain.clone(), drain::announce));
    let health = match config.health.listen {
        Some(address) => {
            let health = api::health_router(engine.clone());
            let health = health.layer(middleware::from_fn_with_state(drain.clone(), drain::announce));
            Some(Api::start(bind(address, "--set health.listen=ADDRESS:PORT").await?, health))
        }
        None => None,
    };
    let shown = Router::new().route("/metrics", get(metrics::show)).with_state(metrics);
    let (router, metrics) = match metrics_listener {
        Some(listener) => (router, Some(Api::start(listener, shown))),
        None => (shown.fallback_service(router), None),
    };
    let listener = match tls {
        Some(tls) => Listener::with_tls(listener, tls),
        None => Listener::from(listener),
    };
    let mut api = Api::start(listener, router);
    info!(version = env!("CARGO_PKG_VERSION"), %address, storage = ?config.general.storage, "started");
    announce(config, address, &key)?;

    let drain_seconds = config.general.drain_seconds;
    loop {
        let asked = tokio::select! {
            asked = signals.next() => asked,
            ended = &mut api.task => {
                return Err(ServeError::Api(ended.map_err(io::Error::other).and_then(|it| it).err()));
            }
        };
        match asked {
            Asked::Reload => reload(),
            Asked::Stop(signal) => {
                info!(signal, drain_seconds, grace_seconds = config.general.grace_seconds, "stopping");
                break;
            }
        }
    }
    signals.exit_on_next();
    drain.wait(Duration::from_secs(drain_seconds)).await;
    drop((metrics, health));
    stop(api, &engine, Duration::from_secs(config.general.grace_seconds)).await
}

fn tls(config: &Config) -> Result<Option<Tls>, ServeError> {
    let (Some(chain), Some(key)) = (&config.tls.cert_file, &config.tls.key_file) else { return Ok(None) };
    Ok(Some(Tls::from_files(chain.clone(), key.clone())?))
}

async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|error| ServeError::listen(address, flag, error))
}

async fn start_engine(config: &Config) -> Result<Engine, ServeError> {
    let limits = &config.limits;
    let rules = target_rules(config);
    let builder = Engine::builder(opener(&config.general)?, transport(config, rules.clone())?);
    let builder = builder.targets(rules).origin(config.http.origin.header().clone());
    let grant_at = config.general.public_url.as_ref().and_then(|url| url.join(api::GRANT_PATH));
    let builder = match grant_at {
        Some(address) => builder.grant_at(address),
        None => builder,
    };
    let reserved = config.delivery.reserved_header_prefixes.iter().map(HeaderPrefix::as_str);
    let builder = builder.reserved_headers(reserved);
    let builder = builder.defaults(delivery::defaults(config)).secrets(delivery::secrets(config)).limits(|engine| {
        engine.payload_bytes = size(limits.payload_bytes).get();
        engine.endpoints_per_application = size(limits.application_endpoints);
        engine.applications_per_organisation = count(limits.organisation_applications);
        engine.event_types_per_organisation = size(limits.organisation_event_types);
        engine.in_flight_requests = size(limits.in_flight_requests);
        engine.waiting_requests = size(limits.waiting_requests);
        engine.pending_deliveries_per_application = count(limits.application_pending_deliveries);
        engine.group_requests = size(limits.group_requests);
        engine.group_bytes = size(limits.group_bytes).get();
        engine.free_bytes_min = limits.min_free_bytes;
        engine.retention = Duration::from_secs(limits.retention_days * 24 * 3600);
    });
    let builder = match config.general.storage {
        Storage::Memory => builder,
        Storage::Fjall | Storage::Sled => {
            let folder = config.general.data.clone();
            builder.free_bytes(move || free_bytes(&folder))
        }
    };
    builder.start().await.map_err(ServeError::Start)
}

/// What this process may still write there.
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// A store chosen by the settings is a store like any other. Each kind has a folder of its own.
fn opener(general: &General) -> Result<Box<dyn OpenStore>, ServeError> {
    let (used, other) = match general.storage {
        Storage::Memory => {
            warn!("events are kept in memory only: they are gone when the daemon stops");
            return Ok(Box::new(MemoryStore::new()));
        }
        Storage::Fjall => ("fjall", "sled"),
        Storage::Sled => ("sled", "fjall"),
    };
    let (folder, elsewhere) = (general.data.join(used), general.data.join(other));
    if elsewhere.exists() && !folder.exists() {
        warn!(folder = %elsewhere.display(), "the data folder holds another kind of storage, which is not used");
    }
    make_folder(&folder).map_err(|error| ServeError::Folder { path: folder.display().to_string(), error })?;
    Ok(match general.storage {
        Storage::Memory => Box::new(MemoryStore::new()),
        Storage::Fjall => Box::new(Fjall::at(folder)),
        Storage::Sled => Box::new(Sled::at(folder)),
    })
}

fn transport(config: &Config, rules: TargetRules) -> Result<HttpTransport, ServeError> {
    let connect_timeout = Duration::from_secs(config.http.connect_timeout_seconds);
    let life = Duration::from_secs(config.http.connection_life_seconds);
    let builder = HttpTransport::builder().targets(rules).connect_timeout(connect_timeout);
    let mut builder = builder.connection_life(life);
    if let Some(path) = &config.http.ca_file {
        let pem = std::fs::read(path)
            .map_err(|error| ServeError::Certificates { path: path.display().to_string(), error })?;
        builder = builder.extra_root_certificates(&pem);
    }
    builder.build().map_err(ServeError::Transport)
}

/// Never more than was allowed: `--dev` adds plain http and this machine.
fn target_rules(config: &Config) -> TargetRules {
    let mut rules = if config.general.dev {
        TargetRules::dev()
    } else {
        TargetRules { https_only: config.targets.https_only, allow: Vec::new() }
    };
    rules.allow.extend(config.targets.allow_targets.iter().map(|network| AddressRange::from(*network)));
    rules
}

fn request_limits(config: &Config) -> RequestLimits {
    let limits = &config.limits;
    let per_second = limits.application_requests_per_second;
    RequestLimits {
        body_bytes: size(limits.body_bytes).get(),
        batch_bytes: size(limits.batch_bytes).get(),
        memory_bytes: size(limits.request_memory_bytes).get(),
        application_requests_per_second: u32::try_from(per_second).ok().and_then(NonZeroU32::new),
        refuse_unknown_fields: config.general.refuse_unknown_fields,
        public_url: config.general.public_url.as_ref().map(|url| url.as_str().into()),
    }
}

/// None for 0, which is any number.
fn count(number: u64) -> Option<NonZeroUsize> {
    usize::try_from(number).ok().and_then(NonZeroUsize::new)
}

fn size(number: u64) -> NonZeroUsize {
    usize::try_from(number).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN)
}

/// The API's listener while it serves.
struct Api {
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Api {
    fn start(listener: impl Into<Listener> + Send + 'static, router: Router) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let served = api::serve(listener, router, async { drop(stopped.await) });
        Self { stop, task: tokio::spawn(served) }
    }

    /// Takes no more connections, and waits this long for the requests that are running.
    async fn stop(self, patience: Duration) {
        drop(self.stop);
        let abort = self.task.abort_handle();
        if timeout(patience, self.task).await.is_err() {
            warn!("requests to the api did not end in time and are cut off");
            abort.abort();
        }
    }
}

/// The reverse of the start. The engine gets most of the time: what it cannot end is sent twice.
async fn stop(api: Api, engine: &Engine, grace: Duration) -> Result<(), ServeError> {
    let began = tokio::time::Instant::now();
    api.stop(grace / 4).await;
    let left = grace.saturating_sub(began.elapsed());
    let report = timeout(left + OVERTIME, engine.shutdown(left)).await.map_err(|_| ServeError::Stuck)?;
    let words = match report.endpoints_interrupted {
        0 => "stopped: nothing was left in flight\n".to_owned(),
        count => {
            format!("stopped: attempts to {count} endpoints were cut short and are made again after the next start\n")
        }
    };
    outlet::stdout().put(words.as_bytes());
    Ok(())
}

/// Tells who waits for it that requests are welcome, and where.
fn announce(config: &Config, address: SocketAddr, key: &TokenKey) -> Result<(), ServeError> {
    let scheme = if config.tls.cert_file.is_some() { "https" } else { "http" };
    let mut text = format!("listening on {scheme}://{address}\n");
    if config.general.dev && key.signs() {
        let token = key.issue_organisation(OrganisationId::DEFAULT, now()).map_err(ServeError::Token)?;
        text.push_str(&format!(
            "organisation token: {token}\n\
             curl -X POST {scheme}://{}/api/v1/app -H 'Authorization: Bearer {token}' \
             -H 'Content-Type: application/json' -d '{{\"name\": \"my first application\"}}'\n",
            reachable(address),
        ));
    }
    if config.general.dev && !address.ip().is_loopback() {
        warn!(%address, "development mode is open to other machines, and what they send may reach this one's services");
    }
    outlet::stdout().put(text.as_bytes());
    Ok(())
}

/// Where this machine reaches what listens here.
pub(crate) const fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Why the daemon did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// Set the secret.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Look at the files that `tls.cert_file` and `tls.key_file` name.
    #[error("could not use the certificate that tls.cert_file and tls.key_file name")]
    Tls(#[from] TlsError),
    /// Another program has the port, or the address is not of this machine.
    #[error("could not listen on {address}; choose another with {flag}")]
    Listen {
        address: SocketAddr,
        /// How.
        flag: &'static str,
        #[source]
        error: io::Error,
    },
    /// Make the data folder writable, or choose another with `--data`.
    #[error("could not make the folder {path}")]
    Folder {
        path: String,
        #[source]
        error: io::Error,
    },
    /// Look at `http.ca_file`.
    #[error("could not read the certificates in {path}, which http.ca_file names")]
    Certificates {
        path: String,
        #[source]
        error: io::Error,
    },
    /// Look at the settings in the section `http`.
    #[error("could not build the http client")]
    Transport(#[source] BuildError),
    /// Look at the store.
    #[error("could not start the engine")]
    Start(#[source] StartError),
    /// The operating system refuses.
    #[error("could not listen for signals")]
    Signals(#[source] io::Error),
    /// A fault of ours or of the cryptography package.
    #[error("could not make a token")]
    Token(#[source] IssueError),
    /// Nobody could reach us any more.
    #[error("the api stopped listening")]
    Api(#[source] Option<io::Error>),
    /// The disk may hang. What was in flight is sent again after the next start.
    #[error("the engine did not stop within its grace period; what was in flight is sent again")]
    Stuck,
}

impl ServeError {
    const fn listen(address: SocketAddr, flag: &'static str, error: io::Error) -> Self {
        Self::Listen { address, flag, error }
    }
}

#[cfg(test)]
mod tests;
