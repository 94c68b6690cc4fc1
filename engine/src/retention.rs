//! Forgets what is old: week by week, whole, behind everything else. What dead letters and later lives still need is put
//! where it lasts before its week goes.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Weak},
    time::Duration,
};

use postrider_core::{ApplicationId, Batch, More, Week, Write};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::inner::Inner;

/// Needed events in one piece: each may be as large as a payload may be.
const PIECE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
/// Between two pieces: nobody waits for them, and each is a sync that others wait for.
const BETWEEN: Duration = Duration::from_millis(10);
/// After the start, when others have more to do.
const FIRST_LOOK: Duration = Duration::from_secs(60);
/// One week at most is forgotten in so long: a clock that is set forward erases nothing at once.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// After the store was not there.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// It is done for all of them, in turns of its own.
const LINE: ApplicationId = ApplicationId::from_bytes([0; 20]);

enum Looked {
    /// Nothing is old enough.
    Nothing,
    Forgot(Week),
    NotNow,
}

/// Forgets what is old until the engine ends.
pub(crate) async fn retain(inner: Arc<Inner>) {
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = retain_on(&inner) => {}
    }
}

async fn retain_on(inner: &Inner) {
    sleep(FIRST_LOOK).await;
    let mut last = None;
    loop {
        match inner.forget_next(last).await {
            Looked::Nothing => sleep(LOOK_EVERY).await,
            Looked::Forgot(week) => {
                last = Some(week);
                sleep(LOOK_EVERY).await;
            }
            Looked::NotNow => sleep(AFTER_FAILURE).await,
        }
    }
}

impl Inner {
    /// The oldest after the last one that was forgotten, and then the oldest: what is tried again of a week that is gone brings
    /// it back, and those after it have their turn all the same.
    async fn forget_next(&self, last: Option<Week>) -> Looked {
        let opened = self.store.opened().await;
        // Not held: a store that is let go of could not be opened again.
        let looked_at = Arc::downgrade(&opened);
        let weeks = opened.reads().weeks().await;
        drop(opened);
        let Ok(weeks) = weeks else { return Looked::NotNow };
        let is_old = |week: &Week| week.end() + self.limits.retention <= self.clock.now();
        let mut old = weeks.iter().copied().filter(is_old);
        let Some(oldest) = old.next() else { return Looked::Nothing };
        let week = [oldest].into_iter().chain(old).find(|week| Some(*week) > last).unwrap_or(oldest);
        loop {
            let piece = Batch::synced([Write::Rescue(week, PIECE)]);
            match self.commits.submit_for(LINE, piece).answer().await.map(|verdict| verdict.map(|done| done.more())) {
                Ok(Ok(Some(More::Yes))) => sleep(BETWEEN).await,
                Ok(Ok(Some(More::No))) => break,
                Ok(Ok(None) | Err(_)) | Err(_) => return Looked::NotNow,
            }
        }
        let Ok(store) = self.store.get() else { return Looked::NotNow };
        // What was looked at counts only for a store that was not opened again since: then it is begun anew.
        if !Weak::ptr_eq(&looked_at, &Arc::downgrade(&store)) {
            return Looked::NotNow;
        }
        match store.forget(week).await {
            Ok(()) => {
                info!(week = week.0, "events of a week are forgotten");
                Looked::Forgot(week)
            }
            Err(error) => {
                warn!(week = week.0, error = &error as &dyn std::error::Error, "week is not forgotten yet");
                Looked::NotNow
            }
        }
    }
}
