//! Whatever some tenants do, what a small one does arrives in time: the whole engine, with little of all that is shared.
//!
//! A seed decides which tenants are hostile, and in which ways: with receivers that hang, large payloads, large answers,
//! publishers that never pause, thousands of things that are due in the moment in which the small one's are, proofs that
//! nobody gives, and tasks without end. Run one again with
//! `POSTRIDER_SEED=<seed> cargo nextest run -p postrider --test shell whatever_others_do`, and more of them with
//! `POSTRIDER_SEEDS=<number>`.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use postrider::{
    ApplicationSpec, AttemptRequest, AttemptResponse, DeadLetterFilter, EndpointSpec, EndpointStatus, Engine, Event,
    Limits, OrganisationId, Proof, RetryPolicy, TaskStatus, Timestamp, Transport, TransportError, WhenFull,
    core::{Dice, SplitMix, task::CountedBy},
    http::StatusCode,
    storage::MemoryStore,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::support::{Failed, Knobbed};

/// When all that is put off is due.
const PEAK: Duration = Duration::from_secs(3600);
const COMMIT_MILLIS: u64 = 10;
/// What waits for nobody but for turns.
const SOON: Duration = Duration::from_secs(3);
/// After so long a receiver that does not answer is given up.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is sent may have to wait until the first of those that hang are known to.
const SENT: Duration = SOON.saturating_add(TIMEOUT);
/// What is woken may have to wait until others that were count no more.
const WOKEN: Duration = Duration::from_secs(35);

/// How a tenant takes what it can.
#[derive(Clone, Copy, Debug)]
enum Hostility {
    /// Receivers that never answer.
    Hangs,
    /// As that, with payloads that wait for memory.
    HangsWithLargePayloads,
    /// Publishers that begin again as soon as they are answered, and receivers that answer at length.
    Publishes,
    /// Payloads that are all to be forgotten in one moment.
    Forgets,
    /// Deliveries that all begin in one moment.
    PutsOff,
    /// Retries that are all due in one moment, at receivers that hang then.
    Retries,
    /// Receivers that do not answer what they are to prove.
    ProvesNothing,
    /// Tasks that wait for room, and others that have much to do.
    Tasks,
}

const HOSTILITIES: [Hostility; 8] = [
    Hostility::Hangs,
    Hostility::HangsWithLargePayloads,
    Hostility::Publishes,
    Hostility::Forgets,
    Hostility::PutsOff,
    Hostility::Retries,
    Hostility::ProvesNothing,
    Hostility::Tasks,
];

#[tokio::test(start_paused = true)]
async fn whatever_others_do_what_is_small_arrives() -> Result<(), Failed> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = number("POSTRIDER_SEED").map_or(0..number("POSTRIDER_SEEDS").unwrap_or(3), |seed| seed..seed + 1);
    for seed in seeds {
        let mut dice = SplitMix::new(seed);
        let mut hostile = HOSTILITIES.to_vec();
        let spared = (2 + dice.roll() % 4) as usize;
        for _ in 0..spared {
            hostile.swap_remove(dice.roll() as usize % hostile.len());
        }
        println!("POSTRIDER_SEED={seed} cargo nextest run -p postrider --test shell whatever_others_do # {hostile:?}");
        one_small_beside(seed, &hostile, 1 + dice.roll() % 8).await?;
    }
    Ok(())
}

async fn one_small_beside(seed: u64, hostile: &[Hostility], applications: u64) -> Result<(), Failed> {
    let (store, receivers) = (Knobbed::new(MemoryStore::new()), Receivers::default());
    let limits = |limits: &mut Limits| {
        (limits.in_flight_requests, limits.payload_bytes_in_memory) = (at_least_one(64), 1 << 20);
        (limits.active_endpoints, limits.group_requests) = (at_least_one(50), at_least_one(16));
        (limits.group_bytes, limits.group_rows) = (64 << 10, 512);
    };
    let builder = Engine::builder(store.clone(), receivers.clone()).limits(limits).seed(seed);
    let engine = builder.start().await?;
    let mut tenants = Vec::new();
    for (n, hostility) in (1..).zip(hostile) {
        let tenant = Tenant { engine: engine.clone(), organisation: OrganisationId::from_bytes([n; 20]), applications };
        tenant.prepare(*hostility).await?;
        tenants.push((tenant, *hostility));
    }
    // Behind all that is due in the same moment.
    let small = Small::begin(&engine).await?;
    store.knobs.commit_millis.store(COMMIT_MILLIS, Ordering::SeqCst);
    sleep_until(small.began + PEAK - Duration::from_secs(5)).await;
    let mut busy = JoinSet::new();
    for (tenant, hostility) in &tenants {
        tenant.begin(*hostility, &mut busy).await?;
    }
    sleep_until(small.began + PEAK).await;
    let arrived = small.arrives(&engine, &receivers).await;
    busy.shutdown().await;
    engine.shutdown(Duration::ZERO).await;
    arrived
}

/// The small tenant, of which each thing is one.
struct Small {
    began: Instant,
}

impl Small {
    async fn begin(engine: &Engine) -> Result<Self, Failed> {
        engine.applications().upsert("small", ApplicationSpec::new("Small")).await?;
        let endpoints = engine.endpoints("small");
        for (uid, wanted) in [("now", "case.now"), ("later", "case.later")] {
            endpoints.upsert(uid, to(&format!("/small/{uid}")).event_types([wanted])).await?;
        }
        let retry = RetryPolicy::delays([PEAK]).without_jitter();
        endpoints.upsert("once", to("/once/small").event_types(["case.once"]).retry(retry)).await?;
        let began = Instant::now();
        let accepted = engine.publish("small", Event::new("case.once", "{}")).await?.accepted_at;
        engine.publish("small", Event::new("case.later", "{}").deliver_at(accepted + PEAK)).await?;
        Ok(Self { began })
    }

    async fn arrives(&self, engine: &Engine, receivers: &Receivers) -> Result<(), Failed> {
        let now = async {
            engine.publish("small", Event::new("case.now", "{}")).await.map_err(told)?;
            in_time("an event", SENT, async || receivers.count("/small/now") == 1).await
        };
        let proof = async {
            let mut spec = to("/small/proof").event_types(["case.nothing"]);
            spec.proof = Proof::Ping;
            let id = engine.endpoints("small").create(spec).await.map_err(told)?.id;
            let is_proved =
                async || engine.endpoints("small").get(id).is_ok_and(|found| found.status == EndpointStatus::Active);
            in_time("a proof", SOON, is_proved).await
        };
        let task = async {
            let (from, to) = (Timestamp::from_nanos(0), Timestamp::MAX);
            let task = engine.tasks().count(None, from, to, CountedBy::Application).await.map_err(told)?.id;
            let is_over = async || engine.tasks().get(task).await.is_ok_and(|it| it.status == TaskStatus::Finished);
            in_time("a task", SOON, is_over).await
        };
        let later = in_time("what was put off", SENT, async || receivers.count("/small/later") == 1);
        let retry = in_time("a retry", WOKEN, async || receivers.count("/once/small") == 2);
        let all = tokio::join!(now, proof, task, later, retry);
        let failed = [all.0, all.1, all.2, all.3, all.4].into_iter().filter_map(Result::err).collect::<Vec<_>>();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ").into()) }
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn in_time(what: &str, at_most: Duration, has_come: impl AsyncFn() -> bool) -> Result<(), String> {
    let began = Instant::now();
    while !has_come().await {
        if began.elapsed() > at_most {
            return Err(format!("{what} has not come in {at_most:?}"));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A hostile one.
#[derive(Clone)]
struct Tenant {
    engine: Engine,
    organisation: OrganisationId,
    applications: u64,
}

impl Tenant {
    /// What has to be there before.
    async fn prepare(&self, hostility: Hostility) -> Result<(), Failed> {
        let organisation = self.engine.organisation(self.organisation);
        for n in 0..self.applications {
            let (uid, each) = (format!("a{n}"), |all: u64| all.div_ceil(self.applications));
            organisation.applications().upsert(&*uid, ApplicationSpec::new("Hostile")).await?;
            let of = organisation.endpoints(&*uid);
            match hostility {
                Hostility::Hangs | Hostility::HangsWithLargePayloads => {
                    for n in 0..each(80) {
                        of.create(to(&format!("/hang/{n}"))).await?;
                    }
                }
                Hostility::Publishes => drop(of.create(to("/wordy")).await?),
                Hostility::Forgets => {
                    for _ in 0..2 {
                        let events = (0..each(1_000)).map(|_| Event::new("case.secret", "{}").payload_kept(PEAK));
                        all_taken(organisation.publish_all(&*uid, events).await)?;
                    }
                }
                Hostility::PutsOff => {
                    for n in 0..each(40) {
                        of.create(to(&format!("/ok/{n}"))).await?;
                    }
                    let now = organisation.publish(&*uid, Event::new("case.first", "{}")).await?.accepted_at;
                    let events = (0..each(200)).map(|_| Event::new("case.later", "{}").deliver_at(now + PEAK));
                    all_taken(organisation.publish_all(&*uid, events).await)?;
                }
                Hostility::Retries => {
                    for n in 0..each(300) {
                        of.create(to(&format!("/once/hang/{n}")).retry(RetryPolicy::delays([PEAK]).without_jitter()))
                            .await?;
                    }
                    organisation.publish(&*uid, Event::new("case.fails", "{}")).await?;
                }
                Hostility::ProvesNothing => {}
                Hostility::Tasks => {
                    let few = NonZeroU32::MIN.saturating_add(2);
                    let spec = to("/refuses").retry(RetryPolicy::delays([])).max_queued(few, WhenFull::DeadLetter);
                    of.upsert("full", spec).await?;
                    all_taken(organisation.publish_all(&*uid, (0..each(300)).map(|_| Event::new("case", "{}"))).await)?;
                }
            }
        }
        Ok(())
    }

    /// What goes on beside the small one.
    async fn begin(&self, hostility: Hostility, busy: &mut JoinSet<()>) -> Result<(), Failed> {
        let organisation = self.engine.organisation(self.organisation);
        for n in 0..self.applications {
            let (uid, each) = (format!("a{n}"), |all: u64| all.div_ceil(self.applications));
            let payload = match hostility {
                Hostility::HangsWithLargePayloads => 100 << 10,
                _ => 2,
            };
            match hostility {
                Hostility::Hangs | Hostility::HangsWithLargePayloads | Hostility::Publishes => {
                    for _ in 0..each(40) {
                        let (tenant, uid) = (self.clone(), uid.clone());
                        busy.spawn(async move { tenant.publish_on(&uid, payload).await });
                    }
                }
                Hostility::Forgets | Hostility::PutsOff | Hostility::Retries => {}
                Hostility::ProvesNothing => {
                    for n in 0..each(200) {
                        let mut spec = to(&format!("/hang/{n}"));
                        spec.proof = Proof::Ping;
                        organisation.endpoints(&*uid).create(spec).await?;
                    }
                }
                Hostility::Tasks => {
                    organisation.endpoints(&*uid).pause("full").await?;
                    for _ in 0..3 {
                        organisation.publish(&*uid, Event::new("case", "{}")).await?;
                    }
                    for _ in 0..each(24) {
                        let letters = organisation.dead_letters(&*uid);
                        letters.redrive_many(&DeadLetterFilter::of("full")).await?;
                        let (from, to) = (Timestamp::from_nanos(0), Timestamp::MAX);
                        organisation.tasks().count(None, from, to, CountedBy::EventType).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn publish_on(&self, uid: &str, bytes: usize) {
        loop {
            let event = Event::new("case.flood", vec![b' '; bytes]);
            if self.engine.organisation(self.organisation).publish(uid, event).await.is_err() {
                sleep(Duration::from_millis(COMMIT_MILLIS)).await;
            }
        }
    }
}

fn all_taken<T, E: std::error::Error + 'static>(published: Vec<Result<T, E>>) -> Result<(), Failed> {
    published.into_iter().try_for_each(|one| one.map(drop).map_err(Into::into))
}

fn to(path: &str) -> EndpointSpec {
    EndpointSpec::new(format!("https://receiver.example{path}")).timeout(TIMEOUT)
}

fn at_least_one(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)
}

/// What came where. Below `/hang` nothing is answered, below `/once` the first request to each place is refused, and with
/// `hang` in its name the second one hangs.
#[derive(Clone, Debug, Default)]
struct Receivers(Arc<Mutex<BTreeMap<String, usize>>>);

impl Receivers {
    fn count(&self, path: &str) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied().unwrap_or(0)
    }
}

#[async_trait]
impl Transport for Receivers {
    async fn send(&self, request: AttemptRequest) -> Result<AttemptResponse, TransportError> {
        let path = request.url.path().to_owned();
        let came = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let came = all.entry(path.clone()).or_default();
            *came += 1;
            *came
        };
        let status = match path.split('/').nth(1) {
            Some("once") if came == 1 => StatusCode::INTERNAL_SERVER_ERROR,
            Some("refuses") => StatusCode::BAD_REQUEST,
            _ if path.contains("/hang") => std::future::pending().await,
            _ => StatusCode::OK,
        };
        let mut response = AttemptResponse::of(status);
        if path == "/wordy" {
            response.body = vec![b'x'; 16 << 10].into();
        }
        Ok(response)
    }
}
