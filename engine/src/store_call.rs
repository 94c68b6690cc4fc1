//! Bounds what is asked of a store: one that does not answer in time, or panics, has failed.

use std::{future::Future, time::Duration};

use postrider_storage::{StoreError, StoreErrorKind};
use tokio::time::timeout;

use crate::catch::catch;

/// A store that takes longer has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The answer of a store that was asked to `op` ("read the queue"), in time, and whatever it does.
pub(crate) async fn answer_of<T>(
    op: &'static str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match timeout(ANSWER_WITHIN, catch(call)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(panic)) => Err(StoreError::new(StoreErrorKind::Poisoned, op, panic)),
        Err(elapsed) => Err(StoreError::new(StoreErrorKind::Unavailable, op, elapsed)),
    }
}
