//! What is set reaches what serves, and what may change while it serves does.

use std::io;

use super::*;

/// Status and body of the answer.
pub(super) fn ask(address: &str, token: &str, method: &str, path: &str, body: &str) -> Result<(u16, String), Failed> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("a status")?;
    Ok((status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()))
}

/// Asks again and again until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> Result<bool, Failed>) -> Result<(), Failed> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > deadline {
            return Err(format!("it never came: {what}").into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn free_address() -> io::Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

#[test]
fn what_is_set_holds_for_what_is_made() -> Result<(), Failed> {
    let settings = [
        "delivery.max_in_flight=3",
        "delivery.disable_after_hours=5",
        "delivery.secret_type=ed25519",
        "delivery.reserved_header_prefixes=x-acme-",
        "refuse_unknown_fields=true",
        "public_url=https://hooks.example.com",
    ];
    let settings: Vec<_> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let mut daemon = Daemon::start(&[&["--dev", "--storage", "memory"][..], &settings].concat())?;
    let address = daemon.listening()?;
    let token = daemon.line()?;
    let token = token.strip_prefix("organisation token: ").ok_or("a token")?;
    let made = ask(&address, token, "POST", "/api/v1/app", r#"{"name":"Acme","uid":"acme"}"#)?;
    assert_eq!(made.0, 201, "{}", made.1);
    let hook = r#"{"url":"http://127.0.0.1:9/","uid":"hook"}"#;
    let made = ask(&address, token, "POST", "/api/v1/app/acme/endpoint", hook)?;
    assert!(made.1.contains(r#""maxInFlight":3"#) && made.1.contains(r#""disableAfterSeconds":18000"#), "{}", made.1);
    let secret = ask(&address, token, "GET", "/api/v1/app/acme/endpoint/hook/secret", "")?;
    assert!(secret.1.contains("whpk_"), "{}", secret.1);
    let reserved = r#"{"url":"http://127.0.0.1:9/","headers":{"X-Acme-Tenant":"1"}}"#;
    let refused = ask(&address, token, "POST", "/api/v1/app/acme/endpoint", reserved)?;
    assert_eq!(refused.0, 422, "{}", refused.1);
    let access = ask(&address, token, "POST", "/api/v1/auth/app-portal-access/acme", "{}")?;
    assert!(access.1.contains(r#""url":"https://hooks.example.com/api/v1/app/app_"#), "{}", access.1);
    let refused = ask(&address, token, "POST", "/api/v1/app", r#"{"name":"Acme","uuid":"acme"}"#)?;
    assert_eq!(refused.0, 422, "{}", refused.1);
    Ok(())
}

/// A client that filled the API's listener kept the load balancer from asking, which took the daemon for dead.
#[test]
fn health_may_have_a_listener_of_its_own() -> Result<(), Failed> {
    let health = free_address()?;
    let setting = format!("health.listen={health}");
    let mut daemon = Daemon::start(&["--dev", "--storage", "memory", "--set", &setting])?;
    let address = daemon.listening()?;
    for (at, path, status) in [
        (&health, "/health", 200),
        (&health, "/health/ping", 204),
        (&health, "/api/v1/health", 200),
        (&health, "/api/v1/app", 404),
        (&address, "/api/v1/health", 200),
        (&address, "/api/v1/app", 401),
    ] {
        assert_eq!(ask(at, "none", "GET", path, "")?.0, status, "{at} {path}");
    }
    Ok(())
}

/// A secret that was changed needed a restart, and ended all tokens at once.
#[test]
fn a_secret_is_changed_while_the_daemon_runs() -> Result<(), Failed> {
    let (old, new) = (SECRET, "another secret of more than 32 bytes");
    let folder = TempDir::new()?;
    let (current, previous) = (folder.path().join("current"), folder.path().join("previous"));
    fs::write(&current, old)?;
    fs::write(&previous, old)?;
    let mut serve = postrider(&["serve", "--storage", "memory", "--listen", "127.0.0.1:0"]);
    serve.env("POSTRIDER_JWT_SECRET_FILE", &current).env("POSTRIDER_JWT_PREVIOUS_SECRET_FILE", &previous);
    let mut daemon = Daemon::spawn(serve.stderr(Stdio::null()))?;
    let address = daemon.listening()?;
    let token = |secret: &str| -> Result<String, Failed> {
        Ok(TokenKey::new(secret)?.issue_organisation(OrganisationId::DEFAULT, now()?)?)
    };
    let (old, new) = (token(old)?, token(new)?);
    let is_good = |token: &str| Ok(ask(&address, token, "GET", "/api/v1/app", "")?.0 == 200);
    assert!(is_good(&old)? && !is_good(&new)?);
    fs::write(&current, "another secret of more than 32 bytes")?;
    until("the new secret", || is_good(&new))?;
    assert!(is_good(&old)?, "the old one goes on beside it");
    fs::write(&previous, "a third one that signed nothing at all")?;
    until("the end of the old secret", || Ok(!is_good(&old)?))?;
    assert!(is_good(&new)?);
    Ok(())
}

/// A terminal that was closed ended the daemon, with everything in flight.
#[test]
fn sighup_reads_the_level_of_the_log_again_and_stops_nothing() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let file = folder.path().join("postrider.toml");
    fs::write(&file, "[log]\nlevel = \"info\"\n")?;
    let mut serve = postrider(&["serve", "--dev", "--storage", "memory", "--listen", "127.0.0.1:0", "--config"]);
    let mut daemon = Daemon::spawn(serve.arg(&file).stderr(Stdio::piped()))?;
    let stderr = BufReader::new(daemon.child.stderr.take().ok_or("stderr")?);
    let (tell, logged) = channel();
    thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let wait_for = |words: &str| -> Result<(), Failed> {
        loop {
            let line = logged.recv_timeout(PATIENCE).map_err(|_| format!("{words} never came"))?;
            if line.contains(words) {
                return Ok(());
            }
        }
    };
    let address = daemon.listening()?;
    fs::write(&file, "[log]\nlevel = \"debug\"\n")?;
    kill_process(daemon.pid()?, Signal::HUP)?;
    wait_for("read the settings again")?;
    assert!(get(&address, "/api/v1/health/ping")?.starts_with("HTTP/1.1 204"));
    wait_for("answered")?;
    fs::write(&file, "[log]\nlevel = \"loud\"\n")?;
    kill_process(daemon.pid()?, Signal::HUP)?;
    wait_for("nothing was changed")?;
    kill_process(daemon.pid()?, Signal::TERM)?;
    assert_eq!(daemon.ended()?.0, Some(0));
    Ok(())
}
