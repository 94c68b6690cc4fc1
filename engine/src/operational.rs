//! Operational webhooks: operators hear what becomes of endpoints and deliveries, by the engine itself.
//!
//! What they hear is accepted in the same commit as what it is about, so that neither is stored without the other; only of
//! full queues they hear in the [next one](crate::full_queues), and of old backlogs [by the clock](crate::backlogs). It belongs to an application of the organisation of operators, [`OrganisationId::MANAGEMENT`], whose uid is the
//! organisation that it is about; who wants it is found when it is stored, by the agenda.

use std::{sync::Arc, time::Duration};

use postrider_core::{
    Acceptance, Application, ApplicationId, ApplicationSpec, Attempt, Batch, BreakerState, DisableReason, DocumentKind,
    Endpoint, EndpointId, EndpointStatus, Event, IdOr, OrganisationId, Step, Task, TaskStatus, Then, Transition, Uid,
    Write,
};
use serde_json::{Value, json};

use crate::{ApplicationError, Endpoints, Organisation, inner::Inner, times::written};

/// An attempt that failed so often is worth a word, and so is a success after it.
const FAILING_AFTER: u32 = 4;

/// What may be told of, in the names that operational endpoints filter by.
pub const OPERATIONAL_EVENT_TYPES: [&str; 14] = [
    "endpoint.created",
    "endpoint.updated",
    "endpoint.deleted",
    "endpoint.disabled",
    "endpoint.enabled",
    "endpoint.secret.rotated",
    "endpoint.breaker.opened",
    "endpoint.breaker.closed",
    "endpoint.backlog.old",
    "message.attempt.failing",
    "message.attempt.exhausted",
    "message.attempt.recovered",
    "message.dead_lettered",
    "background_task.ended",
];

/// Something to tell operators of one organisation.
pub(crate) struct News {
    organisation: OrganisationId,
    event_type: &'static str,
    data: Value,
    /// What is told of one thing comes in its order.
    about: String,
}

impl<'e> Organisation<'e> {
    /// Where operators of this organisation hear what becomes of its endpoints and deliveries. There are none before
    /// [`prepare_operational`](Self::prepare_operational) was called once.
    pub fn operational_endpoints(self) -> Endpoints<'e> {
        let management = Organisation { id: OrganisationId::MANAGEMENT, ..self };
        management.endpoints(IdOr::Uid(Uid::from(self.id.to_string().as_str())))
    }

    /// Makes the application of its operators, unless it is there.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn prepare_operational(self) -> Result<Arc<Application>, ApplicationError> {
        let uid = self.id.to_string();
        let applications = Organisation { id: OrganisationId::MANAGEMENT, ..self }.applications();
        match applications.get(IdOr::Uid(Uid::from(uid.as_str()))) {
            Ok(known) => Ok(known),
            Err(_) => {
                let spec = ApplicationSpec::new(format!("Operators of {uid}"));
                applications.upsert(uid.as_str(), spec).await
            }
        }
    }
}

impl Inner {
    /// Whether anybody could want to hear something.
    pub(crate) fn has_operators(&self) -> bool {
        self.registry.has_applications(OrganisationId::MANAGEMENT)
    }

    /// Adds to a batch what operators are to hear of it, if anybody wants to. Whether the breaker was open is asked only
    /// where the batch says how it is now.
    pub(crate) fn tell_operators(&self, batch: &mut Batch, breaker_was_open: impl Fn() -> bool) {
        if !self.has_operators() {
            return;
        }
        let news: Vec<News> =
            batch.writes.iter().flat_map(|write| self.news(write, &breaker_was_open)).flatten().collect();
        let told = news.into_iter().filter_map(|news| self.told(news));
        batch.writes.extend(told);
    }

    /// The write that tells it, if anybody wants to hear it.
    pub(crate) fn told(&self, News { organisation, event_type, data, about }: News) -> Option<Write> {
        let operators = self.operators(organisation)?;
        let mut event = Event::new(event_type, json!({ "type": event_type, "data": data }).to_string());
        if self.registry.routes_of(operators)?.recipients(&event).is_empty() {
            return None;
        }
        let accepted_at = self.clock.now();
        // At once, and by the agenda: who wants it must not be guarded here, where another thing is committed.
        event = event.ordering_key(about).deliver_at(accepted_at + Duration::from_nanos(1));
        let (entropy, event) = (self.roll(), Arc::new(event));
        let (key, recipients) = (None, Vec::new());
        Some(Write::Accept(Acceptance { application: operators, accepted_at, entropy, event, key, recipients }))
    }

    fn operators(&self, of: OrganisationId) -> Option<ApplicationId> {
        let name = IdOr::Uid(Uid::from(of.to_string().as_str()));
        Some(self.registry.find_application(OrganisationId::MANAGEMENT, &name)?.id)
    }

    fn news(&self, write: &Write, breaker_was_open: impl Fn() -> bool) -> [Option<News>; 3] {
        match write {
            Write::Outcome(transition) => self.of_outcome(transition),
            Write::Endpoint(endpoint) => self.of_endpoint(endpoint),
            Write::DropEndpoint(id) => [self.news_about(*id, "endpoint.deleted", json!({})), None, None],
            Write::Soft(id, soft) => {
                let event_type = match soft.breaker {
                    BreakerState::Open { .. } if !breaker_was_open() => Some("endpoint.breaker.opened"),
                    BreakerState::Closed { .. } if breaker_was_open() => Some("endpoint.breaker.closed"),
                    _ => None,
                };
                [event_type.and_then(|event_type| self.news_about(*id, event_type, json!({}))), None, None]
            }
            Write::Document(document) if document.id.kind == DocumentKind::Task => {
                let task = serde_json::from_slice::<Task>(&document.value).ok();
                [task.and_then(|task| of_task(&task)), None, None]
            }
            _ => [None, None, None],
        }
    }

    fn of_outcome(&self, transition: &Transition) -> [Option<News>; 3] {
        let Transition { before, step, dead, .. } = transition;
        let endpoint = before.id.endpoint;
        let event = || before.event.to_string();
        let message = |event_type, attempt: &Attempt| {
            let data = json!({
                "msgId": event(),
                "lastAttempt": {
                    "id": attempt.id.to_string(),
                    "timestamp": written(attempt.started),
                    "responseStatusCode": attempt.outcome.status_code(),
                },
            });
            self.news_about(endpoint, event_type, data)
        };
        let died = dead.as_ref().and_then(|dead| {
            let data = json!({
                "msgId": event(),
                "reason": format!("{:?}", dead.reason),
                "attempts": dead.last.attempts,
                "lastStatusCode": dead.last_status,
            });
            self.news_about(endpoint, "message.dead_lettered", data)
        });
        let Step::Attempted(attempt) = step else { return [died, None, None] };
        if attempt.number.is_manual() {
            return [died, None, None];
        }
        let news = match attempt.then {
            Then::Delivered if attempt.number.count() > FAILING_AFTER => message("message.attempt.recovered", attempt),
            Then::RetryAt(_) if attempt.number.count() == FAILING_AFTER => message("message.attempt.failing", attempt),
            Then::GivenUp(_) => message("message.attempt.exhausted", attempt),
            Then::Delivered | Then::RetryAt(_) | Then::Nothing => None,
        };
        [news, died, None]
    }

    fn of_endpoint(&self, endpoint: &Endpoint) -> [Option<News>; 3] {
        let told = |event_type, data| self.told_of_endpoint(endpoint, event_type, data);
        let Some(before) = self.registry.endpoint(endpoint.id) else {
            return [told("endpoint.created", json!({})), None, None];
        };
        let status = match (before.status.is_disabled(), endpoint.status) {
            (false, EndpointStatus::Disabled(reason)) => {
                let (why, trigger) = match reason {
                    DisableReason::Gone => ("the receiver answered 410", "automatic"),
                    DisableReason::FailingTooLong => ("it only failed for days", "automatic"),
                    DisableReason::ByPerson => ("by a person", "manual"),
                };
                let since = written(endpoint.updated_at);
                told("endpoint.disabled", json!({ "failSince": since, "reason": why, "trigger": trigger }))
            }
            (true, EndpointStatus::Active | EndpointStatus::Paused | EndpointStatus::Unproven) => {
                told("endpoint.enabled", json!({}))
            }
            _ => None,
        };
        let first = |endpoint: &Endpoint| endpoint.secrets.first().map(|held| held.secret.clone());
        let rotated = first(&before) != first(endpoint);
        let rotated = rotated.then(|| told("endpoint.secret.rotated", json!({}))).flatten();
        let changed = before.spec != endpoint.spec;
        [status, rotated, changed.then(|| told("endpoint.updated", json!({}))).flatten()]
    }

    pub(crate) fn news_about(&self, endpoint: EndpointId, event_type: &'static str, data: Value) -> Option<News> {
        let (endpoint, owner) = self.registry.endpoint_and_owner(endpoint)?;
        news_of(&endpoint, &owner, event_type, data)
    }

    fn told_of_endpoint(&self, endpoint: &Endpoint, event_type: &'static str, data: Value) -> Option<News> {
        news_of(endpoint, &*self.registry.application(endpoint.application)?, event_type, data)
    }
}

fn news_of(endpoint: &Endpoint, owner: &Application, event_type: &'static str, mut data: Value) -> Option<News> {
    // What is told of those who are told would never end.
    if owner.organisation == OrganisationId::MANAGEMENT {
        return None;
    }
    data["appId"] = json!(owner.id.to_string());
    data["endpointId"] = json!(endpoint.id.to_string());
    if let Some(uid) = &owner.spec.uid {
        data["appUid"] = json!(uid.as_str());
    }
    if let Some(uid) = &endpoint.spec.uid {
        data["endpointUid"] = json!(uid.as_str());
    }
    Some(News { organisation: owner.organisation, event_type, data, about: endpoint.id.to_string() })
}

fn of_task(task: &Task) -> Option<News> {
    let status = match task.status {
        TaskStatus::Running => return None,
        TaskStatus::Finished => "finished",
        TaskStatus::Failed => "failed",
        TaskStatus::Cancelled => "cancelled",
    };
    let data = json!({
        "taskId": task.id.to_string(),
        "task": task.work.name(),
        "status": status,
        "appId": task.work.application().map(|application| application.to_string()),
        "seen": task.progress.seen,
        "done": task.progress.done,
    });
    let (organisation, about) = (task.organisation, task.id.to_string());
    Some(News { organisation, event_type: "background_task.ended", data, about })
}
