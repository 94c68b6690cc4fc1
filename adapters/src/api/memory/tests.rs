use std::collections::BTreeMap;

use http_body_util::BodyExt;
use postrider::core::{Dice, SplitMix};

use super::*;

const TOTAL: usize = 600;

fn owner(organisation: u8, application: u8) -> Owner {
    let application = (application > 0).then(|| ApplicationId::from_bytes([application; 20]));
    Owner { organisation: OrganisationId::from_bytes([organisation; 20]), application }
}

fn taken(pool: &Pool, owner: Owner) -> usize {
    pool.shares().owners.get(&owner).copied().unwrap_or_default()
}

/// As much as there is room for, a few bytes at a time.
fn greedy(pool: &Pool, owner: Owner) -> Held {
    let held = pool.hold(owner);
    while held.grow(5) == Ok(()) {
        assert!(pool.shares().all <= TOTAL, "there is no end to it");
    }
    held
}

#[test]
fn an_application_alone_has_a_third_and_leaves_room_for_others_of_its_organisation_and_of_others() {
    let pool = Pool::new(TOTAL);
    let one = greedy(&pool, owner(1, 1));
    assert_eq!(taken(&pool, owner(1, 1)), TOTAL / 3);
    let beside = pool.hold(owner(1, 2));
    let other = pool.hold(owner(2, 1));
    assert_eq!((beside.grow(TOTAL / 12), other.grow(TOTAL / 12)), (Ok(()), Ok(())));
    drop((one, beside, other));
    let shares = pool.shares();
    assert!(shares.all == 0 && shares.owners.is_empty() && shares.organisations.is_empty(), "{shares:?}");
}

#[test]
fn however_many_applications_an_organisation_has_it_leaves_half() {
    let pool = Pool::new(TOTAL);
    let all: Vec<_> = (1..=200).map(|application| greedy(&pool, owner(1, application))).collect();
    assert!(pool.shares().all <= TOTAL / 2, "{}", pool.shares().all);
    assert_eq!(pool.hold(owner(2, 1)).grow(TOTAL / 2), Ok(()));
    drop(all);
}

#[test]
fn what_is_larger_than_all_there_is_comes_when_nobody_else_holds_any() {
    let pool = Pool::new(TOTAL);
    let small = pool.hold(owner(1, 1));
    assert_eq!(small.grow(1), Ok(()));
    assert_eq!(pool.hold(owner(2, 1)).grow(TOTAL + 1), Err(NoRoom));
    drop(small);
    let large = pool.hold(owner(2, 1));
    assert_eq!((large.grow(TOTAL + 1), pool.hold(owner(1, 1)).grow(1)), (Ok(()), Err(NoRoom)));
}

/// The end of a body is asked for like the rest of it.
#[test]
fn nothing_more_is_given_to_whoever_asks_for_nothing_more() {
    let pool = Pool::new(TOTAL);
    let one = greedy(&pool, owner(1, 1));
    let others: Vec<_> = (2..5).map(|organisation| greedy(&pool, owner(organisation, 1))).collect();
    assert_eq!((one.grow(1), one.grow(0)), (Err(NoRoom), Ok(())));
    drop((one, others));
    assert_eq!(pool.hold(owner(5, 1)).grow(0), Ok(()));
    assert!(pool.shares().owners.is_empty() && pool.shares().organisations.is_empty());
}

#[test]
fn what_was_taken_is_given_back_whatever_happens_in_between() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("run again with SEED={seed}");
    let mut dice = SplitMix::new(seed);
    let pool = Pool::new(TOTAL);
    let mut held: BTreeMap<u64, (Held, Owner, usize)> = BTreeMap::new();
    for turn in 0..20_000 {
        let mut below = |most: u64| dice.roll() % most;
        let who = owner(u8::try_from(below(3)).unwrap_or(0), u8::try_from(below(4)).unwrap_or(0));
        let bytes = 1 + usize::try_from(below(60)).unwrap_or(0);
        match below(5) {
            0 => drop(held.pop_first()),
            1 => {
                if let Some((one, _, sum)) = held.values_mut().next_back() {
                    one.owe(bytes);
                    *sum += bytes;
                }
            }
            _ => {
                let one = pool.hold(who);
                let had = pool.shares().all;
                if one.grow(bytes) == Ok(()) {
                    assert!(had == 0 || had + bytes <= TOTAL, "{had} and {bytes}");
                    held.insert(turn, (one, who, bytes));
                }
            }
        }
        let sum: usize = held.values().map(|(_, _, bytes)| bytes).sum();
        assert_eq!(pool.shares().all, sum);
    }
    held.clear();
    assert_eq!(pool.shares().all, 0);
}

/// The client of an HTTP/2 stream that opens no window leaves the bytes with the connection, which is done with the answer.
#[tokio::test]
async fn an_answer_is_counted_until_the_last_of_its_bytes_is_gone() {
    let pool = Pool::new(1 << 20);
    let asked = Asked::of(&Method::GET, &HeaderMap::new());
    let answer = kept(&pool, owner(1, 1), asked, Response::new(Body::from(vec![7; 5_000]))).expect("there is room");
    assert_eq!(taken(&pool, owner(1, 1)), 5_000);
    let bytes = until_taken(answer).into_body().collect().await.expect("it is whole").to_bytes();
    let (first, last) = (bytes.slice(..10), bytes.slice(4_990..));
    drop(bytes);
    drop(first);
    assert_eq!((&last[..], taken(&pool, owner(1, 1))), (&[7; 10][..], 5_000));
    drop(last);
    assert_eq!(pool.shares().all, 0);
}
