//! A receiver that outlives the daemon, and can change its mind.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Instant,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    Failed,
    daemon::{PATIENCE, Shared},
};

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Not until it is well.
    Hanging,
}

/// What it took: `key number` bodies, with their ids, in the order in which they came.
#[derive(Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    taken: Shared<Vec<(String, u64, String)>>,
    /// Their ids, each once.
    ids: Shared<BTreeSet<String>>,
    came: watch::Sender<usize>,
}

impl Receiver {
    pub(crate) async fn start(mood: Mood) -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let receiver = Self {
            address: listener.local_addr()?,
            mood: watch::Sender::new(mood),
            taken: Shared::default(),
            ids: Shared::default(),
            came: watch::Sender::new(0),
        };
        let router = Router::new().route("/hook", post(receive)).with_state(receiver.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        Ok(receiver)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Forgets what it took.
    pub(crate) fn forget(&self) {
        self.ids.with(BTreeSet::clear);
        self.taken.with(Vec::clear);
    }

    /// Waits until so many requests have come, answered or not.
    pub(crate) async fn wait_for_requests(&self, count: usize) -> Result<(), Failed> {
        let mut came = self.came.subscribe();
        tokio::time::timeout(PATIENCE, came.wait_for(|came| *came >= count)).await??;
        Ok(())
    }

    /// Waits until it has taken so many events, repeats left out, as long as more come.
    pub(crate) async fn wait_for_events(&self, count: usize) -> Result<(), Failed> {
        let (mut last_came, mut known) = (Instant::now(), 0);
        loop {
            let events = self.ids.with(|ids| ids.len());
            if events >= count {
                return Ok(());
            }
            if events > known {
                (last_came, known) = (Instant::now(), events);
            }
            if last_came.elapsed() > PATIENCE {
                return Err(format!("{events} of {count} events came").into());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// For each key what came first of each number, in order; and how often something came again. Fails if one number
    /// came under two ids: that would be two events.
    pub(crate) fn by_key(&self) -> Result<(BTreeMap<String, Vec<u64>>, usize), Failed> {
        self.taken.with(|taken| {
            let (mut ids, mut keys, mut repeats) = (BTreeMap::new(), BTreeMap::<String, Vec<u64>>::new(), 0);
            for (key, number, id) in taken {
                match ids.insert((key.clone(), *number), id.clone()) {
                    None => keys.entry(key.clone()).or_default().push(*number),
                    Some(before) if before == *id => repeats += 1,
                    Some(before) => return Err(format!("{key} {number} came as {before} and as {id}").into()),
                }
            }
            Ok((keys, repeats))
        })
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> StatusCode {
    receiver.came.send_modify(|came| *came += 1);
    let mut mood = receiver.mood.subscribe();
    let _it_lives = mood.wait_for(|mood| *mood == Mood::Well).await;
    let event: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let key = event["key"].as_str().unwrap_or_default().to_owned();
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let number = event["number"].as_u64().unwrap_or_default();
    receiver.taken.with(|taken| taken.push((key, number, id.clone())));
    // Last: what counts ids looks at what was taken next.
    receiver.ids.with(|ids| ids.insert(id));
    StatusCode::OK
}
