//! Which delivery goes first where order leaves a choice, however much waits and however little fits in memory.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use super::{by_hand::endpoint_of, model::Model};
use crate::{
    Command, Delivery, DeliveryId, Endpoint, EndpointMachine, EndpointSpec, EventId, Failure, Finished, Generation,
    Inheritance, Input, LaneId, Life, Nudge, OnExhausted, OrderingKey, OrderingMode, Outcome, Place, Priority,
    Restored, RetryPolicy, Seq, SplitMix, Timestamp, Trigger, Unreadable, WindowLimits,
};

const PER_KEY: OrderingMode = OrderingMode::PerKey(OnExhausted::Continue);
const BY: [OrderingMode; 2] = [OrderingMode::Concurrent, PER_KEY];

#[test]
fn what_is_urgent_goes_before_all_that_waited_longer() {
    for ordering in BY {
        let mut endpoint = World::new(ordering);
        (0..40).for_each(|n| endpoint.publish(Priority::Low, n));
        endpoint.sends(3);
        endpoint.publish(Priority::Normal, 100);
        endpoint.publish(Priority::High, 101);
        assert_eq!(endpoint.sends(3), [101, 100, 3], "{ordering:?}");
    }
}

#[test]
fn what_is_urgent_is_found_first_after_a_restart() {
    for ordering in BY {
        let mut endpoint = World::new(ordering);
        endpoint.rests();
        for n in 0..40 {
            endpoint.publish([Priority::Low, Priority::Normal][n % 2], n);
        }
        endpoint.publish(Priority::High, 100);
        endpoint.restart();
        assert_eq!(endpoint.sends(1), [100], "{ordering:?}");
    }
}

#[test]
fn each_class_keeps_its_own_order_and_nothing_is_left() {
    for ordering in BY {
        let mut endpoint = World::new(ordering);
        for n in 0..60 {
            endpoint.publish(Priority::ALL[n % 3], n);
            if n % 7 == 0 {
                endpoint.restart();
            }
        }
        let mut sent = endpoint.sends(60);
        if ordering == OrderingMode::Concurrent {
            let of = |class| (0..60).filter(move |n| n % 3 == class);
            assert_eq!(sent, of(0).chain(of(1)).chain(of(2)).collect::<Vec<_>>());
        }
        sent.sort_unstable();
        assert_eq!(sent, (0..60).collect::<Vec<_>>(), "{ordering:?}");
    }
}

#[test]
fn in_a_lane_nothing_is_overtaken_however_urgent() {
    for ordering in [PER_KEY, OrderingMode::Fifo(OnExhausted::Continue)] {
        let mut endpoint = World::new(ordering);
        endpoint.publish_in_lane(Priority::Low, 1, 7);
        endpoint.publish_in_lane(Priority::High, 2, 7);
        endpoint.publish_in_lane(Priority::Normal, 3, 7);
        assert_eq!(endpoint.sends(3), [1, 2, 3], "{ordering:?}");
    }
}

#[test]
fn a_retry_of_what_is_less_urgent_waits_for_what_is_more() {
    for ordering in BY {
        let mut endpoint = World::new(ordering);
        endpoint.publish(Priority::Low, 1);
        endpoint.fails = true;
        assert_eq!(endpoint.sends(1), [1]);
        endpoint.fails = false;
        endpoint.rests();
        endpoint.now = endpoint.now + Duration::from_secs(60);
        endpoint.publish(Priority::Normal, 2);
        endpoint.publish(Priority::High, 3);
        assert_eq!(endpoint.sends(3), [3, 2, 1], "{ordering:?}");
    }
}

/// One endpoint that sends one at a time, when it is told to, and whose store answers at once.
struct World {
    endpoint: Arc<Endpoint>,
    limits: WindowLimits,
    machine: EndpointMachine,
    store: Model,
    now: Timestamp,
    dice: SplitMix,
    /// What each position is called.
    names: Vec<usize>,
    permits: usize,
    sent: Vec<usize>,
    fails: bool,
    /// Nudges do not reach it.
    asleep: bool,
}

impl World {
    fn new(ordering: OrderingMode) -> Self {
        let now = Timestamp::from_nanos(1_767_225_600_000_000_000);
        let mut spec = EndpointSpec::new("https://receiver.example/").ordering(ordering);
        spec = spec.retry(RetryPolicy::delays([Duration::from_secs(30)]));
        spec.delivery.max_in_flight = Some(NonZeroU32::MIN);
        spec.delivery.breaker = crate::BreakerSetting::Off;
        let few = NonZeroUsize::MIN.saturating_add(3);
        let limits = WindowLimits {
            ready_deliveries: few,
            waiting_deliveries: few,
            lanes: few,
            delivery_age_max: Duration::from_secs(3600),
            ..WindowLimits::default()
        };
        let endpoint = endpoint_of(spec, now);
        let restored = Restored { endpoint: Arc::clone(&endpoint), inheritance: Inheritance::default() };
        let mut world = Self {
            machine: EndpointMachine::restore(restored, limits, now),
            endpoint,
            limits,
            store: Model::default(),
            now,
            dice: SplitMix::new(1),
            names: vec![0],
            permits: 0,
            sent: vec![],
            fails: false,
            asleep: false,
        };
        world.obey();
        world
    }

    fn publish(&mut self, priority: Priority, name: usize) {
        self.publish_in_lane(priority, name, name);
    }

    fn publish_in_lane(&mut self, priority: Priority, name: usize, key: usize) {
        let (lane, place) = match self.endpoint.policy.ordering {
            OrderingMode::Concurrent => (LaneId::unordered(priority), Place::Ready),
            OrderingMode::PerKey(_) => {
                (LaneId::of(&OrderingKey(key.to_string().into())), Place::Lane { due: None, held: false })
            }
            OrderingMode::Fifo(_) => (LaneId::WHOLE, Place::Lane { due: None, held: false }),
        };
        let seq = Seq(self.names.len() as u64);
        self.names.push(name);
        let delivery = Delivery {
            id: DeliveryId { endpoint: self.endpoint.id, seq },
            event: EventId::new(self.now, &mut self.dice),
            generation: Generation(0),
            lane,
            place,
            attempts: 0,
            life: Life::FIRST,
            since: self.now,
            bytes: 2,
            priority,
        };
        self.store.now.rows.insert(seq, delivery.clone());
        if !self.asleep {
            let previous = seq.0.checked_sub(1).map(Seq);
            self.tell(Input::Nudged(Nudge { previous, seq, newest: Some((delivery, None)) }));
        }
    }

    /// Its actor ends, and what is published meanwhile is only in the store.
    const fn rests(&mut self) {
        self.asleep = true;
    }

    fn restart(&mut self) {
        self.asleep = false;
        let tail = Some(Seq(self.names.len() as u64 - 1));
        let inheritance = Inheritance { tail, ..Inheritance::default() };
        let restored = Restored { endpoint: Arc::clone(&self.endpoint), inheritance };
        self.permits = 0;
        self.machine = EndpointMachine::restore(restored, self.limits, self.now);
        self.obey();
    }

    /// Sends so many, one after another, and says which.
    fn sends(&mut self, count: usize) -> Vec<usize> {
        if self.asleep {
            self.restart();
        }
        self.sent.clear();
        while self.sent.len() < count {
            assert!(self.permits > 0, "nothing could start after {:?}", self.sent);
            self.permits -= 1;
            self.tell(Input::Permitted);
        }
        self.sent.clone()
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(input, self.now, &mut self.dice);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(command) = self.machine.poll_command() {
            match command {
                Command::Load(id, ask, share) => {
                    let found = self.store.now.find(self.endpoint.policy.ordering, ask, share);
                    self.machine.handle(Input::Loaded(id, found), self.now, &mut self.dice);
                }
                Command::AskPermit => self.permits += 1,
                Command::ReturnPermit | Command::Retire(_) => {}
                Command::Attempt(plan) => self.attempt(&plan.delivery),
                Command::Commit(id, batch) => {
                    let answer = self.store.apply(&batch);
                    self.machine.handle(Input::Committed(id, answer), self.now, &mut self.dice);
                }
            }
        }
    }

    fn attempt(&mut self, delivery: &Delivery) {
        self.sent.push(self.names[usize::try_from(delivery.id.seq.0).unwrap_or_default()]);
        let failure = Outcome::Failure(Failure::Status { code: 500, retry_after: None });
        let finished = Finished {
            seq: delivery.id.seq,
            trigger: Trigger::Scheduled,
            url: Default::default(),
            started: self.now,
            took: Duration::ZERO,
            outcome: if self.fails { failure } else { Outcome::Success { status: 200 } },
            response: Box::default(),
            unreadable: Unreadable::No,
        };
        self.machine.handle(Input::AttemptFinished(finished), self.now, &mut self.dice);
    }
}
