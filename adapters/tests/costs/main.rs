//! What one request may cost: memory at its peak, and rows and bytes of the store, for the most expensive requests that are
//! allowed, and for some that are not and must be refused before they cost anything.
//!
//! Every fault of this kind looked alike: a bound stood on one thing and the cost lay in another. A schema of a kilobyte
//! whose references double took gigabytes, a list of one item read all that there was, three megabytes of names became
//! eighty of writes. So the costs themselves are held here, whatever stands in the way of them.
//!
//! One test alone in its process: memory is counted for all of it, and nothing else may run.

mod requests;
mod world;

use peak_alloc::PeakAlloc;

use self::{
    requests::{Case, cases},
    world::{Failed, World},
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

#[tokio::test(start_paused = true)]
async fn no_request_costs_more_than_its_kind_may() -> Result<(), Failed> {
    let world = World::new().await?;
    let (mut beyond, cases) = (Vec::new(), cases());
    assert!(cases.len() >= 100, "{} requests are tried", cases.len());
    for case in &cases {
        let spent = world.spend(case).await?;
        let Case { name, most, status, .. } = case;
        if std::env::var_os("COSTS_SHOWN").is_some() {
            println!("{name}: {spent:?}");
        }
        if *status != 0 && spent.status / 100 != *status {
            beyond.push(format!("{name}: answered {}: {}", spent.status, spent.answer));
        }
        for (what, is, may) in [
            ("KiB of memory", spent.peak_bytes >> 10, most.peak_bytes >> 10),
            ("rows read", spent.rows_read, most.rows_read),
            ("rows written", spent.rows_written, most.rows_written),
            ("KiB written", spent.bytes_written >> 10, most.bytes_written >> 10),
        ] {
            if is > may {
                beyond.push(format!("{name}: {is} {what}, may take {may}"));
            }
        }
    }
    assert!(beyond.is_empty(), "{} beyond their bounds:\n{}", beyond.len(), beyond.join("\n"));
    Ok(())
}
