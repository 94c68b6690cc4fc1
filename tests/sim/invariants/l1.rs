//! L1: in a lane, first attempts happen in `Seq` order.

use std::collections::BTreeMap;

use postrider_core::{Delivery, EndpointId, Generation, LaneId, Place, Seq};

/// The last first attempt in each lane.
#[derive(Debug, Default)]
pub(super) struct FirstAttempts(BTreeMap<(EndpointId, Generation, LaneId), Seq>);

impl FirstAttempts {
    /// After a crash the last one may come again.
    pub(super) fn request(&mut self, delivery: &Delivery) -> Result<(), String> {
        let is_first = delivery.attempts == 0 && matches!(delivery.place, Place::Lane { .. });
        if !is_first {
            return Ok(());
        }
        let last = self.0.entry((delivery.id.endpoint, delivery.generation, delivery.lane)).or_insert(Seq(0));
        // One that held its lane begins again in its old place, and nothing behind it has begun meanwhile.
        if delivery.id.seq < *last {
            return Err(format!("{:?} after {last:?}", delivery.id));
        }
        *last = delivery.id.seq;
        Ok(())
    }
}
