//! Long-running tasks: they do what they are for once, in order, keep to the limits, survive, and can be called off.

use std::{num::NonZeroU32, time::Duration};

use postrider::{
    EndpointSpec, Engine, Event, ListRequest, Notice, OnExhausted, Order, OrderingMode, ReplayFilter, RetryPolicy,
    Task, TaskError, TaskFilter, TaskStatus, Timestamp,
    storage::MemoryStore,
    task::{Tried, TriedEnd},
    testing::ScriptedTransport,
};
use tokio::time::sleep;

use crate::support::{Failed, Knobbed, Knobs, always_ok, event, hook, notice, start};

const EPOCH: Timestamp = Timestamp::from_nanos(0);

async fn ended(engine: &Engine, task: &Task) -> Result<Task, Failed> {
    Ok(engine.tasks().ended(task.id).await?)
}

/// Publishes so many events for nobody, with their number as payload, and then makes the endpoint that wants them.
async fn missed(engine: &Engine, count: usize, spec: EndpointSpec) -> Result<Timestamp, Failed> {
    let event = |n: &usize| Event::new("missed", n.to_string()).ordering_key((n % 3).to_string());
    let mut first = None;
    for numbers in (0..count).collect::<Vec<_>>().chunks(500) {
        let organisation = engine.organisation(postrider::OrganisationId::DEFAULT);
        for receipt in organisation.publish_all("acme", numbers.iter().map(event)).await {
            let receipt = receipt?;
            assert_eq!(receipt.deliveries, 0);
            first = first.or(Some(receipt.accepted_at));
        }
    }
    sleep(Duration::from_secs(1)).await;
    engine.endpoints("acme").upsert("late", spec).await?;
    first.ok_or_else(|| "nothing was published".into())
}

fn late() -> EndpointSpec {
    EndpointSpec::new("https://receiver.example/late")
}

fn other_types() -> EndpointSpec {
    hook().event_types(["invoice.paid"])
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_is_replayed_in_order_once() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, other_types()).await?;
    let since = missed(&engine, 250, late().ordering(OrderingMode::PerKey(OnExhausted::Continue))).await?;
    let task = engine.tasks().replay_missing("acme", "late", since, None).await?;
    let done = ended(&engine, &task).await?;
    assert_eq!((done.status, done.progress.seen, done.progress.done), (TaskStatus::Finished, 250, 250));
    let sent = receiver.wait_for(250).await;
    for key in 0..3 {
        let of_key = sent.iter().map(|sent| String::from_utf8_lossy(&sent.body).parse::<usize>().unwrap_or_default());
        let of_key: Vec<_> = of_key.filter(|n| n % 3 == key).collect();
        assert!(of_key.is_sorted() && of_key.len() >= 83, "{of_key:?}");
    }
    let again = engine.tasks().replay_missing("acme", "late", since, None).await?;
    assert_eq!(ended(&engine, &again).await?.progress.done, 0);
    assert_eq!(receiver.count(), 250);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_replay_takes_what_stands_as_it_asks_and_leaves_what_waits() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([200_u16, 400, 200]);
    let engine = start(MemoryStore::new(), &receiver, hook().retry(RetryPolicy::delays([]))).await?;
    let mut first = None;
    for n in 1..=3 {
        first = first.or(Some(engine.publish("acme", event("{}")).await?));
        receiver.wait_for(n).await;
        sleep(Duration::from_secs(60)).await;
    }
    let since = first.ok_or("it was published")?.accepted_at;
    engine.endpoints("acme").pause("hook").await?;
    let only =
        ReplayFilter { tried: Tried { end: Some(TriedEnd::GivenUp), status_class: Some(400) }, ..Default::default() };
    let dead = engine.tasks().replay("acme", "hook", since, None, only).await?;
    assert_eq!(ended(&engine, &dead).await?.progress.done, 1);
    let all = engine.tasks().replay("acme", "hook", since, None, ReplayFilter::default()).await?;
    assert_eq!(ended(&engine, &all).await?.progress.done, 2, "one of the three waits already");
    engine.endpoints("acme").resume("hook").await?;
    let sent = receiver.wait_for(6).await;
    let id = |n: usize| sent[n].headers["webhook-id"].clone();
    assert_eq!([id(3), id(4), id(5)], [id(1), id(0), id(2)], "the same ids, in the order in which they were put back");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_task_goes_on_after_a_restart_and_after_a_store_that_failed() -> Result<(), Failed> {
    let (medium, receiver) = (MemoryStore::new(), always_ok());
    let engine = start(medium.clone(), &receiver, other_types()).await?;
    let since = missed(&engine, 2_500, late()).await?;
    engine.endpoints("acme").pause("late").await?;
    let task = engine.tasks().replay_missing("acme", "late", since, None).await?;
    // A thousand wait and nobody takes them: the task waits, too.
    sleep(Duration::from_secs(60)).await;
    let halfway = engine.tasks().get(task.id).await?;
    assert_eq!((halfway.status, halfway.progress.done), (TaskStatus::Running, 1_000));
    drop(engine);

    let store = Knobbed::new(medium);
    let engine = Engine::builder(store.clone(), receiver.clone()).start().await?;
    let mut notices = engine.notices();
    engine.endpoints("acme").resume("late").await?;
    receiver.wait_for(1_200).await;
    Knobs::set(&store.knobs.loses);
    notice(&mut notices, |notice| matches!(notice, Notice::Resumed).then_some(())).await?;
    let done = ended(&engine, &task).await?;
    assert_eq!((done.status, done.progress.done), (TaskStatus::Finished, 2_500));
    sleep(Duration::from_secs(60)).await;
    let ids: std::collections::HashSet<_> =
        receiver.wait_for(2_500).await.iter().map(|sent| sent.headers["webhook-id"].clone()).collect();
    assert_eq!(ids.len(), 2_500);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_task_is_called_off_and_listed() -> Result<(), Failed> {
    let (medium, receiver) = (MemoryStore::new(), always_ok());
    let engine = start(medium.clone(), &receiver, other_types()).await?;
    let since = missed(&engine, 1_500, late()).await?;
    engine.endpoints("acme").pause("late").await?;
    let task = engine.tasks().replay_missing("acme", "late", since, None).await?;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(engine.tasks().cancel(task.id).await?.status, TaskStatus::Cancelled);
    assert!(matches!(engine.tasks().cancel(task.id).await, Err(TaskError::HasEnded)));
    engine.endpoints("acme").resume("late").await?;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(receiver.count(), 1_000, "what it had done stays done");
    let other = engine.tasks().replay_missing("acme", "late", since, None).await?;
    ended(&engine, &other).await?;
    let list = async |filter: TaskFilter, order| -> Result<Vec<_>, Failed> {
        let found = engine.tasks().list(&filter, &ListRequest { order, ..ListRequest::default() }).await?;
        Ok(found.items.into_iter().map(|task| task.id).collect())
    };
    assert_eq!(list(TaskFilter::default(), Order::Descending).await?, [other.id, task.id]);
    let cancelled = TaskFilter { status: Some(TaskStatus::Cancelled), name: None };
    assert_eq!(list(cancelled, Order::Ascending).await?, [task.id]);
    // Nothing of a task that ended is run again.
    engine.shutdown(Duration::from_secs(60)).await;
    let engine = Engine::builder(medium, receiver.clone()).start().await?;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.tasks().get(task.id).await?.status, TaskStatus::Cancelled);
    assert_eq!(receiver.count(), 1_500);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_redrive_waits_for_room_in_the_queue() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([400_u16; 5]);
    let mut spec = hook().retry(RetryPolicy::delays([]));
    spec.delivery.max_queued = NonZeroU32::new(2);
    let engine = start(MemoryStore::new(), &receiver, spec).await?;
    for n in 1..=5 {
        engine.publish("acme", event("{}")).await?;
        receiver.wait_for(n).await;
        sleep(Duration::from_secs(600)).await;
    }
    engine.endpoints("acme").pause("hook").await?;
    let task = engine.dead_letters("acme").redrive_many(&Default::default()).await?;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.tasks().get(task.id).await?.status, TaskStatus::Running);
    assert_eq!(engine.endpoints("acme").state("hook").await?.backlog.queued, 2);
    engine.endpoints("acme").resume("hook").await?;
    assert_eq!(ended(&engine, &task).await?.progress.done, 5);
    receiver.wait_for(10).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_task_for_what_is_not_there_or_too_much_is_refused_and_one_whose_endpoint_goes_fails() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, other_types()).await?;
    let since = missed(&engine, 1_500, late()).await?;
    let start =
        async |endpoint: &str, since, until| engine.tasks().replay_missing("acme", endpoint, since, until).await;
    assert!(matches!(start("nobody", since, None).await, Err(TaskError::NotFound)));
    let before = Timestamp::from_nanos(since.as_nanos() - 1);
    assert!(matches!(start("late", since, Some(before)).await, Err(TaskError::EmptyTime)));
    assert!(matches!(start("late", EPOCH, None).await, Err(TaskError::TimeTooLong)));
    engine.endpoints("acme").pause("late").await?;
    let task = start("late", since, None).await?;
    sleep(Duration::from_secs(5)).await;
    engine.endpoints("acme").delete("late").await?;
    let failed = ended(&engine, &task).await?;
    assert_eq!(failed.status, TaskStatus::Failed);
    assert!(failed.failure.is_some_and(|why| why.contains("deleted")));
    Ok(())
}
