//! What every answer has, and how bodies may travel.

use std::{
    io::{self, Read, Write},
    sync::{Mutex, PoisonError},
};

use axum::{http::HeaderMap, response::Response};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[tokio::test]
async fn every_answer_has_an_id_which_is_the_callers_if_it_is_a_good_one() -> Result<(), Failed> {
    let world = World::new().await?;
    let longest = "x".repeat(128);
    for (name, given) in [
        ("svix-req-id", "17"),
        ("x-request-id", "a-b_c/~!"),
        ("x-request-id", longest.as_str()),
        ("X-Request-Id", "upper"),
    ] {
        let answer = world.ask("GET", "/api/v1/app", &[(name, given.as_bytes())], Vec::new()).await?;
        assert_eq!((answer.status(), id_of(&answer)?), (StatusCode::OK, given), "{name}");
    }
    let both: [(&str, &[u8]); 2] = [("x-request-id", b"of-a-gateway"), ("svix-req-id", b"first")];
    assert_eq!(id_of(&world.ask("GET", "/api/v1/app", &both, Vec::new()).await?)?, "first");

    let mut fresh = std::collections::BTreeSet::new();
    for given in [b"".as_slice(), b"a b", b"tab\t", "\u{e9}".as_bytes(), "x".repeat(129).as_bytes()] {
        let answer = world.ask("GET", "/api/v1/app", &[("x-request-id", given)], Vec::new()).await?;
        let id = id_of(&answer)?.to_owned();
        assert!(id.starts_with("req_") && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id} for {given:?}");
        fresh.insert(id);
    }
    for (method, path) in
        [("GET", "/"), ("PATCH", "/api/v1/app"), ("OPTIONS", "/api/v1/app"), ("GET", "/api/v1/health/ping")]
    {
        fresh.insert(id_of(&world.ask(method, path, &[], Vec::new()).await?)?.to_owned());
    }
    assert_eq!(fresh.len(), 9, "no id comes twice: {fresh:?}");

    let answer = world.ask("GET", "/api/v1/app", &[("origin", b"https://a.example")], Vec::new()).await?;
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_EXPOSE_HEADERS], "x-request-id,retry-after,warning");
    Ok(())
}

#[tokio::test]
async fn what_is_logged_of_a_request_has_its_id_and_not_its_token_or_query() -> Result<(), Failed> {
    let (world, log) = (World::new().await?, Log::default());
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    let guard = tracing::subscriber::set_default(subscriber.with_writer(log.clone()).finish());
    world.ask("GET", "/api/v1/app/none?iterator=private", &[("svix-req-id", b"mine")], Vec::new()).await?;
    world.ask("POST", "/api/v1/cloud-events/grant/private", &[], Vec::new()).await?;
    drop(guard);
    let logged = log.text();
    let line = logged.lines().find(|line| line.ends_with("answered status=404")).ok_or(logged.clone())?;
    assert!(line.contains(r#"request{id="mine" method=GET path="/api/v1/app/none"}"#), "{line}");
    assert!(!logged.contains("private") && !logged.contains(&world.token), "{logged}");
    Ok(())
}

#[tokio::test]
async fn a_long_answer_comes_compressed_to_whoever_asks() -> Result<(), Failed> {
    let world = World::new().await?;
    let short = world.ask("GET", "/api/v1/app", &[("accept-encoding", b"gzip")], Vec::new()).await?;
    assert_eq!(encoding_of(short.headers()), None);
    for n in 0..20 {
        world.post("/app", json!({ "name": format!("application {n}") })).await?;
    }
    let plain = world.ask("GET", "/api/v1/app", &[], Vec::new()).await?;
    assert_eq!(encoding_of(plain.headers()), None);
    let plain = to_bytes(plain.into_body(), 1 << 20).await?;
    for (asked, encoding) in
        [("gzip", Some("gzip")), ("br, gzip;q=0.5", Some("gzip")), ("br", None), ("gzip;q=0", None), ("identity", None)]
    {
        let answer = world.ask("GET", "/api/v1/app", &[("accept-encoding", asked.as_bytes())], Vec::new()).await?;
        assert_eq!(encoding_of(answer.headers()), encoding, "{asked}");
        if encoding.is_some() {
            assert!(answer.headers().get_all(header::VARY).iter().any(|vary| vary == "accept-encoding"));
            let sent = to_bytes(answer.into_body(), 1 << 20).await?;
            let mut unpacked = Vec::new();
            GzDecoder::new(&*sent).read_to_end(&mut unpacked)?;
            assert!(unpacked == plain && sent.len() < plain.len() / 2, "{} of {}", sent.len(), plain.len());
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_body_may_come_compressed_and_its_limit_counts_what_it_holds() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let check = async |path: &str, encoding: &str, body: Vec<u8>, expected: u16, part: &str| -> Result<(), Failed> {
        let headers = [("content-encoding", encoding.as_bytes()), ("content-type", b"application/json".as_slice())];
        let answer = world.ask("POST", &format!("/api/v1/app/acme/msg{path}"), &headers, body).await?;
        let status = answer.status();
        let told = String::from_utf8(to_bytes(answer.into_body(), 1 << 20).await?.to_vec())?;
        assert_eq!(status.as_u16(), expected, "{encoding}: {told}");
        assert!(told.contains(part), "{encoding}: {told}");
        Ok(())
    };
    let message = |payload: &str| format!(r#"{{"eventType":"a","payload":{{"k":"{payload}"}}}}"#).into_bytes();
    let payload = r#"{"k":"of gzip"}"#;
    check("", "gzip", gzip(&message("of gzip"))?, 202, "msg_").await?;
    assert_eq!(world.receiver.wait_for(1).await[0].body, payload.as_bytes());
    check("", "identity", message("as it is"), 202, "msg_").await?;

    // Small on its way, and more than may be held: no more is unpacked than the limit.
    let bomb = gzip(&message(&"x".repeat(64 << 20)))?;
    assert!(bomb.len() < 2 << 20, "{} bytes", bomb.len());
    check("", "gzip", bomb.clone(), 413, "payload_too_large").await?;
    check("/batch", "gzip", bomb, 413, "payload_too_large").await?;
    // One within another is not unpacked twice.
    check("", "gzip, gzip", gzip(&gzip(&message("x"))?)?, 415, "Content-Encoding: gzip").await?;

    check("", "gzip", message("not compressed"), 400, "Content-Encoding").await?;
    let mut cut = gzip(&message("cut short"))?;
    cut.truncate(cut.len() - 9);
    check("", "gzip", cut, 400, "Content-Encoding").await?;
    for other in ["br", "zstd", "deflate", "x"] {
        check("", other, message("x"), 415, "unsupported_media_type").await?;
    }
    Ok(())
}

fn id_of(answer: &Response) -> Result<&str, Failed> {
    let mut ids = answer.headers().get_all("x-request-id").iter();
    let id = ids.next().ok_or_else(|| format!("no id with {}", answer.status()))?;
    assert_eq!(ids.next(), None);
    Ok(id.to_str()?)
}

fn encoding_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_ENCODING)?.to_str().ok()
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes)?;
    packed.finish()
}

impl World {
    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &[u8])],
        body: Vec<u8>,
    ) -> Result<Response, Failed> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        Ok(self.router.clone().oneshot(request.body(Body::from(body))?).await?)
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Browsers show nothing to a page of an answer without these headers: not why a request was too large, nor how long to
/// wait.
#[tokio::test]
async fn what_is_refused_for_its_head_is_told_to_browsers() -> Result<(), Failed> {
    let world = World::new().await?;
    let ask = async |path: &str, fields: usize, bytes: usize| -> Result<(StatusCode, HeaderMap), Failed> {
        let mut request = Request::builder().uri(format!("/api/v1{path}")).header("origin", "https://page.example");
        for n in 0..fields {
            request = request.header(format!("x-{n}"), "v".repeat(bytes));
        }
        let answer = world.router.clone().oneshot(request.body(Body::empty())?).await?;
        Ok((answer.status(), answer.headers().clone()))
    };
    let long = format!("/app?a={}", "a".repeat(62_000));
    for (path, fields, bytes, status) in [
        (&*long, 0, 0, StatusCode::URI_TOO_LONG),
        ("/app", 120, 1, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        ("/app", 3, 30_000, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        ("/app", 3, 3, StatusCode::UNAUTHORIZED),
    ] {
        let (found, headers) = ask(path, fields, bytes).await?;
        assert_eq!(found, status);
        assert_eq!(headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(|of| of.as_bytes()), Some(&b"*"[..]));
        let exposed = headers.get(header::ACCESS_CONTROL_EXPOSE_HEADERS).and_then(|all| all.to_str().ok());
        assert!(exposed.is_some_and(|all| all.contains("retry-after")), "{exposed:?}");
    }
    Ok(())
}
