//! An endpoint is disabled when it has only failed for long, and for nothing else than that or a 410.

use std::time::Duration;

use postrider::{
    ApplicationSpec, BreakerSetting, Clock, DisableReason, EndpointStatus, Engine, Notice, RetryPolicy, SystemClock,
    storage::MemoryStore,
    testing::{ManualClock, Reply, ScriptedTransport},
};
use tokio::time::{Instant, sleep};

use crate::{
    ending::AlsoTokio,
    support::{Failed, event, hook, start},
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

// cases.md 131
#[tokio::test(start_paused = true)]
async fn only_failures_for_five_days_disable_it_and_restarts_forgive_nothing() -> Result<(), Failed> {
    let (store, receiver) = (MemoryStore::new(), ScriptedTransport::new(vec![500_u16; 10_000]));
    let (began, from) = (Instant::now(), ManualClock::new(SystemClock::new().now()));
    let mut first_failure = None;
    for round in 0_u32.. {
        let clock = AlsoTokio(from.clone(), began);
        let engine = Engine::builder(store.clone(), receiver.clone()).clock(clock).start().await?;
        engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
        if round == 0 {
            let retry = RetryPolicy::delays([6 * HOUR; 40]);
            engine.endpoints("acme").upsert("hook", hook().retry(retry)).await?;
            let mut patient = hook();
            patient.delivery.disable_after = Some(Duration::MAX);
            engine.endpoints("acme").upsert("patient", patient).await?;
        }
        let mut notices = engine.notices();
        engine.publish("acme", event("{}")).await?;
        first_failure.get_or_insert(Instant::now());
        let disabled = async {
            loop {
                match notices.next().await {
                    Some(Notice::EndpointDisabled { reason, .. }) => return Some(reason),
                    Some(_) => {}
                    None => return None,
                }
            }
        };
        let disabled = tokio::time::timeout(17 * HOUR, disabled).await;
        let status = engine.endpoints("acme").get("hook")?.status;
        let failing_for = first_failure.map_or(Duration::ZERO, |first| first.elapsed());
        if let Ok(reason) = disabled {
            assert_eq!(reason, Some(DisableReason::FailingTooLong));
            assert_eq!(status, EndpointStatus::Disabled(DisableReason::FailingTooLong));
            assert!(round > 3, "after several restarts");
            assert_eq!(engine.endpoints("acme").get("patient")?.status, EndpointStatus::Active, "as it asks");
            assert!((5 * DAY..5 * DAY + 8 * HOUR).contains(&failing_for), "{failing_for:?}");
            return Ok(());
        }
        assert_eq!(status, EndpointStatus::Active, "after {failing_for:?}");
        assert!(failing_for < 6 * DAY);
        engine.shutdown(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// It had failed for five days, was enabled, and was disabled again by the next failure: with an actor up, and without one.
#[tokio::test(start_paused = true)]
async fn whoever_is_enabled_is_judged_anew() -> Result<(), Failed> {
    for wait in [Duration::ZERO, HOUR] {
        let receiver = ScriptedTransport::new(vec![500_u16; 10_000]);
        let mut spec = hook().retry(RetryPolicy::delays([HOUR; 40]));
        spec.delivery.disable_after = Some(6 * HOUR);
        let engine = start(MemoryStore::new(), &receiver, spec).await?;
        let is_disabled =
            || engine.endpoints("acme").get("hook").is_ok_and(|hook| hook.status != EndpointStatus::Active);
        // Of three deliveries: one that its receiver cannot stomach says nothing of the endpoint.
        for _ in 0..3 {
            engine.publish("acme", event("{}")).await?;
        }
        while !is_disabled() {
            sleep(Duration::from_secs(1)).await;
        }
        sleep(wait).await;
        engine.endpoints("acme").enable("hook").await?;
        for _ in 0..3 {
            engine.publish("acme", event("{}")).await?;
        }
        sleep(5 * HOUR).await;
        assert!(!is_disabled(), "enabled {wait:?} later");
        sleep(3 * HOUR).await;
        assert!(is_disabled(), "enabled {wait:?} later");
    }
    Ok(())
}

/// One success in between, and the clock begins anew.
#[tokio::test(start_paused = true)]
async fn a_success_in_between_starts_the_clock_anew() -> Result<(), Failed> {
    let replies = std::iter::repeat_n(500_u16, 4).chain([200]).chain(std::iter::repeat_n(500, 4)).chain([200]);
    let receiver = ScriptedTransport::new(replies);
    let engine = start(MemoryStore::new(), &receiver, hook().retry(RetryPolicy::delays([DAY; 6]))).await?;
    for n in [5, 10] {
        engine.publish("acme", event("{}")).await?;
        receiver.wait_for(n).await;
        sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(engine.endpoints("acme").get("hook")?.status, EndpointStatus::Active);
    Ok(())
}

// cases.md 128
#[tokio::test(start_paused = true)]
async fn a_busy_endpoint_is_not_disabled_for_the_number_of_its_failures() -> Result<(), Failed> {
    let flapping = (0..4_000).map(|n| Reply::from(if n % 2 == 0 { 200 } else { 500 })).collect::<Vec<_>>();
    let hanging = (0..4_000).map(|n| if n % 100 == 99 { Reply::Hang } else { Reply::from(200) }).collect::<Vec<_>>();
    for script in [flapping, hanging] {
        let receiver = ScriptedTransport::new(script);
        let mut spec = hook();
        spec.delivery.breaker = BreakerSetting::Off;
        let engine = start(MemoryStore::new(), &receiver, spec).await?;
        for _ in 0..2_000 {
            engine.publish("acme", event("{}")).await?;
        }
        sleep(2 * DAY).await;
        assert!(engine.metrics().deliveries_ended_well() > 1_990, "but for the unlucky ones");
        assert_eq!(engine.endpoints("acme").get("hook")?.status, EndpointStatus::Active);
    }
    Ok(())
}

// cases.md 133
#[tokio::test(start_paused = true)]
async fn a_400_or_ten_errors_in_a_row_are_for_the_breaker_and_disable_nothing() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new(std::iter::once(400_u16).chain(std::iter::repeat_n(500, 10)));
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    for _ in 0..6 {
        engine.publish("acme", event("{}")).await?;
    }
    sleep(3 * DAY).await;
    assert_eq!(engine.metrics().deliveries_ended_well(), 6);
    assert_eq!(engine.endpoints("acme").get("hook")?.status, EndpointStatus::Active);
    Ok(())
}

/// Two events in a week that a receiver did not understand, or could not take, disabled its endpoint.
#[tokio::test(start_paused = true)]
async fn two_failures_in_a_week_disable_nothing() -> Result<(), Failed> {
    for status in [422_u16, 503] {
        let receiver = ScriptedTransport::new([status, status]);
        let engine = start(MemoryStore::new(), &receiver, hook().retry(RetryPolicy::delays([]))).await?;
        for n in [1, 2] {
            engine.publish("acme", event("{}")).await?;
            receiver.wait_for(n).await;
            sleep(6 * DAY).await;
        }
        assert_eq!(engine.endpoints("acme").get("hook")?.status, EndpointStatus::Active, "{status}");
    }
    Ok(())
}
