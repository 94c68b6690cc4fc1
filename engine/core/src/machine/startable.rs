//! Which deliveries may start at one moment, as far as that is not for their order to say.

use std::time::Duration;

use super::flights::Flights;
use crate::{Delivery, Timestamp, Trigger};

/// Which deliveries may start.
#[derive(Clone, Copy)]
pub(super) struct Startable<'m> {
    pub(super) flights: &'m Flights,
    /// Whoever is older is ended, and not sent.
    pub(super) age_max: Duration,
    pub(super) now: Timestamp,
    /// The breaker is open: its probe may be a try by hand, and nothing else.
    pub(super) only_by_hand: bool,
}

impl Startable<'_> {
    pub(super) fn has(&self, delivery: &Delivery) -> bool {
        let is_by_hand = delivery.trigger() == Trigger::Manual;
        (is_by_hand || !self.only_by_hand)
            && !self.flights.is_busy(delivery.id.seq)
            && self.now < delivery.since + self.age_max
    }
}
