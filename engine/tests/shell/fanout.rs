//! One event for many endpoints: what it costs grows with their number, and not with its square.
//!
//! Each of thousands of endpoints that were idle read back the event that had just been published for all of them, and
//! each read walked over all of its recipients: ten thousand endpoints took six seconds for one small event, and all other
//! tenants waited for as long. Published for a later time, its payload was read once for each endpoint in one commit.

use std::{num::NonZeroUsize, sync::atomic::Ordering, time::Duration};

use postrider::{
    ApplicationSpec, DeliveryState, EndpointSpec, Engine, Event, PageRequest,
    storage::{MemoryStore, OpenStore, testing::Counting},
    testing::ScriptedTransport,
};
use tokio::time::sleep;

use crate::support::{Failed, Knobbed, always_ok};

const PAYLOAD: usize = 64 << 10;

async fn crowd(
    store: &(impl OpenStore + Clone),
    receiver: &ScriptedTransport,
    endpoints: usize,
) -> Result<Engine, Failed> {
    let engine = Engine::builder(store.clone(), receiver.clone()).seed(7).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    for n in 0..endpoints {
        engine.endpoints("acme").create(EndpointSpec::new(format!("https://receiver.example/{n}"))).await?;
    }
    sleep(Duration::from_secs(600)).await;
    Ok(engine)
}

fn large() -> Event {
    Event::new("case.large", format!("\"{}\"", "x".repeat(PAYLOAD)))
}

/// Bytes read from the store for each endpoint, from the moment at which the event is there until all have it.
async fn bytes_for_each(endpoints: usize, wait: Option<Duration>) -> Result<u64, Failed> {
    let (store, receiver) = (Counting::default(), always_ok());
    let engine = crowd(&store, &receiver, endpoints).await?;
    store.take();
    let now = engine.publish("acme", Event::new("case.first", "{}").tags(["now"])).await?.accepted_at;
    receiver.wait_for(endpoints).await;
    sleep(Duration::from_secs(600)).await;
    let event = wait.map_or_else(large, |wait| large().deliver_at(now + wait));
    store.take();
    engine.publish("acme", event).await?;
    receiver.wait_for(2 * endpoints).await;
    Ok(store.take().value_bytes_read as u64 / endpoints as u64)
}

#[tokio::test(start_paused = true)]
async fn what_is_published_for_many_is_not_read_back_by_each() -> Result<(), Failed> {
    let (few, many) = (bytes_for_each(50, None).await?, bytes_for_each(400, None).await?);
    assert!(few < 4_096 && many < few + few / 4, "{few} bytes for each of 50, {many} for each of 400");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_published_for_many_and_later_is_read_once() -> Result<(), Failed> {
    let wait = Some(Duration::from_secs(3_600));
    let (few, many) = (bytes_for_each(50, wait).await?, bytes_for_each(400, wait).await?);
    // It is read when its time has come, and by the commits that begin its deliveries.
    assert!(few < 4_096 + 4 * PAYLOAD as u64 / 50, "{few} bytes for each of 50");
    assert!(many < few, "{many} bytes for each of 400, {few} for each of 50");
    Ok(())
}

/// Those who find nothing of it in memory read the event and not all for whom it was published.
#[tokio::test(start_paused = true)]
async fn what_is_read_back_is_read_without_its_recipients() -> Result<(), Failed> {
    let read = async |endpoints: usize| -> Result<u64, Failed> {
        let (store, receiver) = (Counting::default(), always_ok());
        let engine = crowd(&store, &receiver, endpoints).await?;
        let receipt = engine.publish("acme", Event::new("case.small", "{}")).await?;
        receiver.wait_for(endpoints).await;
        sleep(Duration::from_secs(600)).await;
        let endpoint = engine.endpoints("acme").list(&Default::default())?.items[7].id;
        assert_eq!(
            engine
                .deliveries("acme")
                .of_event(receipt.event, &PageRequest::first(NonZeroUsize::MAX))
                .await?
                .items
                .len(),
            endpoints
        );
        store.take();
        engine.events("acme").get(receipt.event).await?;
        let record = engine.deliveries("acme").get(receipt.event, endpoint).await?;
        assert_eq!(record.state, DeliveryState::Delivered);
        Ok(store.take().value_bytes_read as u64)
    };
    let (few, many) = (read(200).await?, read(600).await?);
    assert!(few < 8_192 && many <= few + 64, "{few} bytes with 200 recipients, {many} with 600");
    Ok(())
}

/// What is to begin at many endpoints at its time began in one commit, behind which all others waited.
#[tokio::test(start_paused = true)]
async fn what_is_published_for_many_and_later_begins_in_pieces() -> Result<(), Failed> {
    const ENDPOINTS: usize = 1_000;
    let (store, receiver) = (Knobbed::new(MemoryStore::new()), always_ok());
    let engine = crowd(&store, &receiver, ENDPOINTS).await?;
    let now = engine.publish("acme", Event::new("case.first", "{}")).await?.accepted_at;
    receiver.wait_for(ENDPOINTS).await;
    let later = Event::new("case.later", "{}").deliver_at(now + Duration::from_secs(60));
    engine.publish("acme", later).await?;
    receiver.wait_for(2 * ENDPOINTS).await;
    let most = store.knobs.begun_most.load(Ordering::SeqCst);
    assert!((100..=ENDPOINTS as u64 / 3).contains(&most), "{most} begin in one batch");
    Ok(())
}
