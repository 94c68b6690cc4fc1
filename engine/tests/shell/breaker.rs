//! No attempt while the breaker is open, except as its probe.

use std::time::Duration;

use postrider::{
    BreakerState, RetryPolicy, Waiting,
    storage::MemoryStore,
    testing::{Reply, ScriptedTransport},
};
use tokio::time::{Instant, sleep};

use crate::support::{Failed, event, hook, start};

/// Someone mended a receiver, tried it by hand, and waited for the end of a cool-down. Such a try is the probe at once.
#[tokio::test(start_paused = true)]
async fn a_resend_probes_an_open_breaker_at_once() -> Result<(), Failed> {
    let failing = std::iter::repeat_n(Reply::from(500), 6);
    let slow = Reply::After(Duration::from_secs(3));
    let receiver = ScriptedTransport::new(failing.chain([slow]));
    let retry = RetryPolicy::delays([Duration::from_secs(1); 20]);
    let engine = start(MemoryStore::new(), &receiver, hook().retry(retry)).await?;
    let mut published = Vec::new();
    for _ in 0..5 {
        published.push(engine.publish("acme", event("{}")).await?.event);
    }
    receiver.wait_for(5).await;
    sleep(Duration::from_millis(1500)).await;
    let began = Instant::now();
    engine.deliveries("acme").resend(published[0], "hook").await?;
    receiver.wait_for(6).await;
    assert!(began.elapsed() < Duration::from_secs(1), "at once: {:?}", began.elapsed());
    sleep(Duration::from_secs(1)).await;
    let state = engine.endpoints("acme").state("hook").await?;
    assert!(matches!(state.breaker, BreakerState::Open { .. }), "{state:?}");
    assert!(matches!(state.waiting, Some(Waiting::BreakerOpen(Some(_)))), "the others wait on: {state:?}");
    // Two at once: one is the probe, and the other waits for its end.
    engine.deliveries("acme").resend(published[1], "hook").await?;
    engine.deliveries("acme").resend(published[2], "hook").await?;
    receiver.wait_for(7).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(receiver.count(), 7, "B1: one probe");
    sleep(Duration::from_secs(2)).await;
    let state = engine.endpoints("acme").state("hook").await?;
    assert_eq!((state.breaker, state.backlog.queued), (BreakerState::default(), 0));
    assert!(began.elapsed() < Duration::from_secs(10), "its success opened the way for all before the cool-down ended");
    Ok(())
}
