use std::{collections::BTreeSet, fs, thread};

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use tempfile::TempDir;

use super::{KeyError, development, fresh, read};

type Failed = Box<dyn std::error::Error>;

#[test]
fn a_fresh_secret_is_64_bytes_that_nobody_had_before() -> Result<(), Failed> {
    let secrets = (0..100).map(|_| fresh()).collect::<Result<BTreeSet<_>, _>>()?;
    assert_eq!(secrets.len(), 100);
    for secret in secrets {
        assert_eq!(BASE64_STANDARD_NO_PAD.decode(&secret)?.len(), 64);
    }
    Ok(())
}

#[test]
fn all_who_begin_at_once_in_one_folder_get_one_secret() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let data = folder.path().join("data");
    let secrets: BTreeSet<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| development(&data).map_err(|it| it.to_string()))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?).collect::<Vec<_>>()
    })
    .into_iter()
    .collect::<Result<_, _>>()?;
    assert_eq!(secrets.len(), 1);
    assert_eq!(fs::read_dir(&data)?.count(), 1, "no draft is left");
    Ok(())
}

#[test]
fn the_line_end_after_a_secret_is_not_part_of_it() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let path = folder.path().join("secret");
    for written in ["two words", "two words\n", "two words\r\n"] {
        fs::write(&path, written)?;
        assert_eq!(read(&path)?, "two words");
    }
    fs::remove_file(&path)?;
    assert!(matches!(read(&path), Err(KeyError::Unreadable { .. })));
    Ok(())
}
