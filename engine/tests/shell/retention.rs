//! What is put off, what is forgotten before its time, and what is forgotten by age.

use std::{sync::Arc, time::Duration};

use postrider::{
    ApplicationError, ApplicationSpec, DeliveryState, EndpointSpec, Engine, EventFilter, GiveUpReason,
    InvalidApplication, InvalidEvent, ListRequest, OrganisationId, PageRequest, PublishError, ReadError, Receipt,
    RetryPolicy, TaskFilter, TaskStatus, Timestamp, core::Week, storage::MemoryStore, task::CountedBy,
    testing::ScriptedTransport,
};
use tokio::time::sleep;

use crate::support::{Failed, Knobbed, Knobs, always_ok, event, hook, start};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(start_paused = true)]
async fn an_event_for_later_goes_to_whoever_wants_it_then() -> Result<(), Failed> {
    let (medium, receiver) = (MemoryStore::new(), always_ok());
    let engine = start(medium.clone(), &receiver, hook()).await?;
    let first = engine.publish("acme", event("now")).await?;
    receiver.wait_for(1).await;
    let at = first.accepted_at + HOUR * 2;
    let later = engine.publish("acme", event("later").deliver_at(at)).await?;
    assert_eq!(later.deliveries, 0);
    engine.endpoints("acme").upsert("second", EndpointSpec::new("https://receiver.example/second")).await?;
    sleep(HOUR).await;
    assert_eq!(receiver.count(), 1);
    // Over a restart.
    engine.shutdown(HOUR).await;
    let engine = Engine::builder(medium, receiver.clone()).start().await?;
    sleep(HOUR / 2).await;
    assert_eq!(receiver.count(), 1);
    let sent = receiver.wait_for(3).await;
    assert!(
        sent[1..].iter().all(|sent| sent.body == "later" && sent.headers["webhook-id"] == *later.event.to_string())
    );
    sleep(DAY).await;
    assert_eq!(receiver.count(), 3, "once each");
    let ahead = engine.publish("acme", event("{}").deliver_at(at + DAY * 3)).await;
    assert!(matches!(ahead, Err(PublishError::Invalid(InvalidEvent::TooFarAhead))));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_payload_is_forgotten_when_its_publisher_says_and_nothing_is_sent_in_its_place() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([500_u16]);
    let engine = start(MemoryStore::new(), &receiver, hook().retry(RetryPolicy::delays([HOUR * 3]))).await?;
    let kept = engine.publish("acme", event("secret").payload_kept(HOUR)).await?;
    receiver.wait_for(1).await;
    sleep(HOUR / 2).await;
    assert_eq!(engine.events("acme").get(kept.event).await?.event.payload, "secret");
    sleep(HOUR).await;
    let stored = engine.events("acme").get(kept.event).await?;
    assert!(stored.is_expunged && stored.event.payload.is_empty(), "{stored:?}");
    sleep(HOUR * 3).await;
    assert_eq!(receiver.count(), 1);
    let record = engine.deliveries("acme").get(kept.event, "hook").await?;
    let DeliveryState::GivenUp(Some(letter)) = record.state else { return Err("it is given up".into()) };
    assert_eq!(letter.reason, GiveUpReason::Unreadable);
    Ok(())
}

/// Nothing is due: an idle engine knows when that changes, and reads nothing until then.
#[tokio::test(start_paused = true)]
async fn an_idle_engine_reads_nothing() -> Result<(), Failed> {
    let store = Knobbed::new(MemoryStore::new());
    let knobs = Arc::clone(&store.knobs);
    let engine = start(store, &always_ok(), hook()).await?;
    let at = engine.publish("acme", event("{}")).await?.accepted_at + DAY / 2;
    for round in ["nothing", "something"] {
        sleep(Duration::from_secs(1000)).await;
        let before = Knobs::count(&knobs.reads);
        sleep(Duration::from_secs(600)).await;
        let reads = Knobs::count(&knobs.reads) - before;
        assert_eq!(reads, 0, "in ten minutes in which {round} is to be done later");
        engine.publish("acme", event("{}").deliver_at(at)).await?;
    }
    Ok(())
}

/// Payloads of one application were forgotten one synced commit after another, before anything of another's: twenty
/// thousand of them made a delivery 98 seconds late.
#[tokio::test(start_paused = true)]
async fn what_one_application_has_due_keeps_no_other_waiting() -> Result<(), Failed> {
    let (store, receiver) = (Knobbed::new(MemoryStore::new()), always_ok());
    let engine = start(store.clone(), &receiver, hook()).await?;
    let big = ApplicationSpec::new("Big").payload_kept(HOUR);
    engine.applications().upsert("big", big).await?;
    let organisation = engine.organisation(OrganisationId::DEFAULT);
    for _ in 0..3 {
        let receipts = organisation.publish_all("big", (0..1_000).map(|_| event("{}"))).await;
        assert!(receipts.iter().all(Result::is_ok));
    }
    let now = engine.publish("acme", event("now")).await?.accepted_at;
    receiver.wait_for(1).await;
    engine.publish("acme", event("later").deliver_at(now + HOUR)).await?;
    store.knobs.commit_millis.store(5, std::sync::atomic::Ordering::SeqCst);
    let (began, commits) = (tokio::time::Instant::now(), Knobs::count(&store.knobs.commits));
    receiver.wait_for(2).await;
    let late = began.elapsed().saturating_sub(HOUR);
    assert!(late < Duration::from_secs(1), "{late:?}");
    sleep(Duration::from_secs(60)).await;
    let commits = Knobs::count(&store.knobs.commits) - commits;
    assert!(commits < 300, "a page is committed together: {commits} commits");
    let first = engine.events("big").list(EventFilter::default(), &Default::default()).await?;
    assert!(first.items.iter().all(|event| event.is_expunged));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_application_says_for_how_long_payloads_are_kept_of_events_that_do_not() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    let before = engine.publish("acme", event("before")).await?;
    engine.applications().update("acme", |spec| spec.payload_kept = Some(HOUR * 2)).await?;
    let own = engine.publish("acme", event("own").payload_kept(HOUR * 5)).await?;
    let keyed = || event("its application's").idempotency_key("key");
    let inherits = engine.publish("acme", keyed()).await?;
    let later = engine.publish("acme", event("later").deliver_at(before.accepted_at + HOUR * 6)).await?;
    let kept = async |receipt: &Receipt| -> Result<bool, Failed> {
        Ok(!engine.events("acme").get(receipt.event).await?.is_expunged)
    };
    sleep(HOUR + HOUR / 2).await;
    assert!(kept(&inherits).await?);
    sleep(HOUR).await;
    assert!(!kept(&inherits).await? && kept(&own).await? && kept(&later).await? && kept(&before).await?);
    engine.applications().update("acme", |spec| spec.payload_kept = None).await?;
    let not_any_more = engine.publish("acme", event("not any more")).await?;
    assert!(engine.publish("acme", keyed()).await?.is_repeat, "what its publisher said is the same");
    sleep(HOUR * 3).await;
    assert!(!kept(&own).await? && kept(&later).await?);
    sleep(HOUR).await;
    assert_eq!(receiver.wait_for(5).await[4].body, "later", "it is not forgotten before it was sent");
    sleep(DAY).await;
    assert!(!kept(&later).await? && kept(&before).await? && kept(&not_any_more).await?);
    let hardly = engine.applications().update("acme", |spec| spec.payload_kept = Some(HOUR / 2)).await;
    assert!(matches!(hardly, Err(ApplicationError::Invalid(InvalidApplication::KeptTooShort))), "{hardly:?}");
    Ok(())
}

/// Over a restart, and of one that asks for more than the engine keeps nothing is noted.
#[tokio::test(start_paused = true)]
async fn how_long_payloads_of_an_application_are_kept_outlives_a_restart() -> Result<(), Failed> {
    let (medium, receiver) = (MemoryStore::new(), always_ok());
    let engine = start(medium.clone(), &receiver, hook()).await?;
    engine.applications().update("acme", |spec| spec.payload_kept = Some(DAY * 400)).await?;
    let event_of = async |engine: &Engine| -> Result<Option<Duration>, Failed> {
        let id = engine.publish("acme", event("{}")).await?.event;
        Ok(engine.events("acme").get(id).await?.event.payload_kept)
    };
    assert_eq!(event_of(&engine).await?, None, "longer than the engine has no effect");
    engine.applications().update("acme", |spec| spec.payload_kept = Some(DAY)).await?;
    engine.shutdown(HOUR).await;
    let engine = Engine::builder(medium, receiver.clone()).start().await?;
    assert_eq!(engine.applications().get("acme")?.spec.payload_kept, Some(DAY));
    assert_eq!(event_of(&engine).await?, Some(DAY));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn payloads_are_expunged_one_by_one_or_all_of_an_application() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    let mut ids = Vec::new();
    for _ in 0..250 {
        ids.push(engine.publish("acme", event("secret")).await?.event);
    }
    receiver.wait_for(250).await;
    engine.events("acme").expunge(ids[0]).await?;
    sleep(Duration::from_secs(1)).await;
    let task = engine.events("acme").expunge_all().await?;
    let done = engine.tasks().ended(task.id).await?;
    assert_eq!((done.status, done.progress.seen, done.progress.done), (TaskStatus::Finished, 250, 249));
    for id in ids {
        assert!(engine.events("acme").get(id).await?.is_expunged);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_old_is_forgotten_and_dead_letters_keep_their_payload() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([200_u16, 400, 200]);
    let builder = Engine::builder(MemoryStore::new(), receiver.clone()).seed(7);
    let engine = builder.limits(|limits| limits.retention = DAY * 10).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").upsert("hook", hook().retry(RetryPolicy::delays([]))).await?;
    let delivered = engine.publish("acme", event("delivered")).await?.event;
    receiver.wait_for(1).await;
    let dead = engine.publish("acme", event("dead")).await?.event;
    receiver.wait_for(2).await;
    sleep(DAY * 9).await;
    let young = engine.publish("acme", event("young")).await?.event;
    assert!(engine.events("acme").get(delivered).await.is_ok());
    // Ten days behind the end of its week, which may be seven more.
    sleep(DAY * 9).await;
    assert!(engine.events("acme").get(delivered).await.is_err());
    let list = engine.events("acme").list(EventFilter::default(), &PageRequest::default()).await?;
    assert_eq!(list.items.iter().map(|event| event.id).collect::<Vec<_>>(), [young]);
    let letters = engine.dead_letters("acme").list(&Default::default(), &PageRequest::default()).await?;
    let (letter, found) = engine.dead_letters("acme").get(letters.items[0].last.id).await?;
    assert_eq!(found.map(|found| (found.id, found.event.payload.clone())), Some((dead, "dead".into())));
    engine.dead_letters("acme").redrive(letter.last.id).await?;
    assert_eq!(receiver.wait_for(4).await[3].body, "dead");
    Ok(())
}

/// A retention that is shorter than deliveries may wait took the events of those that waited: they were given up as unreadable
/// once their endpoint went on.
#[tokio::test(start_paused = true)]
async fn no_retention_takes_what_still_waits() -> Result<(), Failed> {
    let receiver = always_ok();
    let builder = Engine::builder(MemoryStore::new(), receiver.clone());
    let engine = builder.limits(|limits| limits.retention = HOUR).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let now = engine.publish("acme", event("for nobody")).await?.accepted_at;
    let end = Week::of(now).end().since(now);
    sleep(end.saturating_sub(HOUR / 2)).await;
    engine.endpoints("acme").upsert("hook", hook()).await?;
    engine.endpoints("acme").pause("hook").await?;
    engine.publish("acme", event("waits")).await?;
    sleep(DAY * 5).await;
    engine.endpoints("acme").resume("hook").await?;
    assert_eq!(receiver.wait_for(1).await[0].body, "waits");
    Ok(())
}

/// Tasks that had ended stayed in the store for ever, each with what it had counted.
#[tokio::test(start_paused = true)]
async fn tasks_that_ended_are_forgotten_with_events_of_their_age() -> Result<(), Failed> {
    let store = Knobbed::new(MemoryStore::new());
    let builder = Engine::builder(store.clone(), always_ok());
    let engine = builder.limits(|limits| limits.retention = DAY * 10).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let other = engine.organisation(OrganisationId::from_bytes([9; 20]));
    let epoch = Timestamp::from_nanos(0);
    let mut ended = Vec::new();
    for _ in 0..3 {
        let task = engine.tasks().count(None, epoch, Timestamp::MAX, CountedBy::Application).await?;
        ended.push(engine.tasks().ended(task.id).await?.id);
        let task = other.tasks().count(None, epoch, Timestamp::MAX, CountedBy::Application).await?;
        other.tasks().ended(task.id).await?;
        sleep(DAY * 4).await;
    }
    let left = async |tasks: postrider::Tasks<'_>| -> Result<usize, Failed> {
        Ok(tasks.list(&TaskFilter::default(), &ListRequest::default()).await?.items.len())
    };
    assert_eq!((left(engine.tasks()).await?, left(other.tasks()).await?), (2, 2), "the first ones are old");
    assert!(matches!(engine.tasks().get(ended[0]).await, Err(ReadError::NotFound)));
    sleep(DAY * 10).await;
    assert_eq!((left(engine.tasks()).await?, left(other.tasks()).await?), (0, 0));
    Ok(())
}

/// What was tried again of a message whose week was forgotten was written into that week anew. As the oldest it was the next to
/// be forgotten, again and again, and no younger one ever was.
#[tokio::test(start_paused = true)]
async fn a_week_that_comes_back_keeps_no_other() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([&[400_u16, 200][..], &[400; 1_000]].concat());
    let builder = Engine::builder(MemoryStore::new(), receiver.clone());
    let engine = builder.limits(|limits| limits.retention = DAY * 10).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").upsert("hook", hook().retry(RetryPolicy::delays([]))).await?;
    let first = engine.publish("acme", event("fails")).await?;
    receiver.wait_for(1).await;
    let end = Week::of(first.accepted_at).end().since(first.accepted_at);
    sleep(end + HOUR).await;
    let next = engine.publish("acme", event("arrives")).await?;
    receiver.wait_for(2).await;
    sleep(DAY * 10 + HOUR * 2).await;
    for _ in 0..48 * 8 {
        let letters = engine.dead_letters("acme").list(&Default::default(), &PageRequest::default()).await?.items;
        engine.dead_letters("acme").redrive(letters.first().ok_or("it fails")?.last.id).await?;
        sleep(HOUR / 2).await;
    }
    assert!(matches!(engine.events("acme").get(next.event).await, Err(ReadError::NotFound)), "its week is over");
    assert!(engine.events("acme").get(first.event).await.is_ok(), "a dead letter needs it");
    Ok(())
}
