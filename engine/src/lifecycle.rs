//! Whether the engine takes requests: it runs, its store is away, or it ends.
//!
//! ```text
//! Running ◄──► Stalled
//!    │            │
//!    └─► Closing ◄┘ ──► Closed
//! ```

use std::time::Duration;

use tokio::sync::watch;

use crate::CommitError;

/// What a caller is told to wait while the store is away.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(10);

/// What the engine does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EngineState {
    /// It takes events and sends them.
    Running,
    /// Its store failed and is being opened again: nothing is taken, nothing new is sent.
    Stalled,
    /// It takes no more, and finishes what is in flight.
    Closing,
    /// It has ended, and let go of its store.
    Closed,
}

/// The one place that knows, and tells everybody who waits for a change.
#[derive(Debug)]
pub(crate) struct Lifecycle(watch::Sender<EngineState>);

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(EngineState::Running))
    }

    pub(crate) fn state(&self) -> EngineState {
        *self.0.borrow()
    }

    /// Whether requests of callers are taken.
    pub(crate) fn gate(&self) -> Result<(), CommitError> {
        match self.state() {
            EngineState::Running => Ok(()),
            EngineState::Stalled => Err(CommitError::Unavailable { retry_after: RETRY_AFTER }),
            EngineState::Closing | EngineState::Closed => Err(CommitError::ShuttingDown),
        }
    }

    /// The store failed. Says whether it is to be opened again: not by an engine that ends.
    pub(crate) fn stall(&self) -> bool {
        self.step(|state| match state {
            EngineState::Running | EngineState::Stalled => Some(EngineState::Stalled),
            EngineState::Closing | EngineState::Closed => None,
        })
    }

    /// The store is open again. Says whether anybody needs it: not an engine that ends.
    pub(crate) fn resume(&self) -> bool {
        self.step(|state| match state {
            EngineState::Running | EngineState::Stalled => Some(EngineState::Running),
            EngineState::Closing | EngineState::Closed => None,
        })
    }

    /// Says whether this call was the first.
    pub(crate) fn close(&self) -> bool {
        self.step(|state| match state {
            EngineState::Running | EngineState::Stalled => Some(EngineState::Closing),
            EngineState::Closing | EngineState::Closed => None,
        })
    }

    pub(crate) fn closed(&self) {
        self.0.send_replace(EngineState::Closed);
    }

    /// When the engine begins to end.
    pub(crate) async fn closing(&self) {
        self.reached(EngineState::Closing).await;
    }

    /// When the engine has ended.
    pub(crate) async fn ended(&self) {
        self.reached(EngineState::Closed).await;
    }

    async fn reached(&self, wanted: EngineState) {
        let mut changes = self.0.subscribe();
        let _the_sender_is_ours = changes.wait_for(|state| *state >= wanted).await;
    }

    fn step(&self, next: impl FnOnce(EngineState) -> Option<EngineState>) -> bool {
        let mut stepped = false;
        self.0.send_modify(|state| {
            if let Some(next) = next(*state) {
                *state = next;
                stepped = true;
            }
        });
        stepped
    }
}
