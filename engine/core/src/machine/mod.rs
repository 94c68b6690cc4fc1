//! Decides what one endpoint does next. The store is the queue; this holds a bounded window of it.
//!
//! Inputs go in, commands come out; time and dice are arguments, so every run can be replayed. A delivery starts when
//! nothing holds the endpoint ([`gate`]), when it is first in its order ([`queue`]), when a permit has come, and when a
//! token could be taken, in this sequence; what its attempt amounts to ([`settle`]) is committed before anything that
//! depends on it happens.

mod aging;
mod classes;
mod command;
mod commits;
mod due;
mod expiry;
mod flights;
mod gate;
mod input;
mod lanes;
mod limits;
mod loads;
mod queue;
mod settle;
mod startable;
mod unordered;
mod waiting;

use std::{collections::VecDeque, sync::Arc, time::Duration};

pub use command::{AttemptPlan, Command, CommandId, LoadId};
pub use input::{Ended, Finished, Input, Moved, Nudge, Unreadable};
pub use limits::{Restored, WindowLimits};
pub use waiting::{EndpointReport, Waiting};

use self::{
    aging::Aging,
    flights::Flights,
    gate::Gate,
    queue::{Heard, Item, Queue},
    settle::Whose,
    startable::Startable,
};
use crate::{
    Delivery, Dice, Endpoint, Failure, Found, GiveUpReason, OrderingMode, Outcome, PerPriority, Seq, SoftState,
    Timestamp, Trigger, check_invariant,
};

/// Shorter, and a machine that is asked to stay would ask again at once.
const LINGER_MIN: Duration = Duration::from_millis(1);

/// Decides what one endpoint does next.
#[derive(Debug)]
pub struct EndpointMachine {
    limits: WindowLimits,
    gate: Gate,
    queue: Queue,
    flights: Flights,
    permits_asked: usize,
    phase: Phase,
    /// In lanes: something may start that lies behind an end which is not synced yet; a sync is on its way.
    barrier: bool,
    poisoned: Option<Seq>,
    /// When the oldest life that could start gets too old, or earlier.
    next_expiry: Timestamp,
    /// When anything does.
    aging: Aging,
    /// A note of that is on its way.
    noting: bool,
    /// What an earlier actor sent as the probe of its breaker, until the state of that is read.
    probe: Option<Seq>,
    ends_since_note: u32,
    held: Option<Waiting>,
    deadline: Option<Timestamp>,
    idle_since: Option<Timestamp>,
    commands: VecDeque<Command>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// What a restart must not forgive is being read.
    Restoring,
    Running,
    /// Finishes what is in flight, and starts no more.
    Quiesced,
}

impl EndpointMachine {
    /// Knows what still runs, and asks the store for the rest. The bucket starts empty: a crash grants no burst.
    pub fn restore(restored: Restored, limits: WindowLimits, now: Timestamp) -> Self {
        let Restored { endpoint, inheritance } = restored;
        let mut queue = Queue::new(&endpoint, limits, inheritance.tail);
        let mut flights = Flights::default();
        let probe = inheritance.running.iter().find(|plan| plan.is_probe).map(|plan| plan.delivery.id.seq);
        for plan in inheritance.running {
            if plan.delivery.generation == endpoint.generation {
                queue.runs_already(&plan.delivery);
            }
            flights.begin(plan.delivery, plan.endpoint, now);
        }
        queue.read_soft();
        let mut machine = Self {
            limits,
            gate: Gate::new(endpoint, now),
            queue,
            flights,
            permits_asked: 0,
            phase: Phase::Restoring,
            barrier: false,
            poisoned: inheritance.poisoned,
            next_expiry: Timestamp::MAX,
            aging: Aging::new(limits.delivery_age_max, now),
            noting: false,
            probe,
            ends_since_note: 0,
            held: None,
            deadline: None,
            idle_since: None,
            commands: VecDeque::new(),
        };
        // The actor before this one may have ended a head without a sync.
        machine.put_barrier();
        machine.read_wanted();
        machine
    }

    /// Takes note of `input`; then [`poll_command`](Self::poll_command) until it says `None`.
    pub fn handle(&mut self, input: Input, now: Timestamp, dice: &mut dyn Dice) {
        match input {
            Input::Nudged(nudge) => self.nudged(nudge, now),
            Input::Loaded(id, Found::Soft(soft)) => self.soft_loaded(id, soft, now),
            Input::Loaded(id, Found::Aged(found)) => self.aged_found(id, found, now),
            Input::Loaded(id, Found::Rows(rows)) => {
                let flights = &self.flights;
                self.queue.loaded(id, rows, |item| flights.contains(&item.delivery));
                self.recall_expiry();
            }
            Input::Permitted => self.permitted(now),
            Input::AttemptFinished(finished) => self.attempt_finished(finished, now, dice),
            Input::Committed(id, committed) => self.committed(id, committed),
            Input::Moved(moved) => self.moved(moved),
            Input::Expunged(events) => self.queue.expunge(&events),
            Input::Reconfigured(endpoint) => self.reconfigured(endpoint, now),
            Input::DeadlineReached => {}
            Input::Quiesced => self.phase = Phase::Quiesced,
        }
        self.end_doomed(now);
        self.ask_permits(now);
        if self.phase != Phase::Restoring {
            self.queue.fill(self.held.is_none_or(|held| held.is_brief()));
        }
        self.search_aged(now);
        self.read_wanted();
        self.rest(now);
    }

    /// The next thing to do. Ask again after every [`handle`](Self::handle), until `None`.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When to say [`Input::DeadlineReached`]. Changes with `handle`, and with nothing else.
    pub const fn next_deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// Whether it had better begin anew from the store: a read stays without an answer, because what it would find makes no
    /// sense, and so much has changed meanwhile that the answer would be worth nothing.
    pub fn is_outlived(&self) -> bool {
        self.queue.is_outlived()
    }

    /// Why `delivery` is not being sent: asks the rules, in their order, that start attempts.
    pub fn why_waiting(&self, delivery: &Delivery, now: Timestamp) -> Waiting {
        if let Some(flight) = self.flights.get(flights::name(delivery)) {
            return Waiting::InFlight(flight.since);
        }
        if delivery.is_held() {
            return Waiting::Held;
        }
        if let Some(held) = self.holds_endpoint(delivery.trigger(), now) {
            return held;
        }
        match (self.queue.head_of(delivery), delivery.due()) {
            (Some(head), _) if head != delivery.id.seq => Waiting::Behind(head),
            (_, Some(due)) if now < due => Waiting::RetryAt(due),
            (Some(_) | None, Some(_) | None) => Waiting::Queued,
        }
    }

    /// What a machine looks like from outside.
    pub fn report(&self) -> EndpointReport {
        EndpointReport {
            tail: self.queue.tail(),
            ready: self.queue.ready(),
            waiting: self.queue.waiting(),
            lanes: self.queue.lanes(),
            in_flight: self.flights.in_flight(),
            uncommitted: self.flights.uncommitted(),
            loads: self.queue.loads(),
            breaker: self.gate.breaker_state(),
            held: self.held,
            could_not_send: self.gate.could_not_send().map(Into::into),
            next_due: self.queue.first_due(),
        }
    }

    /// The endpoint as it was last heard of.
    pub const fn endpoint(&self) -> &Arc<Endpoint> {
        self.gate.endpoint()
    }

    /// What holds the whole endpoint. Asked before a permit, and again when it comes; the token is taken last, so that
    /// nothing else wastes one.
    fn holds_endpoint(&self, trigger: Trigger, now: Timestamp) -> Option<Waiting> {
        if let Some(held) = self.gate.holds(trigger, now) {
            return Some(held);
        }
        if self.phase != Phase::Running || self.barrier {
            return Some(Waiting::Queued);
        }
        let crowded = self.flights.uncommitted() >= self.limits.uncommitted_attempts;
        if self.flights.in_flight() >= self.in_flight_max() || crowded {
            return Some(Waiting::InFlightLimit);
        }
        self.gate.rate_holds(now)
    }

    /// None of a class that was never attempted lies before these positions, as far as is known.
    fn heads(&self) -> PerPriority<Seq> {
        let (mut heads, first) = (self.queue.heads(), self.flights.first().unwrap_or(Seq::MAX));
        heads.iter_mut().for_each(|(_, head)| *head = first.min(*head));
        heads
    }

    fn in_flight_max(&self) -> usize {
        let policy = &self.gate.endpoint().policy;
        match policy.ordering {
            OrderingMode::Concurrent | OrderingMode::PerKey(_) => policy.max_in_flight.get() as usize,
            OrderingMode::Fifo(_) => 1,
        }
    }

    fn nudged(&mut self, nudge: Nudge, now: Timestamp) {
        self.idle_since = None;
        let current = self.gate.endpoint().generation;
        if nudge.newest.as_ref().is_some_and(|(delivery, _)| delivery.generation != current) {
            return;
        }
        match &nudge.newest {
            Some((delivery, _)) => {
                self.next_expiry = self.next_expiry.min(delivery.since + self.limits.delivery_age_max);
                self.aging.note(delivery.since);
            }
            None => self.aging.note_unheard(now),
        }
        if self.queue.nudged(nudge) == Heard::AfterAGap {
            self.put_barrier();
        }
    }

    fn reconfigured(&mut self, endpoint: Arc<Endpoint>, now: Timestamp) {
        self.idle_since = None;
        if endpoint.generation != self.gate.endpoint().generation {
            // Its queue was empty, or is cut off: whatever is in memory of it is gone.
            self.queue.renew(&endpoint);
            self.aging = Aging::new(self.limits.delivery_age_max, now);
        }
        let is_judged_anew = self.gate.reconfigure(endpoint, now);
        if is_judged_anew && self.phase != Phase::Restoring {
            // What was held against it may be on its way to the store, behind the change.
            self.note_soft(now);
        }
    }

    fn soft_loaded(&mut self, id: LoadId, soft: SoftState, now: Timestamp) {
        let running: Vec<_> = self.flights.running().collect();
        self.queue.soft_read(id);
        self.queue.begin_at(&soft.heads);
        self.aging.restore(soft.oldest);
        self.gate.restore(soft, &running, self.probe.take(), now);
        if self.phase == Phase::Restoring {
            self.phase = Phase::Running;
        }
    }

    fn moved(&mut self, moved: Moved) {
        self.idle_since = None;
        match moved {
            // Its attempt goes on, and its outcome will be refused.
            Moved::Cancelled(delivery) if self.flights.contains(&delivery) => {}
            Moved::Cancelled(delivery) => self.queue.removed(&delivery),
            Moved::Revived(delivery) => {
                self.next_expiry = self.next_expiry.min(delivery.since + self.limits.delivery_age_max);
                self.aging.note(delivery.since);
                self.queue.revived(delivery);
            }
            Moved::Resent(delivery) => {
                self.aging.note(delivery.since);
                self.queue.resent(delivery);
            }
        }
    }

    fn ask_permits(&mut self, now: Timestamp) {
        self.held = self.holds_endpoint(Trigger::Scheduled, now);
        if self.holds_endpoint(Trigger::Manual, now).is_some() {
            return;
        }
        // The breaker's probe is one, and a token is had one at a time; otherwise as many as could start.
        let single = self.held.is_some() || self.gate.is_probe_due(now) || self.gate.is_rated();
        let free = self.in_flight_max().saturating_sub(self.flights.in_flight());
        let most = if single { 1 } else { free };
        let wanted = most.saturating_sub(self.permits_asked);
        if wanted == 0 {
            return;
        }
        let may_start = self.startable(now);
        let startable = self.queue.startable(now, most, &may_start);
        for _ in self.permits_asked..startable {
            self.permits_asked += 1;
            self.commands.push_back(Command::AskPermit);
        }
    }

    /// Asked for when something may start.
    fn startable(&self, now: Timestamp) -> Startable<'_> {
        let only_by_hand = self.holds_endpoint(Trigger::Scheduled, now).is_some();
        Startable { flights: &self.flights, age_max: self.limits.delivery_age_max, now, only_by_hand }
    }

    fn permitted(&mut self, now: Timestamp) {
        self.permits_asked = self.permits_asked.saturating_sub(1);
        let may_start = self.startable(now);
        let is_held = self.holds_endpoint(Trigger::Manual, now).is_some();
        let startable = !is_held && self.queue.startable(now, 1, &may_start) > 0;
        if !startable || !self.gate.take_token(now) {
            return self.commands.push_back(Command::ReturnPermit);
        }
        self.start_next(now);
    }

    fn start_next(&mut self, now: Timestamp) {
        let only_by_hand = self.holds_endpoint(Trigger::Scheduled, now).is_some();
        let (flights, age_max) = (&self.flights, self.limits.delivery_age_max);
        let may_start = Startable { flights, age_max, now, only_by_hand };
        let avoided = self.gate.avoided(now);
        let Some(item) = self.queue.take(now, avoided, |delivery| may_start.has(delivery)) else {
            return self.commands.push_back(Command::ReturnPermit);
        };
        let Item { delivery, event } = item;
        check_invariant!(A2, !self.flights.is_busy(delivery.id.seq), "delivery {:?} is in flight already", delivery.id);
        self.gate.begins(delivery.id.seq, delivery.trigger(), now);
        let endpoint = Arc::clone(self.gate.endpoint());
        self.flights.begin(delivery.clone(), Arc::clone(&endpoint), now);
        let is_probe = self.gate.is_probe(delivery.id.seq);
        self.commands.push_back(Command::Attempt(AttemptPlan { delivery, event, endpoint, is_probe }));
    }

    fn attempt_finished(&mut self, finished: Finished, now: Timestamp, dice: &mut dyn Dice) {
        self.idle_since = None;
        let id = finished.command();
        let running = self.flights.get(id).filter(|flight| flight.end.is_none());
        let Some((before, asked)) = running.map(|flight| (flight.delivery.clone(), Arc::clone(&flight.endpoint)))
        else {
            return;
        };
        if finished.unreadable == Unreadable::Yes {
            self.gate.was_not_sent(before.id.seq, "event cannot be read", now);
            return self.give_up(&before, GiveUpReason::Unreadable, now);
        }
        if let Outcome::Failure(Failure::NotSent(why)) = &finished.outcome {
            // Our own fault: nothing is written, counted or held against the endpoint.
            self.flights.remove(id);
            self.gate.was_not_sent(before.id.seq, why, now);
            return self.queue.put_back(Item { delivery: before, event: None });
        }
        let endpoint = Arc::clone(self.gate.endpoint());
        // What another target answered says nothing of this one.
        let whose =
            if Arc::ptr_eq(&asked, &endpoint) || asked.target == endpoint.target { Whose::This } else { Whose::Former };
        let disable = match whose {
            Whose::This => self.gate.learn(before.id.seq, &finished.outcome, now),
            Whose::Former => None,
        };
        let expires = before.since + self.limits.delivery_age_max;
        let transition = settle::settle(&endpoint, &before, finished, whose, expires, now, dice);
        self.commit(transition, now);
        if let Some(reason) = disable {
            self.disable(reason, now);
        }
    }

    fn read_wanted(&mut self) {
        let loads = self.queue.wanted().map(|(id, ask, share)| Command::Load(id, ask, share));
        self.commands.extend(loads);
    }

    /// Sets the deadline, and asks to be let go if there is nothing to do for a while.
    fn rest(&mut self, now: Timestamp) {
        let busy = !self.flights.is_empty()
            || !self.queue.is_settled()
            || self.permits_asked > 0
            || self.barrier
            || self.noting
            || self.aging.is_searching()
            || self.phase != Phase::Running;
        if !busy {
            // What ended meanwhile is nothing to come back for.
            self.recall_expiry();
            self.recall_age();
        }
        let held = self.held;
        let next = match held {
            Some(held) => held.until(),
            None => self.queue.next_due_after(now),
        };
        let expiry = Some(self.next_expiry).filter(|at| *at != Timestamp::MAX);
        let next = [next, expiry, self.aging.next()].into_iter().flatten().filter(|at| now < *at).min();
        if busy {
            self.idle_since = None;
            self.deadline = next;
            return;
        }
        let linger = self.limits.linger.max(LINGER_MIN);
        let since = *self.idle_since.get_or_insert(now);
        let mut lingers = since + linger;
        if let Some(full) = self.gate.full_at() {
            lingers = lingers.max(full);
        }
        let soon = next.is_some_and(|at| at <= now + linger);
        if soon {
            self.deadline = next;
        } else if now < lingers {
            self.deadline = Some(next.map_or(lingers, |at| at.min(lingers)));
        } else {
            self.idle_since = Some(now);
            self.deadline = Some(now + linger);
            self.commands.push_back(Command::Retire(next));
        }
    }
}

#[cfg(test)]
mod tests;
