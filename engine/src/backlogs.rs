//! Tells operators that an endpoint's backlog is old: its oldest delivery that was never tried has waited for too long,
//! whatever holds it. Told once; and again only after it was young, or the engine was started anew.
//!
//! ```text
//! not known ── its actor starts ──► young ── looked: old ──► old, and told
//!     ▲                            │     ▲                     │
//!     └─ looked: nothing waits, ───┘     └─── looked: young ───┘
//!        and no actor is up
//! ```
//!
//! Whoever has something to do has an actor, or had one and left a wake row. So an endpoint is looked at when its actor
//! started long enough ago, with one read, and then as seldom as it can get old; of one that has nothing to do, nothing is
//! known and nothing is read. What was there before this engine is found by its wake rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use postrider_core::{
    AgedKey, Ask, Batch, Delivery, Endpoint, EndpointId, EventId, Found, LaneId, Seq, Timestamp, Trigger, WindowShare,
};
use postrider_storage::StoreError;
use serde_json::json;
use tokio::{sync::Notify, time::sleep};

use crate::inner::Inner;

/// A delivery that waits for so long makes a backlog old.
const IS_OLD: Duration = Duration::from_secs(3600);
/// One endpoint is looked at no more often.
const REST: Duration = Duration::from_secs(60);
/// Endpoints looked at before others have their turn.
const AT_ONCE: usize = 64;
const BREATH: Duration = Duration::from_millis(10);
/// After the store was not there.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// Rows of one read.
const SHARE: WindowShare = WindowShare { rows: NonZeroUsize::MIN.saturating_add(255), event_bytes: 0, at_hand: None };
const PAGE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);
/// In front of what was never tried: what waits for a time is not looked through.
const NEVER_TRIED: AgedKey = AgedKey::Lane(LaneId::WHOLE, Seq(0));

/// Whose backlog is looked at, and when.
#[derive(Debug)]
pub(crate) struct Backlogs {
    watch: Mutex<Watch>,
    bell: Notify,
    /// There may be some of which no actor of this engine knows.
    is_unsearched: AtomicBool,
}

/// When to look at whom.
#[derive(Debug, Default)]
struct Watch {
    known: BTreeMap<EndpointId, Known>,
    looks: BTreeSet<(Timestamp, EndpointId)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    age: Age,
    next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Young,
    /// And operators know.
    Old,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Look(Timestamp),
    /// Somebody looks just now.
    Looking,
    /// And its actor was started meanwhile.
    LookingAndStarted,
}

/// What somebody saw who looked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// Something waits, and gets old then.
    Young(Timestamp),
    /// This event has waited since then.
    Old(EventId, Timestamp),
}

impl Watch {
    /// It may have something to do: it is looked at then, unless that is planned already. Says whether somebody must be told.
    fn may_wait(&mut self, endpoint: EndpointId, look: Timestamp) -> bool {
        match self.known.get_mut(&endpoint) {
            Some(known) => {
                if known.next == Next::Looking {
                    known.next = Next::LookingAndStarted;
                }
                false
            }
            None => {
                self.plan(endpoint, Age::Young, look);
                self.looks.first().is_some_and(|(first, _)| *first == look)
            }
        }
    }

    fn plan(&mut self, endpoint: EndpointId, age: Age, look: Timestamp) {
        self.known.insert(endpoint, Known { age, next: Next::Look(look) });
        self.looks.insert((look, endpoint));
    }

    fn next(&self) -> Option<Timestamp> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// Who is to be looked at now, some of them. Each look has an answer.
    fn due(&mut self, now: Timestamp) -> Vec<EndpointId> {
        let due: Vec<_> = self.looks.iter().take_while(|(at, _)| *at <= now).take(AT_ONCE).copied().collect();
        for (at, endpoint) in &due {
            self.looks.remove(&(*at, *endpoint));
            self.known.entry(*endpoint).and_modify(|known| known.next = Next::Looking);
        }
        due.into_iter().map(|(_, endpoint)| endpoint).collect()
    }

    /// What was seen; whether an actor is up was asked after that. Says whether it is to be told.
    fn seen(&mut self, endpoint: EndpointId, seen: &Seen, is_up: bool, now: Timestamp) -> bool {
        let Some(known) = self.known.get(&endpoint).copied() else { return false };
        match seen {
            Seen::Nothing if !is_up && known.next == Next::Looking => drop(self.known.remove(&endpoint)),
            Seen::Nothing => self.plan(endpoint, Age::Young, now + IS_OLD),
            Seen::Young(old_at) => self.plan(endpoint, Age::Young, (*old_at).max(now + REST)),
            Seen::Old(..) => self.plan(endpoint, Age::Old, now + IS_OLD),
        }
        matches!(seen, Seen::Old(..)) && known.age == Age::Young
    }

    /// It could not be looked at, or not be told.
    fn again(&mut self, endpoint: EndpointId, look: Timestamp) {
        if let Some(Known { next: Next::Look(at), .. }) = self.known.get(&endpoint) {
            self.looks.remove(&(*at, endpoint));
        }
        let age = self.known.get(&endpoint).map_or(Age::Young, |known| known.age);
        self.plan(endpoint, age, look);
    }

    /// Nobody was told, after all.
    fn not_told(&mut self, endpoint: EndpointId, look: Timestamp) {
        self.again(endpoint, look);
        self.known.entry(endpoint).and_modify(|known| known.age = Age::Young);
    }

    /// It is gone.
    fn forget(&mut self, endpoint: EndpointId) {
        if let Some(Known { next: Next::Look(at), .. }) = self.known.remove(&endpoint) {
            self.looks.remove(&(at, endpoint));
        }
    }
}

impl Default for Backlogs {
    fn default() -> Self {
        Self { watch: Mutex::default(), bell: Notify::new(), is_unsearched: AtomicBool::new(true) }
    }
}

impl Backlogs {
    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operators are there now, and were not before.
    pub(crate) fn search(&self) {
        self.is_unsearched.store(true, Ordering::Relaxed);
        self.bell.notify_one();
    }
}

/// Looks at whom it is time to look at until the engine ends.
pub(crate) async fn watch(inner: Arc<Inner>) {
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = watch_on(&inner) => {}
    }
}

async fn watch_on(inner: &Inner) {
    loop {
        if inner.has_operators() && inner.backlogs.is_unsearched.swap(false, Ordering::Relaxed) {
            inner.search_backlogs().await;
        }
        let due = inner.backlogs.watch().due(inner.clock.now());
        if !due.is_empty() {
            for endpoint in due {
                inner.look_at_backlog(endpoint).await;
            }
            sleep(BREATH).await;
            continue;
        }
        let next = inner.backlogs.watch().next();
        let rest = next.map(|at| at.since(inner.clock.now()));
        tokio::select! {
            () = inner.backlogs.bell.notified() => {}
            () = sleep(rest.unwrap_or_default()), if rest.is_some() => {}
        }
    }
}

impl Inner {
    /// Its actor starts: there is something to do, or was.
    pub(crate) fn may_have_backlog(&self, endpoint: EndpointId) {
        if self.has_operators() && self.backlogs.watch().may_wait(endpoint, self.clock.now() + IS_OLD) {
            self.backlogs.bell.notify_one();
        }
    }

    /// Whoever has something to do and no actor has a wake row.
    async fn search_backlogs(&self) {
        let mut after = None;
        loop {
            let read = self.store.opened().await.reads().wakes(after, Timestamp::MAX, PAGE).await;
            let Ok(rows) = read else {
                sleep(AFTER_FAILURE).await;
                continue;
            };
            let Some(last) = rows.last() else { return };
            after = Some(*last);
            let (now, mut watch) = (self.clock.now(), self.backlogs.watch());
            for (_, endpoint) in &rows {
                watch.may_wait(*endpoint, now);
            }
        }
    }

    async fn look_at_backlog(&self, endpoint: EndpointId) {
        let Some(record) = self.registry.endpoint(endpoint).filter(|_| self.has_operators()) else {
            return self.backlogs.watch().forget(endpoint);
        };
        let Ok(seen) = self.backlog_of(&record).await else {
            return self.backlogs.watch().again(endpoint, self.clock.now() + AFTER_FAILURE);
        };
        let is_up = self.directory.lock(endpoint).known(endpoint).is_some_and(|place| place.slot.is_occupied());
        let now = self.clock.now();
        let is_news = self.backlogs.watch().seen(endpoint, &seen, is_up, now);
        let (true, Seen::Old(event, since)) = (is_news, seen) else { return };
        let data = json!({ "msgId": event.to_string(), "waitedSeconds": now.since(since).as_secs() });
        let word = self.news_about(endpoint, "endpoint.backlog.old", data).and_then(|news| self.told(news));
        // Nobody wants to hear it now; perhaps later.
        let Some(word) = word else { return self.backlogs.watch().not_told(endpoint, now + IS_OLD) };
        if !matches!(self.commits.submit_own(Batch::synced([word])).answer().await, Ok(Ok(_))) {
            self.backlogs.watch().not_told(endpoint, self.clock.now() + AFTER_FAILURE);
        }
    }

    /// How old it is, by what was never tried: what was and failed is told of by its failures.
    async fn backlog_of(&self, endpoint: &Endpoint) -> Result<Seen, StoreError> {
        let (now, mut after, mut young) = (self.clock.now(), NEVER_TRIED, None::<Timestamp>);
        loop {
            let ask = Ask::Aged(now.earlier_by(IS_OLD), after);
            let store = self.store.opened().await;
            let found = store.reads().window(endpoint.id, endpoint.generation, ask, SHARE).await?;
            let Found::Aged(found) = found else { return Ok(Seen::Nothing) };
            let is_untried = |delivery: &&Delivery| delivery.attempts == 0 && delivery.trigger() == Trigger::Scheduled;
            if let Some(old) = found.rows.iter().find(is_untried) {
                return Ok(Seen::Old(old.event, old.since));
            }
            // What is old and was tried waits, too, and something young may get old behind it.
            let old_at = found.oldest.map(|since| since + IS_OLD).or((!found.rows.is_empty()).then_some(now + IS_OLD));
            young = [young, old_at].into_iter().flatten().min();
            let Some(next) = found.next else { return Ok(young.map_or(Seen::Nothing, Seen::Young)) };
            after = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: EndpointId = EndpointId::from_bytes([1; 20]);
    const OTHER: EndpointId = EndpointId::from_bytes([2; 20]);
    const HOUR: u64 = 3600;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    const fn old() -> Seen {
        Seen::Old(EventId::from_bytes([7; 20]), Timestamp::from_nanos(0))
    }

    /// Looks when it is time; says when that was, and whether it is to be told.
    fn look(watch: &mut Watch, seen: &Seen, is_up: bool) -> Option<(u64, bool)> {
        let now = watch.next()?;
        assert_eq!(watch.due(now), [ONE]);
        Some((now.as_nanos() / 1_000_000_000, watch.seen(ONE, seen, is_up, now)))
    }

    #[test]
    fn an_old_backlog_is_told_once_until_it_was_young() {
        let mut watch = Watch::default();
        assert!(watch.may_wait(ONE, at(HOUR)));
        assert_eq!(look(&mut watch, &Seen::Young(at(HOUR + 100)), false), Some((HOUR, false)));
        assert_eq!(look(&mut watch, &old(), false), Some((HOUR + 100, true)));
        assert_eq!(look(&mut watch, &old(), false), Some((2 * HOUR + 100, false)));
        assert_eq!(look(&mut watch, &Seen::Young(at(4 * HOUR)), true), Some((3 * HOUR + 100, false)));
        assert_eq!(look(&mut watch, &old(), false), Some((4 * HOUR, true)));
        assert_eq!(look(&mut watch, &Seen::Nothing, true), Some((5 * HOUR, false)));
        assert_eq!(look(&mut watch, &old(), true), Some((6 * HOUR, true)), "it was empty meanwhile");
    }

    #[test]
    fn one_that_has_nothing_to_do_is_not_looked_at_any_more() {
        let mut watch = Watch::default();
        watch.may_wait(ONE, at(HOUR));
        assert_eq!(look(&mut watch, &Seen::Nothing, true), Some((HOUR, false)));
        assert_eq!(look(&mut watch, &Seen::Nothing, false), Some((2 * HOUR, false)));
        assert!(watch.next().is_none() && watch.known.is_empty());
        watch.may_wait(ONE, at(3 * HOUR));
        assert_eq!(watch.due(at(3 * HOUR)), [ONE]);
        watch.may_wait(ONE, at(4 * HOUR));
        watch.seen(ONE, &Seen::Nothing, false, at(3 * HOUR));
        assert_eq!(watch.next(), Some(at(4 * HOUR)), "its actor came and went while somebody looked");
    }

    #[test]
    fn one_that_gets_old_often_is_looked_at_seldom() {
        let mut watch = Watch::default();
        watch.may_wait(ONE, at(HOUR));
        assert_eq!(look(&mut watch, &Seen::Young(at(HOUR + 1)), true), Some((HOUR, false)));
        assert_eq!(watch.next(), Some(at(HOUR) + REST));
    }

    #[test]
    fn what_was_not_told_is_told_later_and_one_that_is_gone_never() {
        let mut watch = Watch::default();
        assert!(watch.may_wait(ONE, at(10)) && !watch.may_wait(OTHER, at(20)), "the first look is to be told");
        assert_eq!(watch.due(at(10)), [ONE]);
        assert!(watch.seen(ONE, &old(), false, at(10)));
        watch.not_told(ONE, at(15));
        assert_eq!(watch.due(at(15)), [ONE]);
        watch.again(ONE, at(16));
        assert_eq!(watch.due(at(16)), [ONE]);
        assert!(watch.seen(ONE, &old(), false, at(16)));
        watch.forget(ONE);
        assert_eq!((watch.due(at(HOUR * 9)), watch.next()), (vec![OTHER], None));
    }
}
