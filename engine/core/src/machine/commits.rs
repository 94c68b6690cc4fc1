//! What is committed, and what may happen once it is: durable first, then visible.

use super::{
    Command, CommandId, Ended, EndpointMachine,
    flights::{self, End},
    queue::Item,
    settle,
};
use crate::{
    Batch, Delivery, DisableReason, Durability, Endpoint, GiveUpReason, Guard, RecordId, Refused, Step, Timestamp,
    Transition, Write,
};

/// After so many ends the position of the first row is noted, so that a restart does not scan what is gone.
const ENDS_PER_NOTE: u32 = 256;

impl EndpointMachine {
    pub(super) fn give_up(&mut self, before: &Delivery, reason: GiveUpReason, now: Timestamp) {
        let transition = settle::give_up(self.gate.endpoint(), before, reason, now);
        self.commit(transition, now);
    }

    /// Commits a step of a delivery that is in flight.
    pub(super) fn commit(&mut self, transition: Transition, now: Timestamp) {
        let before = &transition.before;
        let id = flights::name(before);
        // Another one waits behind this end: a power cut must not bring it back after its successor went out.
        let released = transition.after.is_none() && self.queue.has_successor(before);
        // A manual success ends the scheduled row beside it, which may hold a lane.
        let by_hand = transition.after.is_none() && matches!(id, CommandId::Manual(_));
        let synced = released || by_hand || transition.dead.is_some();
        let attempt = match &transition.step {
            Step::Attempted(attempt) => Some(attempt.id),
            Step::GaveUp | Step::Cancelled(_) => None,
        };
        self.flights.ends(id, End { after: transition.after.clone(), attempt, synced });
        let guards = vec![Guard::Generation(before.id.endpoint, before.generation), Guard::Stands(before.clone())];
        let mut writes = Vec::with_capacity(2);
        self.ends_since_note += 1;
        let note = self.ends_since_note >= ENDS_PER_NOTE && !self.queue.is_laned();
        let (heads, oldest) = (self.heads(), self.aging.stored(now));
        if let Some(soft) = self.gate.soft_change(heads, oldest, note) {
            self.ends_since_note = 0;
            writes.push(Write::Soft(before.id.endpoint, soft));
        }
        writes.push(Write::Outcome(Box::new(transition)));
        let durability = if synced { Durability::Synced } else { Durability::Relaxed };
        self.commands.push_back(Command::Commit(id, Batch { guards, writes, durability }));
    }

    pub(super) fn disable(&mut self, reason: DisableReason, now: Timestamp) {
        let endpoint = self.gate.endpoint();
        let disabled = Endpoint {
            status: endpoint.status.disabled(reason),
            updated_at: now,
            revision: endpoint.revision + 1,
            ..(**endpoint).clone()
        };
        let guard = Guard::Revision(RecordId::Endpoint(endpoint.id), endpoint.revision);
        let batch = Batch::synced([Write::Endpoint(Box::new(disabled))]).guarded(guard);
        self.commands.push_back(Command::Commit(CommandId::Disable, batch));
    }

    /// Nothing starts in lanes before everything committed so far is synced.
    pub(super) fn put_barrier(&mut self) {
        if self.queue.is_laned() && !self.barrier {
            self.barrier = true;
            self.commands.push_back(Command::Commit(CommandId::Soft, Batch::synced([])));
        }
    }

    pub(super) fn committed(&mut self, id: CommandId, committed: Result<Ended, Refused>) {
        self.idle_since = None;
        match id {
            CommandId::Soft => self.barrier = false,
            CommandId::Note => {
                self.noting = false;
                if committed.is_err() {
                    self.gate.soft_uncertain();
                }
            }
            CommandId::Disable => {
                if committed.is_err() {
                    self.gate.disabling_refused();
                }
            }
            CommandId::Step(_) | CommandId::Manual(_) => self.step_committed(id, committed),
        }
    }

    fn step_committed(&mut self, id: CommandId, committed: Result<Ended, Refused>) {
        let Some(flight) = self.flights.get(id) else { return };
        let Some(End { after, attempt, synced }) = flight.end.clone() else { return };
        let own = |refused: &Refused| attempt.is_some_and(|attempt| refused.is_own(attempt));
        let stored = committed.as_ref().err().is_none_or(own);
        if !stored {
            self.gate.soft_uncertain();
        }
        let ends = after.is_none() || !stored;
        if ends && !synced && self.queue.has_successor(&flight.delivery) {
            // It had none when its end was committed, without a sync; now one waits, and must not overtake it.
            self.flights.ends(id, End { after: after.filter(|_| stored), attempt: None, synced: true });
            return self.commands.push_back(Command::Commit(id, Batch::synced([])));
        }
        let Some(flight) = self.flights.remove(id) else { return };
        if let Some(scheduled) = committed.ok().and_then(|Ended(scheduled)| scheduled) {
            self.queue.removed(&scheduled);
        }
        // Refused: its life was ended by somebody else, and the lane goes on.
        let after = after.filter(|_| stored).map(|delivery| Item { delivery, event: None });
        self.queue.stepped(&flight.delivery, after);
    }
}
