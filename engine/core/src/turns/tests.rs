use proptest::prelude::*;

use super::*;

#[test]
fn keys_take_turns_however_much_one_of_them_has() {
    let mut queue = FairQueue::new(FairLimits::NONE);
    for item in 0..100 {
        queue.push('a', item).expect("nothing bounds it");
    }
    queue.push('b', 100).expect("nothing bounds it");
    assert_eq!(queue.peek(), Some(('a', &0)));
    let first: Vec<_> = std::iter::from_fn(|| queue.pop()).take(4).collect();
    assert_eq!(first, [('a', 0), ('b', 100), ('a', 1), ('a', 2)]);
    assert_eq!((queue.len(), queue.len_of('a'), queue.len_of('b')), (97, 97, 0));
}

#[test]
fn what_hangs_leaves_room_for_a_key_that_comes_later() {
    let mut queue = FairQueue::new(FairLimits::running(8));
    let begin_all = |queue: &mut FairQueue<_, _>| std::iter::from_fn(|| queue.begin()).count();
    for item in 0..100 {
        queue.push('a', item).expect("nothing bounds it");
    }
    assert_eq!(begin_all(&mut queue), 4, "half");
    for item in 0..100 {
        queue.push('b', item).expect("nothing bounds it");
    }
    assert_eq!(begin_all(&mut queue), 2, "as many as are left then");
    queue.push('c', 0).expect("nothing bounds it");
    assert_eq!(queue.begin(), Some(('c', 0)), "though all before it hang");
    queue.end('a');
    assert_eq!((queue.begin(), queue.running_of('a')), (None, 3));
}

#[test]
fn one_place_is_enough_to_go_on() {
    let mut queue = FairQueue::new(FairLimits::running(1));
    for item in 0..3 {
        queue.push('a', item).expect("nothing bounds it");
    }
    queue.push('b', 9).expect("nothing bounds it");
    let mut order = Vec::new();
    while let Some((key, item)) = queue.begin() {
        assert_eq!(queue.begin(), None);
        order.push(item);
        queue.end(key);
    }
    assert_eq!((order, queue.is_idle()), (vec![0, 9, 1, 2], true));
}

#[test]
fn a_key_has_its_own_limits() {
    let mut queue = FairQueue::new(FairLimits { running: 100, running_per_key: 1, waiting_per_key: 2 });
    assert_eq!([1, 2, 3].map(|item| queue.push('a', item)), [Ok(()), Ok(()), Err(3)]);
    assert_eq!(queue.push('b', 4), Ok(()));
    assert_eq!([queue.begin(), queue.begin(), queue.begin()], [Some(('a', 1)), Some(('b', 4)), None]);
    queue.end('a');
    assert_eq!(queue.begin(), Some(('a', 2)));
}

#[test]
fn what_is_taken_out_leaves_no_turn_behind() {
    let mut queue = FairQueue::new(FairLimits::NONE);
    for item in 0..4 {
        queue.push('a', item).expect("nothing bounds it");
        queue.push('b', 10 + item).expect("nothing bounds it");
    }
    queue.retain('a', |item| item % 2 == 1);
    assert_eq!(queue.remove_last('a'), Some(3));
    assert_eq!(queue.remove('b'), [10, 11, 12, 13]);
    assert_eq!((queue.pop(), queue.pop(), queue.remove_last('a'), queue.is_idle()), (Some(('a', 1)), None, None, true));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(u8),
    Begin,
    Pop,
    End(u8),
    Remove(u8),
    RemoveLast(u8),
    Retain(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..5_u8;
    prop_oneof![
        4 => key.clone().prop_map(Step::Push),
        3 => Just(Step::Begin),
        1 => Just(Step::Pop),
        3 => key.clone().prop_map(Step::End),
        1 => key.clone().prop_map(Step::Remove),
        1 => key.clone().prop_map(Step::RemoveLast),
        1 => key.prop_map(Step::Retain),
    ]
}

proptest! {
    /// Whatever is pushed, taken out and left hanging: counts are right, limits are kept, and a key that runs nothing
    /// begins while other keys begin at most once each.
    #[test]
    fn counts_are_right_and_a_key_that_runs_nothing_comes_to_its_turn(
        steps in prop::collection::vec(step(), 1..300), running in 1..12_usize,
    ) {
        let mut queue = FairQueue::new(FairLimits { waiting_per_key: 20, ..FairLimits::running(running) });
        let (mut waits, mut runs) = ([0_usize; 5], [0_usize; 5]);
        // How often others began since this key waits and runs nothing.
        let mut passed = [0_usize; 5];
        for step in steps {
            match step {
                Step::Push(key) => match queue.push(key, key) {
                    Ok(()) => waits[usize::from(key)] += 1,
                    Err(_) => prop_assert_eq!(waits[usize::from(key)], 20),
                },
                Step::Begin => match queue.begin() {
                    Some((key, item)) => {
                        prop_assert_eq!(key, item);
                        let key = usize::from(key);
                        passed.iter_mut().for_each(|passed| *passed += 1);
                        (waits[key], runs[key], passed[key]) = (waits[key] - 1, runs[key] + 1, 0);
                    }
                    None if runs.iter().sum::<usize>() < running => {
                        prop_assert!((0..5).all(|key| waits[key] == 0 || runs[key] > 0), "one could begin: {:?}", queue);
                    }
                    None => {}
                },
                Step::Pop => if let Some((key, _)) = queue.pop() {
                    (waits[usize::from(key)], passed[usize::from(key)]) = (waits[usize::from(key)] - 1, 0);
                },
                Step::End(key) => {
                    queue.end(key);
                    runs[usize::from(key)] = runs[usize::from(key)].saturating_sub(1);
                }
                Step::Remove(key) => {
                    prop_assert_eq!(queue.remove(key).len(), waits[usize::from(key)]);
                    waits[usize::from(key)] = 0;
                }
                Step::RemoveLast(key) => if queue.remove_last(key).is_some() {
                    waits[usize::from(key)] -= 1;
                },
                Step::Retain(key) => {
                    let mut keeps = false;
                    queue.retain(key, |_| { keeps = !keeps; keeps });
                    waits[usize::from(key)] = waits[usize::from(key)].div_ceil(2);
                }
            }
            for key in 0..5 {
                if waits[key] == 0 || runs[key] > 0 {
                    passed[key] = 0;
                }
                prop_assert!(passed[key] <= 4, "{key} was passed {} times", passed[key]);
                prop_assert_eq!((queue.len_of(key as u8), queue.running_of(key as u8)), (waits[key], runs[key]));
            }
            prop_assert_eq!((queue.len(), queue.running()), (waits.iter().sum(), runs.iter().sum()));
            prop_assert!(queue.running() <= running);
            prop_assert_eq!(queue.is_idle(), queue.len() + queue.running() == 0);
        }
    }
}

#[test]
fn what_is_put_back_goes_before_the_others_of_its_key() {
    let mut queue = FairQueue::new(FairLimits { waiting_per_key: 2, ..FairLimits::NONE });
    [(1, 'a'), (1, 'b'), (2, 'c')].into_iter().for_each(|(key, item)| queue.push(key, item).expect("there is room"));
    let taken = [queue.pop(), queue.pop()].map(|taken| taken.expect("something waits"));
    assert_eq!(taken, [(1, 'a'), (2, 'c')]);
    taken.into_iter().rev().for_each(|(key, item)| queue.push_front(key, item));
    assert_eq!(queue.push(1, 'd'), Err('d'), "they count");
    let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
    assert_eq!(order, [(1, 'a'), (2, 'c'), (1, 'b')]);
    assert!(queue.is_idle());
}
