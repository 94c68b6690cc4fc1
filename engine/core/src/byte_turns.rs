//! Leave to have a payload in memory for an attempt, out of a number of bytes: granted in turn by application, then
//! endpoint, and at most half of it to those that answer slowly or have not answered yet. Small ones need no leave: the
//! number of requests in flight bounds them.
//!
//! As with permits the half is a bound and no order, and no application has so much that nothing is left for another.
//! No payload passes one for which there is no room yet, or a large one would wait for ever; except where the
//! application of that one holds some: it waits for its own alone, as the slow wait for the slow.

use std::collections::HashMap;

use crate::{
    ApplicationId, EndpointId, Pace,
    endpoint_turns::{EndpointTurns, Line, SHARE, Turn, is_within_share},
};

/// Payloads of so many bytes or fewer need no leave.
pub const SMALL_PAYLOAD: usize = 16 << 10;

/// Bytes that one attempt holds. Given back through [`ByteTurns::give_back`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct ByteShare {
    application: ApplicationId,
    bytes: usize,
    line: Line,
}

/// Who holds how many bytes, and who waits for some. `W` is how whoever waits is told.
#[derive(Debug)]
pub struct ByteTurns<W> {
    total: usize,
    used: Used,
    held: HashMap<ApplicationId, Used>,
    wishes: EndpointTurns<(usize, W)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    all: usize,
    slow: usize,
}

impl<W> ByteTurns<W> {
    /// So many bytes in all. A payload that is larger waits until nobody else holds any, and goes then.
    pub fn new(total: usize) -> Self {
        Self { total, used: Used::default(), held: HashMap::new(), wishes: EndpointTurns::new() }
    }

    /// An attempt wants so many.
    pub fn ask(&mut self, application: ApplicationId, endpoint: EndpointId, pace: Pace, bytes: usize, waiter: W) {
        let line = match pace {
            Pace::Brisk => Line::Brisk,
            Pace::Unproven | Pace::Slow => Line::Slow,
        };
        self.wishes.ask(line, application, endpoint, (bytes, waiter));
    }

    /// Whose turn it is, if there is room. Ask again until `None`.
    pub fn poll_grant(&mut self) -> Option<(ByteShare, W)> {
        let (total, used, held) = (self.total, self.used, &self.held);
        let (line, application, _, (bytes, waiter)) = self.wishes.next(|line, application, (bytes, _)| {
            let held = held.get(&application).copied().unwrap_or_default();
            let gives_back = match line {
                Line::Brisk => held.all > held.slow,
                Line::Unproven | Line::Slow => held.slow > 0,
            };
            let is_in_half = line == Line::Brisk || fit(*bytes, held.slow, used.slow, total / 2);
            match (is_in_half && fit(*bytes, held.all, used.all, total), is_in_half && !gives_back) {
                (true, _) => Turn::Granted,
                (false, true) => Turn::Waits,
                (false, false) => Turn::PassedOver,
            }
        })?;
        let share = ByteShare { application, bytes, line };
        self.used.add(&share);
        self.held.entry(application).or_default().add(&share);
        Some((share, waiter))
    }

    /// An attempt is over.
    pub fn give_back(&mut self, share: &ByteShare) {
        self.used.take_out(share);
        if let Some(held) = self.held.get_mut(&share.application) {
            held.take_out(share);
            if held.all == 0 {
                self.held.remove(&share.application);
            }
        }
    }

    /// Bytes that attempts hold.
    pub const fn used(&self) -> usize {
        self.used.all
    }

    /// Attempts that wait.
    pub const fn waiting(&self) -> usize {
        self.wishes.len()
    }
}

/// Whether there is room for so many more bytes in `total`, of which `used` are taken, `held` of them by the application
/// that asks.
const fn fit(bytes: usize, held: usize, used: usize, total: usize) -> bool {
    let is_room = used == 0 || used.saturating_add(bytes) <= total;
    is_room && (held == 0 || is_within_share(held, total.saturating_sub(used), SHARE))
}

impl Used {
    fn add(&mut self, share: &ByteShare) {
        self.all = self.all.saturating_add(share.bytes);
        if share.line == Line::Slow {
            self.slow = self.slow.saturating_add(share.bytes);
        }
    }

    fn take_out(&mut self, share: &ByteShare) {
        self.all = self.all.saturating_sub(share.bytes);
        if share.line == Line::Slow {
            self.slow = self.slow.saturating_sub(share.bytes);
        }
    }
}

#[cfg(test)]
mod tests;
