//! Does what is due at a time of its own: deliveries of events that were published for later begin, and payloads that were
//! to be kept for less than others are forgotten.
//!
//! What comes next is decided in `core/agenda.rs`. A page of items is committed together, each as a request of its
//! application: in turn with all others, and not ahead of outcomes. What has thousands of recipients is read once and
//! begun in pieces.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{
    Acceptance, Agenda, AgendaCommand, AgendaItem, AgendaKind, AgendaStep, Batch, EventId, Recipient, Refused, Replay,
    ReplayTo, StoredEvent, Timestamp, Write,
};
use postrider_storage::{StoreError, StoreErrorKind, Verdict};
use tokio::{sync::Notify, time::sleep};
use tracing::error;

use crate::{CommitError, Notice, commit_queue::Pending, inner::Inner};

/// Recipients whose deliveries begin in one commit.
const PIECE: usize = 256;
/// The store is looked at at least so often, whatever is said of it.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After the store was not there, or too much waited.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// After an endpoint was changed meanwhile.
const PLANNED_ANEW_AFTER: Duration = Duration::from_millis(50);

/// What is due when, and a bell.
#[derive(Debug)]
pub(crate) struct AgendaDesk {
    agenda: Mutex<Agenda>,
    bell: Notify,
}

impl AgendaDesk {
    pub(crate) const fn new() -> Self {
        Self { agenda: Mutex::new(Agenda::new()), bell: Notify::const_new() }
    }

    /// An event was accepted: what the store wrote for it.
    pub(crate) fn accepted(&self, acceptance: &Acceptance, event: EventId) {
        let mut items = acceptance.agenda(event).peekable();
        if items.peek().is_none() {
            return;
        }
        let mut agenda = self.lock();
        items.for_each(|item| agenda.note(item));
        drop(agenda);
        self.bell.notify_one();
    }

    /// The store was opened anew, and is read from its beginning.
    pub(crate) fn store_reopened(&self) {
        self.lock().begin_anew();
        self.bell.notify_one();
    }

    fn did(&self, item: AgendaItem, step: AgendaStep) {
        self.lock().did(item, step);
    }

    fn lock(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what is due until the engine ends.
pub(crate) async fn keep(inner: Arc<Inner>) {
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = keep_on(&inner) => {}
    }
}

async fn keep_on(inner: &Inner) {
    let mut begun = Begun::default();
    loop {
        let now = inner.clock.now();
        let command = inner.agenda.lock().next(now);
        match command {
            AgendaCommand::Read { after, limit } => match inner.read_agenda(after, limit, now).await {
                Ok(rows) => inner.agenda.lock().read(&rows, limit, now),
                Err(_) => {
                    inner.agenda.lock().begin_anew();
                    sleep(AFTER_FAILURE).await;
                }
            },
            AgendaCommand::Do(page) => inner.do_page(page, &mut begun).await,
            AgendaCommand::Sleep(next) => {
                let wait = next.map_or(LOOK_EVERY, |next| next.since(inner.clock.now()));
                tokio::select! {
                    () = inner.agenda.bell.notified() => {}
                    () = sleep(wait.min(LOOK_EVERY)) => {}
                }
            }
        }
    }
}

/// Deliveries of which a part has begun.
type Begun = BTreeMap<AgendaItem, Planned>;

/// An event whose time has come.
#[derive(Default)]
struct Planned {
    /// Held while its deliveries begin, within the budget for payloads: whoever sends it need not read it back.
    _event: Option<Arc<StoredEvent>>,
    /// Those that have not begun.
    left: Vec<Recipient>,
}

impl Planned {
    fn piece(&self) -> &[Recipient] {
        &self.left[..self.left.len().min(PIECE)]
    }

    fn is_last(&self) -> bool {
        self.left.len() <= PIECE
    }
}

impl Inner {
    /// What is due, and the first that is not.
    async fn read_agenda(
        &self,
        after: Option<AgendaItem>,
        limit: std::num::NonZeroUsize,
        now: Timestamp,
    ) -> Result<Vec<AgendaItem>, StoreError> {
        let store = self.store.opened().await;
        let mut rows = store.reads().agenda(after, now, limit).await?;
        if rows.len() < limit.get() {
            let next =
                store.reads().agenda(rows.last().copied().or(after), Timestamp::MAX, std::num::NonZeroUsize::MIN);
            rows.extend(next.await?.first().filter(|first| first.at > now));
        }
        Ok(rows)
    }

    async fn do_page(&self, page: Vec<AgendaItem>, begun: &mut Begun) {
        let (mut pending, mut not_begun) = (Vec::with_capacity(page.len()), Vec::new());
        for item in page {
            let is_behind = |(other, planned, _): &(AgendaItem, Option<Planned>, Pending)| {
                other.application == item.application && planned.as_ref().is_some_and(|planned| !planned.is_last())
            };
            if item.what == AgendaKind::Deliver && pending.iter().any(is_behind) {
                not_begun.push(item);
                continue;
            }
            let planned = match (item.what, begun.remove(&item)) {
                (AgendaKind::Expunge, _) => None,
                (AgendaKind::Deliver, Some(planned)) => Some(planned),
                (AgendaKind::Deliver, None) => match self.plan(item).await {
                    Ok(planned) => Some(planned),
                    Err(step) => {
                        self.agenda.did(item, step);
                        continue;
                    }
                },
            };
            match self.commits.submit(item.application, self.batch_of(item, planned.as_ref())) {
                Ok(answer) => pending.push((item, planned, answer)),
                Err(_busy) => self.agenda.did(item, self.rests(AFTER_FAILURE)),
            }
        }
        not_begun.into_iter().rev().for_each(|item| self.agenda.did(item, AgendaStep::NotBegun));
        let mut gone = Vec::new();
        for (item, planned, answer) in pending {
            let verdict = answer.answer().await;
            match self.step_of(item, planned, &verdict, begun) {
                Some(step) => self.agenda.did(item, step),
                None => gone.push(item),
            }
        }
        self.remove_gone(gone).await;
    }

    /// What is to be begun of an event, or why not now.
    async fn plan(&self, item: AgendaItem) -> Result<Planned, AgendaStep> {
        let AgendaItem { application, event, .. } = item;
        let found = self.store.opened().await.reads().event(application, event).await;
        let found = match found {
            Ok(found) => found.filter(|found| !found.is_expunged),
            Err(error) if error.kind() == StoreErrorKind::Corrupt => return Err(self.set_aside(item)),
            Err(_) => return Err(self.rests(AFTER_FAILURE)),
        };
        // Its payload is gone, or its application: only its row is left.
        let Some((found, routes)) = found.zip(self.registry.routes_of(application)) else {
            return Ok(Planned::default());
        };
        let left = routes.recipients(&found.event);
        let lease = self.payloads.lease(found.event.payload.len());
        let event = lease.map(|lease| self.shared_events.share(Arc::new(StoredEvent { lease, ..found })));
        Ok(Planned { _event: event, left })
    }

    /// Whoever wants it now gets it: its deliveries begin as if it were published now.
    fn batch_of(&self, item: AgendaItem, planned: Option<&Planned>) -> Batch {
        let AgendaItem { application, event, .. } = item;
        let Some(planned) = planned else {
            return Batch::synced([Write::Expunge(application, event), Write::Agenda(item)]);
        };
        let at = self.clock.now();
        let begins = |to: &Recipient| {
            let (endpoint, generation, whom) = (to.endpoint, to.generation, ReplayTo::Missing);
            // Its publisher has gone, and cannot be refused: where a queue is full it is a dead letter.
            let limit = Some(to.queue.deliveries);
            Write::Replay(Replay { application, event, endpoint, generation, at, whom, limit })
        };
        let done = planned.is_last().then_some(Write::Agenda(item));
        Batch::synced(planned.piece().iter().map(begins).chain(done))
    }

    /// What becomes of an item by what became of its piece; none if its event is gone, and only its row is left.
    fn step_of(
        &self,
        item: AgendaItem,
        planned: Option<Planned>,
        verdict: &Result<Verdict, CommitError>,
        begun: &mut Begun,
    ) -> Option<AgendaStep> {
        Some(match verdict {
            Ok(Ok(_)) => match planned {
                Some(mut planned) if !planned.is_last() => {
                    planned.left.drain(..PIECE);
                    begun.insert(item, planned);
                    AgendaStep::Goes
                }
                Some(_) | None => AgendaStep::Over,
            },
            Ok(Err(Refused::NoEvent)) => return None,
            Ok(Err(Refused::Corrupt)) => self.set_aside(item),
            // An endpoint was changed meanwhile: what has not begun is planned anew.
            Ok(Err(_)) => self.rests(PLANNED_ANEW_AFTER),
            Err(_) => self.rests(AFTER_FAILURE),
        })
    }

    async fn remove_gone(&self, gone: Vec<AgendaItem>) {
        let submit =
            |item: AgendaItem| (item, self.commits.submit(item.application, Batch::synced([Write::Agenda(item)])));
        let pending: Vec<_> = gone.into_iter().map(submit).collect();
        for (item, pending) in pending {
            let is_gone = match pending {
                Ok(answer) => matches!(answer.answer().await, Ok(Ok(_))),
                Err(_) => false,
            };
            self.agenda.did(item, if is_gone { AgendaStep::Over } else { self.rests(AFTER_FAILURE) });
        }
    }

    fn rests(&self, wait: Duration) -> AgendaStep {
        AgendaStep::Rests(self.clock.now() + wait)
    }

    /// It can never be done as it is stored. It stays where it is, and keeps nothing waiting.
    fn set_aside(&self, item: AgendaItem) -> AgendaStep {
        let AgendaItem { application, event, what, .. } = item;
        error!(%application, %event, ?what, "stored rows make no sense, it is set aside until the next start: a person must look");
        self.notify(Notice::SetAside { application, event });
        AgendaStep::Over
    }
}
