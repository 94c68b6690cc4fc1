//! Bodies as they come in: with an end to waiting for them, and unpacked as far as they are read.
//!
//! A body has half a minute, and more for each byte that has come: one that trickles ends, and one that is large is read
//! to its end over a slow line. Gzip is unpacked a piece at a time, all its members; what is behind them and is none is a
//! fault, not silence.

use std::{
    error::Error,
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};
use flate2::write::MultiGzDecoder;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// For a whole body, whatever its length.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Bytes that give it a second more.
const BYTES_A_SECOND: u32 = 16 << 10;
/// Packed bytes that are unpacked at once: of a few megabytes at most.
const PIECE_BYTES: usize = 4 << 10;

/// The body took longer than it has.
#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly: it has {} s, and one more for every {BYTES_A_SECOND} bytes", BODY_WITHIN.as_secs())]
pub(super) struct TooSlow;

/// Around all routes: what reads a body reads it so.
pub(super) async fn bounded(request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = Timed::new(body);
    let is_gzip = parts.headers.get(header::CONTENT_ENCODING).is_some_and(is_gzip);
    if !is_gzip {
        return next.run(Request::from_parts(parts, Body::new(body))).await;
    }
    parts.headers.remove(header::CONTENT_ENCODING);
    parts.headers.remove(header::CONTENT_LENGTH);
    next.run(Request::from_parts(parts, Body::new(Unpacked::new(body)))).await
}

fn is_gzip(encoding: &HeaderValue) -> bool {
    let is = |name: &[u8]| encoding.as_bytes().eq_ignore_ascii_case(name);
    is(b"gzip") || is(b"x-gzip")
}

type BoxError = Box<dyn Error + Send + Sync>;

/// A body that has so long to come.
struct Timed {
    inner: Body,
    until: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    fn new(inner: Body) -> Self {
        Self { inner, until: Instant::now() + BODY_WITHIN, timer: None }
    }
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(frame) = polled {
            if let Some(Ok(frame)) = &frame {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.until += Duration::from_secs(bytes) / BYTES_A_SECOND;
            }
            if Instant::now() < self.until {
                return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
            }
        }
        let until = self.until;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What a packed body holds.
struct Unpacked {
    inner: Timed,
    /// Packed, and not looked at.
    left: Bytes,
    /// None behind its end.
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
}

impl Unpacked {
    fn new(inner: Timed) -> Self {
        Self { inner, left: Bytes::new(), decoder: Some(MultiGzDecoder::new(Vec::new())) }
    }

    /// What the next piece holds; none if there is no piece, or it holds nothing by itself.
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Some(decoder) = &mut self.decoder else { return Ok(None) };
        while !self.left.is_empty() {
            let piece = self.left.split_to(self.left.len().min(PIECE_BYTES));
            decoder.write_all(&piece)?;
            let unpacked = std::mem::take(decoder.get_mut());
            if !unpacked.is_empty() {
                return Ok(Some(unpacked.into()));
            }
        }
        Ok(None)
    }

    /// What was held back until the end; or it ends too soon.
    fn last(&mut self) -> io::Result<Option<Bytes>> {
        let Some(decoder) = self.decoder.take() else { return Ok(None) };
        let rest = decoder.finish()?;
        Ok((!rest.is_empty()).then(|| rest.into()))
    }
}

impl HttpBody for Unpacked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match self.next() {
                Ok(Some(unpacked)) => return Poll::Ready(Some(Ok(Frame::data(unpacked)))),
                Ok(None) => {}
                Err(error) => {
                    self.decoder = None;
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
            if self.decoder.is_none() {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.left = data;
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let last = self.last().map_err(BoxError::from).transpose();
                    return Poll::Ready(last.map(|last| last.map(Frame::data)));
                }
            }
        }
    }
}

/// Whether a body ended for this reason.
pub(super) fn is_caused_by<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if current.is::<E>() {
            return true;
        }
        cause = current.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use http_body_util::BodyExt;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).expect("memory");
        encoder.finish().expect("memory")
    }

    async fn unpacked(packed: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        let body = Unpacked::new(Timed::new(Body::from(packed)));
        Ok(body.collect().await?.to_bytes().to_vec())
    }

    /// What `cat a.gz b.gz` makes was read as `a` alone, and the messages of `b` were accepted and gone.
    #[tokio::test]
    async fn all_members_of_gzip_are_read_and_what_is_none_is_a_fault() {
        let (one, two) = (packed(b"[1,"), packed(b"2]"));
        let both = [one.clone(), two.clone()].concat();
        assert_eq!(unpacked(both.clone()).await.expect("it is whole"), b"[1,2]");
        assert!(unpacked([both.clone(), b"rubbish".to_vec()].concat()).await.is_err());
        assert!(unpacked(both[..both.len() - 3].to_vec()).await.is_err(), "it is not whole");
        let large = packed(&vec![b'x'; 1 << 20]);
        assert_eq!(unpacked(large).await.expect("it is whole").len(), 1 << 20);
    }

    #[tokio::test]
    async fn a_piece_of_a_body_is_unpacked_at_a_time() {
        let mut body = Unpacked::new(Timed::new(Body::from(packed(&vec![0; 64 << 20]))));
        let first = body.frame().await.expect("a frame").expect("it is good").into_data().expect("data");
        assert!(first.len() <= 8 << 20, "{} bytes", first.len());
    }

    /// A byte every five seconds held its connection, and what it had sent, without end.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_ends_and_a_large_one_on_a_slow_line_does_not() {
        let come = |bytes: usize, every: Duration, count: u32| {
            let (sender, body) = tokio::sync::mpsc::channel::<Bytes>(1);
            tokio::spawn(async move {
                for _ in 0..count {
                    tokio::time::sleep(every).await;
                    if sender.send(Bytes::from(vec![0; bytes])).await.is_err() {
                        break;
                    }
                }
            });
            Timed::new(Body::new(Pieces(body)))
        };
        let began = Instant::now();
        let ended = come(1, Duration::from_secs(5), 1_000).collect().await.expect_err("it ends");
        assert!(
            is_caused_by::<TooSlow>(&*ended) && began.elapsed() <= BODY_WITHIN + Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        let whole = come(64 << 10, Duration::from_secs(3), 100).collect().await.expect("it comes fast enough");
        assert_eq!(whole.to_bytes().len(), 6_400 << 10);
    }

    struct Pieces(tokio::sync::mpsc::Receiver<Bytes>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        }
    }
}
