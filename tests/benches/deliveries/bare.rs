//! The bare loop: reqwest, signed requests, 64 in flight, and nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use postrider::{
    EventId, Secret, Timestamp,
    http::{HeaderMap, HeaderName, HeaderValue, header},
};
use postrider_core::{
    SplitMix,
    signature::{self, SignatureStyle, SignedEvent},
};

use crate::{
    Failed,
    delivering::payload,
    measure::{Measured, Watch},
};

/// For one endpoint as many as an endpoint may have.
const fn in_flight(endpoints: usize) -> usize {
    if endpoints == 1 { 16 } else { 64 }
}

pub(crate) async fn run(port: u16, endpoints: usize, deliveries: usize) -> Result<Measured, Failed> {
    // A client asks for it even where nothing is encrypted; the second run finds it there.
    let _there_already = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .pool_max_idle_per_host(64)
        .build()?;
    let urls: Arc<[reqwest::Url]> =
        (0..endpoints).map(|n| crate::delivering::url(port, n).parse()).collect::<Result<_, _>>()?;
    send(&client, &urls, (deliveries / 10).max(endpoints)).await?;
    let watch = Watch::start();
    send(&client, &urls, deliveries).await?;
    Ok(watch.measured(deliveries))
}

async fn send(client: &reqwest::Client, urls: &Arc<[reqwest::Url]>, deliveries: usize) -> Result<(), Failed> {
    let next = Arc::new(AtomicUsize::new(0));
    let secret = Arc::new(Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")?);
    let tasks: Vec<_> = (0..in_flight(urls.len()))
        .map(|task| {
            let (client, urls, next, secret) =
                (client.clone(), Arc::clone(urls), Arc::clone(&next), Arc::clone(&secret));
            tokio::spawn(async move {
                let mut dice = SplitMix::new(task as u64);
                let body = payload(&mut dice);
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= deliveries {
                        return Ok::<(), Failed>(());
                    }
                    let headers = signed(&secret, &body, &mut dice)?;
                    let post = client.post(urls[n % urls.len()].clone()).headers(headers).body(body.clone());
                    post.timeout(Duration::from_secs(30)).send().await?.error_for_status()?.bytes().await?;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

fn signed(secret: &Secret, body: &Bytes, dice: &mut SplitMix) -> Result<HeaderMap, Failed> {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let wall = Timestamp::from_nanos(u64::try_from(nanos)?);
    let event = SignedEvent { id: EventId::new(wall, dice), event_type: "bench.delivered" };
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in signature::sign(SignatureStyle::Standard, &[secret], &event, wall, body) {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value)?);
    }
    Ok(headers)
}
