//! What is left of a million deliveries that ended: how long the reads of their queue take, which a person or a start waits for.
//!
//! `cargo bench -p postrider-storage --features testing --bench ended -- [deliveries] [concurrent|fewKeys|manyKeys]`

mod support;

use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use postrider_core::{
    Acceptance, AgedKey, Application, Ask, Batch, Delivery, DeliveryPolicy, Dice, DueKey, Durability, Effect, Endpoint,
    Event, Generation, More, OnExhausted, OrderingMode, PerPriority, Seq, SoftState, SplitMix, WindowShare, Write,
    plan_recipients,
};
use postrider_storage::{DeadLetterQuery, Fjall, OpenStore, PageRequest, Store, testing::InTempDir};

use self::support::{BEGAN, Failed, application, endpoint, success};

const GROUP: usize = 512;
const PAGE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(49);
const WINDOW: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

fn main() -> Result<(), Failed> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let deliveries = arguments.first().map_or(Ok(1_000_000), |number| number.parse())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let per_key = OrderingMode::PerKey(OnExhausted::Continue);
    let kinds =
        [("concurrent", OrderingMode::Concurrent, 1), ("fewKeys", per_key, 100), ("manyKeys", per_key, usize::MAX)];
    for (name, ordering, keys) in kinds {
        if arguments.get(1).is_none_or(|wanted| wanted == name) {
            runtime.block_on(measure(name, ordering, keys, deliveries))?;
        }
    }
    Ok(())
}

async fn measure(name: &str, ordering: OrderingMode, keys: usize, deliveries: usize) -> Result<(), Failed> {
    let folder = InTempDir::new(|dir| Fjall::at(dir));
    let mut queue = Queue::new(folder.open().await?, ordering, keys).await?;
    let began = Instant::now();
    while queue.next < deliveries {
        queue.group_ends().await?;
    }
    println!("{name}: {deliveries} deliveries ended, {:.0}/s", deliveries as f64 / began.elapsed().as_secs_f64());
    queue.reads("nothing waits").await?;
    let (mut worst, began) = (Duration::ZERO, Instant::now());
    queue.some_wait(12).await?;
    println!("  {:9.2} ms  twelve are published", millis(began.elapsed()));
    queue.reads("twelve wait").await?;
    queue.reads("twelve wait, once more").await?;
    // Beside them others come and go.
    for _ in 0..20 {
        let began = Instant::now();
        queue.group_ends().await?;
        worst = worst.max(began.elapsed());
    }
    println!("  {:9.2} ms  the slowest of 20 groups of {GROUP} that are published and end", millis(worst));
    queue.reads("twelve wait beside them").await?;
    let Queue { store, .. } = &mut queue;
    *store = postrider_storage::MemoryStore::new().open().await?;
    let began = Instant::now();
    *store = folder.open().await?;
    println!("  {:9.2} ms  the store is opened", millis(began.elapsed()));
    let began = Instant::now();
    queue.some_wait(1).await?;
    println!("  {:9.2} ms  the first is published after that", millis(began.elapsed()));
    queue.reads("thirteen wait, after opening").await?;
    queue.reads("thirteen wait, once more").await
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// One endpoint and what is published to it.
struct Queue {
    store: Arc<dyn Store>,
    application: Application,
    endpoint: Arc<Endpoint>,
    keys: usize,
    next: usize,
    dice: SplitMix,
}

impl Queue {
    async fn new(store: Arc<dyn Store>, ordering: OrderingMode, keys: usize) -> Result<Self, Failed> {
        let mut dice = SplitMix::new(7);
        let application = application(&mut dice);
        let policy = DeliveryPolicy { ordering, ..DeliveryPolicy::default() };
        let endpoint = endpoint(&application, policy, &mut dice)?;
        let queue = Self { store, application, endpoint, keys, next: 0, dice };
        let application = Write::Application(Box::new(queue.application.clone()));
        queue.commit([application, Write::Endpoint(Box::new((*queue.endpoint).clone()))]).await?;
        while queue.store.count_queued(WINDOW).await?.more == More::Yes {}
        Ok(queue)
    }

    async fn commit(&self, writes: impl IntoIterator<Item = Write>) -> Result<Vec<Effect>, Failed> {
        let mut verdicts = self.store.commit(Arc::new([Batch::synced(writes)]), Durability::Synced).await?;
        Ok(verdicts.remove(0).map_err(|refused| format!("{refused:?}"))?.effects)
    }

    async fn some_wait(&mut self, count: usize) -> Result<Vec<Delivery>, Failed> {
        let mut acceptances = Vec::new();
        for number in self.next..self.next + count {
            let key = format!("customer-{}", number % self.keys);
            let event = Arc::new(Event::new("bench.ended", "{}").ordering_key(key));
            let recipients = plan_recipients(&event, [&self.endpoint]);
            let (application, entropy) = (self.application.id, self.dice.roll());
            acceptances.push(Acceptance { application, accepted_at: BEGAN, entropy, event, key: None, recipients });
        }
        self.next += count;
        let effects = self.commit(acceptances.iter().cloned().map(Write::Accept)).await?;
        let delivery = |(acceptance, effect): (&Acceptance, &Effect)| match effect {
            Effect::Accepted(seq, id, _) => Some(acceptance.delivery(&acceptance.recipients[0], *seq, *id)),
            _ => None,
        };
        Ok(acceptances.iter().zip(&effects).filter_map(delivery).collect())
    }

    async fn group_ends(&mut self) -> Result<(), Failed> {
        let deliveries = self.some_wait(GROUP).await?;
        let last = deliveries.last().map_or(Seq(0), |delivery| delivery.id.seq);
        let ended = deliveries.into_iter().map(|before| success(before, BEGAN, &mut self.dice)).collect::<Vec<_>>();
        let heads = PerPriority::from_fn(|_| last.next());
        let soft = Write::Soft(self.endpoint.id, SoftState { heads, ..SoftState::default() });
        let soft = (self.endpoint.policy.ordering == OrderingMode::Concurrent).then_some(soft);
        self.commit(ended.into_iter().chain(soft)).await.map(drop)
    }

    async fn reads(&self, when: &str) -> Result<(), Failed> {
        println!("  {when}:");
        let (reads, of, generation) = (self.store.reads(), self.endpoint.id, Generation(0));
        let share = WindowShare { rows: WINDOW, event_bytes: 0, at_hand: None };
        let asks = [
            ("its soft state", Ask::Soft),
            ("the first of a class", Ask::ready_after(Seq(0))),
            ("what is due", Ask::Due(DueKey::START)),
            ("the heads of its lanes", Ask::Lanes(None)),
            ("urgent lanes", Ask::Urgent(None)),
            ("what is too old", Ask::Aged(BEGAN, AgedKey::Start)),
        ];
        for (what, ask) in asks {
            let began = Instant::now();
            reads.window(of, generation, ask, share).await?;
            print(what, began);
        }
        let began = Instant::now();
        reads.queue(of, generation, &PageRequest::first(PAGE)).await?;
        print("a page of the queue", began);
        let began = Instant::now();
        reads.backlog(of, generation, PAGE).await?;
        print("the backlog", began);
        let began = Instant::now();
        let query = DeadLetterQuery { endpoints: vec![of], before: None, after: None, oldest_first: false };
        reads.dead_letters(&query, &PageRequest::first(PAGE)).await?;
        print("a page of dead letters", began);
        let began = Instant::now();
        self.store.count_queued(WINDOW).await?;
        print("a piece of counting", began);
        Ok(())
    }
}

fn print(what: &str, began: Instant) {
    let took = millis(began.elapsed());
    println!("  {took:9.2} ms  {what}{}", if took > 5.0 { "   <- slow" } else { "" });
}
