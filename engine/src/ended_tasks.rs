//! Forgets tasks that ended as long ago as events that are forgotten, with the counts that are kept beside them.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use postrider_core::{
    ApplicationId, Batch, Document, DocumentId, DocumentKind, Guard, Task, TaskStatus, Timestamp, Write,
};
use postrider_storage::DocumentQuery;
use tokio::time::sleep;
use tracing::warn;

use crate::{inner::Inner, tasks::part_of};

/// Tasks read at once.
const PAGE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
/// Behind all tasks of an organisation.
const LAST: &str = "~";
/// After the start, when others have more to do.
const FIRST_LOOK: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// After the store was not there.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Forgets what is old until the engine ends.
pub(crate) async fn forget_old(inner: Arc<Inner>) {
    let work = async {
        sleep(FIRST_LOOK).await;
        loop {
            let forgot = inner.forget_old_tasks().await;
            sleep(if forgot.is_some() { LOOK_EVERY } else { AFTER_FAILURE }).await;
        }
    };
    tokio::select! {
        () = inner.lifecycle.closing() => {}
        () = work => {}
    }
}

impl Inner {
    /// Of each organisation from its oldest task up to the first that is young. None if it could not be done now.
    async fn forget_old_tasks(&self) -> Option<()> {
        let mut query = DocumentQuery::all(DocumentKind::Task);
        loop {
            let found = self.store.opened().await.reads().documents(&query, PAGE).await.ok()?;
            let Some(last) = found.last() else { return Some(()) };
            query.after = Some(last.id.clone());
            for document in &found {
                // One that makes no sense is told of where somebody asks for it.
                let Ok(task) = serde_json::from_slice::<Task>(&document.value) else { continue };
                if !self.is_past_retention(task.created_at) {
                    query.after = Some(DocumentId::new(DocumentKind::Task, document.id.organisation, LAST));
                    break;
                }
                if task.status != TaskStatus::Running && self.is_past_retention(task.updated_at) {
                    self.forget_task(document, &task).await?;
                }
            }
        }
    }

    fn is_past_retention(&self, since: Timestamp) -> bool {
        since + self.limits.retention <= self.clock.now()
    }

    async fn forget_task(&self, stored: &Document, task: &Task) -> Option<()> {
        let parts = (0..task.parts).map(|number| part_of(task, number));
        let drops = [stored.id.clone()].into_iter().chain(parts).map(Write::DropDocument);
        let batch = Batch::synced(drops).guarded(Guard::Document(stored.id.clone(), stored.revision)).relaxed();
        let turns_of = ApplicationId::from_bytes(task.organisation.to_bytes());
        if let Err(refused) = self.commits.submit_for(turns_of, batch).answer().await.ok()? {
            warn!(task = %task.id, ?refused, "old task is not forgotten");
        }
        Some(())
    }
}
