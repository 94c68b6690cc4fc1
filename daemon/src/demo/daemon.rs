//! The daemon in a process of its own, so that it can be killed.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::DemoError;

const READY_WITHIN: Duration = Duration::from_secs(30);
const STOPPED_WITHIN: Duration = Duration::from_secs(40);

/// A running daemon. It ends with its owner.
pub(super) struct Daemon {
    child: Child,
    pub(super) address: SocketAddr,
    /// Good for everything of the default organisation; printed by `--dev` alone.
    pub(super) token: String,
}

impl Daemon {
    /// Starts this very program as `serve --dev`, on a free port or where it was before.
    pub(super) async fn start(data: &Path, address: Option<SocketAddr>) -> Result<Self, DemoError> {
        let failed = |error: std::io::Error| DemoError::Daemon(error.to_string());
        let listen = address.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
        let mut serve = Command::new(std::env::current_exe().map_err(failed)?);
        serve.args(["serve", "--dev", "--storage", "fjall", "--listen", &listen, "--data"]).arg(data);
        // What is set for the daemons of this machine must not reach this one.
        let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POSTRIDER_"));
        for (name, _) in ours {
            serve.env_remove(name);
        }
        serve.env("POSTRIDER_LOG_LEVEL", "warn").stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = serve.spawn().map_err(failed)?;
        let output = child.stdout.take().ok_or_else(|| DemoError::Daemon("it has no output".to_owned()))?;
        let mut lines = BufReader::new(output).lines();
        let (mut address, mut token) = (None, None);
        let ready = async {
            while let Some(line) = lines.next_line().await.map_err(failed)? {
                if let Some(text) = line.strip_prefix("listening on http://") {
                    address = text.parse().ok();
                } else if let Some(text) = line.strip_prefix("organisation token: ") {
                    token = Some(text.to_owned());
                    return Ok(());
                }
            }
            Err(DemoError::Daemon("it ended at once".to_owned()))
        };
        timeout(READY_WITHIN, ready).await.map_err(|_| DemoError::Patience("the daemon starts"))??;
        // What it prints later is read and dropped, so that it never waits for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let told = address.zip(token).ok_or_else(|| DemoError::Daemon("it did not say where it listens".to_owned()));
        told.map(|(address, token)| Self { child, address, token })
    }

    /// As a power cut would, but for the disk.
    pub(super) async fn kill(&mut self) -> Result<(), DemoError> {
        self.child.kill().await.map_err(|error| DemoError::Daemon(error.to_string()))
    }

    /// As an operator would, and it must end well.
    pub(super) async fn stop(mut self) -> Result<(), DemoError> {
        let broken = |what: &str| DemoError::Broken(format!("the daemon {what}"));
        let process = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let process = process.ok_or_else(|| broken("had ended by itself"))?;
        kill_process(process, Signal::TERM).map_err(|_| broken("could not be asked to stop"))?;
        match timeout(STOPPED_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(_) => Err(broken("did not end well")),
            Err(_) => Err(broken("did not stop when it was asked to")),
        }
    }
}
