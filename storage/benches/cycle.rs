//! What storage costs a delivery: an event published to one endpoint, delivered at the first attempt.
//!
//! `cargo bench -p postrider-storage --features testing --bench cycle -- [memory|fjall|sled] [deliveries]`

mod support;

use std::{
    collections::VecDeque,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use postrider_core::{
    Acceptance, Application, Batch, Delivery, DeliveryPolicy, Dice, Durability, Endpoint, Event, Guard, SplitMix,
    Write, plan_recipients,
};
use postrider_storage::{Fjall, MemoryStore, OpenStore, Sled, Store, testing::InTempDir};

use self::support::{BEGAN, Failed, application, endpoint, success};

const ENDPOINTS: usize = 1_000;
const GROUP: usize = 64;
const PAYLOAD_BYTES: usize = 1024;

fn main() -> Result<(), Failed> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted = arguments.first().map(String::as_str);
    let deliveries = arguments.get(1).map_or(Ok(50_000), |number| number.parse())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let measure = |name: &str, opener: &dyn OpenStore| match wanted {
        Some(wanted) if wanted != name => Ok(()),
        Some(_) | None => runtime.block_on(cycle(name, opener, deliveries)),
    };
    measure("memory", &MemoryStore::new())?;
    measure("fjall", &InTempDir::new(|dir| Fjall::at(dir)))?;
    measure("sled", &InTempDir::new(|dir| Sled::at(dir)))
}

async fn cycle(name: &str, opener: &dyn OpenStore, deliveries: usize) -> Result<(), Failed> {
    let store = opener.open().await?;
    let bench = Bench::new(store).await?;
    bench.run(deliveries / 10).await?;
    let (wall, cpu) = (Instant::now(), cpu_time()?);
    bench.run(deliveries).await?;
    let (wall, cpu) = (wall.elapsed(), cpu_time()?.saturating_sub(cpu));
    let count = deliveries as f64;
    println!(
        "{name:7} {:6.1} µs CPU a delivery, {:8.0} deliveries/s, groups of {GROUP}",
        cpu.as_secs_f64() * 1e6 / count,
        count / wall.as_secs_f64(),
    );
    Ok(())
}

struct Bench {
    store: Arc<dyn Store>,
    application: Application,
    endpoints: Vec<Arc<Endpoint>>,
}

impl Bench {
    async fn new(store: Arc<dyn Store>) -> Result<Self, Failed> {
        let mut dice = SplitMix::new(7);
        let application = application(&mut dice);
        let endpoint = |_| endpoint(&application, DeliveryPolicy::default(), &mut dice);
        let endpoints = (0..ENDPOINTS).map(endpoint).collect::<Result<Vec<_>, _>>()?;
        let writes = endpoints.iter().map(|endpoint| Write::Endpoint(Box::new((**endpoint).clone())));
        let writes = [Write::Application(Box::new(application.clone()))].into_iter().chain(writes);
        let group: Arc<[Batch]> = Arc::new([Batch::synced(writes)]);
        for verdict in store.commit(group, Durability::Synced).await? {
            verdict.map_err(|refused| format!("{refused:?}"))?;
        }
        Ok(Self { store, application, endpoints })
    }

    /// Each group publishes, synced, and ends what the group before it published, relaxed.
    async fn run(&self, deliveries: usize) -> Result<(), Failed> {
        let mut dice = SplitMix::new(11);
        let mut now = BEGAN;
        let payload: Vec<u8> = (0..PAYLOAD_BYTES / 8).flat_map(|_| dice.roll().to_be_bytes()).collect();
        let payload = bytes::Bytes::from(payload);
        let mut open: VecDeque<Delivery> = VecDeque::new();
        for group in 0..deliveries.div_ceil(GROUP) {
            now = now + Duration::from_millis(1);
            let acceptances: Vec<_> = (0..GROUP)
                .map(|place| {
                    let endpoint = &self.endpoints[(group * GROUP + place) % ENDPOINTS];
                    let event = Arc::new(Event::new("bench.published", payload.clone()));
                    let recipients = plan_recipients(&event, [endpoint]);
                    let (application, entropy) = (self.application.id, dice.roll());
                    Acceptance { application, accepted_at: now, entropy, event, key: None, recipients }
                })
                .collect();
            let routing = Guard::Routing(self.application.id, ENDPOINTS as u64);
            let publish = acceptances.iter().map(|acceptance| Batch::synced([Write::Accept(acceptance.clone())]));
            let publish: Arc<[Batch]> = publish.map(|batch| batch.guarded(routing.clone())).collect();
            for (verdict, acceptance) in self.store.commit(publish, Durability::Synced).await?.iter().zip(&acceptances)
            {
                let committed = verdict.as_ref().map_err(|refused| format!("{refused:?}"))?;
                let (seq, id) = committed.accepted().ok_or("it is accepted")?;
                open.extend(acceptance.recipients.iter().map(|to| acceptance.delivery(to, seq, id)));
            }
            let mut ended = |before: Delivery| {
                let guard = Guard::Stands(before.clone());
                Batch::synced([success(before, now, &mut dice)]).guarded(guard).relaxed()
            };
            let ended: Arc<[Batch]> = open.drain(..).map(&mut ended).collect();
            for verdict in self.store.commit(ended, Durability::Relaxed).await? {
                verdict.map_err(|refused| format!("{refused:?}"))?;
            }
        }
        Ok(())
    }
}

/// Of this process, all threads, from the kernel's books: in ticks of 10 ms.
fn cpu_time() -> Result<Duration, Failed> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().ok_or("the line has a name")?;
    let field =
        |n: usize| -> Result<u64, Failed> { Ok(after_name.split_whitespace().nth(n).ok_or("cut short")?.parse()?) };
    Ok(Duration::from_millis((field(11)? + field(12)?) * 10))
}
