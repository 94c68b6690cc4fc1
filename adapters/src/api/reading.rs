//! Requests that read much of the store: a few at once, in turns by application, so that however many one sends, others
//! read soon, and events are stored and sent beside all of them.

use std::{num::NonZeroUsize, thread::available_parallelism, time::Duration};

use axum::{
    body::HttpBody,
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use postrider::{ApplicationId, FairTurn, FairTurns, core::FairLimits};
use tokio::{sync::oneshot, time::timeout};
use tracing::Instrument;

use super::{each_frame::each_frame, error::ApiError};

/// Requests that wait of one application; more are refused.
const WAITING_MAX: usize = 256;
/// One application alone gets half.
const RUNNING_MIN: usize = 4;
/// Answers of so many bytes wait for their clients without a turn.
const SMALL_BYTES: u64 = 256 << 10;
/// How long an answer that nobody takes keeps its turn. How long the answer itself is kept is for its connection to say.
const TURN_KEPT: Duration = Duration::from_secs(10);
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Who reads, and who waits.
#[derive(Clone, Debug)]
pub(super) struct Reading(FairTurns<ApplicationId>);

impl Reading {
    pub(super) fn new() -> Self {
        let running = available_parallelism().map_or(RUNNING_MIN, |cores| 2 * NonZeroUsize::get(cores));
        let running = running.max(RUNNING_MIN);
        Self(FairTurns::new(FairLimits { waiting_per_key: WAITING_MAX, ..FairLimits::running(running) }))
    }

    /// The right to read, once its turn has come.
    pub(super) async fn turn(&self, application: ApplicationId) -> Result<FairTurn<ApplicationId>, ApiError> {
        self.0.come(application).await.map_err(|_| {
            let detail = "As many requests that read lists of this application wait as may.";
            ApiError::too_many(detail, AGAIN_AFTER)
        })
    }

    /// The answer to a request about this application, once its turn has come.
    pub(super) async fn answer(
        &self,
        application: ApplicationId,
        request: Request,
        next: Next,
    ) -> Result<Response, ApiError> {
        let turn = self.turn(application).await?;
        let work = async move { keep_until_taken(turn, next.run(request).await) };
        // On its own, so that it keeps its turn for as long as it reads, though the caller has gone.
        let answered = tokio::spawn(work.in_current_span()).await;
        Ok(answered.unwrap_or_else(|_| {
            let detail = "The request was not carried out.";
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", detail).into_response()
        }))
    }
}

/// A large answer keeps its turn until it is taken, or for a while: so that not too many of them wait in memory for clients
/// that do not read them.
fn keep_until_taken<T: Send + 'static>(turn: T, answer: Response) -> Response {
    if answer.body().size_hint().upper().is_some_and(|most| most <= SMALL_BYTES) {
        return answer;
    }
    let (left, leaves) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let _taken_or_not = timeout(TURN_KEPT, leaves).await;
        drop(turn);
    });
    answer.map(|body| {
        each_frame(body, move |frame| {
            let _until_taken = &left;
            Ok(frame)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Router, body::Body, middleware, routing::get};
    use tokio::{sync::Notify, task::yield_now};
    use tower::ServiceExt;

    use super::*;

    /// Sixty-four requests of one application for a page of what is rare made another one's message wait for seconds: all of
    /// them read at once, each on a thread of its own.
    #[tokio::test]
    async fn requests_of_one_application_read_a_few_at_once_and_leave_room_for_another() {
        let reading = Reading::new();
        let (begun, go_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let stands = {
            let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
            move || async move {
                begun.fetch_add(1, Ordering::SeqCst);
                go_on.notified().await;
            }
        };
        let router = Router::new().route("/1", get(stands)).route("/2", get(async || ()));
        let router = router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let reading = reading.clone();
            let application = ApplicationId::from_bytes([request.uri().path().as_bytes()[1]; 20]);
            async move { reading.answer(application, request, next).await }
        }));
        let ask = |path: &str| {
            let request = Request::get(path).body(Body::empty()).expect("it is a request");
            tokio::spawn(router.clone().oneshot(request))
        };
        let mut asked: Vec<_> = (0..64).map(|_| ask("/1")).collect();
        let other = ask("/2").await.expect("it ends").expect("it is answered");
        assert_eq!(other.status(), StatusCode::OK);
        let running = begun.load(Ordering::SeqCst);
        assert!((1..=32).contains(&running), "{running} read at once");
        // Those that nobody waits for any more keep their turns for as long as they read, and leave the queue.
        asked.drain(..).for_each(|asked| asked.abort());
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(begun.load(Ordering::SeqCst), running);
        go_on.notify_waiters();
        let again = ask("/1");
        while begun.load(Ordering::SeqCst) == running {
            yield_now().await;
        }
        go_on.notify_one();
        assert_eq!(again.await.expect("it ends").expect("it is answered").status(), StatusCode::OK);
    }
}
