//! L2: no attempt of a later delivery in a lane before the end of its predecessor is durable.

use postrider_core::{Delivery, Place};

use crate::ledger::Ledger;

pub(super) fn request(ledger: &Ledger, delivery: &Delivery) -> Result<(), String> {
    if !matches!(delivery.place, Place::Lane { .. }) {
        return Ok(());
    }
    match ledger.unended_before(delivery) {
        Some(before) => Err(format!("{:?} while {before:?} has not durably ended", delivery.id)),
        None => Ok(()),
    }
}
