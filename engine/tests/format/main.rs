//! What an earlier release stored is read, and gone on with. `rows-1.txt` holds every row that a store had after a day in the
//! life of an engine: partition, key and value in hexadecimal, a line each, as `storage/FORMAT.md` describes them.
//!
//! A new format gets a file of its own, and this one stays: `FORMAT_WRITE=rows-3.txt cargo test -p postrider --test format`
//! writes one by the code as it is.

use std::{
    fmt::Write as _,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use postrider::{
    ApplicationSpec, BreakerSetting, DeliveryState, EndpointSpec, EndpointStatus, Engine, Event, EventTypeSpec, IdOr,
    OnExhausted, OrderingMode, PageRequest, Priority, Rate, RetryPolicy, SchemaCheck, SchemaVersion, Timestamp,
    Waiting,
    storage::{
        KvStore, OpenStore, Store, StoreError,
        kv::{Direction, MemoryKv, OrderedKv, Partition, Row},
    },
    testing::{ManualClock, Reply, ScriptedTransport},
};
use tokio::time::sleep;

type Failed = Box<dyn std::error::Error>;

const DAY_ONE: Timestamp = Timestamp::from_nanos(1_795_600_000_000_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Endpoints that get one event: more than its own row names.
const CROWD: usize = 20;
const ALL: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99_999);

// cases.md 117
#[tokio::test(start_paused = true)]
async fn rows_of_format_1_are_read_and_gone_on_with() -> Result<(), Failed> {
    goes_on(&restored(include_str!("rows-1.txt"))?).await
}

// cases.md 117
#[tokio::test(start_paused = true)]
async fn rows_of_format_2_are_read_and_gone_on_with() -> Result<(), Failed> {
    let medium = restored(include_str!("rows-2.txt"))?;
    goes_on(&medium).await?;
    goes_on_with_what_came_with_format_2(&medium).await
}

// cases.md 117
#[tokio::test(start_paused = true)]
async fn rows_of_format_3_are_read_and_gone_on_with() -> Result<(), Failed> {
    let medium = restored(include_str!("rows-3.txt"))?;
    goes_on(&medium).await?;
    goes_on_with_what_came_with_format_2(&medium).await?;
    goes_on_with_what_came_with_format_3(&medium).await
}

// cases.md 117
#[tokio::test(start_paused = true)]
async fn rows_of_format_4_are_read_and_gone_on_with() -> Result<(), Failed> {
    let medium = restored(include_str!("rows-4.txt"))?;
    goes_on(&medium).await?;
    goes_on_with_what_came_with_format_2(&medium).await?;
    goes_on_with_what_came_with_format_3(&medium).await?;
    goes_on_with_what_came_with_format_4(&medium).await
}

// cases.md 117
#[tokio::test(start_paused = true)]
async fn rows_of_format_5_are_read_and_gone_on_with() -> Result<(), Failed> {
    let medium = restored(include_str!("rows-5.txt"))?;
    goes_on(&medium).await?;
    goes_on_with_what_came_with_format_2(&medium).await?;
    goes_on_with_what_came_with_format_3(&medium).await?;
    goes_on_with_what_came_with_format_4(&medium).await?;
    goes_on_with_what_came_with_format_5(&medium).await
}

/// The same with rows that this very code writes, so that the checks themselves hold.
#[tokio::test(start_paused = true)]
async fn rows_that_are_written_today_are_read_and_gone_on_with() -> Result<(), Failed> {
    let medium = MemoryKv::default();
    write_a_day(&medium).await?;
    let text = dumped(&medium)?;
    if let Some(name) = std::env::var_os("FORMAT_WRITE") {
        std::fs::write(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/format").join(name), &text)?;
    }
    let medium = restored(&text)?;
    goes_on(&medium).await?;
    goes_on_with_what_came_with_format_2(&medium).await?;
    goes_on_with_what_came_with_format_3(&medium).await?;
    goes_on_with_what_came_with_format_4(&medium).await?;
    goes_on_with_what_came_with_format_5(&medium).await
}

/// A value of a version that nobody knows is refused in words, and nothing is taken for empty.
#[tokio::test(start_paused = true)]
async fn a_store_of_a_later_format_is_refused_in_words() -> Result<(), Failed> {
    let text = include_str!("rows-1.txt");
    let format = text.lines().find(|line| line.contains(&hex(b"Zformat"))).ok_or("the format is a row")?;
    // Version 1, not sealed, written by 1, readable from 1: and here from 9.
    let later = format.strip_suffix("0101").ok_or("two small numbers")?.to_owned() + "0909";
    let refused = start(&restored(&text.replace(format, &later))?, &ScriptedTransport::new([200; 0]), DAY_ONE).await;
    let told = refused.err().map(|error| in_words(&*error)).ok_or("it was opened")?;
    assert!(told.contains("needs a program that knows format 9; this one knows 5"), "{told}");
    Ok(())
}

/// Every kind of row: delivered, waiting for a retry, held, dead, cancelled, by hand, cut off; keys, uids, wakes, health.
async fn write_a_day(medium: &MemoryKv) -> Result<(), Failed> {
    let answers = [Reply::Status(200), Reply::Status(500), Reply::Status(400), Reply::Status(500), Reply::Status(503)];
    let receiver = ScriptedTransport::new(answers);
    let engine = start(medium, &receiver, DAY_ONE).await?;
    let mut app = ApplicationSpec::new("Acme Ltd");
    app.metadata.insert("tier".into(), "gold".into());
    (app.schema_check, app.payload_kept) = (Some(SchemaCheck::Off), Some(DAY * 30));
    engine.applications().upsert("acme", app).await?;
    let endpoints = engine.endpoints("acme");
    let mut ordered = EndpointSpec::new("https://receiver.example/ordered?a=%22b%22")
        .ordering(OrderingMode::PerKey(OnExhausted::Hold))
        .retry(RetryPolicy::delays([Duration::from_secs(600)]))
        .event_types(["invoice.paid"])
        .header("X-Team", "bills");
    ordered.delivery.breaker = BreakerSetting::Off;
    endpoints.upsert("ordered", ordered).await?;
    let dead = EndpointSpec::new("https://receiver.example/dead").retry(RetryPolicy::delays([])).event_types(["dead"]);
    let per_second = NonZeroUsize::MIN.try_into()?;
    endpoints.upsert("dead", dead.rate(Rate::per_second(per_second))).await?;
    endpoints.upsert("gone", EndpointSpec::new("https://receiver.example/gone").event_types(["gone"])).await?;
    endpoints.upsert("paused", EndpointSpec::new("https://receiver.example/paused").event_types(["paused"])).await?;
    let later = RetryPolicy::delays([Duration::from_secs(600)]);
    let later = EndpointSpec::new("https://receiver.example/later").event_types(["later"]).retry(later);
    endpoints.upsert("later", later).await?;
    endpoints.pause("paused").await?;
    endpoints.pause("gone").await?;
    endpoints.rotate_secret("dead", None, Duration::from_secs(86_400)).await?;

    let publish = async |event: Event, answered: usize| -> Result<(), Failed> {
        engine.publish("acme", event).await?;
        receiver.wait_for(answered).await;
        sleep(Duration::from_secs(1)).await;
        Ok(())
    };
    let invoice = |payload: &'static str| Event::new("invoice.paid", payload).ordering_key("customer-7");
    publish(invoice("{\"n\":1}").idempotency_key("key-1").uid("uid-1"), 1).await?;
    publish(invoice("{\"n\":2}").uid("uid-2"), 2).await?;
    publish(Event::new("dead", "{\"n\":3}").uid("uid-3"), 3).await?;
    publish(Event::new("paused", "{\"n\":4}").uid("uid-4"), 3).await?;
    publish(Event::new("paused", "{\"n\":5}").uid("uid-5"), 3).await?;
    publish(Event::new("gone", "{\"n\":6}").uid("uid-6"), 3).await?;
    publish(Event::new("later", "{\"n\":7}").uid("uid-7"), 4).await?;
    engine.deliveries("acme").cancel("uid-5", "paused").await?;
    engine.deliveries("acme").resend("uid-1", "ordered").await?;
    receiver.wait_for(5).await;
    publish(Event::new("nobody", "{\"n\":8}").uid("uid-8").tags(["red"]).payload_kept(Duration::from_secs(7200)), 5)
        .await?;
    engine.events("acme").expunge("uid-8").await?;
    for (name, ordering) in [("any", OrderingMode::Concurrent), ("keyed", OrderingMode::PerKey(OnExhausted::Continue))]
    {
        let mut spec = EndpointSpec::new(format!("https://receiver.example/{name}")).ordering(ordering);
        spec.delivery.max_in_flight = Some(NonZeroU32::MIN);
        endpoints.upsert(name, spec.event_types([name])).await?;
        endpoints.pause(name).await?;
        for priority in [Priority::Low, Priority::Normal, Priority::High] {
            publish(Event::new(name, format!("{{\"{priority:?}\":9}}")).priority(priority), 5).await?;
        }
    }
    engine.applications().upsert("crowd", ApplicationSpec::new("Crowd")).await?;
    for n in 0..CROWD {
        let name = format!("crowd-{n}");
        let spec = EndpointSpec::new(format!("https://receiver.example/{name}"));
        engine.endpoints("crowd").upsert(name.as_str(), spec).await?;
        engine.endpoints("crowd").pause(name.as_str()).await?;
    }
    engine.publish("crowd", Event::new("crowd", "{\"n\":10}").uid("uid-10")).await?;
    let spec = EventTypeSpec::new("An invoice was paid.").schema(1, "{\"type\":\"object\"}");
    engine.event_types().upsert("invoice.paid", spec).await?;
    endpoints.delete("gone").await?;
    sleep(Duration::from_millis(50)).await;
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn goes_on_with_what_came_with_format_2(medium: &MemoryKv) -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([200; 0]);
    let engine = start(medium, &receiver, DAY_ONE + Duration::from_secs(120)).await?;
    let expunged = engine.events("acme").get("uid-8").await?;
    assert!(expunged.is_expunged && expunged.event.payload.is_empty());
    assert_eq!((&*expunged.event.tags[0], expunged.event.payload_kept), ("red", Some(Duration::from_secs(7200))));
    let described = engine.event_types().get("invoice.paid")?;
    assert_eq!(described.spec.latest(), Some((SchemaVersion(1), "{\"type\":\"object\"}")));
    Ok(())
}

async fn goes_on_with_what_came_with_format_3(medium: &MemoryKv) -> Result<(), Failed> {
    let engine = start(medium, &ScriptedTransport::new([200; 0]), DAY_ONE).await?;
    let spec = engine.applications().get("acme")?.spec.clone();
    assert_eq!((spec.schema_check, spec.payload_kept), (Some(SchemaCheck::Off), Some(DAY * 30)));
    engine.shutdown(Duration::from_secs(5)).await;
    for name in ["any", "keyed"] {
        let receiver = ScriptedTransport::new([200; 0]);
        let engine = start(medium, &receiver, DAY_ONE + Duration::from_secs(180)).await?;
        engine.endpoints("acme").resume(name).await?;
        let sent = receiver.wait_for(3).await;
        let bodies: Vec<_> = sent.iter().map(|request| String::from_utf8_lossy(&request.body)).collect();
        assert_eq!(bodies, ["{\"High\":9}", "{\"Normal\":9}", "{\"Low\":9}"], "{name}");
        engine.shutdown(Duration::from_secs(5)).await;
    }
    Ok(())
}

async fn goes_on_with_what_came_with_format_4(medium: &MemoryKv) -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([200; 0]);
    let engine = start(medium, &receiver, DAY_ONE + Duration::from_secs(120)).await?;
    let records = engine.deliveries("crowd").of_event("uid-10", &PageRequest::default()).await?.items;
    assert_eq!(records.len(), CROWD);
    assert!(records.iter().all(|record| matches!(record.state, DeliveryState::Pending(_))));
    engine.endpoints("crowd").resume("crowd-7").await?;
    receiver.wait_for(1).await;
    sleep(Duration::from_secs(1)).await;
    let state = engine.deliveries("crowd").get("uid-10", "crowd-7").await?.state;
    assert_eq!(state, DeliveryState::Delivered);
    Ok(())
}

/// Attempts say what they called, also when their endpoint has moved.
async fn goes_on_with_what_came_with_format_5(medium: &MemoryKv) -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([200; 0]);
    let engine = start(medium, &receiver, DAY_ONE + Duration::from_secs(180)).await?;
    engine.endpoints("acme").update("ordered", |spec| spec.url = "https://receiver.example/moved".into()).await?;
    let attempts = engine.events("acme").attempts("uid-1", Default::default(), &PageRequest::default()).await?.items;
    let called: Vec<_> = attempts.iter().map(|record| record.attempt.url.as_str()).collect();
    assert_eq!(called.last(), Some(&"https://receiver.example/ordered?a=%22b%22"), "{called:?}");
    Ok(())
}

async fn goes_on(medium: &MemoryKv) -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([200; 0]);
    let engine = start(medium, &receiver, DAY_ONE + Duration::from_secs(60)).await?;
    let application = engine.applications().get("acme")?;
    assert_eq!((&*application.spec.name, application.spec.metadata["tier"].as_str()), ("Acme Ltd", "gold"));
    let ordered = engine.endpoints("acme").get("ordered")?;
    assert_eq!(ordered.policy.ordering, OrderingMode::PerKey(OnExhausted::Hold));
    assert_eq!((&*ordered.spec.headers[0].name, ordered.policy.breaker), ("X-Team", None));
    assert_eq!(engine.endpoints("acme").get("dead")?.secrets.len(), 2, "both sign during their grace");
    assert_eq!(engine.endpoints("acme").get("paused")?.status, EndpointStatus::Paused);
    assert!(engine.endpoints("acme").get("gone").is_err());

    let deliveries = engine.deliveries("acme");
    let state = async |event: &str, endpoint: &str| deliveries.get(event, endpoint).await.map(|record| record.state);
    assert_eq!(state("uid-1", "ordered").await?, DeliveryState::Delivered);
    assert!(matches!(state("uid-5", "paused").await?, DeliveryState::Cancelled(_)));
    let DeliveryState::Pending(waits) = state("uid-2", "ordered").await? else { return Err("it waits".into()) };
    assert!(matches!(deliveries.why_waiting(&waits).await?, Waiting::RetryAt(_)));
    let attempts = engine.events("acme").attempts("uid-1", Default::default(), &Default::default()).await?.items;
    assert_eq!(attempts.len(), 2, "one by the schedule, one by hand");
    let repeat =
        Event::new("invoice.paid", "{\"n\":1}").ordering_key("customer-7").idempotency_key("key-1").uid("uid-1");
    assert!(engine.publish("acme", repeat).await?.is_repeat, "the key is remembered");

    // The retry comes by itself, the dead letter by redrive, what was paused when it goes on: each under its old id.
    let letters = engine.dead_letters("acme").list(&Default::default(), &PageRequest::default()).await?.items;
    let [letter] = &letters[..] else { return Err(format!("{} letters", letters.len()).into()) };
    engine.dead_letters("acme").redrive(letter.last.id).await?;
    engine.endpoints("acme").resume("paused").await?;
    sleep(Duration::from_secs(900)).await;
    let sent = receiver.wait_for(4).await;
    let mut bodies: Vec<_> = sent.iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
    bodies.sort();
    assert_eq!(bodies, ["{\"n\":2}", "{\"n\":3}", "{\"n\":4}", "{\"n\":7}"]);
    for request in &sent {
        let id: postrider::EventId = request.headers["webhook-id"].to_str()?.parse()?;
        assert_eq!(engine.events("acme").get(IdOr::Id(id)).await?.event.payload, request.body);
    }
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// A store over rows in memory, opened anew each time.
struct Rows(MemoryKv);

#[async_trait]
impl OpenStore for Rows {
    async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(KvStore::over(self.0.clone())?))
    }
}

async fn start(medium: &MemoryKv, receiver: &ScriptedTransport, now: Timestamp) -> Result<Engine, Failed> {
    let clock = ManualClock::new(now);
    let goes = clock.clone();
    // Its own time goes with the test's.
    tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(100)).await;
            goes.advance(Duration::from_millis(100));
        }
    });
    Ok(Engine::builder(Rows(medium.clone()), receiver.clone()).clock(clock).seed(7).start().await?)
}

fn dumped(medium: &MemoryKv) -> Result<String, Failed> {
    let snapshot = medium.snapshot()?;
    let mut text = String::new();
    for partition in medium.partitions()? {
        let everything: std::ops::Range<&[u8]> = b""..b"\xff";
        for (key, value) in snapshot.scan(partition, everything, Direction::Forward, ALL)? {
            writeln!(text, "{} {} {}", partition.0, hex(&key), hex(&value))?;
        }
    }
    Ok(text)
}

fn restored(text: &str) -> Result<MemoryKv, Failed> {
    let medium = MemoryKv::default();
    let mut rows: Vec<Row> = Vec::new();
    for line in text.lines() {
        let [partition, key, value] = line.split(' ').collect::<Vec<_>>()[..] else { return Err(line.into()) };
        rows.push((Partition(partition.parse()?), bytes(key)?.into(), Some(bytes(value)?.into())));
    }
    medium.write(&rows, postrider::storage::Durability::Synced)?;
    Ok(medium)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Result<Vec<u8>, Failed> {
    (0..hex.len() / 2).map(|n| Ok(u8::from_str_radix(&hex[2 * n..2 * n + 2], 16)?)).collect()
}

fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
