use std::{error::Error, fs};

use tempfile::{TempDir, tempdir};

use super::*;

type Failed = Box<dyn Error>;

fn rows(count: usize, bytes: usize) -> Vec<Row> {
    let value = |number: usize| (0..bytes).map(|at| (at * 7 + number) as u8).collect::<Vec<_>>();
    let row = |number| (Partition(1), Bytes::from(format!("{number:04}")), Some(value(number).into()));
    (0..count).map(row).collect()
}

fn written(count: usize, bytes: usize) -> Result<TempDir, Failed> {
    let folder = tempdir()?;
    let kv = SledKv::open(&Sled::at(folder.path()))?;
    kv.write(&rows(count, bytes), Durability::Synced)?;
    Ok(folder)
}

#[test]
fn no_value_lies_in_a_file_that_sled_does_not_sync() -> Result<(), Failed> {
    let folder = written(100, 7 * 1024)?;
    let kv = SledKv::open(&Sled::at(folder.path()))?;
    kv.write(&rows(3, 3 << 20), Durability::Synced)?;
    assert_eq!(fs::read_dir(folder.path().join("sled/blobs"))?.count(), 0);
    Ok(())
}

#[test]
fn pieces_of_large_values_go_with_them() -> Result<(), Failed> {
    let folder = tempdir()?;
    let kv = SledKv::open(&Sled::at(folder.path()))?;
    let pieces = || kv.tree.scan_prefix([b'C']).count();
    kv.write(&rows(2, 70_000), Durability::Synced)?;
    assert_eq!(pieces(), 2 * 9);
    kv.write(&rows(1, 20_000), Durability::Synced)?;
    assert_eq!(pieces(), 9 + 2);
    kv.write(&[(Partition(1), "0001".into(), None)], Durability::Synced)?;
    assert_eq!(pieces(), 2);
    kv.drop_partition(Partition(1))?;
    assert_eq!((pieces(), kv.tree.len()), (0, 1), "only the mark is left");
    Ok(())
}

#[test]
fn damaged_files_are_corrupt_and_never_an_empty_start() -> Result<(), Failed> {
    for (file, instead) in [
        ("db", Some(vec![])),
        ("db", None),
        ("db", Some(vec![0xa5; 512 * 1024])),
        ("db", Some(vec![0; 512 * 1024])),
        ("conf", None),
    ] {
        let folder = written(200, 1_000)?;
        let path = folder.path().join("sled").join(file);
        match &instead {
            Some(bytes) => fs::write(path, bytes)?,
            None => fs::remove_file(path)?,
        }
        let error = SledKv::open(&Sled::at(folder.path())).expect_err("a person must look");
        assert_eq!(
            error.kind(),
            StoreErrorKind::Corrupt,
            "{file} with {:?} bytes: {error:?}",
            instead.map(|i| i.len())
        );
    }
    Ok(())
}

#[test]
fn a_database_that_sled_began_anew_is_corrupt() -> Result<(), Failed> {
    let folder = written(200, 1_000)?;
    let database = folder.path().join("sled");
    for entry in fs::read_dir(&database)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap")) {
            fs::remove_file(path)?;
        }
    }
    fs::write(database.join("db"), "")?;
    let error = SledKv::open(&Sled::at(folder.path())).expect_err("a person must look");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert!(error.source().is_some_and(|cause| cause.to_string().contains("gone")), "{error:?}");
    Ok(())
}

#[test]
fn what_is_stored_is_never_in_a_debug_line() -> Result<(), Failed> {
    let folder = tempdir()?;
    let kv = SledKv::open(&Sled::at(folder.path()))?;
    kv.write(&[(Partition(1), "a".into(), Some(vec![201; 3].into()))], Durability::Synced)?;
    assert!(!format!("{kv:?}").contains("201"));
    Ok(())
}

#[test]
fn a_missing_piece_is_corrupt_and_not_a_shorter_value() -> Result<(), Failed> {
    let folder = written(1, 30_000)?;
    let kv = SledKv::open(&Sled::at(folder.path()))?;
    kv.tree.remove(chunks::piece_key(Partition(1), b"0000", 1))?;
    let read = kv.snapshot()?.get(Partition(1), b"0000").map_err(|error| error.kind());
    assert_eq!(read, Err(StoreErrorKind::Corrupt));
    Ok(())
}

#[test]
fn a_folder_of_the_other_backend_is_refused() -> Result<(), Failed> {
    let folder = written(1, 1)?;
    let renamed = fs::read_to_string(folder.path().join("postrider.format"))?.replace("sled", "fjall");
    fs::write(folder.path().join("postrider.format"), renamed)?;
    let error = SledKv::open(&Sled::at(folder.path())).expect_err("not ours");
    assert_eq!(error.kind(), StoreErrorKind::Format);
    Ok(())
}
