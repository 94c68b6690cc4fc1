//! The store failed: lets go of it, answers whoever waits, keeps outcomes, opens it again, and reads anew.

use std::{
    error::Error,
    sync::{Arc, PoisonError},
    time::Duration,
};

use postrider_core::{DocumentId, DocumentKind, EndpointId};
use postrider_storage::{Store, StoreError, StoreErrorKind};
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::{
    CommitError, Notice,
    catalogue::Catalogue,
    catch::{Panicked, catch},
    commit_queue::Answer,
    committer::{Committer, InHand},
    documents,
    endpoint_actor::EndpointMsg,
    id_map::IdMap,
    inner::Inner,
    registry::Registry,
    settings::Settings,
};

pub(crate) const REOPEN_FIRST: Duration = Duration::from_millis(200);
const REOPEN_MAX: Duration = Duration::from_secs(10);
/// A store that was open for longer before it failed is well: waits begin anew.
const HOLDS: Duration = Duration::from_secs(30);

impl Committer {
    /// Callers are told to come back; outcomes are kept in their order, and committed first once the store is open again;
    /// then every machine reads anew, because what failed may be stored all the same. Says whether to go on: not if the
    /// engine ends meanwhile.
    pub(crate) async fn stall(&mut self, failed: &StoreError) -> bool {
        error!(error = failed as &dyn Error, "store failed, opening it again");
        let inner = Arc::clone(&self.inner);
        // One on disk opens again only when every handle to it is gone.
        inner.store.set(None);
        let goes_on = inner.lifecycle.stall();
        self.give_back();
        inner.turn_away();
        if !goes_on {
            // Whoever waits for outcomes to be stored waits in vain.
            inner.directory.settled.notify_one();
            return false;
        }
        inner.metrics.stalled();
        inner.notify(Notice::Stalled(failed.kind()));
        inner.end_actors();
        tokio::select! {
            biased;
            () = inner.lifecycle.closing() => {
                inner.turn_away();
                false
            }
            () = self.reopen() => true,
        }
    }

    /// Again and again, until it is open: after ever longer waits, also if it opens and fails again at once, as on a full
    /// disk, because opening writes what the journal holds.
    async fn reopen(&mut self) {
        if self.opened.is_some_and(|opened| opened.elapsed() > HOLDS) {
            self.reopen_after = REOPEN_FIRST;
        }
        let mut told = StoreErrorKind::Poisoned;
        loop {
            sleep(self.reopen_after).await;
            self.reopen_after = (self.reopen_after * 2).min(REOPEN_MAX);
            // Who asked just before the state was known.
            self.inner.turn_away();
            let Err(error) = self.open().await else { break };
            let (kind, wait) = (error.kind(), self.reopen_after);
            match kind {
                StoreErrorKind::Corrupt => {
                    error!(error = &error as &dyn Error, ?wait, "store is damaged, a person must look");
                }
                _ => warn!(error = &error as &dyn Error, ?wait, "store does not open yet"),
            }
            if kind != told {
                told = kind;
                self.inner.notify(Notice::Stalled(kind));
            }
        }
        self.opened = Some(Instant::now());
        info!("store is open again");
    }

    /// Reads first: a store that opens but cannot be read is let go of again.
    async fn open(&mut self) -> Result<(), StoreError> {
        let inner = &self.inner;
        // Opening may take its time: what was written since the last good moment is read and written anew.
        let store = catch(self.opener.open()).await.map_err(panicked)??;
        let tables = catch(Registry::read(store.reads())).await.map_err(panicked)??;
        let types = catch(Catalogue::read(store.reads())).await.map_err(panicked)??;
        let settings = catch(Settings::read(store.reads())).await.map_err(panicked)??;
        let mut open_tasks = Vec::new();
        let tasks = documents::every(store.reads(), DocumentKind::OpenTask, |task| open_tasks.push(task.id));
        catch(tasks).await.map_err(panicked)??;
        let asked = inner.registry.unproven();
        inner.registry.replace(tables);
        inner.catalogue.replace(types);
        inner.settings.replace(settings);
        inner.forget_wakes();
        inner.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        inner.queues_are_unknown();
        inner.store.set(Some(store));
        inner.lifecycle.resume();
        inner.metrics.resumed();
        inner.notify(Notice::Resumed);
        inner.tell_what_changed();
        inner.look_for_what_was_not_seen(&asked, &open_tasks);
        inner.commits.ring();
        Ok(())
    }

    /// What was in hand: outcomes go in front of all others, in their old order; retirements are asked for again by
    /// actors that still want to leave.
    fn give_back(&mut self) {
        let begun =
            std::mem::take(&mut self.in_hand).into_iter().flat_map(|InHand { batches, answers, asked, .. }| {
                let left = batches.iter().skip(asked - answers.len()).cloned().collect::<Vec<_>>();
                left.into_iter().zip(answers)
            });
        let mut kept = Vec::new();
        for (batch, answer) in begun.chain(std::mem::take(&mut self.put_off)) {
            match answer {
                Answer::Caller(caller) => caller.tell(Err(CommitError::unavailable())),
                Answer::Machine(..) => kept.push((batch, answer)),
                Answer::Retirement(..) => {}
            }
        }
        self.inner.commits.waiting().push_back_own(kept.into_iter());
    }
}

fn panicked(panic: Panicked) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "open the store", panic)
}

impl Inner {
    /// A reader met an error of this store: the committer opens it again.
    pub(crate) fn store_failed(&self, store: &Arc<dyn Store>, error: StoreError) {
        if error.kind() == StoreErrorKind::Corrupt || !self.store.is_current(store) {
            // One damaged row is no reason to stop everybody; and one that was let go of is being opened already.
            warn!(error = &error as &dyn Error, "could not read the store");
            return;
        }
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.commits.ring();
    }

    /// Everybody who waits to be committed hears that the store is away.
    fn turn_away(&self) {
        let waiting = self.commits.waiting().take_requests();
        for answer in waiting {
            match answer {
                Answer::Caller(caller) => caller.tell(Err(CommitError::unavailable())),
                // These are among our own, and are kept.
                Answer::Machine(..) | Answer::Retirement(..) => {}
            }
        }
    }

    /// Every actor ends: what it knows may be out of date. The next one reads the store as it then is, once what was in
    /// flight is committed.
    fn end_actors(&self) {
        for table in self.directory.tables() {
            for actor in table.actors() {
                let _ended_already = actor.send_message(EndpointMsg::Restore);
            }
        }
    }

    /// Which wake rows are stored is not known any more.
    fn forget_wakes(&self) {
        for mut table in self.directory.tables() {
            table.places().for_each(|place| place.slot.store_reopened());
        }
        self.wakes.store_reopened();
    }

    /// What failed may be stored all the same, and was never made visible: all that begins to be done when it is, is looked
    /// for. `asked` are the receivers that are asked for a proof already.
    fn look_for_what_was_not_seen(&self, asked: &IdMap<EndpointId, u64>, open_tasks: &[DocumentId]) {
        for (endpoint, revision) in self.registry.unproven() {
            if asked.get(&endpoint) != Some(&revision) {
                self.is_unproven(endpoint);
            }
        }
        open_tasks.iter().for_each(|task| self.task_opened(task));
        self.agenda.store_reopened();
        self.cut_off.notify_one();
        self.backlogs.search();
    }

    /// Actors that began while the store was away did so with records as they were before.
    fn tell_what_changed(self: &Arc<Self>) {
        let is_there = |endpoint| self.registry.has_endpoint(endpoint);
        self.permits.retain(is_there);
        self.open_breakers.retain(is_there);
        let known: Vec<_> = self.directory.tables().flat_map(|table| table.endpoints().collect::<Vec<_>>()).collect();
        for endpoint in known {
            match self.registry.endpoint(endpoint) {
                Some(_) => self.told_of(endpoint),
                None => self.drop_place(endpoint),
            }
        }
    }
}
