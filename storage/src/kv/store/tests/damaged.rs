//! Rows that make no sense: what needs them stops, and is seen to; all else goes on.

use postrider_core::{
    Acceptance, Ask, Delivery, DueKey, Effect, Event, Generation, More, OrderingMode, Then, Week, WindowShare,
    plan_recipients,
};

use super::{
    equivalence::{Ids, endpoint, records, step},
    *,
};
use crate::Store;

const MANY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);

/// A store with one endpoint, over rows that are damaged from outside.
struct Queue {
    medium: MemoryKv,
    store: KvStore<MemoryKv>,
    ids: Ids,
}

impl Queue {
    async fn new() -> Result<Self, Failed> {
        let (medium, ids) = (MemoryKv::default(), Ids::new());
        let store = KvStore::over(medium.clone())?;
        let queue = Self { medium, store, ids };
        let endpoint = endpoint(&queue.ids, queue.ids.endpoint, OrderingMode::Concurrent);
        queue.commit(Batch::synced(records(&queue.ids, [endpoint]))).await?;
        Ok(queue)
    }

    async fn commit(&self, batch: Batch) -> Result<Vec<Effect>, Failed> {
        let mut verdicts = self.store.commit(Arc::new([batch]), Durability::Synced).await?;
        Ok(verdicts.remove(0).map_err(|refused| format!("{refused:?}"))?.effects)
    }

    async fn publish(&self) -> Result<Delivery, Failed> {
        let event = Arc::new(Event::new("case.damaged", "{}"));
        let to = Arc::new(endpoint(&self.ids, self.ids.endpoint, OrderingMode::Concurrent));
        let recipients = plan_recipients(&event, [&to]);
        let (application, accepted_at) = (self.ids.application, self.ids.now);
        let acceptance = Acceptance { application, accepted_at, entropy: 1, event, key: None, recipients };
        let effects = self.commit(Batch::synced([Write::Accept(acceptance.clone())])).await?;
        let Some(Effect::Accepted(seq, id, _)) = effects.first() else { return Err("it is accepted".into()) };
        Ok(acceptance.delivery(&acceptance.recipients[0], *seq, *id))
    }

    async fn dies(&self, delivery: &Delivery) -> Result<(), Failed> {
        let reason = postrider_core::GiveUpReason::Expired;
        let (last, dead_at) = (delivery.clone(), self.ids.now);
        let dead = postrider_core::DeadLetter { last, reason, dead_at, first_attempt_at: None, last_status: None };
        let (before, step) = (delivery.clone(), postrider_core::Step::GaveUp);
        let transition = postrider_core::Transition { before, after: None, step, dead: Some(dead) };
        self.commit(Batch::synced([Write::Outcome(Box::new(transition))])).await.map(drop)
    }

    fn damage(&self, key: &Key<'_>) -> Result<(), Failed> {
        let garbage = Some(Bytes::from_static(b"\x07garbage"));
        Ok(self.medium.write(&[(key.partition(), key.bytes().into(), garbage)], Durability::Synced)?)
    }

    async fn forgets(&self, week: Week) -> Result<(), Failed> {
        let done = self.commit(Batch::synced([Write::Rescue(week, MANY)])).await?;
        assert_eq!(done, [Effect::Purged(More::No)]);
        Ok(self.store.forget(week).await?)
    }
}

/// One dead letter that could not be read refused every piece of what is done before a week is forgotten: no week went any
/// more, and the disk filled. It is kept, for a person to look at, and the week goes.
#[tokio::test]
async fn a_letter_that_makes_no_sense_keeps_no_week() -> Result<(), Failed> {
    let queue = Queue::new().await?;
    let (letter, other) = (queue.publish().await?, queue.publish().await?);
    queue.dies(&letter).await?;
    queue.dies(&other).await?;
    queue.damage(&Key::DeadLetter(letter.id))?;
    queue.store.reopen()?;
    queue.forgets(Week::of(queue.ids.now)).await?;
    for kept in [&letter, &other] {
        assert!(queue.store.event(queue.ids.application, kept.event).await?.is_some(), "what it needs is kept");
    }
    Ok(())
}

/// One row that says why an event is needed, and could not be read, refused every piece of the purge of its queue.
#[tokio::test]
async fn a_reason_that_makes_no_sense_stops_no_purge() -> Result<(), Failed> {
    let queue = Queue::new().await?;
    let letter = queue.publish().await?;
    queue.dies(&letter).await?;
    queue.forgets(Week::of(queue.ids.now)).await?;
    queue.damage(&Key::Needed(letter.event, letter.id))?;
    queue.commit(Batch::synced([Write::DropEndpoint(queue.ids.endpoint)])).await?;
    let purged = queue.commit(Batch::synced([Write::Purge(queue.ids.endpoint, MANY)])).await?;
    assert_eq!(purged, [Effect::Purged(More::No)]);
    Ok(())
}

/// A delivery whose row could not be read was counted by nobody, and a queue in which nothing is counted is not read: after
/// a start its endpoint looked idle, and nobody heard that an accepted event was never sent.
#[tokio::test]
async fn a_waiting_row_that_makes_no_sense_is_met() -> Result<(), Failed> {
    let queue = Queue::new().await?;
    let delivery = queue.publish().await?;
    let failed = step(&queue.ids, &delivery, Then::RetryAt(queue.ids.now));
    let Write::Outcome(transition) = &failed.writes[0] else { unreachable!("it was built as one") };
    let waiting = transition.after.clone().ok_or("it is tried again")?;
    queue.commit(failed).await?;
    queue.damage(&Key::of(&waiting))?;
    for is_counted in [false, true] {
        queue.store.reopen()?;
        while is_counted && queue.store.count_queued(MANY).await?.more == More::Yes {}
        let share = WindowShare { rows: MANY, event_bytes: 0, at_hand: None };
        let read = || queue.store.window(queue.ids.endpoint, Generation(0), Ask::Due(DueKey::START), share);
        let kind = |found: Result<_, StoreError>| found.err().map(|error| error.kind());
        assert_eq!(kind(read().await), Some(StoreErrorKind::Corrupt), "counted: {is_counted}");
        let other = queue.publish().await?;
        queue.commit(step(&queue.ids, &other, Then::Delivered)).await?;
        assert_eq!(kind(read().await), Some(StoreErrorKind::Corrupt), "after another came and went");
    }
    Ok(())
}
