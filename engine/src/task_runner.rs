//! Does the work of tasks, a piece at a time, and notes after each piece how far it has come.
//!
//! What a piece puts into a queue and the note of it are one commit wherever they can be; where they cannot, a piece that
//! is done again after a crash finds nothing left to do.

mod counting;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use postrider_core::{
    ApplicationId, Batch, DeadLetter, DeliveryId, DocumentId, DocumentKind, Endpoint, EndpointId, EventId, Guard, IdOr,
    OrganisationId, Refused, Replay, ReplayTo, Seq, Space, StoredEvent, Task, TaskId, TaskStatus, Work, Write,
    task::{Events, Letters, Tried, TriedEnd},
};
use postrider_storage::{
    DeadLetterQuery, DeliveryRecord, DeliveryState, DocumentQuery, EventQuery, Page, PageRequest, Part, Reads,
    StoreError, Verdict,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
    time::sleep,
};
use tracing::{info, warn};

use crate::{
    CommitError, DeadLetterError, Notice,
    catch::catch,
    dead_letters::{redrive, refused as letter_refused},
    id_map::IdMap,
    inner::Inner,
    tasks::{document_of, progress, read},
};

/// Items of one piece.
const PIECE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);
/// Tasks that run at a time; more wait.
const AT_ONCE: usize = 8;
/// A replay waits while so many deliveries wait at its endpoint: what is published meanwhile has not all of it ahead.
const WAITING_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);
/// Until a queue is looked at again.
const QUEUE_WAIT: Duration = Duration::from_millis(250);
/// After the store was not there.
const STORE_WAIT: Duration = Duration::from_secs(1);
/// Open tasks read at once.
const PAGE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Which tasks there are to run.
pub(crate) type NewTasks = mpsc::UnboundedReceiver<(OrganisationId, TaskId)>;

/// Runs what was open, and what is begun, until the engine ends.
pub(crate) async fn run(inner: Arc<Inner>, mut new: NewTasks) {
    let (room, mut workers) = (Arc::new(Semaphore::new(AT_ONCE)), Workers::default());
    let work = async {
        inner.find_open_tasks().await;
        while let Some((organisation, task)) = new.recv().await {
            let (inner, room) = (Arc::clone(&inner), Arc::clone(&room));
            workers.begin(task, async move {
                let _place = room.acquire().await;
                if catch(inner.run_task(organisation, task)).await.is_err() {
                    // Its next start would meet the same; a person has to look.
                    warn!(%task, "task panicked, and is left until the next start");
                }
            });
        }
    };
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = work => {}
    }
    // What is done of a piece is done; the rest is done after the next start.
    workers.running.shutdown().await;
}

/// Whoever does a task: one at a time.
#[derive(Debug, Default)]
struct Workers {
    running: JoinSet<()>,
    by_task: IdMap<TaskId, AbortHandle>,
}

impl Workers {
    /// Unless it is being done: what is begun while that which was open is read, is found both ways.
    fn begin(&mut self, task: TaskId, work: impl Future<Output = ()> + Send + 'static) {
        while self.running.try_join_next().is_some() {}
        self.by_task.retain(|_, worker| !worker.is_finished());
        if !self.by_task.contains_key(&task) {
            self.by_task.insert(task, self.running.spawn(work));
        }
    }
}

/// Why a piece did not come to its end.
enum Stop {
    /// It is to be begun again after so long, from what is stored.
    Wait(Duration),
    /// It cannot be done.
    Failed(&'static str),
}

impl From<StoreError> for Stop {
    fn from(_: StoreError) -> Self {
        Self::Wait(STORE_WAIT)
    }
}

impl From<CommitError> for Stop {
    fn from(_: CommitError) -> Self {
        Self::Wait(STORE_WAIT)
    }
}

impl Inner {
    /// Reads what was open when the engine last ended.
    async fn find_open_tasks(&self) {
        let mut query = DocumentQuery::all(DocumentKind::OpenTask);
        loop {
            let found = self.store.opened().await.reads().documents(&query, PAGE).await;
            let Ok(found) = found else {
                sleep(STORE_WAIT).await;
                continue;
            };
            let Some(last) = found.last() else { return };
            query.after = Some(last.id.clone());
            found.iter().for_each(|document| self.task_opened(&document.id));
        }
    }

    /// A task is durable, and is to be run.
    pub(crate) fn task_opened(&self, id: &DocumentId) {
        if let Ok(task) = id.name.parse() {
            let _the_engine_ends = self.new_tasks.send((id.organisation, task));
        }
    }

    async fn run_task(&self, organisation: OrganisationId, task: TaskId) {
        let id = document_of(organisation, task);
        // What is stored is the truth: read once, and again after anything that was not as expected.
        let mut known: Option<Task> = None;
        loop {
            let task = match known.take() {
                Some(task) => task,
                None => match read(self.store.opened().await.reads(), &id).await {
                    Ok(Some(task)) => task,
                    Ok(None) => return,
                    Err(_) => {
                        sleep(STORE_WAIT).await;
                        continue;
                    }
                },
            };
            if task.status != TaskStatus::Running {
                return;
            }
            let mut next = task.clone();
            next.revision += 1;
            match self.piece(&task, &mut next).await {
                Ok(()) => known = Some(next),
                Err(Stop::Wait(wait)) => sleep(wait).await,
                Err(Stop::Failed(why)) => match self.fail_task(task, why).await {
                    Ok(failed) => known = Some(failed),
                    Err(_) => sleep(STORE_WAIT).await,
                },
            }
        }
    }

    /// Does the next piece, and commits how far the task has come with it; `next` is the task after that, which has
    /// ended if nothing is left.
    async fn piece(&self, task: &Task, next: &mut Task) -> Result<(), Stop> {
        next.updated_at = self.clock.now();
        match &task.work {
            Work::Redrive(letters) | Work::Recover(letters) => {
                let now = self.clock.now();
                let redrive = |endpoint: &Endpoint, letter| redrive(endpoint, letter, now);
                self.change_letters(task, next, letters, redrive).await
            }
            Work::Purge(letters) => {
                let forget = |_: &Endpoint, letter| Batch::synced([Write::Forget(letter)]);
                self.change_letters(task, next, letters, forget).await
            }
            Work::ReplayMissing(events) => {
                self.replay_events(task, next, events, &Tried::default(), ReplayTo::Missing).await
            }
            Work::Replay(events, tried) => self.replay_events(task, next, events, tried, ReplayTo::All).await,
            Work::Count(counted) => self.count_events(task, next, counted).await,
            Work::Expunge(application) => self.expunge_events(task, next, *application).await,
            _ => Err(Stop::Failed("this program does not know such a task")),
        }
    }

    async fn change_letters(
        &self,
        task: &Task,
        next: &mut Task,
        letters: &Letters,
        change: impl Fn(&Endpoint, DeliveryId) -> Batch,
    ) -> Result<(), Stop> {
        let owner = letters.application;
        let endpoints = match letters.endpoint {
            Some(endpoint) => vec![endpoint],
            None => self.registry.endpoint_ids(owner),
        };
        // What dies later is none of its business: what it puts back and dies again is not met twice.
        let before = letters.before.map_or(task.created_at, |before| before.min(task.created_at));
        let query = DeadLetterQuery { endpoints, before: Some(before), after: letters.after, oldest_first: true };
        let store = self.store.opened().await;
        let found = store.reads().dead_letters(&query, &page(task.place.as_deref().and_then(letter_at))).await?;
        let mut wanted: Vec<DeadLetter> = Vec::new();
        let written = |at: DeliveryId| [&at.endpoint.to_bytes()[..], &at.seq.0.to_be_bytes()].concat();
        for letter in turn_page(next, found, written) {
            let is_wanted = letters.event_types.is_empty() || {
                let event = store.reads().event(owner, letter.last.event).await?;
                event.is_some_and(|event| letters.event_types.contains(&event.event.event_type))
            };
            if is_wanted {
                wanted.push(letter);
            }
        }
        drop(store);
        next.progress.done += self.change_each(wanted, change).await?;
        self.note(task, next, Vec::new(), None).await
    }

    /// Each in a commit of its own guards, all of them together; where a queue is full, again until it has room. Says how
    /// many were changed by us, or may have been.
    async fn change_each(
        &self,
        letters: Vec<DeadLetter>,
        change: impl Fn(&Endpoint, DeliveryId) -> Batch,
    ) -> Result<u64, Stop> {
        let (mut left, mut changed) = (letters, 0);
        while !left.is_empty() {
            let mut pending = Vec::with_capacity(left.len());
            for letter in left {
                // A letter whose endpoint is gone went with it.
                let Some(endpoint) = self.registry.endpoint(letter.last.id.endpoint) else { continue };
                self.lifecycle.gate()?;
                let answer = self.commits.submit(endpoint.application, change(&endpoint, letter.last.id))?;
                pending.push((letter, answer));
            }
            left = Vec::new();
            for (letter, answer) in pending {
                match answer.answer().await?.map_err(letter_refused) {
                    Ok(_) => changed += 1,
                    Err(DeadLetterError::QueueFull) => left.push(letter),
                    Err(_) => {}
                }
            }
            if !left.is_empty() {
                sleep(QUEUE_WAIT).await;
            }
        }
        Ok(changed)
    }

    async fn replay_events(
        &self,
        task: &Task,
        next: &mut Task,
        events: &Events,
        tried: &Tried,
        whom: ReplayTo,
    ) -> Result<(), Stop> {
        let gone = Stop::Failed("its endpoint was deleted");
        let endpoint = self.registry.find_endpoint(events.application, &IdOr::Id(events.endpoint)).ok_or(gone)?;
        let limit = endpoint.policy.queue.deliveries;
        let store = self.store.opened().await;
        let waiting = store.reads().backlog(endpoint.id, endpoint.generation, WAITING_MAX).await?.queued;
        if waiting >= WAITING_MAX.get() {
            return Err(Stop::Wait(QUEUE_WAIT));
        }
        let at_once = PIECE.min(NonZeroUsize::try_from(limit).unwrap_or(PIECE));
        let mut query = EventQuery::of(events.application);
        query.event_types.clone_from(&events.event_types);
        query.channel.clone_from(&events.channel);
        query.tag.clone_from(&events.tag);
        // What is published later has its delivery already.
        (query.after, query.before) = (Some(events.after), Some(events.before.min(task.created_at)));
        query.oldest_first = true;
        let request = PageRequest { limit: at_once, ..page(task.place.as_deref().and_then(event_at)) };
        let found = store.reads().events(&query, &request).await?;
        let mut wanted = Vec::new();
        for event in turn_page(next, found, |at| at.to_bytes().to_vec()) {
            if endpoint.wants(&event.event) && is_meant(store.reads(), &endpoint, &event, tried, whom).await? {
                wanted.push(event.id);
            }
        }
        drop(store);
        let (application, generation, at) = (events.application, endpoint.generation, self.clock.now());
        let replay = |event: EventId| {
            Write::Replay(Replay { application, event, endpoint: endpoint.id, generation, at, whom, limit: None })
        };
        let writes: Vec<_> = wanted.into_iter().map(replay).collect();
        let space = Space { added: u32::try_from(writes.len()).unwrap_or(u32::MAX), limit };
        next.progress.done += writes.len() as u64;
        self.note(task, next, writes, Some(Guard::Space(endpoint.id, generation, space))).await
    }

    async fn expunge_events(&self, task: &Task, next: &mut Task, owner: ApplicationId) -> Result<(), Stop> {
        let query = EventQuery { before: Some(task.created_at), oldest_first: true, ..EventQuery::of(owner) };
        let request = page(task.place.as_deref().and_then(event_at));
        let found = self.store.opened().await.reads().events(&query, &request).await?;
        let left = turn_page(next, found, |at| at.to_bytes().to_vec()).into_iter().filter(|event| !event.is_expunged);
        let writes: Vec<_> = left.map(|event| Write::Expunge(owner, event.id)).collect();
        next.progress.done += writes.len() as u64;
        self.note(task, next, writes, None).await
    }

    /// Commits these writes, and how far the task has come with them: to its end, if there is no place to go on from.
    async fn note(
        &self,
        task: &Task,
        next: &mut Task,
        mut writes: Vec<Write>,
        guard: Option<Guard>,
    ) -> Result<(), Stop> {
        if next.place.is_none() {
            next.status = TaskStatus::Finished;
        }
        let Batch { writes: own, guards, durability } = progress(next, task.revision);
        writes.extend(own);
        let batch = Batch { writes, guards: guards.into_iter().chain(guard).collect(), durability };
        match self.commit_task(task, batch).await? {
            Ok(_) => {
                self.tell_ended(next);
                Ok(())
            }
            Err(Refused::Corrupt) => Err(Stop::Failed("stored rows that it needs make no sense")),
            // There is no room, it was called off, its endpoint was changed, or the answer to the last piece was lost.
            Err(_) => Err(Stop::Wait(QUEUE_WAIT)),
        }
    }

    async fn commit_task(&self, task: &Task, batch: Batch) -> Result<Verdict, CommitError> {
        match task.work.application() {
            Some(application) => self.commit(application, batch).await,
            None => self.commit_for(task.organisation, batch).await,
        }
    }

    async fn fail_task(&self, task: Task, why: &str) -> Result<Task, Stop> {
        let (seen, failure, updated_at) = (task.revision, Some(why.into()), self.clock.now());
        let failed = Task { status: TaskStatus::Failed, failure, updated_at, revision: seen + 1, ..task };
        let batch = progress(&failed, seen);
        self.commit_task(&failed, batch).await?.map_err(|_| Stop::Wait(QUEUE_WAIT))?;
        self.tell_ended(&failed);
        Ok(failed)
    }

    pub(crate) fn tell_ended(&self, task: &Task) {
        if task.status != TaskStatus::Running {
            let Task { id, status, failure, progress, .. } = task;
            info!(task = %id, work = task.work.name(), ?status, ?failure, ?progress, "task ended");
            self.notify(Notice::TaskEnded(Arc::new(task.clone())));
        }
    }
}

fn page<C>(place: Option<C>) -> PageRequest<C> {
    PageRequest { part: place.map_or(Part::First, Part::After), limit: PIECE }
}

/// Where a task goes on among events. Earlier programs wrote more in front of the id.
fn event_at(place: &[u8]) -> Option<EventId> {
    place.last_chunk().copied().map(EventId::from_bytes)
}

/// Where a task goes on among dead letters.
fn letter_at(place: &[u8]) -> Option<DeliveryId> {
    let (endpoint, seq) = place.split_first_chunk()?;
    let seq = Seq(u64::from_be_bytes(seq.try_into().ok()?));
    Some(DeliveryId { endpoint: EndpointId::from_bytes(*endpoint), seq })
}

/// The items of a page, which are seen now; the task goes on after them.
fn turn_page<T, C>(next: &mut Task, found: Page<T, C>, written: impl Fn(C) -> Vec<u8>) -> Vec<T> {
    next.progress.seen += found.items.len() as u64;
    next.place = found.next.filter(|_| !found.is_last).map(written);
    found.items
}

/// Whether an event stands at the endpoint as a task asks for. What waits there is left alone.
async fn is_meant(
    reads: &dyn Reads,
    endpoint: &Endpoint,
    event: &StoredEvent,
    tried: &Tried,
    whom: ReplayTo,
) -> Result<bool, StoreError> {
    let record = reads.delivery(endpoint.application, event.id, endpoint.id).await?;
    Ok(match (record, whom) {
        (None, _) => *tried == Tried::default(),
        (Some(_), ReplayTo::Missing) => false,
        (Some(record), ReplayTo::All) => stands(&record, tried),
    })
}

fn stands(record: &DeliveryRecord, tried: &Tried) -> bool {
    let end = match record.state {
        DeliveryState::Delivered => Some(TriedEnd::Delivered),
        DeliveryState::GivenUp(_) => Some(TriedEnd::GivenUp),
        DeliveryState::Cancelled(_) => Some(TriedEnd::Cancelled),
        DeliveryState::Pending(_) => return false,
        DeliveryState::CutOff | DeliveryState::Manual => None,
    };
    let status = record.attempts.last().map_or(0, |last| last.outcome.status_code());
    let of_class = |class: u16| status / 100 * 100 == class;
    tried.end.is_none_or(|wanted| end == Some(wanted)) && tried.status_class.is_none_or(of_class)
}

#[cfg(test)]
mod tests;
