//! The machine driven by hand: reads are answered when the test says so.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use crate::{
    Aged, ApplicationId, Ask, AttemptNumber, Command, CommandId, Delivery, DeliveryId, DeliveryPolicy, DueKey, Ended,
    Endpoint, EndpointId, EndpointMachine, EndpointSpec, EndpointStatus, EventId, Found, Generation, Inheritance,
    Input, LaneId, Life, LoadId, Moved, Nudge, OnExhausted, OrderingMode, PerPriority, Place, Priority, Restored, Rows,
    Seq, SoftState, SplitMix, Timestamp, WindowLimits,
    machine::{due::DueRows, queue::Item},
};

/// A read that was cut short by its limit left the rest unread, because its last row was taken for the end.
#[test]
fn what_a_limited_read_left_is_read_next() {
    let mut driver = Driver::new(OrderingMode::Concurrent);
    let id = driver.asked(|ask| *ask == Ask::Ready(PerPriority::from_fn(|_| Some(Seq(0)))));
    let first = driver.delivery(1, Place::Ready);
    driver.tell(Input::Loaded(id, rows([first], false)));
    let next = PerPriority::from_fn(|priority| match priority {
        Priority::High => None,
        Priority::Normal => Some(Seq(1)),
        Priority::Low => Some(Seq(0)),
    });
    driver.asked(|ask| *ask == Ask::Ready(next));
}

/// While the due rows were being read, one was evicted; the answer moved the frontier past it, and it was never found.
#[test]
fn what_is_evicted_during_a_read_is_read_again() {
    let mut driver = Driver::new(OrderingMode::Concurrent);
    let mut due = DueRows::new(1);
    let mut at = |second| Item { delivery: driver.delivery(second, Place::Due(later(second))), event: None };
    due.reading();
    due.insert(at(5));
    assert_eq!(due.insert(at(3)).map(|evicted| evicted.delivery.id.seq), Some(Seq(5)));
    due.read_to(DueKey::END);
    let after = due.remove(Priority::Normal, DueKey { at: later(3), seq: Seq(3) }).and_then(|_| due.read_after());
    assert!(after.is_some_and(|after| after < DueKey { at: later(5), seq: Seq(5) }), "{after:?}");
}

/// A person's try was the latest of many that waited, and had to leave memory for them.
#[test]
fn a_try_by_hand_stays_among_many_retries() {
    let mut driver = Driver::new(OrderingMode::Concurrent);
    let mut due = DueRows::new(2);
    due.insert(Item { delivery: driver.delivery(9, Place::Manual { at: later(9), number: ONE }), event: None });
    for second in 1..=2 {
        due.insert(Item { delivery: driver.delivery(second, Place::Due(later(second))), event: None });
    }
    assert!(due.remove(Priority::Normal, DueKey { at: later(9), seq: Seq(9) }).is_some());
}

/// As many tries by hand as may stay took half of the memory; retries filled the other half, which seemed too little, and the
/// same rows were read again without end.
#[test]
fn what_is_read_beside_tries_by_hand_is_enough() {
    for limit in 1..=8 {
        let mut driver = Driver::new(OrderingMode::Concurrent);
        let mut due = DueRows::new(limit);
        for second in 0..limit as u64 / 2 {
            let place = Place::Manual { at: later(100 + second), number: ONE };
            due.insert(Item { delivery: driver.delivery(100 + second, place), event: None });
        }
        let mut reads = 0;
        while let Some(after) = due.read_after() {
            reads += 1;
            assert!(reads < 3, "limit {limit}: {after:?} is read again");
            due.reading();
            for second in 1..=limit as u64 {
                due.insert(Item { delivery: driver.delivery(second, Place::Due(later(second))), event: None });
            }
            due.read_to(DueKey { at: later(limit as u64), seq: Seq(limit as u64 + 1) });
        }
    }
}

/// Each actor of a queue that does not fit into memory searched all of it for what is too old, before it could rest.
#[test]
fn what_an_earlier_actor_found_out_is_not_searched_for_again() {
    let limits = WindowLimits { lanes: NonZeroUsize::MIN, ..WindowLimits::default() };
    let searches = |oldest| {
        let stored = SoftState { oldest, ..SoftState::default() };
        let mut driver = Driver::with(PER_KEY, limits, stored);
        driver.tell(Input::Committed(CommandId::Soft, Ok(Ended(None))));
        let (due, scan) =
            (driver.asked(|ask| matches!(ask, Ask::Due(_))), driver.asked(|ask| matches!(ask, Ask::Lanes(_))));
        let urgent = driver.asked(|ask| matches!(ask, Ask::Urgent(_)));
        let head = driver.delivery(1, IN_LANE);
        driver.tell(Input::Loaded(urgent, rows([], true)));
        driver.tell(Input::Loaded(due, rows([], true)));
        driver.tell(Input::Loaded(scan, rows([head], false)));
        driver.loads.iter().any(|(_, ask)| matches!(ask, Ask::Aged(..)))
    };
    assert!(searches(None));
    assert!(!searches(Some(later(0))));
}

/// The head of a lane outside memory was too old and was being ended; a scan left its lane out, as if it were empty, and the
/// next one to come to the lane was taken for its head, and overtook those between.
#[test]
fn nothing_passes_a_head_that_is_being_ended() {
    let limits = WindowLimits { delivery_age_max: Duration::from_secs(30), ..WindowLimits::default() };
    let mut driver = Driver::with(PER_KEY, limits, SoftState { oldest: Some(later(0)), ..SoftState::default() });
    driver.tell(Input::Committed(CommandId::Soft, Ok(Ended(None))));
    let old = driver.delivery(1, IN_LANE);
    driver.now = later(31);
    let [young, newest] = [driver.delivery(2, IN_LANE), driver.delivery(3, IN_LANE)];
    driver.tell(Input::DeadlineReached);
    let search = driver.asked(|ask| matches!(ask, Ask::Aged(..)));
    let found = Aged { rows: vec![old.clone()], oldest: Some(young.since), looked_at: 2, next: None };
    driver.tell(Input::Loaded(search, Found::Aged(found)));
    let scan = driver.asked(|ask| matches!(ask, Ask::Lanes(_)));
    driver.tell(Input::Loaded(scan, rows([old], true)));
    let nudge = |delivery: &Delivery, previous| Nudge {
        previous,
        seq: delivery.id.seq,
        newest: Some((delivery.clone(), None)),
    };
    driver.tell(Input::Nudged(nudge(&young, None)));
    driver.tell(Input::Nudged(nudge(&newest, Some(young.id.seq))));
    driver.tell(Input::Committed(CommandId::Soft, Ok(Ended(None))));
    driver.tell(Input::Permitted);
    assert_eq!(driver.started, [], "L2: the end of the one before is not durable");
    driver.tell(Input::Committed(CommandId::Step(Seq(1)), Ok(Ended(None))));
    let read = driver.asked(|ask| matches!(ask, Ask::Lane(_, Seq(1))));
    driver.tell(Input::Loaded(read, rows([young.clone(), newest], true)));
    driver.tell(Input::Permitted);
    assert_eq!(driver.started, [young]);
}

/// A scan of a lane met one that was being ended behind its head, passed it over, and took the next one for its successor.
#[test]
fn a_read_of_a_lane_waits_for_what_is_being_ended_in_it() {
    let limits = WindowLimits { delivery_age_max: Duration::from_secs(30), ..WindowLimits::default() };
    let mut driver = Driver::with(PER_KEY, limits, SoftState { oldest: Some(later(0)), ..SoftState::default() });
    driver.tell(Input::Committed(CommandId::Soft, Ok(Ended(None))));
    let old = driver.delivery(2, IN_LANE);
    driver.now = later(31);
    let [revived, young] = [driver.delivery(1, IN_LANE), driver.delivery(3, IN_LANE)];
    let scan = driver.asked(|ask| matches!(ask, Ask::Lanes(_)));
    driver.tell(Input::Loaded(scan, rows([revived], true)));
    driver.tell(Input::Permitted);
    let search = driver.asked(|ask| matches!(ask, Ask::Aged(..)));
    driver.succeeds(1);
    driver.tell(Input::Committed(CommandId::Step(Seq(1)), Ok(Ended(None))));
    let read = driver.asked(|ask| matches!(ask, Ask::Lane(_, Seq(1))));
    let found = Aged { rows: vec![old.clone()], oldest: Some(young.since), looked_at: 2, next: None };
    driver.tell(Input::Loaded(search, Found::Aged(found)));
    driver.tell(Input::Loaded(read, rows([old, young.clone()], true)));
    driver.tell(Input::Permitted);
    assert_eq!(driver.started.len(), 1, "L2: the end of the one before is not durable");
    driver.tell(Input::Committed(CommandId::Step(Seq(2)), Ok(Ended(None))));
    let read = driver.asked(|ask| matches!(ask, Ask::Lane(_, Seq(1))));
    driver.tell(Input::Loaded(read, rows([young.clone()], true)));
    driver.tell(Input::Permitted);
    assert_eq!(driver.started.last(), Some(&young));
}

/// Two manual tries of one delivery: the end of the first was taken for a change of the second, which was never made.
#[test]
fn the_end_of_one_manual_try_hides_no_other() {
    let mut driver = Driver::new(OrderingMode::Concurrent);
    let ready = driver.asked(|ask| matches!(ask, Ask::Ready(_)));
    driver.tell(Input::Loaded(ready, rows([], true)));
    let id = driver.asked(|ask| matches!(ask, Ask::Due(_)));
    let manual = |second, n| Place::Manual { at: later(second), number: AttemptNumber::manual(n) };
    let [first, second] = [driver.delivery(7, manual(0, 1)), driver.delivery(7, manual(1, 2))];
    driver.tell(Input::Moved(Moved::Resent(first)));
    driver.now = later(2);
    driver.tell(Input::Permitted);
    driver.succeeds(7);
    driver.tell(Input::Committed(CommandId::Manual(Seq(7)), Ok(Ended(None))));
    driver.tell(Input::Loaded(id, rows([second.clone()], true)));
    driver.tell(Input::Permitted);
    assert_eq!(driver.started.last(), Some(&second));
}

/// A head that held its lane was redriven while the lane was read. The read showed it, but it had changed since it was
/// asked for, and without it the next one seemed to be the head, and overtook it.
#[test]
fn a_head_that_is_revived_during_a_read_of_its_lane_stays_the_head() {
    let mut driver = Driver::new(OrderingMode::PerKey(OnExhausted::Hold));
    driver.tell(Input::Committed(CommandId::Soft, Ok(Ended(None))));
    let lane = Place::Lane { due: None, held: false };
    let [running, next] = [driver.delivery(1, lane), driver.delivery(3, lane)];
    let scan = driver.asked(|ask| matches!(ask, Ask::Lanes(None)));
    driver.tell(Input::Loaded(scan, rows([running], true)));
    driver.tell(Input::Permitted);
    driver.succeeds(1);
    driver.tell(Input::Committed(CommandId::Step(Seq(1)), Ok(Ended(None))));
    driver.tell(Input::Committed(CommandId::Step(Seq(1)), Ok(Ended(None))));
    let read = driver.asked(|ask| matches!(ask, Ask::Lane(_, Seq(1))));
    let revived = Delivery { life: Life(2), ..driver.delivery(2, lane) };
    driver.tell(Input::Moved(Moved::Revived(revived.clone())));
    driver.tell(Input::Loaded(read, rows([revived.clone(), next], true)));
    driver.tell(Input::Permitted);
    assert_eq!(driver.started.len(), 1, "L1: nothing of the lane starts on a picture that is not whole");
    driver.asked(|ask| matches!(ask, Ask::Lane(_, Seq(1))));
}

/// Each delivery that was given up held its lane, and each such lane stayed in memory: one for every key there ever was.
#[test]
fn lanes_that_hold_are_bounded_in_memory() {
    let mut driver =
        Driver::with(OrderingMode::PerKey(OnExhausted::Hold), WindowLimits::default(), SoftState::default());
    driver.tell(Input::Committed(CommandId::Soft, Ok(Ended(None))));
    while let Some((id, _)) = driver.loads.pop() {
        driver.tell(Input::Loaded(id, rows([], true)));
    }
    let mut given_up = 0;
    for seq in 1..3_000_u64 {
        let delivery = Delivery { lane: LaneId(1_000 + seq), ..driver.delivery(seq, IN_LANE) };
        let previous = Some(Seq(seq - 1)).filter(|_| seq > 1);
        driver.tell(Input::Nudged(Nudge { previous, seq: Seq(seq), newest: Some((delivery, None)) }));
        while let Some((id, ask)) = driver.loads.pop() {
            let found = match ask {
                Ask::Lane(lane, _) => rows([Delivery { lane, ..driver.delivery(lane.0 - 1_000, IN_LANE) }], true),
                Ask::Soft => Found::Soft(SoftState::default()),
                Ask::Aged(..) => Found::Aged(Aged::default()),
                Ask::Ready(_) | Ask::Due(_) | Ask::Lanes(_) | Ask::Urgent(_) => rows([], true),
            };
            driver.tell(Input::Loaded(id, found));
        }
        driver.tell(Input::Committed(CommandId::Soft, Ok(Ended(None))));
        driver.tell(Input::Permitted);
        while let Some(delivery) = driver.started.pop() {
            given_up += 1;
            driver.is_given_up(&delivery);
        }
        // Until it may send again after one that could not be read.
        driver.now = driver.now + Duration::from_millis(1_100);
    }
    let (lanes, most) = (driver.machine.report().lanes, 2 * WindowLimits::default().lanes.get());
    assert!(given_up > 2_900 && lanes <= most, "{given_up} were given up, {lanes} lanes are in memory");
}

const ONE: AttemptNumber = AttemptNumber::manual(1);
const PER_KEY: OrderingMode = OrderingMode::PerKey(OnExhausted::Continue);
const IN_LANE: Place = Place::Lane { due: None, held: false };

struct Driver {
    machine: EndpointMachine,
    now: Timestamp,
    dice: SplitMix,
    loads: Vec<(LoadId, Ask)>,
    started: Vec<Delivery>,
}

impl Driver {
    /// A machine that knows its soft state, and whose other reads wait for an answer.
    fn new(ordering: OrderingMode) -> Self {
        Self::with(ordering, WindowLimits::default(), SoftState::default())
    }

    fn with(ordering: OrderingMode, limits: WindowLimits, stored: SoftState) -> Self {
        let now = later(0);
        let mut spec = EndpointSpec::new("https://receiver.example/").ordering(ordering);
        spec.delivery.breaker = crate::BreakerSetting::Off;
        let restored = Restored { endpoint: endpoint_of(spec, now), inheritance: Inheritance::default() };
        let machine = EndpointMachine::restore(restored, limits, now);
        let mut driver = Self { machine, now, dice: SplitMix::new(1), loads: vec![], started: vec![] };
        driver.drain();
        let soft = driver.asked(|ask| matches!(ask, Ask::Soft));
        driver.tell(Input::Loaded(soft, Found::Soft(stored)));
        driver
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(input, self.now, &mut self.dice);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(command) = self.machine.poll_command() {
            match command {
                Command::Load(id, ask, _) => self.loads.push((id, ask)),
                Command::Attempt(plan) => self.started.push(plan.delivery),
                Command::AskPermit | Command::ReturnPermit | Command::Commit(..) | Command::Retire(_) => {}
            }
        }
    }

    /// The read that is wanted, which must have been asked for.
    fn asked(&mut self, wanted: impl Fn(&Ask) -> bool) -> LoadId {
        let found = self.loads.iter().position(|(_, ask)| wanted(ask));
        let Some(found) = found else { panic!("not among the reads asked for: {:?}", self.loads) };
        self.loads.remove(found).0
    }

    fn succeeds(&mut self, seq: u64) {
        let delivery = self.started.last().expect("something was started");
        assert_eq!(delivery.id.seq, Seq(seq));
        let finished = crate::Finished {
            seq: Seq(seq),
            trigger: delivery.trigger(),
            url: Default::default(),
            started: self.now,
            took: Duration::ZERO,
            outcome: crate::Outcome::Success { status: 200 },
            response: Box::default(),
            unreadable: crate::Unreadable::No,
        };
        self.tell(Input::AttemptFinished(finished));
    }

    /// There is nothing to send any more.
    fn is_given_up(&mut self, delivery: &Delivery) {
        let finished = crate::Finished {
            seq: delivery.id.seq,
            trigger: delivery.trigger(),
            url: Default::default(),
            started: self.now,
            took: Duration::ZERO,
            outcome: crate::Outcome::Failure(crate::Failure::Lost),
            response: Box::default(),
            unreadable: crate::Unreadable::Yes,
        };
        self.tell(Input::AttemptFinished(finished));
        self.tell(Input::Committed(CommandId::Step(delivery.id.seq), Ok(Ended(None))));
    }

    fn delivery(&mut self, seq: u64, place: Place) -> Delivery {
        Delivery {
            id: DeliveryId { endpoint: self.machine.endpoint().id, seq: Seq(seq) },
            event: EventId::new(self.now, &mut self.dice),
            generation: Generation(0),
            lane: LaneId(9),
            place,
            attempts: 0,
            life: Life::FIRST,
            since: self.now,
            bytes: 2,
            priority: Priority::Normal,
        }
    }
}

fn rows<const N: usize>(deliveries: [Delivery; N], is_last: bool) -> Found {
    Found::Rows(Rows { rows: deliveries.into_iter().map(|delivery| (delivery, None)).collect(), is_last })
}

const fn later(second: u64) -> Timestamp {
    Timestamp::from_nanos((1_767_225_600 + second) * 1_000_000_000)
}

/// An endpoint as it is stored.
pub(in crate::machine) fn endpoint_of(spec: EndpointSpec, now: Timestamp) -> Arc<Endpoint> {
    let mut dice = SplitMix::new(7);
    Arc::new(Endpoint {
        id: EndpointId::new(now, &mut dice),
        application: ApplicationId::new(now, &mut dice),
        target: spec.validate().expect("spec is valid"),
        policy: DeliveryPolicy::default().with(&spec.delivery),
        spec,
        secrets: vec![],
        status: EndpointStatus::Active,
        created_at: now,
        updated_at: now,
        revision: 1,
        generation: Generation(0),
        granted: None,
    })
}
