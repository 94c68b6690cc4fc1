//! Asks receivers for the proof that their endpoint wants, until they give it; then its deliveries begin.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use postrider_core::{
    Batch, Endpoint, EndpointId, EndpointStatus, Event, EventId, Guard, Lease, Proof, Rate, RecordId, SplitMix,
    StoredEvent, Write,
    proof::{self, Grant, NotProved},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::{debug, info};

use crate::{AttemptRequest, AttemptResponse, Carries, Purpose, attempt, id_map::IdMap, inner::Inner};

/// Receivers that are asked at a time.
const AT_ONCE: usize = 64;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Until it is asked again; the last one, again and again.
const WAITS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
];
const PING: &str = "webhook.ping";
const PING_PAYLOAD: &str = r#"{"type":"webhook.ping","data":{}}"#;
pub(crate) const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const REQUEST_CALLBACK: HeaderName = HeaderName::from_static("webhook-request-callback");
const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");
/// What is asked for where an endpoint has no rate of its own: CloudEvents wants a number.
const RATE_ASKED: NonZeroU32 = NonZeroU32::MIN.saturating_add(5_999);

/// Asks whoever has something to prove, until the engine ends.
pub(crate) async fn run(inner: Arc<Inner>, mut unproven: mpsc::UnboundedReceiver<EndpointId>) {
    let (room, mut asking, mut running) =
        (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new(), HashMap::<EndpointId, AbortHandle>::new());
    inner.registry.unproven().into_keys().for_each(|endpoint| inner.is_unproven(endpoint));
    let work = async {
        while let Some(endpoint) = unproven.recv().await {
            while asking.try_join_next().is_some() {}
            running.retain(|_, asked| !asked.is_finished());
            let (inner, room) = (Arc::clone(&inner), Arc::clone(&room));
            let asked = asking.spawn(async move { inner.prove(endpoint, &room).await });
            // Its record has changed: what was asked for before is not any more.
            if let Some(before) = running.insert(endpoint, asked) {
                before.abort();
            }
        }
    };
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = work => {}
    }
    asking.shutdown().await;
}

impl Inner {
    /// An endpoint is to prove something.
    pub(crate) fn is_unproven(&self, endpoint: EndpointId) {
        let _the_engine_ends = self.unproven.send(endpoint);
    }

    /// Why an endpoint has not proved it, as of the last time that it was asked.
    pub(crate) fn proof_failure(&self, endpoint: EndpointId) -> Option<Box<str>> {
        self.proof_failures().get(&endpoint).cloned()
    }

    fn proof_failures(&self) -> MutexGuard<'_, IdMap<EndpointId, Box<str>>> {
        self.proof_failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn prove(&self, id: EndpointId, room: &Semaphore) {
        let mut waits = WAITS.into_iter();
        loop {
            let Some(endpoint) = self.registry.endpoint(id).filter(|it| it.status == EndpointStatus::Unproven) else {
                break;
            };
            let asked = {
                let _place = room.acquire().await;
                self.ask(&endpoint).await
            };
            match asked {
                Ok(grant) if self.proved(&endpoint, grant).await => break,
                // It was changed meanwhile, or the store is away.
                Ok(_) => {}
                Err(why) => {
                    debug!(endpoint = %id, %why, "receiver has not proved that it wants anything");
                    self.proof_failures().insert(id, why);
                }
            }
            sleep(waits.next().unwrap_or(WAITS[WAITS.len() - 1])).await;
        }
        self.forget_proof_failure(id);
    }

    /// Asks once; why not, if not.
    async fn ask(&self, endpoint: &Endpoint) -> Result<Option<Grant>, Box<str>> {
        let told = |why: NotProved| why.to_string().into_boxed_str();
        match endpoint.spec.proof {
            Proof::None => Ok(None),
            Proof::Challenge => {
                let mut bytes = [0; 16];
                getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
                let challenge: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let mut url = endpoint.target.clone();
                url.query_pairs_mut().append_pair("challenge", &challenge);
                let request = AttemptRequest::new(url, HeaderMap::new(), Bytes::new()).method(Method::GET);
                let answer = self.answered(endpoint, request).await?;
                proof::challenge_is_met(&challenge, answer.status.as_u16(), &answer.body).map_err(told)?;
                Ok(None)
            }
            Proof::CloudEvents => {
                let mut headers = HeaderMap::new();
                headers.insert(REQUEST_ORIGIN, self.origin.clone());
                headers.insert(REQUEST_RATE, HeaderValue::from(rate_asked(endpoint).get()));
                headers.extend(self.grant_address(endpoint).await.map(|address| (REQUEST_CALLBACK, address)));
                let request = AttemptRequest::new(endpoint.target.clone(), headers, Bytes::new());
                let answer = self.answered(endpoint, request.method(Method::OPTIONS)).await?;
                let header = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
                let origin = self.origin.to_str().unwrap_or_default();
                let grant = proof::grant(origin, header(ALLOWED_ORIGIN), header(ALLOWED_RATE));
                grant.map(Some).map_err(told)
            }
            Proof::Ping => {
                let now = self.clock.now();
                let ping = StoredEvent {
                    id: EventId::new(now, &mut SplitMix::new(self.roll())),
                    application: endpoint.application,
                    accepted_at: now,
                    event: Arc::new(Event::new(PING, PING_PAYLOAD)),
                    is_expunged: false,
                    lease: Lease::default(),
                };
                let answer = self.answered(endpoint, attempt::request(endpoint, &ping, now, self.clock.wall())).await?;
                match answer.status.is_success() {
                    true => Ok(None),
                    false => Err(told(NotProved::Status(answer.status.as_u16()))),
                }
            }
        }
    }

    async fn answered(&self, endpoint: &Endpoint, request: AttemptRequest) -> Result<AttemptResponse, Box<str>> {
        let purpose = Purpose::new(endpoint.application, endpoint.id, Carries::Proof);
        let request = request.timeout(ANSWER_WITHIN).purpose(purpose);
        match timeout(ANSWER_WITHIN, self.transport.send(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(postrider_core::Failure::from(error).to_string().into()),
            Err(_elapsed) => Err("it did not answer within 10 s".into()),
        }
    }

    /// Stores that it has; says whether that is done, if nobody changed it meanwhile.
    async fn proved(&self, endpoint: &Endpoint, grant: Option<Grant>) -> bool {
        let Some(batch) = self.proof(endpoint, grant) else { return true };
        let stored = matches!(self.commit(endpoint.application, batch).await, Ok(Ok(_)));
        if stored {
            info!(endpoint = %endpoint.id, ?grant, "receiver has proved that it wants its messages");
        }
        stored
    }

    /// The write that it has, if nobody changes it meanwhile; none if it is gone. What holds it besides goes on to.
    pub(crate) fn proof(&self, endpoint: &Endpoint, grant: Option<Grant>) -> Option<Batch> {
        let owner = self.registry.application(endpoint.application)?;
        let mut proved = endpoint.clone();
        proved.status = endpoint.status.proved();
        proved.granted = granted_rate(endpoint, grant);
        proved.policy = self.policy(&owner, &proved.spec, proved.granted);
        (proved.updated_at, proved.revision) = (self.clock.now(), endpoint.revision + 1);
        let guard = Guard::Revision(RecordId::Endpoint(endpoint.id), endpoint.revision);
        Some(Batch::synced([Write::Endpoint(Box::new(proved))]).guarded(guard))
    }

    pub(crate) fn forget_proof_failure(&self, endpoint: EndpointId) {
        self.proof_failures().remove(&endpoint);
    }
}

/// Requests a minute that its receiver is asked for.
fn rate_asked(endpoint: &Endpoint) -> NonZeroU32 {
    let own = endpoint.spec.rate.map(|rate| rate.attempts_per_second().saturating_mul(60));
    own.and_then(NonZeroU32::new).unwrap_or(RATE_ASKED)
}

/// How fast it may be sent its messages; none is any rate.
pub(crate) fn granted_rate(endpoint: &Endpoint, grant: Option<Grant>) -> Option<Rate> {
    match grant {
        Some(Grant::PerMinute(requests)) => Some(Rate::per_minute(requests)),
        Some(Grant::AsAsked) => Some(Rate::per_minute(rate_asked(endpoint))),
        Some(Grant::Unlimited) | None => None,
    }
}

/// Sent with every request to a receiver that granted our origin.
pub(crate) fn sent_along(endpoint: &Endpoint, origin: &HeaderValue, headers: &mut HeaderMap) {
    if endpoint.spec.proof == Proof::CloudEvents {
        headers.insert(REQUEST_ORIGIN, origin.clone());
    }
}
