//! A commit that is begun: the next one follows it at once, and both are read when they are over.

use postrider_core::{Batch, Durability, Event, KeyClaim, OrderingMode, Refused, SameBody, Seq, Write};

use crate::{
    Begun, OpenStore, Verdict,
    testing::world::{World, seqs, succeeded},
};

/// The second of two that are begun is judged as if the first were over; both are read when they are, and after a
/// reopening.
pub async fn the_next_commit_follows_one_that_is_begun(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let first = begin(&world, [keyed(&world, "one", "a")]).await;
    let (at, id) = accepted(&first.verdicts[0]);
    let second = begin(&world, [keyed(&world, "one", "a"), keyed(&world, "one", "b"), keyed(&world, "two", "a")]).await;
    assert_eq!(second.verdicts[0], Err(Refused::KeyUsed(id, SameBody::Yes)));
    assert_eq!(second.verdicts[1], Err(Refused::KeyUsed(id, SameBody::No)));
    let (later, _) = accepted(&second.verdicts[2]);
    assert!(at < later);
    over(first).await;
    assert!(seqs(&world.ready().await).contains(&at));
    over(second).await;
    assert_eq!(seqs(&world.ready().await), [at, later]);
    let world = world.reopen(medium).await;
    assert_eq!(seqs(&world.ready().await), [at, later]);
}

/// A delivery may end in a commit that is begun, and what follows knows that it has.
pub async fn what_ended_in_one_that_is_begun_does_not_end_again(medium: &dyn OpenStore) {
    let world = World::open(medium, OrderingMode::Concurrent).await;
    let delivery = world.publish("a").await;
    let end = || crate::testing::world::outcome(succeeded(&delivery));
    let (first, second) = (begin(&world, [end()]).await, begin(&world, [end()]).await);
    assert!(first.verdicts[0].is_ok(), "{:?}", first.verdicts);
    assert!(matches!(second.verdicts[0], Err(Refused::Stands(Some(_)))), "{:?}", second.verdicts);
    // The later one covers the earlier one, and is over only with it.
    over(second).await;
    assert_eq!(world.ready().await, []);
    over(first).await;
}

async fn begin<const N: usize>(world: &World, group: [Batch; N]) -> Begun {
    world.store.begin(group.into(), Durability::Synced).await.expect("the store begins")
}

async fn over(begun: Begun) {
    if let Some(syncing) = begun.syncing {
        syncing.await.expect("it is synced");
    }
}

fn keyed(world: &World, key: &str, body: &'static str) -> Batch {
    let acceptance = world.acceptance(Event::new("case.published", body).idempotency_key(key));
    let event = &acceptance.event;
    let key = event.idempotency_key.clone().map(|key| KeyClaim { key, body: event.body_hash() });
    Batch::synced([Write::Accept(postrider_core::Acceptance { key, ..acceptance })])
}

fn accepted(verdict: &Verdict) -> (Seq, postrider_core::EventId) {
    verdict.as_ref().expect("nothing stands against it").accepted().expect("it is accepted")
}
