//! Keeps wake rows: an endpoint with something to do is active, or has a row no later than its earliest due time.
//!
//! The scanner starts whoever's time has come, in turns by application; rows are written and replaced while a group is put
//! together.

use std::{
    collections::HashSet,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{
    Batch, Endpoint, EndpointId, EndpointStatus, Guard, Input, RecordId, Step, Timestamp, WakeChange, WakeCommand,
    WakeKey, WakeScanner, WakeTurn, Write,
};
use postrider_storage::StoreError;
use tokio::{sync::Notify, time::sleep};

use crate::{
    commit_queue::{Answer, Pending},
    inner::Inner,
    store_call::answer_of,
};

/// After a read that failed; the committer opens the store anew meanwhile.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The scanner, and what its shell must remember.
#[derive(Debug)]
pub(crate) struct Wakes {
    scanner: Mutex<WakeScanner>,
    bell: Notify,
    fence: Mutex<Fence>,
}

/// What is being deleted: whoever reads such a row, before its group is over, reads one that will not be there.
#[derive(Debug, Default)]
struct Fence {
    is_reading: bool,
    /// By groups that are in hand.
    deleting: HashSet<WakeKey>,
    /// While rows are being read: by groups that are over.
    deleted: HashSet<WakeKey>,
    /// Counts how often the store was opened anew.
    opened: u64,
}

impl Wakes {
    pub(crate) fn new(active_max: NonZeroUsize) -> Self {
        let scanner = Mutex::new(WakeScanner::new(active_max.get()));
        Self { scanner, bell: Notify::new(), fence: Mutex::default() }
    }

    /// A row was written for this time.
    pub(crate) fn note(&self, at: Timestamp) {
        self.scanner().note(at);
        self.bell.notify_one();
    }

    /// The store was opened anew, and is read from its beginning.
    pub(crate) fn store_reopened(&self) {
        self.scanner().store_reopened();
        let mut fence = self.fence();
        fence.opened += 1;
        fence.deleting.clear();
        drop(fence);
        self.bell.notify_one();
    }

    /// There may be room for another one.
    pub(crate) fn actor_left(&self, endpoint: EndpointId) {
        if self.scanner().left(endpoint) {
            self.bell.notify_one();
        }
    }

    fn begin_reading(&self) -> u64 {
        let mut fence = self.fence();
        fence.is_reading = true;
        fence.opened
    }

    /// A row will be gone once its group is over.
    fn deletes(&self, row: WakeKey) {
        self.fence().deleting.insert(row);
    }

    /// The group is over that deleted these.
    pub(crate) fn deleted(&self, rows: &[WakeKey]) {
        if rows.is_empty() {
            return;
        }
        let mut fence = self.fence();
        for row in rows {
            fence.deleting.remove(row);
        }
        if fence.is_reading {
            fence.deleted.extend(rows);
        }
    }

    fn is_deleted(&self, row: WakeKey) -> bool {
        let fence = self.fence();
        fence.deleting.contains(&row) || fence.deleted.contains(&row)
    }

    fn end_reading(&self) {
        let mut fence = self.fence();
        fence.is_reading = false;
        fence.deleted = HashSet::new();
    }

    fn scanner(&self) -> MutexGuard<'_, WakeScanner> {
        self.scanner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fence(&self) -> MutexGuard<'_, Fence> {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What changes among the wake rows with a group.
#[derive(Debug, Default)]
pub(crate) struct WakeChanges {
    pub(crate) writes: Vec<Write>,
    /// For whom a row is written because of work.
    pub(crate) woken: Vec<EndpointId>,
    /// Times of rows that actors leave behind.
    pub(crate) left_behind: Vec<Timestamp>,
    /// Rows that are gone then.
    pub(crate) deleted: Vec<WakeKey>,
}

/// Starts whoever's time has come, until the engine ends.
pub(crate) async fn scan(inner: Arc<Inner>) {
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = scan_on(&inner) => {}
    }
}

async fn scan_on(inner: &Arc<Inner>) {
    loop {
        let command = inner.wakes.scanner().next(inner.clock.now());
        match command {
            WakeCommand::Sleep(None) => inner.wakes.bell.notified().await,
            WakeCommand::Sleep(Some(at)) => {
                let wait = at.since(inner.clock.now());
                tokio::select! {
                    () = inner.wakes.bell.notified() => {}
                    () = sleep(wait) => {}
                }
            }
            WakeCommand::Scan { after, until, limit } => {
                let scanned = inner.scan_once(after, until, limit).await;
                inner.wakes.end_reading();
                if scanned.is_err() {
                    sleep(AFTER_FAILURE).await;
                }
            }
        }
    }
}

impl Inner {
    async fn scan_once(
        self: &Arc<Self>,
        after: Option<WakeKey>,
        until: Timestamp,
        limit: NonZeroUsize,
    ) -> Result<(), StoreError> {
        let store = self.store.opened().await;
        let opened = self.wakes.begin_reading();
        let read = async {
            let rows = store.reads().wakes(after, until, limit).await?;
            let then = match rows.len() < limit.get() {
                true => store.reads().wakes(rows.last().copied().or(after), Timestamp::MAX, NonZeroUsize::MIN).await?,
                false => Vec::new(),
            };
            Ok((rows, then))
        };
        let read = answer_of("read who is to be woken", read).await;
        let (rows, then) = read.inspect_err(|error| self.store_failed(&store, error.clone()))?;
        drop(store);
        if self.wakes.fence().opened != opened {
            return Ok(());
        }
        let gone: Vec<_> = rows.iter().filter_map(|row| self.found_wake(*row)).collect();
        // What was noted while this read ran may lie before it; what was not seen is asked for again.
        self.wakes.scanner().scanned(&rows, limit, until, then.first().map(|(at, _)| *at));
        // One read of them after another: there may be a million.
        for deleted in gone {
            let _it_stays_if_not = deleted.answer().await;
        }
        Ok(())
    }

    /// Looks at the endpoint of a row, if it is its turn. The row is deleted if that is gone.
    fn found_wake(self: &Arc<Self>, row: WakeKey) -> Option<Pending> {
        let (at, endpoint) = row;
        let Some(record) = self.registry.endpoint(endpoint) else {
            // Its endpoint was deleted, if the store says so, too.
            let is_gone = Guard::Revision(RecordId::Endpoint(endpoint), 0);
            let delete = Batch::synced([Write::Wake(endpoint, Some(at), None)]).guarded(is_gone).relaxed();
            return Some(self.commits.submit_own(delete));
        };
        match self.wakes.scanner().found(row, record.application) {
            WakeTurn::Later => return None,
            WakeTurn::Now => {}
        }
        self.with_slot(endpoint, |slot| {
            if !self.wakes.is_deleted(row) {
                slot.found_wake(at);
            }
            if slot.is_occupied() {
                // It must not leave in the belief that somebody comes to look for this row.
                slot.works();
                return None;
            }
            self.wakes.scanner().started(endpoint, record.application, self.clock.now());
            slot.post(Input::DeadlineReached)
        });
        None
    }

    /// What changes among the wake rows with this group: earlier groups are in the slots by now, and retirements go
    /// first, so that whichever comes second sees the other. One batch without guards: a refused accept leaves a row that
    /// is there, and no belief in one that is not.
    pub(crate) fn wake_changes(&self, group: &[(Batch, Answer)]) -> WakeChanges {
        let mut changes = WakeChanges::default();
        for (_, answer) in group {
            if let Answer::Retirement(endpoint, leave, wake) = answer {
                let mut table = self.directory.lock(*endpoint);
                let change = table.known(*endpoint).and_then(|place| place.slot.begin_leaving(*leave, *wake));
                self.replace_wakes(*endpoint, change.unwrap_or_default(), &mut changes);
            }
        }
        let now = self.clock.now();
        for endpoint in group.iter().flat_map(|(batch, _)| &batch.writes).flat_map(|write| self.gives_work_to(write)) {
            let wake = self.directory.lock(endpoint).place(endpoint).slot.wake_for_work(now);
            if let Some(at) = wake {
                changes.writes.push(Write::Wake(endpoint, None, Some(at)));
                changes.woken.push(endpoint);
            }
        }
        changes
    }

    fn replace_wakes(&self, endpoint: EndpointId, change: WakeChange, changes: &mut WakeChanges) {
        for at in &change.delete {
            self.wakes.deletes((*at, endpoint));
            changes.deleted.push((*at, endpoint));
            changes.writes.push(Write::Wake(endpoint, Some(*at), None));
        }
        if let Some(at) = change.write {
            changes.writes.push(Write::Wake(endpoint, None, Some(at)));
            changes.left_behind.push(at);
        }
    }

    /// Endpoints that a write gives work to.
    fn gives_work_to(&self, write: &Write) -> Vec<EndpointId> {
        match write {
            Write::Accept(acceptance) => acceptance.recipients.iter().map(|to| to.endpoint).collect(),
            Write::Redrive(letter, _) => vec![letter.endpoint],
            Write::Resend(resend) => vec![resend.endpoint],
            Write::Replay(replay) => vec![replay.endpoint],
            Write::Outcome(transition) => match transition.step {
                // It may have held its lane.
                Step::Cancelled(_) => vec![transition.before.id.endpoint],
                Step::Attempted(_) | Step::GaveUp => Vec::new(),
            },
            Write::Endpoint(endpoint) if self.is_released_by(endpoint) => vec![endpoint.id],
            Write::Endpoint(_) | Write::Application(_) | Write::DropApplication(_) | Write::DropEndpoint(_) => {
                Vec::new()
            }
            Write::Forget(_) | Write::Soft(..) | Write::Wake(..) | Write::Purge(..) | Write::Clock(..) => Vec::new(),
            Write::Document(_) | Write::DropDocument(_) => Vec::new(),
            Write::Expunge(..) | Write::ExpungeResponse(_) | Write::Agenda(_) | Write::Rescue(..) => Vec::new(),
        }
    }

    /// Whether a change lets a queue go on that was held: whoever was held may have left without a wake row.
    fn is_released_by(&self, changed: &Endpoint) -> bool {
        let known = self.registry.endpoint(changed.id);
        changed.status == EndpointStatus::Active && known.is_some_and(|known| known.status != EndpointStatus::Active)
    }

    /// Whoever got a wake row and nothing in its slot: a queue that goes on again is looked at; and if the batch was refused,
    /// the row is taken away.
    pub(crate) fn look_after(self: &Arc<Self>, woken: &[EndpointId]) {
        for endpoint in woken {
            self.with_known_slot(*endpoint, |slot| match slot.is_occupied() {
                true => None,
                false => slot.post(Input::DeadlineReached),
            });
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
