use std::{collections::BTreeMap, time::Duration};

use postrider_core::{
    ApplicationSpec, Batch, Committed, Effect, EndpointSpec, Event, IdOr, OnExhausted, OrderingMode, Uid, Write,
};
use postrider_storage::MemoryStore;
use tokio::time::sleep;

use crate::{
    Engine,
    endpoint_actor::EndpointMsg,
    testing::{Reply, ScriptedTransport},
};

type Failed = Box<dyn std::error::Error>;

/// Endpoints of one application, so that an event goes to each.
async fn engine_with(
    receiver: &ScriptedTransport,
    orderings: &[OrderingMode],
) -> Result<(Engine, Vec<postrider_core::EndpointId>), Failed> {
    let engine = Engine::builder(MemoryStore::new(), receiver.clone()).seed(7).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let mut endpoints = Vec::new();
    for (n, ordering) in orderings.iter().enumerate() {
        let spec = EndpointSpec::new(format!("https://receiver.example/{n}")).ordering(*ordering);
        endpoints.push(engine.endpoints("acme").create(spec).await?.id);
    }
    Ok((engine, endpoints))
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_an_actor_its_deliveries_go_out_once_and_in_order() -> Result<(), Failed> {
    const EVENTS: usize = 60;
    let fifo = OrderingMode::Fifo(OnExhausted::Continue);
    let orderings = [OrderingMode::Concurrent, fifo, OrderingMode::PerKey(OnExhausted::Continue)];
    let receiver = ScriptedTransport::new(vec![Reply::After(Duration::from_millis(70)); EVENTS * orderings.len()]);
    let (engine, endpoints) = engine_with(&receiver, &orderings).await?;
    for n in 0..EVENTS {
        engine.publish("acme", Event::new("t", format!("{n}")).ordering_key("one")).await?;
        let Some(actor) = engine.owner.inner.actor(endpoints[n % endpoints.len()]) else { continue };
        // An error, a kill, and a stop are all that can happen to it; a panic is told as an error is.
        match n % 4 {
            0 => drop(actor.send_message(EndpointMsg::Restore)),
            1 => actor.kill(),
            2 => actor.stop(None),
            _ => sleep(Duration::from_millis(40)).await,
        }
    }
    let sent = receiver.wait_for(EVENTS * orderings.len()).await;
    sleep(Duration::from_secs(300)).await;
    assert_eq!(receiver.count(), EVENTS * orderings.len(), "nothing is sent twice");
    let mut came: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for request in &sent {
        let number = std::str::from_utf8(&request.body)?.parse()?;
        came.entry(request.url.path().to_owned()).or_default().push(number);
    }
    assert!(came["/1"].is_sorted() && came["/2"].is_sorted(), "lanes keep their order: {came:?}");
    assert_eq!(engine.metrics().steps_refused(), 0);
    assert_eq!(engine.health().active_endpoints, 0, "and every actor has left");
    let (free, waiting) = engine.owner.inner.permits.counts();
    assert_eq!((free, waiting), (4096, 0), "no permit is lost");
    assert!(engine.owner.inner.directory.tables().all(|table| table.places.is_empty() && table.sitters.is_empty()));
    let payload_bytes = engine.owner.inner.limits.payload_bytes_in_memory / 2;
    assert_eq!((engine.owner.inner.payloads.left(), engine.owner.inner.payload_desk.used()), (payload_bytes, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_actor_is_no_concern_of_its_neighbours() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new(vec![Reply::After(Duration::from_secs(5)); 40]);
    let (engine, endpoints) = engine_with(&receiver, &[OrderingMode::Concurrent; 40]).await?;
    engine.publish("acme", Event::new("t", "1")).await?;
    receiver.wait_for(40).await;
    if let Some(actor) = engine.owner.inner.actor(endpoints[0]) {
        actor.kill();
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(engine.health().active_endpoints, 39);
    engine.publish("acme", Event::new("t", "2")).await?;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(receiver.count(), 79, "39 go out at once");
    receiver.wait_for(80).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_actor_of_a_deleted_endpoint_ends() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new(vec![Reply::After(Duration::from_secs(5)); 2]);
    let (engine, endpoints) = engine_with(&receiver, &[OrderingMode::Concurrent; 2]).await?;
    engine.publish("acme", Event::new("t", "1")).await?;
    receiver.wait_for(2).await;
    engine.endpoints("acme").delete(endpoints[0]).await?;
    sleep(Duration::from_millis(1)).await;
    let children = |supervisor: &ractor::ActorRef<_>| supervisor.get_children().len();
    let up = || engine.owner.inner.directory.supervisors().iter().map(children).sum::<usize>();
    assert_eq!(up(), 1);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((up(), receiver.count()), (0, 2));
    Ok(())
}

/// Each payload that was forgotten was told to every endpoint of its application by itself: with ten thousand of them, what one
/// application forgets in a second took the committer longer than that, and all others waited.
#[tokio::test(start_paused = true)]
async fn all_payloads_that_a_group_forgets_are_told_at_once() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::Hang]);
    let (engine, endpoints) = engine_with(&receiver, &[OrderingMode::Concurrent]).await?;
    let event = engine.publish("acme", Event::new("t", "1")).await?.event;
    receiver.wait_for(1).await;
    sleep(Duration::from_secs(1)).await;
    let inner = &engine.owner.inner;
    let application = engine.applications().get(IdOr::Uid(Uid::from("acme")))?.id;
    let forgets = Batch::synced([Write::Expunge(application, event)]);
    let done = Committed { effects: vec![Effect::Done], queued: Vec::new() };
    inner.make_group_visible(&vec![forgets; 30], &vec![Ok(done); 30]);
    let unheard = inner.directory.lock(endpoints[0]).known(endpoints[0]).map(|place| place.slot.unheard());
    assert_eq!(unheard, Some(1));
    Ok(())
}
