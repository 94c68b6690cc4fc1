//! What counts as an answer.

use std::time::{Duration, Instant};

use http::StatusCode;
use postrider::{ResponseLimits, Transport, TransportError};
use postrider_tests::{Receiver, unused_address};

use crate::{Failed, all_texts, answer_of, attempt, builder, error_of, post, transport, words};

// Row 62.
#[tokio::test]
async fn any_body_is_a_success() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    for (path, body) in [
        ("/html", "<!doctype html><p>hello</p>"),
        ("/ok?body=", ""),
        ("/ok?body=%7B%22a%22:1%7D%7B%22b%22:2%7D", r#"{"a":1}{"b":2}"#),
    ] {
        let answer = answer_of(&receiver, path).await?;
        assert_eq!((answer.status, &answer.body[..], answer.truncated), (StatusCode::OK, body.as_bytes(), false));
    }
    Ok(())
}

// Row 64.
#[tokio::test]
async fn an_exchange_that_is_dropped_ends_at_the_receiver_too() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    let url = receiver.url("/hang");
    let hangs = post(&transport, &url);
    tokio::select! {
        answer = hangs => panic!("{answer:?}"),
        requests = receiver.wait_for(1) => assert_eq!(requests.len(), 1),
    }
    receiver.wait_until(|_| receiver.in_flight() == 0).await;
    Ok(())
}

// Rows 65 and 85.
#[tokio::test]
async fn every_status_is_an_answer_and_is_given_as_it_came() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    let statuses = [200, 201, 202, 204, 226, 299, 301, 304, 400, 404, 408, 409, 410, 425, 429, 500, 501, 505, 599, 999];
    for status in statuses {
        let answer = post(&transport, &receiver.url(&format!("/{status}"))).await?;
        assert_eq!(answer.status.as_u16(), status);
    }
    assert_eq!(receiver.requests().len(), statuses.len());
    assert_eq!(receiver.connections(), 1);
    Ok(())
}

// Row 68.
#[tokio::test]
async fn what_is_no_http_fails_the_attempt_in_words() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    for path in ["/not-http", "/status-line-garbage", "/http09"] {
        let error = error_of(&transport, &receiver.url(path)).await;
        assert!(matches!(error, TransportError::Exchange(_)), "{path}: {error:?}");
        assert!(words(&error).contains("is not http/1.1"), "{path}: {}", words(&error));
    }
    Ok(())
}

#[tokio::test]
async fn a_head_without_measure_fails_the_attempt_in_words() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    for bytes in [150_000, 2_000_000] {
        let error = error_of(&transport()?, &receiver.url(&format!("/big-head?bytes={bytes}"))).await;
        assert_eq!(words(&error), "the head of the answer is too large", "{bytes}");
    }
    assert_eq!(answer_of(&receiver, "/big-head?bytes=50000").await?.status, StatusCode::OK);
    Ok(())
}

// A receiver that sent interim answers without end kept a core busy until the attempt timed out.
#[tokio::test]
async fn heads_and_trailers_without_end_are_not_read_to_their_end() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    for (path, expected) in [
        ("/flood?of=hints", "the receiver sends interim answers (1xx) without end"),
        ("/flood?of=headers", "the head of the answer is too large"),
        ("/flood?of=header", "the head of the answer is too large"),
    ] {
        let url = receiver.url(path);
        let error = tokio::time::timeout(Duration::from_secs(60), error_of(&transport, &url)).await;
        assert_eq!(words(&error.expect("it is not read for ever")), expected, "{path}");
        receiver.wait_until(|_| receiver.in_flight() == 0).await;
    }
    for path in ["/flood?of=trailers", "/flood?of=extension"] {
        let answer = post(&transport, &receiver.url(path)).await?;
        assert_eq!((answer.status, answer.truncated), (StatusCode::OK, true), "{path}");
        receiver.wait_until(|_| receiver.in_flight() == 0).await;
    }
    assert_eq!(receiver.requests().len(), 5);
    Ok(())
}

// Row 71.
#[tokio::test]
async fn answers_without_length_keep_the_connection_and_are_not_waited_for() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    for n in 0..20 {
        let began = Instant::now();
        post(&transport, &receiver.url("/204")).await?;
        assert!(began.elapsed() < Duration::from_millis(100), "{n}: {:?}", began.elapsed());
    }
    assert_eq!(receiver.connections(), 1);
    Ok(())
}

// Rows 75 and 104.
#[tokio::test]
async fn redirects_are_answers_and_are_not_followed() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    for status in [301, 302, 303, 307, 308] {
        let path = format!("/redirect?status={status}&to={}", receiver.url("/ok"));
        assert_eq!(answer_of(&receiver, &path).await?.status.as_u16(), status);
    }
    assert_eq!(receiver.requests_to("/ok").len(), 0);
    assert_eq!(receiver.requests().len(), 5);
    Ok(())
}

// Rows 80 and 82: what the values mean is decided elsewhere; they arrive as sent, all of them.
#[tokio::test]
async fn headers_of_the_answer_are_given_as_they_came() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    let answer = answer_of(&receiver, "/retry-after?value=3&value=9&status=429").await?;
    let values: Vec<_> = answer.headers.get_all("retry-after").iter().map(|value| value.as_bytes()).collect();
    assert_eq!((answer.status.as_u16(), values), (429, vec![&b"3"[..], b"9"]));
    let answer = answer_of(&receiver, "/retry-after?date=-60").await?;
    assert!(answer.headers["retry-after"].to_str()?.ends_with("GMT"));
    Ok(())
}

// Row 85.
#[tokio::test]
async fn a_connection_that_breaks_before_the_head_fails_the_attempt_in_words() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    for (path, expected) in
        [("/reset", "connection was reset"), ("/early-close", "the connection was closed before an answer came")]
    {
        let error = error_of(&transport, &receiver.url(path)).await;
        assert!(matches!(error, TransportError::Exchange(_)), "{path}: {error:?}");
        assert_eq!(words(&error), expected, "{path}");
    }
    assert_eq!(receiver.requests().len(), 2, "nothing is sent twice");
    Ok(())
}

// Rows 85 and 87.
#[tokio::test]
async fn a_refused_connection_fails_the_attempt_and_the_next_one_succeeds_once_somebody_listens() -> Result<(), Failed>
{
    let (address, transport) = (unused_address()?, transport()?);
    let url = format!("http://{address}/ok");
    let error = error_of(&transport, &url).await;
    assert!(matches!(error, TransportError::Connect(_)), "{error:?}");
    assert_eq!(words(&error), "connection was refused");
    let _receiver = Receiver::builder().bind(address).start().await?;
    assert_eq!(post(&transport, &url).await?.status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn a_body_that_breaks_off_after_the_head_is_kept_as_far_as_it_came() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    let answer = answer_of(&receiver, "/cut-body?bytes=10&of=100").await?;
    assert_eq!((answer.status, &answer.body[..], answer.truncated), (StatusCode::OK, &b"xxxxxxxxxx"[..], true));
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_too_slow_is_kept_as_far_as_it_came() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    let (began, limits) = (Instant::now(), ResponseLimits { read_time: Duration::from_millis(350), ..limits() });
    let answer = transport.send(attempt(&receiver.url("/slow-body?seconds=1"))?.limits(limits)).await?;
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    assert!((1..10).contains(&answer.body.len()) && answer.truncated, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn the_body_is_not_waited_for_beyond_the_time_of_the_attempt() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    let time = Duration::from_millis(500);
    let request = attempt(&receiver.url("/slow-body?seconds=20"))?.timeout(time);
    let answer = tokio::time::timeout(time, transport.send(request)).await.expect("answered in time")?;
    assert_eq!((answer.status, answer.truncated), (StatusCode::OK, true));
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_there_is_kept_though_the_time_is_up() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    let request =
        attempt(&receiver.url("/ok?body=hello"))?.limits(ResponseLimits { read_time: Duration::ZERO, ..limits() });
    assert_eq!(transport.send(request).await?.body, "hello");
    Ok(())
}

#[tokio::test]
async fn a_body_without_end_is_kept_up_to_the_limit() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    for path in ["/endless-body", "/big-body?bytes=10000000", "/big-body?bytes=16385"] {
        let answer = answer_of(&receiver, path).await?;
        assert_eq!((answer.body.len(), answer.truncated), (16 << 10, true), "{path}");
    }
    let answer = answer_of(&receiver, "/big-body?bytes=16384").await?;
    assert_eq!((answer.body.len(), answer.truncated), (16 << 10, false));
    receiver.wait_until(|_| receiver.in_flight() == 0).await;
    Ok(())
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_body_longer_than_what_is_kept() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    for _ in 0..5 {
        post(&transport, &receiver.url("/big-body?bytes=60000")).await?;
    }
    assert_eq!(receiver.connections(), 1);
    Ok(())
}

#[tokio::test]
async fn hints_before_the_answer_are_passed_over() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    let answer = answer_of(&receiver, "/early-hints").await?;
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"ok"[..]));
    Ok(())
}

// Rows 121 and 135: nothing waits in a queue of the client's own.
#[tokio::test]
async fn many_requests_to_one_receiver_are_in_flight_at_once() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    let url = receiver.url("/slow-head?seconds=0.5");
    let sent: Vec<_> = (0..100)
        .map(|_| {
            let (transport, url) = (transport.clone(), url.clone());
            tokio::spawn(async move { post(&transport, &url).await })
        })
        .collect();
    for one in sent {
        one.await??;
    }
    assert_eq!(receiver.in_flight_max(), 100);
    Ok(())
}

// Row 159.
#[tokio::test]
async fn errors_hold_neither_path_nor_query_nor_credentials() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    let transport = builder().connect_timeout(Duration::from_millis(300)).build()?;
    let refused = unused_address()?;
    let urls = [
        format!("http://user:hidden1@{refused}/services/hidden2?token=hidden3"),
        format!("http://user:hidden1@{}/reset/hidden2?token=hidden3", receiver.address()),
        format!("http://user:hidden1@{}/early-close/hidden2?token=hidden3", receiver.address()),
        format!("http://user:hidden1@{}/not-http/hidden2?token=hidden3", receiver.address()),
        format!("https://user:hidden1@{}/ok/hidden2?token=hidden3", receiver.address()),
        "http://user:hidden1@127.0.0.2/hidden2?token=hidden3".to_owned(),
        "http://user:hidden1@no-such-name.invalid/hidden2?token=hidden3".to_owned(),
    ];
    for url in urls {
        let texts = all_texts(&error_of(&transport, &url).await);
        assert!(!texts.contains("hidden") && !texts.contains("aGlkZGVu"), "{texts}");
    }
    Ok(())
}

fn limits() -> ResponseLimits {
    ResponseLimits::default()
}
