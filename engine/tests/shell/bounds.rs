//! Every queue has a limit: a full endpoint costs its neighbours nothing.

use std::{num::NonZeroU32, time::Duration};

use postrider::{
    ApplicationSpec, DeadLetterError, DeliveryError, Engine, GiveUpReason, Notice, OrderingMode, PublishError,
    RetryPolicy, WhenFull,
    storage::{MemoryStore, PageRequest},
    testing::{Reply, ScriptedTransport},
};
use tokio::time::sleep;

use crate::support::{Failed, PATIENCE, always_ok, event, hook, notice, start};

const HOUR: Duration = Duration::from_secs(3600);
const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// Events that were published for later came into queues without end.
#[tokio::test(start_paused = true)]
async fn what_was_put_off_comes_into_no_full_queue() -> Result<(), Failed> {
    let engine = start(MemoryStore::new(), &always_ok(), hook().max_queued(TWO, WhenFull::Refuse)).await?;
    engine.endpoints("acme").pause("hook").await?;
    let mut notices = engine.notices();
    let first = engine.publish("acme", event("{}")).await?;
    let at = first.accepted_at + HOUR;
    for _ in 0..2 {
        engine.publish("acme", event("{}").deliver_at(at)).await?;
    }
    sleep(HOUR).await;
    let reason = notice(&mut notices, |notice| match notice {
        Notice::DeadLettered { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reason.await?, GiveUpReason::QueueFull);
    assert_eq!(engine.endpoints("acme").state("hook").await?.backlog.queued, 2);
    let letters = engine.dead_letters("acme").list(&Default::default(), &PageRequest::default()).await?.items;
    assert_eq!(letters.len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_full_endpoint_gets_a_dead_letter_and_its_neighbour_the_event() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook().max_queued(TWO, WhenFull::DeadLetter)).await?;
    engine.endpoints("acme").pause("hook").await?;
    let mut other = hook();
    other.url = "https://receiver.example/other".into();
    engine.endpoints("acme").upsert("other", other).await?;
    let mut notices = engine.notices();
    for _ in 0..2 {
        assert_eq!(engine.publish("acme", event("{}")).await?.queues_full, 0);
    }
    let receipt = engine.publish("acme", event("{}")).await?;
    assert_eq!((receipt.deliveries, receipt.queues_full), (1, 1));
    let (of, reason) = notice(&mut notices, |notice| match notice {
        Notice::DeadLettered { event, reason, .. } => Some((event, reason)),
        _ => None,
    })
    .await?;
    assert_eq!((of, reason), (receipt.event, GiveUpReason::QueueFull));
    tokio::time::timeout(PATIENCE, receiver.wait_for(3)).await?;
    let letters = engine.dead_letters("acme").list(&Default::default(), &PageRequest::default()).await?.items;
    assert_eq!(letters.len(), 1);
    let refused = engine.dead_letters("acme").redrive(letters[0].last.id).await;
    assert!(matches!(refused, Err(DeadLetterError::QueueFull)), "{refused:?}");
    engine.endpoints("acme").resume("hook").await?;
    tokio::time::timeout(PATIENCE, receiver.wait_for(5)).await?;
    while engine.metrics().deliveries_ended_well() < 5 {
        sleep(Duration::from_millis(1)).await;
    }
    engine.dead_letters("acme").redrive(letters[0].last.id).await?;
    tokio::time::timeout(PATIENCE, receiver.wait_for(6)).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_may_ask_for_events_to_be_refused_when_it_is_full() -> Result<(), Failed> {
    let spec = hook().ordering(OrderingMode::Concurrent).max_queued(TWO, WhenFull::Refuse);
    let engine = start(MemoryStore::new(), &always_ok(), spec).await?;
    let paused = engine.endpoints("acme").pause("hook").await?;
    let publish = || engine.publish("acme", event("{}"));
    let (one, two, three) = tokio::join!(publish(), publish(), publish());
    let refused: Vec<_> = [one, two, three].into_iter().filter_map(Result::err).collect();
    let [PublishError::QueueFull { endpoint }] = refused[..] else { panic!("one of three is refused: {refused:?}") };
    assert_eq!(endpoint, paused.id);
    assert_eq!(engine.metrics().events_accepted(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_application_with_too_many_waiting_deliveries_is_refused_until_some_have_ended() -> Result<(), Failed> {
    let limited = |store: MemoryStore, receiver: &ScriptedTransport| {
        let most = std::num::NonZeroUsize::new(4);
        Engine::builder(store, receiver.clone())
            .limits(|limits| limits.pending_deliveries_per_application = most)
            .start()
    };
    let (store, receiver) = (MemoryStore::new(), ScriptedTransport::new(std::iter::repeat_n(500_u16, 4)));
    let engine = limited(store.clone(), &receiver).await?;
    for application in ["acme", "other"] {
        engine.applications().upsert(application, ApplicationSpec::new("x")).await?;
        for uid in ["one", "two"] {
            let spec = hook().retry(RetryPolicy::delays([HOUR]));
            engine.endpoints(application).upsert(uid, spec).await?;
        }
    }
    engine.publish("acme", event("1")).await?;
    engine.publish("acme", event("2")).await?;
    receiver.wait_for(4).await;
    let is_refused = |answer: Result<_, PublishError>| match answer {
        Err(error @ PublishError::TooManyPending { pending_max: 4 }) => error.retry_after().is_some(),
        Err(_) | Ok(_) => false,
    };
    assert!(is_refused(engine.publish("acme", event("3")).await));
    assert!(engine.publish("other", event("3")).await.is_ok(), "it is its own application's limit");
    engine.shutdown(HOUR).await;

    let engine = limited(store, &receiver).await?;
    sleep(Duration::from_secs(1)).await;
    assert!(is_refused(engine.publish("acme", event("4")).await), "they are counted after a start");
    engine.endpoints("acme").delete("one").await?;
    assert!(engine.publish("acme", event("5")).await.is_ok(), "two went with their endpoint");
    sleep(HOUR * 2).await;
    for n in ["6", "7", "8"] {
        assert!(engine.publish("acme", event(n)).await.is_ok(), "they have ended");
        sleep(HOUR).await;
    }
    Ok(())
}

/// A caller may give any time: what does not fit is as far as it goes, and never a panic.
#[tokio::test(start_paused = true)]
async fn no_time_that_a_caller_gives_is_too_long() -> Result<(), Failed> {
    let builder = Engine::builder(MemoryStore::new(), always_ok()).limits(|limits| {
        (limits.unsynced, limits.retention) = (Duration::MAX, Duration::MAX);
        (limits.window.linger, limits.window.delivery_age_max) = (Duration::MAX, Duration::MAX);
    });
    let engine = builder.start().await?;
    let spec = ApplicationSpec::new("Acme").payload_kept(Duration::MAX - Duration::from_secs(1));
    engine.applications().upsert("acme", spec).await?;
    let endpoints = engine.endpoints("acme");
    let mut spec = hook();
    spec.delivery.disable_after = Some(Duration::MAX);
    endpoints.upsert("hook", spec.clone()).await?;
    for extreme in [Duration::MAX, Duration::ZERO, Duration::from_nanos(u64::MAX)] {
        let with = |change: &dyn Fn(&mut postrider::EndpointSpec)| {
            let mut spec = spec.clone();
            change(&mut spec);
            spec
        };
        let _asked = endpoints.create(with(&|spec| spec.delivery.timeout = Some(extreme))).await;
        let _asked = endpoints.create(with(&|spec| spec.delivery.retry = Some(RetryPolicy::delays([extreme])))).await;
        let _asked = endpoints.create(with(&|spec| spec.delivery.disable_after = Some(extreme))).await;
        let _asked = endpoints.rotate_secret("hook", None, extreme).await;
        let at = postrider::Timestamp::from_nanos(u64::try_from(extreme.as_nanos()).unwrap_or(u64::MAX));
        let _asked = engine.publish("acme", event("{}").deliver_at(at)).await;
        let _asked = engine.publish("acme", event("{}").payload_kept(extreme)).await;
        let _asked = engine.tasks().replay_missing("acme", "hook", at, None).await;
        let _asked = engine.tasks().replay_missing("acme", "hook", at, Some(postrider::Timestamp::MAX)).await;
        let now = engine.publish("acme", event("{}")).await?.accepted_at;
        let soon = now + Duration::from_secs(60);
        let _asked = engine.publish("acme", event("{}").deliver_at(soon)).await;
        let _asked = engine.applications().expire_tokens("acme", at, extreme).await;
    }
    assert!(engine.publish("acme", event("{}")).await.is_ok());
    assert!(engine.metrics().encode().contains("postrider_stalls_total 0\n"), "the store never failed");
    assert_eq!(engine.shutdown(Duration::MAX).await, postrider::ShutdownReport::default());
    assert_eq!(engine.health().state, postrider::EngineState::Closed);
    engine.shutdown(Duration::ZERO).await;
    Ok(())
}

/// A replay put into queues as much as each of them held, however much might wait of its application.
#[tokio::test(start_paused = true)]
async fn a_replay_keeps_to_what_may_wait_of_its_application() -> Result<(), Failed> {
    let receiver = always_ok();
    let most = std::num::NonZeroUsize::new(4);
    let engine = Engine::builder(MemoryStore::new(), receiver.clone())
        .limits(|limits| limits.pending_deliveries_per_application = most)
        .start()
        .await?;
    engine.applications().upsert("acme", ApplicationSpec::new("x")).await?;
    let since = engine.publish("acme", event("0")).await?.accepted_at;
    for _ in 1..10 {
        engine.publish("acme", event("more")).await?;
    }
    sleep(Duration::from_secs(1)).await;
    engine.endpoints("acme").upsert("late", hook()).await?;
    engine.endpoints("acme").pause("late").await?;
    let task = engine.tasks().replay_missing("acme", "late", since, None).await?;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.endpoints("acme").state("late").await?.backlog.queued, 4);
    engine.endpoints("acme").resume("late").await?;
    assert_eq!(tokio::time::timeout(PATIENCE, engine.tasks().ended(task.id)).await??.progress.done, 10);
    receiver.wait_for(10).await;
    Ok(())
}

/// A shutdown that might take for ever failed at once, and was told as one with nothing to tell.
#[tokio::test(start_paused = true)]
async fn a_shutdown_that_may_take_for_ever_cuts_nothing_short() -> Result<(), Failed> {
    let (store, receiver) = (MemoryStore::new(), ScriptedTransport::new([Reply::After(Duration::from_secs(10))]));
    let engine = start(store.clone(), &receiver, hook()).await?;
    engine.publish("acme", event("{}")).await?;
    receiver.wait_for(1).await;
    assert_eq!(engine.shutdown(Duration::MAX).await, postrider::ShutdownReport::default());
    let _engine = start(store, &receiver, hook()).await?;
    sleep(HOUR).await;
    assert_eq!(receiver.count(), 1, "its answer was waited for");
    Ok(())
}

/// Five thousand tries by hand of one event were taken by a paused endpoint that may have one delivery waiting.
#[tokio::test(start_paused = true)]
async fn tries_by_hand_are_bounded_at_an_endpoint_and_for_a_delivery() -> Result<(), Failed> {
    let store = MemoryStore::new();
    let engine = start(store, &always_ok(), hook().max_queued(TWO, WhenFull::DeadLetter)).await?;
    let event = engine.publish("acme", event("{}")).await?.event;
    sleep(Duration::from_secs(1)).await;
    engine.endpoints("acme").pause("hook").await?;
    let deliveries = engine.deliveries("acme");
    let try_it = async || deliveries.resend(event, "hook").await.map(drop);
    for n in 0..4 {
        let tried = try_it().await;
        assert_eq!(tried.is_ok(), n < 2, "{n}: {tried:?}");
        assert!(n < 2 || matches!(tried, Err(DeliveryError::QueueFull)), "{n}: {tried:?}");
    }
    engine.endpoints("acme").resume("hook").await?;
    for n in 2..1_003 {
        sleep(Duration::from_secs(1)).await;
        let tried = try_it().await;
        assert_eq!(tried.is_ok(), n < 1_000, "{n}: {tried:?}");
        assert!(n < 1_000 || matches!(tried, Err(DeliveryError::TriesUsedUp { tries_max: 1_000 })), "{n}: {tried:?}");
    }
    Ok(())
}
