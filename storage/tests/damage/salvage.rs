//! A person gives up what is damaged: the store opens with what is before it, and what went is counted and kept.

use std::fs;

use postrider_storage::{
    Fjall,
    kv::{FjallKv, OrderedKv},
};

use crate::written::*;

#[test]
fn a_damaged_journal_that_is_given_up_opens_and_what_went_is_kept() -> Result<(), Failed> {
    let store = Written::closed(61)?;
    let image = store.image()?;
    let fjall = Fjall::at(image.path());
    let whole = fjall.journal_damage()?;
    assert_eq!((whole.what, whole.writes_behind), (None, 0));
    let journal = newest_journal(image.path())?;
    let bytes = fs::read(&journal)?;
    flip(&journal, 8 * (written(&bytes) as u64 / 2))?;
    let before = contents(image.path())?;
    let damage = fjall.journal_damage()?;
    assert!(damage.what.as_ref().is_some_and(|what| what.contains("is damaged at byte")), "{damage:?}");
    assert!(damage.writes_before > 0 && damage.writes_behind > 0 && damage.kept.is_empty(), "{damage:?}");
    assert!(before == contents(image.path())?, "looking changes nothing");
    assert!(FjallKv::open(&fjall).is_err());
    let given_up = fjall.give_up_damaged_journals()?;
    assert_eq!((&given_up.what, given_up.writes_behind), (&damage.what, damage.writes_behind));
    let kept = fs::read(&given_up.kept[0])?;
    assert!(bytes[..written(&bytes)].len() > kept.len() && !kept.is_empty());
    // It goes on with what was before, whole, and takes more.
    let kv = FjallKv::open(&fjall)?;
    let rows = rows_of(&kv)?;
    assert!(!rows.is_empty() && rows.len() < store.rows.len());
    assert!(rows.iter().all(|(key, value)| store.rows.get(key) == Some(value)));
    drop(kv);
    assert_eq!(rows_of(&FjallKv::open(&fjall)?)?.len(), rows.len());
    assert_eq!(fjall.journal_damage()?.what, None);
    Ok(())
}

#[test]
fn journals_behind_a_damaged_or_missing_one_are_set_aside() -> Result<(), Failed> {
    for is_missing in [false, true] {
        let store = Written::closed(67)?;
        let image = store.image()?;
        let fjall = Fjall::at(image.path());
        let (sealed, next) = seal(image.path())?;
        let last = if is_missing { next.with_file_name("9.jnl") } else { next.clone() };
        fs::rename(&next, &last)?;
        if !is_missing {
            flip(&sealed, 8 * 5_000)?;
        }
        assert!(FjallKv::open(&fjall).is_err());
        let given_up = fjall.give_up_damaged_journals()?;
        assert!(given_up.what.is_some() && !last.exists() && last.with_extension("jnl.cut-1").exists(), "{given_up:?}");
        let rows = rows_of(&FjallKv::open(&fjall)?)?;
        assert!(rows.iter().all(|(key, value)| store.rows.get(key) == Some(value)));
        assert_eq!(rows.len() == store.rows.len(), is_missing, "nothing was in the one that is missing");
    }
    Ok(())
}

#[test]
fn a_store_without_its_newest_journal_opens_when_that_is_given_up() -> Result<(), Failed> {
    let store = Written::closed(71)?;
    let image = store.image()?;
    let fjall = Fjall::at(image.path());
    fs::remove_file(newest_journal(image.path())?)?;
    assert!(FjallKv::open(&fjall).is_err());
    assert!(fjall.give_up_damaged_journals()?.what.is_some());
    let kv = FjallKv::open(&fjall)?;
    let rows = rows_of(&kv)?;
    assert!(!rows.is_empty() && rows.iter().all(|(key, value)| store.rows.get(key) == Some(value)), "those in tables");
    kv.write(&[], postrider_storage::Durability::Synced)?;
    Ok(())
}

#[test]
fn tables_that_are_damaged_are_not_given_up() -> Result<(), Failed> {
    let store = Written::closed(73)?;
    let image = store.image()?;
    fs::remove_file(image.path().join("fjall/postrider.partitions"))?;
    assert!(Fjall::at(image.path()).give_up_damaged_journals().is_err());
    let nowhere = image.path().join("nowhere");
    assert!(Fjall::at(&nowhere).journal_damage().is_err() && !nowhere.exists(), "nothing is made");
    Ok(())
}
