//! Long-running tasks: they do what they are for once, in order, keep to the limits, survive, and can be called off.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::atomic::Ordering,
    time::Duration,
};

use postrider::{
    ApplicationSpec, DeadLetterFilter, DeliveryError, EndpointSpec, Engine, Event, ListRequest, Notice, OnExhausted,
    Order, OrderingMode, ReplayFilter, RetryPolicy, Task, TaskError, TaskFilter, TaskStatus, Timestamp,
    storage::MemoryStore,
    task::{CountedBy, Tried, TriedEnd},
    testing::ScriptedTransport,
};
use tokio::time::sleep;

use crate::support::{Failed, Knobbed, Knobs, PATIENCE, always_ok, event, hook, notice, start};

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

/// A redrive that waited for room in a full queue never looked at its task again: called off, it put back its letters all
/// the same, hours later. Eight such tasks kept every task of every organisation waiting.
#[tokio::test(start_paused = true)]
async fn a_redrive_that_waits_for_room_is_called_off_and_keeps_no_other_task_waiting() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([400_u16; 3]);
    let mut spec = hook().retry(RetryPolicy::delays([]));
    spec.delivery.max_queued = NonZeroU32::new(3);
    let engine = start(MemoryStore::new(), &receiver, spec).await?;
    for n in 1..=3 {
        engine.publish("acme", event("{}")).await?;
        receiver.wait_for(n).await;
    }
    sleep(Duration::from_secs(1)).await;
    engine.endpoints("acme").pause("hook").await?;
    for _ in 0..3 {
        engine.publish("acme", event("{}")).await?;
    }
    let mut tasks = Vec::new();
    for _ in 0..8 {
        tasks.push(engine.dead_letters("acme").redrive_many(&DeadLetterFilter::of("hook")).await?);
    }
    sleep(Duration::from_secs(10)).await;
    let other = engine.organisation(postrider::OrganisationId::from_bytes([9; 20]));
    other.applications().upsert("other", ApplicationSpec::new("Other")).await?;
    let counted = other.tasks().count(None, EPOCH, Timestamp::MAX, CountedBy::Application).await?;
    assert_eq!(other.tasks().ended(counted.id).await?.status, TaskStatus::Finished);
    for task in &tasks {
        assert_eq!(engine.tasks().cancel(task.id).await?.status, TaskStatus::Cancelled);
    }
    engine.endpoints("acme").resume("hook").await?;
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(receiver.count(), 6, "what was called off is not put back");
    Ok(())
}

/// A full queue keeps its own letters waiting, and no others of the same task.
#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_passed_over_and_put_back_later() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([400_u16; 4]);
    let mut spec = hook().retry(RetryPolicy::delays([]));
    spec.delivery.max_queued = NonZeroU32::new(1);
    let engine = start(MemoryStore::new(), &receiver, spec.clone()).await?;
    sleep(Duration::from_secs(2)).await;
    engine.endpoints("acme").upsert("second", spec).await?;
    for n in 1..=2 {
        engine.publish("acme", event("{}")).await?;
        receiver.wait_for(2 * n).await;
        sleep(Duration::from_secs(600)).await;
    }
    engine.endpoints("acme").pause("hook").await?;
    let task = engine.dead_letters("acme").redrive_many(&DeadLetterFilter::default()).await?;
    receiver.wait_for(6).await;
    sleep(Duration::from_secs(60)).await;
    let waits = engine.tasks().get(task.id).await?;
    assert_eq!((waits.status, waits.progress.done), (TaskStatus::Running, 3), "one of the first endpoint waits");
    engine.endpoints("acme").resume("hook").await?;
    assert_eq!(ended(&engine, &task).await?.progress.done, 4);
    receiver.wait_for(8).await;
    Ok(())
}

/// A replay asked for room for all of a page at once, and waited for ever where most of it had room.
#[tokio::test(start_paused = true)]
async fn a_replay_puts_in_as_much_as_there_is_room_for() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, other_types()).await?;
    let mut spec = late();
    spec.delivery.max_queued = NonZeroU32::new(50);
    let since = missed(&engine, 100, spec).await?;
    engine.endpoints("acme").pause("late").await?;
    for _ in 0..20 {
        engine.publish("acme", Event::new("missed", "{}")).await?;
    }
    let task = engine.tasks().replay_missing("acme", "late", since, None).await?;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.tasks().get(task.id).await?.progress.done, 30);
    engine.endpoints("acme").resume("late").await?;
    assert_eq!(ended(&engine, &task).await?.progress.done, 100);
    receiver.wait_for(120).await;
    Ok(())
}

/// A count over sixteen hundred applications without an event wrote 238 MB in as many commits: all that it had counted, and
/// the names of all of them, again with each.
#[tokio::test(start_paused = true)]
async fn a_count_writes_as_much_as_there_is_to_count() -> Result<(), Failed> {
    let mut costs = Vec::new();
    for applications in [600, 2_400] {
        let store = Knobbed::new(MemoryStore::new());
        let engine = Engine::builder(store.clone(), always_ok()).seed(7).start().await?;
        for n in 0..applications {
            engine.applications().upsert(format!("a{n}").as_str(), ApplicationSpec::new("A")).await?;
        }
        engine.publish("a7", event("{}")).await?;
        store.knobs.document_bytes.store(0, Ordering::SeqCst);
        let commits = Knobs::count(&store.knobs.commits);
        let task = engine.tasks().count(None, EPOCH, Timestamp::MAX, CountedBy::Application).await?;
        let done = ended(&engine, &task).await?;
        let counts = [done.counts.len(), usize::try_from(done.counts.values().sum::<u64>())?];
        assert_eq!((done.status, counts), (TaskStatus::Finished, [applications, 1]));
        assert_eq!(engine.tasks().list(&TaskFilter::default(), &ListRequest::default()).await?.items, [done]);
        assert!(Knobs::count(&store.knobs.commits) - commits <= 6, "many that are empty are one piece");
        costs.push(Knobs::count(&store.knobs.document_bytes));
    }
    assert!(costs[1] < 5 * costs[0] && costs[1] < 2_400 * 60, "{costs:?} bytes");
    Ok(())
}

/// A task over the dead letters of two endpoints ended as if it were done when the endpoint at whose letters it stood was
/// deleted, with all letters of the other one left. It goes on behind the place where it stood.
#[tokio::test(start_paused = true)]
async fn a_task_goes_on_behind_an_endpoint_that_is_deleted() -> Result<(), Failed> {
    let (store, receiver) = (Knobbed::new(MemoryStore::new()), ScriptedTransport::new([400_u16; 280]));
    let spec = |wanted| hook().retry(RetryPolicy::delays([])).event_types([wanted]);
    let engine = start(store.clone(), &receiver, spec("a")).await?;
    sleep(Duration::from_secs(2)).await;
    engine.endpoints("acme").upsert("second", spec("b")).await?;
    // A piece of a hundred is being done when the endpoint goes, and the task stands among its letters after that, too.
    for n in 0..280 {
        engine.publish("acme", Event::new(if n < 250 { "a" } else { "b" }, "{}")).await?;
    }
    receiver.wait_for(280).await;
    sleep(Duration::from_secs(600)).await;
    store.knobs.commit_millis.store(2_000, Ordering::SeqCst);
    let task = engine.dead_letters("acme").purge(&DeadLetterFilter::default()).await?;
    while engine.tasks().get(task.id).await?.progress.seen < 100 {
        sleep(Duration::from_millis(500)).await;
    }
    engine.endpoints("acme").delete("hook").await?;
    assert_eq!(ended(&engine, &task).await?.status, TaskStatus::Finished);
    assert_eq!(engine.dead_letters("acme").count(&DeadLetterFilter::default(), NonZeroUsize::MAX).await?, 0);
    Ok(())
}

/// Once the letter of a delivery that holds its lane was purged, the delivery could not be called off any more, and all
/// that waited behind it stood still until it was too old.
#[tokio::test(start_paused = true)]
async fn what_holds_its_lane_is_called_off_after_its_letter_was_purged() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([400_u16]);
    let spec = hook().retry(RetryPolicy::delays([])).ordering(OrderingMode::Fifo(OnExhausted::Hold));
    let engine = start(MemoryStore::new(), &receiver, spec).await?;
    let first = engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    engine.publish("acme", event("2")).await?;
    sleep(Duration::from_secs(1)).await;
    let task = engine.dead_letters("acme").purge(&DeadLetterFilter::of("hook")).await?;
    assert_eq!(ended(&engine, &task).await?.progress.done, 1);
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(receiver.count(), 1, "the lane is still held");
    engine.deliveries("acme").cancel(first.event, "hook").await?;
    assert_eq!(&receiver.wait_for(2).await[1].body[..], b"2");
    assert!(matches!(engine.deliveries("acme").cancel(first.event, "hook").await, Err(DeliveryError::HasEnded)));
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

/// Whoever waited for the end of a task waited for ever if the one who called it off had gone before that was stored, or if
/// its last piece was stored and the answer lost.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_task_hears_of_its_end_whoever_ended_it() -> Result<(), Failed> {
    let (store, receiver) = (Knobbed::new(MemoryStore::new()), always_ok());
    let engine = start(store.clone(), &receiver, other_types()).await?;
    let since = missed(&engine, 1_500, late()).await?;
    engine.endpoints("acme").pause("late").await?;
    let task = engine.tasks().replay_missing("acme", "late", since, None).await?;
    sleep(Duration::from_secs(5)).await;
    let mut waits = Box::pin(engine.tasks().ended(task.id));
    assert!(is_pending(waits.as_mut()));
    let mut gone = Box::pin(engine.tasks().cancel(task.id));
    assert!(is_pending(gone.as_mut()), "it is on its way");
    drop(gone);
    assert_eq!(tokio::time::timeout(PATIENCE, waits).await??.status, TaskStatus::Cancelled);

    let counted = engine.tasks().count(None, EPOCH, Timestamp::MAX, CountedBy::Application).await?;
    let mut waits = Box::pin(engine.tasks().ended(counted.id));
    assert!(is_pending(waits.as_mut()));
    Knobs::set(&store.knobs.loses);
    assert_eq!(tokio::time::timeout(PATIENCE, waits).await??.status, TaskStatus::Finished);
    Ok(())
}

/// So many tasks may be open, also of those that are begun at the same time.
#[tokio::test(start_paused = true)]
async fn the_limit_of_open_tasks_is_kept_by_those_that_begin_together() -> Result<(), Failed> {
    let engine = start(MemoryStore::new(), &always_ok(), other_types()).await?;
    let since = missed(&engine, 1_500, late()).await?;
    engine.endpoints("acme").pause("late").await?;
    let begin = || async { engine.tasks().replay_missing("acme", "late", since, None).await };
    begin().await?;
    sleep(Duration::from_secs(60)).await;
    for _ in 1..98 {
        begin().await?;
    }
    let together = tokio::join!(begin(), begin(), begin(), begin());
    let together = [together.0, together.1, together.2, together.3];
    let begun = together.iter().filter(|begun| begun.is_ok()).count();
    let refused = together.iter().filter(|begun| matches!(begun, Err(TaskError::TooMany { open_max: 100 }))).count();
    assert_eq!((begun, refused), (2, 2));
    Ok(())
}

/// Polls once.
fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    future.as_mut().poll(&mut context).is_pending()
}
