//! Long-running tasks of one organisation: asked for, watched, called off.

use std::{collections::BTreeMap, num::NonZeroUsize, time::Duration};

use postrider_core::{
    ApplicationId, Batch, Document, DocumentId, DocumentKind, EndpointId, Guard, IdOr, OrganisationId, Progress,
    RefusalClass, Refused, Task, TaskId, TaskStatus, Timestamp, Work, Write,
    task::{Counted, CountedBy, Events, Tried},
};
use postrider_storage::{DocumentQuery, Reads, StoreError};

use crate::{ListRequest, Listing, Notice, Order, Organisation, ReadError, TaskError, inner::TRIES, quota::Quota};

/// Tasks of one organisation that may run or wait at a time.
const OPEN_MAX: usize = 100;
/// A replay reaches back and ahead no further.
const REPLAY_SPAN_MAX: Duration = Duration::from_secs(14 * 24 * 3600 + 300);
/// Tasks that one list looks at, so that a filter that wants few ends.
const LOOKED_AT_MAX: usize = 1_000;

/// Tasks of one organisation.
#[derive(Clone, Copy, Debug)]
pub struct Tasks<'e> {
    pub(crate) scope: Organisation<'e>,
}

/// Which tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// That stand so; none is all.
    pub status: Option<TaskStatus>,
    /// Of this name, as [`Work::name`] says; none is all.
    pub name: Option<Box<str>>,
}

impl Tasks<'_> {
    /// Begins one. It is durable when this returns, and goes on where it was after a restart. It never fills a queue:
    /// it waits while many wait there, and what it puts there keeps to the endpoint's limits, as any delivery does.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn start(self, work: Work) -> Result<Task, TaskError> {
        let engine = self.scope.engine;
        self.check(&work)?;
        // Of one organisation one begins after another: what is open is counted in the store.
        let turn = engine.quotas.take(Quota::Tasks(self.scope.id), 1, 1, || 0).await;
        if self.open().await? >= OPEN_MAX {
            return Err(TaskError::TooMany { open_max: OPEN_MAX });
        }
        let now = engine.clock.now();
        let task = Task {
            id: TaskId::from_bytes(engine.fresh_id(now)),
            organisation: self.scope.id,
            work,
            status: TaskStatus::Running,
            progress: Progress::default(),
            counts: BTreeMap::new(),
            parts: 0,
            place: None,
            failure: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let open = Document { id: open(&task), revision: 1, value: Vec::new().into() };
        let writes = [stored(&task), Write::Document(Box::new(open))];
        engine.commit_new_for(self.scope.id, Batch::synced(writes), turn).await?.map_err(refused)?;
        Ok(task)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ReadError::NotFound`], or as it was read.
    pub async fn get(self, task: TaskId) -> Result<Task, ReadError> {
        let store = self.scope.engine.store.get()?;
        let found = read(store.reads(), &document_of(self.scope.id, task)).await?.ok_or(ReadError::NotFound)?;
        Ok(whole(store.reads(), found).await?)
    }

    /// By id, which is by age. A filter that wants few may give a part that is shorter than asked for, and says that it
    /// is not the last.
    ///
    /// # Errors
    /// As they were read.
    pub async fn list(self, filter: &TaskFilter, request: &ListRequest<TaskId>) -> Result<Listing<Task>, ReadError> {
        let store = self.scope.engine.store.get()?;
        let (after, turned) = (request.part.place().copied(), request.part.is_back());
        let mut query = DocumentQuery {
            organisation: Some(self.scope.id),
            after: after.map(|id| document_of(self.scope.id, id)),
            backward: (request.order == Order::Descending) != turned,
            ..DocumentQuery::all(DocumentKind::Task)
        };
        let (mut items, mut looked_at, mut is_last) = (Vec::new(), 0, false);
        while !is_last && items.len() <= request.limit.get() && looked_at < LOOKED_AT_MAX {
            let limit = request.limit.saturating_add(1);
            let found = store.reads().documents(&query, limit).await?;
            is_last = found.len() < limit.get();
            looked_at += found.len();
            query.after = found.last().map(|last| last.id.clone());
            items.extend(found.iter().filter_map(understood).filter(|task| filter.wants(task)));
        }
        is_last &= items.len() <= request.limit.get();
        items.truncate(request.limit.get());
        for item in &mut items {
            *item = whole(store.reads(), item.clone()).await?;
        }
        if turned {
            items.reverse();
        }
        Ok(Listing { items, is_last })
    }

    /// Calls one off. What it has done stays done.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn cancel(self, task: TaskId) -> Result<Task, TaskError> {
        let engine = self.scope.engine;
        for _ in 0..TRIES {
            let store = engine.store.get().map_err(TaskError::Read)?;
            let stored = read(store.reads(), &document_of(self.scope.id, task)).await.map_err(TaskError::Read)?;
            drop(store);
            let mut task = stored.ok_or(TaskError::NoSuchTask)?;
            if task.status != TaskStatus::Running {
                return Err(TaskError::HasEnded);
            }
            let seen = task.revision;
            task.status = TaskStatus::Cancelled;
            (task.updated_at, task.revision) = (engine.clock.now(), seen + 1);
            match engine.commit_for(self.scope.id, progress(&task, seen)).await?.map_err(refused) {
                Ok(_) => return Ok(task),
                // It made progress meanwhile.
                Err(TaskError::Contended) => {}
                Err(other) => return Err(other),
            }
        }
        Err(TaskError::Contended)
    }

    /// Begins one that puts into an endpoint's queue what was published in this time, its filter wants, and never was
    /// there: while the endpoint was disabled, say, or not yet made. At most 14 days.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn replay_missing(
        self,
        application: impl Into<IdOr<ApplicationId>>,
        endpoint: impl Into<IdOr<EndpointId>>,
        since: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<Task, TaskError> {
        let events = self.events(&application.into(), &endpoint.into(), since, until)?;
        self.start(Work::ReplayMissing(events)).await
    }

    /// Begins one that puts into an endpoint's queue what was published in this time and its filter wants, once more,
    /// however it ended; what waits there is left alone. At most 14 days.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn replay(
        self,
        application: impl Into<IdOr<ApplicationId>>,
        endpoint: impl Into<IdOr<EndpointId>>,
        since: Timestamp,
        until: Option<Timestamp>,
        only: ReplayFilter,
    ) -> Result<Task, TaskError> {
        let mut events = self.events(&application.into(), &endpoint.into(), since, until)?;
        (events.event_types, events.channel, events.tag) = (only.event_types, only.channel, only.tag);
        self.start(Work::Replay(events, only.tried)).await
    }

    /// Begins one that counts the events of these applications that were accepted in this time; none is all that there
    /// are. Its counts are shown with it.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn count(
        self,
        applications: Option<Vec<ApplicationId>>,
        after: Timestamp,
        before: Timestamp,
        by: CountedBy,
    ) -> Result<Task, TaskError> {
        if before <= after {
            return Err(TaskError::EmptyTime);
        }
        let (all, applications) = (applications.is_none(), applications.unwrap_or_default());
        self.start(Work::Count(Counted { applications, all, after, before, by })).await
    }

    /// When one has ended, as it then is.
    ///
    /// # Errors
    /// [`ReadError::NotFound`], or as it was read.
    pub async fn ended(self, task: TaskId) -> Result<Task, ReadError> {
        let mut notices = self.scope.engine.notices();
        loop {
            let found = self.get(task).await?;
            if found.status != TaskStatus::Running {
                return Ok(found);
            }
            loop {
                match notices.next().await {
                    Some(Notice::TaskEnded(ended)) if ended.id == task && ended.parts == 0 => {
                        return Ok(Task::clone(&ended));
                    }
                    Some(Notice::TaskEnded(ended)) if ended.id == task => break,
                    // It may have ended in a commit whose answer was lost.
                    Some(Notice::Missed(_) | Notice::Resumed) => break,
                    Some(_) => {}
                    None => return Ok(found),
                }
            }
        }
    }

    fn events(
        self,
        application: &IdOr<ApplicationId>,
        endpoint: &IdOr<EndpointId>,
        since: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<Events, TaskError> {
        let registry = &self.scope.engine.registry;
        let application = registry.find_application(self.scope.id, application).ok_or(TaskError::NotFound)?.id;
        let endpoint = registry.find_endpoint(application, endpoint).ok_or(TaskError::NotFound)?.id;
        let after = Timestamp::from_nanos(since.as_nanos().saturating_sub(1));
        let before = until.unwrap_or_else(|| self.scope.engine.clock.now());
        Ok(Events { application, endpoint, after, before, event_types: Vec::new(), channel: None, tag: None })
    }

    /// Whether the work is about things that this organisation has, and not about too much at once.
    fn check(self, work: &Work) -> Result<(), TaskError> {
        let is_ours = |application: ApplicationId| {
            let found = self.scope.engine.registry.find_application(self.scope.id, &application.into());
            found.map(|found| found.id).ok_or(TaskError::NotFound)
        };
        if let Work::Count(counted) = work {
            counted.applications.iter().try_for_each(|application| is_ours(*application).map(drop))?;
        }
        let Some(application) = work.application() else { return Ok(()) };
        is_ours(application)?;
        if let Some(endpoint) = work.endpoint() {
            let endpoint: EndpointId = endpoint;
            self.scope.engine.registry.find_endpoint(application, &endpoint.into()).ok_or(TaskError::NotFound)?;
        }
        match work {
            Work::ReplayMissing(events) | Work::Replay(events, _) => is_span(events.after, events.before),
            Work::Recover(letters) => match (letters.after, letters.before) {
                (Some(after), Some(before)) => is_span(after, before),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    async fn open(self) -> Result<usize, TaskError> {
        let query = DocumentQuery { organisation: Some(self.scope.id), ..DocumentQuery::all(DocumentKind::OpenTask) };
        let limit = NonZeroUsize::MIN.saturating_add(OPEN_MAX);
        Ok(self.scope.engine.store.get()?.reads().documents(&query, limit).await?.len())
    }
}

/// Which events are replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayFilter {
    /// Of these types; empty is all.
    pub event_types: Vec<Box<str>>,
    /// On this channel.
    pub channel: Option<Box<str>>,
    /// With this tag.
    pub tag: Option<Box<str>>,
    /// How they stand at the endpoint.
    pub tried: Tried,
}

impl TaskFilter {
    fn wants(&self, task: &Task) -> bool {
        self.status.is_none_or(|status| status == task.status)
            && self.name.as_deref().is_none_or(|name| name == task.work.name())
    }
}

fn is_span(after: Timestamp, before: Timestamp) -> Result<(), TaskError> {
    if before <= after {
        return Err(TaskError::EmptyTime);
    }
    if before.since(after) > REPLAY_SPAN_MAX { Err(TaskError::TimeTooLong) } else { Ok(()) }
}

pub(crate) fn document_of(organisation: OrganisationId, task: TaskId) -> DocumentId {
    DocumentId::new(DocumentKind::Task, organisation, task.to_string())
}

fn open(task: &Task) -> DocumentId {
    DocumentId::new(DocumentKind::OpenTask, task.organisation, task.id.to_string())
}

/// The write of a task as it is.
fn stored(task: &Task) -> Write {
    // Text, numbers and lists of them: there is nothing that JSON refuses.
    let value = serde_json::to_vec(task).expect("a task can be written as JSON").into();
    let id = document_of(task.organisation, task.id);
    Write::Document(Box::new(Document { id, revision: task.revision, value }))
}

/// A task that was `seen` so as it is now; one that has ended is not gone on with at the next start.
pub(crate) fn progress(task: &Task, seen: u64) -> Batch {
    let has_ended = task.status != TaskStatus::Running;
    let writes = [stored(task)].into_iter().chain(has_ended.then(|| Write::DropDocument(open(task))));
    Batch::synced(writes).guarded(Guard::Document(document_of(task.organisation, task.id), seen))
}

/// Counts that are kept beside a task.
pub(crate) fn part(task: &Task, number: u32, counts: &BTreeMap<Box<str>, u64>) -> Write {
    let value = serde_json::to_vec(counts).expect("names and numbers can be written as JSON").into();
    Write::Document(Box::new(Document { id: part_of(task, number), revision: 1, value }))
}

pub(crate) fn part_of(task: &Task, number: u32) -> DocumentId {
    DocumentId::new(DocumentKind::TaskPart, task.organisation, format!("{}/{number}", task.id))
}

/// A task with the counts that are kept beside it.
async fn whole(reads: &dyn Reads, mut task: Task) -> Result<Task, StoreError> {
    for number in 0..task.parts {
        let Some(document) = reads.document(&part_of(&task, number)).await? else { continue };
        let counts = serde_json::from_slice::<BTreeMap<Box<str>, u64>>(&document.value);
        let counts = counts.inspect_err(|error| tracing::error!(task = %task.id, %error, "counts are damaged"));
        for (name, count) in counts.unwrap_or_default() {
            *task.counts.entry(name).or_default() += count;
        }
    }
    Ok(task)
}

/// As it is stored now. One that makes no sense is none.
pub(crate) async fn read(reads: &dyn Reads, id: &DocumentId) -> Result<Option<Task>, StoreError> {
    Ok(reads.document(id).await?.as_ref().and_then(understood))
}

pub(crate) fn understood(document: &Document) -> Option<Task> {
    let read = serde_json::from_slice::<Task>(&document.value);
    read.inspect_err(|error| tracing::error!(task = %document.id.name, %error, "task is damaged and passed over")).ok()
}

fn refused(refused: Refused) -> TaskError {
    match refused.class() {
        RefusalClass::Corrupt => TaskError::Corrupt,
        RefusalClass::Stale | RefusalClass::Taken | RefusalClass::Full | RefusalClass::Gone => TaskError::Contended,
    }
}
