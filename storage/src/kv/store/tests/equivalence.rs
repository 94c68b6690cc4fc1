//! However batches are grouped, and whatever is remembered between commits, the same batches come to the same rows.

use std::num::NonZeroU32;

use postrider_core::{
    Acceptance, Application, ApplicationId, ApplicationSpec, Attempt, AttemptId, DeadLetter, Delivery, DeliveryPolicy,
    Dice, Effect, Endpoint, EndpointId, EndpointSpec, EndpointStatus, Event, Failure, Generation, GiveUpReason,
    IdempotencyKey, KeyClaim, More, OnExhausted, OrderingMode, OrganisationId, Outcome, Place, Priority, QueueLimit,
    Resend, Seq, SplitMix, Step, Then, Timestamp, Transition, WhenFull, plan_recipients,
};

use super::*;

/// What every batch is about.
pub(super) struct Ids {
    pub(super) application: ApplicationId,
    pub(super) endpoint: EndpointId,
    pub(super) now: Timestamp,
}

impl Ids {
    pub(super) fn new() -> Self {
        let now = Timestamp::from_nanos(1_767_225_600_000_000_000);
        let mut dice = SplitMix::new(1);
        Self { application: ApplicationId::new(now, &mut dice), endpoint: EndpointId::new(now, &mut dice), now }
    }
}

/// The position of an event that was accepted relaxed.
pub(super) async fn accept_relaxed<K: OrderedKv>(store: &KvStore<K>) -> Result<Seq, Failed> {
    let Ids { application, now, .. } = Ids::new();
    let event = Arc::new(Event::new("case.relaxed", "{}"));
    let acceptance = Acceptance { application, accepted_at: now, entropy: 1, event, key: None, recipients: Vec::new() };
    let batch = Batch::synced([Write::Accept(acceptance)]).relaxed();
    // The first group begins a reservation; the second one is relaxed through and through.
    store.commit(Arc::new([batch.clone()]), Durability::Relaxed).await?;
    let verdicts = store.commit(Arc::new([batch]), Durability::Relaxed).await?;
    let committed = verdicts[0].as_ref().map_err(|refused| format!("{refused:?}"))?;
    Ok(committed.accepted().ok_or("it is accepted")?.0)
}

#[tokio::test]
async fn groups_and_memory_change_nothing() -> Result<(), Failed> {
    let seeds = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).map_or(0..40, |seed| seed..seed + 1);
    for seed in seeds {
        println!("SEED={seed} cargo test -p postrider-storage groups_and_memory_change_nothing");
        run(seed).await?;
    }
    Ok(())
}

async fn run(seed: u64) -> Result<(), Failed> {
    let (grouped, single) = (MemoryKv::default(), MemoryKv::default());
    let (in_groups, one_by_one) = (KvStore::over(grouped.clone())?, KvStore::over(single.clone())?);
    let mut world = Random::new(seed);
    for _ in 0..60 {
        let group: Vec<Batch> = (0..=world.below(6)).map(|_| world.batch()).collect();
        let verdicts = in_groups.commit(group.clone().into(), Durability::Synced).await?;
        let mut each = Vec::new();
        for batch in group {
            // What it remembers is forgotten: every guard is answered, and every queue counted, from the rows.
            if let Some(writer) = &mut *one_by_one.inner.writer.lock().expect("no commit panicked") {
                writer.cache = Cache::default();
                writer.counts = Counts::new(one_by_one.inner.known.clone());
            }
            while one_by_one.count_queued(PURGED).await?.more == More::Yes {}
            each.extend(one_by_one.commit(Arc::new([batch]), Durability::Synced).await?);
        }
        // How many wait it may have found out of turn; what it says of them has a test of its own.
        let effects = |verdicts: &[Verdict]| {
            verdicts.iter().cloned().map(|verdict| verdict.map(|all| all.effects)).collect::<Vec<_>>()
        };
        assert_eq!(effects(&verdicts), effects(&each));
        assert_eq!(rows_of(&grouped)?, rows_of(&single)?);
        verdicts.iter().flatten().for_each(|committed| world.learn(&committed.effects));
        world.published.clear();
        // A piece of a purge is the same, found before its commit or in it.
        let which = world.below(3) as usize;
        let purged = world.endpoints[which].id;
        in_groups.find_cut_off(purged, PURGED).await?;
        let purge: Arc<[Batch]> = Arc::new([Batch::synced([Write::Purge(purged, PURGED)])]);
        let [found, looked_for] =
            [&in_groups, &one_by_one].map(|store| store.commit(purge.clone(), Durability::Synced));
        assert_eq!(effects(&found.await?), effects(&looked_for.await?));
        assert_eq!(rows_of(&grouped)?, rows_of(&single)?);
    }
    Ok(())
}

/// So many may wait at each endpoint.
const LIMIT: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// Rows of one piece of a purge.
const PURGED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// Whether a batch has a step of this delivery.
fn steps(batch: &Batch, delivery: &Delivery) -> bool {
    batch.writes.iter().any(|write| matches!(write, Write::Outcome(step) if step.before.id == delivery.id))
}

/// Random batches, about a few endpoints and whatever became of earlier batches.
pub(super) struct Random {
    dice: SplitMix,
    pub(super) ids: Ids,
    pub(super) endpoints: Vec<Endpoint>,
    /// Deliveries that were there at some time, as they stood then.
    deliveries: Vec<Delivery>,
    /// Acceptances of the current group, in their order.
    pub(super) published: Vec<Acceptance>,
    batches: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let (mut dice, ids) = (SplitMix::new(seed), Ids::new());
        let orderings = [
            OrderingMode::Concurrent,
            OrderingMode::PerKey(OnExhausted::Hold),
            OrderingMode::Fifo(OnExhausted::Continue),
        ];
        let endpoints = orderings.map(|ordering| endpoint(&ids, EndpointId::new(ids.now, &mut dice), ordering));
        Self { dice, ids, endpoints: endpoints.into(), deliveries: Vec::new(), published: Vec::new(), batches: 0 }
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.dice.roll() % end
    }

    pub(super) fn batch(&mut self) -> Batch {
        self.batches += 1;
        if self.batches == 1 {
            return Batch::synced(records(&self.ids, self.endpoints.clone()));
        }
        let writes = 1 + self.below(2);
        let mut batch = Batch::synced([]);
        for _ in 0..writes {
            self.add(&mut batch);
        }
        batch
    }

    fn add(&mut self, batch: &mut Batch) {
        let place = self.below(self.endpoints.len() as u64) as usize;
        let endpoint = self.endpoints[place].clone();
        let known = match self.deliveries.len() as u64 {
            0 => None,
            len => Some(self.below(len) as usize),
        };
        let known = known.map(|known| self.deliveries[known].clone());
        match (self.below(20), known) {
            (0..=6, _) | (_, None) => {
                let acceptance = self.acceptance();
                self.published.push(acceptance.clone());
                // As a publisher does, by the routing version: nothing is put into a queue that is cut off, or not yet there.
                let current = acceptance.recipients.iter().map(|to| Guard::Generation(to.endpoint, to.generation));
                batch.guards.extend(current);
                batch.writes.push(Write::Accept(acceptance));
            }
            (7..=12, Some(delivery)) if !steps(batch, &delivery) => {
                let transition = self.transition(&delivery);
                self.deliveries.extend(transition.after.clone());
                batch.guards.push(Guard::Stands(delivery));
                batch.writes.push(Write::Outcome(Box::new(transition)));
            }
            (13 | 14, Some(delivery)) => batch.writes.push(Write::Redrive(delivery.id, self.ids.now)),
            (15 | 16, Some(delivery)) => batch.writes.push(Write::Resend(Resend {
                application: self.ids.application,
                event: delivery.event,
                endpoint: endpoint.id,
                generation: endpoint.generation,
                at: self.ids.now,
                limit: NonZeroU32::MAX,
                tries_max: NonZeroU32::MAX,
            })),
            (17, Some(delivery)) => batch.writes.push(Write::Forget(delivery.id)),
            (18, Some(_)) => {
                self.endpoints[place].generation = Generation(endpoint.generation.0 + self.below(2) as u32);
                batch.writes.push(Write::Endpoint(Box::new(self.endpoints[place].clone())));
            }
            (_, Some(_)) => batch.writes.push(Write::Purge(endpoint.id, PURGED)),
        }
    }

    fn acceptance(&mut self) -> Acceptance {
        let mut event = Event::new("case.random", "{}").ordering_key(["a", "b"][self.below(2) as usize]);
        event.priority = Priority::ALL[self.below(3) as usize];
        let key = match self.below(4) {
            0 => Some(KeyClaim { key: IdempotencyKey(format!("{}", self.below(20)).into()), body: event.body_hash() }),
            1 => {
                event = event.uid(format!("uid-{}", self.below(20)));
                None
            }
            _ => None,
        };
        let endpoints: Vec<_> = self.endpoints.iter().cloned().map(Arc::new).collect();
        let mut recipients = plan_recipients(&event, &endpoints);
        let when_full = [WhenFull::DeadLetter, WhenFull::Refuse][usize::from(self.below(4) == 0)];
        recipients.iter_mut().for_each(|to| to.queue = QueueLimit { deliveries: LIMIT, when_full });
        let (application, entropy) = (self.ids.application, self.dice.roll());
        let accepted_at = self.ids.now + std::time::Duration::from_secs(3600 * self.below(400));
        Acceptance { application, accepted_at, entropy, event: Arc::new(event), key, recipients }
    }

    fn transition(&mut self, before: &Delivery) -> Transition {
        let due = self.ids.now + std::time::Duration::from_secs(self.below(5));
        let (is_manual, in_lane) = (before.trigger() == postrider_core::Trigger::Manual, before.lane.is_keyed());
        let retried = match before.place {
            Place::Ready | Place::Due(_) | Place::Manual { .. } => Place::Due(due),
            Place::Lane { .. } => Place::Lane { due: Some(due), held: false },
        };
        let after = |place| Some(Delivery { place, attempts: before.attempts + 1, ..before.clone() });
        let (after, then) = match self.below(4) {
            0 => (None, Then::Delivered),
            _ if is_manual => (None, Then::Nothing),
            1 | 2 => (after(retried), Then::RetryAt(due)),
            _ if in_lane => (after(Place::Lane { due: None, held: true }), Then::GivenUp(GiveUpReason::Exhausted)),
            _ => (None, Then::GivenUp(GiveUpReason::Exhausted)),
        };
        let (last, reason, dead_at) = (after.clone().unwrap_or(before.clone()), GiveUpReason::Exhausted, self.ids.now);
        let dead = DeadLetter { last, reason, dead_at, first_attempt_at: None, last_status: None };
        let dead = matches!(then, Then::GivenUp(_)).then_some(dead);
        let step = Step::Attempted(Attempt {
            id: AttemptId::new(self.ids.now, &mut self.dice),
            number: before.next_attempt(),
            url: Default::default(),
            started: self.ids.now,
            took: std::time::Duration::ZERO,
            outcome: Outcome::Failure(Failure::TimedOut),
            response: Box::default(),
            then,
        });
        Transition { before: before.clone(), after, step, dead }
    }

    /// What came of a batch is what later ones are about.
    pub(super) fn learn(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Accepted(seq, id, _) => {
                    // Any acceptance of the group will do: rows differ, and a wrong guess is a guard that fails.
                    let guess = self.published.first().cloned();
                    let deliveries = guess.iter().flat_map(|acceptance| {
                        acceptance.recipients.iter().map(move |to| acceptance.delivery(to, *seq, *id))
                    });
                    self.deliveries.extend(deliveries.collect::<Vec<_>>());
                    if self.published.len() > 1 {
                        self.published.remove(0);
                    }
                }
                Effect::Queued(delivery) => self.deliveries.push(delivery.clone()),
                Effect::Dead(_) | Effect::Ended(_) | Effect::Routed(_) | Effect::Purged(_) | Effect::Done => {}
            }
        }
    }
}

/// An application and its endpoints.
pub(super) fn records(ids: &Ids, endpoints: impl IntoIterator<Item = Endpoint>) -> Vec<Write> {
    let Ids { application: id, now, .. } = *ids;
    let (organisation, spec) = (OrganisationId::DEFAULT, ApplicationSpec::new("random"));
    let application = Application { id, organisation, spec, created_at: now, updated_at: now, revision: 1 };
    let endpoints = endpoints.into_iter().map(|endpoint| Write::Endpoint(Box::new(endpoint)));
    [Write::Application(Box::new(application))].into_iter().chain(endpoints).collect()
}

pub(super) fn endpoint(ids: &Ids, id: EndpointId, ordering: OrderingMode) -> Endpoint {
    let spec = EndpointSpec::new("https://receiver.example/hook");
    Endpoint {
        id,
        application: ids.application,
        target: spec.validate().expect("it is a valid endpoint"),
        spec,
        policy: DeliveryPolicy { ordering, ..DeliveryPolicy::default() },
        secrets: Vec::new(),
        status: EndpointStatus::Active,
        created_at: ids.now,
        updated_at: ids.now,
        revision: 1,
        generation: Generation(0),
        granted: None,
    }
}

/// An attempt that ended so.
pub(super) fn step(ids: &Ids, before: &Delivery, then: Then) -> Batch {
    let attempt = Attempt {
        id: AttemptId::new(ids.now, &mut SplitMix::new(before.id.seq.0 + u64::from(before.attempts))),
        number: before.next_attempt(),
        url: Default::default(),
        started: ids.now,
        took: std::time::Duration::ZERO,
        outcome: Outcome::Failure(Failure::TimedOut),
        response: Box::default(),
        then,
    };
    let place = match (then, before.place) {
        (Then::RetryAt(at), Place::Lane { .. }) => Some(Place::Lane { due: Some(at), held: false }),
        (Then::RetryAt(at), Place::Ready | Place::Due(_) | Place::Manual { .. }) => Some(Place::Due(at)),
        (Then::Delivered | Then::GivenUp(_) | Then::Nothing, _) => None,
    };
    let after = place.map(|place| Delivery { place, attempts: before.attempts + 1, ..before.clone() });
    let transition = Transition { before: before.clone(), after, step: Step::Attempted(attempt), dead: None };
    Batch::synced([Write::Outcome(Box::new(transition))]).guarded(Guard::Stands(before.clone()))
}
