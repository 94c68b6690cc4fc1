//! A body whose frames go through a function on their way, each with as many bytes as before. The one of `http-body-util`
//! forgets how long the body is, and its function cannot fail.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// The body, with each of its frames as `through` gives it. What that holds is held until the body is dropped.
pub(super) fn each_frame<F>(inner: Body, through: F) -> Body
where
    F: FnMut(Frame<Bytes>) -> Result<Frame<Bytes>, axum::Error> + Send + Unpin + 'static,
{
    Body::new(EachFrame { inner, through })
}

struct EachFrame<F> {
    inner: Body,
    through: F,
}

impl<F> HttpBody for EachFrame<F>
where
    F: FnMut(Frame<Bytes>) -> Result<Frame<Bytes>, axum::Error> + Unpin,
{
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        polled.map(|frame| frame.map(|frame| frame.and_then(&mut self.through)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    /// Whoever counts what an answer takes counts this.
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
