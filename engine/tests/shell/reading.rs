//! Whoever reads is answered, also if the store is not.

use std::{future::Future, time::Duration};

use postrider::{
    ReadError, StoreErrorKind,
    storage::{
        MemoryStore, PageRequest,
        testing::{Faulty, ReadFault},
    },
};
use tokio::time::Instant;

use crate::support::{Failed, always_ok, event, hook};

/// A store that hangs made every reader hang with it.
#[tokio::test(start_paused = true)]
async fn a_read_that_hangs_is_an_error_that_says_to_read_again() -> Result<(), Failed> {
    // The start reads applications and endpoints, wakes and what is to be purged.
    let hangs = (20..1_000).map(|at| (at, ReadFault::Hang));
    let opener = Faulty::new(MemoryStore::new(), []).reads(hangs);
    let engine = postrider::Engine::builder(opener, always_ok()).start().await?;
    engine.applications().upsert("acme", postrider::ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").upsert("hook", hook()).await?;
    engine.endpoints("acme").pause("hook").await?;
    let id = engine.publish("acme", event("{}")).await?.event;
    while engine.events("acme").get(id).await.is_ok() {}
    let (events, deliveries) = (engine.events("acme"), engine.deliveries("acme"));
    let (letters, endpoints) = (engine.dead_letters("acme"), engine.endpoints("acme"));
    says_to_read_again(events.get(id)).await;
    says_to_read_again(events.attempts(id, Default::default(), &Default::default())).await;
    says_to_read_again(deliveries.get(id, "hook")).await;
    says_to_read_again(deliveries.attempts("hook", Default::default(), &PageRequest::default())).await;
    says_to_read_again(letters.list(&Default::default(), &PageRequest::default())).await;
    says_to_read_again(endpoints.state("hook")).await;
    Ok(())
}

async fn says_to_read_again<T>(read: impl Future<Output = Result<T, ReadError>>) {
    let began = Instant::now();
    let Err(ReadError::Store(error)) = read.await else { panic!("the store does not answer") };
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(began.elapsed() <= Duration::from_secs(12), "{:?}", began.elapsed());
}
