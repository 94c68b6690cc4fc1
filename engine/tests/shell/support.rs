//! What the tests share: an engine with one application, and stores that count and fail.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use postrider::{
    ApplicationSpec, EndpointId, EndpointSpec, Engine, Event, Notice, Notices, Timestamp,
    core::{Batch, Durability, Refused, Week, Write},
    storage::{Counted, OpenStore, Reads, Store, StoreError, StoreErrorKind, Verdict},
    testing::ScriptedTransport,
};

pub(crate) type Failed = Box<dyn std::error::Error>;

/// Longer than anything a test waits for on paused time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3600);

/// An engine with one application, `acme`, and one endpoint in it, `hook`.
pub(crate) async fn start(
    store: impl OpenStore,
    receiver: &ScriptedTransport,
    spec: EndpointSpec,
) -> Result<Engine, Failed> {
    let engine = Engine::builder(store, receiver.clone()).seed(7).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").upsert("hook", spec).await?;
    Ok(engine)
}

pub(crate) fn hook() -> EndpointSpec {
    EndpointSpec::new("https://receiver.example/hook")
}

pub(crate) fn always_ok() -> ScriptedTransport {
    ScriptedTransport::new([0_u16; 0])
}

pub(crate) fn event(payload: &'static str) -> Event {
    Event::new("invoice.paid", payload)
}

/// Waits for the first notice that `wanted` picks.
pub(crate) async fn notice<T>(notices: &mut Notices, mut wanted: impl FnMut(Notice) -> Option<T>) -> Result<T, Failed> {
    let next = async {
        while let Some(notice) = notices.next().await {
            if let Some(found) = wanted(notice) {
                return Some(found);
            }
        }
        None
    };
    tokio::time::timeout(PATIENCE, next).await?.ok_or_else(|| "the engine is gone".into())
}

pub(crate) fn resumed(notice: Notice) -> Option<()> {
    matches!(notice, Notice::Resumed).then_some(())
}

/// What the outside may do to a store while it is open.
#[derive(Debug, Default)]
pub(crate) struct Knobs {
    /// Opening fails.
    pub(crate) is_away: AtomicBool,
    /// Commits fail, without a trace.
    pub(crate) fails: AtomicBool,
    /// The next commit panics.
    pub(crate) panics: AtomicBool,
    /// The next commit is stored, and never answered.
    pub(crate) hangs: AtomicBool,
    /// The next commit is stored, and its answer is an error.
    pub(crate) loses: AtomicBool,
    /// Outcomes are refused, because stored rows make no sense.
    pub(crate) damages: AtomicBool,
    /// Of what was cut off of this endpoint nothing is purged, because stored rows make no sense.
    pub(crate) keeps_queue_of: std::sync::Mutex<Option<EndpointId>>,
    /// Of whom a piece of what was cut off was purged.
    pub(crate) purged: std::sync::Mutex<Vec<EndpointId>>,
    /// The next read panics.
    pub(crate) reads_panic: AtomicBool,
    /// How long a commit takes, in milliseconds.
    pub(crate) commit_millis: AtomicU64,
    /// How often it was opened.
    pub(crate) opened: AtomicU64,
    /// Stores that are open now.
    pub(crate) open: AtomicU64,
    /// Synced commits.
    pub(crate) synced: AtomicU64,
    /// Commits.
    pub(crate) commits: AtomicU64,
    /// Deliveries that begin in one batch, at most.
    pub(crate) begun_most: AtomicU64,
    /// Bytes of documents in commits.
    pub(crate) document_bytes: AtomicU64,
    /// Reads, or several of one moment.
    pub(crate) reads: AtomicU64,
    /// Wake rows that are stored, as far as this store saw them come and go.
    pub(crate) wakes: std::sync::Mutex<Vec<(Timestamp, EndpointId)>>,
}

impl Knobs {
    pub(crate) fn set(flag: &AtomicBool) {
        flag.store(true, Ordering::SeqCst);
    }

    fn is_damaged(&self, batch: &Batch) -> bool {
        let keeps = *self.keeps_queue_of.lock().expect("nobody panics with it");
        batch.writes.iter().any(|write| match write {
            Write::Outcome(_) => self.damages.load(Ordering::SeqCst),
            Write::Purge(endpoint, _) => keeps == Some(*endpoint),
            _ => false,
        })
    }

    pub(crate) fn count(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::SeqCst)
    }
}

/// An opener around an opener, with knobs.
#[derive(Debug, Clone)]
pub(crate) struct Knobbed<O> {
    opener: Arc<O>,
    pub(crate) knobs: Arc<Knobs>,
}

impl<O> Knobbed<O> {
    pub(crate) fn new(opener: O) -> Self {
        Self { opener: Arc::new(opener), knobs: Arc::default() }
    }
}

#[async_trait]
impl<O: OpenStore> OpenStore for Knobbed<O> {
    async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.knobs.opened.fetch_add(1, Ordering::SeqCst);
        if self.knobs.is_away.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "open the store", "it is away"));
        }
        let inner = self.opener.open().await?;
        self.knobs.open.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(KnobbedStore { inner, knobs: Arc::clone(&self.knobs) }))
    }
}

#[derive(Debug)]
struct KnobbedStore {
    inner: Arc<dyn Store>,
    knobs: Arc<Knobs>,
}

impl Drop for KnobbedStore {
    fn drop(&mut self) {
        self.knobs.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Store for KnobbedStore {
    async fn commit(&self, group: Arc<[Batch]>, durability: Durability) -> Result<Vec<Verdict>, StoreError> {
        let taken = |flag: &AtomicBool| flag.swap(false, Ordering::SeqCst);
        self.knobs.commits.fetch_add(1, Ordering::SeqCst);
        if durability == Durability::Synced {
            self.knobs.synced.fetch_add(1, Ordering::SeqCst);
        }
        let begun = |batch: &Batch| batch.writes.iter().filter(|write| matches!(write, Write::Replay(_))).count();
        let begun = group.iter().map(begun).max().unwrap_or(0);
        self.knobs.begun_most.fetch_max(begun as u64, Ordering::SeqCst);
        let of_documents = group.iter().flat_map(|batch| &batch.writes).map(|write| match write {
            Write::Document(document) => document.value.len() as u64,
            _ => 0,
        });
        self.knobs.document_bytes.fetch_add(of_documents.sum(), Ordering::SeqCst);
        let failed = || StoreError::new(StoreErrorKind::Poisoned, "commit", "a planned fault");
        assert!(!taken(&self.knobs.panics), "a planned panic in the store");
        if self.knobs.fails.load(Ordering::SeqCst) {
            return Err(failed());
        }
        let takes = self.knobs.commit_millis.load(Ordering::SeqCst);
        if takes > 0 {
            tokio::time::sleep(Duration::from_millis(takes)).await;
        }
        if group.iter().any(|batch| self.knobs.is_damaged(batch)) {
            return self.commit_damaged(&group, durability).await;
        }
        self.note_purged(&group);
        let verdicts = self.inner.commit(Arc::clone(&group), durability).await?;
        self.note_wakes(&group, &verdicts);
        if taken(&self.knobs.hangs) {
            std::future::pending::<()>().await;
        }
        if taken(&self.knobs.loses) { Err(failed()) } else { Ok(verdicts) }
    }

    async fn count_queued(&self, rows_max: NonZeroUsize) -> Result<Counted, StoreError> {
        self.inner.count_queued(rows_max).await
    }

    async fn find_cut_off(&self, of: EndpointId, rows_max: NonZeroUsize) -> Result<(), StoreError> {
        self.inner.find_cut_off(of, rows_max).await
    }

    async fn forget(&self, week: Week) -> Result<(), StoreError> {
        self.inner.forget(week).await
    }

    fn reads(&self) -> &dyn Reads {
        self.knobs.reads.fetch_add(1, Ordering::SeqCst);
        assert!(!self.knobs.reads_panic.swap(false, Ordering::SeqCst), "a planned panic in a read");
        self.inner.reads()
    }
}

impl KnobbedStore {
    /// All but what needs a row that makes no sense.
    async fn commit_damaged(&self, group: &[Batch], durability: Durability) -> Result<Vec<Verdict>, StoreError> {
        let is_damaged = |batch: &Batch| self.knobs.is_damaged(batch);
        let whole: Vec<_> = group.iter().filter(|batch| !is_damaged(batch)).cloned().collect();
        self.note_purged(&whole);
        let mut verdicts = self.inner.commit(whole.into(), durability).await?.into_iter();
        let verdict = |batch: &Batch| match is_damaged(batch) {
            true => Some(Err(Refused::Corrupt)),
            false => verdicts.next(),
        };
        Ok(group.iter().map_while(verdict).collect())
    }

    fn note_purged(&self, group: &[Batch]) {
        let of = |write: &Write| if let Write::Purge(endpoint, _) = write { Some(*endpoint) } else { None };
        let purged = group.iter().flat_map(|batch| &batch.writes).filter_map(of);
        self.knobs.purged.lock().expect("nobody panics with it").extend(purged);
    }

    fn note_wakes(&self, group: &[Batch], verdicts: &[Verdict]) {
        let mut wakes = self.knobs.wakes.lock().expect("nobody panics with it");
        let stored = group.iter().zip(verdicts).filter(|(_, verdict)| verdict.is_ok());
        for write in stored.flat_map(|(batch, _)| &batch.writes) {
            if let Write::Wake(endpoint, delete, put) = write {
                wakes.retain(|known| Some(known.0) != *delete || known.1 != *endpoint);
                wakes.extend(put.map(|at| (at, *endpoint)));
            }
        }
    }
}
