//! One connection: HTTP/1.1, or HTTP/2 for whoever begins with its preface, and an end for those with nothing to say.

use std::{error::Error, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::timeout,
};

use super::{room::Place, taking::Taking};
use crate::api::{envelope::guarded, error::ApiError, head::FIELDS_MAX, memory};

/// From the first byte of an HTTP/1.1 request to the end of its head, and between two requests of a connection.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Without a request, in either version. Longer than a head may take, which has a limit of its own.
const REQUEST_WITHIN: Duration = Duration::from_secs(60);
/// For the client to take what is left of its answers, after the last request: all but the last pieces have gone.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
/// The same, when its place is needed.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);
/// Requests of one HTTP/2 connection at once. RFC 9113 asks for no fewer.
const STREAMS_MAX: u32 = 100;
/// Bytes of an HTTP/1.1 request's head that are kept until its end has come: its first line and all its fields, each as long
/// as they may be, and what is between them. hyper's own bound is three times as much.
pub(super) const FIRST_BYTES_MAX: usize = 136 << 10;
/// Bytes of an HTTP/2 request's head, with its name for each field.
const HEAD_BYTES_MAX: u32 = 32 << 10;
/// Bytes of answers that wait in one HTTP/2 stream for its client.
const STREAM_BYTES_MAX: usize = 256 << 10;
/// An HTTP/2 client is asked so often whether it is still there, and has so long to answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WITHIN: Duration = Duration::from_secs(10);

/// The client took too long over an answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer was not taken in time")]
struct NotTaken;

type Ended = Result<(), Box<dyn Error + Send + Sync>>;

/// How connections are spoken with. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Protocols(auto::Builder<TokioExecutor>);

impl Protocols {
    pub(super) fn new() -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_headers(2 * FIELDS_MAX)
            .max_buf_size(FIRST_BYTES_MAX);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_send_buf_size(STREAM_BYTES_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_WITHIN);
        Self(http)
    }

    /// Answers the requests of this connection, until its client ends it, or has nothing to say, or `stop` changes.
    pub(super) async fn converse<I>(
        self,
        io: I,
        place: Arc<Place>,
        router: Router,
        mut stop: watch::Receiver<()>,
    ) -> Ended
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (running, watched) = watch::channel(0_usize);
        let taking = Arc::new(Taking::default());
        let answers = Arc::clone(&taking);
        let router = TowerToHyperService::new(router);
        let (place, seat) = (Arc::clone(&place), place);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let runs = (Running::new(running.clone()), seat.asks());
            let is_of_one_host = is_of_one_host(&request);
            let answer = router.call(request);
            let answers = Arc::clone(&answers);
            async move {
                let answer = if is_of_one_host { answer.await } else { Ok(host_refused()) };
                answer.map(|answer| answers.given(memory::until_taken(answer), runs))
            }
        });
        let mut connection = pin!(self.0.serve_connection(TokioIo::new(io), service));
        tokio::select! {
            ended = &mut connection => return ended,
            () = silence(watched) => {
                connection.as_mut().graceful_shutdown();
                return timeout(ANSWERS_WITHIN, connection).await?;
            }
            () = taking.is_late() => return Err(NotTaken.into()),
            () = place.is_needed() => {
                connection.as_mut().graceful_shutdown();
                return timeout(LEAVES_WITHIN, connection).await?;
            }
            _ = stop.changed() => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = &mut connection => ended,
            () = taking.is_late() => Err(NotTaken.into()),
        }
    }
}

/// Whether an HTTP/1.1 request names one host (RFC 9112): those in front of us may have taken another of two.
fn is_of_one_host<B>(request: &hyper::Request<B>) -> bool {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    match request.version() {
        Version::HTTP_11 => hosts == 1,
        _ => hosts <= 1,
    }
}

fn host_refused() -> Response {
    let detail = "An HTTP/1.1 request has one Host header.";
    let refused = ApiError::new(StatusCode::BAD_REQUEST, "generic_error", detail).into_response();
    // It did not come to the routes, nor to what is around them.
    guarded(refused)
}

/// Returns when no request has run for [`REQUEST_WITHIN`].
pub(super) async fn silence(mut running: watch::Receiver<usize>) {
    loop {
        let is_busy = *running.borrow_and_update() > 0;
        let changed = running.changed();
        let changed = if is_busy { Ok(changed.await) } else { timeout(REQUEST_WITHIN, changed).await };
        // Nobody can begin a request any more, either.
        let Ok(Ok(())) = changed else { return };
    }
}

/// Counts a request for as long as it lives: a client that goes away takes its request along.
pub(super) struct Running(watch::Sender<usize>);

impl Running {
    pub(super) fn new(count: watch::Sender<usize>) -> Self {
        count.send_modify(|running| *running += 1);
        Self(count)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}
