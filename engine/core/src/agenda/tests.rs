use super::*;
use crate::{Dice, SplitMix};

fn item(at: u64, what: AgendaKind, application: u8, event: u32) -> AgendaItem {
    let mut id = [0; 20];
    id[..4].copy_from_slice(&event.to_be_bytes());
    let application = ApplicationId::from_bytes([application; 20]);
    AgendaItem { at: Timestamp::from_nanos(at), what, application, event: EventId::from_bytes(id) }
}

/// A store, and an agenda over it. Reads show the moment at which they were asked for.
#[derive(Default)]
struct World {
    agenda: Agenda,
    rows: BTreeSet<AgendaItem>,
    /// Rows that reads answered.
    read: usize,
    done: Vec<AgendaItem>,
}

impl World {
    fn write(&mut self, item: AgendaItem) {
        self.rows.insert(item);
        self.agenda.note(item);
    }

    fn answer(&self, after: Option<AgendaItem>, limit: NonZeroUsize) -> Vec<AgendaItem> {
        let from = after.map_or(Unbounded, Excluded);
        self.rows.range((from, Unbounded)).take(limit.get()).copied().collect()
    }

    /// One command, carried out; none if it is to sleep.
    fn step(&mut self, now: Timestamp) -> Option<Vec<AgendaItem>> {
        let done = self.done.len();
        self.step_with(now, |_| AgendaStep::Over).then(|| self.done[done..].to_vec())
    }

    /// As [`step`](Self::step), with what becomes of each. Says whether there was anything.
    fn step_with(&mut self, now: Timestamp, becomes: impl Fn(&AgendaItem) -> AgendaStep) -> bool {
        match self.agenda.next(now) {
            AgendaCommand::Read { after, limit } => {
                let rows = self.answer(after, limit);
                self.read += rows.len();
                self.agenda.read(&rows, limit, now);
            }
            AgendaCommand::Do(page) => {
                for item in page {
                    let step = becomes(&item);
                    if step == AgendaStep::Over {
                        self.rows.remove(&item);
                        self.done.push(item);
                    }
                    self.agenda.did(item, step);
                }
            }
            AgendaCommand::Sleep(_) => return false,
        }
        true
    }
}

const NOW: Timestamp = Timestamp::from_nanos(1_000_000);

/// Twenty thousand expiries of one application kept the delivery of another waiting until the last of them was done, one
/// commit after another.
#[test]
fn one_that_has_much_due_keeps_nobody_waiting() {
    let mut world = World::default();
    (0..20_000).for_each(|n| world.write(item(10, AgendaKind::Expunge, 1, n)));
    (0..20_000).for_each(|n| world.write(item(20, AgendaKind::Deliver, 2, n)));
    let (delivery, expiry) = (item(30, AgendaKind::Deliver, 3, 1), item(30, AgendaKind::Expunge, 3, 2));
    world.write(delivery);
    world.write(expiry);
    let mut pages = 0;
    while !(world.done.contains(&delivery) && world.done.contains(&expiry)) {
        pages += usize::from(!world.step(NOW).expect("there is more to do").is_empty());
    }
    assert!(pages <= 12, "{pages}");
    while world.step(NOW).is_some() {}
    assert_eq!(world.rows.len(), 0);
    assert_eq!(world.done.len(), 40_002, "each once");
    assert!(world.read < 6 * 40_002, "what was done before is not read over again: {}", world.read);
}

#[test]
fn expiries_are_done_beside_deliveries_without_end() {
    let mut world = World::default();
    (0..1_000).for_each(|n| world.write(item(10, AgendaKind::Deliver, 1, n)));
    let expiry = item(20, AgendaKind::Expunge, 2, 1);
    world.write(expiry);
    for n in 1_000..2_000 {
        world.step(NOW);
        (0..32).for_each(|m| world.write(item(30, AgendaKind::Deliver, 1, 32 * n + m)));
        if world.done.contains(&expiry) {
            return;
        }
    }
    panic!("it is never done");
}

#[test]
fn what_cannot_be_done_now_keeps_nothing_waiting() {
    let (mut agenda, now) = (Agenda::new(), NOW);
    let stuck: Vec<_> = (0..100).map(|n| item(1, AgendaKind::Deliver, 1, n)).collect();
    let behind = item(2, AgendaKind::Deliver, 1, 1_000);
    let rows: Vec<_> = stuck.iter().copied().chain([behind]).collect();
    let until = Timestamp::from_nanos(NOW.as_nanos() + 5);
    let mut done = 0;
    loop {
        match agenda.next(now) {
            AgendaCommand::Read { limit, .. } => agenda.read(&rows, limit, now),
            AgendaCommand::Do(page) => {
                for one in page {
                    done += usize::from(one == behind);
                    agenda.did(one, if one == behind { AgendaStep::Over } else { AgendaStep::Rests(until) });
                }
            }
            AgendaCommand::Sleep(next) => {
                assert_eq!((done, next), (1, Some(until)));
                break;
            }
        }
    }
    let AgendaCommand::Do(page) = agenda.next(until) else { panic!("they rested long enough") };
    assert_eq!(page, stuck[..PAGE]);
}

/// One application with tens of thousands due, of which none could be done because too much of it waited, had all of them in
/// hand before long, and nothing of any other was taken any more.
#[test]
fn what_rests_leaves_room_for_others() {
    let mut world = World::default();
    (0..20_000).for_each(|n| world.write(item(10, AgendaKind::Expunge, 1, n)));
    (0..20_000).for_each(|n| world.write(item(10, AgendaKind::Deliver, 2, n)));
    let is_stuck = |one: &AgendaItem| one.application != ApplicationId::from_bytes([3; 20]);
    for round in 0..20 {
        let now = Timestamp::from_nanos(NOW.as_nanos() + 10 * round);
        let other = item(20 + round, AgendaKind::Deliver, 3, u32::try_from(round).unwrap_or_default());
        world.write(other);
        let (mut commands, mut done) = (0, false);
        while world.step_with(now, |one| match is_stuck(one) {
            true => AgendaStep::Rests(Timestamp::from_nanos(now.as_nanos() + 7)),
            false => AgendaStep::Over,
        }) {
            commands += 1;
            done |= world.done.contains(&other);
            assert!(commands < 10_000, "it never rests");
        }
        assert!(done, "in round {round} it waits for what cannot be done");
        assert!(world.agenda.in_hand.len() <= 2 * OF_LINE + 1, "{}", world.agenda.in_hand.len());
    }
    // Once all can be done, all is done.
    let now = Timestamp::from_nanos(NOW.as_nanos() + 1_000);
    while world.step(now).is_some() {}
    assert_eq!((world.rows.len(), world.done.len()), (0, 40_020));
}

/// However many applications have something that cannot be done, one more is looked at.
#[test]
fn many_with_something_that_rests_keep_no_other_waiting() {
    let mut world = World::default();
    for application in 0..20 {
        (0..1_500)
            .for_each(|n| world.write(item(10, AgendaKind::Expunge, application, 1_500 * u32::from(application) + n)));
    }
    let rests = |_: &AgendaItem| AgendaStep::Rests(Timestamp::from_nanos(NOW.as_nanos() + 7));
    while world.step_with(NOW, rests) {}
    let other = item(20, AgendaKind::Deliver, 200, 1);
    world.write(other);
    while world.step_with(NOW, |one| if *one == other { AgendaStep::Over } else { rests(one) }) {}
    assert!(world.done.contains(&other));
}

#[test]
fn what_goes_on_has_its_turn_and_others_theirs() {
    let mut agenda = Agenda::new();
    let large: Vec<_> = (0..100).map(|n| item(1, AgendaKind::Deliver, 1, n)).collect();
    let others = [item(2, AgendaKind::Expunge, 1, 200), item(3, AgendaKind::Deliver, 2, 201)];
    let rows: Vec<_> = large.iter().chain(&others).copied().collect();
    let AgendaCommand::Read { limit, .. } = agenda.next(NOW) else { panic!("nothing was read") };
    agenda.read(&rows, limit, NOW);
    // Of each of those that are large, three parts; what follows it in its page is not begun.
    let (mut parts, mut over) = (BTreeMap::new(), Vec::new());
    while let AgendaCommand::Do(page) = agenda.next(NOW) {
        let (mut goes, mut not_begun) = (None, Vec::new());
        for one in page {
            if !large.contains(&one) {
                over.push(one);
                agenda.did(one, AgendaStep::Over);
            } else if goes.is_some_and(|goes| goes != one) {
                not_begun.push(one);
            } else {
                goes = Some(one);
                let parts: &mut u32 = parts.entry(one).or_default();
                *parts += 1;
                agenda.did(one, if *parts == 3 { AgendaStep::Over } else { AgendaStep::Goes });
                over.extend((*parts == 3).then_some(one));
            }
        }
        not_begun.into_iter().rev().for_each(|one| agenda.did(one, AgendaStep::NotBegun));
    }
    let expected: Vec<_> = others.into_iter().rev().chain(large.iter().copied()).collect();
    let small = |one: &AgendaItem| others.contains(one);
    assert!(over[..2].iter().all(small) && over.len() == 102, "what is small does not wait for what is large");
    assert_eq!(over[2..], expected[2..], "one after another, in the order of their times");
}

/// What was begun went on before anything else was begun: deliveries to thousands of receivers each, beside something to be
/// forgotten, kept one to a single receiver waiting until the first of them was over.
#[test]
fn what_goes_on_leaves_room_for_what_begins() {
    let mut agenda = Agenda::new();
    let large = (0..40).map(|n| item(1, AgendaKind::Deliver, n, u32::from(n)));
    let expiries = (0..100).map(|n| item(1, AgendaKind::Expunge, 0, 1_000 + n));
    let small = item(2, AgendaKind::Deliver, 200, 5_000);
    let mut rows: Vec<_> = large.chain(expiries).chain([small]).collect();
    rows.sort_unstable();
    let AgendaCommand::Read { limit, .. } = agenda.next(NOW) else { panic!("nothing was read") };
    agenda.read(&rows, limit, NOW);
    let mut parts: BTreeMap<_, u32> = BTreeMap::new();
    for _ in 0..5 {
        let AgendaCommand::Do(page) = agenda.next(NOW) else { panic!("there is something to do") };
        if page.contains(&small) {
            return;
        }
        for one in page {
            let parts = parts.entry(one).or_default();
            *parts += 1;
            let is_over = one.what == AgendaKind::Expunge || *parts == 40;
            agenda.did(one, if is_over { AgendaStep::Over } else { AgendaStep::Goes });
        }
        assert!(agenda.begun.len() <= BEGUN, "{} are begun", agenda.begun.len());
    }
    panic!("what is small waits behind what is large");
}

/// Whatever is written when, ahead of what was read, behind it, or while a read is on its way: all is done, and nothing
/// before its time.
#[test]
fn everything_is_done_in_the_end() {
    for seed in 0..30 {
        let mut dice = SplitMix::new(seed);
        let mut roll = |n: u64| dice.roll() % n;
        let (mut world, mut now, mut events) = (World::default(), 100, 0);
        let mut reading: Option<(Vec<AgendaItem>, NonZeroUsize, Timestamp)> = None;
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 100_000, "it ends nowhere: seed {seed}, in engine/core/src/agenda/tests.rs");
            if rounds < 300 {
                for _ in 0..roll(40) {
                    events += 1;
                    let what = if roll(2) == 0 { AgendaKind::Deliver } else { AgendaKind::Expunge };
                    let at = (now + roll(40)).saturating_sub(roll(60));
                    world.write(item(at, what, u8::try_from(roll(3)).unwrap_or_default(), events));
                }
                now += roll(4);
                if roll(100) == 0 {
                    world.agenda.begin_anew();
                    reading = None;
                }
            } else {
                now += 1;
            }
            let at = Timestamp::from_nanos(now);
            if let Some((rows, limit, asked)) = reading.take() {
                world.agenda.read(&rows, limit, asked);
                continue;
            }
            match world.agenda.next(at) {
                AgendaCommand::Read { after, limit } => {
                    let limit = limit.min(NonZeroUsize::MIN.saturating_add(usize::try_from(roll(8)).unwrap_or(1)));
                    // It is answered in the next round: what is written until then it does not show.
                    reading = Some((world.answer(after, limit), limit, at));
                }
                AgendaCommand::Do(page) => {
                    for one in page {
                        assert!(one.at <= at, "before its time: seed {seed}");
                        match roll(6) {
                            0 => world.agenda.did(one, AgendaStep::Goes),
                            1 => world.agenda.did(one, AgendaStep::Rests(Timestamp::from_nanos(now + roll(20)))),
                            _ => {
                                world.rows.remove(&one);
                                world.agenda.did(one, AgendaStep::Over);
                            }
                        }
                    }
                }
                AgendaCommand::Sleep(next) => {
                    if rounds >= 300 && world.rows.is_empty() {
                        break;
                    }
                    let first = world.rows.first().map(|first| first.at);
                    assert!(
                        first.is_none_or(|first| first > at) || next.is_some_and(|next| next > at),
                        "it sleeps while something is due: seed {seed}"
                    );
                }
            }
        }
    }
}
