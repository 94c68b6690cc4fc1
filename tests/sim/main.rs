//! All machines over the real layout of the store, in a world where every answer comes late: slots, endpoints, the
//! grouping of commits, permits, wakes and the purge of one process after another, with receivers that fail, people who
//! interfere, actors that panic, stores that fail, processes that are killed, power cuts and clocks that are set back.
//! No threads, no clock, no chance but the seed: the same seed gives the same bytes.
//!
//! ```sh
//! cargo test -p postrider-tests --test sim                                      # 60,000 steps
//! cargo test --release -p postrider-tests --test sim -- --steps 1000000
//! cargo test -p postrider-tests --test sim -- --seed 7 --trace                  # one seed again, and what happened
//! ```
//!
//! Each seed has a phase with faults, in which nothing wrong may happen (safety), and one without, in which everything
//! must be delivered (liveness). What must hold is in `invariants/`, a file each.

mod commits;
mod endpoints;
mod faults;
mod invariants;
mod ledger;
mod network;
mod people;
mod process;
mod spec;
mod trace;
mod wakes;
mod world;

use clap::Parser;

use crate::world::{Told, World};

type Failed = Box<dyn std::error::Error>;

/// Drives all machines over the real layout.
#[derive(Debug, Parser)]
struct Wanted {
    /// Only this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// The first seed; each one that follows is one more.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Seeds are run until so many steps are made.
    #[arg(long, default_value_t = 60_000)]
    steps: u64,
    /// Prints what happens.
    #[arg(long)]
    trace: bool,
    /// What runners of tests say to all test programs.
    #[command(flatten)]
    runner: Runner,
}

/// What runners of tests say to all test programs: this one holds a single test, `simulation`.
#[derive(Debug, clap::Args)]
struct Runner {
    #[arg(long, hide = true)]
    list: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(hide = true)]
    filter: Vec<String>,
}

impl Runner {
    /// Whether there is anything to run.
    fn is_asked(&self) -> bool {
        let is_meant =
            self.filter.is_empty() || self.filter.iter().any(|filter| "simulation".contains(filter.as_str()));
        if self.list && !self.ignored && is_meant {
            println!("simulation: test");
        }
        !self.list && !self.ignored && is_meant
    }
}

fn main() -> Result<(), Failed> {
    let wanted = Wanted::parse();
    if !wanted.runner.is_asked() {
        return Ok(());
    }
    let (mut steps, mut seeds, mut all) = (0, 0, Told::default());
    for seed in wanted.seed.map_or(wanted.from..u64::MAX, |seed| seed..seed + 1) {
        let told = run(seed, wanted.trace)?;
        if seeds == 0 {
            assert_eq!(run(seed, false)?.digest, told.digest, "seed {seed} twice is not the same");
        }
        seeds += 1;
        steps += told.steps;
        all.add(&told);
        if steps >= wanted.steps {
            break;
        }
    }
    println!(
        "simulation: {seeds} seeds from {}, {steps} steps without a violation; {all}",
        wanted.seed.unwrap_or(wanted.from)
    );
    Ok(())
}

fn run(seed: u64, traces: bool) -> Result<Told, Failed> {
    let outcome = std::panic::catch_unwind(|| World::new(seed, traces).run());
    outcome
        .map_err(|_| format!("repeat with: cargo test -p postrider-tests --test sim -- --seed {seed} --trace").into())
}
