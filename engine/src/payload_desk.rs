//! Where attempts wait for the memory that their payload takes, as a value that gives itself back: by a ring when it is
//! dropped, as permits do.
//!
//! Memory comes first, then the permit: an attempt that held a permit while it waits for memory would keep it from
//! requests that need no memory at all.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use postrider_core::{ApplicationId, ByteShare, ByteTurns, EndpointId, Pace};
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
    /// Room for a payload if there is some now, and no other turn comes first.
    pub(crate) fn room_at_once(
        self: &Arc<Self>,
        (application, endpoint): (ApplicationId, EndpointId),
        pace: Pace,
        bytes: usize,
    ) -> Result<HeldBytes, oneshot::Receiver<HeldBytes>> {
        let (waiter, mut granted) = oneshot::channel();
        self.payload_desk.lock().ask(application, endpoint, pace, bytes, waiter);
        self.grant_bytes();
        granted.try_recv().map_err(|_not_yet| granted)
    }

    pub(crate) fn grant_bytes(self: &Arc<Self>) {
        loop {
            let Some((share, waiter)) = self.payload_desk.lock().poll_grant() else { return };
            let held = HeldBytes { inner: Arc::clone(self), share: Some(share) };
            let unwanted = waiter.send(held).err();
            if let Some(share) = unwanted.and_then(|mut held| held.share.take()) {
                self.payload_desk.lock().give_back(&share);
            }
        }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        let Some(share) = self.share.take() else { return };
        let is_wanted = {
            let mut desk = self.inner.payload_desk.lock();
            desk.give_back(&share);
            desk.waiting() > 0
        };
        if is_wanted {
            self.inner.given_back.notify_one();
        }
    }
}

impl fmt::Debug for HeldBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldBytes").field(&self.share).finish()
    }
}
