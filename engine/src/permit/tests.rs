use std::time::Duration;

use postrider_core::{ApplicationSpec, EndpointSpec, Event};
use postrider_storage::MemoryStore;
use tokio::{task::yield_now, time::sleep};

use crate::{
    Engine,
    endpoint_actor::EndpointMsg,
    testing::{Reply, ScriptedTransport},
};

type Failed = Box<dyn std::error::Error>;

const ENDPOINTS: usize = 1_500;

/// A store failed while thousands waited for permits: all actors ended, and each permit that one of them refused was
/// granted to the next by being dropped, once in a call for each. The process was gone.
#[tokio::test(start_paused = true)]
async fn permits_that_thousands_refuse_are_all_given_back() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new(vec![Reply::Hang; 8]);
    let engine = Engine::builder(MemoryStore::new(), receiver.clone())
        .limits(|limits| limits.in_flight_requests = 4.try_into().expect("more than none"))
        .seed(7)
        .start()
        .await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    for n in 0..ENDPOINTS {
        engine.endpoints("acme").create(EndpointSpec::new(format!("https://receiver.example/{n}"))).await?;
    }
    engine.publish("acme", Event::new("t", "1")).await?;
    receiver.wait_for(4).await;
    let inner = &engine.owner.inner;
    while inner.permits.counts().1 < ENDPOINTS - 4 {
        yield_now().await;
    }
    // Ended, and their supervisors have not heard of it; those that run do not end before.
    let actors: Vec<_> =
        inner.directory.tables().flat_map(|table| table.actors().cloned().collect::<Vec<_>>()).collect();
    for actor in &actors {
        drop(actor.send_message(EndpointMsg::Restore));
    }
    let cut_off: usize =
        inner.directory.tables().map(|mut table| table.places().map(|place| place.cut_off()).sum::<usize>()).sum();
    assert_eq!(cut_off, 4);
    while inner.permits.counts() != (4, 0) {
        yield_now().await;
    }
    Ok(())
}

/// How an endpoint answers was remembered after it was deleted, of each that ever answered and went: without a bound where
/// endpoints come and go.
#[tokio::test(start_paused = true)]
async fn nothing_is_remembered_of_endpoints_that_are_gone() -> Result<(), Failed> {
    let replies = [Reply::Status(200), Reply::Hang, Reply::Hang, Reply::After(Duration::from_secs(2))];
    let receiver = ScriptedTransport::new(replies);
    let engine = Engine::builder(MemoryStore::new(), receiver.clone()).seed(7).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let inner = &engine.owner.inner;
    // One that answered and whose actor is up, one that did not, and two that are in flight.
    for (n, rest) in [(1, Some(100)), (2, Some(60_000)), (3, None), (4, None)] {
        engine.endpoints("acme").upsert("hook", EndpointSpec::new("https://receiver.example/")).await?;
        engine.publish("acme", Event::new("t", "1")).await?;
        receiver.wait_for(n).await;
        if let Some(millis) = rest {
            sleep(Duration::from_millis(millis)).await;
            assert_eq!(inner.permits.known(), 1, "of this one");
        }
        engine.endpoints("acme").delete("hook").await?;
        sleep(Duration::from_secs(600)).await;
        assert_eq!(inner.permits.known(), 0, "after {n}");
    }
    assert_eq!(inner.permits.counts().1, 0);
    Ok(())
}
