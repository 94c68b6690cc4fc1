//! What goes out on the wire.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use postrider::Transport;
use postrider_tests::Receiver;

use crate::{Failed, attempt, post, transport};

// Row 34.
#[tokio::test]
async fn header_names_have_one_casing_on_new_and_reused_connections_and_after_failures() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    for path in ["/ok", "/503", "/early-close", "/ok", "/ok"] {
        let mut request = attempt(&receiver.url(path))?;
        request.headers.insert(HeaderName::from_bytes(b"X-My-Header")?, HeaderValue::from_static("One"));
        // The outcome is not what this is about.
        let _ = transport.send(request).await;
    }
    // What broke on a kept connection came again.
    let requests = receiver.wait_for(6).await;
    let names = |n: usize| requests[n].headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    let mut expected = [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "content-type",
        "x-my-header",
        "accept",
        "user-agent",
        "accept-encoding",
        "host",
        "content-length",
    ];
    expected.sort_unstable();
    for n in 0..6 {
        let mut sent = names(n);
        sent.sort_unstable();
        assert_eq!(sent, expected, "request {n}");
    }
    assert_ne!(requests[2].connection, requests[3].connection, "a new connection after the old one was closed");
    assert_eq!(requests[4].connection, requests[5].connection, "the connection is used again");
    Ok(())
}

#[tokio::test]
async fn names_that_were_given_in_some_case_go_out_so_always() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    for path in ["/ok", "/503", "/early-close", "/ok", "/ok"] {
        let mut request = attempt(&receiver.url(path))?;
        for (name, value) in [("X-My-HEADER", "One"), ("User-Agent", "Acme/1"), ("x-plain", "2")] {
            request.headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_static(value));
        }
        let request = request.names(["X-My-HEADER".into(), "User-Agent".into()]);
        // The outcome is not what this is about.
        let _ = transport.send(request).await;
    }
    for request in receiver.wait_for(6).await {
        let sent = |name: &str| request.headers.iter().filter(|(sent, _)| sent == name).count();
        for name in ["X-My-HEADER", "User-Agent", "x-plain", "webhook-id", "content-type", "accept", "host"] {
            assert_eq!(sent(name), 1, "{name}: {:?}", request.headers);
        }
        assert_eq!(request.headers.len(), 11, "{:?}", request.headers);
    }
    Ok(())
}

// Row 36.
#[tokio::test]
async fn every_attempt_has_one_user_agent_and_a_custom_one_replaces_it() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    post(&transport, &receiver.url("/ok")).await?;
    let mut request = attempt(&receiver.url("/ok"))?;
    request.headers.insert(header::USER_AGENT, HeaderValue::from_static("Acme/1"));
    transport.send(request).await?;
    let requests = receiver.wait_for(2).await;
    let ours = concat!("Postrider/", env!("CARGO_PKG_VERSION"));
    assert_eq!(requests[0].headers_named("user-agent"), [ours]);
    assert_eq!(requests[1].headers_named("user-agent"), ["Acme/1"]);
    Ok(())
}

// Row 37.
#[tokio::test]
async fn the_content_type_is_sent_once_as_given() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    post(&transport, &receiver.url("/ok")).await?;
    let mut request = attempt(&receiver.url("/ok"))?;
    request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    transport.send(request).await?;
    let requests = receiver.wait_for(2).await;
    assert_eq!(requests[0].headers_named("content-type"), ["application/json"]);
    assert_eq!(requests[1].headers_named("content-type"), ["text/plain; charset=utf-8"]);
    Ok(())
}

// Row 39.
#[tokio::test]
async fn no_coding_is_offered_and_one_that_is_used_nonetheless_is_kept_as_it_came() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    let answer = post(&transport, &receiver.url("/gzip")).await?;
    assert_eq!(receiver.requests()[0].headers_named("accept-encoding"), ["identity"]);
    assert_eq!(answer.headers[header::CONTENT_ENCODING], "gzip");
    assert_eq!(answer.body[..2], [0x1f, 0x8b]);
    Ok(())
}

// Rows 2, 3, 5, 7, 10, 13.
#[tokio::test]
async fn the_body_arrives_byte_by_byte_and_its_length_counts_bytes() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    let long = |n: usize| format!("\"{}\"", "é".repeat(n));
    let bodies = [
        "{\"a\":\"😊\", \"b\":\"\\ud83d\\ude0a\", \"c\":\"שלום\"}".to_owned(),
        "{\"\u{2028}\":\"\u{2029}\u{feff}\u{85}\"}".to_owned(),
        r#"{"z":1,"a":2,"10":3,"2":4,"a":5}"#.to_owned(),
        r#"{"a":"x\u0000y","b":"\\u0000"}"#.to_owned(),
        "text\r\n".to_owned(),
        "text\n\n".to_owned(),
        "text ".to_owned(),
        "\n".to_owned(),
        String::new(),
        "a\0b".to_owned(),
        long(1_686),
        long(65_535),
        long(65_536),
        long(900_000),
    ];
    for body in &bodies {
        let mut request = attempt(&receiver.url("/ok"))?;
        request.body = Bytes::from(body.clone());
        transport.send(request).await?;
    }
    let requests = receiver.wait_for(bodies.len()).await;
    for (request, body) in requests.iter().zip(&bodies) {
        assert!(request.body == body.as_bytes(), "{:?}", &body.chars().take(20).collect::<String>());
        assert_eq!(request.headers_named("content-length"), [body.len().to_string()]);
    }
    Ok(())
}

// Row 31: whether a value is acceptable is decided on save; those that are accepted can be sent.
#[tokio::test]
async fn header_values_beyond_ascii_are_sent_as_their_bytes() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    let mut request = attempt(&receiver.url("/ok"))?;
    request.headers.insert("x-place", HeaderValue::from_bytes("café".as_bytes())?);
    transport.send(request).await?;
    assert_eq!(receiver.requests()[0].header("x-place"), Some("café"));
    Ok(())
}

// Rows 28 and 125.
#[tokio::test]
async fn one_call_is_one_post_with_each_webhook_header_once() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    post(&transport()?, &receiver.url("/ok")).await?;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].method.as_str(), requests[0].version.as_str()), ("POST", "HTTP/1.1"));
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        assert_eq!(requests[0].headers_named(name).len(), 1, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn proxies_of_the_environment_are_ignored() -> Result<(), Failed> {
    // Set by the test runner for this process only, or not at all: then the builder's own test stands alone.
    let (receiver, proxy) = (Receiver::start().await?, Receiver::start().await?);
    let program = std::env::current_exe()?;
    let mut child = tokio::process::Command::new(program);
    child.args(["--exact", "request::sends_to_what_the_environment_says", "--nocapture"]);
    child.env("POSTRIDER_TEST_URL", receiver.url("/ok"));
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"] {
        child.env(name, proxy.url(""));
    }
    assert!(child.status().await?.success());
    assert_eq!((receiver.requests().len(), proxy.connections()), (1, 0));
    Ok(())
}

/// The other half of the test above, in a process of its own, because it needs an environment of its own.
#[tokio::test]
async fn sends_to_what_the_environment_says() -> Result<(), Failed> {
    if let Ok(url) = std::env::var("POSTRIDER_TEST_URL") {
        post(&transport()?, &url).await?;
    }
    Ok(())
}
