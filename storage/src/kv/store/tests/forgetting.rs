//! A week may take long to go: nobody waits for it.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use tokio::time::timeout;

use super::*;

/// Nothing here takes that long.
const PATIENCE: Duration = Duration::from_secs(20);
const WEEK: Week = Week(2_900);

/// Rows in memory, whose partitions go when they are told to.
#[derive(Debug)]
struct SlowlyDropped {
    rows: MemoryKv,
    begun: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl OrderedKv for SlowlyDropped {
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.rows.snapshot()
    }

    fn write(&self, rows: &[Row], durability: Durability) -> Result<(), StoreError> {
        self.rows.write(rows, durability)
    }

    fn partitions(&self) -> Result<Vec<Partition>, StoreError> {
        self.rows.partitions()
    }

    fn drop_partition(&self, partition: Partition) -> Result<(), StoreError> {
        let _it_is_waited_for = self.begun.send(());
        let _nobody_holds_it_any_more = self.go_on.lock().expect("one drops").recv();
        self.rows.drop_partition(partition)
    }
}

/// The writer was held while the files of a week were removed: half a second a gigabyte, every week.
#[tokio::test]
async fn others_commit_and_read_while_a_week_is_forgotten() -> Result<(), Failed> {
    let ((begun, begins), (goes_on, go_on)) = (channel(), channel());
    let kv = SlowlyDropped { rows: MemoryKv::default(), begun, go_on: Mutex::new(go_on) };
    let store = KvStore::over(kv)?;
    let forgetting = tokio::spawn({
        let store = store.clone();
        async move { store.forget(WEEK).await }
    });
    tokio::task::spawn_blocking(move || begins.recv_timeout(PATIENCE)).await??;
    timeout(PATIENCE, store.commit(Arc::new([Batch::synced([])]), Durability::Synced)).await??;
    timeout(PATIENCE, store.reads().weeks()).await??;
    assert!(!forgetting.is_finished());
    goes_on.send(())?;
    timeout(PATIENCE, forgetting).await???;
    Ok(())
}
