//! How the API is left: first it says that it is not ready, and asks clients for other connections; only then its port
//! is closed.
//!
//! A client that keeps its connection sends its next request at any moment, also at that when the connection is closed.
//! While the API drains, each answer of HTTP/1.1 says `connection: close`, so that a busy client has left before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, Version, header},
    middleware::Next,
    response::Response,
};
use tokio::time::sleep;

/// What load balancers ask.
const READY: [&str; 3] = ["/api/v1/health", "/api/v1/health/", "/health"];

/// Whether the API is being left. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drain(Arc<AtomicBool>);

impl Drain {
    /// Begins, and gives clients this long to leave.
    pub(crate) async fn wait(&self, time: Duration) {
        self.0.store(true, Ordering::Relaxed);
        sleep(time).await;
    }

    fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Around the API.
pub(crate) async fn announce(State(drain): State<Drain>, request: Request, next: Next) -> Response {
    let (version, asks_if_ready) = (request.version(), READY.contains(&request.uri().path()));
    let mut answer = next.run(request).await;
    if !drain.has_begun() {
        return answer;
    }
    if asks_if_ready {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    if matches!(version, Version::HTTP_10 | Version::HTTP_11) {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{
        Router,
        body::Body,
        extract::Request,
        http::{StatusCode, header},
        middleware,
        response::Response,
        routing::get,
    };
    use tower::ServiceExt;

    use super::{Drain, announce};

    async fn answer(drain: &Drain, path: &str) -> Response {
        let routes = Router::new().route("/api/v1/health", get(|| async {})).route("/api/v1/app", get(|| async {}));
        let routes = routes.layer(middleware::from_fn_with_state(drain.clone(), announce));
        let request = Request::get(path).body(Body::empty()).expect("it is a request");
        routes.oneshot(request).await.expect("it answers")
    }

    #[tokio::test]
    async fn while_it_drains_it_is_not_ready_and_asks_clients_to_leave() {
        let drain = Drain::default();
        for (path, drained) in [("/api/v1/health", StatusCode::SERVICE_UNAVAILABLE), ("/api/v1/app", StatusCode::OK)] {
            let before = answer(&drain, path).await;
            assert_eq!((before.status(), before.headers().get(header::CONNECTION)), (StatusCode::OK, None));
            let draining = Drain::default();
            draining.wait(Duration::ZERO).await;
            let after = answer(&draining, path).await;
            assert_eq!(
                (after.status(), &after.headers()[header::CONNECTION]),
                (drained, &"close".parse().expect("it is one"))
            );
        }
    }
}
