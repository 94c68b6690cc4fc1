//! Stores an event and all its deliveries in one batch, planned for the endpoints that stand when it is committed.

use std::{sync::Arc, time::Duration};

use postrider_core::{
    Acceptance, ApplicationId, Batch, DELIVER_AT_AHEAD_MAX, EndpointId, Event, EventId, Guard, IdOr, InvalidEvent,
    KeyClaim, Refused, SameBody, SchemaCheck, SchemaVersion, Timestamp, Write, plan_recipient,
};
use postrider_storage::Verdict;

use crate::{Organisation, PublishError, SchemaFault, catalogue::Latest, commit_queue::Pending, inner::TRIES, schemas};

/// Steps of schema checks that one request takes on the thread that serves it, all its events together; what takes more is
/// checked aside.
const STEPS_AT_ONCE: u64 = 20_000;

/// An accepted event: durable, not yet sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// Its `webhook-id`. The first one's, if the idempotency key was used before.
    pub event: EventId,
    /// To how many endpoints it goes; none if the key was used before.
    pub deliveries: usize,
    /// At how many more the queue was full: its deliveries there are dead letters already.
    pub queues_full: usize,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Whether the idempotency key was used before, with the same event: nothing was stored now.
    pub is_repeat: bool,
    /// Which version of the schema of its type it was held against, if it was.
    pub schema: Option<SchemaVersion>,
    /// Where it does not match, if the type only asks for that to be told.
    pub schema_faults: Vec<SchemaFault>,
}

impl Organisation<'_> {
    /// As [`Engine::publish`](crate::Engine::publish).
    ///
    /// # Errors
    /// Each says whether the event may be stored, and what to do.
    pub async fn publish(
        self,
        application: impl Into<IdOr<ApplicationId>>,
        event: Event,
    ) -> Result<Receipt, PublishError> {
        self.publish_as(Wanted { application: &application.into(), event: &Arc::new(event), only: None }).await
    }

    /// To one endpoint alone, whatever its filter says, and at once: a test, say.
    ///
    /// # Errors
    /// Each says whether the event may be stored, and what to do.
    pub async fn publish_to(
        self,
        application: impl Into<IdOr<ApplicationId>>,
        endpoint: impl Into<IdOr<EndpointId>>,
        event: Event,
    ) -> Result<Receipt, PublishError> {
        let (application, endpoint) = (application.into(), endpoint.into());
        let mut event = event;
        event.deliver_at = None;
        let event = Arc::new(event);
        self.publish_as(Wanted { application: &application, event: &event, only: Some(&endpoint) }).await
    }

    /// Whether anybody would get such an event now.
    ///
    /// # Errors
    /// There is no such application.
    pub fn is_wanted(self, application: impl Into<IdOr<ApplicationId>>, event: &Event) -> Result<bool, PublishError> {
        let routes = self.engine.registry.routes(self.id, &application.into());
        Ok(!routes.ok_or(PublishError::NoSuchApplication)?.recipients(event).is_empty())
    }

    async fn publish_as(self, wanted: Wanted<'_>) -> Result<Receipt, PublishError> {
        let submitted = self.check_and_submit(wanted, &mut STEPS_AT_ONCE.clone()).await;
        self.settle(wanted, submitted).await
    }

    async fn check_and_submit(self, wanted: Wanted<'_>, steps: &mut u64) -> Result<Submitted, PublishError> {
        self.may_publish(wanted)?;
        let met = self.met(wanted, steps).await?;
        self.submit(wanted, met)
    }

    /// Many at once: committed together as far as groups go, each with its own answer, in their order.
    pub async fn publish_all(
        self,
        application: impl Into<IdOr<ApplicationId>>,
        events: impl IntoIterator<Item = Event>,
    ) -> Vec<Result<Receipt, PublishError>> {
        let application = application.into();
        let (mut submitted, mut steps) = (Vec::new(), STEPS_AT_ONCE);
        for event in events {
            let event = Arc::new(event);
            let wanted = Wanted { application: &application, event: &event, only: None };
            let entered = self.check_and_submit(wanted, &mut steps).await;
            submitted.push((event, entered));
        }
        let mut receipts = Vec::with_capacity(submitted.len());
        for (event, submitted) in submitted {
            let wanted = Wanted { application: &application, event: &event, only: None };
            receipts.push(self.settle(wanted, submitted).await);
        }
        receipts
    }

    /// Waits for the answer, and plans again as often as endpoints changed in between.
    async fn settle(
        self,
        wanted: Wanted<'_>,
        mut submitted: Result<Submitted, PublishError>,
    ) -> Result<Receipt, PublishError> {
        for _ in 0..TRIES {
            let Submitted { pending, accepted_at, deliveries, met } = submitted?;
            match pending.answer().await? {
                Err(Refused::Routing) => {}
                verdict => {
                    self.engine.metrics.accept_seconds(self.engine.clock.now().since(accepted_at));
                    return receipt(verdict, accepted_at, deliveries, met);
                }
            }
            submitted = self.submit(wanted, met);
        }
        Err(PublishError::Contended)
    }

    /// What refuses it at once, before anything is read that takes its time.
    fn may_publish(self, wanted: Wanted<'_>) -> Result<(), PublishError> {
        let engine = self.engine;
        wanted.event.validate(engine.limits.payload_bytes)?;
        engine.lifecycle.gate()?;
        engine.has_space()?;
        Ok(())
    }

    /// Plans, and queues; waits for nothing.
    fn submit(self, wanted: Wanted<'_>, met: Met) -> Result<Submitted, PublishError> {
        let Wanted { application, event, only } = wanted;
        let engine = self.engine;
        self.may_publish(wanted)?;
        let routes = engine.registry.routes(self.id, application).ok_or(PublishError::NoSuchApplication)?;
        let owner = routes.application;
        if let Some(pending_max) = engine.pending.full(owner) {
            return Err(PublishError::TooManyPending { pending_max });
        }
        let accepted_at = engine.clock.now();
        let key = event.idempotency_key.clone().map(|key| KeyClaim { key, body: event.body_hash() });
        let is_later = event.deliver_at.is_some_and(|at| accepted_at < at);
        if event.deliver_at.is_some_and(|at| accepted_at + DELIVER_AT_AHEAD_MAX < at) {
            return Err(InvalidEvent::TooFarAhead.into());
        }
        let recipients = match only {
            // They are found when its time has come.
            None if is_later => Vec::new(),
            None => routes.recipients(event),
            Some(name) => {
                let endpoint = engine.registry.find_endpoint(owner, name).ok_or(PublishError::NoSuchEndpoint)?;
                if endpoint.status.is_disabled() {
                    return Err(PublishError::EndpointDisabled);
                }
                vec![plan_recipient(event, &endpoint)]
            }
        };
        let deliveries = recipients.len();
        let kept = routes.payload_kept.filter(|kept| event.payload_kept.is_none() && *kept < engine.limits.retention);
        // Counted from when it is to be delivered: nobody asked for it to be forgotten before.
        let put_off = event.deliver_at.map_or(Duration::ZERO, |at| at.since(accepted_at));
        let (entropy, event) = (
            engine.roll(),
            kept.map_or_else(
                || Arc::clone(event),
                |kept| Arc::new(Event::clone(event).payload_kept(kept.saturating_add(put_off))),
            ),
        );
        let acceptance = Acceptance { application: owner, accepted_at, entropy, event, key, recipients };
        let batch = Batch::synced([Write::Accept(acceptance)]).guarded(Guard::Routing(owner, routes.version));
        let pending = engine.commits.submit(owner, batch)?;
        Ok(Submitted { pending, accepted_at, deliveries, met })
    }

    /// Holds the payload against the schema of its type, if that is asked for: here within `steps`, or aside.
    async fn met(self, wanted: Wanted<'_>, steps: &mut u64) -> Result<Met, PublishError> {
        let Wanted { application, event, .. } = wanted;
        let engine = self.engine;
        let Some(known) = engine.catalogue.find(self.id, &event.event_type) else { return Ok(Met::default()) };
        let asked = || engine.registry.find_application(self.id, application)?.spec.schema_check;
        let check = known.event_type.spec.check.or_else(asked).unwrap_or(engine.limits.schema_check);
        let version = if check == SchemaCheck::Off { None } else { known.version() };
        let Some(version) = version else { return Ok(Met::default()) };
        let at_once = match known.latest() {
            Latest::NotUnderstood => return Ok(Met::default()),
            Latest::Ready(schema) => schemas::faults_within(&schema, event, steps),
            Latest::AsText => None,
        };
        let faults = match at_once {
            Some(faults) => faults,
            None => {
                let (engine, event) = (Arc::clone(engine), Arc::clone(event));
                let work = move || Some(schemas::faults(&*engine.catalogue.made_ready(&known)?, &event));
                let Some(faults) = self.aside(work).await? else { return Ok(Met::default()) };
                faults
            }
        };
        if check == SchemaCheck::Enforce && !faults.is_empty() {
            return Err(PublishError::SchemaMismatch { version, faults });
        }
        Ok(Met { schema: Some(version), faults })
    }
}

/// What is published, for whom.
#[derive(Clone, Copy)]
struct Wanted<'w> {
    application: &'w IdOr<ApplicationId>,
    event: &'w Arc<Event>,
    /// None: whoever wants it.
    only: Option<&'w IdOr<EndpointId>>,
}

struct Submitted {
    pending: Pending,
    accepted_at: Timestamp,
    deliveries: usize,
    met: Met,
}

/// How a payload stands to the schema of its type.
#[derive(Default)]
struct Met {
    schema: Option<SchemaVersion>,
    faults: Vec<SchemaFault>,
}

fn receipt(verdict: Verdict, accepted_at: Timestamp, deliveries: usize, met: Met) -> Result<Receipt, PublishError> {
    let Met { schema, faults: schema_faults } = met;
    match verdict {
        Ok(committed) => match committed.accepted() {
            Some((_, event)) => {
                let queues_full = committed.full().len();
                let deliveries = deliveries - queues_full.min(deliveries);
                Ok(Receipt { event, deliveries, queues_full, accepted_at, is_repeat: false, schema, schema_faults })
            }
            None => Err(PublishError::Corrupt),
        },
        Err(Refused::KeyUsed(event, SameBody::Yes)) => {
            let (deliveries, queues_full, accepted_at) = (0, 0, event.time());
            Ok(Receipt { event, deliveries, queues_full, accepted_at, is_repeat: true, schema, schema_faults })
        }
        Err(Refused::KeyUsed(first, SameBody::No)) => Err(PublishError::KeyConflict { first }),
        Err(Refused::EventUidTaken(first)) => Err(PublishError::UidTaken { first }),
        Err(Refused::QueueFull(endpoint)) => Err(PublishError::QueueFull { endpoint }),
        Err(Refused::Corrupt) => Err(PublishError::Corrupt),
        Err(Refused::Routing | Refused::Generation | Refused::Revision | Refused::Stands(_)) => {
            Err(PublishError::Contended)
        }
        Err(
            Refused::UidTaken
            | Refused::QueueNotEmpty
            | Refused::NoDeadLetter
            | Refused::NoEvent
            | Refused::TriesUsedUp,
        ) => Err(PublishError::Contended),
    }
}
