//! Events go out, are retried, held, redriven and resent.

use std::{num::NonZeroU32, time::Duration};

use postrider::{
    DeadLetterFilter, DeliveryState, Event, Notice, OnExhausted, OrderingMode, PageRequest, Rate, RetryPolicy, Waiting,
    core::Outcome,
    storage::{Fjall, MemoryStore, OpenStore, testing::InTempDir},
    testing::{Reply, ScriptedTransport},
};
use tokio::time::{Instant, sleep};

use crate::support::{Failed, always_ok, event, hook, notice, start};

async fn retries_after_the_delay(store: impl OpenStore) -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([503, 503]);
    let retry = RetryPolicy::delays([5, 30].map(Duration::from_secs)).without_jitter();
    let engine = start(store, &receiver, hook().retry(retry)).await?;
    let began = Instant::now();

    let receipt = engine.publish("acme", event("{}")).await?;

    let sent = receiver.wait_for(3).await;
    let waited = began.elapsed().as_millis();
    assert!((35_000..35_100).contains(&waited), "{waited} ms");
    assert!(sent.iter().all(|request| request.headers["webhook-id"] == receipt.event.to_string()));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failing_receiver_gets_the_same_event_again_after_the_delay() -> Result<(), Failed> {
    retries_after_the_delay(MemoryStore::new()).await
}

#[tokio::test(start_paused = true)]
async fn paused_time_is_exact_with_a_store_on_disk() -> Result<(), Failed> {
    retries_after_the_delay(InTempDir::new(|dir| Fjall::at(dir))).await
}

#[tokio::test(start_paused = true)]
async fn a_request_is_signed_with_every_secret_in_its_grace_and_carries_custom_headers() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook().header("X-Room", "blue")).await?;
    engine.endpoints("acme").rotate_secret("hook", None, Duration::from_secs(60)).await?;
    engine.publish("acme", event("{}").content_type("text/plain")).await?;
    let sent = receiver.wait_for(1).await;
    assert_eq!(sent[0].headers["x-room"], "blue");
    assert_eq!(sent[0].headers["content-type"], "text/plain");
    let signatures = sent[0].headers["webhook-signature"].to_str()?;
    assert_eq!(signatures.split(' ').count(), 2, "{signatures}");

    sleep(Duration::from_secs(61)).await;
    engine.publish("acme", event("{}")).await?;
    let again = receiver.wait_for(2).await;
    let signatures = again[1].headers["webhook-signature"].to_str()?;
    assert_eq!(signatures.split(' ').count(), 1, "the old one has expired: {signatures}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_given_up_delivery_holds_its_lane_until_it_is_redriven() -> Result<(), Failed> {
    let spec = hook().ordering(OrderingMode::PerKey(OnExhausted::Hold)).retry(RetryPolicy::delays([]));
    let receiver = ScriptedTransport::new([500_u16]);
    let engine = start(MemoryStore::new(), &receiver, spec).await?;
    let mut notices = engine.notices();
    for (key, payload) in [("customer-7", "1"), ("customer-7", "2"), ("customer-8", "3")] {
        engine.publish("acme", event(payload).ordering_key(key)).await?;
    }
    let dead = notice(&mut notices, |notice| match notice {
        Notice::DeadLettered { about, delivery, last_status, .. } => Some((about, delivery, last_status)),
        _ => None,
    })
    .await?;
    assert_eq!(dead.0.application_uid.as_ref().map(postrider::Uid::as_str), Some("acme"));
    assert_eq!(dead.0.endpoint_uid.as_ref().map(postrider::Uid::as_str), Some("hook"));
    assert_eq!(dead.2, Some(500));
    receiver.wait_for(2).await;
    let letters = engine.dead_letters("acme").list(&DeadLetterFilter::of("hook"), &PageRequest::default()).await?.items;
    assert_eq!(letters.len(), 1);
    let waits = engine.deliveries("acme").unfinished("hook", &PageRequest::default()).await?.items;
    let behind = waits.iter().find(|delivery| !delivery.is_held()).ok_or("the second waits")?;
    let why = engine.deliveries("acme").why_waiting(behind).await?;
    assert_eq!(why, Waiting::Behind(letters[0].last.id.seq));

    engine.dead_letters("acme").redrive(letters[0].last.id).await?;

    let bodies: Vec<_> = receiver.wait_for(4).await.into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, ["1", "3", "1", "2"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn cancelling_a_held_head_lets_its_lane_go_on_even_without_an_actor() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([500_u16]);
    let spec = hook().ordering(OrderingMode::Fifo(OnExhausted::Hold)).retry(RetryPolicy::delays([]));
    let engine = start(MemoryStore::new(), &receiver, spec).await?;
    let first = engine.publish("acme", event("1")).await?;
    engine.publish("acme", event("2")).await?;
    receiver.wait_for(1).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(engine.health().active_endpoints, 0, "nothing can be done, and its actor has left");

    engine.deliveries("acme").cancel(first.event, "hook").await?;

    assert_eq!(receiver.wait_for(2).await[1].body, "2");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_retry_is_not_made() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([500_u16]);
    let retry = RetryPolicy::delays([Duration::from_secs(3600)]);
    let engine = start(MemoryStore::new(), &receiver, hook().retry(retry)).await?;
    let receipt = engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    sleep(Duration::from_secs(1)).await;
    engine.deliveries("acme").cancel(receipt.event, "hook").await?;
    let record = engine.deliveries("acme").get(receipt.event, "hook").await?;
    assert!(matches!(record.state, DeliveryState::Cancelled(_)), "{record:?}");
    assert!(engine.deliveries("acme").cancel(receipt.event, "hook").await.is_err(), "it has ended");
    sleep(Duration::from_secs(48 * 3600)).await;
    assert_eq!(receiver.count(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_resend_is_one_more_try_with_the_same_id() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    let receipt = engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    sleep(Duration::from_secs(60)).await;
    engine.deliveries("acme").resend(receipt.event, "hook").await?;
    let sent = receiver.wait_for(2).await;
    assert_eq!(sent[0].headers["webhook-id"], sent[1].headers["webhook-id"]);
    sleep(Duration::from_secs(60)).await;
    let attempts = engine.events("acme").attempts(receipt.event, Default::default(), &Default::default()).await?.items;
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts.iter().filter(|record| record.attempt.number.is_manual()).count(), 1);
    Ok(())
}

// cases.md 156
#[tokio::test(start_paused = true)]
async fn recover_puts_back_what_died_in_its_time_once() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([500_u16; 3]);
    let engine = start(MemoryStore::new(), &receiver, hook().retry(RetryPolicy::delays([]))).await?;
    let mut times = Vec::new();
    for n in 1..=3 {
        times.push(engine.publish("acme", event("{}")).await?.accepted_at);
        receiver.wait_for(n).await;
        sleep(Duration::from_secs(60)).await;
    }
    let (since, until) = (times[0], times[2]);
    let letters = engine.dead_letters("acme");
    for (again, reason) in [(2, "the third died later"), (0, "they are no dead letters any more")] {
        let task = letters.recover("hook", since, Some(until)).await?;
        assert_eq!(engine.tasks().ended(task.id).await?.progress.done, again, "{reason}");
    }
    let sent = receiver.wait_for(5).await;
    assert_eq!(sent[3].headers["webhook-id"], sent[0].headers["webhook-id"], "in the order of publishing");
    assert_eq!(sent[4].headers["webhook-id"], sent[1].headers["webhook-id"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panicking_transport_fails_the_attempt_and_nothing_else() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::Panic]);
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    let receipt = engine.publish("acme", event("{}")).await?;
    receiver.wait_for(2).await;
    sleep(Duration::from_secs(1)).await;
    let attempts = engine.events("acme").attempts(receipt.event, Default::default(), &Default::default()).await?.items;
    assert_eq!(attempts.len(), 2);
    assert!(matches!(attempts[0].attempt.outcome, Outcome::Success { .. }), "{attempts:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_idle_actor_leaves_and_comes_back() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    for n in 1..=3 {
        engine.publish("acme", event("{}")).await?;
        receiver.wait_for(n).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(engine.health().active_endpoints, 0, "after event {n}");
    }
    assert_eq!(engine.metrics().steps_refused(), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_retry_in_a_while_holds_no_actor_and_comes_all_the_same() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([503_u16]);
    let retry = RetryPolicy::delays([Duration::from_secs(3600)]).without_jitter();
    let engine = start(MemoryStore::new(), &receiver, hook().retry(retry)).await?;
    engine.publish("acme", event("{}")).await?;
    let began = Instant::now();
    receiver.wait_for(1).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(engine.health().active_endpoints, 0);
    receiver.wait_for(2).await;
    assert!(began.elapsed() < Duration::from_secs(3610), "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_asks_to_be_left_alone_is_left_alone() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::With(429, "retry-after", "120")]);
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    let began = Instant::now();
    engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    sleep(Duration::from_secs(1)).await;
    engine.publish("acme", event("2")).await?;
    let state = engine.endpoints("acme").state("hook").await?;
    assert!(matches!(state.waiting, Some(Waiting::ReceiverAskedToWait(_))), "{state:?}");
    receiver.wait_for(2).await;
    assert!(began.elapsed() >= Duration::from_secs(120), "{:?}", began.elapsed());
    Ok(())
}

// A machine without a network was shown as a receiver that had asked to be left alone.
#[tokio::test(start_paused = true)]
async fn what_this_machine_cannot_send_waits_for_this_machine_and_says_why() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::NotSent("no name server answered")]);
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    sleep(Duration::from_millis(500)).await;
    let state = engine.endpoints("acme").state("hook").await?;
    assert!(matches!(state.waiting, Some(Waiting::CouldNotSend(_))), "{state:?}");
    assert_eq!(state.could_not_send.as_deref(), Some("no name server answered"));
    receiver.wait_for(2).await;
    sleep(Duration::from_millis(500)).await;
    let state = engine.endpoints("acme").state("hook").await?;
    assert_eq!((state.waiting, state.could_not_send), (None, None), "what was sent since then says otherwise");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_applications_rate_limits_endpoints_that_set_none() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    let slow = Rate::per_second(NonZeroU32::MIN);
    engine.applications().update("acme", |spec| spec.rate = Some(slow)).await?;
    engine.endpoints("acme").upsert("hook", hook()).await?;
    let began = Instant::now();
    for _ in 0..5 {
        engine.publish("acme", event("{}")).await?;
    }
    receiver.wait_for(5).await;
    assert!(began.elapsed() >= Duration::from_millis(3999), "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook().rate(Rate::per_second(NonZeroU32::MIN))).await?;
    let began = Instant::now();
    for _ in 0..5 {
        engine.publish("acme", event("{}")).await?;
    }
    receiver.wait_for(5).await;
    assert!(began.elapsed() >= Duration::from_millis(3999), "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn hanging_endpoints_do_not_hold_up_a_healthy_one() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new(vec![Reply::Hang; 64]);
    let builder = postrider::Engine::builder(MemoryStore::new(), receiver.clone());
    let few = std::num::NonZeroUsize::MIN.saturating_add(31);
    let engine = builder.limits(|limits| limits.in_flight_requests = few).start().await?;
    engine.applications().upsert("acme", postrider::ApplicationSpec::new("Acme")).await?;
    for (uid, kind) in [("hangs-1", "bad"), ("hangs-2", "bad"), ("healthy", "good")] {
        engine.endpoints("acme").upsert(uid, hook().event_types([kind])).await?;
    }
    // The first round shows that they are slow; from then on they share half of the permits.
    for _ in 0..2 {
        engine.publish("acme", Event::new("bad", "{}")).await?;
    }
    receiver.wait_for(4).await;
    sleep(Duration::from_secs(31)).await;
    for _ in 0..32 {
        engine.publish("acme", Event::new("bad", "{}")).await?;
    }
    sleep(Duration::from_secs(1)).await;
    let (before, began) = (receiver.count(), Instant::now());
    engine.publish("acme", Event::new("good", "{}")).await?;
    receiver.wait_for(before + 1).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_comes_too_late_is_given_to_the_next() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::After(Duration::from_secs(4))]);
    let builder = postrider::Engine::builder(MemoryStore::new(), receiver.clone());
    let one = std::num::NonZeroUsize::MIN;
    let engine = builder.limits(|limits| limits.in_flight_requests = one).start().await?;
    engine.applications().upsert("acme", postrider::ApplicationSpec::new("Acme")).await?;
    for uid in ["first", "second"] {
        engine.endpoints("acme").upsert(uid, hook().event_types([uid])).await?;
    }
    engine.publish("acme", Event::new("first", "1")).await?;
    receiver.wait_for(1).await;
    engine.publish("acme", Event::new("second", "2")).await?;
    sleep(Duration::from_secs(1)).await;
    // It waits for the only permit, and does not need it any more when it comes.
    engine.endpoints("acme").pause("second").await?;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(receiver.count(), 1);
    let began = Instant::now();
    engine.publish("acme", Event::new("first", "3")).await?;
    assert_eq!(receiver.wait_for(2).await[1].body, "3");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_paused_endpoint_leaves_and_goes_on_when_it_is_resumed() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    engine.endpoints("acme").pause("hook").await?;
    engine.publish("acme", event("{}")).await?;
    let waits = engine.deliveries("acme").unfinished("hook", &PageRequest::default()).await?.items;
    sleep(Duration::from_secs(120)).await;
    assert_eq!((receiver.count(), engine.health().active_endpoints), (0, 0));
    assert_eq!(engine.deliveries("acme").why_waiting(&waits[0]).await?, Waiting::Paused);
    let state = engine.endpoints("acme").state("hook").await?;
    assert_eq!((state.backlog.queued, state.waiting), (1, Some(Waiting::Paused)));
    engine.endpoints("acme").resume("hook").await?;
    receiver.wait_for(1).await;
    Ok(())
}

// cases.md 109
#[tokio::test(start_paused = true)]
async fn no_request_after_an_endpoint_or_its_application_is_deleted() -> Result<(), Failed> {
    for whole in [false, true] {
        let receiver = ScriptedTransport::new([503_u16]);
        let retry = RetryPolicy::delays([Duration::from_secs(5)]);
        let engine = start(MemoryStore::new(), &receiver, hook().retry(retry)).await?;
        engine.publish("acme", event("{}")).await?;
        receiver.wait_for(1).await;
        sleep(Duration::from_secs(1)).await;
        match whole {
            true => engine.applications().delete("acme").await?,
            false => engine.endpoints("acme").delete("hook").await?,
        }
        sleep(Duration::from_secs(600)).await;
        assert_eq!(receiver.count(), 1);
        assert!(engine.endpoints("acme").get("hook").is_err());
        assert_eq!(engine.health().active_endpoints, 0);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_breaker_tells_when_it_opens_and_closes() -> Result<(), Failed> {
    // Five open it, three probes fail: in between its actor leaves, and the next one finds it open.
    let receiver = ScriptedTransport::new([503_u16; 8]);
    let retry = RetryPolicy::delays([Duration::from_secs(1); 20]);
    let engine = start(MemoryStore::new(), &receiver, hook().retry(retry)).await?;
    let mut notices = engine.notices();
    for _ in 0..5 {
        engine.publish("acme", event("{}")).await?;
    }
    notice(&mut notices, |notice| matches!(notice, Notice::BreakerOpened { .. }).then_some(())).await?;
    notice(&mut notices, |notice| matches!(notice, Notice::BreakerClosed { .. }).then_some(())).await?;
    Ok(())
}
