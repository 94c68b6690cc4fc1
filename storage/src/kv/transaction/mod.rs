//! Applies the batches of one group, one after another, each whole or not at all, and says what became of each write.

mod accept;
mod clock;
mod documents;
mod guards;
mod lives;
mod outcome;
mod purge;
mod records;
mod replay;
mod retention;

use std::{collections::BTreeSet, sync::Arc};

use postrider_core::{ApplicationId, Batch, Committed, Effect, EventId, Refused, Seq, Timestamp, Week, Write};

use super::{
    Partition,
    counts::Counts,
    cut_off::CutPiece,
    keys::{Key, meta},
    rows::{self, EventHead, LastEvent},
    staged::{Staged, StagedRows},
};
use crate::{StoreError, StoreErrorKind, Verdict};

/// Positions that are reserved at once. A reservation is synced, so that no position is drawn again after a power cut
/// that took the rows of some of them; what is left of it when the store is closed stays unused.
const RESERVED_AT_ONCE: u64 = 1 << 16;

/// What a store gave out so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct GivenOut {
    /// The last position.
    pub(super) seq: Seq,
    /// No position above this was ever given out by an earlier opening, or will be before it is raised.
    pub(super) reserved: Seq,
    pub(super) last_event: LastEvent,
    /// It is or was this late, and up to some seconds later.
    pub(super) latest: Timestamp,
}

/// A group that is being applied.
pub(super) struct Transaction<'a> {
    rows: Staged<'a>,
    counts: &'a mut Counts,
    given_out: GivenOut,
    before: GivenOut,
    /// Every partition that may hold events.
    partitions: &'a mut BTreeSet<Partition>,
    /// The week whose needed events are put where they last.
    rescue: &'a mut Option<Rescue>,
    /// What the next piece of a purge removes, if that was looked for.
    cut_off: &'a mut Option<CutPiece>,
    /// The event that was last asked about.
    head: Option<((ApplicationId, EventId), Arc<EventHead>)>,
}

/// How far the needed events of a week have been put where they last.
#[derive(Clone, Debug)]
pub(super) struct Rescue {
    week: Week,
    /// The last key that was looked at.
    after: Vec<u8>,
}

/// What a group comes to.
pub(super) struct Applied {
    pub(super) rows: StagedRows,
    pub(super) given_out: GivenOut,
    /// It begins a reservation, which must be synced with it.
    pub(super) reserves: bool,
}

/// Why a batch is not applied.
enum Stop {
    Refused(Refused),
    Failed(StoreError),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl<'a> Transaction<'a> {
    pub(super) fn new(
        rows: Staged<'a>,
        counts: &'a mut Counts,
        given_out: GivenOut,
        partitions: &'a mut BTreeSet<Partition>,
        rescue: &'a mut Option<Rescue>,
        cut_off: &'a mut Option<CutPiece>,
    ) -> Self {
        Self { rows, counts, given_out, before: given_out, partitions, rescue, cut_off, head: None }
    }

    /// All of a batch, or nothing and why. Later batches see what earlier ones wrote.
    pub(super) fn apply(&mut self, batch: &Batch) -> Result<Verdict, StoreError> {
        let (mark, given_out) = (self.rows.mark(), self.given_out);
        self.counts.begin();
        let refused = match self.try_apply(batch) {
            Ok(committed) => return Ok(Ok(committed)),
            Err(Stop::Refused(refused)) => refused,
            // One damaged row must not stop everyone whose batch shares a group with it.
            Err(Stop::Failed(error)) if error.kind() == StoreErrorKind::Corrupt => Refused::Corrupt,
            Err(Stop::Failed(error)) => return Err(error),
        };
        self.rows.roll_back(mark);
        self.head = None;
        self.counts.roll_back();
        self.given_out = given_out;
        Ok(Err(refused))
    }

    /// The rows to write, with what was given out.
    pub(super) fn finish(mut self) -> Applied {
        let GivenOut { seq: _, reserved, last_event, latest } = self.given_out;
        let reserves = reserved != self.before.reserved;
        if reserves {
            self.rows.put(&Key::Meta(meta::RESERVED), &reserved);
        }
        if last_event != self.before.last_event {
            self.rows.put(&Key::Meta(meta::LAST_EVENT), &last_event);
        }
        if latest != self.before.latest {
            self.rows.put(&Key::Meta(meta::LATEST), &latest);
        }
        Applied { rows: self.rows.into_rows(), given_out: self.given_out, reserves }
    }

    fn try_apply(&mut self, batch: &Batch) -> Result<Committed, Stop> {
        batch.guards.iter().try_for_each(|guard| self.check(guard, batch))?;
        let effects = batch.writes.iter().map(|write| self.write(write)).collect::<Result<_, _>>()?;
        Ok(Committed { effects, queued: self.counts.report() })
    }

    fn write(&mut self, write: &Write) -> Result<Effect, Stop> {
        match write {
            Write::Accept(acceptance) => self.accept(acceptance),
            Write::Outcome(transition) => {
                self.happened(transition);
                self.outcome(transition)
            }
            Write::Redrive(delivery, at) => self.redrive(*delivery, *at),
            Write::Resend(resend) => self.resend(resend),
            Write::Replay(replay) => self.replay(replay),
            Write::Forget(delivery) => self.forget(*delivery),
            Write::Soft(endpoint, soft) => {
                // The queue of an endpoint that is gone may be purged already: nothing must come after.
                if self.queue(*endpoint)?.is_some() {
                    self.rows.put_with(&Key::Soft(*endpoint), |value| rows::encode_soft(soft, value));
                }
                Ok(Effect::Done)
            }
            Write::Wake(endpoint, was, is) => {
                was.iter().for_each(|at| self.rows.delete(&Key::Wake(*at, *endpoint)));
                is.iter().for_each(|at| self.rows.put(&Key::Wake(*at, *endpoint), endpoint));
                Ok(Effect::Done)
            }
            Write::Application(application) => self.put_application(application),
            Write::DropApplication(application) => self.drop_application(*application),
            Write::Endpoint(endpoint) => self.put_endpoint(endpoint),
            Write::DropEndpoint(endpoint) => self.drop_endpoint(*endpoint),
            Write::Document(document) => Ok(self.put_document(document)),
            Write::DropDocument(document) => {
                self.rows.delete(&Key::Document(document));
                Ok(Effect::Done)
            }
            Write::Expunge(application, event) => self.expunge(*application, *event),
            Write::ExpungeResponse(place) => self.expunge_response(place),
            Write::Agenda(item) => {
                self.rows.delete(&Key::Agenda(*item));
                Ok(Effect::Done)
            }
            Write::Rescue(week, rows_max) => self.rescue(*week, *rows_max),
            Write::Purge(endpoint, rows_max) => self.purge(*endpoint, *rows_max),
            Write::Clock(now, rows_max) => self.clock(*now, *rows_max),
        }
    }

    /// The next position. Whatever takes a place in a queue draws it here.
    fn draw_seq(&mut self) -> Seq {
        let seq = self.given_out.seq.next();
        if seq > self.given_out.reserved {
            self.given_out.reserved = Seq(seq.0.saturating_add(RESERVED_AT_ONCE - 1));
        }
        self.given_out.seq = seq;
        seq
    }
}
