use std::error::Error;

use tempfile::{TempDir, tempdir};

use super::*;

type Failed = Box<dyn Error>;

fn make(path: &Path) -> Result<(), StoreError> {
    fs::create_dir(path).and_then(|()| fs::write(path.join("rows"), "all")).map_err(at(path))
}

fn open(path: &Path) -> Result<Folder, StoreError> {
    Folder::open(path, FJALL, make)
}

fn folder(files: &[(&str, &str)]) -> Result<TempDir, Failed> {
    let folder = tempdir()?;
    for (name, text) in files {
        let path = folder.path().join(name);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, text)?;
    }
    Ok(folder)
}

fn names(path: &Path) -> Result<Vec<String>, Failed> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let mut names = fs::read_dir(path)?.map(name).collect::<Result<Vec<_>, Failed>>()?;
    names.sort();
    Ok(names)
}

/// Opens a folder with these files; the kind and words of the refusal.
fn refused(files: &[(&str, &str)]) -> Result<(StoreErrorKind, String), Failed> {
    let folder = folder(files)?;
    let before = names(folder.path())?;
    let error = open(folder.path()).expect_err("the folder is refused");
    let after = names(folder.path())?.into_iter().filter(|name| name != LOCK).collect::<Vec<_>>();
    assert_eq!(before.into_iter().filter(|name| name != LOCK).collect::<Vec<_>>(), after, "nothing was touched");
    let words = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(words.contains(&*folder.path().to_string_lossy()), "the folder is named: {words}");
    Ok((error.kind(), words))
}

const FJALL: Backend = Backend { name: "fjall", format: 1 };
const OURS: &str = "postrider data folder\nformat 1\nreadable-by 1\nbackend fjall\n";

#[test]
fn a_fresh_folder_is_made_with_everything_above_it_and_opens_again() -> Result<(), Failed> {
    let above = tempdir()?;
    let path = above.path().join("var/lib/postrider");
    drop(open(&path)?);
    assert_eq!(names(&path)?, ["fjall", FORMAT, LOCK]);
    assert_eq!(fs::read_to_string(path.join(FORMAT))?, OURS);
    let again = Folder::open(&path, FJALL, |_| unreachable!("it is made once"))?;
    assert_eq!(fs::read_to_string(again.database().join("rows"))?, "all");
    Ok(())
}

#[test]
fn a_second_opener_is_told_which_folder_another_has_open() -> Result<(), Failed> {
    let path = tempdir()?;
    let first = open(path.path())?;
    let second = open(path.path()).expect_err("one at a time");
    assert_eq!(second.kind(), StoreErrorKind::Locked);
    let words = second.source().map(ToString::to_string).unwrap_or_default();
    let expected =
        format!("another postrider has {} open: stop that one, or name another folder", path.path().display());
    assert_eq!(words, expected);
    drop(first);
    open(path.path())?;
    Ok(())
}

#[test]
fn a_strangers_folder_is_refused_and_left_as_it_is() -> Result<(), Failed> {
    let folder = folder(&[("holiday.jpg", "")])?;
    let error = open(folder.path()).expect_err("not ours");
    assert_eq!((error.kind(), names(folder.path())?), (StoreErrorKind::Format, vec!["holiday.jpg".into()]));
    Ok(())
}

/// Case 117: after an upgrade, or a step back, a folder goes on or is refused with words.
#[test]
fn a_folder_that_cannot_be_read_rightly_is_refused_with_words() -> Result<(), Failed> {
    let check = |files: &[(&str, &str)], kind, words: &str| {
        let (is, said) = refused(files)?;
        assert_eq!(is, kind, "{said}");
        assert!(said.contains(words), "{said:?} has {words:?}");
        Ok::<_, Failed>(())
    };
    let newer = "postrider data folder\nformat 3\nreadable-by 2\nbackend fjall\n";
    let sled = "postrider data folder\nformat 1\nreadable-by 1\nbackend sled\n";
    check(&[("fjall/rows", "all")], StoreErrorKind::Format, "but no postrider.format")?;
    check(&[(LOCK, ""), ("fjall/rows", "all")], StoreErrorKind::Format, "but no postrider.format")?;
    check(&[("sled/db", "all")], StoreErrorKind::Format, "choose an empty folder")?;
    check(&[(FORMAT, newer), ("fjall/rows", "all")], StoreErrorKind::Format, "needs a postrider that reads format 2")?;
    check(&[(FORMAT, sled), ("sled/db", "all")], StoreErrorKind::Format, "by the backend sled, not by fjall")?;
    check(&[(FORMAT, "format 1"), ("fjall/rows", "all")], StoreErrorKind::Format, "not a format file")?;
    check(&[(FORMAT, OURS)], StoreErrorKind::Corrupt, "is missing")?;
    Ok(())
}

#[test]
fn a_newer_format_that_this_version_may_read_is_read() -> Result<(), Failed> {
    let newer = OURS.replace("\nformat 1", "\nformat 3");
    let folder = folder(&[(FORMAT, &newer), ("fjall/rows", "all")])?;
    open(folder.path())?;
    Ok(())
}

#[test]
fn a_folder_whose_making_was_interrupted_is_made_anew_or_finished() -> Result<(), Failed> {
    for interrupted in [
        &[(LOCK, "")][..],
        &[("fjall.new/rows", "ha")],
        &[("fjall.new/rows", "all"), (FORMAT_NEW, "postrider da")],
        &[("fjall.new/rows", "all"), (FORMAT_NEW, OURS)],
        &[("fjall/rows", "all"), (FORMAT_NEW, OURS)],
        &[("lost+found/x", "")],
    ] {
        let folder = folder(interrupted)?;
        let opened = open(folder.path())?;
        assert_eq!(fs::read_to_string(opened.database().join("rows"))?, "all", "{interrupted:?}");
        assert_eq!(fs::read_to_string(folder.path().join(FORMAT))?, OURS);
        assert!(!folder.path().join("fjall.new").exists() && !folder.path().join(FORMAT_NEW).exists());
    }
    Ok(())
}

#[test]
fn a_folder_that_cannot_be_made_is_unavailable_and_named() -> Result<(), Failed> {
    let folder = folder(&[("file", "")])?;
    let error = open(&folder.path().join("file")).expect_err("a file is no folder");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    assert_eq!(error.to_string(), "could not open the data folder");
    let cause = error.source().expect("the cause is kept");
    assert!(cause.to_string().ends_with("/file") && cause.source().is_some(), "{cause:?}");
    Ok(())
}
