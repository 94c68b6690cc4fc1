//! Three receivers on loopback, which remember what came.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use postrider::core::signature::{Received, Verifier, verify};
use tokio::net::TcpListener;

use super::told;
use crate::now;

/// How a receiver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// 200.
    Well,
    /// Every third request gets 500.
    Flaky,
    /// 500.
    Down,
}

/// What came to one.
struct Request {
    receiver: String,
    headers: HeaderMap,
    body: Bytes,
    is_accepted: bool,
}

#[derive(Default)]
struct Seen {
    moods: BTreeMap<String, Mood>,
    requests: Vec<Request>,
}

/// All of them, at one address.
#[derive(Clone)]
pub(super) struct Receivers {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Receivers {
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let receivers = Self { address: listener.local_addr()?, seen: Arc::default() };
        for (name, mood) in [("healthy", Mood::Well), ("flaky", Mood::Flaky), ("down", Mood::Down)] {
            receivers.set(name, mood);
        }
        let router = Router::new().route("/{name}", post(receive)).with_state(receivers.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        Ok(receivers)
    }

    pub(super) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    pub(super) fn set(&self, name: &str, mood: Mood) {
        self.seen().moods.insert(name.to_owned(), mood);
    }

    /// Requests that came, to all of them.
    pub(super) fn came(&self) -> usize {
        self.seen().requests.len()
    }

    pub(super) fn requests(&self, name: &str) -> usize {
        self.seen().requests.iter().filter(|request| request.receiver == name).count()
    }

    pub(super) fn accepted(&self, name: &str) -> usize {
        self.seen().requests.iter().filter(|request| request.receiver == name && request.is_accepted).count()
    }

    /// How many events one accepted. A kill repeats the request that was under way: that is one event, accepted twice.
    pub(super) fn events(&self, name: &str) -> usize {
        self.ids(name).len()
    }

    /// The ids of what one accepted: a repeat is known by its id.
    pub(super) fn ids(&self, name: &str) -> BTreeSet<String> {
        let seen = self.seen();
        let accepted = seen.requests.iter().filter(|request| request.receiver == name && request.is_accepted);
        accepted.map(|request| header(request, "webhook-id").to_owned()).collect()
    }

    /// Which of a customer's events one accepted, in the order in which it did, repeats left out.
    pub(super) fn numbers(&self, name: &str, customer: &str) -> Vec<usize> {
        let seen = self.seen();
        let (mut ids, mut numbers) = (BTreeSet::new(), Vec::new());
        for request in seen.requests.iter().filter(|request| request.receiver == name && request.is_accepted) {
            match told(&request.body) {
                Some((of, number)) if of == customer && ids.insert(header(request, "webhook-id")) => {
                    numbers.push(number)
                }
                Some(_) | None => {}
            }
        }
        numbers
    }

    /// Requests whose signature does not verify.
    pub(super) fn unverified(&self, secrets: &BTreeMap<&'static str, String>) -> usize {
        let is_signed = |request: &Request| {
            let secret = secrets.get(request.receiver.as_str()).and_then(|secret| Verifier::parse(secret).ok());
            let received = Received {
                id: header(request, "webhook-id"),
                timestamp: header(request, "webhook-timestamp"),
                signature: header(request, "webhook-signature"),
            };
            secret.is_some_and(|secret| verify(&[secret], &received, &request.body, now()).is_ok())
        };
        self.seen().requests.iter().filter(|request| !is_signed(request)).count()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn receive(
    State(receivers): State<Receivers>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let mut seen = receivers.seen();
    let before = seen.requests.iter().filter(|request| request.receiver == name).count();
    let is_accepted = match seen.moods.get(&name) {
        Some(Mood::Well) => true,
        Some(Mood::Flaky) => before % 3 != 2,
        Some(Mood::Down) | None => false,
    };
    seen.requests.push(Request { receiver: name, headers, body, is_accepted });
    if is_accepted { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }
}

fn header<'r>(request: &'r Request, name: &str) -> &'r str {
    request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[tokio::test]
    async fn an_event_that_comes_twice_is_one_event() {
        let receivers = Receivers::start().await.expect("it listens");
        for id in ["msg_1", "msg_1", "msg_2"] {
            let headers = HeaderMap::from_iter([(HeaderName::from_static("webhook-id"), HeaderValue::from_static(id))]);
            receive(State(receivers.clone()), Path("healthy".to_owned()), headers, Bytes::new()).await;
        }
        assert_eq!((receivers.events("healthy"), receivers.accepted("healthy")), (2, 3));
    }
}
