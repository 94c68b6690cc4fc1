//! Answers to requests that may be sent again.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use postrider::{
    AnswerError, Claim, Clock as _, Engine, IdempotentRequest, KeptAnswer, OrganisationId, SystemClock, Unanswered,
    core::{Batch, DocumentKind, Durability, Write},
    storage::{DocumentQuery, MemoryStore, OpenStore},
    testing::ManualClock,
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    ending::AlsoTokio,
    support::{Failed, Knobbed, Knobs, always_ok},
};

const HOUR: Duration = Duration::from_secs(3600);

fn asked(content: &str) -> IdempotentRequest {
    IdempotentRequest::new(&[b"somebody", b"a key"], &[content.as_bytes()])
}

fn said(body: &str) -> KeptAnswer {
    KeptAnswer { status: 201, content_type: Some("application/json".into()), body: body.to_owned().into() }
}

async fn start(medium: &MemoryStore) -> Result<Engine, Failed> {
    Ok(Engine::builder(medium.clone(), always_ok()).start().await?)
}

async fn claim(engine: &Engine, content: &str) -> Result<Claim, AnswerError> {
    engine.organisation(OrganisationId::DEFAULT).answers().claim(&asked(content)).await
}

async fn first(engine: &Engine, content: &str) -> Result<Unanswered, Failed> {
    match claim(engine, content).await? {
        Claim::First(turn) => Ok(turn),
        Claim::Answered(kept) => Err(format!("answered: {kept:?}").into()),
    }
}

async fn answered(engine: &Engine, content: &str) -> Result<KeptAnswer, Failed> {
    match claim(engine, content).await? {
        Claim::Answered(kept) => Ok(kept),
        Claim::First(_) => Err("it is the first".into()),
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_repeated_for_a_day_over_a_restart() -> Result<(), Failed> {
    let medium = MemoryStore::new();
    let engine = start(&medium).await?;
    first(&engine, "x").await?.keep(&said("one")).await?;
    assert_eq!(answered(&engine, "x").await?, said("one"));
    assert!(matches!(claim(&engine, "y").await, Err(AnswerError::OtherRequest)));
    engine.shutdown(HOUR).await;
    let engine = start(&medium).await?;
    sleep(HOUR * 23).await;
    assert_eq!(answered(&engine, "x").await?, said("one"));
    sleep(HOUR * 2).await;
    // Now for another one, too.
    first(&engine, "y").await?.keep(&said("two")).await?;
    assert_eq!(answered(&engine, "y").await?, said("two"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn only_one_is_carried_out_at_a_time_and_one_that_came_to_nothing_leaves_nothing() -> Result<(), Failed> {
    let engine = start(&MemoryStore::new()).await?;
    let turn = first(&engine, "x").await?;
    assert!(timeout(HOUR, claim(&engine, "x")).await.is_err(), "it waits");
    assert!(timeout(HOUR, claim(&engine, "y")).await.is_err(), "it waits, too");
    drop(turn);
    let turn = first(&engine, "y").await?;
    let (kept, waited) = tokio::join!(
        async {
            sleep(HOUR).await;
            turn.keep(&said("one")).await
        },
        answered(&engine, "y")
    );
    kept?;
    assert_eq!(waited?, said("one"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_long_is_not_kept() -> Result<(), Failed> {
    let engine = start(&MemoryStore::new()).await?;
    first(&engine, "x").await?.keep(&said(&"x".repeat(postrider::ANSWER_BYTES_MAX + 1))).await?;
    first(&engine, "x").await?.keep(&said(&"x".repeat(postrider::ANSWER_BYTES_MAX))).await?;
    assert_eq!(answered(&engine, "x").await?.body.len(), postrider::ANSWER_BYTES_MAX);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn old_answers_are_taken_away_and_only_they() -> Result<(), Failed> {
    let medium = MemoryStore::new();
    let engine = start(&medium).await?;
    let answers = engine.organisation(OrganisationId::DEFAULT).answers();
    let keep = async |n: u32| match answers.claim(&IdempotentRequest::new(&[&n.to_be_bytes()], &[])).await? {
        Claim::First(turn) => Ok::<_, Failed>(turn.keep(&said("x")).await?),
        Claim::Answered(_) => Err("there is one".into()),
    };
    for n in 0..40 {
        keep(n).await?;
    }
    sleep(HOUR * 20).await;
    for n in 40..43 {
        keep(n).await?;
    }
    sleep(HOUR * 6).await;
    engine.shutdown(HOUR).await;
    let store = medium.open().await?;
    let all = NonZeroUsize::MIN.saturating_add(999);
    assert_eq!(store.reads().documents(&DocumentQuery::all(DocumentKind::Answer), all).await?.len(), 3);
    Ok(())
}

async fn count(medium: &MemoryStore, kind: DocumentKind) -> Result<usize, Failed> {
    let all = NonZeroUsize::MIN.saturating_add(9_999);
    Ok(medium.open().await?.reads().documents(&DocumentQuery::all(kind), all).await?.len())
}

/// A thousand answers that were good for hours yet were read every hour.
#[tokio::test(start_paused = true)]
async fn answers_that_are_good_are_not_read_to_find_old_ones() -> Result<(), Failed> {
    let medium = MemoryStore::new();
    let store = Knobbed::new(medium.clone());
    let knobs = Arc::clone(&store.knobs);
    let engine = Engine::builder(store, always_ok()).start().await?;
    let keep = async |organisation: u8, n: u32| {
        let organisation = OrganisationId::from_bytes([organisation; 20]);
        let asked = IdempotentRequest::new(&[&n.to_be_bytes()], &[]);
        match engine.organisation(organisation).answers().claim(&asked).await? {
            Claim::First(turn) => Ok::<_, Failed>(turn.keep(&said("x")).await?),
            Claim::Answered(_) => Err("there is one".into()),
        }
    };
    for n in 0..5 {
        keep(1, n).await?;
    }
    sleep(HOUR * 12).await;
    for n in 5..1_000 {
        keep(1, n).await?;
    }
    keep(2, 0).await?;
    let before = Knobs::count(&knobs.reads);
    sleep(HOUR).await;
    let reads = Knobs::count(&knobs.reads) - before;
    assert!(reads < 75, "{reads}, most of them for other things, once a minute");
    // One of them is there again before its old mark is found.
    sleep(HOUR * 11 + Duration::from_secs(10)).await;
    keep(1, 0).await?;
    sleep(HOUR * 2).await;
    engine.shutdown(HOUR).await;
    assert_eq!(count(&medium, DocumentKind::Answer).await?, 997);
    assert_eq!(count(&medium, DocumentKind::AnswerAge).await?, 997);
    Ok(())
}

/// They were kept before there were marks.
#[tokio::test(start_paused = true)]
async fn old_answers_without_a_mark_are_taken_away_after_a_start() -> Result<(), Failed> {
    let medium = MemoryStore::new();
    let engine = start(&medium).await?;
    first(&engine, "x").await?.keep(&said("one")).await?;
    engine.shutdown(HOUR).await;
    let store = medium.open().await?;
    let marks = store.reads().documents(&DocumentQuery::all(DocumentKind::AnswerAge), NonZeroUsize::MIN).await?;
    let drops = marks.into_iter().map(|mark| Write::DropDocument(mark.id));
    store.commit([Batch::synced(drops)].into(), Durability::Synced).await?;
    drop(store);
    for (later, left) in [(HOUR * 20, 1), (HOUR * 26, 0)] {
        let clock = AlsoTokio(ManualClock::new(SystemClock::new().now() + later), Instant::now());
        let engine = Engine::builder(medium.clone(), always_ok()).clock(clock).start().await?;
        sleep(Duration::from_secs(120)).await;
        engine.shutdown(HOUR).await;
        assert_eq!(count(&medium, DocumentKind::Answer).await?, left, "{later:?}");
    }
    Ok(())
}
