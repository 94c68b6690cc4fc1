//! What is known of one connection: since when it is there, and whether anything came since it was last written to.
//!
//! A receiver may close a connection that rests at the very moment when a request is written to it. Such a request broke
//! on a connection that had been used before, and no byte came in answer: it is sent once more on a fresh one.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::Extensions;
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, Connection};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// What is known of one connection. Clones are of the same one.
#[derive(Clone, Debug)]
pub(super) struct Link(Arc<State>);

#[derive(Debug)]
struct State {
    made: Instant,
    /// It was written to, something came, and it was written to again.
    is_kept: AtomicBool,
    /// Something came since it was last written to.
    is_answering: AtomicBool,
}

impl Link {
    fn new() -> Self {
        let (is_kept, is_answering) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(State { made: Instant::now(), is_kept, is_answering }))
    }

    /// The connection that a request was written to, if it came so far.
    pub(super) fn of(captured: &CaptureConnection) -> Option<Self> {
        Self::in_connected(captured.connection_metadata().as_ref()?)
    }

    fn in_connected(connected: &Connected) -> Option<Self> {
        let mut extras = Extensions::new();
        connected.get_extras(&mut extras);
        extras.remove()
    }

    /// It had been used before, and nothing came since the last request was written to it.
    pub(super) fn was_kept_and_silent(&self) -> bool {
        self.0.is_kept.load(Ordering::Relaxed) && !self.0.is_answering.load(Ordering::Relaxed)
    }

    fn written(&self) {
        if self.0.is_answering.swap(false, Ordering::Relaxed) {
            self.0.is_kept.store(true, Ordering::Relaxed);
        }
    }

    fn came(&self) {
        self.0.is_answering.store(true, Ordering::Relaxed);
    }
}

/// Takes a connection out of use after the request that is on it, if it is older than this: where a name points is
/// asked only for a new one.
pub(super) fn retire(captured: &CaptureConnection, response: &Extensions, life: Duration) {
    // The response has it, too, and there it costs nothing to read.
    if response.get::<Link>().is_none_or(|link| link.0.made.elapsed() < life) {
        return;
    }
    if let Some(connected) = captured.connection_metadata().as_ref() {
        connected.poison();
    }
}

/// A stream that keeps the account of its link.
#[derive(Debug)]
pub(super) struct Linked<S> {
    stream: S,
    link: Link,
}

impl<S> Linked<S> {
    /// A stream that was just made.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, link: Link::new() }
    }
}

impl<S: Connection> Connection for Linked<S> {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.link.clone())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Linked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.link.came();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Linked<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.link.written();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        if written.is_ready() {
            self.link.written();
        }
        written
    }
}
