//! The daemon in a process of its own, and a client of it that never gives up.

use std::{
    io::{BufRead, PipeReader},
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

#[cfg(target_os = "linux")]
use postrider_storage::testing::power::Recorder;
use rustix::process::{Pid, Signal, kill_process};
#[cfg(target_os = "linux")]
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::Failed;

/// Starts the daemon.
const SHELL: &str = "sh";
/// Nothing here takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon. It ends with its owner.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

impl Daemon {
    /// On a free port, or where it was before.
    pub(crate) async fn start(data: &Path, address: Option<SocketAddr>, flags: &[&str]) -> Result<Self, Failed> {
        Self::started(serve(Command::new(SHELL), data, address, flags, "warn")).await
    }

    /// What it does to files is recorded.
    #[cfg(target_os = "linux")]
    pub(crate) async fn start_recorded(data: &Path, recorder: &Recorder, flags: &[&str]) -> Result<Self, Failed> {
        Self::started(serve(recorder.command(SHELL).into(), data, None, flags, "warn")).await
    }

    async fn started(mut serve: Command) -> Result<Self, Failed> {
        let mut child = serve.stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("it has a standard output")?).lines();
        let (mut address, mut token) = (None, None);
        while token.is_none() {
            let line = timeout(PATIENCE, lines.next_line()).await??.ok_or("the daemon ended at once")?;
            if let Some(text) = line.strip_prefix("listening on http://") {
                address = Some(text.parse()?);
            } else if let Some(text) = line.strip_prefix("organisation token: ") {
                token = Some(text.to_owned());
            }
        }
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, address: address.ok_or("it listens")?, token: token.ok_or("it has a token")? })
    }

    /// With output and log in one pipe, as `2>&1 |` makes it, which is read until the daemon listens, and no further.
    pub(crate) async fn start_piped(data: &Path, level: &str, flags: &[&str]) -> Result<(Self, PipeReader), Failed> {
        let (reader, writer) = std::io::pipe()?;
        let child =
            serve(Command::new(SHELL), data, None, flags, level).stdout(writer.try_clone()?).stderr(writer).spawn()?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut lines = std::io::BufReader::with_capacity(1, reader);
            let (mut address, mut token) = (None, None);
            while token.is_none() {
                let mut line = String::new();
                if lines.read_line(&mut line)? == 0 {
                    return Err("the daemon ended at once".into());
                }
                if let Some(text) = line.trim_end().strip_prefix("listening on http://") {
                    address = Some(text.parse()?);
                } else if let Some(text) = line.trim_end().strip_prefix("organisation token: ") {
                    token = Some(text.to_owned());
                }
            }
            Ok::<_, Failed>((lines.into_inner(), address, token))
        });
        let (reader, address, token) = timeout(PATIENCE, reading).await???;
        let daemon = Self { child, address: address.ok_or("it listens")?, token: token.ok_or("it has a token")? };
        Ok((daemon, reader))
    }

    pub(crate) async fn kill(mut self) -> Result<(), Failed> {
        Ok(self.child.kill().await?)
    }

    /// Stopped as an operator would; says how long that took. It must exit with 0.
    pub(crate) async fn stop(self) -> Result<Duration, Failed> {
        let began = Instant::now();
        self.signal(Signal::TERM)?;
        self.ended().await?;
        Ok(began.elapsed())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Failed> {
        Ok(kill_process(self.process()?, signal)?)
    }

    /// Whether it may write files. If not, each write fails, as on a disk that is full.
    #[cfg(target_os = "linux")]
    pub(crate) fn let_write_files(&self, may: bool) -> Result<(), Failed> {
        let maximum = getrlimit(Resource::Fsize).maximum;
        let limit = Rlimit { current: if may { maximum } else { Some(0) }, maximum };
        let _before = prlimit(Some(self.process()?), Resource::Fsize, limit)?;
        Ok(())
    }

    fn process(&self) -> Result<Pid, Failed> {
        Ok(self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or("it runs")?)
    }

    /// It must exit with 0.
    pub(crate) async fn ended(mut self) -> Result<(), Failed> {
        let status = timeout(PATIENCE, self.child.wait()).await??;
        assert!(status.success(), "{status}");
        Ok(())
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address, &self.token)
    }
}

fn serve(mut serve: Command, data: &Path, address: Option<SocketAddr>, flags: &[&str], level: &str) -> Command {
    let listen = address.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
    // A write beyond a limit of the size of files fails, as on a disk that is full, and does not end the process.
    serve.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_postrider")]);
    serve.args(["serve", "--dev", "--listen", &listen, "--data"]).arg(data).args(flags);
    serve.env("POSTRIDER_LOG_LEVEL", level).kill_on_drop(true);
    serve
}

/// Asks the daemon.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    token: Arc<str>,
}

impl Client {
    fn new(address: SocketAddr, token: &str) -> Self {
        let _there_already = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(15)).build();
        Self { http: http.expect("a client without options can be built"), address, token: token.into() }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value, key: Option<&str>) -> reqwest::Result<(u16, Value)> {
        let mut request = self.http.post(format!("http://{}/api/v1{path}", self.address)).bearer_auth(&self.token);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = request.header("content-type", "application/json").body(body.to_string()).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or_default()))
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Result<Value> {
        let request = self.http.get(format!("http://{}/api/v1{path}", self.address)).bearer_auth(&self.token);
        Ok(serde_json::from_slice(&request.send().await?.bytes().await?).unwrap_or_default())
    }

    pub(crate) async fn metrics(&self) -> reqwest::Result<String> {
        self.http.get(format!("http://{}/metrics", self.address)).send().await?.text().await
    }

    /// An application and one endpoint.
    pub(crate) async fn register(&self, url: &str, delivery: Value) -> Result<(), Failed> {
        let app = self.post("/app", &json!({ "name": "Acme", "uid": "acme" }), None).await?;
        assert_eq!(app.0, 201, "{}", app.1);
        let hook = json!({ "url": url, "uid": "hook", "delivery": delivery });
        let hook = self.post("/app/acme/endpoint", &hook, None).await?;
        assert_eq!(hook.0, 201, "{}", hook.1);
        Ok(())
    }

    /// Publishes with this key until it is acknowledged, whatever happens to the daemon meanwhile.
    pub(crate) async fn publish_surely(&self, body: &Value, key: &str) -> Result<(), Failed> {
        let began = Instant::now();
        loop {
            match self.post("/app/acme/msg", body, Some(key)).await {
                Ok((202, _)) => return Ok(()),
                Ok((503, _)) | Err(_) if began.elapsed() < PATIENCE => tokio::task::yield_now().await,
                Ok((status, answer)) => return Err(format!("{status}: {answer}").into()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What is counted by many tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
