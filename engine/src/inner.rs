//! What all parts of a running engine share.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderValue, Uri};
use postrider_core::{
    Application, ApplicationId, Batch, ByteBudget, DELIVER_AT_AHEAD_MAX, DeliveryPolicy, DeliverySettings, Dice,
    EndpointId, EndpointSpec, Found, GroupLimits, InvalidEndpoint, OrganisationId, Rate, Rows, SecretKind, SplitMix,
    StoredEvent, TargetRules, TaskId, Timestamp,
};
use postrider_storage::{OpenStore, StoreError, Verdict};
use ractor::Actor;
use tokio::{
    sync::{Notify, broadcast, mpsc},
    task::JoinHandle,
};
use url::Url;

use crate::{
    Clock, CommitError, Engine, EngineBuilder, Health, Limits, Metrics, Notice, Notices, StartError, Transport,
    agenda::{self, AgendaDesk},
    answers,
    aside::Aside,
    backlogs::{self, Backlogs},
    catalogue::Catalogue,
    commit_queue::CommitQueue,
    committer::Committer,
    directory::Directory,
    ended_tasks,
    endpoint_health::OpenBreakers,
    full_queues::{self, FullQueues},
    id_map::IdMap,
    lifecycle::{Lifecycle, RETRY_AFTER},
    payload_desk::PayloadDesk,
    pending::{self, Pending},
    permit::{self, PermitDesk},
    proofs, purge,
    quota::{Place, Quotas},
    registry::Registry,
    retention,
    set_back::set_back,
    settings::Settings,
    shared_events::SharedEvents,
    space::FreeSpace,
    state_log::StateLog,
    store_cell::StoreCell,
    supervisor::{Supervisor, Watch},
    task_runner::{self, NewTasks},
    wakes::{self, Wakes},
};

/// How often something is planned anew because somebody else was faster.
pub(crate) const TRIES: u32 = 8;
/// Notices that a subscriber may be behind.
const NOTICES: usize = 1024;

/// What all parts of a running engine share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: StoreCell,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) registry: Registry,
    pub(crate) catalogue: Catalogue,
    pub(crate) settings: Settings,
    pub(crate) aside: Aside,
    pub(crate) commits: CommitQueue,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) metrics: Metrics,
    pub(crate) state_log: StateLog,
    /// For events that were just published, or read along with their rows.
    pub(crate) payloads: ByteBudget,
    /// Those that are in memory.
    pub(crate) shared_events: SharedEvents,
    /// For those that are read for an attempt.
    pub(crate) payload_desk: PayloadDesk,
    pub(crate) directory: Directory,
    /// Endpoints that are not sent to because they keep failing.
    pub(crate) open_breakers: OpenBreakers,
    pub(crate) permits: PermitDesk,
    /// Rung when a permit or memory was dropped while others wait for some.
    pub(crate) given_back: Notify,
    pub(crate) wakes: Wakes,
    /// How many deliveries of each application wait.
    pub(crate) pending: Pending,
    /// Requests that may be sent again, while they are carried out.
    pub(crate) answering: answers::Turns,
    /// Where tasks that are durable begin to run.
    pub(crate) new_tasks: mpsc::UnboundedSender<(OrganisationId, TaskId)>,
    /// Where endpoints whose receivers have something to prove are noted.
    pub(crate) unproven: mpsc::UnboundedSender<EndpointId>,
    /// Why those that were asked have not proved it.
    pub(crate) proof_failures: Mutex<IdMap<EndpointId, Box<str>>>,
    /// Who we say that we are, to receivers that grant origins.
    pub(crate) origin: HeaderValue,
    /// Where they may grant it later, in front of a token.
    pub(crate) grant_at: Option<Uri>,
    /// Dead letters of full queues of which operators are to hear.
    pub(crate) full_queues: FullQueues,
    /// Whose backlog may be old.
    pub(crate) backlogs: Backlogs,
    /// What is to be done at a time of its own.
    pub(crate) agenda: AgendaDesk,
    /// Rung when a queue was cut off.
    pub(crate) cut_off: Notify,
    /// What a reader met, until the committer looks.
    pub(crate) failure: Mutex<Option<StoreError>>,
    pub(crate) seed: u64,
    defaults: DeliverySettings,
    pub(crate) secrets: SecretKind,
    reserved_headers: Vec<Box<str>>,
    targets: TargetRules,
    free_space: FreeSpace,
    notices: broadcast::Sender<Notice>,
    dice: Mutex<SplitMix>,
    /// Of whatever was made last, as an endpoint's.
    last_id: Mutex<Option<EndpointId>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Held by every handle; the last one that is dropped stops the engine.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) inner: Arc<Inner>,
}

impl Engine {
    pub(crate) async fn start(builder: EngineBuilder, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let EngineBuilder {
            opener,
            transport,
            mut limits,
            defaults,
            secrets,
            reserved_headers,
            targets,
            free_space,
            origin,
            grant_at,
            seed,
            ..
        } = builder;
        defaults.validate()?;
        // What waits needs its event, and one that was put off waits from then on.
        let waits_max = limits.window.delivery_age_max.saturating_add(DELIVER_AT_AHEAD_MAX);
        limits.retention = limits.retention.max(waits_max);
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(()));
        let store = StoreCell::new(opener.open().await?);
        set_back(&*store.get()?, clock.now()).await?;
        let registry = Registry::default();
        registry.replace(Registry::read(store.get()?.reads()).await?);
        let catalogue = Catalogue::default();
        catalogue.replace(Catalogue::read(store.get()?.reads()).await?);
        let settings = Settings::default();
        settings.replace(Settings::read(store.get()?.reads()).await?);
        let (new_tasks, tasks_to_run) = mpsc::unbounded_channel();
        let (unproven, to_prove) = mpsc::unbounded_channel();
        let state_log = StateLog::new(clock.now());
        let inner = Inner {
            store,
            transport,
            clock,
            registry,
            catalogue,
            settings,
            aside: Aside::new(),
            commits: CommitQueue::new(GroupLimits {
                batches: limits.group_requests.get(),
                bytes: limits.group_bytes,
                rows: limits.group_rows,
                waiting: limits.waiting_requests.get(),
                waiting_bytes: limits.waiting_bytes,
            }),
            quotas: Arc::default(),
            lifecycle: Lifecycle::new(),
            metrics: Metrics::new(),
            state_log,
            payloads: ByteBudget::new(limits.payload_bytes_in_memory / 2),
            shared_events: SharedEvents::default(),
            payload_desk: PayloadDesk::new(limits.payload_bytes_in_memory / 2),
            directory: Directory::new(limits.shards.get()),
            open_breakers: OpenBreakers::default(),
            permits: PermitDesk::new(limits.in_flight_requests.get()),
            given_back: Notify::new(),
            wakes: Wakes::new(limits.active_endpoints),
            pending: Pending::new(limits.pending_deliveries_per_application),
            answering: answers::Turns::default(),
            new_tasks,
            unproven,
            proof_failures: Mutex::default(),
            origin,
            grant_at,
            full_queues: FullQueues::default(),
            backlogs: Backlogs::default(),
            agenda: AgendaDesk::new(),
            cut_off: Notify::new(),
            failure: Mutex::new(None),
            tasks: Mutex::new(Vec::new()),
            limits,
            seed,
            defaults,
            secrets,
            reserved_headers,
            targets,
            free_space,
            notices: broadcast::Sender::new(NOTICES),
            dice: Mutex::new(SplitMix::new(seed)),
            last_id: Mutex::new(None),
        };
        let owner = Arc::new(Owner { inner: Arc::new(inner) });
        owner.inner.begin(opener, tasks_to_run, to_prove).await?;
        Ok(Self { owner })
    }
}

impl Inner {
    async fn begin(
        self: &Arc<Self>,
        opener: Arc<dyn OpenStore>,
        tasks_to_run: NewTasks,
        to_prove: mpsc::UnboundedReceiver<EndpointId>,
    ) -> Result<(), StartError> {
        let mut supervisors = Vec::with_capacity(self.directory.shards());
        for shard in 0..self.directory.shards() {
            let watch = Watch { inner: Arc::clone(self), shard };
            let (supervisor, _joined) = Supervisor::spawn(None, Supervisor, watch).await?;
            supervisors.push(supervisor);
        }
        self.directory.supervise(supervisors.into());
        // Not among those that a shutdown waits for: it serves the last attempt, too.
        tokio::spawn(permit::grant_what_is_dropped(Arc::clone(self)));
        let committer = Committer::new(Arc::clone(self), opener);
        let tasks = [
            tokio::spawn(committer.run()),
            tokio::spawn(wakes::scan(Arc::clone(self))),
            tokio::spawn(purge::purge(Arc::clone(self))),
            tokio::spawn(retention::retain(Arc::clone(self))),
            tokio::spawn(proofs::run(Arc::clone(self), to_prove)),
            tokio::spawn(agenda::keep(Arc::clone(self))),
            tokio::spawn(answers::forget_old(Arc::clone(self))),
            tokio::spawn(ended_tasks::forget_old(Arc::clone(self))),
            tokio::spawn(pending::count(Arc::clone(self))),
            tokio::spawn(full_queues::tell(Arc::clone(self))),
            tokio::spawn(backlogs::watch(Arc::clone(self))),
            tokio::spawn(task_runner::run(Arc::clone(self), tasks_to_run)),
        ];
        self.tasks().extend(tasks);
        Ok(())
    }

    pub(crate) fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits a batch of a caller, once its turn comes.
    pub(crate) async fn commit(&self, application: ApplicationId, batch: Batch) -> Result<Verdict, CommitError> {
        self.commit_new(application, batch, None).await
    }

    /// As [`commit`](Self::commit), for what makes something that has a [quota](crate::quota).
    pub(crate) async fn commit_new(
        &self,
        application: ApplicationId,
        mut batch: Batch,
        place: Option<Place>,
    ) -> Result<Verdict, CommitError> {
        self.lifecycle.gate()?;
        self.tell_operators(&mut batch, || false);
        self.commits.submit_new(application, batch, place)?.answer().await
    }

    /// As [`commit`](Self::commit), for what belongs to no application: an organisation takes turns as one.
    pub(crate) async fn commit_for(&self, organisation: OrganisationId, batch: Batch) -> Result<Verdict, CommitError> {
        self.commit_new_for(organisation, batch, None).await
    }

    /// As [`commit_new`](Self::commit_new) and [`commit_for`](Self::commit_for).
    pub(crate) async fn commit_new_for(
        &self,
        organisation: OrganisationId,
        batch: Batch,
        place: Option<Place>,
    ) -> Result<Verdict, CommitError> {
        self.commit_new(ApplicationId::from_bytes(organisation.to_bytes()), batch, place).await
    }

    /// An id of any kind, greater than every one before it: lists by id are in the order in which things were made.
    pub(crate) fn fresh_id(&self, now: Timestamp) -> [u8; 20] {
        let mut last = self.last_id.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = EndpointId::after(*last, now, self.roll());
        *last = Some(fresh);
        fresh.to_bytes()
    }

    pub(crate) fn roll(&self) -> u64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).roll()
    }

    /// Whether events are taken, as far as the disk goes.
    pub(crate) fn has_space(&self) -> Result<(), CommitError> {
        if self.free_space.has(self.limits.free_bytes_min, self.clock.now()) {
            return Ok(());
        }
        Err(CommitError::Unavailable { retry_after: RETRY_AFTER })
    }

    /// Where an endpoint posts, if all that is asked of it can be done.
    pub(crate) fn check(&self, spec: &EndpointSpec) -> Result<Url, InvalidEndpoint> {
        let target = spec.validate()?;
        let is_reserved = |name: &str| {
            let starts =
                |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
            self.reserved_headers.iter().any(|prefix| starts(prefix))
        };
        if let Some(header) = spec.headers.iter().find(|header| is_reserved(&header.name)) {
            return Err(InvalidEndpoint::HeaderReserved(header.name.clone()));
        }
        self.targets.check_url(&target).map_err(|refused| InvalidEndpoint::Forbidden(refused.to_string().into()))?;
        Ok(target)
    }

    /// How an endpoint is delivered to: its own settings over its application's over the engine's.
    /// Its rate is never above what its receiver granted.
    pub(crate) fn policy(&self, owner: &Application, spec: &EndpointSpec, granted: Option<Rate>) -> DeliveryPolicy {
        let policy = DeliveryPolicy::default().with(&self.defaults).with(&owner.spec.delivery).with(&spec.delivery);
        let rate = spec.rate.or(owner.spec.rate);
        let rate = granted.map_or(rate, |granted| Some(rate.map_or(granted, |rate| rate.at_most(granted))));
        DeliveryPolicy { rate, ..policy }
    }

    /// What was read, with as many events as the budget for payloads allows; the others are read again for their attempt.
    pub(crate) fn within_budget(&self, found: Found) -> Found {
        let Found::Rows(Rows { rows, is_last }) = found else { return found };
        let leased = |event: Arc<StoredEvent>| {
            if let Some(held) = self.shared_events.get(event.id) {
                return Some(held);
            }
            let lease = self.payloads.lease(event.event.payload.len())?;
            Some(self.shared_events.share(Arc::new(StoredEvent { lease, ..(*event).clone() })))
        };
        let rows = rows.into_iter().map(|(delivery, event)| (delivery, event.and_then(leased))).collect();
        Found::Rows(Rows { rows, is_last })
    }

    pub(crate) fn notices(&self) -> Notices {
        Notices(self.notices.subscribe())
    }

    pub(crate) fn notify(&self, notice: Notice) {
        let _nobody_listens = self.notices.send(notice);
    }

    pub(crate) fn health(&self) -> Health {
        Health {
            state: self.lifecycle.state(),
            has_space: self.has_space().is_ok(),
            active_endpoints: self.metrics.active_endpoints(),
            in_flight_requests: self.metrics.in_flight_requests(),
        }
    }
}
