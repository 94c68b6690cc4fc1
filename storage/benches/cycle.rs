//! What storage costs a delivery: an event published to one endpoint, delivered at the first attempt.
//!
//! `cargo bench -p postrider-storage --features testing --bench cycle -- [memory|fjall|sled] [deliveries]`

use std::{
    collections::VecDeque,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use postrider_core::{
    Acceptance, Application, ApplicationId, ApplicationSpec, Attempt, AttemptId, Batch, Delivery, DeliveryPolicy, Dice,
    Durability, Endpoint, EndpointId, EndpointSpec, EndpointStatus, Event, Generation, Guard, OrganisationId, Outcome,
    SplitMix, Step, Then, Timestamp, Transition, Write, plan_recipients,
};
use postrider_storage::{Fjall, MemoryStore, OpenStore, Sled, Store, testing::InTempDir};

const ENDPOINTS: usize = 1_000;
const GROUP: usize = 64;
const PAYLOAD_BYTES: usize = 1024;
const BEGAN: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

type Failed = Box<dyn std::error::Error>;

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
        let application = Application {
            id: ApplicationId::new(BEGAN, &mut dice),
            organisation: OrganisationId::DEFAULT,
            spec: ApplicationSpec::new("bench"),
            created_at: BEGAN,
            updated_at: BEGAN,
            revision: 1,
        };
        let mut endpoints = Vec::with_capacity(ENDPOINTS);
        for _ in 0..ENDPOINTS {
            let spec = EndpointSpec::new("https://receiver.example/hook");
            endpoints.push(Arc::new(Endpoint {
                id: EndpointId::new(BEGAN, &mut dice),
                application: application.id,
                target: spec.validate()?,
                spec,
                policy: DeliveryPolicy::default(),
                secrets: Vec::new(),
                status: EndpointStatus::Active,
                created_at: BEGAN,
                updated_at: BEGAN,
                revision: 1,
                generation: Generation(0),
                granted: None,
            }));
        }
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
            let ended: Arc<[Batch]> = open.drain(..).map(|delivery| success(delivery, now, &mut dice)).collect();
            for verdict in self.store.commit(ended, Durability::Relaxed).await? {
                verdict.map_err(|refused| format!("{refused:?}"))?;
            }
        }
        Ok(())
    }
}

fn success(before: Delivery, now: Timestamp, dice: &mut SplitMix) -> Batch {
    let attempt = Attempt {
        id: AttemptId::new(now, dice),
        number: before.next_attempt(),
        url: Default::default(),
        started: now,
        took: Duration::from_millis(12),
        outcome: Outcome::Success { status: 200 },
        response: b"ok".as_slice().into(),
        then: Then::Delivered,
    };
    let guard = Guard::Stands(before.clone());
    let transition = Transition { before, after: None, step: Step::Attempted(attempt), dead: None };
    Batch { guards: vec![guard], writes: vec![Write::Outcome(Box::new(transition))], durability: Durability::Relaxed }
}

/// Of this process, all threads, from the kernel's books: in ticks of 10 ms.
fn cpu_time() -> Result<Duration, Failed> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().ok_or("the line has a name")?;
    let field =
        |n: usize| -> Result<u64, Failed> { Ok(after_name.split_whitespace().nth(n).ok_or("cut short")?.parse()?) };
    Ok(Duration::from_millis((field(11)? + field(12)?) * 10))
}
