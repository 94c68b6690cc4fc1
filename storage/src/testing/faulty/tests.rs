use std::{panic::AssertUnwindSafe, task::Poll};

use postrider_core::{SplitMix, Write};

use super::*;
use crate::{MemoryStore, testing::run};

const NOW: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

#[test]
fn commits_fail_at_planned_numbers_across_openings() {
    let rows = MemoryStore::new();
    let faulty = Faulty::new(rows.clone(), [(2, Fault::Refuse), (3, Fault::LoseAnswer)]);
    run(rows, async |rows: &dyn OpenStore| {
        let store = faulty.open().await.expect("it opens");
        assert!(store.commit(wake(1), Durability::Synced).await.is_ok());
        assert!(store.commit(wake(2), Durability::Synced).await.is_err(), "the second");
        let store = faulty.open().await.expect("it opens again");
        assert!(store.commit(wake(3), Durability::Synced).await.is_err(), "the third");
        assert!(store.commit(wake(4), Durability::Synced).await.is_ok());
        assert_eq!(faulty.commits(), 4);
        let stored = rows.open().await.expect("it opens");
        let stored = stored.reads().wakes(None, Timestamp::MAX, NonZeroUsize::MAX).await.expect("reads work");
        let endpoints: Vec<_> = stored.iter().map(|(_, endpoint)| *endpoint).collect();
        let mut expected = [1, 3, 4].map(endpoint);
        expected.sort_unstable();
        assert_eq!(endpoints, expected, "all but the one that was refused");
    });
}

#[test]
fn a_hanging_commit_is_stored_and_a_panic_stores_nothing() {
    let rows = MemoryStore::new();
    let faulty = Faulty::new(rows.clone(), [(1, Fault::Hang), (2, Fault::Panic)]);
    run(rows, async |rows: &dyn OpenStore| {
        let store = faulty.open().await.expect("it opens");
        let mut hangs = store.commit(wake(1), Durability::Synced);
        let polled = poll_fn(|context| Poll::Ready(hangs.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        let mut panics = store.commit(wake(2), Durability::Synced);
        let torn = poll_fn(|context| {
            Poll::Ready(std::panic::catch_unwind(AssertUnwindSafe(|| panics.as_mut().poll(context))).is_err())
        });
        assert!(torn.await);
        let stored = rows.open().await.expect("it opens");
        let stored = stored.reads().wakes(None, Timestamp::MAX, NonZeroUsize::MAX).await.expect("reads work");
        assert_eq!(stored, [(NOW, endpoint(1))]);
    });
}

#[test]
fn reads_fail_at_planned_numbers() {
    let faulty = Faulty::new(MemoryStore::new(), []).reads([(1, ReadFault::Refuse), (3, ReadFault::Corrupt)]);
    run(faulty, async |faulty: &dyn OpenStore| {
        let store = faulty.open().await.expect("it opens");
        let read = async || store.reads().endpoint(endpoint(1)).await.map_err(|error| error.kind());
        assert_eq!(read().await, Err(StoreErrorKind::Unavailable));
        assert_eq!(read().await, Ok(None));
        assert_eq!(read().await, Err(StoreErrorKind::Corrupt));
    });
}

#[test]
fn a_late_read_shows_what_was_there_halfway() {
    let faulty = Faulty::new(MemoryStore::new(), []).reads([(1, ReadFault::Late(3))]);
    run(faulty, async |faulty: &dyn OpenStore| {
        let store = faulty.open().await.expect("it opens");
        let mut late = store.reads().wakes(None, Timestamp::MAX, NonZeroUsize::MAX);
        for n in 1..=3 {
            let polled = poll_fn(|context| Poll::Ready(late.as_mut().poll(context))).await;
            assert!(polled.is_pending());
            assert!(store.commit(wake(n), Durability::Synced).await.is_ok());
        }
        assert_eq!(late.await.expect("it is late, and no more"), [(NOW, endpoint(1))]);
    });
}

fn endpoint(n: u64) -> EndpointId {
    EndpointId::new(NOW, &mut SplitMix::new(n))
}

fn wake(n: u64) -> Arc<[Batch]> {
    Arc::new([Batch::synced([Write::Wake(endpoint(n), None, Some(NOW))])])
}
