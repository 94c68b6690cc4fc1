use std::{fs, num::NonZeroUsize, path::Path, sync::Arc};

use bytes::Bytes;
use tempfile::tempdir;

use super::*;
use crate::kv::Direction;

type Failed = Box<dyn Error>;

const WEEK: Partition = Partition(2_900);

fn row(key: &'static str) -> Row {
    (WEEK, Bytes::from_static(key.as_bytes()), Some(Bytes::from_static(b"1")))
}

#[test]
fn reading_makes_no_partition() -> Result<(), Failed> {
    let folder = tempdir()?;
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    kv.write(&[row("a")], Durability::Synced)?;
    for number in 1_000..1_050 {
        let snapshot = kv.snapshot()?;
        assert_eq!(snapshot.get(Partition(number), b"a")?, None);
        assert!(snapshot.scan(Partition(number), b"a"..b"b", Direction::Backward, NonZeroUsize::MIN)?.is_empty());
        kv.drop_partition(Partition(number))?;
    }
    assert_eq!(kv.database.keyspace_count(), 2, "the week, and where claims are kept");
    Ok(())
}

#[test]
fn a_snapshot_keeps_what_is_written_dropped_and_begun_after_it_out_of_sight() -> Result<(), Failed> {
    let folder = tempdir()?;
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    kv.write(&[row("a")], Durability::Synced)?;
    let before = kv.snapshot()?;
    kv.write(&[row("b"), (Partition(7), Bytes::from_static(b"c"), Some(Bytes::new()))], Durability::Synced)?;
    assert_eq!((before.get(WEEK, b"b")?, before.get(Partition(7), b"c")?), (None, None));
    kv.drop_partition(WEEK)?;
    kv.write(&[row("d")], Durability::Synced)?;
    let rows = before.scan(WEEK, b"a"..b"z", Direction::Forward, NonZeroUsize::MAX)?;
    assert_eq!(rows, [("a".into(), "1".into())]);
    Ok(())
}

#[test]
fn what_is_not_synced_yet_is_not_visible() -> Result<(), Failed> {
    let folder = tempdir()?;
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    kv.write(&[row("a")], Durability::Synced)?;
    // As far as a write has come before its sync.
    kv.database.keyspace(&name(WEEK), KeyspaceCreateOptions::default)?.insert("b", "1")?;
    assert_eq!(kv.snapshot()?.get(WEEK, b"b")?, None);
    kv.write(&[], Durability::Synced)?;
    assert_eq!(kv.snapshot()?.get(WEEK, b"b")?.as_deref(), Some(&b"1"[..]));
    Ok(())
}

#[test]
fn a_journal_is_written_once_more_where_there_is_no_room_for_a_fresh_file() -> Result<(), Failed> {
    let folder = tempdir()?;
    let path = folder.path().join("7.jnl");
    let bytes = (0..3 << 20).map(|at: u32| (at % 253) as u8).collect::<Vec<_>>();
    fs::write(&path, &bytes)?;
    let mut file = fs::File::options().read(true).write(true).open(&path)?;
    assert_eq!(journal::written_bytes(&mut file)?, 3 << 20);
    journal::write_once_more(&mut file, (5 << 19) + 1)?;
    assert!(fs::read(&path)? == bytes);
    Ok(())
}

#[test]
fn a_dropped_partition_leaves_the_disk() -> Result<(), Failed> {
    let folder = tempdir()?;
    let keyspaces = |folder: &Path| fs::read_dir(folder.join("fjall/keyspaces")).map(Iterator::count);
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    kv.write(&[row("a")], Durability::Synced)?;
    drop(kv);
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    assert_eq!(keyspaces(folder.path())?, 3);
    kv.drop_partition(WEEK)?;
    drop(kv);
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    assert_eq!((keyspaces(folder.path())?, kv.database.keyspace_count()), (2, 1));
    Ok(())
}

/// Removing the files of a week takes half a second a gigabyte, under the lock that every commit needs.
#[test]
fn the_files_of_a_dropped_partition_go_when_no_lock_is_held() -> Result<(), Failed> {
    let folder = tempdir()?;
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    kv.write(&[row("a")], Durability::Synced)?;
    let files = kv.written().latest.keyspaces[&WEEK].path().to_owned();
    let taken = kv.without_partition(WEEK)?;
    assert!(kv.journal.try_lock().is_ok() && kv.written.try_lock().is_ok() && files.exists());
    drop(taken);
    assert!(!files.exists());
    Ok(())
}

#[test]
fn a_disk_without_room_for_this_user_is_full() {
    // ENOSPC, EDQUOT and EIO.
    let full = [28, 122, 5].map(|number| journal::is_full(&io::Error::from_raw_os_error(number)));
    assert_eq!(full, [true, true, false]);
}

/// The library seals a journal by itself. An error of its pages may be told to its own file alone, and then to nobody who
/// syncs the next journal.
#[test]
fn an_error_that_only_the_library_heard_of_fails_the_sync_of_the_next_journal() -> Result<(), Failed> {
    let folder = tempdir()?;
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    kv.write(&[row("a")], Durability::Synced)?;
    let begun = kv.begin(&[row("b")], Durability::Synced)?.ok_or("it is not settled")?;
    let week = kv.written().latest.keyspaces[&WEEK].clone();
    let tables = week.path().join("tables");
    fs::remove_dir_all(&tables)?;
    fs::write(&tables, "")?;
    week.rotate_memtable()?;
    let began = std::time::Instant::now();
    while kv.database.persist(PersistMode::Buffer).is_ok() {
        assert!(began.elapsed().as_secs() < 60, "the library hears of it");
        std::thread::yield_now();
    }
    fs::write(folder.path().join("fjall/1.jnl"), "")?;
    let failed = kv.settle(begun).expect_err("it may not be durable");
    assert_eq!((failed.kind(), failed.op()), (StoreErrorKind::Poisoned, "sync"));
    Ok(())
}

#[test]
fn after_a_failed_write_every_call_answers_poisoned_until_it_is_opened_again() -> Result<(), Failed> {
    let folder = tempdir()?;
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    kv.write(&[row("a")], Durability::Synced)?;
    // No partition can be made where its folder should be.
    let (keyspaces, aside) = (folder.path().join("fjall/keyspaces"), folder.path().join("fjall/aside"));
    fs::rename(&keyspaces, &aside)?;
    fs::write(&keyspaces, "")?;
    let elsewhere = (Partition(7), Bytes::from_static(b"a"), Some(Bytes::new()));
    let first = kv.write(&[row("b"), elsewhere.clone()], Durability::Synced).expect_err("it fails");
    assert_eq!((first.kind(), first.op()), (StoreErrorKind::Unavailable, "make a partition"));
    assert!(first.source().is_some());
    fs::remove_file(&keyspaces)?;
    fs::rename(&aside, &keyspaces)?;
    let kind = |done: Result<(), StoreError>| done.map_err(|error| error.kind());
    assert_eq!(kind(kv.write(&[row("c")], Durability::Relaxed)), Err(StoreErrorKind::Poisoned));
    assert_eq!(kind(kv.drop_partition(WEEK)), Err(StoreErrorKind::Poisoned));
    assert_eq!(kind(kv.drop_partition(Partition(8))), Err(StoreErrorKind::Poisoned));
    assert_eq!(kv.snapshot().map(drop).map_err(|error| error.kind()), Err(StoreErrorKind::Poisoned));
    drop(kv);
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    assert_eq!(kv.snapshot()?.get(WEEK, b"a")?.as_deref(), Some(&b"1"[..]));
    kv.write(&[elsewhere], Durability::Synced)?;
    Ok(())
}

#[test]
fn a_panic_in_the_library_is_an_error() -> Result<(), Failed> {
    let folder = tempdir()?;
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    // An empty key, which the contract forbids.
    let error = kv.write(&[row("")], Durability::Synced).expect_err("fjall asserts");
    assert_eq!(error.kind(), StoreErrorKind::Poisoned);
    drop(kv);
    FjallKv::open(&Fjall::at(folder.path()))?;
    Ok(())
}

#[test]
fn a_second_opener_in_the_same_process_is_locked_out() -> Result<(), Failed> {
    let folder = tempdir()?;
    let kv = Arc::new(FjallKv::open(&Fjall::at(folder.path()))?);
    let error = FjallKv::open(&Fjall::at(folder.path())).expect_err("one at a time");
    assert_eq!(error.kind(), StoreErrorKind::Locked);
    drop(kv);
    FjallKv::open(&Fjall::at(folder.path()))?;
    Ok(())
}

#[test]
fn opening_writes_what_the_journal_holds_into_a_fresh_file() -> Result<(), Failed> {
    use std::os::unix::fs::MetadataExt;
    let folder = tempdir()?;
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    kv.write(&[row("a")], Durability::Synced)?;
    drop(kv);
    let inode = || -> Result<u64, Failed> {
        let journal = journal::newest(&folder.path().join("fjall"))?.ok_or("a journal")?;
        Ok(fs::metadata(journal)?.ino())
    };
    let before = inode()?;
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    assert_ne!(inode()?, before);
    assert_eq!(kv.snapshot()?.get(WEEK, b"a")?.as_deref(), Some(&b"1"[..]));
    Ok(())
}

/// What is begun is in nobody's hands when its sync fails: nothing that was begun by then is seen, and nothing more is begun.
#[test]
fn after_a_failed_sync_nothing_that_was_begun_is_seen() -> Result<(), Failed> {
    let folder = tempdir()?;
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    kv.write(&[row("a")], Durability::Synced)?;
    let first = kv.begin(&[row("b")], Durability::Synced)?.ok_or("it is not settled")?;
    let second = kv.begin(&[row("c")], Durability::Relaxed)?.ok_or("it is not settled")?;
    // The newest journal is the one that is synced, and this one cannot be.
    let newest = folder.path().join("fjall/999.jnl");
    fs::create_dir(&newest)?;
    let failed = kv.settle(first).expect_err("it cannot be synced");
    assert_eq!(failed.op(), "sync");
    let kind = |done: Result<(), StoreError>| done.map_err(|error| error.kind());
    assert_eq!(kind(kv.settle(second)), Err(StoreErrorKind::Poisoned));
    assert_eq!(kind(kv.begin(&[row("d")], Durability::Relaxed).map(drop)), Err(StoreErrorKind::Poisoned));
    assert_eq!(kind(kv.snapshot().map(drop)), Err(StoreErrorKind::Poisoned));
    drop(kv);
    fs::remove_dir(&newest)?;
    let kv = FjallKv::open(&Fjall::at(folder.path()))?;
    assert_eq!(kv.snapshot()?.get(WEEK, b"a")?.as_deref(), Some(&b"1"[..]));
    Ok(())
}
