//! Tells operators of dead letters that were made because a queue was full.
//!
//! Only the store knows that a queue is full, and only while it accepts an event: these cannot be told in the commit of what
//! they are about, as all others are. They are told in the next one, those of one endpoint together: the first at once, what
//! follows at most every minute, with how many there were. Until that is stored it is noted in memory, over failures of the
//! store, and a shutdown stores it. Only a crash between the two commits keeps it from being told: at most the letters of the
//! last minute. They are in the list of dead letters all the same, and the next one is told again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{Batch, EndpointId, EventId, GiveUpReason, Timestamp, Write};
use serde_json::json;
use tokio::{sync::Notify, time::sleep};

use crate::inner::Inner;

/// Between two words about one endpoint.
const QUIET: Duration = Duration::from_secs(60);
/// Endpoints that are told of in one commit.
const AT_ONCE: usize = 100;
/// After the store was not there.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What is to be told.
#[derive(Debug, Default)]
pub(crate) struct FullQueues {
    letters: Mutex<Letters>,
    /// Rung when there is something to tell at once.
    bell: Notify,
}

/// By endpoint; those of which nothing was told for a while are not there.
#[derive(Debug, Default)]
struct Letters(BTreeMap<EndpointId, Untold>);

/// Dead letters of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Untold {
    letters: u64,
    last: EventId,
    /// They are told of then.
    tell_at: Timestamp,
}

impl Letters {
    /// One more; says whether it is to be told at once.
    fn died(&mut self, endpoint: EndpointId, event: EventId, now: Timestamp) -> bool {
        let untold = self.0.entry(endpoint).or_insert(Untold { letters: 0, last: event, tell_at: now });
        (untold.letters, untold.last) = (untold.letters + 1, event);
        untold.letters == 1 && untold.tell_at <= now
    }

    /// What is to be told now, of some of them.
    fn due(&mut self, now: Timestamp) -> Vec<(EndpointId, Untold)> {
        self.0.retain(|_, untold| untold.letters > 0 || now < untold.tell_at);
        let is_due = |untold: &Untold| untold.letters > 0 && untold.tell_at <= now;
        let due = self.0.iter_mut().filter(|(_, untold)| is_due(untold)).take(AT_ONCE);
        due.map(|(endpoint, untold)| (*endpoint, std::mem::replace(untold, untold.told(now)))).collect()
    }

    /// It was not stored.
    fn not_told(&mut self, endpoint: EndpointId, missed: Untold, now: Timestamp) {
        let untold = self.0.entry(endpoint).or_insert(missed.told(now));
        (untold.letters, untold.tell_at) = (untold.letters + missed.letters, now + AFTER_FAILURE);
    }

    /// When to look.
    fn next(&self) -> Option<Timestamp> {
        self.0.values().map(|untold| untold.tell_at).min()
    }
}

impl Untold {
    fn told(self, now: Timestamp) -> Self {
        Self { letters: 0, tell_at: now + QUIET, ..self }
    }
}

impl FullQueues {
    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells what there is to tell until the engine ends.
pub(crate) async fn tell(inner: Arc<Inner>) {
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = tell_on(&inner) => {}
    }
}

async fn tell_on(inner: &Inner) {
    loop {
        inner.tell_of_full_queues().await;
        let next = inner.full_queues.letters().next();
        let rest = next.map(|at| at.since(inner.clock.now()));
        tokio::select! {
            () = inner.full_queues.bell.notified() => {}
            () = sleep(rest.unwrap_or_default()), if rest.is_some() => {}
        }
    }
}

impl Inner {
    /// An event was accepted to which this endpoint's queue was full.
    pub(crate) fn queue_was_full(&self, endpoint: EndpointId, event: EventId) {
        if self.has_operators() && self.full_queues.letters().died(endpoint, event, self.clock.now()) {
            self.full_queues.bell.notify_one();
        }
    }

    async fn tell_of_full_queues(&self) {
        loop {
            let due = self.full_queues.letters().due(self.clock.now());
            if due.is_empty() {
                return;
            }
            let writes: Vec<_> = due.iter().filter_map(|(endpoint, full)| self.word_of(*endpoint, full)).collect();
            if writes.is_empty() {
                // Nobody wants to hear it.
                continue;
            }
            if !matches!(self.commits.submit_own(Batch::synced(writes)).answer().await, Ok(Ok(_))) {
                let (now, mut letters) = (self.clock.now(), self.full_queues.letters());
                due.into_iter().for_each(|(endpoint, missed)| letters.not_told(endpoint, missed, now));
            }
        }
    }

    /// The last words: whatever was not told yet, in a batch of the committer's own. None if there is nothing.
    pub(crate) fn last_of_full_queues(&self) -> Option<Batch> {
        let untold = std::mem::take(&mut *self.full_queues.letters()).0;
        let untold = untold.into_iter().filter(|(_, full)| full.letters > 0);
        let writes: Vec<_> = untold.filter_map(|(endpoint, full)| self.word_of(endpoint, &full)).collect();
        (!writes.is_empty()).then(|| Batch::synced(writes))
    }

    fn word_of(&self, endpoint: EndpointId, full: &Untold) -> Option<Write> {
        let data = json!({
            "msgId": full.last.to_string(),
            "reason": format!("{:?}", GiveUpReason::QueueFull),
            "attempts": 0,
            "lastStatusCode": null,
            "deadLetters": full.letters,
        });
        self.told(self.news_about(endpoint, "message.dead_lettered", data)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: EndpointId = EndpointId::from_bytes([1; 20]);
    const OTHER: EndpointId = EndpointId::from_bytes([2; 20]);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn event(n: u8) -> EventId {
        EventId::from_bytes([n; 20])
    }

    fn told(letters: &mut Letters, now: u64) -> Vec<(EndpointId, u64, EventId)> {
        letters.due(at(now)).into_iter().map(|(endpoint, full)| (endpoint, full.letters, full.last)).collect()
    }

    #[test]
    fn the_first_is_told_at_once_and_what_follows_together() {
        let mut letters = Letters::default();
        assert!(letters.died(ONE, event(1), at(100)));
        assert_eq!(told(&mut letters, 100), [(ONE, 1, event(1))]);
        for n in 2..50 {
            assert!(!letters.died(ONE, event(n), at(110)), "it is quiet for a minute");
        }
        assert!(letters.died(OTHER, event(9), at(120)), "of each endpoint by itself");
        assert_eq!(told(&mut letters, 120), [(OTHER, 1, event(9))]);
        assert_eq!((letters.next(), told(&mut letters, 159)), (Some(at(160)), Vec::new()));
        assert_eq!(told(&mut letters, 160), [(ONE, 48, event(49))]);
        assert_eq!((told(&mut letters, 220), letters.next()), (Vec::new(), None), "nothing is left behind");
    }

    #[test]
    fn what_was_not_stored_is_told_again_with_what_came_meanwhile() {
        let mut letters = Letters::default();
        letters.died(ONE, event(1), at(100));
        let due = letters.due(at(100));
        letters.died(ONE, event(2), at(101));
        due.into_iter().for_each(|(endpoint, missed)| letters.not_told(endpoint, missed, at(130)));
        assert_eq!(told(&mut letters, 130), []);
        assert_eq!(told(&mut letters, 131), [(ONE, 2, event(2))]);
    }

    #[test]
    fn many_endpoints_are_told_of_some_at_a_time() {
        let mut letters = Letters::default();
        let endpoint = |n: u8| EndpointId::from_bytes([n; 20]);
        for n in 0..=200 {
            letters.died(endpoint(n), event(n), at(1));
        }
        let rounds = [0; 3].map(|_| told(&mut letters, 1).len());
        assert_eq!(rounds, [AT_ONCE, AT_ONCE, 1]);
        assert_eq!(told(&mut letters, 1), []);
    }
}
