//! Reads the body of an answer, as far as it comes. Nothing here is a failure: the head was there.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use postrider::{AttemptResponse, ResponseLimits};
use tokio::time::{Instant, timeout_at};

/// Left of the engine's time when reading ends, so that the answer is given before the engine drops the exchange.
const MARGIN: Duration = Duration::from_millis(20);

/// Reads within `limits` and before `deadline`.
pub(super) async fn read(response: Response<Incoming>, limits: ResponseLimits, deadline: Instant) -> AttemptResponse {
    let now = Instant::now();
    let until = (now + limits.read_time).min(deadline.checked_sub(MARGIN).unwrap_or(now));
    let (head, mut incoming) = response.into_parts();
    // Reading on serves only to use the connection again: pointless if it will be too long anyway.
    let too_long = incoming.size_hint().exact().is_some_and(|bytes| bytes > limits.read_bytes as u64);
    let read_bytes = if too_long { limits.kept_bytes } else { limits.read_bytes };
    let mut body = Body { kept: BytesMut::new(), kept_bytes: limits.kept_bytes, read: 0 };
    let whole = loop {
        // What is there already is taken even if the time is up: the timeout asks the body first.
        match timeout_at(until, incoming.frame()).await {
            Ok(Some(Ok(frame))) => frame.data_ref().into_iter().for_each(|chunk| body.take(chunk)),
            Ok(None) => break true,
            Ok(Some(Err(_))) | Err(_) => break false,
        }
        if body.read > read_bytes {
            break false;
        }
    };
    let truncated = !whole || body.read > limits.kept_bytes;
    AttemptResponse { status: head.status, headers: head.headers, truncated, body: body.freeze() }
}

struct Body {
    kept: BytesMut,
    kept_bytes: usize,
    read: usize,
}

impl Body {
    fn take(&mut self, chunk: &Bytes) {
        let room = self.kept_bytes - self.kept.len();
        self.kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        self.read += chunk.len();
    }

    fn freeze(self) -> Bytes {
        self.kept.freeze()
    }
}
