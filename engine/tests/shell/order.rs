//! Memory follows the commits, in their order: what was made is there, what was deleted is not, however late the store
//! answers what is asked of it, and however often requests are refused because something changed.

use std::{collections::VecDeque, time::Duration};

use postrider::{
    ApplicationSpec, EndpointDraft, EndpointSpec, EndpointStatus, Engine, Event, EventTypeSpec,
    core::{Dice, SplitMix},
    storage::{
        Fjall, MemoryStore, OpenStore,
        testing::{Fault, Faulty, InTempDir, ReadFault},
    },
    testing::NullTransport,
};
use tokio::task::{JoinSet, yield_now};

use crate::support::Failed;

/// Endpoints are made, changed and deleted beside publishes that are planned for them and refused, while every read is
/// answered late, with what it found when it was asked, and so is every commit, which reads see before.
#[tokio::test(start_paused = true)]
async fn what_was_made_is_there_however_late_a_read_is_answered() -> Result<(), Failed> {
    let seed = std::env::var("POSTRIDER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("seed {seed}; again: POSTRIDER_SEED={seed} cargo nextest run -p postrider --test shell what_was_made");
    let mut dice = SplitMix::new(seed);
    let mut turns = |at_most: u64| u32::try_from(dice.roll() % at_most).unwrap_or_default();
    let commits: Vec<_> = (1..10_000).map(|commit| (commit, Fault::Late(turns(60)))).collect();
    let reads: Vec<_> = (1..100_000).map(|read| (read, ReadFault::Late(turns(120)))).collect();
    churn(Faulty::new(MemoryStore::new(), commits).reads(reads), seed, 60).await
}

/// As a user meets it: a store on disk, and threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_is_there_on_disk() -> Result<(), Failed> {
    churn(InTempDir::new(|dir| Fjall::at(dir)), 7, 60).await
}

/// Each changes something and looks whether it sees what it was told, this often.
async fn churn(store: impl OpenStore, seed: u64, rounds: usize) -> Result<(), Failed> {
    let receiver = NullTransport::new();
    let engine = Engine::builder(store, receiver.clone()).seed(seed).start().await?;
    for name in ["busy", "calm"] {
        engine.applications().upsert(name, ApplicationSpec::new(name)).await?;
    }
    engine.endpoints("calm").upsert("stays", to("calm")).await?;
    let mut tasks = JoinSet::new();
    for n in 0..12_u64 {
        let (engine, dice) = (engine.clone(), SplitMix::new(seed ^ (n << 32)));
        tasks.spawn(async move {
            match n {
                0..6 => endpoints(&engine, "busy", dice, rounds).await,
                6 => endpoints(&engine, "calm", dice, rounds).await,
                7 => applications(&engine, dice, rounds).await,
                8 => event_types(&engine, dice, rounds).await,
                _ => publish(&engine, dice, rounds).await,
            }
            .map_err(|failed| failed.to_string())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    assert!(engine.endpoints("calm").get("stays").is_ok());
    engine.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

fn to(path: &str) -> EndpointSpec {
    // Nobody publishes this: who wants it changes all the same.
    EndpointSpec::new(format!("https://receiver.example/{path}")).event_types(["nothing"])
}

/// Lets others run, and looks at every turn.
async fn for_some_turns(dice: &mut SplitMix, holds: impl Fn()) {
    for _ in 0..dice.roll() % 40 {
        holds();
        yield_now().await;
    }
    holds();
}

/// Keeps a few, changes them, and deletes the oldest.
async fn endpoints(engine: &Engine, app: &'static str, mut dice: SplitMix, rounds: usize) -> Result<(), Failed> {
    let endpoints = engine.endpoints(app);
    let (mut made, mut deleted) = (VecDeque::new(), Vec::new());
    for round in 0..rounds {
        let new = endpoints.create(to("churn")).await?.id;
        made.push_back((new, EndpointStatus::Active));
        let (changed, status) = made.front_mut().ok_or("there is one")?;
        let change = |draft: &mut EndpointDraft| draft.status = EndpointStatus::Paused;
        *status = endpoints.edit(*changed, change).await?.status;
        if made.len() > 3
            && let Some((oldest, _)) = made.pop_front()
        {
            endpoints.delete(oldest).await?;
            deleted.push(oldest);
        }
        for_some_turns(&mut dice, || {
            for (id, status) in &made {
                let found = endpoints.get(*id).map(|found| found.status);
                assert!(found.as_ref().is_ok_and(|found| found == status), "{app} {round}: {found:?}, not {status:?}");
            }
            for id in deleted.iter().rev().take(3) {
                assert!(endpoints.get(*id).is_err(), "{app} {round}: a deleted endpoint is there again");
            }
        })
        .await;
    }
    Ok(())
}

async fn applications(engine: &Engine, mut dice: SplitMix, rounds: usize) -> Result<(), Failed> {
    let applications = engine.applications();
    for round in 0..rounds {
        let made = applications.create(ApplicationSpec::new("new")).await?.id;
        engine.endpoints(made).create(to("churn")).await?;
        for_some_turns(&mut dice, || assert!(applications.get(made).is_ok(), "{round}: it is not there")).await;
        applications.update(made, |spec| spec.name = "changed".into()).await?;
        let is_changed = || applications.get(made).is_ok_and(|found| found.spec.name == "changed");
        for_some_turns(&mut dice, || assert!(is_changed(), "{round}: it is as it was")).await;
        applications.delete(made).await?;
        for_some_turns(&mut dice, || assert!(applications.get(made).is_err(), "{round}: it is there again")).await;
    }
    Ok(())
}

async fn event_types(engine: &Engine, mut dice: SplitMix, rounds: usize) -> Result<(), Failed> {
    // Of another organisation: one that describes event types lets endpoints ask for no others.
    let types = engine.organisation("org_23rb8YdGqMT0qIzpgGwdXfHirMv".parse()?).event_types();
    for round in 0..rounds {
        // Two at once: one of them is refused first.
        let spec = EventTypeSpec::new(round.to_string());
        let (one, other) = tokio::join!(types.upsert("churn", spec.clone()), types.upsert("churn", spec.clone()));
        one?;
        other?;
        let is_made = || types.get("churn").is_ok_and(|found| found.spec == spec);
        for_some_turns(&mut dice, || assert!(is_made(), "{round}: it is as it was")).await;
        types.delete("churn").await?;
        for_some_turns(&mut dice, || assert!(types.get("churn").is_err(), "{round}: it is there again")).await;
    }
    Ok(())
}

/// Planned for endpoints that change meanwhile: refused, and planned anew.
async fn publish(engine: &Engine, mut dice: SplitMix, rounds: usize) -> Result<(), Failed> {
    for _ in 0..rounds * 4 {
        match engine.publish("busy", Event::new("invoice.paid", "{}")).await {
            Ok(_) | Err(postrider::PublishError::Contended) => {}
            Err(other) => return Err(other.into()),
        }
        for_some_turns(&mut dice, || {}).await;
    }
    Ok(())
}
