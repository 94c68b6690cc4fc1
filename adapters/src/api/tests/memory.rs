//! What requests take of the memory has an end for each tenant, and none of it is taken from another one.
//!
//! Five hundred requests of a portal's token, each of 4 KB that unpack to 4 MB and none ever finished, took 2 GB; twenty
//! connections that asked for a list of endpoints a hundred times each and took no answer took 4 GB.

use std::{
    convert::Infallible,
    io::Write as _,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Bytes, HttpBody},
    http::HeaderValue,
};
use flate2::{Compression, write::GzEncoder};
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::*;

const MEMORY: usize = 12 << 20;
const BODY: usize = 1 << 20;

/// What is left of a request that goes on as long as this lives.
type Unfinished = (mpsc::Sender<Bytes>, tokio::task::JoinHandle<(StatusCode, HeaderMap)>);

impl World {
    async fn with_little_memory() -> Result<(Self, String, String), Failed> {
        let limits = RequestLimits { memory_bytes: MEMORY, ..RequestLimits::default() };
        let world = Self::limited(limits, None).await?;
        for uid in ["acme", "other"] {
            let made = world.post("/app", json!({ "name": uid, "uid": uid })).await?;
            assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
        }
        let (acme, other) = (world.portal_of("acme").await?, world.portal_of("other").await?);
        Ok((world, acme, other))
    }

    async fn portal_of(&self, uid: &str) -> Result<String, Failed> {
        let made = self.post(&format!("/auth/app-portal-access/{uid}"), json!({})).await?;
        Ok(made.1["token"].as_str().ok_or("there is a token")?.to_owned())
    }

    /// A request that has come so far and does not end.
    async fn begun(&self, token: &str, path: &str, first: Bytes, coding: Option<&str>) -> Result<Unfinished, Failed> {
        let (sender, receiver) = mpsc::channel(1);
        sender.send(first).await?;
        let mut request = Request::post(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(coding) = coding {
            request = request.header(header::CONTENT_ENCODING, coding);
        }
        let answered = self.router.clone().oneshot(request.body(Body::new(Pieces(receiver)))?);
        let answered = tokio::spawn(async move {
            let answer = answered.await.unwrap_or_else(|never| match never {});
            (answer.status(), answer.headers().clone())
        });
        // It has taken the piece once there is room for another one.
        drop(sender.reserve().await);
        Ok((sender, answered))
    }
}

struct Pieces(mpsc::Receiver<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

fn long_name() -> Bytes {
    format!("{{\"description\":\"{}", "d".repeat(BODY)).into()
}

fn packed(text: &[u8]) -> Result<Bytes, Failed> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text)?;
    encoder.flush()?;
    Ok(encoder.get_ref().clone().into())
}

#[tokio::test]
async fn unfinished_requests_of_an_application_end_and_leave_room_for_another() -> Result<(), Failed> {
    for (first, coding) in [(long_name(), None), (packed(&long_name())?, Some("gzip"))] {
        let (world, acme, other) = World::with_little_memory().await?;
        let mut all = Vec::new();
        for _ in 0..2 * MEMORY / BODY {
            all.push(world.begun(&acme, "/app/acme/endpoint", first.clone(), coding).await?);
        }
        let (mut waiting, mut refused) = (Vec::new(), 0);
        for (sender, answered) in all {
            // Those that are refused are so at once: they were read as far as they came.
            tokio::task::yield_now().await;
            if answered.is_finished() {
                let (status, headers) = answered.await?;
                assert_eq!((status, headers.get(header::RETRY_AFTER)), (StatusCode::TOO_MANY_REQUESTS, Some(&ONE)));
                refused += 1;
            } else {
                waiting.push((sender, answered));
            }
        }
        assert!(!waiting.is_empty() && waiting.len() <= MEMORY / BODY / 3, "{} wait, {refused} do not", waiting.len());
        let hook = json!({ "url": "http://127.0.0.1:9/hook", "description": "d".repeat(100) }).to_string();
        let made = world.with(&other, "POST", "/app/other/endpoint", hook.clone()).await?;
        assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
        drop(waiting);
        // Whoever has gone takes its bytes along.
        let again = async {
            while world.with(&acme, "POST", "/app/acme/endpoint", hook.clone()).await?.0 != StatusCode::CREATED {
                tokio::task::yield_now().await;
            }
            Ok::<_, Failed>(())
        };
        tokio::time::timeout(Duration::from_secs(10), again).await??;
    }
    Ok(())
}

const ONE: HeaderValue = HeaderValue::from_static("1");

#[tokio::test]
async fn answers_that_are_not_taken_end_and_leave_room_for_another() -> Result<(), Failed> {
    let (world, acme, other) = World::with_little_memory().await?;
    for token in [(&acme, "acme"), (&other, "other")] {
        for n in 0..20 {
            let text = "d".repeat(400);
            let hook = json!({ "url": format!("http://127.0.0.1:9/{n}"), "description": text }).to_string();
            let made = world.with(token.0, "POST", &format!("/app/{}/endpoint", token.1), hook).await?;
            assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
        }
    }
    let ask = async |token: &str, path: &str| -> Result<Response, Failed> {
        let request = Request::get(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::ACCEPT_ENCODING, "gzip");
        Ok(world.router.clone().oneshot(request.body(Body::empty())?).await?)
    };
    let mut untaken = Vec::new();
    loop {
        let answer = ask(&acme, "/app/acme/endpoint").await?;
        if answer.status() != StatusCode::OK {
            assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(answer.headers().get(header::RETRY_AFTER), Some(&ONE));
            break;
        }
        untaken.push(answer);
        assert!(untaken.len() < 1_000, "there is no end to them");
    }
    // Nothing is done that cannot be answered.
    let made = world.with(&acme, "POST", "/app/acme/endpoint", json!({ "url": "http://127.0.0.1:9/no" }).to_string());
    assert_eq!(made.await?.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask(&other, "/app/other/endpoint").await?.status(), StatusCode::OK);
    let one = untaken.pop().ok_or("there is one")?;
    assert!(one.into_body().collect().await?.to_bytes().len() > 100);
    assert_eq!(ask(&acme, "/app/acme/endpoint").await?.status(), StatusCode::OK);
    Ok(())
}

/// What anybody may ask for without a token takes nothing: a hundred streams of one connection that asked for the page, and took
/// none of it, took 13 MB, because it was packed for each.
#[tokio::test]
async fn what_is_asked_for_without_a_token_is_not_packed_for_each_who_asks() -> Result<(), Failed> {
    let world = World::new().await?;
    for path in ["/docs", "/api/v1/openapi.json"] {
        for coding in ["gzip", "x-gzip", "*", "gzip;q=0.1", "identity"] {
            let request = Request::get(path).header(header::ACCEPT_ENCODING, coding).body(Body::empty())?;
            let answer = world.router.clone().oneshot(request).await?;
            assert_eq!(answer.status(), StatusCode::OK);
            let bytes = answer.body().size_hint().exact();
            assert!(bytes.is_some(), "{path} with {coding} is made while it is taken");
        }
    }
    Ok(())
}
