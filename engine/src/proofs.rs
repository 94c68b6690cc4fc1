//! Asks receivers for the proof that their endpoint wants, until they give it; then its deliveries begin.

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroU32,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use postrider_core::{
    ApplicationId, Batch, Endpoint, EndpointId, EndpointStatus, Event, EventId, FairLimits, FairQueue, Guard, Lease,
    Proof, Rate, RecordId, SplitMix, StoredEvent, Write,
    proof::{self, Grant, NotProved},
};
use tokio::{
    sync::mpsc,
    task::{self, AbortHandle, JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
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
    inner.registry.unproven().into_keys().for_each(|endpoint| inner.is_unproven(endpoint));
    let mut asking = Asking::new(Arc::clone(&inner));
    let work = async {
        loop {
            asking.begin_all();
            let next = asking.later.first().map(|(at, _)| *at);
            let next_is_due = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                endpoint = unproven.recv() => match endpoint {
                    Some(endpoint) => asking.ask_anew(endpoint),
                    None => return,
                },
                Some(over) = asking.tasks.join_next_with_id() => asking.is_over(over),
                () = next_is_due => asking.due(Instant::now()),
            }
        }
    };
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = work => {}
    }
    asking.tasks.shutdown().await;
}

/// Who is asked, and who waits to be: in turn by application, or one tenant's receivers that do not answer would keep
/// those of all others waiting.
struct Asking {
    inner: Arc<Inner>,
    waiting: FairQueue<ApplicationId, EndpointId>,
    endpoints: HashMap<EndpointId, Asked>,
    /// Those that are asked again, and when.
    later: BTreeSet<(Instant, EndpointId)>,
    /// Says whether there is nothing more to ask.
    tasks: JoinSet<bool>,
    running: HashMap<task::Id, (ApplicationId, EndpointId)>,
}

struct Asked {
    application: ApplicationId,
    times: usize,
    stage: Stage,
}

enum Stage {
    Waiting,
    Running(AbortHandle),
    Later(Instant),
}

impl Asking {
    fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            waiting: FairQueue::new(FairLimits::running(AT_ONCE)),
            endpoints: HashMap::new(),
            later: BTreeSet::new(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
        }
    }

    /// Its record has changed, or is new: what was asked for before is not any more.
    fn ask_anew(&mut self, endpoint: EndpointId) {
        match self.endpoints.get_mut(&endpoint).map(|asked| (std::mem::take(&mut asked.times), &asked.stage)) {
            Some((_, Stage::Waiting)) => return,
            Some((_, Stage::Running(running))) => {
                running.abort();
                if let Some((application, _)) = self.running.remove(&running.id()) {
                    self.waiting.end(application);
                }
            }
            Some((_, Stage::Later(at))) => {
                self.later.remove(&(*at, endpoint));
            }
            None => {}
        }
        let Some(record) = self.inner.registry.endpoint(endpoint) else {
            return drop(self.endpoints.remove(&endpoint));
        };
        let application = record.application;
        self.endpoints.insert(endpoint, Asked { application, times: 0, stage: Stage::Waiting });
        let _nothing_bounds_it = self.waiting.push(application, endpoint);
    }

    fn begin_all(&mut self) {
        while let Some((application, endpoint)) = self.waiting.begin() {
            let Some(asked) = self.endpoints.get_mut(&endpoint) else {
                self.waiting.end(application);
                continue;
            };
            let inner = Arc::clone(&self.inner);
            let task = self.tasks.spawn(async move { inner.prove(endpoint).await });
            self.running.insert(task.id(), (application, endpoint));
            asked.stage = Stage::Running(task);
        }
    }

    /// It was asked: done, or to be asked again; after a panic, too.
    fn is_over(&mut self, over: Result<(task::Id, bool), JoinError>) {
        let (id, is_done) = over.unwrap_or_else(|failed| (failed.id(), false));
        // One that was called off has given its place back.
        let Some((application, endpoint)) = self.running.remove(&id) else { return };
        self.waiting.end(application);
        let Some(asked) = self.endpoints.get_mut(&endpoint).filter(|_| !is_done) else {
            return drop(self.endpoints.remove(&endpoint));
        };
        let at = Instant::now() + WAITS[asked.times.min(WAITS.len() - 1)];
        asked.times += 1;
        asked.stage = Stage::Later(at);
        self.later.insert((at, endpoint));
    }

    fn due(&mut self, now: Instant) {
        while let Some((_, endpoint)) = self.later.first().copied().filter(|(at, _)| *at <= now) {
            self.later.pop_first();
            let Some(asked) = self.endpoints.get_mut(&endpoint) else { continue };
            asked.stage = Stage::Waiting;
            let _nothing_bounds_it = self.waiting.push(asked.application, endpoint);
        }
    }
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

    /// Asks once. Says whether there is nothing more to ask.
    async fn prove(&self, id: EndpointId) -> bool {
        let found = self.registry.endpoint(id).filter(|found| found.status == EndpointStatus::Unproven);
        let is_done = match found {
            None => true,
            Some(endpoint) => match self.ask(&endpoint).await {
                // If not, it was changed meanwhile, or the store is away.
                Ok(grant) => self.proved(&endpoint, grant).await,
                Err(why) => {
                    debug!(endpoint = %id, %why, "receiver has not proved that it wants anything");
                    self.proof_failures().insert(id, why);
                    false
                }
            },
        };
        if is_done {
            self.forget_proof_failure(id);
        }
        is_done
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
