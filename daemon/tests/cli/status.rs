//! `postrider status` beside a daemon.

use super::*;

#[test]
fn status_shows_endpoints_in_trouble_and_the_worst_first() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let data = folder.path().to_string_lossy().into_owned();
    let mut daemon = Daemon::start(&["--dev", "--data", &data])?;
    let address = daemon.listening()?;
    let token = daemon.line()?;
    let token = token.strip_prefix("organisation token: ").ok_or("a token")?;
    let status = |more: &[&str]| {
        let mut status = postrider(&["status", "--dev", "--data", &data, "--listen", &address]);
        status.args(more);
        status
    };
    assert_eq!(expect_success(&mut status(&[]))?, "no endpoint is in trouble: all are active\n");

    let send = |method: &str, path: &str, body: &str| -> Result<(), Failed> {
        let mut stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} /api/v1{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 20") { Ok(()) } else { Err(answer.into()) }
    };
    send("POST", "/app", r#"{"name":"Acme","uid":"acme"}"#)?;
    for uid in ["well", "held", "off"] {
        let body = format!(r#"{{"url":"http://127.0.0.1:9/{uid}","uid":"{uid}","disabled":{}}}"#, uid == "off");
        send("POST", "/app/acme/endpoint", &body)?;
    }
    send("POST", "/app/acme/endpoint/held/pause", "")?;
    let shown = expect_success(&mut status(&[]))?;
    let cells: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        cells,
        [
            ["status", "application", "endpoint", "url"],
            ["disabledByPerson", "acme", "off", "http://127.0.0.1:9/off"],
            ["paused", "acme", "held", "http://127.0.0.1:9/held"],
        ]
    );
    let elsewhere = TempDir::new()?;
    let other = elsewhere.path().join("data").to_string_lossy().into_owned();
    let refused = expect_failure(&mut postrider(&["status", "--dev", "--data", &other, "--listen", &address]), 2)?;
    assert!(refused.contains("name the data folder of the running daemon with --data"), "{refused}");
    assert_eq!(fs::read_dir(elsewhere.path())?.count(), 0, "nothing is made");
    let cut = expect_success(&mut status(&["--limit", "1"]))?;
    assert!(cut.contains("off") && !cut.contains("held") && cut.ends_with("and more: --limit shows them\n"), "{cut}");

    let other = expect_failure(postrider(&["status", "--listen", &address]).env("POSTRIDER_JWT_SECRET", SECRET), 1)?;
    assert!(other.starts_with(&format!("error: the daemon at http://{address}/ answered 401: ")), "{other}");
    kill_process(daemon.pid()?, Signal::TERM)?;
    assert_eq!(daemon.ended()?.0, Some(0));
    let gone = expect_failure(&mut status(&[]), 1)?;
    assert!(
        gone.starts_with(&format!("error: could not reach the daemon at http://{address}/: is it running?")),
        "{gone}"
    );
    let unknown = expect_failure(&mut postrider(&["status", "--dev", "--data", &data, "--listen", "127.0.0.1:0"]), 1)?;
    assert!(unknown.contains("--url"), "{unknown}");
    Ok(())
}
