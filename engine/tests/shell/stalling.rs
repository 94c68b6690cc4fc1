//! The store fails, hangs, panics, lies, stays away: nothing is lost, nobody waits for ever, nothing is sent twice.

use std::{sync::atomic::Ordering, time::Duration};

use postrider::{
    CommitError, EngineState, Notice, PageRequest, PublishError, RetryPolicy,
    storage::{
        Fjall, MemoryStore, OpenStore,
        testing::{Fault, Faulty, InTempDir, ReadFault},
    },
    testing::{Reply, ScriptedTransport},
};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Failed, Knobbed, Knobs, PATIENCE, always_ok, event, hook, notice, resumed, start};

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_and_nothing_sent_twice_whichever_commit_fails() -> Result<(), Failed> {
    // Commits 1 and 2 make application and endpoint, 3 accepts the event, 4 is its outcome, 5 lets the actor go.
    for fault in [Fault::Refuse, Fault::LoseAnswer, Fault::Hang, Fault::Panic] {
        for at in 3..=5 {
            one_failure_loses_nothing(MemoryStore::new(), fault, at)
                .await
                .map_err(|e| format!("{fault:?} at {at}: {e}"))?;
        }
        one_failure_loses_nothing(InTempDir::new(|dir| Fjall::at(dir)), fault, 4).await?;
    }
    Ok(())
}

async fn one_failure_loses_nothing(store: impl OpenStore, fault: Fault, at: u64) -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(Faulty::new(store, [(at, fault)]), &receiver, hook()).await?;
    while engine.publish("acme", event("{}").idempotency_key("k")).await.is_err() {
        sleep(Duration::from_secs(1)).await;
    }
    receiver.wait_for(1).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(receiver.count(), 1, "{fault:?} at {at}: sent once");
    let unfinished = engine.deliveries("acme").unfinished("hook", &PageRequest::default()).await?;
    assert!(unfinished.items.is_empty(), "{fault:?} at {at}");
    engine.publish("acme", event("2")).await?;
    receiver.wait_for(2).await;
    engine.shutdown(Duration::from_secs(30)).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_store_is_a_failure_of_the_store() -> Result<(), Failed> {
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &always_ok(), hook()).await?;
    Knobs::set(&store.knobs.panics);
    let published = timeout(PATIENCE, engine.publish("acme", event("{}"))).await?;
    let unavailable = matches!(published, Err(PublishError::Commit(CommitError::Unavailable { .. })));
    assert!(unavailable, "{published:?}");
    sleep(Duration::from_secs(1)).await;
    engine.publish("acme", event("{}")).await?;
    Ok(())
}

/// On a full disk the store opened, and failed at the next write, three times a second, and each time the journal was written
/// anew.
#[tokio::test(start_paused = true)]
async fn a_store_that_opens_and_fails_again_is_opened_less_and_less_often() -> Result<(), Failed> {
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &always_ok(), hook()).await?;
    let opened = || Knobs::count(&store.knobs.opened);
    let fails_for = async |seconds: u64| {
        let (began, before) = (Instant::now(), opened());
        store.knobs.fails.store(true, Ordering::SeqCst);
        while began.elapsed() < Duration::from_secs(seconds) {
            let _refused = engine.publish("acme", event("{}")).await;
            sleep(Duration::from_millis(50)).await;
        }
        store.knobs.fails.store(false, Ordering::SeqCst);
        opened() - before
    };
    let times = fails_for(120).await;
    assert!((10..25).contains(&times), "{times} times in two minutes");
    let began = Instant::now();
    while engine.publish("acme", event("{}")).await.is_err() {
        sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?} after all was well", began.elapsed());
    sleep(Duration::from_secs(60)).await;
    let times = fails_for(2).await;
    assert!(times >= 3, "it had held, and waits are short again: {times} times in two seconds");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn publishers_are_answered_while_the_store_is_away() -> Result<(), Failed> {
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &always_ok(), hook()).await?;
    Knobs::set(&store.knobs.hangs);
    Knobs::set(&store.knobs.is_away);
    let publish = async || {
        let began = Instant::now();
        let answer = engine.publish("acme", event("{}")).await;
        (began.elapsed(), matches!(answer, Err(PublishError::Commit(CommitError::Unavailable { .. }))))
    };
    let later = async || {
        // The first hangs, this one waits behind it.
        sleep(Duration::from_secs(1)).await;
        publish().await
    };
    let (_, (took, unavailable)) = tokio::join!(publish(), later());
    assert!(took < Duration::from_secs(15) && unavailable, "{took:?}");
    assert_eq!(engine.health().state, EngineState::Stalled);
    let (took, unavailable) = publish().await;
    assert!(took < Duration::from_secs(1) && unavailable, "turned away at the door: {took:?}");
    store.knobs.is_away.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(20)).await;
    engine.publish("acme", event("{}")).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_attempt_outlives_its_actor_and_is_not_made_twice_at_once() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::Hang]);
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &receiver, hook()).await?;
    let mut notices = engine.notices();
    engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    Knobs::set(&store.knobs.panics);
    assert!(engine.publish("acme", event("2")).await.is_err());
    notice(&mut notices, resumed).await?;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(receiver.count(), 1, "the first attempt still runs");
    let began = Instant::now();
    receiver.wait_for(2).await;
    assert!(began.elapsed() > Duration::from_secs(5), "only after it timed out: {:?}", began.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn outcomes_of_a_stall_are_stored_in_their_order_before_anything_new_is_sent() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::After(Duration::from_secs(5))]);
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &receiver, hook()).await?;
    let mut notices = engine.notices();
    let receipt = engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    Knobs::set(&store.knobs.is_away);
    Knobs::set(&store.knobs.panics);
    assert!(engine.publish("acme", event("2")).await.is_err());
    // The attempt ends while the store is away.
    sleep(Duration::from_secs(60)).await;
    assert_eq!(receiver.count(), 1, "nothing new is sent meanwhile");
    store.knobs.is_away.store(false, Ordering::SeqCst);
    notice(&mut notices, resumed).await?;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(receiver.count(), 1, "and it is not sent again");
    let record = engine.deliveries("acme").get(receipt.event, "hook").await?;
    assert_eq!(record.attempts, 1, "{record:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_opens_the_store_after_shutdown_and_shutdown_ends_a_stall() -> Result<(), Failed> {
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &always_ok(), hook()).await?;
    Knobs::set(&store.knobs.is_away);
    Knobs::set(&store.knobs.panics);
    assert!(engine.publish("acme", event("{}")).await.is_err());
    sleep(Duration::from_secs(30)).await;
    let began = Instant::now();
    engine.shutdown(Duration::from_secs(60)).await;
    assert!(began.elapsed() < Duration::from_secs(1), "nothing is in flight: {:?}", began.elapsed());
    let before = Knobs::count(&store.knobs.opened);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(Knobs::count(&store.knobs.opened), before);
    let refused = engine.publish("acme", event("{}")).await;
    assert!(matches!(refused, Err(PublishError::Commit(CommitError::ShuttingDown))), "{refused:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_opens_the_store_after_the_engine_is_dropped() -> Result<(), Failed> {
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &always_ok(), hook()).await?;
    Knobs::set(&store.knobs.is_away);
    Knobs::set(&store.knobs.panics);
    assert!(engine.publish("acme", event("{}")).await.is_err());
    drop(engine);
    let before = Knobs::count(&store.knobs.opened);
    sleep(Duration::from_secs(600)).await;
    assert_eq!((Knobs::count(&store.knobs.opened), Knobs::count(&store.knobs.open)), (before, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_handle_is_let_go_of_before_the_store_is_opened_again() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([503_u16; 3]);
    let store = Knobbed::new(MemoryStore::new());
    let retry = RetryPolicy::delays([Duration::from_secs(1); 10]);
    let engine = start(store.clone(), &receiver, hook().retry(retry)).await?;
    let mut notices = engine.notices();
    engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    Knobs::set(&store.knobs.is_away);
    Knobs::set(&store.knobs.panics);
    assert!(engine.publish("acme", event("2")).await.is_err());
    notice(&mut notices, |notice| matches!(notice, Notice::Stalled(_)).then_some(())).await?;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(Knobs::count(&store.knobs.open), 0);
    store.knobs.is_away.store(false, Ordering::SeqCst);
    receiver.wait_for(4).await;
    assert_eq!(Knobs::count(&store.knobs.open), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn deliveries_of_all_endpoints_go_on_after_a_stall() -> Result<(), Failed> {
    let receiver = always_ok();
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &receiver, hook()).await?;
    for n in 0..20 {
        engine.endpoints("acme").upsert(format!("more-{n}"), hook()).await?;
    }
    let mut notices = engine.notices();
    for round in 1..=5_usize {
        // In turn: stored and unanswered, not stored.
        Knobs::set(if round.is_multiple_of(2) { &store.knobs.loses } else { &store.knobs.panics });
        let key = format!("round-{round}");
        while engine.publish("acme", event("1").idempotency_key(key.clone())).await.is_err() {
            sleep(Duration::from_millis(500)).await;
        }
        receiver.wait_for(21 * round).await;
        notice(&mut notices, resumed).await?;
        sleep(Duration::from_secs(round as u64)).await;
    }
    sleep(Duration::from_secs(120)).await;
    assert_eq!((receiver.count(), engine.health().active_endpoints), (105, 0), "each once, and no actor is left over");
    let text = engine.metrics().encode();
    assert!(text.contains("postrider_permits_free 4096") && text.contains("postrider_permits_waiting 0"), "{text}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn permits_that_were_waited_for_when_the_store_failed_are_not_lost() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new(vec![Reply::After(Duration::from_secs(3)); 100]);
    let store = Knobbed::new(MemoryStore::new());
    let two = std::num::NonZeroUsize::MIN.saturating_add(1);
    let builder = postrider::Engine::builder(store.clone(), receiver.clone());
    let engine = builder.limits(|limits| limits.in_flight_requests = two).start().await?;
    engine.applications().upsert("acme", postrider::ApplicationSpec::new("Acme")).await?;
    for n in 0..10 {
        engine.endpoints("acme").upsert(format!("hook-{n}"), hook()).await?;
    }
    let mut notices = engine.notices();
    engine.publish("acme", event("1")).await?;
    receiver.wait_for(2).await;
    for _ in 0..3 {
        Knobs::set(&store.knobs.panics);
        assert!(engine.publish("acme", event("2")).await.is_err());
        notice(&mut notices, resumed).await?;
        sleep(Duration::from_secs(4)).await;
    }
    sleep(Duration::from_secs(120)).await;
    assert_eq!(receiver.count(), 10, "all others had their turn");
    let text = engine.metrics().encode();
    assert!(text.contains("postrider_permits_free 2") && text.contains("postrider_permits_waiting 0"), "{text}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_read_is_a_failure_of_the_store() -> Result<(), Failed> {
    let receiver = always_ok();
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &receiver, hook()).await?;
    let mut notices = engine.notices();
    Knobs::set(&store.knobs.reads_panic);
    engine.publish("acme", event("1")).await?;
    notice(&mut notices, resumed).await?;
    receiver.wait_for(1).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_hangs_or_makes_no_sense_costs_time_and_nothing_else() -> Result<(), Failed> {
    // The start reads applications and endpoints; the ninth read is that of an event, which is given up if it makes no
    // sense.
    for (fault, last) in [(ReadFault::Refuse, 10), (ReadFault::Hang, 10), (ReadFault::Corrupt, 8)] {
        for at in 3..=last {
            let receiver = ScriptedTransport::new([503_u16]);
            let store = MemoryStore::new();
            start(store.clone(), &receiver, hook()).await?.shutdown(Duration::from_secs(1)).await;
            let opener = Faulty::new(store.clone(), []).reads([(at, fault)]);
            let engine = postrider::Engine::builder(opener, receiver.clone()).start().await?;
            let receipt = loop {
                match engine.publish("acme", event("1").idempotency_key("k")).await {
                    Ok(receipt) => break receipt,
                    Err(_) => sleep(Duration::from_secs(1)).await,
                }
            };
            receiver.wait_for(2).await;
            sleep(Duration::from_secs(60)).await;
            assert_eq!(receiver.count(), 2, "{fault:?} at {at}");
            engine.shutdown(Duration::from_secs(10)).await;
            let again = postrider::Engine::builder(store, receiver.clone()).start().await?;
            let attempts =
                again.events("acme").attempts(receipt.event, Default::default(), &Default::default()).await?.items;
            assert_eq!(attempts.len(), 2, "{fault:?} at {at}");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_read_any_more_is_given_up() -> Result<(), Failed> {
    let retry = RetryPolicy::delays([Duration::from_secs(60)]);
    // One of these reads is that of its event, and makes no sense.
    for at in 5..20 {
        let opener = Faulty::new(MemoryStore::new(), []).reads([(at, ReadFault::Corrupt)]);
        let builder = postrider::Engine::builder(opener, ScriptedTransport::new([503_u16]));
        // No event is in memory.
        let builder = builder.limits(|limits| (limits.payload_bytes_in_memory, limits.window.event_bytes) = (0, 0));
        let engine = builder.start().await?;
        engine.applications().upsert("acme", postrider::ApplicationSpec::new("Acme")).await?;
        engine.endpoints("acme").upsert("hook", hook().retry(retry.clone())).await?;
        let mut notices = engine.notices();
        engine.publish("acme", event("1")).await?;
        let gave_up = notice(&mut notices, |notice| match notice {
            Notice::DeadLettered { reason, .. } => Some(reason),
            _ => None,
        });
        if let Ok(Ok(reason)) = timeout(Duration::from_secs(600), gave_up).await {
            assert_eq!(reason, postrider::GiveUpReason::Unreadable);
            return Ok(());
        }
    }
    Err("no read was that of the event".into())
}

/// Rows beside an outcome made no sense: it was taken for one that is over, what waited behind it went out, and the next actor
/// sent it again.
#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_stored_holds_its_lane_and_is_not_sent_again() -> Result<(), Failed> {
    let receiver = always_ok();
    let store = Knobbed::new(MemoryStore::new());
    let fifo = postrider::OrderingMode::Fifo(postrider::OnExhausted::Continue);
    let engine = start(store.clone(), &receiver, hook().ordering(fifo)).await?;
    let mut notices = engine.notices();
    store.knobs.damages.store(true, Ordering::SeqCst);
    let first = engine.publish("acme", event("1")).await?;
    engine.publish("acme", event("2")).await?;
    notice(&mut notices, |notice| matches!(notice, Notice::Damaged { .. }).then_some(())).await?;
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(receiver.count(), 1, "the second waits for the end of the first, which is not sent again");
    store.knobs.damages.store(false, Ordering::SeqCst);
    receiver.wait_for(2).await;
    sleep(Duration::from_secs(60)).await;
    let attempts = engine.events("acme").attempts(first.event, Default::default(), &Default::default()).await?.items;
    assert_eq!((receiver.count(), attempts.len()), (2, 1), "a person has mended it");
    Ok(())
}

/// Once rows that made no sense were mended, the next ones that did not were told to nobody, and looked at again only after
/// as long as the last of the first ones.
#[tokio::test(start_paused = true)]
async fn rows_that_make_no_sense_are_told_each_time() -> Result<(), Failed> {
    let receiver = always_ok();
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &receiver, hook()).await?;
    let mut notices = engine.notices();
    for n in 1..=2 {
        store.knobs.damages.store(true, Ordering::SeqCst);
        engine.publish("acme", event("1")).await?;
        notice(&mut notices, |notice| matches!(notice, Notice::Damaged { .. }).then_some(())).await?;
        store.knobs.damages.store(false, Ordering::SeqCst);
        while engine.metrics().deliveries_ended_well() < n {
            sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// Such an outcome is lost with the end of the engine, which does not wait for it, and says so.
#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_stored_does_not_hold_up_the_end() -> Result<(), Failed> {
    let receiver = always_ok();
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &receiver, hook()).await?;
    let mut notices = engine.notices();
    store.knobs.damages.store(true, Ordering::SeqCst);
    engine.publish("acme", event("1")).await?;
    notice(&mut notices, |notice| matches!(notice, Notice::Damaged { .. }).then_some(())).await?;
    let began = Instant::now();
    engine.shutdown(Duration::from_secs(60)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    Ok(())
}

/// What a commit stored whose answer was lost was never seen: the task did not begin, and nobody asked for the proof, before
/// the next start.
#[tokio::test(start_paused = true)]
async fn what_was_stored_by_a_commit_whose_answer_was_lost_is_begun() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([200_u16; 0]);
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &receiver, hook().event_types(["nothing"])).await?;
    let mut notices = engine.notices();
    let since = engine.publish("acme", event("1")).await?.accepted_at;
    Knobs::set(&store.knobs.loses);
    assert!(engine.tasks().replay_missing("acme", "hook", since, None).await.is_err(), "its answer was lost");
    notice(&mut notices, |notice| matches!(notice, Notice::TaskEnded(_)).then_some(())).await?;
    let mut spec = hook();
    spec.proof = postrider::Proof::Ping;
    Knobs::set(&store.knobs.loses);
    assert!(engine.endpoints("acme").upsert("asks", spec).await.is_err(), "its answer was lost");
    receiver.wait_for(1).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(engine.endpoints("acme").get("asks")?.status, postrider::EndpointStatus::Active, "it was asked");
    Ok(())
}

/// All actors began in one moment after a stall, each with several reads: commits waited behind all of them, and a store with
/// many endpoints could fail again for that.
#[tokio::test(start_paused = true)]
async fn actors_begin_one_after_another_when_the_store_is_open_again() -> Result<(), Failed> {
    let receiver = always_ok();
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &receiver, hook()).await?;
    for n in 0..1_000 {
        engine.endpoints("acme").upsert(format!("more-{n}"), hook()).await?;
    }
    engine.publish("acme", event("1")).await?;
    receiver.wait_for(1_001).await;
    assert_eq!(engine.health().active_endpoints, 1_001);
    Knobs::set(&store.knobs.panics);
    assert!(engine.publish("acme", event("2")).await.is_err());
    let (mut before, mut most) = (Knobs::count(&store.knobs.reads), 0);
    for _ in 0..2_000 {
        sleep(Duration::from_millis(1)).await;
        let reads = Knobs::count(&store.knobs.reads);
        (most, before) = (most.max(reads - before), reads);
    }
    assert!(most < 200, "{most} reads in one moment");
    assert_eq!(engine.health().active_endpoints, 1_001, "and all are up again");
    Ok(())
}
