//! Every delivery ends at its maximum age, wherever it waits, and no actor is kept for it.

use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc, time::Duration};

use postrider::{
    ApplicationSpec, Clock, EndpointSpec, Engine, Event, GiveUpReason, OnExhausted, OrderingMode, OrganisationId,
    RetryPolicy, SystemClock,
    storage::{MemoryStore, OpenStore, PageRequest},
    testing::{ManualClock, ScriptedTransport},
};
use tokio::time::Instant;

use crate::{
    ending::AlsoTokio,
    support::{Failed, Knobbed, always_ok, hook},
};

const AGE_MAX: Duration = Duration::from_secs(3600);
const PER_KEY: OrderingMode = OrderingMode::PerKey(OnExhausted::Continue);

async fn start(store: impl OpenStore, receiver: &ScriptedTransport, spec: EndpointSpec) -> Result<Engine, Failed> {
    let builder = Engine::builder(store, receiver.clone()).seed(7);
    let engine = builder.limits(|limits| limits.window.delivery_age_max = AGE_MAX).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").upsert("hook", spec).await?;
    Ok(engine)
}

async fn publish(engine: &Engine, keys: impl IntoIterator<Item = usize>) -> Result<(), Failed> {
    let event = |key: usize| Event::new("invoice.paid", "{}").ordering_key(key.to_string());
    let keys: Vec<_> = keys.into_iter().collect();
    for piece in keys.chunks(500) {
        for receipt in
            engine.organisation(OrganisationId::DEFAULT).publish_all("acme", piece.iter().copied().map(event)).await
        {
            receipt?;
        }
    }
    Ok(())
}

/// How many expired, and how many wait.
async fn ended(engine: &Engine) -> Result<(usize, usize), Failed> {
    let mut expired = 0;
    let mut page = PageRequest::first(NonZeroUsize::MIN.saturating_add(999));
    loop {
        let found = engine.dead_letters("acme").list(&Default::default(), &page).await?;
        expired += found.items.iter().filter(|letter| letter.reason == GiveUpReason::Expired).count();
        if !page.turn(&found) {
            break;
        }
    }
    Ok((expired, engine.endpoints("acme").state("hook").await?.backlog.queued))
}

async fn no_actor_is_up(engine: &Engine) {
    while engine.health().active_endpoints > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A paused endpoint with many more lanes than memory has room for: those outside memory were never looked at.
#[tokio::test(start_paused = true)]
async fn ten_thousand_lanes_of_a_paused_endpoint_expire() -> Result<(), Failed> {
    const LANES: usize = 10_000;
    let engine = start(MemoryStore::new(), &always_ok(), hook().ordering(PER_KEY)).await?;
    engine.endpoints("acme").pause("hook").await?;
    publish(&engine, 0..LANES).await?;
    tokio::time::sleep(AGE_MAX / 2).await;
    publish(&engine, [1, 2, 3]).await?;
    no_actor_is_up(&engine).await;
    tokio::time::sleep(AGE_MAX / 2 + Duration::from_secs(60)).await;
    assert_eq!(ended(&engine).await?, (LANES, 3), "each in its time");
    tokio::time::sleep(AGE_MAX / 2).await;
    assert_eq!(ended(&engine).await?, (LANES + 3, 0));
    no_actor_is_up(&engine).await;
    Ok(())
}

/// In every order, paused, disabled by hand or held up by its receiver; some never tried, some between two tries.
#[tokio::test(start_paused = true)]
async fn whatever_holds_an_endpoint_its_deliveries_expire() -> Result<(), Failed> {
    for ordering in [OrderingMode::Concurrent, PER_KEY, OrderingMode::Fifo(OnExhausted::Continue)] {
        for held in ["paused", "disabled", "breaker"] {
            let receiver = ScriptedTransport::new([503_u16; 5_000]);
            let retry = RetryPolicy::delays([Duration::from_secs(600); 20]);
            let engine = start(MemoryStore::new(), &receiver, hook().ordering(ordering).retry(retry)).await?;
            publish(&engine, 0..2_000).await?;
            tokio::time::sleep(Duration::from_secs(120)).await;
            match held {
                "paused" => drop(engine.endpoints("acme").pause("hook").await?),
                "disabled" => drop(engine.endpoints("acme").disable("hook").await?),
                _ => {}
            }
            tokio::time::sleep(AGE_MAX).await;
            assert_eq!(ended(&engine).await?, (2_000, 0), "{ordering:?} {held}");
            no_actor_is_up(&engine).await;
        }
    }
    Ok(())
}

/// A head that was given up holds its lane; what is behind it gets old all the same, and holds the lane in its turn.
#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_held_head_expires() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([400_u16; 1]);
    let spec = hook().ordering(OrderingMode::PerKey(OnExhausted::Hold)).retry(RetryPolicy::delays([]));
    let engine = start(MemoryStore::new(), &receiver, spec).await?;
    publish(&engine, [1; 300]).await?;
    receiver.wait_for(1).await;
    tokio::time::sleep(AGE_MAX + Duration::from_secs(60)).await;
    let (expired, queued) = ended(&engine).await?;
    assert_eq!((expired, queued), (299, 300), "each with a letter, each in its place");
    assert_eq!(receiver.count(), 1);
    no_actor_is_up(&engine).await;
    let task = engine.dead_letters("acme").redrive_many(&Default::default()).await?;
    assert_eq!(engine.tasks().ended(task.id).await?.progress.done, 300);
    receiver.wait_for(301).await;
    Ok(())
}

/// The store has been closed for longer than anything in it may live.
#[tokio::test(start_paused = true)]
async fn what_got_too_old_while_nobody_looked_is_not_sent_any_more() -> Result<(), Failed> {
    let (store, receiver) = (MemoryStore::new(), always_ok());
    let engine = start(store.clone(), &receiver, hook().ordering(PER_KEY)).await?;
    engine.endpoints("acme").pause("hook").await?;
    publish(&engine, 0..1_000).await?;
    engine.shutdown(Duration::from_secs(1)).await;
    let later = SystemClock::new().now() + 2 * AGE_MAX;
    let clock = AlsoTokio(ManualClock::new(later), Instant::now());
    let builder = Engine::builder(store, receiver.clone()).clock(clock);
    let engine = builder.limits(|limits| limits.window.delivery_age_max = AGE_MAX).start().await?;
    engine.endpoints("acme").resume("hook").await?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(ended(&engine).await?, (1_000, 0));
    assert_eq!(receiver.count(), 0);
    Ok(())
}

/// A row to look at the endpoint when its delivery would have been too old was left behind by every success.
#[tokio::test(start_paused = true)]
async fn a_success_leaves_no_wake_row() -> Result<(), Failed> {
    for ordering in [OrderingMode::Concurrent, PER_KEY, OrderingMode::Fifo(OnExhausted::Continue)] {
        let store = Knobbed::new(MemoryStore::new());
        let knobs = Arc::clone(&store.knobs);
        let receiver = ScriptedTransport::new([503_u16, 200]);
        let engine = start(store, &receiver, hook().ordering(ordering)).await?;
        publish(&engine, [1, 1, 2]).await?;
        receiver.wait_for(4).await;
        no_actor_is_up(&engine).await;
        let wakes: BTreeSet<_> = knobs.wakes.lock().expect("nobody panics with it").iter().copied().collect();
        assert_eq!(wakes, BTreeSet::new(), "{ordering:?}");
    }
    Ok(())
}
