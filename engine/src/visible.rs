//! Lets the engine see what is durable, and only then. The committer calls it, not the caller: it happens even if the
//! caller has gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use postrider_core::{
    Acceptance, Application, ApplicationId, Batch, BreakerState, Delivery, DeliveryId, DisableReason, Document,
    DocumentKind, Effect, Endpoint, EndpointId, EndpointStatus, EventId, GiveUpReason, Input, Moved, OrganisationId,
    Replay, Seq, SoftState, Step, StoredEvent, Then, Transition, Write,
};
use postrider_storage::Verdict;

use crate::{About, Notice, inner::Inner, metrics::is_open, tasks::understood};

/// Events whose payloads a group forgets.
type Expunged = BTreeMap<ApplicationId, BTreeSet<EventId>>;

impl Inner {
    pub(crate) fn make_group_visible(self: &Arc<Self>, group: &[Batch], verdicts: &[Verdict]) {
        let mut expunged = Expunged::new();
        for (batch, verdict) in group.iter().zip(verdicts) {
            self.make_visible(batch, verdict, &mut expunged);
        }
        // All at once: every endpoint of an application is looked at for it.
        expunged.into_iter().for_each(|(application, events)| self.expunged(application, events));
    }

    fn make_visible(self: &Arc<Self>, batch: &Batch, verdict: &Verdict, expunged: &mut Expunged) {
        let Ok(committed) = verdict else { return };
        self.queues_changed(&committed.queued);
        for (write, effect) in batch.writes.iter().zip(&committed.effects) {
            match write {
                Write::Accept(acceptance) => {
                    if let Effect::Accepted(seq, id, full) = effect {
                        self.accepted(acceptance, *seq, *id, full);
                    }
                }
                Write::Outcome(transition) => self.stepped(transition),
                Write::Redrive(letter, _) => self.redriven(*letter, effect),
                Write::Resend(resend) => {
                    if let Effect::Queued(delivery) = effect {
                        let moved = Input::Moved(Moved::Resent(delivery.clone()));
                        self.with_slot(resend.endpoint, |slot| slot.post(moved));
                    }
                }
                Write::Replay(replay) => self.replayed(replay, effect),
                Write::Soft(endpoint, soft) => self.softened(*endpoint, soft),
                Write::Application(application) => self.put_application(application),
                Write::DropApplication(application) => self.registry.remove_application(*application),
                Write::Endpoint(endpoint) => self.configured(endpoint, effect),
                Write::DropEndpoint(endpoint) => self.dropped(*endpoint, effect),
                Write::Forget(_) | Write::Purge(..) | Write::Wake(..) | Write::Clock(..) => {}
                Write::Expunge(application, event) => {
                    self.shared_events.forget(*event);
                    expunged.entry(*application).or_default().insert(*event);
                }
                Write::ExpungeResponse(_) | Write::Agenda(_) | Write::Rescue(..) => {}
                Write::Document(document) => self.documented(document),
                Write::DropDocument(document) => match document.kind {
                    DocumentKind::EventType => self.catalogue.remove(document),
                    DocumentKind::Setting => self.settings.remove(document),
                    DocumentKind::OpenTask => self.task_ended(batch),
                    DocumentKind::Task | DocumentKind::TaskPart => {}
                    DocumentKind::Answer | DocumentKind::AnswerAge => {}
                },
            }
        }
    }

    /// What is in memory of these payloads is gone before anyone hears that they are: it would be sent hours later, by an
    /// endpoint that is paused or slow.
    fn expunged(self: &Arc<Self>, application: ApplicationId, events: BTreeSet<EventId>) {
        let events = Arc::new(events);
        for endpoint in self.registry.endpoint_ids(application) {
            self.with_known_slot(endpoint, |slot| slot.expunge(&events));
        }
    }

    /// The event rides along, within the budget for payloads: nothing is read back for what was just published.
    fn accepted(self: &Arc<Self>, acceptance: &Acceptance, seq: Seq, id: EventId, full: &[EndpointId]) {
        self.agenda.accepted(acceptance, id);
        self.metrics.accepted();
        if acceptance.recipients.is_empty() {
            return;
        }
        let lease = self.payloads.lease(acceptance.event.payload.len());
        let event = lease.map(|lease| Arc::new(StoredEvent { lease, ..StoredEvent::of(id, acceptance) }));
        let event = match acceptance.recipients.len() {
            1 => event,
            _ => event.map(|event| self.shared_events.share(event)),
        };
        // Both are in the order of the recipients.
        let mut full = full.iter().peekable();
        for to in &acceptance.recipients {
            let delivery = acceptance.delivery(to, seq, id);
            if full.next_if(|full| **full == to.endpoint).is_some() {
                self.gave_up(&delivery, GiveUpReason::QueueFull, None);
                self.queue_was_full(to.endpoint, id);
                continue;
            }
            self.with_slot(to.endpoint, |slot| slot.nudge(delivery, event.clone()));
        }
    }

    fn replayed(self: &Arc<Self>, replay: &Replay, effect: &Effect) {
        match effect {
            Effect::Queued(delivery) => {
                let event = self.shared_events.get(replay.event);
                self.with_slot(replay.endpoint, |slot| slot.nudge(delivery.clone(), event));
            }
            Effect::Dead(delivery) => {
                self.gave_up(delivery, GiveUpReason::QueueFull, None);
                self.queue_was_full(replay.endpoint, replay.event);
            }
            Effect::Accepted(..) | Effect::Ended(_) | Effect::Routed(_) | Effect::Purged(_) | Effect::Done => {}
        }
    }

    fn put_application(&self, application: &Application) {
        let is_first = !self.registry.has_applications(application.organisation);
        self.registry.put_application(application.clone());
        if is_first && application.organisation == OrganisationId::MANAGEMENT {
            self.backlogs.search();
        }
    }

    fn stepped(self: &Arc<Self>, transition: &Transition) {
        let Transition { before, after: _, step, dead } = transition;
        match step {
            Step::Attempted(attempt) => match attempt.then {
                Then::Delivered => self.metrics.delivered((attempt.started + attempt.took).since(before.since)),
                Then::RetryAt(_) | Then::GivenUp(_) | Then::Nothing => {}
            },
            Step::GaveUp => {}
            Step::Cancelled(_) => {
                let moved = Input::Moved(Moved::Cancelled(before.clone()));
                self.with_slot(before.id.endpoint, |slot| slot.post(moved));
            }
        }
        if let Some(dead) = dead {
            self.gave_up(&dead.last, dead.reason, dead.last_status);
        }
    }

    fn gave_up(&self, last: &Delivery, reason: GiveUpReason, last_status: Option<u16>) {
        self.metrics.gave_up(reason);
        if let Some(about) = self.about(last.id.endpoint) {
            self.log_dead_letter(&about, last, reason, last_status);
            let Delivery { event, id: delivery, attempts, .. } = *last;
            self.notify(Notice::DeadLettered { about, event, delivery, reason, attempts, last_status });
        }
    }

    fn redriven(self: &Arc<Self>, letter: DeliveryId, effect: &Effect) {
        let Effect::Queued(delivery) = effect else { return };
        let delivery: Delivery = delivery.clone();
        self.with_slot(letter.endpoint, |slot| {
            if delivery.id == letter {
                // It held its lane, and has its old place.
                return slot.post(Input::Moved(Moved::Revived(delivery)));
            }
            slot.nudge(delivery, None)
        });
    }

    fn softened(&self, endpoint: EndpointId, soft: &SoftState) {
        if self.registry.has_endpoint(endpoint) {
            self.open_breakers.seen(endpoint, soft);
        }
        let is_open = is_open(&soft.breaker);
        {
            let mut table = self.directory.lock(endpoint);
            let Some(place) = table.known(endpoint) else { return };
            if place.breaker_is_open == is_open {
                return;
            }
            place.breaker_is_open = is_open;
        }
        self.metrics.breakers_open(if is_open { 1 } else { -1 });
        let Some(about) = self.about(endpoint) else { return };
        match soft.breaker {
            BreakerState::Closed { .. } => {
                self.log_breaker(&about, None);
                self.notify(Notice::BreakerClosed { about });
            }
            BreakerState::Open { until, .. } => {
                self.log_breaker(&about, Some(until));
                self.notify(Notice::BreakerOpened { about, until });
            }
            BreakerState::HalfOpen { .. } => {}
        }
    }

    fn documented(&self, document: &Document) {
        match document.id.kind {
            DocumentKind::EventType => self.catalogue.put(document),
            DocumentKind::OpenTask => self.task_opened(&document.id),
            DocumentKind::Setting => self.settings.put(document),
            DocumentKind::Task | DocumentKind::TaskPart => {}
            DocumentKind::Answer | DocumentKind::AnswerAge => {}
        }
    }

    /// Whoever waits for a task hears of its end here, whoever ended it and has gone since.
    fn task_ended(&self, batch: &Batch) {
        for write in &batch.writes {
            if let Write::Document(document) = write
                && document.id.kind == DocumentKind::Task
                && let Some(task) = understood(document)
            {
                self.tell_ended(&task);
            }
        }
    }

    fn configured(self: &Arc<Self>, endpoint: &Endpoint, effect: &Effect) {
        let id = endpoint.id;
        let Effect::Routed(routing) = effect else { return };
        let before = self.registry.put_endpoint(endpoint.clone(), *routing);
        self.told_of(id);
        if endpoint.status == EndpointStatus::Unproven {
            self.is_unproven(id);
        }
        let before = before.map_or(EndpointStatus::Active, |before| before.status);
        if before == endpoint.status {
            return;
        }
        let Some(about) = self.about(id) else { return };
        self.log_status(&about, before, endpoint.status);
        let Some(reason) = disabled_by_engine(endpoint.status) else { return };
        self.notify(Notice::EndpointDisabled { about, reason });
    }

    /// Its actor hears of the record as it is now; without an actor, the next one begins with it.
    pub(crate) fn told_of(self: &Arc<Self>, endpoint: EndpointId) {
        let Some(record) = self.registry.endpoint(endpoint) else { return };
        self.with_known_slot(endpoint, |slot| match slot.is_occupied() {
            true => slot.post(Input::Reconfigured(record)),
            false => None,
        });
    }

    fn dropped(&self, endpoint: EndpointId, effect: &Effect) {
        if let Effect::Routed(routing) = effect {
            self.registry.remove_endpoint(endpoint, *routing);
        }
        self.drop_place(endpoint);
        self.open_breakers.forget(endpoint);
        self.permits.forget(endpoint);
        self.forget_proof_failure(endpoint);
        self.cut_off.notify_one();
    }

    pub(crate) fn about(&self, endpoint: EndpointId) -> Option<Arc<About>> {
        let (endpoint, owner) = self.registry.endpoint_and_owner(endpoint)?;
        Some(Arc::new(About::new(&endpoint, &owner)))
    }
}

const fn disabled_by_engine(status: EndpointStatus) -> Option<DisableReason> {
    match status {
        EndpointStatus::Disabled(reason) => match reason {
            DisableReason::Gone | DisableReason::FailingTooLong => Some(reason),
            DisableReason::ByPerson => None,
        },
        EndpointStatus::Active | EndpointStatus::Paused | EndpointStatus::Unproven => None,
    }
}
