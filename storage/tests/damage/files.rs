//! Any file: a bit that flips, a file that is gone, a partition that is gone, and a store of an older version.

use std::{
    fs,
    path::{Path, PathBuf},
};

use postrider_storage::{
    Fjall,
    kv::{FjallKv, OrderedKv, Partition},
    testing::Dice,
};

use crate::written::*;

#[test]
fn a_bit_that_flips_in_any_file_is_refused_or_harmless() -> Result<(), Failed> {
    let (mut dice, seed) = Dice::seeded();
    let (store, mut refused) = (Written::closed(seed)?, 0);
    for file in files(store.folder.path())? {
        let bytes = fs::read(store.folder.path().join(&file))?;
        for _ in 0..if bytes.is_empty() { 0 } else { places() } {
            let (image, bit) = (store.image()?, dice.below(8 * written(&bytes) as u64));
            flip(&image.path().join(&file), bit)?;
            refused += usize::from(store.refused_or_whole(image.path(), &format!("bit {bit} of {}", file.display()))?);
        }
    }
    assert!(refused > 0, "some of it is noticed, or this tests nothing");
    Ok(())
}

#[test]
fn a_file_that_is_lost_is_missed_or_was_not_needed() -> Result<(), Failed> {
    for store in [Written::closed(17)?, Written::open(19)?] {
        for file in files(store.folder.path())? {
            let image = store.image()?;
            fs::remove_file(image.path().join(&file))?;
            store.refused_or_whole(image.path(), &format!("{} is lost", file.display()))?;
        }
    }
    Ok(())
}

/// The library forgot a partition whose folder was gone, and removed the rest of one without its `current`.
#[test]
fn a_partition_that_is_lost_is_named_and_nothing_is_touched() -> Result<(), Failed> {
    let store = Written::closed(23)?;
    let list = fs::read_to_string(store.folder.path().join("fjall/postrider.partitions"))?;
    let folder = |partition: Partition| {
        let line = list.lines().find_map(|line| line.strip_prefix(&format!("{} ", partition.0)));
        line.map(|folder| Path::new("fjall").join(folder)).ok_or("it is listed")
    };
    for partition in WEEKS {
        let folder = folder(partition)?;
        let image = store.image()?;
        fs::remove_dir_all(image.path().join(&folder))?;
        check_refused(image.path(), &[&folder.join("current").to_string_lossy(), "is missing"])?;
        let image = store.image()?;
        fs::remove_file(image.path().join(&folder).join("current"))?;
        check_refused(image.path(), &[&folder.join("current").to_string_lossy(), "is missing"])?;
    }
    let image = store.image()?;
    fs::remove_file(image.path().join("fjall/postrider.partitions"))?;
    check_refused(image.path(), &["postrider.partitions is missing"])?;
    let image = store.image()?;
    flip(&image.path().join("fjall/postrider.partitions"), 8 * 25)?;
    check_refused(image.path(), &["postrider.partitions is damaged"])
}

/// The library reads what says which tables a partition has without its checksum, and removes tables that it does not name.
#[test]
fn a_damaged_list_of_tables_is_named_and_nothing_is_touched() -> Result<(), Failed> {
    let store = Written::closed(25)?;
    let is_list = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix('v').is_some_and(|number| number.parse::<u64>().is_ok())
    };
    let lists: Vec<_> = files(store.folder.path())?.into_iter().filter(is_list).collect();
    assert!(lists.len() > WEEKS.len(), "{lists:?}");
    let mut damaged = 0;
    for list in lists {
        let image = store.image()?;
        let bytes = fs::read(image.path().join(&list))?;
        flip(&image.path().join(&list), 8 * (bytes.len() as u64 - 3))?;
        // One of an older version is of no interest.
        if FjallKv::open(&Fjall::at(image.path())).is_ok() {
            continue;
        }
        damaged += 1;
        check_refused(image.path(), &[&list.to_string_lossy(), "is damaged"])?;
    }
    assert!(damaged > WEEKS.len(), "{damaged}: that of each partition, and that of their names");
    Ok(())
}

/// What is dropped is not missed, and a partition that was being made or dropped when the power went is neither.
#[test]
fn a_partition_that_was_dropped_is_not_missed() -> Result<(), Failed> {
    let mut store = Written::closed(29)?;
    store.rows.retain(|(partition, _), _| *partition != WEEKS[2].0);
    let kv = FjallKv::open(&Fjall::at(store.folder.path()))?;
    kv.drop_partition(WEEKS[2])?;
    assert!(!store.refused_or_whole(store.image()?.path(), "dropped")?);
    drop(kv);
    assert!(!store.refused_or_whole(store.image()?.path(), "dropped and closed")?);
    Ok(())
}

/// Before there was a list and a mark.
#[test]
fn a_store_of_an_older_version_opens_and_gets_its_list_and_its_mark() -> Result<(), Failed> {
    let store = Written::closed(53)?;
    let image = store.image()?;
    let older = "postrider data folder\nformat 1\nreadable-by 1\nbackend fjall\n";
    fs::write(image.path().join("postrider.format"), older)?;
    let [list, mark] = ["postrider.partitions", "postrider.synced"].map(|name| image.path().join("fjall").join(name));
    fs::remove_file(&list)?;
    fs::remove_file(&mark)?;
    assert!(!store.refused_or_whole(image.path(), "an older version")?);
    assert!(fs::read_to_string(image.path().join("postrider.format"))?.contains("format 2\n"));
    assert!(list.exists() && mark.exists());
    assert_eq!(fs::read_to_string(&list)?.lines().count(), 2 + WEEKS.len());
    let listed = fs::read_to_string(&list)?;
    let folder = listed.lines().nth(1).and_then(|line| line.strip_prefix("0 ")).ok_or("the lasting rows come first")?;
    fs::remove_dir_all(image.path().join("fjall").join(folder))?;
    check_refused(image.path(), &[&format!("{folder}/current"), "is missing"])
}
