//! The program as its users meet it: a process with arguments, an environment, output, signals and an exit code.

mod keys;
mod repair;
mod running;
mod status;

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use postrider::{OrganisationId, Timestamp};
use postrider_adapters::token::{Caller, TokenKey};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

type Failed = Box<dyn Error>;

const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn mistakes_in_file_environment_and_flags_are_told_together_with_exit_code_2() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let file = folder.path().join("postrider.toml");
    fs::write(&file, "storage = \"memory\"\n[limits]\npayload_byte = 1\n")?;
    let mut serve = postrider(&["serve", "--config"]);
    serve.arg(&file).args(["--listen", "nowhere"]).env("POSTRIDER_GRACE_SECOND", "1").env("POSTRIDER_STORAGE", "disk");
    let told = expect_failure(&mut serve, 2)?;
    for expected in [
        "error: the configuration has 4 mistakes",
        &format!(
            "{}:3: unknown key `limits.payload_byte`; the nearest known key is `limits.payload_bytes`",
            file.display()
        ),
        "POSTRIDER_GRACE_SECOND: unknown variable; the nearest known one is `POSTRIDER_GRACE_SECONDS`",
        "POSTRIDER_STORAGE: storage cannot be `disk`; give one of fjall, sled, memory",
        "--listen: listen cannot be `nowhere`; give an address and a port",
    ] {
        assert!(told.contains(expected), "{told}\nshould say\n{expected}");
    }
    Ok(())
}

#[test]
fn the_file_may_be_named_by_a_variable_and_flags_are_strongest() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let file = folder.path().join("postrider.toml");
    fs::write(&file, "grace_seconds = 5\nlisten = \"127.0.0.1:1\"\nstorage = \"sled\"\n")?;
    let mut config = postrider(&["config", "--storage", "memory"]);
    config.env("POSTRIDER_CONFIG", &file).env("POSTRIDER_LISTEN", "127.0.0.1:2");
    let printed = expect_success(&mut config)?;
    let from_file = format!("grace_seconds = 5  # {}:1", file.display());
    for line in [&from_file, "listen = \"127.0.0.1:2\"  # POSTRIDER_LISTEN", "storage = \"memory\"  # --storage"] {
        assert!(printed.lines().any(|printed| printed == line), "{line} in\n{printed}");
    }
    fs::remove_file(&file)?;
    let told = expect_failure(postrider(&["config"]).env("POSTRIDER_CONFIG", &file), 2)?;
    assert!(told.contains(&format!("could not read the configuration file {}", file.display())), "{told}");
    Ok(())
}

#[test]
fn config_hides_secrets() -> Result<(), Failed> {
    let printed = expect_success(postrider(&["config"]).env("POSTRIDER_JWT_SECRET", SECRET))?;
    assert!(printed.contains("# jwt_secret is set and hidden  # POSTRIDER_JWT_SECRET"), "{printed}");
    assert!(!printed.contains(SECRET), "{printed}");
    let told = expect_failure(&mut postrider(&["config", "--set", &format!("jwt_secret={SECRET}")]), 2)?;
    assert!(told.contains("the command line can be read by others") && !told.contains(SECRET), "{told}");
    Ok(())
}

#[test]
fn the_reference_is_a_file_to_begin_with() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let file = folder.path().join("postrider.toml");
    fs::write(&file, expect_success(&mut postrider(&["config", "--reference"]))?)?;
    let printed = expect_success(postrider(&["config", "--config"]).arg(&file))?;
    assert!(printed.contains("payload_bytes = 2097152  # "), "{printed}");
    Ok(())
}

#[test]
fn a_token_is_all_that_token_create_prints_and_it_verifies() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let file = folder.path().join("secret");
    fs::write(&file, format!("{SECRET}\n"))?;
    let create = |arguments: &[&str]| {
        let mut create = postrider(&["token", "create"]);
        expect_success(create.args(arguments).env("POSTRIDER_JWT_SECRET_FILE", &file))
    };
    let key = TokenKey::new(SECRET)?;
    assert_eq!(verify(&key, &create(&[])?)?, Caller::Organisation(OrganisationId::DEFAULT));

    let organisation: OrganisationId = other_than_default()?;
    let id = organisation.to_string();
    assert_eq!(verify(&key, &create(&["--organisation", &id])?)?, Caller::Organisation(organisation));

    let app = id.replace("org_", "app_");
    let token = create(&["--organisation", &id, "--application", &app])?;
    assert_eq!(verify(&key, &token)?, Caller::Application { application: app.parse()?, organisation });

    let short = key.read(create(&["--expires", "1h", "--read-only"])?.trim_end(), now()?)?;
    assert!(short.grant.access.is_read_only());
    let later = now()? + Duration::from_secs(3_600 + 90);
    assert!(key.read(create(&["--expires", "1h"])?.trim_end(), later).is_err());
    for wrong in ["", "0", "x", "1w", "99999999999999999999d"] {
        let told = expect_failure(
            postrider(&["token", "create", "--expires", wrong]).env("POSTRIDER_JWT_SECRET_FILE", &file),
            2,
        )?;
        assert!(told.contains("number of seconds"), "{told}");
    }

    expect_failure(&mut postrider(&["token", "create", "--application", &app]), 2)?;
    expect_failure(&mut postrider(&["token", "create", "--organisation", &app]), 2)?;
    Ok(())
}

#[test]
fn without_a_good_secret_there_are_no_tokens_and_no_server() -> Result<(), Failed> {
    for command in [["token", "create"].as_slice(), &["serve", "--storage", "memory"]] {
        let told = expect_failure(&mut postrider(command), 2)?;
        assert!(told.contains("postrider token secret"), "{told}");
        let told = expect_failure(postrider(command).env("POSTRIDER_JWT_SECRET", "short"), 2)?;
        assert!(told.contains("has 5 bytes") && told.contains("postrider token secret"), "{told}");
        let told = expect_failure(postrider(command).env("POSTRIDER_JWT_SECRET_FILE", "/nowhere/secret"), 2)?;
        assert!(told.contains("could not read the signing secret in /nowhere/secret\n  because "), "{told}");
    }
    let (one, other) = (token_secret()?, token_secret()?);
    assert_ne!(one, other);
    TokenKey::new(&one)?;
    expect_success(postrider(&["token", "create"]).env("POSTRIDER_JWT_SECRET", one))?;
    Ok(())
}

#[test]
fn serve_says_when_it_is_ready_and_ends_well_on_sigterm_and_sigint() -> Result<(), Failed> {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start(&["--dev", "--storage", "memory"])?;
        let address = daemon.listening()?;
        let numbers = get(&address, "/metrics")?;
        assert!(numbers.starts_with("HTTP/1.1 200") && numbers.contains("postrider_queue_wait_seconds"), "{numbers}");
        let answer = get(&address, "/api/v1/health/ping")?;
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        kill_process(daemon.pid()?, signal)?;
        let (code, rest) = daemon.ended()?;
        assert_eq!((code, rest.last().map(String::as_str)), (Some(0), Some("stopped: nothing was left in flight")));
        TcpStream::connect(&address).expect_err("nobody listens any more");
    }
    Ok(())
}

#[test]
fn dev_prints_a_token_and_a_line_for_curl_and_the_token_outlives_a_restart() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let data = folder.path().join("new").join("data");
    let run = || -> Result<(String, String), Failed> {
        let mut daemon = Daemon::start(&["--dev", "--data", &data.to_string_lossy()])?;
        let address = daemon.listening()?;
        let token = daemon.line()?;
        let token = token.strip_prefix("organisation token: ").ok_or("a token")?.to_owned();
        let curl = daemon.line()?;
        assert!(curl.starts_with(&format!("curl -X POST http://{address}/api/v1/app ")), "{curl}");
        assert!(curl.contains(&format!("'Authorization: Bearer {token}'")), "{curl}");
        kill_process(daemon.pid()?, Signal::TERM)?;
        assert_eq!(daemon.ended()?.0, Some(0));
        let kept = fs::read_to_string(data.join("dev-jwt-secret"))?;
        Ok((token, kept))
    };
    let ((first, kept), (_, still)) = (run()?, run()?);
    assert_eq!(kept, still);
    let key = TokenKey::new(&kept)?;
    assert_eq!(verify(&key, &first)?, Caller::Organisation(OrganisationId::DEFAULT));
    assert_eq!(mode(&data.join("dev-jwt-secret"))?, 0o600);
    assert_eq!(mode(&data)?, 0o700);
    assert_eq!(fs::read_dir(&data)?.count(), 2, "the secret and the store");

    let create = ["token", "create", "--dev", "--data", &data.to_string_lossy()];
    verify(&key, &expect_success(&mut postrider(&create))?)?;
    let told = expect_failure(&mut postrider(&["token", "create", "--dev", "--storage", "memory"]), 2)?;
    assert!(told.contains("only as long as the daemon"), "{told}");
    Ok(())
}

#[test]
fn without_dev_nothing_secret_is_printed() -> Result<(), Failed> {
    let mut serve = postrider(&["serve", "--storage", "memory", "--listen", "127.0.0.1:0", "--set", "log.level=trace"]);
    let mut daemon = Daemon::spawn(serve.env("POSTRIDER_JWT_SECRET", SECRET).stderr(Stdio::piped()))?;
    let mut stderr = daemon.child.stderr.take().ok_or("stderr")?;
    let logged = thread::spawn(move || {
        let mut logged = String::new();
        stderr.read_to_string(&mut logged).map(|_| logged)
    });
    daemon.listening()?;
    kill_process(daemon.pid()?, Signal::TERM)?;
    let (code, printed) = daemon.ended()?;
    assert_eq!((code, printed), (Some(0), vec!["stopped: nothing was left in flight".to_owned()]));
    let logged = logged.join().map_err(|_| "the reader of stderr panicked")??;
    assert!(logged.contains("stopping") && !logged.contains(SECRET), "{logged}");
    Ok(())
}

#[test]
fn logs_are_json_when_asked() -> Result<(), Failed> {
    let mut serve = postrider(&["serve", "--dev", "--storage", "memory", "--listen", "127.0.0.1:0"]);
    let mut daemon = Daemon::spawn(serve.args(["--set", "log.format=json"]).stderr(Stdio::piped()))?;
    let stderr = BufReader::new(daemon.child.stderr.take().ok_or("stderr")?);
    daemon.listening()?;
    kill_process(daemon.pid()?, Signal::TERM)?;
    daemon.ended()?;
    for line in stderr.lines() {
        let line = line?;
        assert!(line.starts_with("{\"timestamp\":") && line.ends_with('}'), "{line}");
    }
    Ok(())
}

#[test]
fn a_port_that_is_taken_is_told_with_its_cause() -> Result<(), Failed> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let told = expect_failure(&mut postrider(&["serve", "--dev", "--storage", "memory", "--listen", &address]), 1)?;
    let expected = format!("error: could not listen on {address}; choose another with --listen\n  because ");
    assert!(told.contains(&expected), "{told}");
    Ok(())
}

/// Deliveries cost up to twice as much with huge pages, because the allocator's fresh memory is zeroed two MiB at a time.
#[cfg(target_os = "linux")]
#[test]
fn the_daemon_takes_no_huge_pages() -> Result<(), Failed> {
    let mut daemon = Daemon::start(&["--dev", "--storage", "memory"])?;
    daemon.listening()?;
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id()))?;
    let line = status.lines().find(|line| line.starts_with("THP_enabled:"));
    assert!(line.is_none_or(|line| line.ends_with('0')), "{line:?}");
    Ok(())
}

fn postrider(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POSTRIDER_")) {
        command.env_remove(name);
    }
    command
}

/// What it wrote to standard error.
fn expect_failure(command: &mut Command, code: i32) -> Result<String, Failed> {
    let Output { status, stdout, stderr } = command.output()?;
    let stderr = String::from_utf8(stderr)?;
    assert_eq!((status.code(), stdout.is_empty()), (Some(code), true), "{stderr}");
    Ok(stderr)
}

/// What it wrote to standard output.
fn expect_success(command: &mut Command) -> Result<String, Failed> {
    let Output { status, stdout, stderr } = command.output()?;
    assert!(status.success() && stderr.is_empty(), "{status}: {}", String::from_utf8_lossy(&stderr));
    Ok(String::from_utf8(stdout)?)
}

fn token_secret() -> Result<String, Failed> {
    let printed = expect_success(&mut postrider(&["token", "secret"]))?;
    Ok(printed.strip_suffix('\n').ok_or("one line")?.to_owned())
}

fn verify(key: &TokenKey, printed: &str) -> Result<Caller, Failed> {
    let token = printed.strip_suffix('\n').unwrap_or(printed);
    Ok(key.verify(token, now()?)?)
}

fn now() -> Result<Timestamp, Failed> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(Timestamp::from_nanos(u64::try_from(now.as_nanos())?))
}

fn other_than_default() -> Result<OrganisationId, Failed> {
    let id: OrganisationId = OrganisationId::DEFAULT.to_string().replacen("_2", "_1", 1).parse()?;
    assert_ne!(id, OrganisationId::DEFAULT);
    Ok(id)
}

fn mode(path: &Path) -> Result<u32, Failed> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

fn get(address: &str, path: &str) -> Result<String, Failed> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A running `postrider serve`. Killed when dropped.
struct Daemon {
    child: Child,
    lines: Receiver<String>,
}

impl Daemon {
    fn start(arguments: &[&str]) -> Result<Self, Failed> {
        Self::spawn(postrider(&["serve", "--listen", "127.0.0.1:0"]).args(arguments).stderr(Stdio::null()))
    }

    fn spawn(command: &mut Command) -> Result<Self, Failed> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = BufReader::new(child.stdout.take().ok_or("stdout")?);
        let (tell, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Ok(Self { child, lines })
    }

    fn pid(&self) -> Result<Pid, Failed> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?).ok_or("a process id")?)
    }

    fn line(&self) -> Result<String, Failed> {
        Ok(self.lines.recv_timeout(PATIENCE)?)
    }

    /// Where, once it is ready.
    fn listening(&mut self) -> Result<String, Failed> {
        let line = self.line()?;
        Ok(line.strip_prefix("listening on http://").ok_or(format!("{line} instead of the ready line"))?.to_owned())
    }

    /// Its exit code, once it has ended, and what it printed since the last line that was read.
    fn ended(&mut self) -> Result<(Option<i32>, Vec<String>), Failed> {
        let mut rest = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            rest.push(line);
        }
        // Its end of the pipe is closed, or we have waited long enough.
        if Instant::now() >= deadline {
            return Err("it does not end".into());
        }
        Ok((self.child.wait()?.code(), rest))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
