//! Whether the disk has room for events: outcomes of those that are taken must still fit.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use postrider_core::Timestamp;

/// The system is asked no more often than this.
const ASK_EVERY: Duration = Duration::from_secs(1);

type Ask = dyn Fn() -> Option<u64> + Send + Sync;

/// Whether the disk has room for events.
pub(crate) struct FreeSpace {
    ask: Option<Arc<Ask>>,
    last: Mutex<Option<(Timestamp, bool)>>,
}

impl FreeSpace {
    /// Nobody can tell, and there is always room.
    pub(crate) fn unknown() -> Self {
        Self { ask: None, last: Mutex::new(None) }
    }

    pub(crate) fn asking(ask: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        Self { ask: Some(Arc::new(ask)), last: Mutex::new(None) }
    }

    /// Whether at least so many bytes are free.
    pub(crate) fn has(&self, bytes_min: u64, now: Timestamp) -> bool {
        let Some(ask) = &self.ask else { return true };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((asked, answer)) if now.since(asked) < ASK_EVERY => answer,
            Some(_) | None => {
                let answer = ask().is_none_or(|free| free >= bytes_min);
                *last = Some((now, answer));
                answer
            }
        }
    }
}

impl fmt::Debug for FreeSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreeSpace").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_system_is_asked_once_a_second() {
        let asked = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&asked);
        let space = FreeSpace::asking(move || Some(counted.fetch_add(1, Ordering::Relaxed)));
        let at = |millis: u64| Timestamp::from_nanos(millis * 1_000_000);
        assert!(!space.has(1, at(0)), "none are free");
        assert!(!space.has(1, at(999)), "as it was said before");
        assert!(space.has(1, at(1_000)));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
