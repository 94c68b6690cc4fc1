//! A receiver that takes everything at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use http::StatusCode;

use crate::{AttemptRequest, AttemptResponse, Transport, TransportError};

/// Answers 200 at once, and counts. Cheap to clone; clones are the same receiver.
#[derive(Clone, Debug, Default)]
pub struct NullTransport(Arc<AtomicU64>);

impl NullTransport {
    /// One that has got nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests that came.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Transport for NullTransport {
    async fn send(&self, _request: AttemptRequest) -> Result<AttemptResponse, TransportError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(AttemptResponse::of(StatusCode::OK))
    }
}
