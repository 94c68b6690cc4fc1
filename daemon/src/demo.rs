//! The main job, shown: a real daemon with a durable store, three receivers, ordered events, a crash, dead letters.
//!
//! Everything that it says at the end was counted at the receivers or asked of the daemon, and is checked: if an event
//! were missing, out of order or badly signed, it says so and fails.

mod client;
mod daemon;
mod receivers;
mod table;

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;

use self::{
    client::Client,
    daemon::Daemon,
    receivers::{Mood, Receivers},
    table::{Row, table},
};

/// Longer, and something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const CUSTOMERS: [&str; 3] = ["ann", "bob", "cem"];
const EVENTS_OF_EACH: usize = 20;
const OVERDUE: usize = 4;

/// Why the demo could not show what it promises.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The folder for temporary files is full or not writable.
    #[error("could not make a temporary folder")]
    Folder(#[source] io::Error),
    /// Its own output follows above.
    #[error("the daemon did not start: {0}")]
    Daemon(String),
    /// A receiver could not listen on loopback.
    #[error("could not listen on 127.0.0.1")]
    Listen(#[source] io::Error),
    /// The daemon did not answer, or not as it should.
    #[error("the daemon was asked for {path}, and {what}")]
    Api { path: String, what: String },
    /// Something took longer than a minute.
    #[error("waited a minute in vain: {0}")]
    Patience(&'static str),
    /// What came is not what was promised. A fault of ours: please report it.
    #[error("a promise was not kept: {0}")]
    Broken(String),
}

/// Shows it, in well under a minute.
pub(crate) async fn run() -> Result<(), DemoError> {
    let began = Instant::now();
    let folder = tempfile::tempdir().map_err(DemoError::Folder)?;
    let receivers = Receivers::start().await.map_err(DemoError::Listen)?;
    let mut daemon = Daemon::start(folder.path(), None).await?;
    say(&format!("1. postrider serve --dev --data {}   (durable, on fjall)", folder.path().display()));
    let mut show = Show {
        client: Client::new(daemon.address, daemon.token.clone())?,
        receivers,
        secrets: BTreeMap::new(),
        progress: Progress::new(),
    };
    show.register().await?;
    say("2. three endpoints: healthy; flaky, which fails every third request; down, which always fails");
    say("   healthy and flaky are delivered in order for each customer");

    let half = EVENTS_OF_EACH / 2;
    show.publish(0..half).await?;
    say(&format!(
        "3. {} events accepted, durably. Now the daemon is killed with SIGKILL, in the middle of its work",
        half * 3
    ));
    daemon.kill().await?;
    let seen = show.receivers.came();
    daemon = Daemon::start(folder.path(), Some(daemon.address)).await?;
    say(&format!("   and started again: {seen} requests had come before; what is missing is made up for"));
    show.publish(half..EVENTS_OF_EACH).await?;
    show.publish_overdue().await?;
    show.until("every event arrives, and what cannot arrive is given up", |show| {
        ["healthy", "flaky"].iter().all(|name| show.receivers.events(name) >= CUSTOMERS.len() * EVENTS_OF_EACH)
    })
    .await?;
    let letters = show.until_dead(OVERDUE).await?;
    let tripped = show.breaker_tripped().await?;
    say(&format!("4. down has got nothing: {letters} dead letters, kept with their payload{tripped}"));

    show.receivers.set("down", Mood::Well);
    let counted =
        show.client.post("/app/demo/dead-letter/redrive", json!({ "endpointId": "down", "dryRun": true })).await?;
    say(&format!("5. down is repaired. A dry run finds {} to redrive; redriving them", counted["matched"]));
    show.client.post("/app/demo/dead-letter/redrive", json!({ "endpointId": "down" })).await?;
    show.until("what was redriven arrives", |show| show.receivers.events("down") >= OVERDUE).await?;

    let rows = show.rows().await?;
    say(&format!("\n{}", table(&rows)));
    show.check()?;
    say(
        "Checked: nothing is missing, each customer's events came in order, every signature verified, ids stayed the same.",
    );
    daemon.stop().await?;
    say(&format!(
        "\nAll of that in {:.0} s. What to type next:\n\
         \n  cargo run --release -p postrider-daemon -- serve --dev --data ./data    # prints a token and a line for curl\
         \n  cargo run -p postrider-daemon -- config --reference                     # every setting there is\
         \n  cargo run -p postrider-examples --example embed                         # the engine in a program of yours\n",
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

struct Show {
    client: Client,
    receivers: Receivers,
    /// Of each endpoint, as the API gives them out.
    secrets: BTreeMap<&'static str, String>,
    progress: Progress,
}

impl Show {
    async fn register(&mut self) -> Result<(), DemoError> {
        self.client.post("/app", json!({ "name": "Demo", "uid": "demo" })).await?;
        let in_order = json!({ "ordering": "perKey", "retrySchedule": [0.2, 0.4, 0.8, 1.6, 3.2], "breaker": null });
        let breaker = json!({ "consecutiveFailures": 3, "cooldownSeconds": 0.3, "maxCooldownSeconds": 0.3 });
        let down = json!({ "retrySchedule": [0.2], "breaker": breaker });
        for (name, types, delivery) in [
            ("healthy", json!(["invoice.paid"]), in_order.clone()),
            ("flaky", json!(["invoice.paid"]), in_order),
            ("down", json!(["invoice.overdue"]), down),
        ] {
            let url = self.receivers.url(name);
            let asked = json!({ "uid": name, "url": url, "eventTypes": types, "delivery": delivery });
            self.client.post("/app/demo/endpoint", asked).await?;
            let secret = self.client.get(&format!("/app/demo/endpoint/{name}/secret")).await?;
            self.secrets.insert(name, secret["key"].as_str().unwrap_or_default().to_owned());
        }
        Ok(())
    }

    /// Each customer's next events.
    async fn publish(&mut self, numbers: std::ops::Range<usize>) -> Result<(), DemoError> {
        for n in numbers {
            for customer in CUSTOMERS {
                let payload = json!({ "customer": customer, "number": n });
                let event = json!({ "eventType": "invoice.paid", "orderingKey": customer, "payload": payload });
                self.client.post("/app/demo/msg", event).await?;
            }
        }
        Ok(())
    }

    async fn publish_overdue(&mut self) -> Result<(), DemoError> {
        for n in 0..OVERDUE {
            let event = json!({ "eventType": "invoice.overdue", "payload": { "customer": "dan", "number": n } });
            self.client.post("/app/demo/msg", event).await?;
        }
        Ok(())
    }

    async fn until(&mut self, what: &'static str, is_so: impl Fn(&Self) -> bool) -> Result<(), DemoError> {
        let began = Instant::now();
        while !is_so(self) {
            if began.elapsed() > PATIENCE {
                return Err(DemoError::Patience(what));
            }
            self.progress.show(&self.receivers);
            sleep(LOOK_EVERY).await;
        }
        self.progress.end(&self.receivers);
        Ok(())
    }

    async fn until_dead(&mut self, count: usize) -> Result<usize, DemoError> {
        let began = Instant::now();
        loop {
            let list = self.client.get("/app/demo/dead-letter?endpoint_id=down").await?;
            let letters = list["data"].as_array().map_or(0, Vec::len);
            if letters >= count {
                return Ok(letters);
            }
            if began.elapsed() > PATIENCE {
                return Err(DemoError::Patience("what cannot be delivered is given up"));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn breaker_tripped(&self) -> Result<String, DemoError> {
        let state = self.client.get("/app/demo/endpoint/down/state").await?;
        Ok(match state["breaker"]["state"].as_str() {
            Some("closed") | None => String::new(),
            Some(open) => format!("; its breaker is {open}, so that it is left alone"),
        })
    }

    /// What the daemon knows of each endpoint, beside what came there.
    async fn rows(&self) -> Result<Vec<Row>, DemoError> {
        let mut rows = Vec::new();
        for name in ["healthy", "flaky", "down"] {
            let attempts = self.client.all(&format!("/app/demo/attempt/endpoint/{name}")).await?;
            let failed = attempts.iter().filter(|attempt| attempt["status"] != json!(0)).count();
            let events = self.receivers.ids(name);
            let dead = self.client.all(&format!("/app/demo/dead-letter?endpoint_id={name}")).await?.len();
            rows.push(Row {
                endpoint: name,
                events: events.len(),
                attempts: attempts.len(),
                failed,
                repeats: self.receivers.accepted(name) - events.len(),
                redriven: if name == "down" { OVERDUE } else { 0 },
                dead_letters: dead,
            });
        }
        Ok(rows)
    }

    fn check(&self) -> Result<(), DemoError> {
        for name in ["healthy", "flaky"] {
            for customer in CUSTOMERS {
                let numbers = self.receivers.numbers(name, customer);
                let wanted: Vec<_> = (0..EVENTS_OF_EACH).collect();
                if numbers != wanted {
                    return Err(DemoError::Broken(format!("{name} got {customer}'s events as {numbers:?}")));
                }
            }
        }
        if self.receivers.ids("down").len() != OVERDUE {
            return Err(DemoError::Broken("an overdue invoice is missing at down".to_owned()));
        }
        match self.receivers.unverified(&self.secrets) {
            0 => Ok(()),
            count => Err(DemoError::Broken(format!("{count} requests were not signed as they should be"))),
        }
    }
}

/// How many came where, on one line that is written over if somebody watches.
struct Progress {
    is_watched: bool,
    last: String,
}

impl Progress {
    fn new() -> Self {
        Self { is_watched: io::stdout().is_terminal(), last: String::new() }
    }

    fn show(&mut self, receivers: &Receivers) {
        if self.is_watched {
            let line = Self::line(receivers);
            if line != self.last {
                write(&format!("\r{line}"));
                self.last = line;
            }
        }
    }

    fn end(&mut self, receivers: &Receivers) {
        let (start, line) = (if self.is_watched { "\r" } else { "" }, Self::line(receivers));
        write(&format!("{start}{line}\n"));
        self.last.clear();
    }

    fn line(receivers: &Receivers) -> String {
        let of =
            |name| format!("{name} {:3} of {:3} requests taken", receivers.accepted(name), receivers.requests(name));
        format!("   {}   {}   {}", of("healthy"), of("flaky"), of("down"))
    }
}

fn say(text: &str) {
    write(&format!("{text}\n"));
}

/// Nobody needs to be reading.
fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _nobody_reads = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What a payload says of itself.
fn told(body: &[u8]) -> Option<(String, usize)> {
    let payload: Value = serde_json::from_slice(body).ok()?;
    let number = usize::try_from(payload["number"].as_u64()?).ok()?;
    Some((payload["customer"].as_str()?.to_owned(), number))
}
