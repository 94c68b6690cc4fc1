//! A crowd that failed together does not come back together.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use postrider::{
    ApplicationSpec, AttemptResponse, BreakerSetting, Engine, Event, RetryPolicy, http::StatusCode,
    storage::MemoryStore, transport_fn,
};
use tokio::time::{Instant, sleep};

use crate::support::{Failed, hook};

/// Row 93: all retries of a crowd came in the same moment.
#[tokio::test(start_paused = true)]
async fn five_hundred_that_failed_at_once_are_tried_again_over_some_seconds() -> Result<(), Failed> {
    const EVENTS: usize = 500;
    let began = Instant::now();
    let seen = Arc::new(Mutex::new((HashMap::<String, u32>::new(), Vec::new())));
    let sees = Arc::clone(&seen);
    let transport = transport_fn(move |request: postrider::AttemptRequest| {
        let id = request.headers["webhook-id"].to_str().unwrap_or_default().to_owned();
        let mut seen = sees.lock().unwrap_or_else(PoisonError::into_inner);
        let (tries, again) = &mut *seen;
        let tries = tries.entry(id).or_default();
        *tries += 1;
        // 500: 503 would slow the whole endpoint, too.
        let status = if *tries == 1 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        if *tries == 2 {
            again.push(began.elapsed());
        }
        async move { Ok(AttemptResponse::of(status)) }
    });
    let engine = Engine::builder(MemoryStore::new(), transport).seed(7).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let most = NonZeroU32::new(500).ok_or("not zero")?;
    let mut spec = hook().retry(RetryPolicy::delays([Duration::from_secs(10)])).max_in_flight(most);
    spec.delivery.breaker = BreakerSetting::Off;
    engine.endpoints("acme").upsert("hook", spec).await?;
    for n in 0..EVENTS {
        engine.publish("acme", Event::new("t", n.to_string())).await?;
    }
    sleep(Duration::from_secs(60)).await;
    let again = seen.lock().unwrap_or_else(PoisonError::into_inner).1.clone();
    assert_eq!(again.len(), EVENTS);
    let (first, last) = (again.iter().min().ok_or("some")?, again.iter().max().ok_or("some")?);
    assert!(*first >= Duration::from_secs(8), "the first came after {first:?}");
    assert!(*last - *first >= Duration::from_secs(3), "all within {:?}", *last - *first);
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
