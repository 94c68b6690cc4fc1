//! Publishers, and people who interfere: pause, disable, delete, cancel, resend, redrive, rotate.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use postrider_core::{
    Acceptance, Application, ApplicationId, ApplicationSpec, Batch, Delivery, DeliveryId, DeliveryPolicy, Dice,
    DisableReason, Endpoint, EndpointId, EndpointSpec, EndpointStatus, Event, Generation, Guard, KeyClaim,
    OrganisationId, Place, Priority, RecordId, Refused, Replay, ReplayTo, Resend, SameBody, Secret, SigningSecret,
    SplitMix, Step, Transition, Write, plan_recipients,
};
use postrider_storage::{DeliveryState, Verdict};

use crate::{
    faults::Failing,
    process::Who,
    spec::{self, below, chance},
    world::{What, World},
};

const EVENTS: u64 = 120;

/// Publishers, and what they wait for.
#[derive(Debug)]
pub(crate) struct People {
    to_publish: u64,
    keys: u64,
    number: u64,
    pending: BTreeMap<u64, Publish>,
    waiting_to_retry: u64,
    /// How the next commit goes wrong.
    pub(crate) failing: Option<Failing>,
}

#[derive(Clone, Debug)]
struct Publish {
    owner: ApplicationId,
    event: Arc<Event>,
    recipients: Vec<EndpointId>,
}

impl People {
    pub(crate) fn of(dice: &mut SplitMix) -> Self {
        let keys = 1 + below(dice, 8);
        Self { to_publish: EVENTS, keys, number: 0, pending: BTreeMap::new(), waiting_to_retry: 0, failing: None }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.to_publish == 0 && self.pending.is_empty() && self.waiting_to_retry == 0
    }

    pub(crate) const fn is_publishing(&self) -> bool {
        self.to_publish > 0
    }
}

impl World {
    pub(crate) fn publish_next(&mut self) {
        if self.people.to_publish == 0 {
            return;
        }
        self.people.to_publish -= 1;
        let owners: Vec<_> = self.process.registry.applications.keys().copied().collect();
        let pick = usize::try_from(below(&mut self.dice, owners.len() as u64)).unwrap_or_default();
        let number = self.people.to_publish;
        let mut event = Event::new(if chance(&mut self.dice, 70) { "a" } else { "b" }, format!("{{\"n\":{number}}}"));
        if chance(&mut self.dice, 80) {
            event = event.ordering_key(below(&mut self.dice, self.people.keys).to_string());
        }
        event.priority = match below(&mut self.dice, 6) {
            0 => Priority::High,
            1 => Priority::Low,
            _ => Priority::Normal,
        };
        if chance(&mut self.dice, 50) {
            event = event.idempotency_key(format!("key-{number}"));
        }
        let races = event.idempotency_key.is_some() && chance(&mut self.dice, 30);
        let event = Arc::new(event);
        if let Some(owner) = owners.get(pick) {
            self.publish(*owner, Arc::clone(&event));
            if races {
                self.publish(*owner, event);
            }
        }
        if self.people.to_publish > 0 {
            let burst = !chance(&mut self.dice, 25);
            let pause = below(&mut self.dice, if burst { 5 } else { 4_000 });
            self.plan(Duration::from_millis(pause), What::Publish);
        } else {
            self.plan(Duration::from_secs(1), What::Peace);
        }
    }

    /// Plans and queues; waits for nothing.
    fn publish(&mut self, owner: ApplicationId, event: Arc<Event>) {
        let Some((_, routing)) = self.process.registry.applications.get(&owner) else { return };
        let routing = *routing;
        let endpoints: Vec<_> = self.process.registry.of(owner).cloned().collect();
        let recipients = plan_recipients(&event, &endpoints);
        let key = event.idempotency_key.clone().map(|key| KeyClaim { key, body: event.body_hash() });
        let (accepted_at, entropy) = (self.process_now(), self.dice.roll());
        let to = recipients.iter().map(|to| to.endpoint).collect();
        let acceptance =
            Acceptance { application: owner, accepted_at, entropy, event: Arc::clone(&event), key, recipients };
        let batch = Batch::synced([Write::Accept(acceptance)]).guarded(Guard::Routing(owner, routing));
        self.people.number += 1;
        let number = self.people.number;
        self.people.pending.insert(number, Publish { owner, event, recipients: to });
        if self.process.is_stalled || self.process.grouping.push(owner, batch, Who::Publisher(number)).is_err() {
            return self.publisher_is_turned_away(number);
        }
        self.ring();
    }

    pub(crate) fn publisher_is_answered(&mut self, number: u64, verdict: Verdict) {
        let Some(Publish { owner, event, recipients }) = self.people.pending.remove(&number) else { return };
        match verdict {
            Ok(committed) => {
                let Some((_, id)) = committed.accepted() else { self.violated("D2", "accepted, and no id") };
                self.ledger.acknowledge(id, recipients.into_iter());
            }
            Err(Refused::KeyUsed(first, SameBody::Yes)) => {
                let known = event.idempotency_key.as_ref().and_then(|key| self.ledger.keys.get(key));
                if known != Some(&first) {
                    self.violated("D4", &format!("a repeat was told {first}, the key has {known:?}"));
                }
            }
            // What refused it is visible by now.
            Err(Refused::Routing) => self.publish(owner, event),
            Err(other) => self.violated("D4", &format!("a publish was refused: {other:?}")),
        }
    }

    /// Whoever has a key comes again with it; the others give up, and never know.
    pub(crate) fn publisher_is_turned_away(&mut self, number: u64) {
        let Some(Publish { owner, event, .. }) = self.people.pending.remove(&number) else { return };
        if event.idempotency_key.is_some() {
            self.people.waiting_to_retry += 1;
            self.plan(Duration::from_secs(1), What::PublishAgain(owner, event));
        }
    }

    pub(crate) fn publish_again(&mut self, owner: ApplicationId, event: Arc<Event>) {
        self.people.waiting_to_retry -= 1;
        self.publish(owner, event);
    }

    /// The process died: nobody was answered.
    pub(crate) fn publishers_lose_their_connection(&mut self) {
        let pending: Vec<_> = self.people.pending.keys().copied().collect();
        pending.into_iter().for_each(|number| self.publisher_is_turned_away(number));
    }

    pub(crate) fn make_application(&mut self) {
        let (now, id) = (self.process_now(), ApplicationId::new(self.process_now(), &mut self.dice));
        let application = Application {
            id,
            organisation: OrganisationId::DEFAULT,
            spec: ApplicationSpec::new("simulated"),
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let batch = Batch::synced([Write::Application(Box::new(application.clone()))]);
        self.commit(vec![batch].into(), postrider_core::Durability::Synced);
        self.process.registry.applications.insert(id, (Arc::new(application), 0));
    }

    pub(crate) fn make_endpoint(&mut self, spec: EndpointSpec) {
        let owners: Vec<_> = self.process.registry.applications.keys().copied().collect();
        let pick = usize::try_from(below(&mut self.dice, owners.len() as u64)).unwrap_or_default();
        let (now, target) = (self.process_now(), spec.validate().expect("what the simulation asks for is valid"));
        let policy = DeliveryPolicy { rate: spec.rate, ..DeliveryPolicy::default().with(&spec.delivery) };
        let endpoint = Endpoint {
            id: EndpointId::new(now, &mut self.dice),
            application: owners[pick],
            policy,
            spec,
            target,
            secrets: vec![SigningSecret { secret: self.secret(), expires: None }],
            status: EndpointStatus::Active,
            created_at: now,
            updated_at: now,
            revision: 1,
            generation: Generation(0),
            granted: None,
        };
        self.note(format_args!("{} is made: {:?}", endpoint.id, endpoint.policy.ordering));
        let batch = Batch::synced([Write::Endpoint(Box::new(endpoint.clone()))]);
        self.push(owners[pick], batch);
    }

    fn secret(&mut self) -> Secret {
        let mut bytes = [0; 32];
        bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.dice.roll().to_be_bytes()));
        Secret::from_random(bytes)
    }

    /// A person asks for something, and does not wait for the answer.
    fn push(&mut self, owner: ApplicationId, batch: Batch) {
        if !self.process.is_stalled && self.process.grouping.push(owner, batch, Who::Nobody).is_ok() {
            self.ring();
        }
    }

    pub(crate) fn intervene(&mut self) {
        let unfinished: Vec<_> = self.ledger.unfinished().map(|(id, stored)| (*id, stored.event)).collect();
        let letters: Vec<_> =
            self.ledger.now.iter().filter(|(_, stored)| stored.has_letter).map(|(id, _)| *id).collect();
        let endpoints: Vec<_> = self.process.registry.endpoints.keys().copied().collect();
        let roll = usize::try_from(self.dice.roll() >> 16).unwrap_or_default();
        let ended = self.ledger.now.iter().filter(|(_, stored)| stored.end.is_some());
        let ended: Vec<_> = ended.map(|(id, stored)| (*id, stored.event)).collect();
        match below(&mut self.dice, 14) {
            0 | 1 if !unfinished.is_empty() => self.cancel(unfinished[roll % unfinished.len()]),
            2 | 3 if !letters.is_empty() => self.redrive(letters[roll % letters.len()]),
            4 | 5 if !unfinished.is_empty() => self.resend(unfinished[roll % unfinished.len()]),
            6 if !letters.is_empty() => self.forget(letters[roll % letters.len()]),
            7 | 8 if !endpoints.is_empty() => self.change_status(endpoints[roll % endpoints.len()]),
            9 if !endpoints.is_empty() => self.rotate(endpoints[roll % endpoints.len()]),
            10 if endpoints.len() > 2 && roll.is_multiple_of(3) => self.delete(endpoints[roll % endpoints.len()]),
            11 if endpoints.len() < 8 && roll.is_multiple_of(2) => {
                let spec = spec::endpoint(&mut self.dice);
                self.make_endpoint(spec);
            }
            12 | 13 if !ended.is_empty() => self.replay(ended[roll % ended.len()]),
            _ => {}
        }
        if self.people.is_publishing() {
            let pause = below(&mut self.dice, 1_500);
            self.plan(Duration::from_millis(pause), What::Intervene);
        }
    }

    fn cancel(&mut self, (id, event): (DeliveryId, postrider_core::EventId)) {
        let Some(endpoint) = self.process.registry.endpoint(id.endpoint).cloned() else { return };
        if self.process.is_stalled {
            return;
        }
        let owner = endpoint.application;
        let record = self.read(|reads| async move { reads.delivery(owner, event, id.endpoint).await });
        let before: Delivery = match record.map(|record| record.state) {
            Some(DeliveryState::Pending(delivery)) => delivery,
            Some(DeliveryState::GivenUp(Some(letter))) if matches!(letter.last.place, Place::Lane { .. }) => {
                Delivery { place: Place::Lane { due: None, held: true }, ..letter.last }
            }
            Some(_) | None => return,
        };
        self.note(format_args!("somebody cancels {:?}", before.id));
        let step = Step::Cancelled(self.process_now());
        let transition = Transition { before: before.clone(), after: None, step, dead: None };
        let batch = Batch::synced([Write::Outcome(Box::new(transition))])
            .guarded(Guard::Generation(before.id.endpoint, before.generation))
            .guarded(Guard::Stands(before));
        self.push(owner, batch);
    }

    pub(crate) fn redrive(&mut self, letter: DeliveryId) {
        let Some(endpoint) = self.process.registry.endpoint(letter.endpoint).cloned() else { return };
        self.note(format_args!("somebody redrives {letter:?}"));
        let batch = Batch::synced([Write::Redrive(letter, self.process_now())]);
        self.push(endpoint.application, batch);
    }

    fn resend(&mut self, (id, event): (DeliveryId, postrider_core::EventId)) {
        let Some(endpoint) = self.process.registry.endpoint(id.endpoint).cloned() else { return };
        self.note(format_args!("somebody resends {event} to {}", endpoint.id));
        let (application, generation, at) = (endpoint.application, endpoint.generation, self.process_now());
        let resend = Resend {
            application,
            event,
            endpoint: endpoint.id,
            generation,
            at,
            limit: endpoint.policy.queue.deliveries,
            tries_max: NonZeroU32::MAX,
        };
        let batch = Batch::synced([Write::Resend(resend)]).guarded(Guard::Generation(endpoint.id, generation));
        self.push(application, batch);
    }

    fn replay(&mut self, (id, event): (DeliveryId, postrider_core::EventId)) {
        let Some(endpoint) = self.process.registry.endpoint(id.endpoint).cloned() else { return };
        self.note(format_args!("somebody replays {event} to {}", endpoint.id));
        let (application, generation, at) = (endpoint.application, endpoint.generation, self.process_now());
        let replay =
            Replay { application, event, endpoint: endpoint.id, generation, at, whom: ReplayTo::All, limit: None };
        self.push(application, Batch::synced([Write::Replay(replay)]));
    }

    fn forget(&mut self, letter: DeliveryId) {
        let holds = self.ledger.now.get(&letter).is_some_and(|stored| stored.holds);
        let Some(endpoint) = self.process.registry.endpoint(letter.endpoint).cloned().filter(|_| !holds) else {
            return;
        };
        self.push(endpoint.application, Batch::synced([Write::Forget(letter)]));
    }

    fn change_status(&mut self, id: EndpointId) {
        let to = match below(&mut self.dice, 4) {
            0 => EndpointStatus::Paused,
            1 => EndpointStatus::Disabled(DisableReason::ByPerson),
            _ => EndpointStatus::Active,
        };
        self.change(id, |endpoint| endpoint.status = to);
    }

    fn rotate(&mut self, id: EndpointId) {
        let (new, until) = (self.secret(), self.process_now() + Duration::from_secs(2));
        self.change(id, |endpoint| {
            endpoint.secrets.truncate(3);
            endpoint.secrets.iter_mut().for_each(|held| held.expires = Some(held.expires.unwrap_or(until)));
            endpoint.secrets.insert(0, SigningSecret { secret: new.clone(), expires: None });
        });
    }

    /// Written only if nobody else was faster.
    pub(crate) fn change(&mut self, id: EndpointId, change: impl FnOnce(&mut Endpoint)) {
        let Some(found) = self.process.registry.endpoint(id).cloned() else { return };
        let Some((owner, _)) = self.process.registry.applications.get(&found.application).cloned() else { return };
        let mut endpoint = Endpoint::clone(&found);
        change(&mut endpoint);
        (endpoint.updated_at, endpoint.revision) = (self.process_now(), endpoint.revision + 1);
        self.note(format_args!("somebody changes {id}: {:?}", endpoint.status));
        let batch = Batch::synced([Write::Endpoint(Box::new(endpoint))])
            .guarded(Guard::Revision(RecordId::Application(owner.id), owner.revision))
            .guarded(Guard::Revision(RecordId::Endpoint(id), found.revision));
        self.push(owner.id, batch);
    }

    fn delete(&mut self, id: EndpointId) {
        let Some(found) = self.process.registry.endpoint(id).cloned() else { return };
        self.note(format_args!("somebody deletes {id}"));
        let batch =
            Batch::synced([Write::DropEndpoint(id)]).guarded(Guard::Revision(RecordId::Endpoint(id), found.revision));
        self.push(found.application, batch);
    }

    /// Faults end, everybody is well, and what people held they let go; until all is delivered.
    pub(crate) fn make_peace(&mut self) {
        if !self.people.is_done() {
            return self.plan(Duration::from_secs(1), What::Peace);
        }
        self.faults = false;
        self.network.make_peace();
        let held: Vec<_> = self.process.registry.endpoints.values().cloned().collect();
        for endpoint in held.into_iter().filter(|endpoint| endpoint.status != EndpointStatus::Active) {
            self.change(endpoint.id, |endpoint| endpoint.status = EndpointStatus::Active);
        }
        let holding: Vec<_> = self.ledger.now.iter().filter(|(_, stored)| stored.holds).map(|(id, _)| *id).collect();
        holding.into_iter().for_each(|letter| self.redrive(letter));
        self.plan(Duration::from_secs(5), What::Peace);
    }
}
