//! A scripted receiver to run beside a daemon: prints where it listens, and writes what came to a log.
//!
//! ```text
//! receiver [--bind 127.0.0.1:8080]... [--log requests.tsv]
//! ```
//!
//! Without `--bind` it takes a free port of 127.0.0.1. It prints one line `listening on http://…` an address, and runs
//! until it is killed. The log has a line a request, written before the answer: `webhook-id`, target, SHA-256 of the
//! body, first 80 bytes of the body, separated by tabs. Nothing is kept in memory.

use std::{error::Error, future, io::Write, process::ExitCode};

use postrider_tests::{Receiver, ReceiverBuilder};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("receiver: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (receiver, addresses) = configured()?;
    let receiver = receiver.forget().start().await?;
    for index in 0..addresses {
        println!("listening on {}", receiver.url_at(index, ""));
    }
    std::io::stdout().flush()?;
    future::pending::<()>().await;
    Ok(())
}

/// The receiver, and at how many addresses.
fn configured() -> Result<(ReceiverBuilder, usize), Box<dyn Error>> {
    let (mut receiver, mut addresses) = (Receiver::builder(), 0);
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        receiver = match option.as_str() {
            "--bind" => {
                addresses += 1;
                receiver.bind(value.parse()?)
            }
            "--log" => receiver.log(value),
            _ => return Err(format!("unknown option {option}: give --bind or --log").into()),
        };
    }
    Ok((receiver, addresses.max(1)))
}
