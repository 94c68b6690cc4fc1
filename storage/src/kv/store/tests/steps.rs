//! What a read steps over: as few remains of deleted rows as if the queue had never moved on.

use std::sync::atomic::AtomicUsize;

use postrider_core::{
    Acceptance, AgedKey, Ask, Delivery, DueKey, Effect, Endpoint, Event, Generation, More, OnExhausted, OrderingMode,
    PerPriority, Seq, SoftState, Then, Timestamp, WindowShare, Write, plan_recipients,
};

use super::{
    equivalence::{Ids, endpoint, records, step},
    *,
};
use crate::{PageRequest, testing::WithRemains};

/// Deliveries that ended before anything is read.
const ENDED: usize = 2_000;
/// As often as a machine notes where its classes begin, and some more.
const FEW: usize = 300;
const MANY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);

#[tokio::test]
async fn reads_do_not_step_over_what_ended() -> Result<(), Failed> {
    // After 500,000 deliveries that had ended, the state of an empty queue took a second: its backlog, its pages, the
    // heads of its lanes and the first publish after a start were looked for from its first row ever on, over what a
    // store on disk keeps of deleted rows until it compacts them.
    for ordering in
        [OrderingMode::Concurrent, OrderingMode::PerKey(OnExhausted::Hold), OrderingMode::Fifo(OnExhausted::Continue)]
    {
        let queue = Queue::new(ordering).await?;
        for _ in 0..ENDED / 100 {
            queue.hundred_end().await?;
        }
        for _ in 0..2 {
            assert_eq!(queue.steps_of_reads().await?, 0, "{ordering:?}: nothing waits");
        }
        let waiting = queue.some_wait().await?;
        // Once somebody has to look where those begin that wait for a time.
        let first = queue.steps_of_reads().await?;
        assert!(first < ENDED / 4 + FEW, "{ordering:?}: {first}");
        for delivery in &waiting {
            queue.commit(queue.attempted(delivery, Then::Delivered)).await?;
        }
        queue.hundred_end().await?;
        queue.some_wait().await?;
        let again = queue.steps_of_reads().await?;
        assert!(again < FEW, "{ordering:?}: {again}");
    }
    Ok(())
}

#[tokio::test]
async fn the_first_commit_after_a_start_steps_over_nothing() -> Result<(), Failed> {
    // Its queue was counted within the commit, for which everyone waited whose publish came with it or after it: a second,
    // and more on a busy machine, where a million deliveries to one endpoint had ended, each with one of a few keys.
    for (ordering, keys) in [
        (OrderingMode::Concurrent, 5),
        (OrderingMode::PerKey(OnExhausted::Hold), 5),
        (OrderingMode::PerKey(OnExhausted::Hold), usize::MAX),
        (OrderingMode::Fifo(OnExhausted::Continue), 5),
    ] {
        let mut queue = Queue::new(ordering).await?;
        queue.keys = keys;
        for _ in 0..ENDED / 100 {
            queue.hundred_end().await?;
        }
        queue.store.reopen()?;
        queue.kv.stepped_over();
        queue.publish(1).await?;
        assert_eq!(queue.kv.stepped_over(), 0, "{ordering:?}");
        while queue.store.count_queued(MANY).await?.more == More::Yes {}
        queue.kv.stepped_over();
        while queue.store.count_queued(MANY).await?.more == More::Yes {}
        assert_eq!(queue.kv.stepped_over(), 0, "{ordering:?}: once, beside the commits");
        assert_eq!(queue.store.inner.known.waiting(queue.endpoint.id, Generation(0)), Some(1));
    }
    Ok(())
}

#[tokio::test]
async fn a_queue_that_is_added_to_is_counted_without_what_ended_in_it() -> Result<(), Failed> {
    let queue = Queue::new(OrderingMode::Concurrent).await?;
    for _ in 0..ENDED / 100 {
        queue.hundred_end().await?;
    }
    queue.store.reopen()?;
    queue.publish(1).await?;
    queue.kv.stepped_over();
    // Its turn comes before that of all others.
    queue.store.count_queued(MANY).await?;
    let steps = queue.kv.stepped_over();
    assert!(steps < ENDED / 4 + FEW, "{steps}: those that waited for a time, and no others");
    assert_eq!(queue.store.inner.known.waiting(queue.endpoint.id, Generation(0)), Some(1));
    Ok(())
}

/// Each had left its remains in a lane of its own, and whoever looked for the heads of the others stepped over all of them.
#[tokio::test]
async fn reads_do_not_step_over_what_ended_where_each_has_a_key_of_its_own() -> Result<(), Failed> {
    let mut queue = Queue::new(OrderingMode::PerKey(OnExhausted::Hold)).await?;
    queue.keys = usize::MAX;
    for _ in 0..ENDED / 100 {
        queue.hundred_end().await?;
    }
    queue.some_wait().await?;
    let first = queue.steps_of_reads().await?;
    assert!(first < ENDED / 4 + FEW, "{first}: those that waited for a time, once");
    // Others come and go beside those that wait.
    for _ in 0..ENDED / 100 {
        queue.hundred_end().await?;
    }
    queue.steps_of_reads().await?;
    let beside = queue.steps_of_reads().await?;
    assert!(beside < FEW, "{beside}");
    // After a start they are looked for once.
    queue.store.reopen()?;
    queue.publish(1).await?;
    while queue.store.count_queued(MANY).await?.more == More::Yes {}
    queue.steps_of_reads().await?;
    let reopened = queue.steps_of_reads().await?;
    assert!(reopened < FEW, "{reopened}");
    let found = queue.store.queue(queue.endpoint.id, Generation(0), &PageRequest::first(MANY)).await?;
    assert_eq!(found.items.len(), 13, "and all of them are found");
    Ok(())
}

/// A queue with few deliveries is read by the places that are known of these: what came or went while they were looked for
/// belongs to them.
#[tokio::test]
async fn what_comes_while_a_queue_is_counted_is_found_with_the_rest() -> Result<(), Failed> {
    let mut queue = Queue::new(OrderingMode::PerKey(OnExhausted::Hold)).await?;
    queue.keys = usize::MAX;
    let mut waiting = queue.publish(12).await?;
    queue.store.reopen()?;
    waiting.extend(queue.publish(1).await?);
    let looked = queue.store.inner.look_at_piece(&mut MANY.get())?.ok_or("it was added to")?;
    waiting.extend(queue.publish(3).await?);
    for gone in [waiting.remove(0), waiting.pop().ok_or("it was published")?] {
        queue.commit(queue.attempted(&gone, Then::Delivered)).await?;
    }
    queue.store.inner.counts(|counts| counts.note(looked))?;
    let (of, generation) = (queue.endpoint.id, Generation(0));
    let prefix = keys::queue(table::READY, of, generation);
    let start = queue.store.inner.known.start(of, generation);
    assert_eq!(start.waiting(&prefix, &prefix, &keys::end_of(&prefix)).map(Iterator::count), Some(14));
    let mut found = queue.store.queue(of, generation, &PageRequest::first(MANY)).await?.items;
    found.sort_unstable_by_key(|delivery| delivery.id.seq);
    assert_eq!(found, waiting);
    assert_eq!(queue.store.inner.known.waiting(of, generation), Some(14));
    Ok(())
}

#[tokio::test]
async fn the_purge_of_a_queue_steps_over_nothing_in_its_commits() -> Result<(), Failed> {
    // What was left of a deleted endpoint was looked for within the commit that removed it, among the remains of all that
    // had ended there: whoever deleted a busy endpoint made everyone's publishes wait.
    for ordering in [OrderingMode::Concurrent, OrderingMode::PerKey(OnExhausted::Hold)] {
        let queue = Queue::new(ordering).await?;
        for _ in 0..ENDED / 100 {
            queue.hundred_end().await?;
        }
        queue.some_wait().await?;
        let of = queue.endpoint.id;
        queue.commit(Batch::synced([Write::DropEndpoint(of)])).await?;
        let (piece, mut pieces) = (NonZeroUsize::MIN.saturating_add(4), 0);
        while !queue.store.cut_off(MANY).await?.is_empty() {
            queue.store.find_cut_off(of, piece).await?;
            queue.kv.stepped_over();
            queue.commit(Batch::synced([Write::Purge(of, piece)])).await?;
            assert_eq!(queue.kv.stepped_over(), 0, "{ordering:?}");
            pieces += 1;
        }
        assert!(
            (3..=4).contains(&pieces),
            "{ordering:?}: {pieces} pieces of five, for twelve rows and some beside them"
        );
        for table in [table::DUE, table::READY, table::URGENT, table::DEAD_LETTER, table::SOFT] {
            let prefix = keys::under(table, of.to_bytes());
            let range = &prefix[..]..&keys::end_of(&prefix)[..];
            let left = queue.kv.snapshot()?.scan(Partition::LASTING, range, Direction::Forward, MANY)?;
            assert_eq!(left.len(), 0, "{ordering:?}: {}", char::from(table));
        }
    }
    Ok(())
}

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// A store with one endpoint.
struct Queue {
    kv: WithRemains,
    store: KvStore<WithRemains>,
    ids: Ids,
    endpoint: Arc<Endpoint>,
    /// Of so many keys.
    keys: usize,
    published: AtomicUsize,
}

impl Queue {
    async fn new(ordering: OrderingMode) -> Result<Self, Failed> {
        let kv = WithRemains::default();
        let (store, ids) = (KvStore::over(kv.clone())?, Ids::new());
        let endpoint = Arc::new(endpoint(&ids, ids.endpoint, ordering));
        let queue = Self { kv, store, ids, endpoint, keys: 5, published: AtomicUsize::new(0) };
        queue.commit(Batch::synced(records(&queue.ids, [(*queue.endpoint).clone()]))).await?;
        while queue.store.count_queued(MANY).await?.more == More::Yes {}
        Ok(queue)
    }

    async fn commit(&self, batch: Batch) -> Result<Vec<Effect>, Failed> {
        let mut verdicts = self.store.commit(Arc::new([batch]), Durability::Synced).await?;
        Ok(verdicts.remove(0).map_err(|refused| format!("{refused:?}"))?.effects)
    }

    async fn publish(&self, count: usize) -> Result<Vec<Delivery>, Failed> {
        let mut acceptances = Vec::new();
        for _ in 0..count {
            let key = self.published.fetch_add(1, Ordering::Relaxed) % self.keys;
            let event = Arc::new(Event::new("case.ended", "{}").ordering_key(key.to_string()));
            let recipients = plan_recipients(&event, [&self.endpoint]);
            let (application, accepted_at) = (self.ids.application, self.ids.now);
            acceptances.push(Acceptance { application, accepted_at, entropy: 1, event, key: None, recipients });
        }
        let effects = self.commit(Batch::synced(acceptances.iter().cloned().map(Write::Accept))).await?;
        let delivery = |(acceptance, effect): (&Acceptance, &Effect)| match effect {
            Effect::Accepted(seq, id, _) => Some(acceptance.delivery(&acceptance.recipients[0], *seq, *id)),
            _ => None,
        };
        Ok(acceptances.iter().zip(&effects).filter_map(delivery).collect())
    }

    fn attempted(&self, before: &Delivery, then: Then) -> Batch {
        step(&self.ids, before, then)
    }

    /// A few, of which the first one waits for a time.
    async fn some_wait(&self) -> Result<Vec<Delivery>, Failed> {
        let mut waiting = self.publish(12).await?;
        waiting[0] = self.fails(&waiting[0], self.ids.now + DAY).await?;
        Ok(waiting)
    }

    /// As it waits for its next attempt.
    async fn fails(&self, delivery: &Delivery, due: Timestamp) -> Result<Delivery, Failed> {
        let failed = self.attempted(delivery, Then::RetryAt(due));
        let Write::Outcome(transition) = &failed.writes[0] else { unreachable!("it was built as one") };
        let after = transition.after.clone().ok_or("it is tried again")?;
        self.commit(failed).await?;
        Ok(after)
    }

    /// A quarter of them is tried twice.
    async fn hundred_end(&self) -> Result<(), Failed> {
        let deliveries = self.publish(100).await?;
        for (n, delivery) in deliveries.iter().enumerate() {
            let delivery = match n % 4 {
                0 => self.fails(delivery, self.ids.now + DAY / 2).await?,
                _ => delivery.clone(),
            };
            self.commit(self.attempted(&delivery, Then::Delivered)).await?;
        }
        if let (Some(last), OrderingMode::Concurrent) = (deliveries.last(), self.endpoint.policy.ordering) {
            let heads = PerPriority::from_fn(|_| last.id.seq.next());
            let soft = SoftState { heads, ..SoftState::default() };
            self.commit(Batch::synced([Write::Soft(self.endpoint.id, soft)])).await?;
        }
        Ok(())
    }

    /// How many remains all kinds of reads step over.
    async fn steps_of_reads(&self) -> Result<usize, Failed> {
        self.kv.stepped_over();
        let (reads, of, generation) = (self.store.reads(), self.endpoint.id, Generation(0));
        let share = WindowShare { rows: MANY, event_bytes: 0, at_hand: None };
        let soft = Ask::Soft;
        let asks = [
            soft,
            Ask::ready_after(Seq(0)),
            Ask::Due(DueKey::START),
            Ask::Lanes(None),
            Ask::Urgent(None),
            Ask::Aged(self.ids.now, AgedKey::Start),
        ];
        for ask in asks {
            reads.window(of, generation, ask, share).await?;
        }
        let found = reads.queue(of, generation, &PageRequest::first(MANY)).await?;
        if let Some(last) = found.items.last() {
            reads.ahead(last).await?;
        }
        let backlog = reads.backlog(of, generation, MANY).await?;
        assert_eq!(backlog.queued, found.items.len());
        Ok(self.kv.stepped_over())
    }
}
