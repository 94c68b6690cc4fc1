//! Leave to have a payload in memory for an attempt, out of a number of bytes: granted in turn by endpoint, and at most half
//! of it to those that answer slowly or have not answered yet. Small ones need no leave: the number of requests in flight
//! bounds them.

use std::collections::{HashMap, VecDeque};

use crate::{EndpointId, Pace};

/// Payloads of so many bytes or fewer need no leave.
pub const SMALL_PAYLOAD: usize = 16 << 10;

/// Bytes that one attempt holds. Given back through [`ByteTurns::give_back`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct ByteShare {
    bytes: usize,
    pace: Pace,
}

/// Who holds how many bytes, and who waits for some. `W` is how whoever waits is told.
#[derive(Debug)]
pub struct ByteTurns<W> {
    total: usize,
    used: usize,
    used_slow: usize,
    brisk: Line<W>,
    slow: Line<W>,
}

/// Wishes, one endpoint after another.
#[derive(Debug)]
struct Line<W> {
    turns: VecDeque<EndpointId>,
    wishes: HashMap<EndpointId, VecDeque<(usize, W)>>,
}

impl<W> ByteTurns<W> {
    /// So many bytes in all. A payload that is larger waits until nobody else holds any, and goes then.
    pub fn new(total: usize) -> Self {
        Self { total, used: 0, used_slow: 0, brisk: Line::new(), slow: Line::new() }
    }

    /// An attempt wants so many.
    pub fn ask(&mut self, endpoint: EndpointId, pace: Pace, bytes: usize, waiter: W) {
        match pace {
            Pace::Brisk => self.brisk.ask(endpoint, bytes, waiter),
            Pace::Unproven | Pace::Slow => self.slow.ask(endpoint, bytes, waiter),
        }
    }

    /// Whose turn it is, if there is room. Ask again until `None`. Nobody passes one that does not fit yet, or a large
    /// payload would wait for ever; but slow ones wait for themselves alone.
    pub fn poll_grant(&mut self) -> Option<(ByteShare, W)> {
        let (total, used, used_slow) = (self.total, self.used, self.used_slow);
        let fits = |bytes: usize| used == 0 || used.saturating_add(bytes) <= total;
        let fits_slow = |bytes: usize| used_slow == 0 || used_slow.saturating_add(bytes) <= total / 2;
        let (pace, (bytes, waiter)) = match self.brisk.first() {
            Some(bytes) if fits(bytes) => (Pace::Brisk, self.brisk.next()?),
            Some(_) => return None,
            None => match self.slow.first() {
                Some(bytes) if fits(bytes) && fits_slow(bytes) => (Pace::Slow, self.slow.next()?),
                Some(_) | None => return None,
            },
        };
        self.used = self.used.saturating_add(bytes);
        if pace != Pace::Brisk {
            self.used_slow = self.used_slow.saturating_add(bytes);
        }
        Some((ByteShare { bytes, pace }, waiter))
    }

    /// An attempt is over.
    pub fn give_back(&mut self, share: &ByteShare) {
        self.used = self.used.saturating_sub(share.bytes);
        if share.pace != Pace::Brisk {
            self.used_slow = self.used_slow.saturating_sub(share.bytes);
        }
    }

    /// Bytes that attempts hold.
    pub const fn used(&self) -> usize {
        self.used
    }
}

impl<W> Line<W> {
    fn new() -> Self {
        Self { turns: VecDeque::new(), wishes: HashMap::new() }
    }

    fn ask(&mut self, endpoint: EndpointId, bytes: usize, waiter: W) {
        let wishes = self.wishes.entry(endpoint).or_default();
        if wishes.is_empty() {
            self.turns.push_back(endpoint);
        }
        wishes.push_back((bytes, waiter));
    }

    /// How much the next one wants.
    fn first(&self) -> Option<usize> {
        let wishes = self.wishes.get(self.turns.front()?)?;
        wishes.front().map(|(bytes, _)| *bytes)
    }

    fn next(&mut self) -> Option<(usize, W)> {
        let endpoint = self.turns.pop_front()?;
        let wishes = self.wishes.get_mut(&endpoint)?;
        let next = wishes.pop_front();
        if wishes.is_empty() {
            self.wishes.remove(&endpoint);
        } else {
            self.turns.push_back(endpoint);
        }
        next
    }
}

#[cfg(test)]
mod tests;
