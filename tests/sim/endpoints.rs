//! What the directory, the supervisors and the endpoint actors do: one slot an endpoint, one actor a slot, a mailbox whose
//! messages come late, attempts that outlive their actor.

use std::{sync::Arc, time::Duration};

use postrider_core::{
    ActorNo, Ask, AttemptPlan, Batch, Command, CommandId, Durability, EndpointId, EndpointMachine, Failure, Finished,
    Found, Input, LoadId, Outcome, Permit, Restored, Rows, Slot, SlotCommand, StoredEvent, Timestamp, Trigger,
    Unreadable, WindowShare,
};

use crate::{
    process::Who,
    world::{Inside, World},
};

/// Inputs heard before others have their turn.
const INPUTS_AT_ONCE: usize = 256;
const STORE_AWAY_WAIT: Duration = Duration::from_millis(100);

pub(crate) const fn name_of(plan: &AttemptPlan) -> CommandId {
    match plan.delivery.trigger() {
        Trigger::Scheduled => CommandId::Step(plan.delivery.id.seq),
        Trigger::Manual => CommandId::Manual(plan.delivery.id.seq),
    }
}

impl World {
    pub(crate) fn with_slot(&mut self, endpoint: EndpointId, change: impl FnOnce(&mut Slot) -> Option<SlotCommand>) {
        let command = change(&mut self.process.place(endpoint).slot);
        self.obey(endpoint, command);
    }

    pub(crate) fn with_known_slot(
        &mut self,
        endpoint: EndpointId,
        change: impl FnOnce(&mut Slot) -> Option<SlotCommand>,
    ) {
        let Some(place) = self.process.places.get_mut(&endpoint) else { return };
        let command = change(&mut place.slot);
        self.obey(endpoint, command);
    }

    fn obey(&mut self, endpoint: EndpointId, command: Option<SlotCommand>) {
        match command {
            None => {}
            Some(SlotCommand::Poke) => {
                let Some(actor) = self.process.places.get(&endpoint).map(|place| place.slot.actor()) else { return };
                let late = self.late();
                self.inside(late, Inside::Look(endpoint, actor));
            }
            Some(SlotCommand::Start(number)) => self.start_actor(endpoint, number),
            Some(SlotCommand::Rest(number, rest)) => self.inside(rest, Inside::RestOver(endpoint, number)),
        }
    }

    fn start_actor(&mut self, endpoint: EndpointId, number: ActorNo) {
        let Some(record) = self.process.registry.endpoint(endpoint).cloned() else {
            // Deleted: there is nothing to do for it any more.
            return self.drop_place(endpoint);
        };
        let (now, window, late) = (self.process_now(), self.limits.window, self.late());
        let place = self.process.place(endpoint);
        let restored = Restored { endpoint: record, inheritance: place.slot.inherit() };
        (place.leaving, place.timer) = (None, None);
        place.actor = Some((number, EndpointMachine::restore(restored, window, now)));
        self.note(format_args!("{endpoint} actor {number:?} starts"));
        self.inside(late, Inside::Look(endpoint, number));
    }

    /// Its actor goes; attempts go on, and are told to nobody.
    pub(crate) fn drop_place(&mut self, endpoint: EndpointId) {
        let Some(place) = self.process.places.remove(&endpoint) else { return };
        self.process.last_actor = self.process.last_actor.max(place.slot.actor());
        self.process.scanner.left(endpoint);
        self.let_go(endpoint, place.permits);
    }

    fn let_go(&mut self, endpoint: EndpointId, permits: Vec<Permit>) {
        if let Some(record) = self.process.registry.endpoint(endpoint) {
            self.process.permits.withdraw_all(record.application, endpoint);
        }
        permits.iter().for_each(|permit| self.process.permits.give_back(permit));
        self.grant();
    }

    /// The actor ends without having left: a panic, or the store is opened anew.
    pub(crate) fn end_actor(&mut self, endpoint: EndpointId) {
        let Some(place) = self.process.places.get_mut(&endpoint) else { return };
        let Some((number, _)) = place.actor.take() else { return };
        let (permits, command) = (std::mem::take(&mut place.permits), place.slot.actor_ended(number));
        self.let_go(endpoint, permits);
        self.obey(endpoint, command);
    }

    pub(crate) fn rest_over(&mut self, endpoint: EndpointId, actor: ActorNo) {
        self.with_known_slot(endpoint, |slot| slot.rest_over(actor));
    }

    /// A message in the mailbox: there is something in the slot.
    pub(crate) fn look(&mut self, endpoint: EndpointId, actor: ActorNo) {
        self.follow_up(endpoint, actor);
        for _ in 0..INPUTS_AT_ONCE {
            let Some(place) = self.process.place_of(endpoint, actor) else { return };
            let Some(input) = place.slot.hear() else { return self.leave(endpoint, actor) };
            self.tell(endpoint, actor, input);
        }
        self.inside(Duration::ZERO, Inside::Look(endpoint, actor));
    }

    /// A message in the mailbox: what was asked of the store.
    pub(crate) fn mail(&mut self, endpoint: EndpointId, actor: ActorNo, input: Input) {
        let Some(place) = self.process.place_of(endpoint, actor) else { return };
        if let Input::Loaded(_, found) = &input {
            place.slot.handles(Some(found));
        }
        self.tell(endpoint, actor, input);
        self.look(endpoint, actor);
    }

    pub(crate) fn deadline(&mut self, endpoint: EndpointId, actor: ActorNo, at: Timestamp) {
        let Some(place) = self.process.place_of(endpoint, actor) else { return };
        place.timer.take_if(|set_to| *set_to == at);
        self.tell(endpoint, actor, Input::DeadlineReached);
        self.look(endpoint, actor);
    }

    pub(crate) fn permit_arrives(&mut self, endpoint: EndpointId, permit: Permit) {
        let place = self.process.places.get_mut(&endpoint);
        let Some((place, actor)) =
            place.and_then(|place| place.actor.as_ref().map(|(no, _)| *no).map(|no| (place, no)))
        else {
            self.process.permits.give_back(&permit);
            return self.grant();
        };
        place.slot.works();
        place.permits.push(permit);
        self.tell(endpoint, actor, Input::Permitted);
        self.look(endpoint, actor);
    }

    fn tell(&mut self, endpoint: EndpointId, actor: ActorNo, input: Input) {
        let now = self.process_now();
        self.trace.note(self.now, format_args!("{endpoint} {actor:?} hears {}", in_words(&input)));
        let Some(place) = self.process.places.get_mut(&endpoint) else { return };
        place.leaving = None;
        let Some((_, machine)) = place.actor.as_mut().filter(|(no, _)| *no == actor) else { return };
        machine.handle(input, now, &mut self.dice);
        self.follow_up(endpoint, actor);
    }

    /// Carries out every command, and sets the one timer.
    fn follow_up(&mut self, endpoint: EndpointId, actor: ActorNo) {
        loop {
            let late = self.late();
            let Some(place) = self.process.place_of(endpoint, actor) else { return };
            let Some((_, machine)) = &mut place.actor else { return };
            let owner = machine.endpoint().application;
            let Some(command) = machine.poll_command() else { break };
            match command {
                Command::Load(id, ask, share) => {
                    place.slot.works();
                    self.inside(late, Inside::Picture(endpoint, actor, id, ask, share));
                }
                Command::AskPermit => {
                    place.slot.works();
                    self.process.permits.ask(owner, endpoint);
                    self.grant();
                }
                Command::ReturnPermit => {
                    if let Some(permit) = place.permits.pop() {
                        self.process.permits.give_back(&permit);
                        self.grant();
                    }
                }
                Command::Attempt(plan) => self.begin_attempt(endpoint, actor, plan),
                Command::Commit(id, batch) => {
                    place.slot.commits(id);
                    self.process.grouping.push_own(batch, Who::Machine(endpoint, id));
                    self.ring();
                }
                Command::Retire(wake) => place.leaving = Some(wake),
            }
        }
        let now = self.process_now();
        let Some(place) = self.process.place_of(endpoint, actor) else { return };
        let deadline = place.actor.as_ref().and_then(|(_, machine)| machine.next_deadline());
        if let Some(at) = deadline.filter(|at| place.timer.is_none_or(|set_to| *at < set_to)) {
            place.timer = Some(at);
            self.inside(at.since(now), Inside::Deadline(endpoint, actor, at));
        }
    }

    /// Last, because whatever the actor hears or begins afterwards takes it back.
    fn leave(&mut self, endpoint: EndpointId, actor: ActorNo) {
        let Some(place) = self.process.place_of(endpoint, actor) else { return };
        let Some(wake) = place.leaving.take() else { return };
        let Some(leave) = place.slot.ask_to_leave(actor) else { return };
        let nothing = Batch { guards: Vec::new(), writes: Vec::new(), durability: Durability::Relaxed };
        self.process.grouping.push_own(nothing, Who::Retirement(endpoint, leave, wake));
        self.ring();
    }

    /// Whoever's turn it is gets a permit, as a message.
    pub(crate) fn grant(&mut self) {
        while let Some(permit) = self.process.permits.poll_grant() {
            let late = self.late();
            self.inside(late, Inside::Permit(permit.endpoint, permit));
        }
    }

    fn begin_attempt(&mut self, endpoint: EndpointId, actor: ActorNo, plan: AttemptPlan) {
        let (id, late) = (name_of(&plan), self.late());
        let Some(place) = self.process.place_of(endpoint, actor) else { return };
        let Some(permit) = place.permits.pop() else {
            self.violated("C1", &format!("{id:?} of {endpoint} has no permit"))
        };
        let other = [CommandId::Step(plan.delivery.id.seq), CommandId::Manual(plan.delivery.id.seq)];
        if other.iter().any(|id| place.attempts.contains(id)) {
            self.violated("A2", &format!("{:?} is in flight already", plan.delivery.id));
        }
        place.slot.runs(AttemptPlan { event: None, ..plan.clone() });
        place.attempts.insert(id);
        self.process.in_flight.insert((endpoint, id), permit);
        self.judge_beginning(&plan);
        self.inside(late, Inside::Send(endpoint, actor, Box::new(plan)));
    }

    /// The event is at hand or read, and the request goes out.
    pub(crate) fn send(&mut self, endpoint: EndpointId, actor: ActorNo, plan: AttemptPlan) {
        let event = match &plan.event {
            Some(event) => Some(Arc::clone(event)),
            None if self.process.is_stalled => {
                return self.inside(STORE_AWAY_WAIT, Inside::Send(endpoint, actor, Box::new(plan)));
            }
            None => {
                let (owner, event) = (plan.endpoint.application, plan.delivery.event);
                self.read(|reads| async move { reads.event(owner, event).await }).map(Arc::new)
            }
        };
        let started = self.process_now();
        let finished = |took, outcome, unreadable| Finished {
            seq: plan.delivery.id.seq,
            trigger: plan.delivery.trigger(),
            url: Default::default(),
            started,
            took,
            outcome,
            response: Box::default(),
            unreadable,
        };
        let Some(event) = event else {
            let lost = finished(Duration::ZERO, Outcome::Failure(Failure::Lost), Unreadable::Yes);
            return self.inside(Duration::ZERO, Inside::Finish(endpoint, lost));
        };
        let (outcome, took, was_sent) = self.network.answer(&mut self.dice);
        if was_sent {
            self.judge_request(&plan, &event);
            self.ledger.sent += 1;
            self.network.received(endpoint, event.id, &outcome);
        }
        let finished = finished(took, outcome, Unreadable::No);
        self.note(format_args!(
            "{endpoint} {:?} attempt {:?}: {:?}",
            finished.seq,
            plan.delivery.next_attempt(),
            finished.outcome
        ));
        self.inside(took, Inside::Finish(endpoint, finished));
    }

    pub(crate) fn attempt_finished(&mut self, endpoint: EndpointId, finished: Finished) {
        let id = finished.command();
        if let Some(permit) = self.process.in_flight.remove(&(endpoint, id)) {
            self.process.permits.answered(permit.application, endpoint, finished.took);
            self.process.permits.give_back(&permit);
            self.grant();
        }
        let Some(place) = self.process.places.get_mut(&endpoint) else { return };
        if place.attempts.remove(&id) {
            self.with_known_slot(endpoint, |slot| slot.post(Input::AttemptFinished(finished)));
        }
    }

    /// Reads for a machine; the answer takes its time, and shows the store as it was.
    pub(crate) fn take_picture(
        &mut self,
        endpoint: EndpointId,
        actor: ActorNo,
        id: LoadId,
        ask: Ask,
        share: WindowShare,
    ) {
        if self.process.is_stalled {
            return self.inside(STORE_AWAY_WAIT, Inside::Picture(endpoint, actor, id, ask, share));
        }
        let Some(place) = self.process.place_of(endpoint, actor) else { return };
        let Some(generation) = place.actor.as_ref().map(|(_, machine)| machine.endpoint().generation) else { return };
        let found = self.read(|reads| async move { reads.window(endpoint, generation, ask, share).await });
        let found = self.within_budget(found);
        let late = self.late();
        self.note(format_args!("{endpoint} {id:?} {ask:?} finds {}", Self::found_in_words(&found)));
        self.inside(late, Inside::Tell(endpoint, actor, Input::Loaded(id, found)));
    }

    /// Payloads over the budget are dropped, and read again when they are sent.
    fn within_budget(&self, found: Found) -> Found {
        let Found::Rows(Rows { rows, is_last }) = found else { return found };
        let within = |event: Arc<StoredEvent>| {
            let lease = self.process.payloads.lease(event.event.payload.len())?;
            Some(Arc::new(StoredEvent { lease, ..StoredEvent::clone(&event) }))
        };
        let rows = rows.into_iter().map(|(delivery, event)| (delivery, event.and_then(within))).collect();
        Found::Rows(Rows { rows, is_last })
    }
}

fn in_words(input: &Input) -> String {
    match input {
        Input::Nudged(nudge) => format!("of {:?}", nudge.seq),
        Input::Loaded(id, found) => format!("{id:?}: {}", World::found_in_words(found)),
        Input::Committed(id, Ok(_)) => format!("{id:?} is committed"),
        Input::Committed(id, Err(refused)) => format!("{id:?} is refused: {refused:?}"),
        Input::AttemptFinished(finished) => format!("that {:?} ended", finished.command()),
        Input::Reconfigured(endpoint) => format!("that it is {:?}", endpoint.status),
        Input::Moved(moved) => format!("{moved:?}"),
        Input::Expunged(events) => format!("that {} payloads are gone", events.len()),
        Input::Permitted | Input::DeadlineReached | Input::Quiesced => format!("{input:?}"),
    }
}
