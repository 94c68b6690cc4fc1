#[cfg(feature = "testing")]
mod cost;
mod counted;
mod damaged;
mod equivalence;
mod forgetting;
#[cfg(feature = "testing")]
mod steps;

use std::{
    error::Error,
    ops::Range,
    sync::atomic::{AtomicU8, Ordering},
};

use bytes::Bytes;
use postrider_core::{EndpointId, Guard, Refused, Timestamp, Write};

use super::*;
use crate::kv::MemoryKv;

type Failed = Box<dyn Error>;

const FINE: u8 = 0;
const FAILS: u8 = 1;
const PANICS: u8 = 2;

/// Rows in memory over a medium of their own, to which only synced writes and those before them come.
#[derive(Clone, Debug, Default)]
struct Medium {
    live: MemoryKv,
    synced: MemoryKv,
    waiting: Arc<Mutex<Vec<Row>>>,
    mood: Arc<AtomicU8>,
}

impl OrderedKv for Medium {
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.live.snapshot()
    }

    fn write(&self, rows: &[Row], durability: Durability) -> Result<(), StoreError> {
        match self.mood.load(Ordering::Relaxed) {
            FAILS => return Err(StoreError::new(StoreErrorKind::Unavailable, "write", "no space left")),
            PANICS => panic!("a bug in a backend"),
            _ => self.live.write(rows, durability)?,
        }
        let mut waiting = self.waiting.lock().expect("no test panics with it");
        waiting.extend_from_slice(rows);
        if durability == Durability::Synced {
            self.synced.write(&std::mem::take(&mut *waiting), durability)?;
        }
        Ok(())
    }

    fn partitions(&self) -> Result<Vec<Partition>, StoreError> {
        self.live.partitions()
    }

    fn drop_partition(&self, partition: Partition) -> Result<(), StoreError> {
        self.live.drop_partition(partition)
    }

    fn blocks(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn positions_are_not_drawn_again_after_a_power_cut() -> Result<(), Failed> {
    // A redrive was committed relaxed, its position was told, and the power went: the next opening gave that position
    // to another delivery, which met what the first one had left outside. Positions are reserved in blocks, synced.
    let medium = Medium::default();
    let store = KvStore::over(medium.clone())?;
    let drawn = equivalence::accept_relaxed(&store).await?;
    let after_the_cut = Medium { live: medium.synced.clone(), ..Medium::default() };
    let again = equivalence::accept_relaxed(&KvStore::over(after_the_cut)?).await?;
    assert!(drawn < again, "{drawn:?} and {again:?}");
    Ok(())
}

#[tokio::test]
async fn a_panic_in_a_backend_is_a_failure_of_the_store() -> Result<(), Failed> {
    let (medium, store) = broken(PANICS).await?;
    let failed = store.commit(Arc::new([]), Durability::Synced).await.expect_err("the backend panics");
    assert_eq!(failed.kind(), StoreErrorKind::Poisoned);
    medium.mood.store(FINE, Ordering::Relaxed);
    let failed = store.commit(Arc::new([]), Durability::Synced).await.expect_err("nobody knows what is stored");
    assert_eq!(failed.kind(), StoreErrorKind::Poisoned);
    store.reopen()?;
    assert!(store.commit(Arc::new([]), Durability::Synced).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_written_until_it_is_opened_again() -> Result<(), Failed> {
    let (medium, store) = broken(FAILS).await?;
    let failed = store.commit(Arc::new([]), Durability::Synced).await.expect_err("the disk is full");
    assert_eq!(failed.kind(), StoreErrorKind::Unavailable, "the cause is told once");
    medium.mood.store(FINE, Ordering::Relaxed);
    assert!(store.commit(Arc::new([]), Durability::Synced).await.is_err());
    assert!(KvStore::over(medium)?.commit(Arc::new([]), Durability::Synced).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_damaged_row_refuses_only_the_batch_that_needs_it() -> Result<(), Failed> {
    // A row that could not be decoded under one guard failed its whole group, which was committed again after the
    // reopening, and failed again, for ever. Now that batch alone is refused.
    let medium = MemoryKv::default();
    let world = equivalence::Ids::new();
    drop(KvStore::over(medium.clone())?);
    let damaged = Key::Routing(world.application);
    medium
        .write(&[(damaged.partition(), damaged.bytes().into(), Some(Bytes::from_static(b"?")))], Durability::Synced)?;
    let store = KvStore::over(medium)?;
    let wake = || Batch::synced([Write::Wake(world.endpoint, None, Some(world.now))]);
    let group = [wake().guarded(Guard::Routing(world.application, 0)), wake()];
    let verdicts = store.commit(Arc::new(group), Durability::Synced).await?;
    assert_eq!(verdicts[0], Err(Refused::Corrupt));
    assert!(verdicts[1].is_ok());
    Ok(())
}

#[test]
fn rows_of_an_unknown_format_are_refused_with_words() -> Result<(), Failed> {
    let format = |written_by, readable_from| {
        let mut value = Vec::new();
        codec::encode(&FormatRow { written_by, readable_from }, &mut value);
        (Key::Meta(meta::FORMAT).bytes(), value)
    };
    check_opening(format(1, 1), None)?;
    check_opening(format(9, 1), None)?;
    check_opening(format(9, 8), Some("its rows have format 9, which needs a program that knows format 8"))?;
    check_opening((b"E-something".to_vec(), b"?".to_vec()), Some("it holds rows, but does not say of which format"))
}

fn check_opening((key, value): (Vec<u8>, Vec<u8>), refused: Option<&str>) -> Result<(), Failed> {
    let kv = MemoryKv::default();
    kv.write(&[(Partition::LASTING, key.into(), Some(value.into()))], Durability::Synced)?;
    match (KvStore::over(kv), refused) {
        (Ok(_), None) => Ok(()),
        (Err(error), Some(why)) => {
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            assert!(source.starts_with(why), "{source}");
            Ok(())
        }
        (opened, refused) => panic!("{opened:?}, not {refused:?}"),
    }
}

async fn broken(mood: u8) -> Result<(Medium, KvStore<Medium>), StoreError> {
    let medium = Medium::default();
    let store = KvStore::over(medium.clone())?;
    medium.mood.store(mood, Ordering::Relaxed);
    Ok((medium, store))
}

/// Every row, to compare stores.
fn rows_of(kv: &impl OrderedKv) -> Result<Vec<(Partition, Bytes, Bytes)>, StoreError> {
    let mut partitions = kv.partitions()?;
    partitions.sort_unstable();
    let snapshot = kv.snapshot()?;
    let mut all = Vec::new();
    for partition in partitions {
        let keys: Range<&[u8]> = b""..b"\xff";
        let rows = snapshot.scan(partition, keys, Direction::Forward, NonZeroUsize::MAX)?;
        all.extend(rows.into_iter().map(|(key, value)| (partition, key, value)));
    }
    Ok(all)
}

/// One damaged row among those that say who is to be looked at kept every endpoint asleep.
#[tokio::test]
async fn a_damaged_wake_row_keeps_nobody_else_asleep() -> Result<(), Failed> {
    let medium = MemoryKv::default();
    let store = KvStore::over(medium.clone())?;
    let (soon, later) = (EndpointId::from_bytes([1; 20]), EndpointId::from_bytes([2; 20]));
    let at = |second: u64| Timestamp::from_nanos(second * 1_000_000_000);
    let wakes = [Write::Wake(soon, None, Some(at(1))), Write::Wake(later, None, Some(at(3)))];
    let done = store.commit(Arc::new([Batch::synced(wakes)]), Durability::Synced).await?;
    assert!(done.iter().all(Result::is_ok));
    let cut_short = Bytes::from([&b"W"[..], &at(2).as_nanos().to_be_bytes(), b"torn"].concat());
    let garbled = Key::Wake(at(1), soon);
    let garbage = Some(Bytes::from_static(b"\xff\xff\xff"));
    let rows =
        [(Partition::LASTING, cut_short, garbage.clone()), (garbled.partition(), garbled.bytes().into(), garbage)];
    medium.write(&rows, Durability::Synced)?;
    let all = NonZeroUsize::MIN.saturating_add(9);
    assert_eq!(store.wakes(None, at(9), all).await?, [(at(1), soon), (at(3), later)]);
    Ok(())
}
