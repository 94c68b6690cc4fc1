//! Judges what a batch takes for granted.

use postrider_core::{AttemptId, Batch, Delivery, DeliveryId, EndpointId, Guard, RecordId, Refused, Step, Write};

use super::{Stop, Transaction};
use crate::{
    StoreError,
    kv::{keys::Key, rows, rows::QueueRow},
};

impl Transaction<'_> {
    pub(super) fn check(&mut self, guard: &Guard, batch: &Batch) -> Result<(), Stop> {
        let (holds, otherwise) = match guard {
            Guard::Routing(application, planned) => {
                (self.rows.get::<u64>(&Key::Routing(*application))? == Some(*planned), Refused::Routing)
            }
            Guard::Generation(endpoint, generation) => {
                let stored = self.queue(*endpoint)?.map(|queue| queue.generation);
                (stored == Some(*generation), Refused::Generation)
            }
            Guard::Room(letter, generation, limit) => {
                let is_full = self.counts.is_full(letter.endpoint, *generation, *limit);
                (!is_full || self.holds_its_place(*letter)?, Refused::QueueFull(letter.endpoint))
            }
            Guard::Space(endpoint, generation, space) => {
                (self.counts.has_space(*endpoint, *generation, *space), Refused::QueueFull(*endpoint))
            }
            Guard::Stands(delivery) => return self.stands(delivery, batch),
            Guard::Document(document, seen) => (self.document_revision(document)? == *seen, Refused::Revision),
            Guard::Revision(record, seen) => (self.revision(*record)? == *seen, Refused::Revision),
        };
        if holds { Ok(()) } else { Err(otherwise.into()) }
    }

    /// What guards ask of an endpoint; none if there is no such endpoint.
    pub(super) fn queue(&mut self, of: EndpointId) -> Result<Option<QueueRow>, StoreError> {
        self.rows.get(&Key::Queue(of))
    }

    /// Whether a dead letter holds its lane: its next life takes no place that it does not have.
    fn holds_its_place(&mut self, letter: DeliveryId) -> Result<bool, StoreError> {
        Ok(self.letter(letter)?.is_some_and(|letter| letter.last.is_held()))
    }

    fn stands(&mut self, delivery: &Delivery, batch: &Batch) -> Result<(), Stop> {
        let stored = self.rows.value(&Key::of(delivery))?;
        let queue = self.queue(delivery.id.endpoint)?;
        let is_cut_off = queue.is_none_or(|queue| queue.generation != delivery.generation);
        if let Some(stored) = stored.filter(|_| !is_cut_off)
            && rows::is_row_of(delivery, &stored)?
        {
            return Ok(());
        }
        Err(match self.stored_attempt(delivery, batch)? {
            Some(own) => Refused::Stands(Some(own)),
            None if is_cut_off => Refused::Generation,
            None => Refused::Stands(None),
        }
        .into())
    }

    /// The attempt that the batch brings for this delivery, if it is stored already.
    fn stored_attempt(&mut self, delivery: &Delivery, batch: &Batch) -> Result<Option<AttemptId>, Stop> {
        let brought = batch.writes.iter().find_map(|write| match write {
            Write::Outcome(transition) if transition.before.id == delivery.id => match &transition.step {
                Step::Attempted(attempt) => Some(attempt),
                Step::GaveUp | Step::Cancelled(_) => None,
            },
            Write::Outcome(_)
            | Write::Accept(_)
            | Write::Redrive(..)
            | Write::Resend(_)
            | Write::Replay(_)
            | Write::Forget(_)
            | Write::Soft(..)
            | Write::Wake(..)
            | Write::Application(_)
            | Write::DropApplication(_)
            | Write::Endpoint(_)
            | Write::DropEndpoint(_)
            | Write::Purge(..)
            | Write::Clock(..)
            | Write::Document(_)
            | Write::DropDocument(_)
            | Write::Expunge(..)
            | Write::ExpungeResponse(_)
            | Write::Agenda(_)
            | Write::Rescue(..) => None,
        });
        let Some(brought) = brought else { return Ok(None) };
        let key = Key::Attempt(delivery.id, delivery.life, brought.number, delivery.event);
        let Some(stored) = self.rows.value(&key)? else { return Ok(None) };
        let stored = rows::attempt_row(&stored)?.id;
        Ok(Some(stored).filter(|stored| *stored == brought.id))
    }

    fn revision(&mut self, record: RecordId) -> Result<u64, StoreError> {
        let revision = match record {
            RecordId::Application(id) => self.application(id)?.map(|stored| stored.revision),
            RecordId::Endpoint(id) => {
                let stored = self.rows.value(&Key::Endpoint(id))?;
                stored.map(|value| rows::endpoint(&value)).transpose()?.map(|stored| stored.revision)
            }
        };
        Ok(revision.unwrap_or_default())
    }
}
