//! An outcome that cannot be stored because rows beside it make no sense: its delivery waits, and it is committed again and
//! again until a person has mended them.
//!
//! To go on without it would send the delivery again, and what waits behind it too early. So nobody answers its machine:
//! the delivery stays in flight, its lane waits, and the endpoint gets no other actor before.

use std::{sync::Arc, time::Duration};

use postrider_core::{Batch, CommandId, Ended, EndpointId, Input, Refused};
use tokio::time::sleep;
use tracing::error;

use crate::{EngineState, Notice, inner::Inner};

/// Until such an outcome is committed again; doubles to [`AGAIN_MAX`].
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(300);

impl Inner {
    /// A step was refused because stored rows make no sense.
    pub(crate) fn step_is_damaged(self: &Arc<Self>, endpoint: EndpointId, id: CommandId, batch: Batch) {
        error!(%endpoint, ?id, "stored rows make no sense, a person must look: the delivery waits");
        let is_outcome = match id {
            CommandId::Step(_) | CommandId::Manual(_) => true,
            CommandId::Disable | CommandId::Soft | CommandId::Note => false,
        };
        let (wait, is_first) = {
            let mut table = self.directory.lock(endpoint);
            let Some(place) = table.known(endpoint) else { return };
            let is_first = place.damaged.is_empty();
            let wait = place.damaged.get(&id).map_or(AGAIN_FIRST, |wait| (*wait * 2).min(AGAIN_MAX));
            place.damaged.insert(id, wait);
            (wait, is_first)
        };
        if is_first && let Some(about) = self.about(endpoint) {
            self.notify(Notice::Damaged { about });
        }
        if !is_outcome || self.lifecycle.state() >= EngineState::Closing {
            return self.step_is_refused(endpoint, id);
        }
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = inner.lifecycle.closing() => inner.step_is_refused(endpoint, id),
                () = sleep(wait) => inner.commits.step(endpoint, id, batch),
            }
        });
    }

    fn step_is_refused(self: &Arc<Self>, endpoint: EndpointId, id: CommandId) {
        let refused: Result<Ended, Refused> = Err(Refused::Corrupt);
        self.with_known_slot(endpoint, |slot| slot.post(Input::Committed(id, refused)));
    }
}
