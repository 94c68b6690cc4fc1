//! How fast events are delivered, as a ratio to a bare HTTP loop on the same machine in the same run.
//!
//! `cargo bench -p postrider-tests --bench deliveries` prints everything; `-- --help` says how to ask for less.
//!
//! Client and receiver share the machine. The receiver is a process of its own, and each endpoint an address of its own on
//! loopback (Linux answers on all of 127.0.0.0/8). Payloads are 1 KiB that cannot be compressed, all requests are signed.
//! Engines run with publishers that await the durable accept, at most 1,024 events not sent yet, one application an
//! endpoint, no ordering; a run ends when every outcome is committed. CPU is that of the client's process. The bare loop is
//! one over reqwest, which most programs use; the engine sends over the client inside of it.

mod accepts;
mod bare;
mod delivering;
mod measure;
mod receiver;

use std::error::Error;

use clap::Parser;
use mimalloc::MiMalloc;

use self::{
    measure::{Measured, Side},
    receiver::Other,
};

type Failed = Box<dyn Error + Send + Sync>;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How fast events are delivered.
#[derive(Clone, Debug, Parser)]
struct Wanted {
    /// Numbers of endpoints.
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000")]
    endpoints: Vec<usize>,
    /// Deliveries of one run.
    #[arg(long, default_value_t = 40_000)]
    deliveries: usize,
    /// Runs of each, one after the other in turns; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What to measure; the bare loop always is.
    #[arg(long, value_delimiter = ',', default_value = "memory,fjall,sled")]
    stores: Vec<Side>,
    /// Publishers that await the durable accept, each one event at a time.
    #[arg(long, default_value_t = 1024)]
    publishers: usize,
    /// Without a network: whatever the engine sends has arrived.
    #[arg(long)]
    null: bool,
    /// Leaves out accepts over HTTP.
    #[arg(long)]
    no_accepts: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this program does in a process of its own.
#[derive(Clone, Debug, clap::Subcommand)]
enum Role {
    /// Answers every request.
    #[command(hide = true)]
    Receive,
    /// Publishes over HTTP as fast as it is answered.
    #[command(hide = true)]
    Publish { address: std::net::SocketAddr, token: String, events: usize },
}

fn main() -> Result<(), Failed> {
    // Fresh memory is zeroed two megabytes at a time otherwise, in the engine and in the bare loop alike.
    let _unknown = rustix::thread::disable_transparent_huge_pages(true);
    let wanted = Wanted::parse();
    match &wanted.role {
        Some(Role::Receive) => receiver::run(),
        Some(Role::Publish { address, token, events }) => accepts::publish(*address, token, *events),
        None => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(all(&wanted))
        }
    }
}

async fn all(wanted: &Wanted) -> Result<(), Failed> {
    raise_open_files();
    println!(
        "{:>9}  {:<9} {:>12} {:>7} {:>8}   ({} publishers, {} deliveries a run, median of {})",
        "endpoints", "what", "deliveries/s", "ratio", "CPU µs", wanted.publishers, wanted.deliveries, wanted.rounds
    );
    let receiver = Other::start(&["receive"])?;
    let port: u16 = receiver.first_line.parse()?;
    for &endpoints in &wanted.endpoints {
        let mut runs: Vec<(Side, Vec<Measured>)> =
            std::iter::once(Side::Bare).chain(wanted.stores.iter().copied()).map(|side| (side, Vec::new())).collect();
        for _ in 0..wanted.rounds {
            for (side, measured) in &mut runs {
                measured.push(match side {
                    Side::Bare => bare::run(port, endpoints, wanted.deliveries).await?,
                    Side::Memory | Side::Fjall | Side::Sled => delivering::run(*side, port, endpoints, wanted).await?,
                });
            }
        }
        measure::print(endpoints, runs);
    }
    if !wanted.no_accepts {
        println!("\naccepts over HTTP, one event a request, 64 connections, durable on fjall:");
        for _ in 0..wanted.rounds {
            println!("{}", accepts::run(wanted.deliveries).await?);
        }
    }
    Ok(())
}

/// A connection each, and many systems begin with 1,024.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _as_it_is = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
