//! Does the work of tasks, a piece at a time, and notes after each piece how far it has come.
//!
//! Whose turn it is, is decided in `core/task_turns.rs`. A task that waits, for room in a queue or for the store, runs in
//! nothing meanwhile, and is read again before it goes on. What a piece puts into a queue and the note of it are one commit wherever they can be; where they cannot, a piece that
//! is done again after a crash finds nothing left to do.

mod counting;
mod letters;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use postrider_core::{
    ApplicationId, Batch, DocumentId, DocumentKind, Endpoint, EventId, GotOn, Guard, IdOr, OrganisationId, Refused,
    Replay, ReplayTo, Space, StoredEvent, Task, TaskId, TaskStatus, TaskTurn, TaskTurns, Work, Write,
    task::{Events, Tried, TriedEnd},
};
use postrider_storage::{
    DeliveryRecord, DeliveryState, DocumentQuery, EventQuery, Page, PageRequest, Part, Reads, StoreError, Verdict,
};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tracing::{info, warn};

use crate::{
    CommitError, Notice,
    catch::catch,
    dead_letters::redrive,
    inner::Inner,
    tasks::{document_of, progress, read},
};

/// Items of one piece.
const PIECE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);
/// Pieces that are done at a time.
const AT_ONCE: usize = 8;
/// A replay waits while so many deliveries wait at its endpoint: what is published meanwhile has not all of it ahead.
const WAITING_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);
/// After the store was not there.
const STORE_WAIT: Duration = Duration::from_secs(1);
/// Open tasks read at once.
const PAGE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Which tasks there are to run.
pub(crate) type NewTasks = mpsc::UnboundedReceiver<(OrganisationId, TaskId)>;

/// Runs what was open, and what is begun, until the engine ends.
pub(crate) async fn run(inner: Arc<Inner>, mut new: NewTasks) {
    let (mut turns, mut running) = (TaskTurns::new(AT_ONCE), JoinSet::new());
    let work = async {
        inner.find_open_tasks().await;
        loop {
            let now = inner.clock.now();
            while let Some((organisation, task)) = turns.begin(now) {
                let inner = Arc::clone(&inner);
                running.spawn(async move { (task, inner.turn(organisation, task).await) });
            }
            let next = turns.next();
            let rested = async {
                match next {
                    Some(at) => sleep(at.since(now)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                new = new.recv() => match new {
                    Some((organisation, task)) => turns.open(organisation, task),
                    None => return,
                },
                Some(Ok((task, (about, turn)))) = running.join_next() => {
                    turns.did(task, about, turn, inner.clock.now());
                }
                () = rested => {}
            }
        }
    };
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = work => {}
    }
    // What is done of a piece is done; the rest is done after the next start.
    running.shutdown().await;
}

/// How a piece came to its end.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// How far it came is stored, and more is left.
    Goes(GotOn),
    /// As that, and there is nothing more to do for now.
    Waits(GotOn),
}

/// Why a piece did not come to its end.
enum Stop {
    /// It is to be begun again later, from what is stored.
    Later,
    /// It cannot be done.
    Failed(&'static str),
}

impl From<StoreError> for Stop {
    fn from(_: StoreError) -> Self {
        Self::Later
    }
}

impl From<CommitError> for Stop {
    fn from(_: CommitError) -> Self {
        Self::Later
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

    /// One piece of a task, from what is stored of it: it may have been called off since the last one.
    async fn turn(&self, organisation: OrganisationId, task: TaskId) -> (Option<ApplicationId>, TaskTurn) {
        let id = document_of(organisation, task);
        let stored = match read(self.store.opened().await.reads(), &id).await {
            Ok(Some(stored)) if stored.status == TaskStatus::Running => stored,
            Ok(_) => return (None, TaskTurn::Over),
            Err(_) => return (None, TaskTurn::Rests(GotOn::No)),
        };
        let about = stored.work.application();
        let turn = catch(self.do_piece(stored)).await.unwrap_or_else(|_| {
            // Its next start would meet the same; a person has to look.
            warn!(%task, "task panicked, and is left until the next start");
            TaskTurn::Over
        });
        (about, turn)
    }

    async fn do_piece(&self, task: Task) -> TaskTurn {
        let mut next = task.clone();
        next.revision += 1;
        match self.piece(&task, &mut next).await {
            Ok(Piece::Goes(_)) if next.status != TaskStatus::Running => TaskTurn::Over,
            Ok(Piece::Goes(got_on)) => TaskTurn::Goes(got_on),
            Ok(Piece::Waits(got_on)) => TaskTurn::Rests(got_on),
            Err(Stop::Later) => TaskTurn::Rests(GotOn::No),
            Err(Stop::Failed(why)) => match self.fail_task(task, why).await {
                Ok(_) => TaskTurn::Over,
                Err(_) => TaskTurn::Rests(GotOn::No),
            },
        }
    }

    /// Does the next piece, and commits how far the task has come with it; `next` is the task after that, which has
    /// ended if nothing is left.
    async fn piece(&self, task: &Task, next: &mut Task) -> Result<Piece, Stop> {
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

    async fn replay_events(
        &self,
        task: &Task,
        next: &mut Task,
        events: &Events,
        tried: &Tried,
        whom: ReplayTo,
    ) -> Result<Piece, Stop> {
        let gone = Stop::Failed("its endpoint was deleted");
        let endpoint = self.registry.find_endpoint(events.application, &IdOr::Id(events.endpoint)).ok_or(gone)?;
        let limit = endpoint.policy.queue.deliveries;
        let store = self.store.opened().await;
        let waiting = store.reads().backlog(endpoint.id, endpoint.generation, WAITING_MAX).await?.queued;
        if waiting >= WAITING_MAX.get() {
            return Err(Stop::Later);
        }
        // As many as there is room for: the rest need not wait until there is room for all.
        let room = usize::try_from(limit.get()).unwrap_or(usize::MAX).saturating_sub(waiting);
        let room = room.min(self.pending.room(events.application));
        let at_once = PIECE.min(NonZeroUsize::new(room).ok_or(Stop::Later)?);
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

    async fn expunge_events(&self, task: &Task, next: &mut Task, owner: ApplicationId) -> Result<Piece, Stop> {
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
    ) -> Result<Piece, Stop> {
        if next.place.is_none() {
            next.status = TaskStatus::Finished;
        }
        let Batch { writes: own, guards, durability } = progress(next, task.revision);
        writes.extend(own);
        let batch = Batch { writes, guards: guards.into_iter().chain(guard).collect(), durability };
        match self.commit_task(task, batch).await? {
            Ok(_) => Ok(Piece::Goes(GotOn::Yes)),
            Err(Refused::Corrupt) => Err(Stop::Failed("stored rows that it needs make no sense")),
            // There is no room, it was called off, its endpoint was changed, or the answer to the last piece was lost.
            Err(_) => Err(Stop::Later),
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
        self.commit_task(&failed, batch).await?.map_err(|_| Stop::Later)?;
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
    let status = record.last.as_ref().map_or(0, |last| last.outcome.status_code());
    let of_class = |class: u16| status / 100 * 100 == class;
    tried.end.is_none_or(|wanted| end == Some(wanted)) && tried.status_class.is_none_or(of_class)
}

#[cfg(test)]
mod tests;
