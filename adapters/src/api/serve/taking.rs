//! Answers on their way to a client: handed over in pieces, with an end to waiting for a client that does not take them.
//!
//! Whatever of an answer is not taken is in memory. So an answer has half a minute, and more for each piece that has gone:
//! one that is large is taken to its end over a slow line, and a client that reads nothing holds it for a while only.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// For a whole answer, whatever its length.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// Bytes that give it a second more.
const BYTES_A_SECOND: u32 = 256 << 10;
/// What is handed over at once. Shorter answers are as good as taken once they are handed over.
const PIECE_BYTES: usize = 64 << 10;

/// The answers of one connection that its client has not taken.
#[derive(Debug, Default)]
pub(super) struct Taking {
    until: Mutex<Deadlines>,
    /// Rung when there is another one.
    begun: Notify,
}

#[derive(Debug, Default)]
struct Deadlines {
    of: BTreeMap<u64, Instant>,
    next: u64,
}

impl Taking {
    /// The answer, in pieces; `held` lives until they are handed over.
    pub(super) fn given<H: Send + Unpin + 'static>(self: Arc<Self>, answer: Response, held: H) -> Response {
        let most = answer.body().size_hint().upper();
        if most.is_some_and(|most| most <= PIECE_BYTES as u64) {
            return answer;
        }
        let number = {
            let mut until = self.until();
            until.next += 1;
            let number = until.next;
            until.of.insert(number, Instant::now() + TAKEN_WITHIN);
            number
        };
        self.begun.notify_one();
        answer.map(|inner| Body::new(Given { inner, piece: Bytes::new(), number, taking: self, _held: held }))
    }

    /// Returns when one of them takes longer than it has.
    pub(super) async fn is_late(&self) {
        loop {
            let first = self.until().of.values().min().copied();
            let Some(first) = first else {
                self.begun.notified().await;
                continue;
            };
            if first <= Instant::now() {
                return;
            }
            tokio::select! {
                () = sleep_until(first) => {}
                () = self.begun.notified() => {}
            }
        }
    }

    fn until(&self) -> MutexGuard<'_, Deadlines> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer that has so long to go.
struct Given<H> {
    inner: Body,
    /// Of the frame that came last, what was not handed over.
    piece: Bytes,
    number: u64,
    taking: Arc<Taking>,
    _held: H,
}

impl<H: Unpin> HttpBody for Given<H> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.piece.is_empty() {
            match std::task::ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.piece = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let bytes = self.piece.len().min(PIECE_BYTES);
        let piece = self.piece.split_to(bytes);
        let more = Duration::from_secs(bytes as u64) / BYTES_A_SECOND;
        if let Some(until) = self.taking.until().of.get_mut(&self.number) {
            *until += more;
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, here) = (self.inner.size_hint(), self.piece.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + here);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + here);
        }
        hint
    }
}

impl<H> Drop for Given<H> {
    fn drop(&mut self) {
        self.taking.until().of.remove(&self.number);
    }
}
