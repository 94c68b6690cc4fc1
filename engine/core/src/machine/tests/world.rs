//! One endpoint in a world where every answer comes late: reads show an old picture, commits wait for their group,
//! actors crash, and the power is cut. Deterministic: a seed decides everything.
//!
//! Run one again with `MACHINE_SEED=<seed> cargo test -p postrider-core world`, and see it with `MACHINE_TRACE=1`; run more
//! with `MACHINE_SEEDS=<count>`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use super::model::{Model, State};
use crate::{
    ActorNo, Ask, Batch, Command, CommandId, Delivery, DeliveryId, Dice, Durability, Endpoint, EndpointMachine,
    EndpointSpec, EndpointStatus, Event, EventId, Failure, Finished, Found, Generation, Input, LaneId, Leave, Life,
    LoadId, Moved, OnExhausted, OrderingKey, OrderingMode, Outcome, Place, Priority, Restored, RetryPolicy, Seq, Slot,
    SlotCommand, SplitMix, StoredEvent, Timestamp, Trigger, Unreadable, WindowLimits, WindowShare,
    machine::tests::by_hand::endpoint_of,
};

#[test]
fn what_is_promised_holds_in_a_world_where_every_answer_comes_late() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = number("MACHINE_SEED").map_or(0..number("MACHINE_SEEDS").unwrap_or(200), |seed| seed..seed + 1);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| World::new(seed).run());
        assert!(outcome.is_ok(), "repeat with MACHINE_SEED={seed} cargo test -p postrider-core world");
    }
}

/// How long what is too old may still be there: crashes, rests and answers that come late.
const LATE_MAX: Duration = Duration::from_secs(40);

#[derive(Debug)]
enum What {
    Publish,
    Intervene,
    Picture(LoadId, Ask, WindowShare, ActorNo),
    Answer(LoadId, Found, ActorNo),
    Permit(ActorNo),
    Finish(Finished, u64),
    Group,
    Visible(VecDeque<Visible>),
    Deadline(ActorNo),
    RestOver(ActorNo),
    Wake,
    Crash,
    PowerCut,
}

/// What happens after a group is written, one after another.
#[derive(Debug)]
enum Visible {
    Nudge(Delivery),
    Answer(CommandId, Result<crate::Ended, crate::Refused>),
    Leave(Leave),
    Moved(Moved),
}

#[derive(Debug)]
enum Waiting {
    Accept(LaneId, Priority),
    Own(CommandId, Batch),
    Leave(Leave, Option<Timestamp>),
    Cancel(Delivery),
    Redrive(Seq),
    Resend(Seq),
}

struct World {
    seed: u64,
    dice: SplitMix,
    now: Timestamp,
    endpoint: Arc<Endpoint>,
    limits: WindowLimits,
    slot: Slot,
    actor: Option<(ActorNo, EndpointMachine)>,
    store: Model,
    last_seq: u64,
    agenda: BTreeMap<(Timestamp, u64), What>,
    order: u64,
    waiting: VecDeque<Waiting>,
    grouping: bool,
    /// Attempts in flight of this process, by position and kind.
    flying: BTreeSet<CommandId>,
    process: u64,
    keys: u64,
    fail_percent: u64,
    faults: bool,
    to_publish: u32,
    sent: u64,
    /// Deliveries live for less time than the world.
    expires: bool,
    traces: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = SplitMix::new(seed);
        let ordering = match dice.roll() % 5 {
            0 => OrderingMode::Concurrent,
            1 => OrderingMode::PerKey(OnExhausted::Continue),
            2 => OrderingMode::PerKey(OnExhausted::Hold),
            3 => OrderingMode::Fifo(OnExhausted::Continue),
            _ => OrderingMode::PerKey(OnExhausted::Continue),
        };
        let few = |dice: &mut SplitMix, most: u64| {
            NonZeroUsize::MIN.saturating_add(usize::try_from(dice.roll() % most).unwrap_or_default())
        };
        let limits = WindowLimits {
            ready_deliveries: few(&mut dice, 6),
            waiting_deliveries: few(&mut dice, 4),
            lanes: few(&mut dice, 4),
            linger: Duration::from_millis(200 + dice.roll() % 3_000),
            delivery_age_max: match dice.roll() % 3 {
                0 => Duration::from_millis(15_000 + dice.roll() % 40_000),
                _ => WindowLimits::default().delivery_age_max,
            },
            uncommitted_attempts: few(&mut dice, 12).get(),
            ..WindowLimits::default()
        };
        let retry = RetryPolicy::delays([1, 5, 30].map(Duration::from_secs));
        let mut spec = EndpointSpec::new("https://receiver.example/").ordering(ordering).retry(retry);
        spec.delivery.max_in_flight = NonZeroU32::new(1 + u32::try_from(dice.roll() % 5).unwrap_or_default());
        spec.delivery.breaker = crate::BreakerSetting::Off;
        spec.delivery.disable_after = Some(Duration::MAX);
        let now = Timestamp::from_nanos(1_767_225_600_000_000_000);
        let mut endpoint = endpoint_of(spec, now);
        let expires = limits.delivery_age_max < WindowLimits::default().delivery_age_max;
        if expires && dice.roll().is_multiple_of(2) {
            Arc::make_mut(&mut endpoint).status = EndpointStatus::Paused;
        }
        Self {
            seed,
            now,
            expires,
            endpoint,
            limits,
            slot: Slot::new(ActorNo(0)),
            actor: None,
            store: Model::default(),
            last_seq: 0,
            agenda: BTreeMap::new(),
            order: 0,
            waiting: VecDeque::new(),
            grouping: false,
            flying: BTreeSet::new(),
            process: 0,
            keys: 1 + dice.roll() % 8,
            fail_percent: [0, 10, 40, 70][usize::try_from(dice.roll() % 4).unwrap_or_default()],
            faults: !dice.roll().is_multiple_of(3),
            to_publish: 120,
            sent: 0,
            traces: std::env::var_os("MACHINE_TRACE").is_some(),
            dice,
        }
    }

    fn run(mut self) {
        self.plan(Duration::ZERO, What::Publish);
        self.plan(Duration::from_millis(50), What::Intervene);
        if self.faults {
            self.plan(Duration::from_millis(300), What::Crash);
            self.plan(Duration::from_millis(2_000), What::PowerCut);
        }
        let mut steps = 0;
        while let Some(((at, _), what)) = self.agenda.pop_first() {
            self.now = self.now.max(at);
            self.step(what);
            steps += 1;
            assert!(steps < 400_000, "seed {}: it never comes to rest", self.seed);
            let done = self.to_publish == 0 && self.waiting.is_empty() && !self.grouping;
            if done && self.is_delivered() && self.agenda.values().all(|what| !matters(what)) {
                break;
            }
        }
        let left: Vec<_> = self.store.now.rows.values().map(|row| (row.id.seq.0, row.lane, row.place)).collect();
        let report = self.actor.as_ref().map(|(_, machine)| machine.report());
        let (seed, wakes, ordering) = (self.seed, &self.store.now.wakes, self.endpoint.policy.ordering);
        assert!(self.is_delivered(), "D1, seed {seed}: {ordering:?} {left:?}\n{report:?}\nwakes {wakes:?}");
        assert!(self.sent > 0 || self.endpoint.status == EndpointStatus::Paused, "seed {}", self.seed);
    }

    fn is_delivered(&self) -> bool {
        let State { rows, manual, .. } = &self.store.now;
        let waits = |row: &Delivery| self.is_behind_held(row) && !self.expires;
        manual.is_empty() && rows.values().all(|row| row.is_held() || waits(row))
    }

    /// Nothing waits much longer than it may, wherever it is: what is in flight ends first, and an actor that crashed rests.
    fn check_ages(&self) {
        let State { rows, manual, .. } = &self.store.now;
        for row in rows.values().chain(manual.values()).filter(|row| !row.is_held()) {
            let (age, seed) = (self.now.since(row.since), self.seed);
            assert!(age < self.limits.delivery_age_max + LATE_MAX, "seed {seed}: {row:?} is {age:?} old");
        }
    }

    fn is_behind_held(&self, row: &Delivery) -> bool {
        let head = self.store.now.rows.values().find(|other| other.lane == row.lane);
        matches!(row.place, Place::Lane { .. }) && head.is_some_and(Delivery::is_held)
    }

    fn step(&mut self, what: What) {
        self.check_ages();
        if self.traces {
            println!("{:?} {what:?}", self.now.since(Timestamp::from_nanos(1_767_225_600_000_000_000)));
        }
        match what {
            What::Publish => {
                self.to_publish -= 1;
                let priority = self.priority();
                let lane = self.lane(priority);
                self.wait(Waiting::Accept(lane, priority));
                if self.to_publish > 0 {
                    let burst = !self.dice.roll().is_multiple_of(4);
                    let pause = if burst { self.dice.roll() % 5 } else { self.dice.roll() % 4_000 };
                    self.plan(Duration::from_millis(pause), What::Publish);
                }
            }
            What::Intervene => self.intervene(),
            What::Picture(id, ask, share, actor) => {
                let found = self.store.now.find(self.endpoint.policy.ordering, ask, share);
                let late = self.late();
                self.plan(late, What::Answer(id, found, actor));
            }
            What::Answer(id, found, actor) => self.tell(actor, Input::Loaded(id, found)),
            What::Permit(actor) => self.tell(actor, Input::Permitted),
            What::Finish(finished, process) => {
                if process == self.process {
                    assert!(self.flying.remove(&finished.command()));
                    let command = self.slot.post(Input::AttemptFinished(finished));
                    self.obey(command);
                }
            }
            What::Group => self.write_group(),
            What::Visible(mut rest) => {
                if let Some(next) = rest.pop_front() {
                    self.make_visible(next);
                }
                if rest.is_empty() {
                    self.grouping = false;
                    self.group();
                } else {
                    let late = Duration::from_micros(self.dice.roll() % 800);
                    self.plan(late, What::Visible(rest));
                }
            }
            What::Deadline(actor) => {
                let due = self.actor.as_ref().filter(|(no, _)| *no == actor).and_then(|(_, one)| one.next_deadline());
                if due.is_some_and(|at| at <= self.now) {
                    self.tell(actor, Input::DeadlineReached);
                }
            }
            What::RestOver(actor) => {
                let command = self.slot.rest_over(actor);
                self.obey(command);
            }
            What::Wake => self.wake(),
            What::Crash => {
                if let Some((no, _)) = self.actor.take() {
                    let command = self.slot.actor_ended(no);
                    self.obey(command);
                }
                if self.to_publish > 0 {
                    let pause = Duration::from_millis(self.dice.roll() % 3_000);
                    self.plan(pause, What::Crash);
                }
            }
            What::PowerCut => self.cut_power(),
        }
    }

    /// The process dies, and the machine with it: only what was synced, and some of the rest, is there again.
    fn cut_power(&mut self) {
        let keep = usize::try_from(self.dice.roll()).unwrap_or_default() % (self.store.unsynced() + 1);
        self.store.cut_power(keep);
        self.agenda.retain(|_, what| matches!(what, What::Publish | What::Intervene | What::Crash));
        self.waiting.clear();
        self.grouping = false;
        self.flying.clear();
        self.process += 1;
        self.actor = None;
        self.slot = Slot::new(self.slot.actor());
        self.wake();
        if self.to_publish > 0 {
            let pause = Duration::from_millis(self.dice.roll() % 8_000);
            self.plan(pause, What::PowerCut);
        }
    }

    /// What the scanner does: starts the endpoint if a wake row is due, or comes back when it is.
    fn wake(&mut self) {
        let Some(at) = self.store.now.wakes.first().copied() else { return };
        if self.now < at {
            self.plan(at.since(self.now), What::Wake);
        } else if !self.slot.is_occupied() {
            self.slot.found_wake(at);
            let command = self.slot.post(Input::DeadlineReached);
            self.obey(command);
        }
    }

    fn intervene(&mut self) {
        let rows: Vec<_> = self.store.now.rows.values().cloned().collect();
        let dead: Vec<_> = self.store.now.dead.keys().copied().collect();
        let roll = usize::try_from(self.dice.roll() >> 8).unwrap_or_default();
        match self.dice.roll() % 3 {
            0 if !rows.is_empty() => self.wait(Waiting::Cancel(rows[roll % rows.len()].clone())),
            1 if !dead.is_empty() => self.wait(Waiting::Redrive(dead[roll % dead.len()])),
            2 if !rows.is_empty() => self.wait(Waiting::Resend(rows[roll % rows.len()].id.seq)),
            _ => {}
        }
        if self.to_publish > 0 {
            let pause = Duration::from_millis(self.dice.roll() % 2_000);
            self.plan(pause, What::Intervene);
        }
    }

    fn wait(&mut self, one: Waiting) {
        self.waiting.push_back(one);
        self.group();
    }

    fn group(&mut self) {
        if !self.grouping && !self.waiting.is_empty() {
            self.grouping = true;
            let late = self.late();
            self.plan(late, What::Group);
        }
    }

    fn write_group(&mut self) {
        let before = self.store.now.clone();
        let many = 1 + usize::try_from(self.dice.roll() % 8).unwrap_or_default();
        let group: Vec<_> = self.waiting.drain(..many.min(self.waiting.len())).collect();
        let mut durability = Durability::Relaxed;
        let mut visible = VecDeque::new();
        // Retirements first, then wakes for work, as the committer puts them together.
        for one in &group {
            if let Waiting::Leave(leave, wake) = one
                && let Some(change) = self.slot.begin_leaving(*leave, *wake)
            {
                self.store.now.wakes.retain(|at| !change.delete.contains(at));
                self.store.now.wakes.extend(change.write);
            }
        }
        for one in &group {
            if matches!(one, Waiting::Accept(..) | Waiting::Redrive(_) | Waiting::Resend(_))
                && let Some(at) = self.slot.wake_for_work(self.now)
            {
                self.store.now.wakes.insert(at);
            }
        }
        for one in group {
            match one {
                Waiting::Accept(lane, priority) => {
                    durability = Durability::Synced;
                    let delivery = self.fresh(lane, priority);
                    self.store.now.rows.insert(delivery.id.seq, delivery.clone());
                    self.store.now.accepted.insert(delivery.id.seq, lane);
                    visible.push_back(Visible::Nudge(delivery));
                }
                Waiting::Own(id, batch) => {
                    durability = durability.max(batch.durability);
                    let answer = self.store.apply(&batch);
                    visible.push_back(Visible::Answer(id, answer));
                }
                Waiting::Leave(leave, _) => visible.push_back(Visible::Leave(leave)),
                Waiting::Cancel(delivery) => {
                    let seq = delivery.id.seq;
                    if self.store.now.rows.get(&seq) == Some(&delivery) {
                        durability = Durability::Synced;
                        self.store.now.rows.remove(&seq);
                        self.store.now.dead.remove(&seq);
                        self.store.now.ended.insert(seq);
                        visible.push_back(Visible::Moved(Moved::Cancelled(delivery)));
                    }
                }
                Waiting::Redrive(seq) => {
                    if let Some(last) = self.store.now.dead.remove(&seq) {
                        durability = Durability::Synced;
                        visible.push_back(self.redrive(last));
                    }
                }
                Waiting::Resend(seq) => {
                    let Some(row) = self.store.now.rows.get(&seq).cloned() else { continue };
                    let key = crate::DueKey { at: self.now, seq };
                    let taken = row.due() == Some(self.now) || self.store.now.manual.contains_key(&key);
                    if !taken {
                        durability = Durability::Synced;
                        let number = crate::AttemptNumber::manual(1);
                        let place = Place::Manual { at: self.now, number };
                        let manual = Delivery { place, since: self.now, ..row };
                        self.store.now.manual.insert(key, manual.clone());
                        visible.push_back(Visible::Moved(Moved::Resent(manual)));
                    }
                }
            }
        }
        self.store.written(before, durability);
        let late = self.late();
        self.plan(late, What::Visible(visible));
    }

    fn redrive(&mut self, last: Delivery) -> Visible {
        let again = Delivery { attempts: 0, life: last.life.next(), since: self.now, ..last };
        if again.is_held() {
            let again = Delivery { place: Place::Lane { due: None, held: false }, ..again };
            self.store.now.rows.insert(again.id.seq, again.clone());
            return Visible::Moved(Moved::Revived(again));
        }
        self.last_seq += 1;
        let place = self.first_place();
        let id = DeliveryId { seq: Seq(self.last_seq), ..again.id };
        let again = Delivery { id, place, ..again };
        self.store.now.rows.insert(again.id.seq, again.clone());
        self.store.now.accepted.insert(again.id.seq, again.lane);
        Visible::Nudge(again)
    }

    fn make_visible(&mut self, visible: Visible) {
        let command = match visible {
            Visible::Nudge(delivery) => {
                let event = self.event(&delivery);
                self.slot.nudge(delivery, event)
            }
            Visible::Answer(id, answer) => self.slot.post(Input::Committed(id, answer)),
            Visible::Moved(moved) => self.slot.post(Input::Moved(moved)),
            Visible::Leave(leave) => {
                if self.slot.leave(leave) {
                    self.actor = None;
                    self.wake();
                }
                None
            }
        };
        self.obey(command);
    }

    fn obey(&mut self, command: Option<SlotCommand>) {
        match command {
            None => {}
            Some(SlotCommand::Start(no)) => {
                let inheritance = self.slot.inherit();
                let restored = Restored { endpoint: Arc::clone(&self.endpoint), inheritance };
                self.actor = Some((no, EndpointMachine::restore(restored, self.limits, self.now)));
                self.follow_up();
                self.look();
            }
            Some(SlotCommand::Poke) => self.look(),
            Some(SlotCommand::Rest(no, rest)) => self.plan(rest, What::RestOver(no)),
        }
    }

    fn look(&mut self) {
        while let Some(input) = self.slot.hear() {
            let Some((_, machine)) = &mut self.actor else { return };
            machine.handle(input, self.now, &mut self.dice);
            self.follow_up();
        }
    }

    fn tell(&mut self, to: ActorNo, input: Input) {
        let Some((_, machine)) = self.actor.as_mut().filter(|(no, _)| *no == to) else { return };
        self.slot.works();
        machine.handle(input, self.now, &mut self.dice);
        self.follow_up();
    }

    fn follow_up(&mut self) {
        while let Some((no, command)) =
            self.actor.as_mut().and_then(|(no, machine)| machine.poll_command().map(|command| (*no, command)))
        {
            let late = self.late();
            match command {
                Command::Load(id, ask, share) => self.plan(late, What::Picture(id, ask, share, no)),
                Command::AskPermit => self.plan(late, What::Permit(no)),
                Command::ReturnPermit => {}
                Command::Attempt(plan) => self.attempt(plan),
                Command::Commit(id, batch) => {
                    self.slot.commits(id);
                    self.wait(Waiting::Own(id, batch));
                }
                Command::Retire(wake) => {
                    if let Some(leave) = self.slot.ask_to_leave(no) {
                        self.wait(Waiting::Leave(leave, wake));
                    }
                }
            }
        }
        if let Some((no, machine)) = &self.actor
            && let Some(at) = machine.next_deadline()
        {
            assert!(at > self.now, "seed {}: a deadline in the past would fire for ever", self.seed);
            let (no, wait) = (*no, at.since(self.now));
            self.plan(wait, What::Deadline(no));
        }
    }

    fn attempt(&mut self, plan: crate::AttemptPlan) {
        let (seq, seed) = (plan.delivery.id.seq, self.seed);
        assert!(self.now < plan.delivery.since + self.limits.delivery_age_max, "seed {seed}: {seq:?} is too old");
        self.sent += 1;
        self.slot.runs(plan.clone());
        let trigger = plan.delivery.trigger();
        let id = match trigger {
            Trigger::Scheduled => CommandId::Step(seq),
            Trigger::Manual => CommandId::Manual(seq),
        };
        let busy = [CommandId::Step(seq), CommandId::Manual(seq)].iter().any(|id| self.flying.contains(id));
        assert!(!busy, "A2, seed {seed}: {seq:?} is in flight already");
        self.flying.insert(id);
        let most = self.endpoint.policy.max_in_flight.get() as usize;
        assert!(self.flying.len() <= most, "seed {seed}: {} in flight of {most}", self.flying.len());
        if let (Trigger::Scheduled, Place::Lane { .. }) = (trigger, plan.delivery.place) {
            let synced = self.store.synced();
            let ahead = self.store.now.accepted.range(..seq).filter(|(_, lane)| **lane == plan.delivery.lane);
            for (before, _) in ahead {
                assert!(synced.ended.contains(before), "L2, seed {seed}: {seq:?} before the end of {before:?}");
            }
        }
        let failed = self.dice.roll() % 100 < self.fail_percent;
        let outcome = match self.dice.roll() % 12 {
            0 => Outcome::Failure(Failure::NotSent("no descriptor".into())),
            1 if failed => Outcome::Failure(Failure::Blocked("forbidden".into())),
            _ if failed => Outcome::Failure(Failure::Status { code: 500, retry_after: None }),
            _ => Outcome::Success { status: 200 },
        };
        let slow = if self.dice.roll().is_multiple_of(8) { 3_000 } else { 20 };
        let took = Duration::from_millis(1 + self.dice.roll() % slow);
        let finished = Finished {
            seq,
            trigger,
            url: Default::default(),
            started: self.now,
            took,
            outcome,
            response: Box::default(),
            unreadable: Unreadable::No,
        };
        let process = self.process;
        self.plan(took, What::Finish(finished, process));
    }

    fn fresh(&mut self, lane: LaneId, priority: Priority) -> Delivery {
        self.last_seq += 1 + self.dice.roll() % 3;
        Delivery {
            id: DeliveryId { endpoint: self.endpoint.id, seq: Seq(self.last_seq) },
            event: EventId::new(self.now, &mut self.dice),
            generation: Generation(0),
            lane,
            place: self.first_place(),
            attempts: 0,
            life: Life::FIRST,
            since: self.now,
            bytes: 2,
            priority,
        }
    }

    fn first_place(&self) -> Place {
        match self.endpoint.policy.ordering {
            OrderingMode::Concurrent => Place::Ready,
            OrderingMode::PerKey(_) | OrderingMode::Fifo(_) => Place::Lane { due: None, held: false },
        }
    }

    /// Most are like any other.
    fn priority(&mut self) -> Priority {
        match self.dice.roll() % 6 {
            0 => Priority::High,
            1 => Priority::Low,
            _ => Priority::Normal,
        }
    }

    fn lane(&mut self, priority: Priority) -> LaneId {
        match self.endpoint.policy.ordering {
            OrderingMode::Concurrent => LaneId::unordered(priority),
            OrderingMode::Fifo(_) => LaneId::WHOLE,
            OrderingMode::PerKey(_) => LaneId::of(&OrderingKey((self.dice.roll() % self.keys).to_string().into())),
        }
    }

    fn event(&self, delivery: &Delivery) -> Option<Arc<StoredEvent>> {
        Some(Arc::new(StoredEvent {
            id: delivery.event,
            application: self.endpoint.application,
            accepted_at: self.now,
            event: Arc::new(Event::new("t", "{}")),
            is_expunged: false,
            lease: crate::Lease::default(),
        }))
    }

    fn late(&mut self) -> Duration {
        let most = [50, 1_000, 20_000][usize::try_from(self.dice.roll() % 3).unwrap_or_default()];
        Duration::from_micros(self.dice.roll() % most)
    }

    fn plan(&mut self, wait: Duration, what: What) {
        self.order += 1;
        self.agenda.insert((self.now + wait, self.order), what);
    }
}

/// Whether something is still to happen that belongs to deliveries.
const fn matters(what: &What) -> bool {
    match what {
        What::Publish | What::Finish(..) | What::Group | What::Visible(_) => true,
        What::Intervene | What::Picture(..) | What::Answer(..) | What::Permit(_) => false,
        What::Deadline(_) | What::RestOver(_) | What::Wake | What::Crash | What::PowerCut => false,
    }
}
