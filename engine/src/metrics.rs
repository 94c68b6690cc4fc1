//! What is counted, for operators.

use std::{sync::atomic::AtomicI64, time::Duration};

use postrider_core::{BreakerState, Failure, GiveUpReason, Outcome};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

type Count = Gauge<i64, AtomicI64>;

/// What is counted. Cheap to read at any time.
#[derive(Debug)]
pub struct Metrics {
    accepted: Counter,
    accept: Histogram,
    attempts: Family<ByOutcome, Counter>,
    attempt: Histogram,
    delivered: Counter,
    delivery: Histogram,
    queue_wait: Histogram,
    dead_letters: Family<ByReason, Counter>,
    commits: Counter,
    group: Histogram,
    commit: Histogram,
    refused_steps: Counter,
    permits_free: Count,
    permits_waiting: Count,
    active: Count,
    in_flight: Count,
    stalled: Count,
    stalls: Counter,
    breakers_open: Count,
    queued: Count,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.000_5, 2.0, 18));
        Self {
            accepted: Counter::default(),
            accept: seconds(),
            attempts: Family::default(),
            attempt: seconds(),
            delivered: Counter::default(),
            delivery: Histogram::new(exponential_buckets(0.001, 4.0, 15)),
            queue_wait: Histogram::new(exponential_buckets(0.001, 4.0, 15)),
            dead_letters: Family::default(),
            commits: Counter::default(),
            group: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit: seconds(),
            refused_steps: Counter::default(),
            permits_free: Count::default(),
            permits_waiting: Count::default(),
            active: Count::default(),
            in_flight: Count::default(),
            stalled: Count::default(),
            stalls: Counter::default(),
            breakers_open: Count::default(),
            queued: Count::default(),
        }
    }

    /// Adds all of it to a registry of one's own, under names that begin with `postrider_`.
    pub fn register(&self, registry: &mut Registry) {
        let of = registry.sub_registry_with_prefix("postrider");
        of.register("events_accepted", "Events stored", self.accepted.clone());
        of.register_with_unit("accept", "From publish to durable", Unit::Seconds, self.accept.clone());
        of.register("attempts", "Requests by what they amounted to", self.attempts.clone());
        of.register_with_unit("attempt", "Time that a request took", Unit::Seconds, self.attempt.clone());
        of.register("delivered", "Deliveries that ended with 2xx", self.delivered.clone());
        of.register_with_unit("delivery", "From accepted to delivered", Unit::Seconds, self.delivery.clone());
        let wait = "From accepted to the first attempt: the age of what is next in the queues";
        of.register_with_unit("queue_wait", wait, Unit::Seconds, self.queue_wait.clone());
        of.register("dead_letters", "Deliveries given up, by reason", self.dead_letters.clone());
        of.register("commits", "Groups committed", self.commits.clone());
        of.register("commit_group_batches", "Batches in a group", self.group.clone());
        of.register_with_unit("commit", "Time that a commit took", Unit::Seconds, self.commit.clone());
        of.register("refused_steps", "Steps of deliveries that a guard refused", self.refused_steps.clone());
        of.register("permits_free", "Requests that may still be sent at once", self.permits_free.clone());
        of.register("permits_waiting", "Requests that wait for others to end", self.permits_waiting.clone());
        of.register("active_endpoints", "Endpoints whose actors are up", self.active.clone());
        of.register("in_flight_requests", "Requests in flight", self.in_flight.clone());
        of.register("stalled", "1 while the store is away", self.stalled.clone());
        of.register("stalls", "Failures of the store", self.stalls.clone());
        of.register("breakers_open", "Active endpoints whose breaker is not closed", self.breakers_open.clone());
        let queued = "Deliveries in all queues, as far as they are counted since the start";
        of.register("queued", queued, self.queued.clone());
    }

    /// All of it, in the text format of OpenMetrics. To show it along with numbers of one's own, [`register`](Self::register)
    /// it with them.
    pub fn encode(&self) -> String {
        let (mut text, mut registry) = (String::new(), Registry::default());
        self.register(&mut registry);
        // Writing to a string does not fail.
        let _infallible = encode(&mut text, &registry);
        text
    }

    /// Events stored since the start.
    pub fn events_accepted(&self) -> u64 {
        self.accepted.get()
    }

    /// Deliveries that ended with 2xx since the start.
    pub fn deliveries_ended_well(&self) -> u64 {
        self.delivered.get()
    }

    /// Steps of deliveries that a guard refused since the start: without faults, cancels and deletes there are none.
    pub fn steps_refused(&self) -> u64 {
        self.refused_steps.get()
    }

    /// Groups committed since the start.
    pub fn groups_committed(&self) -> u64 {
        self.commits.get()
    }

    pub(crate) fn accept_seconds(&self, took: Duration) {
        self.accept.observe(took.as_secs_f64());
    }

    pub(crate) fn accepted(&self) {
        self.accepted.inc();
    }

    pub(crate) fn attempted(&self, outcome: &Outcome, took: Duration) {
        let outcome = match outcome {
            Outcome::Success { .. } => "success",
            Outcome::Failure(Failure::Status { code: 300..400, .. }) => "redirect",
            Outcome::Failure(Failure::Status { code: 400..500, .. }) => "client_error",
            Outcome::Failure(Failure::Status { .. }) => "server_error",
            Outcome::Failure(Failure::TimedOut) => "timed_out",
            Outcome::Failure(Failure::Network(_)) => "network",
            Outcome::Failure(Failure::Blocked(_)) => "blocked",
            Outcome::Failure(Failure::NotSent(_)) => "not_sent",
            Outcome::Failure(Failure::Lost) => "lost",
        };
        self.attempts.get_or_create(&ByOutcome { outcome }).inc();
        self.attempt.observe(took.as_secs_f64());
    }

    pub(crate) fn waited(&self, since_accepted: Duration) {
        self.queue_wait.observe(since_accepted.as_secs_f64());
    }

    pub(crate) fn delivered(&self, after: Duration) {
        self.delivered.inc();
        self.delivery.observe(after.as_secs_f64());
    }

    pub(crate) fn gave_up(&self, reason: GiveUpReason) {
        let reason = match reason {
            GiveUpReason::Exhausted => "exhausted",
            GiveUpReason::Refused => "refused",
            GiveUpReason::Expired => "expired",
            GiveUpReason::QueueFull => "queue_full",
            GiveUpReason::Poisoned => "poisoned",
            GiveUpReason::Unreadable => "unreadable",
        };
        self.dead_letters.get_or_create(&ByReason { reason }).inc();
    }

    pub(crate) fn queued(&self, all: i64) {
        self.queued.set(all);
    }

    pub(crate) fn committed(&self, batches: usize, took: Duration) {
        self.commits.inc();
        self.group.observe(batches as f64);
        self.commit.observe(took.as_secs_f64());
    }

    pub(crate) fn step_refused(&self) {
        self.refused_steps.inc();
    }

    pub(crate) fn permits(&self, free: usize, waiting: usize) {
        self.permits_free.set(i64::try_from(free).unwrap_or(i64::MAX));
        self.permits_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    pub(crate) fn active(&self, by: i64) {
        self.active.inc_by(by);
    }

    pub(crate) fn in_flight(&self, by: i64) {
        self.in_flight.inc_by(by);
    }

    pub(crate) fn active_endpoints(&self) -> usize {
        usize::try_from(self.active.get()).unwrap_or(0)
    }

    pub(crate) fn in_flight_requests(&self) -> usize {
        usize::try_from(self.in_flight.get()).unwrap_or(0)
    }

    pub(crate) fn stalled(&self) {
        self.stalled.set(1);
        self.stalls.inc();
    }

    pub(crate) fn resumed(&self) {
        self.stalled.set(0);
    }

    pub(crate) fn breakers_open(&self, by: i64) {
        self.breakers_open.inc_by(by);
    }
}

/// Whether attempts wait for it.
pub(crate) const fn is_open(breaker: &BreakerState) -> bool {
    match breaker {
        BreakerState::Closed { .. } => false,
        BreakerState::Open { .. } | BreakerState::HalfOpen { .. } => true,
    }
}
