//! While one group of commits is synced, the next is written: nobody is answered too early, or out of turn.

use std::{
    future::Future,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use postrider::{
    ApplicationSpec, CommitError, Engine, PublishError, Receipt,
    core::{Batch, Durability, EndpointId, Week},
    storage::{Begun, Counted, MemoryStore, OpenStore, Reads, Store, StoreError, StoreErrorKind, Syncing, Verdict},
};
use tokio::{
    sync::watch,
    task::{JoinHandle, yield_now},
};

use crate::support::{Failed, always_ok, event, hook};

/// Its syncs end when the test says so.
#[derive(Clone, Debug)]
struct Gated {
    store: MemoryStore,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Gate {
    is_open: watch::Sender<bool>,
    fails: AtomicBool,
    begun: AtomicUsize,
}

impl Gated {
    fn new() -> Self {
        let gate =
            Gate { is_open: watch::Sender::new(true), fails: AtomicBool::new(false), begun: AtomicUsize::new(0) };
        Self { store: MemoryStore::new(), gate: Arc::new(gate) }
    }

    fn begun(&self) -> usize {
        self.gate.begun.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl OpenStore for Gated {
    async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.store.open().await?;
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Store for Gated {
    async fn commit(&self, group: Arc<[Batch]>, durability: Durability) -> Result<Vec<Verdict>, StoreError> {
        self.store.commit(group, durability).await
    }

    async fn begin(&self, group: Arc<[Batch]>, durability: Durability) -> Result<Begun, StoreError> {
        let verdicts = self.store.commit(group, durability).await?;
        self.gate.begun.fetch_add(1, Ordering::SeqCst);
        let gate = Arc::clone(&self.gate);
        let synced = async move {
            let mut changes = gate.is_open.subscribe();
            drop(changes.wait_for(|is_open| *is_open).await);
            match gate.fails.load(Ordering::SeqCst) {
                true => Err(StoreError::new(StoreErrorKind::Poisoned, "sync", "a planned fault")),
                false => Ok(()),
            }
        };
        Ok(Begun { verdicts, syncing: Some(Box::pin(synced) as Syncing) })
    }

    async fn count_queued(&self, rows_max: NonZeroUsize) -> Result<Counted, StoreError> {
        self.store.count_queued(rows_max).await
    }

    async fn find_cut_off(&self, of: EndpointId, rows_max: NonZeroUsize) -> Result<(), StoreError> {
        self.store.find_cut_off(of, rows_max).await
    }

    async fn forget(&self, week: Week) -> Result<(), StoreError> {
        self.store.forget(week).await
    }

    fn reads(&self) -> &dyn Reads {
        self.store.reads()
    }
}

async fn until(what: impl Fn() -> bool) {
    let waited = async {
        while !what() {
            yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waited).await.expect("it comes to that");
}

/// Long enough for everything that could happen without a sync.
async fn a_while() {
    for _ in 0..1_000 {
        yield_now().await;
    }
}

fn publish(engine: &Engine, key: &'static str) -> impl Future<Output = Result<Receipt, PublishError>> + use<> {
    let engine = engine.clone();
    async move { engine.publish("acme", event("{}").idempotency_key(key)).await }
}

async fn start(store: &Gated) -> Result<Engine, Failed> {
    let engine = Engine::builder(store.clone(), always_ok()).seed(7).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    store.gate.is_open.send_replace(false);
    Ok(engine)
}

/// Two groups, each with one publisher: one is synced, one is written.
async fn two_in_hand(store: &Gated, engine: &Engine) -> [JoinHandle<Result<Receipt, PublishError>>; 2] {
    let before = store.begun();
    let first = tokio::spawn(publish(engine, "1"));
    until(|| store.begun() == before + 1).await;
    let second = tokio::spawn(publish(engine, "2"));
    until(|| store.begun() == before + 2).await;
    [first, second]
}

#[tokio::test]
async fn the_next_group_is_written_while_the_one_before_it_is_synced() -> Result<(), Failed> {
    let store = Gated::new();
    let engine = start(&store).await?;
    let before = store.begun();
    let [first, second] = two_in_hand(&store, &engine).await;
    let third = tokio::spawn(publish(&engine, "3"));
    a_while().await;
    assert_eq!(store.begun(), before + 2, "one is synced, one is written, and no more");
    assert!(!first.is_finished() && !second.is_finished() && !third.is_finished(), "nobody is told before the sync");
    store.gate.is_open.send_replace(true);
    let events = [first.await??.event, second.await??.event, third.await??.event];
    assert!(events.is_sorted(), "{events:?}");
    Ok(())
}

#[tokio::test]
async fn a_sync_that_fails_takes_the_group_behind_it_along_and_nothing_is_lost() -> Result<(), Failed> {
    let store = Gated::new();
    let engine = start(&store).await?;
    let [first, second] = two_in_hand(&store, &engine).await;
    store.gate.fails.store(true, Ordering::SeqCst);
    store.gate.is_open.send_replace(true);
    for refused in [first.await?, second.await?] {
        let unavailable = matches!(refused, Err(PublishError::Commit(CommitError::Unavailable { .. })));
        assert!(unavailable, "it may be stored, and who can tell: {refused:?}");
    }
    store.gate.fails.store(false, Ordering::SeqCst);
    for key in ["1", "2"] {
        let comes_back = async {
            loop {
                match publish(&engine, key).await {
                    Ok(receipt) => break receipt,
                    Err(_away) => yield_now().await,
                }
            }
        };
        let again = tokio::time::timeout(Duration::from_secs(10), comes_back).await?;
        assert!(again.is_repeat, "{key} was stored once, and is found by its key");
    }
    Ok(())
}

/// Which wake rows an actor leaves behind depends on everything before: its retirement has nobody beside it.
#[tokio::test]
async fn an_actor_leaves_alone() -> Result<(), Failed> {
    let store = Gated::new();
    let builder = Engine::builder(store.clone(), always_ok()).limits(|limits| {
        limits.window.linger = Duration::from_millis(50);
        // No group is there only to sync.
        limits.unsynced = Duration::from_secs(3600);
    });
    let engine = builder.start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").upsert("hook", hook()).await?;
    for ended in 1.. {
        engine.publish("acme", event("{}")).await?;
        let accepted = store.begun();
        until(|| engine.metrics().deliveries_ended_well() == ended).await;
        store.gate.is_open.send_replace(false);
        // One group was its outcome. The next is the wish to leave, unless it came and went before the gate was closed.
        until(|| store.begun() == accepted + 2 || engine.health().active_endpoints == 0).await;
        if engine.health().active_endpoints > 0 {
            break;
        }
        store.gate.is_open.send_replace(true);
    }
    let leaving = store.begun();
    let beside = tokio::spawn(publish(&engine, "1"));
    a_while().await;
    assert_eq!(store.begun(), leaving, "nobody is beside it");
    store.gate.is_open.send_replace(true);
    beside.await??;
    Ok(())
}
