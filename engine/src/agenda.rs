//! Does what was put off: deliveries of events that were published for a later time begin, and payloads that were to be
//! kept for less than others are forgotten.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use postrider_core::{AgendaItem, AgendaKind, Batch, Event, Recipient, Refused, Replay, ReplayTo, Timestamp, Write};
use postrider_storage::StoreError;
use tokio::time::sleep;
use tracing::error;

use crate::inner::Inner;

/// Items that are looked at together.
const AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);
/// What is put off is looked for at least so often, whatever is said of it.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After the store was not there.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Does what is due until the engine ends.
pub(crate) async fn keep(inner: Arc<Inner>) {
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = keep_on(&inner) => {}
    }
}

async fn keep_on(inner: &Inner) {
    loop {
        match inner.do_what_is_due().await {
            Ok(Some(wait)) => {
                tokio::select! {
                    () = inner.put_off.notified() => {}
                    () = sleep(wait.min(LOOK_EVERY)) => {}
                }
            }
            Ok(None) => {}
            Err(_) => sleep(AFTER_FAILURE).await,
        }
    }
}

impl Inner {
    /// How long until there is more to do; none if there is now.
    async fn do_what_is_due(&self) -> Result<Option<Duration>, StoreError> {
        let now = self.clock.now();
        let next = self.store.opened().await.reads().agenda(Timestamp::MAX, AT_ONCE).await?;
        let wait = next.first().map_or(LOOK_EVERY, |first| first.at.since(now));
        let mut due = next.into_iter().take_while(|item| item.at <= now).peekable();
        if due.peek().is_none() {
            return Ok(Some(wait));
        }
        let mut has_failed = false;
        for item in due {
            has_failed |= !self.do_item(item).await?;
        }
        Ok(has_failed.then_some(AFTER_FAILURE))
    }

    /// Says whether it is done.
    async fn do_item(&self, item: AgendaItem) -> Result<bool, StoreError> {
        let AgendaItem { what, application, event, .. } = item;
        let mut writes = match what {
            AgendaKind::Deliver => {
                let found = self.store.opened().await.reads().event(application, event).await?;
                found.map(|found| self.begin_deliveries(item, &found.event)).unwrap_or_default()
            }
            AgendaKind::Expunge => vec![Write::Expunge(application, event)],
        };
        writes.push(Write::Agenda(item));
        let verdict = match self.commits.submit_own(Batch::synced(writes)).answer().await {
            // It is gone already.
            Ok(Err(Refused::NoEvent)) => self.commits.submit_own(Batch::synced([Write::Agenda(item)])).answer().await,
            verdict => verdict,
        };
        match verdict {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(refused)) => {
                // An endpoint was changed meanwhile: it is planned anew.
                if refused == Refused::Corrupt {
                    error!(%event, "stored rows make no sense, a person must look");
                }
                Ok(false)
            }
            Err(_) => Ok(false),
        }
    }

    /// Whoever wants it now gets it: its deliveries begin as if it were published now.
    fn begin_deliveries(&self, item: AgendaItem, event: &Event) -> Vec<Write> {
        let AgendaItem { application, event: id, .. } = item;
        let at = self.clock.now();
        let begins = |to: Recipient| {
            let (endpoint, generation, whom) = (to.endpoint, to.generation, ReplayTo::Missing);
            // Its publisher has gone: there is nobody to refuse it to.
            let limit = Some(to.queue.deliveries);
            Write::Replay(Replay { application, event: id, endpoint, generation, at, whom, limit })
        };
        let routes = self.registry.routes_of(application);
        routes.map(|routes| routes.recipients(event).into_iter().map(begins).collect()).unwrap_or_default()
    }
}
