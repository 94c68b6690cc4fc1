//! Forgets a week of a million events while others are delivered, and says what that costs: prints a ratio.
//!
//! `cargo bench -p postrider-tests --bench retention`; with `EVENTS`, `DEAD` and `DELIVERIES` in the environment it takes
//! as many as they say.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use postrider::{
    ApplicationSpec, AttemptResponse, EndpointSpec, Engine, Event, OrganisationId,
    http::StatusCode,
    storage::{Fjall, OpenStore, Store, StoreError, testing::InTempDir},
    transport_fn,
};
use postrider_core::{
    Acceptance, Batch, DeadLetter, Delivery, Durability, Effect, GiveUpReason, More, Step, Timestamp, Transition, Week,
    Write, plan_recipient,
};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const PAYLOAD_BYTES: usize = 256;
const GROUP: usize = 512;
const ROUNDS: u32 = 3;

/// A store that is open already: the engine and the one who forgets share it.
struct Shared(Arc<dyn Store>);

#[async_trait]
impl OpenStore for Shared {
    async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::clone(&self.0))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let wanted = |name, otherwise| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (events, dead, deliveries) =
        (wanted("EVENTS", 1_000_000), wanted("DEAD", 10_000), wanted("DELIVERIES", 40_000));
    let folder = InTempDir::new(|path| Fjall::at(path));
    let store = folder.open().await?;
    let transport = transport_fn(|_request| async { Ok(AttemptResponse::of(StatusCode::OK)) });
    let engine = Engine::builder(Shared(Arc::clone(&store)), transport).start().await?;
    engine.applications().upsert("bench", ApplicationSpec::new("Bench")).await?;
    engine.endpoints("bench").upsert("hook", EndpointSpec::new("https://receiver.example/hook")).await?;
    let old = engine.endpoints("bench").upsert("old", EndpointSpec::new("https://receiver.example/old")).await?;

    // Each round forgets another week, long ago. Before anything of today: ids never go back.
    let weeks = (0..ROUNDS).map(|round| Week(2_500 + round));
    for week in weeks.clone() {
        fill(&*store, &old, week, events, dead).await?;
    }
    let mut ratios = Vec::new();
    for week in weeks {
        publish(&engine, deliveries / 4).await?;
        let alone = publish(&engine, deliveries).await?;
        let forgetting = tokio::spawn(forget(Arc::clone(&store), week));
        let beside = publish(&engine, deliveries).await?;
        let took = forgetting.await??;
        println!(
            "week of {events} events, {dead} of them dead letters: {alone:.0} deliveries/s alone, {beside:.0} while it is \
             forgotten, which took {:.2} s: ratio {:.2}",
            took.as_secs_f64(),
            beside / alone
        );
        ratios.push(beside / alone);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}", ratios[ratios.len() / 2]);
    engine.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

/// As the engine does it: what is needed first, then the week.
async fn forget(store: Arc<dyn Store>, week: Week) -> Result<Duration, Failed> {
    let began = Instant::now();
    loop {
        let piece = Batch::synced([Write::Rescue(week, 16.try_into()?)]);
        let verdicts = store.commit([piece].into(), Durability::Synced).await?;
        let more = verdicts.iter().flatten().find_map(postrider_core::Committed::more);
        if more != Some(More::Yes) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    store.forget(week).await?;
    Ok(began.elapsed())
}

/// Events of this week, some of which were given up.
async fn fill(
    store: &dyn Store,
    to: &postrider::Endpoint,
    week: Week,
    events: usize,
    dead: usize,
) -> Result<(), Failed> {
    let at = week.start() + Duration::from_secs(3600);
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    let event = Arc::new(Event::new("bench.old", payload));
    let mut left = events;
    while left > 0 {
        let count = left.min(GROUP);
        let is_dead = |n: usize| left - n <= dead;
        let accept = |n: usize| {
            let recipients = if is_dead(n) { vec![plan_recipient(&event, to)] } else { Vec::new() };
            let (entropy, event) = (n as u64, Arc::clone(&event));
            Acceptance { application: to.application, accepted_at: at, entropy, event, key: None, recipients }
        };
        let accepted: Vec<Acceptance> = (0..count).map(accept).collect();
        let batches: Arc<[Batch]> = accepted.iter().map(|one| Batch::synced([Write::Accept(one.clone())])).collect();
        let verdicts = store.commit(batches, Durability::Relaxed).await?;
        let mut ends = Vec::new();
        for (acceptance, verdict) in accepted.iter().zip(verdicts) {
            let committed = verdict.map_err(|refused| format!("{refused:?}"))?;
            let Some(Effect::Accepted(seq, id, _)) = committed.effects.first() else { continue };
            ends.extend(acceptance.recipients.iter().map(|to| gave_up(&acceptance.delivery(to, *seq, *id), at)));
        }
        if !ends.is_empty() {
            store.commit(ends.into(), Durability::Relaxed).await?;
        }
        left -= count;
    }
    Ok(())
}

fn gave_up(last: &Delivery, at: Timestamp) -> Batch {
    let (reason, last) = (GiveUpReason::Expired, last.clone());
    let dead = DeadLetter { last: last.clone(), reason, dead_at: at, first_attempt_at: None, last_status: None };
    Batch::synced([Write::Outcome(Box::new(Transition {
        before: last,
        after: None,
        step: Step::GaveUp,
        dead: Some(dead),
    }))])
}

/// Publishes so many, waits until they are delivered, and says how many a second.
async fn publish(engine: &Engine, count: usize) -> Result<f64, Failed> {
    let until = engine.metrics().deliveries_ended_well() + count as u64;
    let began = Instant::now();
    let mut publishers = Vec::new();
    for publisher in 0..256_usize {
        let engine = engine.clone();
        publishers.push(tokio::spawn(async move {
            for _ in (publisher..count).step_by(256) {
                let event = Event::new("bench.delivered", Bytes::from_static(&[b'x'; 1024]));
                engine.organisation(OrganisationId::DEFAULT).publish_to("bench", "hook", event).await?;
            }
            Ok::<(), Failed>(())
        }));
    }
    for publisher in publishers {
        publisher.await??;
    }
    while engine.metrics().deliveries_ended_well() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
