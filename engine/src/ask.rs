//! What an endpoint is doing, and why a delivery waits: asked of its machine, or told from what is stored if none is up.

use std::time::Duration;

use postrider_core::{
    Ask, BreakerState, Delivery, DueKey, Endpoint, EndpointStatus, Found, LaneId, OrderingMode, Seq, SoftState,
    Timestamp, Waiting, WindowShare,
};
use postrider_storage::StoreError;
use ractor::{ActorRef, RpcReplyPort, rpc::CallResult};
use std::num::NonZeroUsize;

use crate::{EndpointState, ReadError, endpoint_actor::EndpointMsg, inner::Inner};

/// An actor answers between two messages; one that does not is ending.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Rows of a queue that are looked at, for the oldest, and to count it if that is not done yet.
const LOOKED_AT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

impl Inner {
    pub(crate) async fn endpoint_state(&self, endpoint: &Endpoint) -> Result<EndpointState, ReadError> {
        let report = self.ask_actor(endpoint, EndpointMsg::Report).await;
        let store = self.store.get()?;
        let backlog = store.reads().backlog(endpoint.id, endpoint.generation, LOOKED_AT).await?;
        drop(store);
        let (status, proof_failure) = (endpoint.status, self.proof_failure(endpoint.id));
        if let Some(report) = report {
            let (in_flight, next_attempt) = (report.in_flight, report.next_due);
            let waiting = report.held.or_else(|| held(status));
            let breaker = report.breaker;
            let could_not_send = report.could_not_send;
            return Ok(EndpointState {
                status,
                breaker,
                backlog,
                in_flight,
                next_attempt,
                waiting,
                proof_failure,
                could_not_send,
            });
        }
        let soft = self.soft(endpoint).await?;
        let next_attempt = self.next_due(endpoint).await?;
        let waiting = held(status).or_else(|| self.held_softly(&soft));
        let (breaker, in_flight, could_not_send) = (soft.breaker, 0, None);
        Ok(EndpointState { status, breaker, backlog, in_flight, next_attempt, waiting, proof_failure, could_not_send })
    }

    pub(crate) async fn why_waiting(&self, endpoint: &Endpoint, delivery: &Delivery) -> Result<Waiting, ReadError> {
        let ask = |reply| EndpointMsg::WhyWaiting(Box::new(delivery.clone()), reply);
        if let Some(waiting) = self.ask_actor(endpoint, ask).await {
            return Ok(waiting);
        }
        if delivery.is_held() {
            return Ok(Waiting::Held);
        }
        let soft = self.soft(endpoint).await?;
        if let Some(held) = held(endpoint.status).or_else(|| self.held_softly(&soft)) {
            return Ok(held);
        }
        let store = self.store.get()?;
        let head = store.reads().ahead(delivery).await?;
        match (head.filter(|head| head.id.seq < delivery.id.seq), delivery.due()) {
            (Some(head), _) => Ok(Waiting::Behind(head.id.seq)),
            (None, Some(due)) if self.clock.now() < due => Ok(Waiting::RetryAt(due)),
            (None, Some(_) | None) => Ok(Waiting::Queued),
        }
    }

    async fn ask_actor<T: Send + 'static>(
        &self,
        endpoint: &Endpoint,
        ask: impl FnOnce(RpcReplyPort<T>) -> EndpointMsg,
    ) -> Option<T> {
        let actor: ActorRef<EndpointMsg> = self.actor(endpoint.id)?;
        match actor.call(ask, Some(ANSWER_WITHIN)).await {
            Ok(CallResult::Success(answer)) => Some(answer),
            Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => None,
        }
    }

    async fn soft(&self, endpoint: &Endpoint) -> Result<SoftState, StoreError> {
        let share = WindowShare { rows: NonZeroUsize::MIN, event_bytes: 0, at_hand: None };
        let store = self.store.get()?;
        match store.reads().window(endpoint.id, endpoint.generation, Ask::Soft, share).await? {
            Found::Soft(soft) => Ok(soft),
            Found::Rows(_) | Found::Aged(_) => Ok(SoftState::default()),
        }
    }

    async fn next_due(&self, endpoint: &Endpoint) -> Result<Option<Timestamp>, StoreError> {
        let share = WindowShare { rows: NonZeroUsize::MIN, event_bytes: 0, at_hand: None };
        let store = self.store.get()?;
        // One lane has one head, and no index of those that wait.
        let due = match endpoint.policy.ordering {
            OrderingMode::Concurrent | OrderingMode::PerKey(_) => Ask::Due(DueKey::START),
            OrderingMode::Fifo(_) => Ask::Lane(LaneId::WHOLE, Seq(0)),
        };
        match store.reads().window(endpoint.id, endpoint.generation, due, share).await? {
            Found::Rows(rows) => Ok(rows.rows.first().and_then(|(delivery, _)| delivery.due())),
            Found::Soft(_) | Found::Aged(_) => Ok(None),
        }
    }

    fn held_softly(&self, soft: &SoftState) -> Option<Waiting> {
        let now = self.clock.now();
        if let Some(until) = soft.throttled_until.filter(|until| now < *until) {
            return Some(Waiting::ReceiverAskedToWait(until));
        }
        match soft.breaker {
            BreakerState::Open { until, .. } if now < until => Some(Waiting::BreakerOpen(Some(until))),
            BreakerState::Closed { .. } | BreakerState::Open { .. } | BreakerState::HalfOpen { .. } => None,
        }
    }
}

const fn held(status: EndpointStatus) -> Option<Waiting> {
    match status {
        EndpointStatus::Active => None,
        EndpointStatus::Paused => Some(Waiting::Paused),
        EndpointStatus::Unproven => Some(Waiting::Unproven),
        EndpointStatus::Disabled(reason) => Some(Waiting::Disabled(reason)),
    }
}
