//! Where attempts wait for the memory that their payload takes, as a value that gives itself back.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use postrider_core::{ByteShare, ByteTurns, EndpointId, Pace};
use tokio::sync::oneshot;

use crate::inner::Inner;

/// Where bytes are asked for.
#[derive(Debug)]
pub(crate) struct PayloadDesk(Mutex<ByteTurns<oneshot::Sender<HeldBytes>>>);

/// Leave to hold a payload in memory. Gives itself back when it is dropped.
pub(crate) struct HeldBytes {
    inner: Arc<Inner>,
    share: Option<ByteShare>,
}

impl PayloadDesk {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Mutex::new(ByteTurns::new(bytes)))
    }

    /// Bytes that attempts hold.
    #[cfg(all(test, feature = "testing"))]
    pub(crate) fn used(&self) -> usize {
        self.lock().used()
    }

    fn lock(&self) -> MutexGuard<'_, ByteTurns<oneshot::Sender<HeldBytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Waits until there is room for a payload. Whoever stops waiting takes no room.
    pub(crate) async fn room_for_payload(
        self: &Arc<Self>,
        endpoint: EndpointId,
        pace: Pace,
        bytes: usize,
    ) -> Option<HeldBytes> {
        let (waiter, granted) = oneshot::channel();
        self.payload_desk.lock().ask(endpoint, pace, bytes, waiter);
        self.grant_bytes();
        granted.await.ok()
    }

    fn grant_bytes(self: &Arc<Self>) {
        loop {
            let Some((share, waiter)) = self.payload_desk.lock().poll_grant() else { return };
            let held = HeldBytes { inner: Arc::clone(self), share: Some(share) };
            if let Err(mut unwanted) = waiter.send(held) {
                // Not by dropping it: that would grant, and so on.
                if let Some(share) = unwanted.share.take() {
                    self.payload_desk.lock().give_back(&share);
                }
            }
        }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        let Some(share) = self.share.take() else { return };
        self.inner.payload_desk.lock().give_back(&share);
        self.inner.grant_bytes();
    }
}

impl fmt::Debug for HeldBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldBytes").field(&self.share).finish()
    }
}
