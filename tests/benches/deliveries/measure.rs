//! What a run took, and how it is printed.

use std::time::{Duration, Instant};

use clap::ValueEnum;

/// What delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// A loop over the HTTP client alone: no store, no queue.
    Bare,
    /// The engine over memory.
    Memory,
    /// The engine over fjall, accepts durable.
    Fjall,
    /// The engine over sled.
    Sled,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Deliveries a second.
    pub(crate) rate: f64,
    /// Of this process, a delivery.
    pub(crate) cpu: Duration,
}

/// Wall and CPU time since it was made.
pub(crate) struct Watch(Instant, Duration);

impl Watch {
    pub(crate) fn start() -> Self {
        Self(Instant::now(), cpu_time())
    }

    /// What each of `count` things took.
    pub(crate) fn measured(&self, count: usize) -> Measured {
        let Self(began, cpu) = self;
        let cpu = cpu_time().saturating_sub(*cpu);
        Measured { rate: count as f64 / began.elapsed().as_secs_f64(), cpu: cpu.div_f64(count as f64) }
    }
}

/// Of this process, all threads.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The median of each, beside that of the bare loop, which comes first.
pub(crate) fn print(endpoints: usize, runs: Vec<(Side, Vec<Measured>)>) {
    let mut bare = None;
    for (side, runs) in runs {
        let rate = median(runs.iter().map(|run| run.rate));
        let cpu = median(runs.iter().map(|run| run.cpu.as_secs_f64() * 1e6));
        let ratio = rate / *bare.get_or_insert(rate);
        let name = match side {
            Side::Bare => "bare loop",
            Side::Memory => "memory",
            Side::Fjall => "fjall",
            Side::Sled => "sled",
        };
        println!("{endpoints:>9}  {name:<9} {rate:>12.0} {ratio:>7.2} {cpu:>8.1}");
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
