//! The world of one seed: true time, what is to happen, the medium, and the process that is up.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use postrider_core::{
    ActorNo, Batch, DeliveryId, EndpointId, EventId, Finished, Found, Input, LoadId, Permit, SplitMix, Timestamp,
    WakeKey,
};
use postrider_storage::{Begun, KvStore, Reads, Store, StoreError, Syncing, kv::MemoryKv};

use crate::{
    invariants::Judges,
    ledger::Ledger,
    network::Network,
    people::People,
    process::Process,
    spec::{self, Limits, below, chance},
    trace::Trace,
};

const BEGAN: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);
/// A seed that needs more steps goes round in circles.
const STEPS_MAX: u64 = 300_000;

/// What is to happen. What belongs to a process carries its number, and is dropped with it.
#[derive(Debug)]
pub(crate) enum What {
    Publish,
    /// Somebody who was turned away comes again.
    PublishAgain(postrider_core::ApplicationId, Arc<postrider_core::Event>),
    Intervene,
    Crash,
    StoreFails,
    Kill,
    PowerCut,
    Judge,
    /// The faults are over.
    Peace,
    Of(u64, Inside),
}

/// What is to happen in a process.
#[derive(Debug)]
pub(crate) enum Inside {
    /// An actor's mailbox.
    Look(EndpointId, ActorNo),
    Picture(EndpointId, ActorNo, LoadId, postrider_core::Ask, postrider_core::WindowShare),
    Tell(EndpointId, ActorNo, Input),
    Permit(EndpointId, Permit),
    Deadline(EndpointId, ActorNo, Timestamp),
    RestOver(EndpointId, ActorNo),
    /// The request goes out.
    Send(EndpointId, ActorNo, Box<postrider_core::AttemptPlan>),
    Finish(EndpointId, Finished),
    Group,
    /// This group is on the disk, and those before it.
    Synced(u64),
    /// The batches of a synced group, one after another, and then the answers.
    Visible,
    Scan,
    Scanned {
        rows: Vec<WakeKey>,
        then: Option<Timestamp>,
        until: Timestamp,
        limit: usize,
        opened: u64,
    },
    Reopen,
    Purge,
}

/// What a run amounted to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) steps: u64,
    pub(crate) digest: u64,
    counts: [u64; 6],
}

impl Told {
    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(all, one)| *all += one);
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [acknowledged, attempts, processes, cuts, crashes, stalls] = self.counts;
        write!(
            f,
            "{acknowledged} deliveries acknowledged, {attempts} attempts, {processes} processes, {cuts} power cuts, \
             {crashes} panics, {stalls} failures of the store"
        )
    }
}

/// The world of one seed.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) dice: SplitMix,
    /// True time; the process has a clock of its own.
    pub(crate) now: Timestamp,
    agenda: BTreeMap<(Timestamp, u64), What>,
    order: u64,
    pub(crate) limits: Limits,
    pub(crate) medium: MemoryKv,
    pub(crate) store: KvStore<MemoryKv>,
    pub(crate) process: Process,
    pub(crate) network: Network,
    pub(crate) people: People,
    pub(crate) ledger: Ledger,
    pub(crate) judges: Judges,
    pub(crate) trace: Trace,
    pub(crate) faults: bool,
    pub(crate) counts: [u64; 6],
}

impl World {
    pub(crate) fn new(seed: u64, traces: bool) -> Self {
        let mut dice = SplitMix::new(seed);
        let limits = Limits::of(&mut dice);
        let medium = MemoryKv::with_power_cuts();
        let store = KvStore::over(medium.clone()).expect("an empty medium can be opened");
        let faults = chance(&mut dice, 80);
        let (network, people) = (Network::of(&mut dice), People::of(&mut dice));
        let process = Process::new(1, Duration::ZERO, &limits);
        let (ledger, judges, trace) = (Ledger::default(), Judges::default(), Trace::new(traces, BEGAN));
        Self {
            seed,
            dice,
            now: BEGAN,
            agenda: BTreeMap::new(),
            order: 0,
            limits,
            medium,
            store,
            process,
            network,
            people,
            ledger,
            judges,
            trace,
            faults,
            counts: [0; 6],
        }
    }

    pub(crate) fn run(mut self) -> Told {
        self.settle_in();
        self.plan(Duration::ZERO, What::Publish);
        self.plan(Duration::from_millis(50), What::Intervene);
        self.plan(Duration::from_millis(100), What::Judge);
        self.inside(Duration::ZERO, Inside::Scan);
        if self.faults {
            self.plan(Duration::from_millis(300), What::Crash);
            self.plan(Duration::from_millis(900), What::StoreFails);
            self.plan(Duration::from_millis(1_700), What::Kill);
            self.plan(Duration::from_millis(2_900), What::PowerCut);
        }
        let mut steps = 0;
        while !self.is_at_rest() {
            let Some(((at, _), what)) = self.agenda.pop_first() else { break };
            self.now = self.now.max(at);
            self.step(what);
            steps += 1;
            if steps >= STEPS_MAX {
                self.violated("D1", &format!("no rest after {steps} steps: {}", self.unfinished_in_words()));
            }
        }
        self.judge_at_rest();
        self.counts[0] = self.ledger.acknowledged.len() as u64;
        self.counts[1] = self.ledger.sent;
        self.counts[2] = self.process.number;
        Told { steps, digest: self.trace.digest(), counts: self.counts }
    }

    fn step(&mut self, what: What) {
        match what {
            What::Publish => self.publish_next(),
            What::PublishAgain(owner, event) => self.publish_again(owner, event),
            What::Intervene => self.intervene(),
            What::Crash => self.crash_an_actor(),
            What::StoreFails => self.let_the_store_fail(),
            What::Kill => self.kill(),
            What::PowerCut => self.cut_power(),
            What::Judge => self.judge(),
            What::Peace => self.make_peace(),
            What::Of(process, inside) if process == self.process.number => self.step_inside(inside),
            What::Of(..) => {}
        }
    }

    fn step_inside(&mut self, inside: Inside) {
        match inside {
            Inside::Look(endpoint, actor) => self.look(endpoint, actor),
            Inside::Picture(endpoint, actor, id, ask, share) => self.take_picture(endpoint, actor, id, ask, share),
            Inside::Tell(endpoint, actor, input) => self.mail(endpoint, actor, input),
            Inside::Permit(endpoint, permit) => self.permit_arrives(endpoint, permit),
            Inside::Deadline(endpoint, actor, at) => self.deadline(endpoint, actor, at),
            Inside::RestOver(endpoint, actor) => self.rest_over(endpoint, actor),
            Inside::Send(endpoint, actor, plan) => self.send(endpoint, actor, *plan),
            Inside::Finish(endpoint, finished) => self.attempt_finished(endpoint, finished),
            Inside::Group => self.write_group(),
            Inside::Synced(number) => self.synced(number),
            Inside::Visible => self.next_visible(),
            Inside::Scan => self.scan(),
            Inside::Scanned { rows, then, until, limit, opened } => self.scanned(&rows, then, until, limit, opened),
            Inside::Reopen => self.reopen(),
            Inside::Purge => self.purge(),
        }
    }

    /// Nothing is left that could change anything for deliveries.
    fn is_at_rest(&self) -> bool {
        self.people.is_done() && !self.faults && self.process.is_quiet() && self.ledger.unfinished().next().is_none()
    }

    pub(crate) fn unfinished_in_words(&self) -> String {
        let left: Vec<_> =
            self.ledger.unfinished().take(5).map(|(id, stored)| self.in_words(*id, stored.event)).collect();
        left.join("\n")
    }

    fn in_words(&self, id: DeliveryId, event: EventId) -> String {
        let place = self.process.places.get(&id.endpoint);
        let report = place.and_then(|place| place.actor.as_ref()).map(|(_, machine)| machine.report());
        let status =
            self.process.registry.endpoint(id.endpoint).map(|endpoint| (endpoint.status, endpoint.policy.ordering));
        let wakes = self.read(|reads| async move {
            reads.wakes(None, Timestamp::MAX, std::num::NonZeroUsize::MIN.saturating_add(999)).await
        });
        let wakes: Vec<_> = wakes.into_iter().filter(|(_, endpoint)| *endpoint == id.endpoint).collect();
        format!("{id:?} of {event}: {status:?} {report:?} wakes {wakes:?} at {:?}", self.process_now())
    }

    /// The process's own clock.
    pub(crate) fn process_now(&self) -> Timestamp {
        self.now + self.process.clock_ahead
    }

    pub(crate) fn plan(&mut self, wait: Duration, what: What) {
        self.order += 1;
        self.agenda.insert((self.now + wait, self.order), what);
    }

    /// In the process that is up now.
    pub(crate) fn inside(&mut self, wait: Duration, inside: Inside) {
        let number = self.process.number;
        self.plan(wait, What::Of(number, inside));
    }

    /// Some time, as the scheduler of a busy machine takes it.
    pub(crate) fn late(&mut self) -> Duration {
        let most = [50, 1_000, 20_000][usize::try_from(below(&mut self.dice, 3)).unwrap_or_default()];
        Duration::from_micros(below(&mut self.dice, most))
    }

    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.note(self.now, what);
    }

    /// Tells what is broken, and the last that happened.
    pub(crate) fn violated(&self, invariant: &str, found: &str) -> ! {
        panic!("{invariant} is broken in seed {}: {found}\n{}", self.seed, self.trace.last_lines())
    }

    /// Memory answers at once.
    pub(crate) fn read<'s, T, F>(&'s self, look: impl FnOnce(&'s dyn Reads) -> F) -> T
    where
        F: Future<Output = Result<T, StoreError>> + 's,
    {
        now_or_never(look(self.store.reads())).unwrap_or_else(|error| self.violated("store", &error.to_string()))
    }

    /// Written, and not synced.
    pub(crate) fn begin(&self, group: Arc<[Batch]>, durability: postrider_core::Durability) -> Begun {
        let begun = now_or_never(self.store.begin(group, durability));
        begun.unwrap_or_else(|error| self.violated("store", &error.to_string()))
    }

    pub(crate) fn settle(&self, syncing: Syncing) {
        now_or_never(syncing).unwrap_or_else(|error| self.violated("store", &error.to_string()));
    }

    pub(crate) fn commit(
        &self,
        group: Arc<[Batch]>,
        durability: postrider_core::Durability,
    ) -> Vec<postrider_storage::Verdict> {
        let done = now_or_never(self.store.commit(group, durability));
        done.unwrap_or_else(|error| self.violated("store", &error.to_string()))
    }

    /// A world with some endpoints.
    fn settle_in(&mut self) {
        for _ in 0..1 + below(&mut self.dice, 2) {
            self.make_application();
        }
        for _ in 0..2 + below(&mut self.dice, 5) {
            let spec = spec::endpoint(&mut self.dice);
            self.make_endpoint(spec);
        }
    }

    pub(crate) fn found_in_words(found: &Found) -> String {
        match found {
            Found::Soft(soft) => format!("soft {:?}", soft.breaker),
            Found::Aged(aged) => format!("{aged:?}"),
            Found::Rows(rows) => {
                let seqs: Vec<_> = rows.rows.iter().map(|(delivery, _)| delivery.id.seq.0).collect();
                format!("{seqs:?}{}", if rows.is_last { "" } else { " and more" })
            }
        }
    }
}

pub(crate) fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a store in memory answers at once"),
    }
}
