//! What the wake scanner and the purge do, and which wake rows are written with a group.

use std::{collections::BTreeSet, num::NonZeroUsize, time::Duration};

use postrider_core::{
    Batch, EndpointId, EndpointStatus, Guard, Input, RecordId, Step, Timestamp, WakeChange, WakeCommand, WakeKey,
    WakeTurn, Write,
};

use crate::{
    process::Who,
    world::{Inside, World},
};

const PIECE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9);

/// What changes among the wake rows with a group.
#[derive(Debug, Default)]
pub(crate) struct WakeChanges {
    pub(crate) writes: Vec<Write>,
    pub(crate) woken: Vec<EndpointId>,
    pub(crate) left_behind: Vec<Timestamp>,
    pub(crate) deleted: Vec<WakeKey>,
}

impl World {
    /// Earlier groups are in the slots by now, and retirements go first, so that whichever comes second sees the other.
    pub(crate) fn wake_changes(&mut self, group: &[(Batch, Who)]) -> WakeChanges {
        let mut changes = WakeChanges::default();
        for (_, who) in group {
            if let Who::Retirement(endpoint, leave, wake) = who {
                let place = self.process.places.get_mut(endpoint);
                let change = place.and_then(|place| place.slot.begin_leaving(*leave, *wake)).unwrap_or_default();
                self.replace_wakes(*endpoint, change, &mut changes);
            }
        }
        let now = self.process_now();
        let to: Vec<_> =
            group.iter().flat_map(|(batch, _)| &batch.writes).flat_map(|write| self.gives_work_to(write)).collect();
        for endpoint in to {
            if let Some(at) = self.process.place(endpoint).slot.wake_for_work(now) {
                changes.writes.push(Write::Wake(endpoint, None, Some(at)));
                self.note(format_args!("{endpoint} is to be woken, because of work: {at:?}"));
                changes.woken.push(endpoint);
            }
        }
        changes
    }

    fn replace_wakes(&mut self, endpoint: EndpointId, change: WakeChange, changes: &mut WakeChanges) {
        if change != WakeChange::default() {
            self.note(format_args!("{endpoint} leaves, and its wakes change: {change:?}"));
        }
        for at in &change.delete {
            self.process.deleting.insert((*at, endpoint));
            changes.deleted.push((*at, endpoint));
            changes.writes.push(Write::Wake(endpoint, Some(*at), None));
        }
        if let Some(at) = change.write {
            changes.writes.push(Write::Wake(endpoint, None, Some(at)));
            changes.left_behind.push(at);
        }
    }

    fn gives_work_to(&self, write: &Write) -> Vec<EndpointId> {
        match write {
            Write::Accept(acceptance) => acceptance.recipients.iter().map(|to| to.endpoint).collect(),
            Write::Redrive(letter, _) => vec![letter.endpoint],
            Write::Resend(resend) => vec![resend.endpoint],
            Write::Replay(replay) => vec![replay.endpoint],
            Write::Outcome(transition) => match transition.step {
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

    fn is_released_by(&self, changed: &postrider_core::Endpoint) -> bool {
        let known = self.process.registry.endpoint(changed.id);
        changed.status == EndpointStatus::Active && known.is_some_and(|known| known.status != EndpointStatus::Active)
    }

    /// The group is over that deleted these.
    pub(crate) fn deleted(&mut self, rows: Vec<WakeKey>) {
        for row in rows {
            self.process.deleting.remove(&row);
            if let Some(fence) = &mut self.process.fence {
                fence.insert(row);
            }
        }
    }

    pub(crate) fn look_after(&mut self, woken: &[EndpointId]) {
        for endpoint in woken {
            self.with_known_slot(*endpoint, |slot| match slot.is_occupied() {
                true => None,
                false => slot.post(Input::DeadlineReached),
            });
        }
    }

    /// The bell of the scanner.
    pub(crate) fn ring_scanner(&mut self) {
        if !self.process.is_scanning {
            let late = self.late();
            self.inside(late, Inside::Scan);
        }
    }

    pub(crate) fn scan(&mut self) {
        if self.process.is_scanning {
            return;
        }
        let now = self.process_now();
        match self.process.scanner.next(now) {
            WakeCommand::Sleep(None) => {}
            WakeCommand::Sleep(Some(at)) => self.inside(at.since(now), Inside::Scan),
            WakeCommand::Scan { .. } if self.process.is_stalled => self.inside(Duration::from_secs(1), Inside::Scan),
            WakeCommand::Scan { after, until, limit } => {
                self.process.is_scanning = true;
                self.process.fence = Some(BTreeSet::new());
                let rows = self.read(|reads| async move { reads.wakes(after, until, limit).await });
                let then = match rows.len() < limit.get() {
                    true => {
                        let last = rows.last().copied().or(after);
                        self.read(|reads| async move { reads.wakes(last, Timestamp::MAX, NonZeroUsize::MIN).await })
                    }
                    false => Vec::new(),
                };
                let then = then.first().map(|(at, _)| *at);
                let (opened, late) = (self.process.opened, self.late());
                self.inside(late, Inside::Scanned { rows, then, until, limit: limit.get(), opened });
            }
        }
    }

    pub(crate) fn scanned(
        &mut self,
        rows: &[WakeKey],
        then: Option<Timestamp>,
        until: Timestamp,
        limit: usize,
        opened: u64,
    ) {
        self.process.is_scanning = false;
        let fence = self.process.fence.take().unwrap_or_default();
        if self.process.opened == opened {
            for row in rows {
                self.found_wake(*row, &fence);
            }
            let limit = NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN);
            self.process.scanner.scanned(rows, limit, until, then);
        }
        self.scan();
    }

    fn found_wake(&mut self, row: WakeKey, fence: &BTreeSet<WakeKey>) {
        let (at, endpoint) = row;
        let Some(application) = self.process.registry.endpoint(endpoint).map(|record| record.application) else {
            let is_gone = Guard::Revision(RecordId::Endpoint(endpoint), 0);
            let delete = Batch::synced([Write::Wake(endpoint, Some(at), None)]).guarded(is_gone);
            let delete = delete.relaxed();
            self.process.grouping.push_own(delete, Who::Nobody);
            return self.ring();
        };
        match self.process.scanner.found(row, application) {
            WakeTurn::Later => return,
            WakeTurn::Now => {}
        }
        let now = self.process_now();
        if !self.process.place(endpoint).slot.is_occupied() {
            self.process.scanner.started(endpoint, application, now);
        }
        let was_deleted = fence.contains(&row) || self.process.deleting.contains(&row);
        self.with_slot(endpoint, |slot| {
            if !was_deleted {
                slot.found_wake(at);
            }
            if slot.is_occupied() {
                slot.works();
                return None;
            }
            slot.post(Input::DeadlineReached)
        });
    }

    pub(crate) fn begin_purge(&mut self) {
        if !self.process.is_purging {
            self.process.is_purging = true;
            self.inside(Duration::from_millis(50), Inside::Purge);
        }
    }

    /// A piece at a time, through the same door as everything else.
    pub(crate) fn purge(&mut self) {
        self.process.is_purging = false;
        if self.process.is_stalled {
            return self.begin_purge();
        }
        let cut_off = self.read(|reads| async move { reads.cut_off(NonZeroUsize::MIN).await });
        let Some(endpoint) = cut_off.first().copied() else { return };
        let piece = Batch::synced([Write::Purge(endpoint, PIECE)]).relaxed();
        self.process.grouping.push_own(piece, Who::Nobody);
        self.ring();
        self.begin_purge();
    }
}
