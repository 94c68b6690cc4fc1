use super::*;

const NOW: Timestamp = Timestamp::from_nanos(1_000_000_000_000);

fn organisation(n: u8) -> OrganisationId {
    OrganisationId::from_bytes([n; 20])
}

fn task(n: u8) -> TaskId {
    TaskId::from_bytes([n; 20])
}

fn begun(turns: &mut TaskTurns) -> Vec<TaskId> {
    std::iter::from_fn(|| turns.begin(NOW)).map(|(_, task)| task).collect()
}

/// Eight tasks of one organisation that waited for room in a queue kept every place, and with them every task of every
/// organisation, for as long as that queue was full.
#[test]
fn who_waits_holds_no_place() {
    let mut turns = TaskTurns::new(8);
    (1..=20).for_each(|n| turns.open(organisation(1), task(n)));
    let of_one = begun(&mut turns);
    assert_eq!(of_one.len(), 4, "half is left for others");
    turns.open(organisation(2), task(100));
    assert_eq!(begun(&mut turns), [task(100)]);
    for one in of_one {
        turns.did(one, None, TaskTurn::Rests(GotOn::No), NOW);
    }
    assert_eq!(begun(&mut turns).len(), 4, "others of the same organisation");
    turns.open(organisation(3), task(200));
    assert_eq!(begun(&mut turns), [task(200)]);
}

#[test]
fn applications_of_an_organisation_take_turns() {
    let mut turns = TaskTurns::new(2);
    let of = |n: u8| Some(ApplicationId::from_bytes([if n == 9 { 2 } else { 1 }; 20]));
    (1..=9).for_each(|n| turns.open(organisation(1), task(n)));
    // What they are about is known after the first piece.
    let mut done = Vec::new();
    for _ in 0..40 {
        let (_, next) = turns.begin(NOW).expect("there is more to do");
        let n = next.to_bytes()[0];
        done.push(n);
        turns.did(next, of(n), TaskTurn::Goes(GotOn::Yes), NOW);
    }
    let of_the_second = done[20..].iter().filter(|n| **n == 9).count();
    assert!(of_the_second >= 9, "{done:?}");
}

#[test]
fn a_task_is_run_once_and_rests_longer_the_longer_it_gets_nowhere() {
    let mut turns = TaskTurns::new(8);
    turns.open(organisation(1), task(1));
    turns.open(organisation(1), task(1));
    assert_eq!(begun(&mut turns), [task(1)]);
    turns.open(organisation(1), task(1));
    assert_eq!(begun(&mut turns), []);
    let (mut now, mut rests) = (NOW, Vec::new());
    for got_on in [GotOn::Yes, GotOn::No, GotOn::No, GotOn::No, GotOn::No, GotOn::No, GotOn::No, GotOn::Yes] {
        turns.did(task(1), None, TaskTurn::Rests(got_on), now);
        let at = turns.next().expect("it rests");
        assert_eq!(turns.begin(now), None);
        rests.push(at.since(now).as_millis());
        now = at;
        assert_eq!(turns.begin(now), Some((organisation(1), task(1))));
    }
    assert_eq!(rests, [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 250]);
    turns.did(task(1), None, TaskTurn::Over, now);
    assert_eq!((turns.begin(now), turns.next()), (None, None));
    turns.open(organisation(1), task(1));
    assert_eq!(turns.begin(now), Some((organisation(1), task(1))), "again, once it is over");
}
