//! Counts are what they count: after any history, what is shown to wait, and what is limited by it, is what a scan of the
//! store finds.

use std::{num::NonZeroUsize, time::Duration};

use postrider::{
    ApplicationSpec, DeadLetterFilter, EndpointSpec, Engine, EngineState, Event, OnExhausted, OrderingMode,
    PublishError, ReplayFilter, RetryPolicy, Timestamp, WhenFull,
    core::{Dice, EndpointId, EventId, Generation, SplitMix},
    storage::{KvStore, MemoryStore, PageRequest, Store, kv::MemoryKv},
    testing::{Reply, ScriptedTransport},
};
use tokio::time::sleep;

use crate::support::{Failed, Knobbed, Knobs, event, hook};

const HOUR: Duration = Duration::from_secs(3600);
const MANY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);
/// Deliveries that may wait at all endpoints of one application.
const PENDING_MAX: usize = 9;
const APPLICATIONS: [&str; 2] = ["acme", "other"];
const ENDPOINTS: [&str; 3] = ["concurrent", "by-key", "one-lane"];

/// The gauge of the whole engine.
fn gauge(engine: &Engine) -> Option<i64> {
    let text = engine.metrics().encode();
    text.lines().find_map(|line| line.strip_prefix("postrider_queued "))?.parse().ok()
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_counted_after_any_history() -> Result<(), Failed> {
    // Each kind of change counted for itself what it took for a change of a queue: a try by hand that succeeded while its
    // delivery waited left it counted for ever, so that an application with nothing waiting was refused as full; after a
    // start with a backlog the gauge went below zero; what waited at a deleted endpoint stayed in it.
    let seeds = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).map_or(0..200, |seed| seed..seed + 1);
    for seed in seeds {
        println!("SEED={seed} cargo test -p postrider --test shell what_waits_is_counted_after_any_history");
        let mut history = History::begin(seed).await?;
        for _ in 0..12 {
            history.step().await?;
            history.check().await?;
        }
        history.engine()?.shutdown(HOUR).await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_try_by_hand_that_succeeds_leaves_nothing_counted() -> Result<(), Failed> {
    let failed_then_tried = (0..20).map(|n| if n % 2 == 0 { 400_u16 } else { 200 });
    let receiver = ScriptedTransport::new(failed_then_tried.collect::<Vec<_>>());
    let engine = Engine::builder(MemoryStore::new(), receiver.clone())
        .limits(|limits| limits.pending_deliveries_per_application = NonZeroUsize::new(5))
        .seed(7)
        .start()
        .await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").upsert("hook", hook().retry(RetryPolicy::delays([HOUR]))).await?;
    for published in 0..8 {
        let receipt = engine.publish("acme", event("{}")).await?;
        receiver.wait_for(2 * published + 1).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(gauge(&engine), Some(1));
        engine.deliveries("acme").resend(receipt.event, "hook").await?;
        receiver.wait_for(2 * published + 2).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(gauge(&engine), Some(0));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_counted_to_its_end_also_after_a_start() -> Result<(), Failed> {
    const WAITING: usize = 10_500;
    let store = MemoryStore::new();
    let receiver = ScriptedTransport::new([0_u16; 0]);
    let begin = async || Engine::builder(store.clone(), receiver.clone()).seed(7).start().await;
    let engine = begin().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").upsert("hook", hook()).await?;
    engine.endpoints("acme").pause("hook").await?;
    let organisation = engine.organisation(postrider::OrganisationId::DEFAULT);
    for _ in 0..WAITING / 500 {
        organisation.publish_all("acme", (0..500).map(|_| event("{}"))).await;
    }
    let state = engine.endpoints("acme").state("hook").await?;
    assert_eq!((state.backlog.queued, state.backlog.is_at_least), (WAITING, false));
    engine.shutdown(HOUR).await;
    let engine = begin().await?;
    sleep(Duration::from_secs(1)).await;
    let state = engine.endpoints("acme").state("hook").await?;
    assert_eq!((state.backlog.queued, state.backlog.is_at_least), (WAITING, false));
    assert_eq!(gauge(&engine), Some(i64::try_from(WAITING)?));
    engine.endpoints("acme").delete("hook").await?;
    assert_eq!(gauge(&engine), Some(0));
    Ok(())
}

/// An engine, and what happened to it so far.
struct History {
    dice: SplitMix,
    rows: MemoryKv,
    store: Knobbed<MemoryStore>,
    receiver: ScriptedTransport,
    engine: Option<Engine>,
    events: Vec<(&'static str, EventId)>,
}

impl History {
    async fn begin(seed: u64) -> Result<Self, Failed> {
        let mut dice = SplitMix::new(seed);
        let replies: Vec<Reply> = (0..400)
            .map(|_| match dice.roll() % 6 {
                0 | 1 => Reply::Status(200),
                2 | 3 => Reply::Status(503),
                4 => Reply::Status(400),
                _ => Reply::After(Duration::from_secs(20)),
            })
            .collect();
        let rows = MemoryKv::default();
        let store = Knobbed::new(KvStore::over(rows.clone())?);
        let receiver = ScriptedTransport::new(replies);
        let engine = start(&store, &receiver).await?;
        let mut history = Self { dice, rows, store, receiver, engine: Some(engine), events: Vec::new() };
        history.make().await?;
        Ok(history)
    }

    fn engine(&self) -> Result<Engine, Failed> {
        Ok(self.engine.clone().ok_or("it runs between two steps")?)
    }

    /// What is not there is made.
    async fn make(&mut self) -> Result<(), Failed> {
        let engine = self.engine()?;
        for application in APPLICATIONS {
            engine.applications().upsert(application, ApplicationSpec::new("x")).await?;
            for (name, ordering) in ENDPOINTS.into_iter().zip([
                OrderingMode::Concurrent,
                OrderingMode::PerKey(OnExhausted::Hold),
                OrderingMode::Fifo(OnExhausted::Hold),
            ]) {
                if engine.endpoints(application).get(name).is_err() {
                    let spec = EndpointSpec::new(format!("https://receiver.example/{name}"));
                    let retry = RetryPolicy::delays([Duration::from_secs(5), HOUR]);
                    let most = std::num::NonZeroU32::MIN.saturating_add(3);
                    let spec = spec
                        .event_types(["case.counted"])
                        .ordering(ordering)
                        .retry(retry)
                        .max_queued(most, WhenFull::DeadLetter);
                    engine.endpoints(application).upsert(name, spec).await?;
                }
            }
        }
        Ok(())
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.dice.roll() % end as u64).unwrap_or_default()
    }

    /// Something happens. What may be refused may be refused.
    async fn step(&mut self) -> Result<(), Failed> {
        let application = APPLICATIONS[self.below(2)];
        let (endpoint, engine) = (ENDPOINTS[self.below(3)], self.engine()?);
        let tried = match self.events.len() {
            0 => None,
            len => {
                let at = self.below(len);
                Some(self.events[at])
            }
        };
        match (self.below(24), tried) {
            (0..=6, _) | (7..=11, None) => self.publish(application).await?,
            (7 | 8, Some((application, event))) => {
                drop(engine.deliveries(application).resend(event, endpoint).await);
            }
            (9, Some((application, event))) => drop(engine.deliveries(application).cancel(event, endpoint).await),
            (10 | 11, Some((application, _))) => {
                let letters = engine.dead_letters(application);
                let found = letters.list(&DeadLetterFilter::default(), &PageRequest::first(MANY)).await?;
                if let Some(letter) = found.items.first() {
                    match self.below(3) {
                        0 => drop(letters.forget(letter.last.id).await),
                        _ => drop(letters.redrive(letter.last.id).await),
                    }
                }
            }
            (12, _) => drop(engine.dead_letters(application).purge(&DeadLetterFilter::default()).await),
            (13, _) => {
                let since = Timestamp::from_nanos(0);
                drop(engine.tasks().replay(application, endpoint, since, None, ReplayFilter::default()).await);
                drop(engine.tasks().replay_missing(application, endpoint, since, None).await);
            }
            (14, _) => drop(engine.endpoints(application).pause(endpoint).await),
            (15 | 16, _) => {
                drop(engine.endpoints(application).resume(endpoint).await);
                drop(engine.endpoints(application).enable(endpoint).await);
            }
            (17, _) => {
                drop(engine.endpoints(application).delete(endpoint).await);
                self.make().await?;
            }
            (18, _) => {
                drop(engine.applications().delete(application).await);
                self.events.retain(|(of, _)| *of != application);
                self.make().await?;
            }
            (19, _) => {
                engine.shutdown(Duration::from_secs(1)).await;
                drop((engine, self.engine.take()));
                self.engine = Some(start(&self.store, &self.receiver).await?);
            }
            (20, _) => {
                // It ends without taking leave.
                drop((engine, self.engine.take()));
                self.engine = Some(start(&self.store, &self.receiver).await?);
            }
            (21, _) => self.stall().await?,
            (_, _) => sleep(Duration::from_secs([1, 10, 7200][self.below(3)])).await,
        }
        Ok(())
    }

    async fn publish(&mut self, application: &'static str) -> Result<(), Failed> {
        let event = Event::new("case.counted", "{}").ordering_key(["a", "b"][self.below(2)]);
        match self.engine()?.publish(application, event).await {
            Ok(receipt) => self.events.push((application, receipt.event)),
            // While the store is away nothing is taken.
            Err(PublishError::TooManyPending { .. } | PublishError::Commit(_)) => {}
            Err(other) => return Err(other.into()),
        }
        Ok(())
    }

    async fn stall(&mut self) -> Result<(), Failed> {
        let knobs = &self.store.knobs;
        Knobs::set(if self.dice.roll().is_multiple_of(2) { &knobs.loses } else { &knobs.panics });
        drop(self.engine()?.publish(APPLICATIONS[0], Event::new("case.counted", "{}")).await);
        sleep(Duration::from_secs(1)).await;
        while self.engine()?.health().state != EngineState::Running {
            sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    /// Compares everything that counts with a scan of the rows, once nothing moves.
    async fn check(&mut self) -> Result<(), Failed> {
        for _ in 0..100 {
            sleep(Duration::from_millis(50)).await;
            let before = self.scan().await?;
            let (shown, states) = (gauge(&self.engine()?), self.states().await?);
            if before != self.scan().await? {
                continue;
            }
            let all: usize = before.iter().map(|(_, _, waiting)| waiting).sum();
            assert_eq!(shown, Some(i64::try_from(all)?), "the gauge of the engine");
            assert_eq!(states, before, "the state of each endpoint");
            for application in APPLICATIONS {
                let waiting: usize = before.iter().filter(|(of, ..)| *of == application).map(|(.., n)| n).sum();
                let is_full = waiting >= PENDING_MAX;
                let refused = self.engine()?.publish(application, event("{}")).await;
                let refused = matches!(refused, Err(PublishError::TooManyPending { .. }));
                assert_eq!(refused, is_full, "{application} has {waiting} waiting");
            }
            return Ok(());
        }
        Err("it never comes to rest".into())
    }

    fn endpoints(&self) -> Result<Vec<(&'static str, &'static str, EndpointId, Generation)>, Failed> {
        let mut all = Vec::new();
        for application in APPLICATIONS {
            for name in ENDPOINTS {
                let found = self.engine()?.endpoints(application).get(name)?;
                all.push((application, name, found.id, found.generation));
            }
        }
        Ok(all)
    }

    async fn states(&self) -> Result<Vec<(&'static str, &'static str, usize)>, Failed> {
        let mut all = Vec::new();
        for (application, name, ..) in self.endpoints()? {
            let backlog = self.engine()?.endpoints(application).state(name).await?.backlog;
            assert!(!backlog.is_at_least, "all is counted");
            all.push((application, name, backlog.queued));
        }
        Ok(all)
    }

    /// Through a store that counted nothing.
    async fn scan(&self) -> Result<Vec<(&'static str, &'static str, usize)>, Failed> {
        let store = KvStore::over(self.rows.clone())?;
        let mut all = Vec::new();
        for (application, name, id, generation) in self.endpoints()? {
            let found = store.reads().queue(id, generation, &PageRequest::first(MANY)).await?;
            all.push((application, name, found.items.len()));
        }
        Ok(all)
    }
}

async fn start(store: &Knobbed<MemoryStore>, receiver: &ScriptedTransport) -> Result<Engine, Failed> {
    let engine = Engine::builder(store.clone(), receiver.clone())
        .limits(|limits| limits.pending_deliveries_per_application = NonZeroUsize::new(PENDING_MAX))
        .seed(7)
        .start()
        .await?;
    Ok(engine)
}
