//! A store with an application and its endpoints, and short words for what the cases do to it.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use postrider_core::{
    Acceptance, Application, ApplicationId, ApplicationSpec, Ask, Attempt, AttemptId, Batch, Committed, DeadLetter,
    Delivery, DeliveryId, DeliveryPolicy, DueKey, Durability, Effect, Endpoint, EndpointId, EndpointSpec,
    EndpointStatus, Event, EventId, Failure, Found, Generation, GiveUpReason, Guard, LaneId, More, OrderingMode,
    OrganisationId, Outcome, Place, Recipient, Refused, Resend, Seq, ShownUrl, SoftState, SplitMix, Step, StoredEvent,
    Then, Timestamp, Transition, WindowShare, Write, plan_recipients,
};

use crate::{
    AttemptRecord, DeliveryRecord, DeliveryState, EventAttemptQuery, OpenStore, PageRequest, Reads, Store, Verdict,
};

/// When every case begins: a Thursday, three days before the end of its week.
pub(super) const NOW: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(super) const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// A store, an application in it, and an endpoint.
pub(super) struct World {
    pub(super) store: Arc<dyn Store>,
    pub(super) application: Application,
    pub(super) endpoint: Endpoint,
}

impl World {
    /// With an endpoint that orders so.
    pub(super) async fn open(medium: &dyn OpenStore, ordering: OrderingMode) -> Self {
        let (application, organisation) = (application(1), OrganisationId::DEFAULT);
        let application = Application { organisation, ..application };
        let endpoint = endpoint(&application, 1, ordering);
        let store = medium.open().await.expect("the store opens");
        let world = Self { store, application, endpoint };
        let records = [Write::Application(Box::new(world.application.clone())), world.put(&world.endpoint)];
        world.write(records).await;
        world
    }

    /// The same store, dropped and opened again.
    pub(super) async fn reopen(self, medium: &dyn OpenStore) -> Self {
        drop(self.store);
        Self { store: medium.open().await.expect("the store opens again"), ..self }
    }

    /// Counts what waits in all queues, a little at a time.
    pub(super) async fn count(&self) {
        while self.store.count_queued(many(2)).await.expect("it counts").more == More::Yes {}
    }

    pub(super) fn reads(&self) -> &dyn Reads {
        self.store.reads()
    }

    pub(super) async fn commit(&self, group: impl IntoIterator<Item = Batch>) -> Vec<Verdict> {
        let group: Arc<[Batch]> = group.into_iter().collect();
        self.store.commit(group, Durability::Synced).await.expect("the store commits")
    }

    /// What became of one batch.
    pub(super) async fn verdict(&self, batch: Batch) -> Verdict {
        self.commit([batch]).await.pop().expect("a batch has a verdict")
    }

    /// Writes, and what became of each.
    pub(super) async fn write(&self, writes: impl IntoIterator<Item = Write>) -> Vec<Effect> {
        let Committed { effects, .. } = self.verdict(Batch::synced(writes)).await.expect("nothing stands against it");
        effects
    }

    /// Why a write is refused.
    pub(super) async fn refused(&self, write: Write) -> Refused {
        self.verdict(Batch::synced([write])).await.expect_err("it is to be refused")
    }

    pub(super) fn put(&self, endpoint: &Endpoint) -> Write {
        Write::Endpoint(Box::new(endpoint.clone()))
    }

    /// An acceptance for this world's endpoint.
    pub(super) fn acceptance(&self, event: Event) -> Acceptance {
        let recipients = plan_recipients(&event, [&Arc::new(self.endpoint.clone())]);
        acceptance(&self.application, event, recipients)
    }

    /// Publishes an event to this world's endpoint, in the lane of `key` if it orders by key.
    pub(super) async fn publish(&self, key: &str) -> Delivery {
        self.accept(self.acceptance(Event::new("case.published", "{}").ordering_key(key))).await.remove(0)
    }

    /// The deliveries of an acceptance, once it is committed.
    pub(super) async fn accept(&self, acceptance: Acceptance) -> Vec<Delivery> {
        let effects = self.write([Write::Accept(acceptance.clone())]).await;
        let Effect::Accepted(seq, id, _) = effects[0] else { panic!("an acceptance is accepted: {effects:?}") };
        acceptance.recipients.iter().map(|to| acceptance.delivery(to, seq, id)).collect()
    }

    /// Commits an outcome, which must stand, and says what became of it.
    pub(super) async fn step(&self, transition: Transition) -> Effect {
        let committed = self.verdict(outcome(transition)).await.expect("the delivery stands so");
        committed.effects[0].clone()
    }

    /// Ends a delivery with a dead letter.
    pub(super) async fn give_up(&self, delivery: &Delivery) -> Delivery {
        self.step(given_up(delivery, None)).await;
        delivery.clone()
    }

    /// A dead letter back into the queue.
    pub(super) async fn redrive(&self, id: DeliveryId) -> Delivery {
        queued(&self.write([Write::Redrive(id, NOW + DAY)]).await)
    }

    pub(super) fn resend(&self, event: EventId, at: Timestamp) -> Resend {
        let Endpoint { id: endpoint, generation, application, .. } = self.endpoint;
        let (limit, tries_max) = (NonZeroU32::MAX, NonZeroU32::MAX);
        Resend { application, event, endpoint, generation, at, limit, tries_max }
    }

    /// One manual try, as it waits.
    pub(super) async fn resent(&self, event: EventId, at: Timestamp) -> Delivery {
        queued(&self.write([Write::Resend(self.resend(event, at))]).await)
    }

    /// The rows of a window of ten, without events, and whether that is all.
    pub(super) async fn window(&self, ask: Ask) -> (Vec<Delivery>, bool) {
        self.window_of(ask, 10).await
    }

    pub(super) async fn window_of(&self, ask: Ask, rows: usize) -> (Vec<Delivery>, bool) {
        let (rows, is_last) = self.window_with_events(ask, rows, 0).await;
        (rows.into_iter().map(|(delivery, _)| delivery).collect(), is_last)
    }

    pub(super) async fn window_with_events(
        &self,
        ask: Ask,
        rows: usize,
        event_bytes: usize,
    ) -> (Vec<(Delivery, Option<Arc<StoredEvent>>)>, bool) {
        let share = WindowShare { rows: many(rows), event_bytes, at_hand: None };
        let Endpoint { id, generation, .. } = self.endpoint;
        let found = self.reads().window(id, generation, ask, share).await.expect("reads work");
        let Found::Rows(found) = found else { panic!("rows were asked for: {found:?}") };
        (found.rows, found.is_last)
    }

    /// The health of this world's endpoint.
    pub(super) async fn soft(&self) -> SoftState {
        let share = WindowShare { rows: many(1), event_bytes: 0, at_hand: None };
        let Endpoint { id, generation, .. } = self.endpoint;
        let found = self.reads().window(id, generation, Ask::Soft, share).await.expect("reads work");
        let Found::Soft(soft) = found else { panic!("soft state was asked for: {found:?}") };
        soft
    }

    /// Everything that waits at this world's endpoint, by any order.
    pub(super) async fn waiting(&self) -> Vec<Delivery> {
        let page = PageRequest::first(many(1000));
        let Endpoint { id, generation, .. } = self.endpoint;
        self.reads().queue(id, generation, &page).await.expect("reads work").items
    }

    pub(super) async fn ready(&self) -> Vec<Delivery> {
        self.window(Ask::ready_after(Seq(0))).await.0
    }

    pub(super) async fn due(&self) -> Vec<Delivery> {
        self.window(Ask::Due(DueKey::START)).await.0
    }

    pub(super) async fn lane(&self, lane: LaneId) -> Vec<Delivery> {
        self.window(Ask::Lane(lane, Seq(0))).await.0
    }

    pub(super) async fn record(&self, event: EventId) -> DeliveryRecord {
        let record = self.reads().delivery(self.application.id, event, self.endpoint.id).await.expect("reads work");
        record.expect("the event has a delivery here")
    }

    /// Every attempt of an event, newest first.
    pub(super) async fn attempts(&self, event: EventId) -> Vec<AttemptRecord> {
        let (query, all) = (EventAttemptQuery::of(self.application.id, event), PageRequest::first(NonZeroUsize::MAX));
        self.reads().attempts_of_event(&query, &all).await.expect("reads work").items
    }

    pub(super) async fn state(&self, event: EventId) -> DeliveryState {
        self.record(event).await.state
    }

    pub(super) async fn letter(&self, id: DeliveryId) -> Option<DeadLetter> {
        self.reads().dead_letter(id).await.expect("reads work")
    }
}

/// The `n`-th application.
pub(super) fn application(n: u64) -> Application {
    Application {
        id: ApplicationId::new(NOW, &mut SplitMix::new(n)),
        organisation: OrganisationId::DEFAULT,
        spec: ApplicationSpec::new(format!("application {n}")),
        created_at: NOW,
        updated_at: NOW,
        revision: 1,
    }
}

/// The `n`-th endpoint of an application.
pub(super) fn endpoint(of: &Application, n: u64, ordering: OrderingMode) -> Endpoint {
    let spec = EndpointSpec::new(format!("https://receiver-{n}.example/hook")).ordering(ordering);
    Endpoint {
        id: EndpointId::new(NOW, &mut SplitMix::new(n)),
        application: of.id,
        target: spec.validate().expect("it is a valid endpoint"),
        spec,
        policy: DeliveryPolicy { ordering, ..DeliveryPolicy::default() },
        secrets: Vec::new(),
        status: EndpointStatus::Active,
        created_at: NOW,
        updated_at: NOW,
        revision: 1,
        generation: Generation(0),
        granted: None,
    }
}

pub(super) fn acceptance(by: &Application, event: Event, recipients: Vec<Recipient>) -> Acceptance {
    let event = Arc::new(event);
    Acceptance { application: by.id, accepted_at: NOW, entropy: 7, event, key: None, recipients }
}

/// Commits a step only if its delivery stands as it did.
pub(super) fn outcome(transition: Transition) -> Batch {
    let before = transition.before.clone();
    Batch::synced([Write::Outcome(Box::new(transition))]).guarded(Guard::Stands(before))
}

/// The next attempt of a delivery, a minute after the one before it.
pub(super) fn attempt(of: &Delivery, outcome: Outcome, then: Then) -> Attempt {
    let number = of.next_attempt();
    let started = of.since + Duration::from_secs(60) * number.count() + HOUR * u32::from(number.is_manual());
    let seed = of.id.seq.0 << 16 | u64::from(of.life.0) << 8 | u64::from(number.count());
    let id = AttemptId::new(started, &mut SplitMix::new(seed));
    let took = Duration::from_millis(40);
    let (url, response) = (ShownUrl::masked("https://receiver.example/"), b"answer".as_slice().into());
    Attempt { id, number, url, started, took, outcome, response, then }
}

/// A 2xx came back.
pub(super) fn succeeded(delivery: &Delivery) -> Transition {
    let attempt = attempt(delivery, Outcome::Success { status: 200 }, Then::Delivered);
    Transition { before: delivery.clone(), after: None, step: Step::Attempted(attempt), dead: None }
}

/// It failed, and is tried again then.
pub(super) fn failed(delivery: &Delivery, due: Timestamp) -> Transition {
    let attempt = attempt(delivery, Outcome::Failure(Failure::TimedOut), Then::RetryAt(due));
    let place = match delivery.place {
        Place::Ready | Place::Due(_) | Place::Manual { .. } => Place::Due(due),
        Place::Lane { .. } => Place::Lane { due: Some(due), held: false },
    };
    let after = Some(Delivery { place, attempts: delivery.attempts + 1, ..delivery.clone() });
    Transition { before: delivery.clone(), after, step: Step::Attempted(attempt), dead: None }
}

/// A manual try failed: nothing follows.
pub(super) fn failed_by_hand(delivery: &Delivery) -> Transition {
    let attempt = attempt(delivery, Outcome::Failure(Failure::TimedOut), Then::Nothing);
    Transition { before: delivery.clone(), after: None, step: Step::Attempted(attempt), dead: None }
}

/// The last attempt failed; `held` is the row with which it holds its lane, if it does.
pub(super) fn given_up(delivery: &Delivery, held: Option<Delivery>) -> Transition {
    let reason = GiveUpReason::Exhausted;
    let attempt = attempt(delivery, Outcome::Failure(Failure::TimedOut), Then::GivenUp(reason));
    let last = held.clone().unwrap_or_else(|| Delivery { attempts: delivery.attempts + 1, ..delivery.clone() });
    let dead_at = attempt.started;
    let dead = DeadLetter { last, reason, dead_at, first_attempt_at: Some(dead_at), last_status: None };
    Transition { before: delivery.clone(), after: held, step: Step::Attempted(attempt), dead: Some(dead) }
}

/// As a delivery stands that was given up and holds its lane.
pub(super) fn holding(delivery: &Delivery) -> Delivery {
    let place = Place::Lane { due: None, held: true };
    Delivery { place, attempts: delivery.attempts + 1, ..delivery.clone() }
}

/// It ended without an attempt.
pub(super) fn expired(delivery: &Delivery, at: Timestamp) -> Transition {
    let (last, reason) = (delivery.clone(), GiveUpReason::Expired);
    let dead = DeadLetter { last, reason, dead_at: at, first_attempt_at: None, last_status: None };
    Transition { before: delivery.clone(), after: None, step: Step::GaveUp, dead: Some(dead) }
}

/// A person called it off.
pub(super) fn cancelled(delivery: &Delivery, at: Timestamp) -> Transition {
    Transition { before: delivery.clone(), after: None, step: Step::Cancelled(at), dead: None }
}

/// The delivery that a write put into the queue.
pub(super) fn queued(effects: &[Effect]) -> Delivery {
    let Some(Effect::Queued(delivery)) = effects.first() else { panic!("a delivery is queued: {effects:?}") };
    delivery.clone()
}

pub(super) fn many(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("a case asks for at least one")
}

pub(super) fn seqs(deliveries: &[Delivery]) -> Vec<Seq> {
    deliveries.iter().map(|delivery| delivery.id.seq).collect()
}
