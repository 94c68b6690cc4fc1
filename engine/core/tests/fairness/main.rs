//! Whatever tenants share serves a small one within a bounded time, whatever the others do.
//!
//! One model for all of it: some hostile tenants, each with a way of its own to take as much as it can, and one small
//! tenant that wants one thing once. Who takes turns is a [`Shared`]; whatever else is to be shared fairly gets one here.
//!
//! A seed decides everything. Run one again with `FAIRNESS_SEED=<seed> cargo test -p postrider-core --test fairness`, and
//! more of them with `FAIRNESS_SEEDS=<number>`.

mod due;
mod shared;

use std::collections::BTreeMap;

use postrider_core::{Dice, FairLimits, SplitMix};

use self::{
    due::{Due, Tasks, Wakes},
    shared::{Bytes, Commits, InFlight, Running},
};

/// After so many steps a request that hangs is given up.
const TIMEOUT: u64 = 30;
/// The small tenant, and the one wish that it has.
const SMALL: u64 = 0;

/// Something that tenants share, one turn after another.
pub(crate) trait Shared {
    /// An endpoint of a tenant wants some of it.
    fn ask(&mut self, wish: Wish, now: u64);

    /// Whose turn it is, as often as it is somebody's.
    fn serve(&mut self, now: u64) -> Vec<Wish>;

    /// One that was served is over, and gives back what it had.
    fn end(&mut self, wish: Wish, took: u64);
}

/// One of what a tenant wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wish {
    pub(crate) tenant: u64,
    pub(crate) endpoint: u64,
    /// From 1 to 20.
    pub(crate) size: usize,
    pub(crate) number: u64,
}

/// How a hostile tenant takes what it can.
#[derive(Clone, Copy, Debug)]
struct Greed {
    endpoints: u64,
    /// What it has waiting at any time.
    waiting: usize,
    size: usize,
    /// How long it keeps what it has.
    takes: u64,
    /// In so many of ten cases it keeps it until it is given up.
    hangs: u64,
}

#[test]
fn requests_in_flight() {
    check("requests in flight", 2 * TIMEOUT, || InFlight::new(100));
}

#[test]
fn memory_for_payloads() {
    check("memory for payloads", 4 * TIMEOUT, || Bytes::new(200));
}

#[test]
fn commits() {
    check("commits", 5, Commits::new);
}

/// Lookups of names, and questions for proofs: whatever runs a while, and is begun in turn.
#[test]
fn what_runs_a_while() {
    check("what runs a while", 2 * TIMEOUT, || Running::new(FairLimits::running(64)));
}

/// Schemas, on a machine that has few processors: nothing is free but when one of them is done.
#[test]
fn what_takes_a_processor() {
    let limits = FairLimits { waiting_per_key: 1_000, ..FairLimits::running(2) };
    check("what takes a processor", 4 * TIMEOUT, || Running::new(limits));
}

#[test]
fn pieces_of_tasks() {
    check("pieces of tasks", 2 * TIMEOUT, || Tasks::new(8));
}

#[test]
fn what_is_due_at_a_time_of_its_own() {
    check("what is due at a time of its own", 10, Due::new);
}

/// Six hundred are due before, as many as six times those that may be up.
#[test]
fn wake_ups() {
    check("wake-ups", 2 * TIMEOUT, || Wakes::new(100));
}

fn check<S: Shared>(name: &str, patience: u64, shared: impl Fn() -> S) {
    let seeds = number("FAIRNESS_SEED").map_or(0..number("FAIRNESS_SEEDS").unwrap_or(300), |seed| seed..seed + 1);
    for seed in seeds {
        if let Err(greeds) = run(seed, patience, shared()) {
            panic!(
                "{name}: the small tenant has waited for {patience} steps behind {greeds:?}; \
                 repeat with FAIRNESS_SEED={seed} cargo test -p postrider-core --test fairness"
            );
        }
    }
}

fn run(seed: u64, patience: u64, mut shared: impl Shared) -> Result<(), Vec<Greed>> {
    let mut dice = SplitMix::new(seed);
    let greeds: Vec<_> = (0..1 + dice.roll() % 3).map(|_| greed(&mut dice)).collect();
    let asks_at = dice.roll() % (2 * TIMEOUT);
    let mut waiting = vec![0; greeds.len()];
    let mut served: BTreeMap<(u64, u64), (Wish, u64)> = BTreeMap::new();
    let mut number = 0;
    for now in 0..asks_at + patience {
        for (greed, (waiting, tenant)) in greeds.iter().zip(waiting.iter_mut().zip(1..)) {
            while *waiting < greed.waiting {
                number += 1;
                *waiting += 1;
                let endpoint = 1_000 * tenant + dice.roll() % greed.endpoints;
                shared.ask(Wish { tenant, endpoint, size: greed.size, number }, now);
            }
        }
        if now == asks_at {
            shared.ask(Wish { tenant: SMALL, endpoint: 0, size: 1, number: 0 }, now);
        }
        for wish in shared.serve(now) {
            let Some(of) = wish.tenant.checked_sub(1).map(|of| of as usize) else { return Ok(()) };
            waiting[of] -= 1;
            let takes = if dice.roll() % 10 < greeds[of].hangs { TIMEOUT } else { greeds[of].takes };
            served.insert((now + takes, wish.number), (wish, takes));
        }
        while let Some(over) = served.first_entry().filter(|over| over.key().0 <= now + 1) {
            let (wish, took) = over.remove();
            shared.end(wish, took);
        }
    }
    Err(greeds)
}

fn greed(dice: &mut SplitMix) -> Greed {
    let mut pick = |of: [u64; 4]| of[(dice.roll() % 4) as usize];
    Greed {
        endpoints: pick([1, 3, 50, 400]),
        waiting: pick([5, 50, 200, 200]) as usize,
        size: pick([1, 2, 10, 20]) as usize,
        takes: pick([1, 1, 3, 20]),
        hangs: pick([0, 0, 5, 10]),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
