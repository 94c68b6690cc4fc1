//! Journals: what was acknowledged is told apart from what a power cut tore.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::Path,
};

use bytes::Bytes;
use postrider_core::Durability::Relaxed;
use postrider_storage::{
    Fjall,
    kv::{FjallKv, OrderedKv, Partition},
    testing::Dice,
};

use crate::written::*;

#[test]
fn journals_that_are_lost_are_named() -> Result<(), Failed> {
    let store = Written::closed(31)?;
    let image = store.image()?;
    let newest = newest_journal(image.path())?;
    fs::remove_file(&newest)?;
    check_refused(image.path(), &["the journal is missing"])?;
    // With an older one beside it, the library would go on with that.
    let mut running = Written::open(33)?;
    seal(running.folder.path())?;
    running.write(&mut Dice::new(3), 4)?;
    let image = running.image()?;
    let newest = newest_journal(image.path())?;
    fs::remove_file(&newest)?;
    check_refused(image.path(), &["acknowledged", "restore"])?;
    // One in the middle.
    let image = store.image()?;
    let (_, next) = seal(image.path())?;
    fs::rename(&next, next.with_file_name("9.jnl"))?;
    check_refused(image.path(), &[&next.to_string_lossy(), "is missing"])
}

/// The library took a damaged tag in a sealed journal for its end, and cut off what came behind.
#[test]
fn damage_in_a_sealed_journal_is_corrupt_wherever_it_is() -> Result<(), Failed> {
    let (mut dice, seed) = Dice::seeded();
    let store = Written::closed(seed)?;
    for _ in 0..3 * places() {
        let image = store.image()?;
        let (sealed, _) = seal(image.path())?;
        let bit = dice.below(8 * written(&fs::read(&sealed)?) as u64 - 8);
        println!("bit {bit}");
        flip(&sealed, bit)?;
        check_refused(image.path(), &[&sealed.to_string_lossy(), "is damaged at byte", "whole writes"])?;
    }
    // The mark is not needed for that.
    let image = store.image()?;
    let (sealed, _) = seal(image.path())?;
    fs::remove_file(image.path().join("fjall/postrider.synced"))?;
    flip(&sealed, 8 * 5_000)?;
    check_refused(image.path(), &[&sealed.to_string_lossy(), "is damaged at byte"])
}

/// One bit in the middle of what was synced, and everything behind it was cut off as if a power cut had torn it.
#[test]
fn damage_in_what_was_synced_is_corrupt_and_never_a_torn_end() -> Result<(), Failed> {
    let (mut dice, seed) = Dice::seeded();
    for (store, state) in [(Written::closed(seed)?, "closed"), (Written::open(seed)?, "running")] {
        for _ in 0..3 * places() {
            let image = store.image()?;
            let journal = newest_journal(image.path())?;
            let bit = dice.below(8 * written(&fs::read(&journal)?) as u64 - 8 * 4_096);
            println!("{state}: bit {bit}");
            flip(&journal, bit)?;
            check_refused(image.path(), &[&journal.to_string_lossy(), "is damaged at byte", "whole writes"])?;
        }
        let image = store.image()?;
        let journal = newest_journal(image.path())?;
        let bytes = written(&fs::read(&journal)?) as u64;
        File::options().write(true).open(&journal)?.set_len(bytes / 2)?;
        check_refused(image.path(), &[&journal.to_string_lossy(), "acknowledged"])?;
    }
    Ok(())
}

/// The number of a write has no checksum: one that is too high would pass for the proof that all is there, and what comes
/// behind it with a lower one would be skipped.
#[test]
fn a_damaged_number_of_a_write_is_corrupt() -> Result<(), Failed> {
    for store in [Written::closed(67)?, Written::open(67)?] {
        let journal = newest_journal(store.folder.path())?;
        let (bytes, starts) = (fs::read(&journal)?, begins(&journal)?);
        let number = |at: usize| {
            let bytes = &bytes[(starts[at] + NUMBER_AT) as usize..];
            bytes.first_chunk().map_or(0, |number| u64::from_le_bytes(*number))
        };
        // Between neighbours with no number to spare: the library draws some for itself, and one of these does no harm.
        let is_tight = |at: &usize| number(at - 1) + 1 == number(*at) && number(*at) + 1 == number(at + 1);
        let middle = (starts.len() / 2..starts.len() - 1).find(is_tight).ok_or("some follow one another")?;
        for bit in [0, 20, 47, 48, 62, 63] {
            let image = store.image()?;
            let journal = newest_journal(image.path())?;
            flip(&journal, 8 * (starts[middle] + NUMBER_AT) + bit)?;
            check_refused(image.path(), &[&journal.to_string_lossy(), "is damaged at byte", "whole writes"])?;
        }
    }
    // The last one of a sealed journal, with writes in the next one.
    let image = Written::closed(71)?.image()?;
    let journal = newest_journal(image.path())?;
    let (bytes, starts) = (fs::read(&journal)?, begins(&journal)?);
    let (last, first) = (starts[starts.len() / 2] as usize, starts[starts.len() / 2 + 1] as usize);
    let (sealed, next) = seal(image.path())?;
    fs::write(&sealed, &bytes[..first])?;
    fs::write(&next, &bytes[first..])?;
    for (journal, at) in [(&sealed, last), (&next, 0)] {
        flip(journal, 8 * (at as u64 + NUMBER_AT) + 20)?;
        check_refused(image.path(), &[&journal.to_string_lossy(), "is damaged at byte"])?;
        flip(journal, 8 * (at as u64 + NUMBER_AT) + 20)?;
    }
    FjallKv::open(&Fjall::at(image.path()))?;
    Ok(())
}

/// The library forgets how far numbers had come with a partition that was dropped, and would draw them again.
#[test]
fn numbers_rise_after_a_partition_was_dropped() -> Result<(), Failed> {
    let mut store = Written::open(79)?;
    let dropped = Partition(2_800);
    let kv = store.kv.take().ok_or("it is open")?;
    for number in 0..5_u8 {
        kv.write(&[(dropped, vec![number].into(), Some(Bytes::from_static(b"gone")))], Relaxed)?;
    }
    kv.drop_partition(dropped)?;
    drop(kv);
    store.kv = Some(FjallKv::open(&Fjall::at(store.folder.path()))?);
    store.write(&mut Dice::new(83), 2)?;
    let image = store.image()?;
    assert!(!store.refused_or_whole(image.path(), "a dropped partition")?);
    Ok(())
}

/// Where the number of a write is, from where the write begins.
const NUMBER_AT: u64 = 5;

/// Where writes begin in a journal, without the first.
fn begins(journal: &Path) -> Result<Vec<u64>, Failed> {
    let bytes = fs::read(journal)?;
    let ends = (0..bytes.len() - 5).filter(|at| bytes[*at..].starts_with(b"FJL\x03\x01"));
    Ok(ends.map(|at| at as u64 + 4).collect())
}

/// The mark is not synced while the store is open, so after a power cut it may be old: then the batches say it.
#[test]
fn batches_say_what_was_synced_when_the_mark_is_old() -> Result<(), Failed> {
    let mut store = Written::open(37)?;
    let mark = Path::new("fjall/postrider.synced");
    let old = fs::read(store.folder.path().join(mark))?;
    let from = written(&fs::read(newest_journal(store.folder.path())?)?) as u64;
    store.write(&mut Dice::new(41), 30)?;
    let end = written(&fs::read(newest_journal(store.folder.path())?)?) as u64;
    // But for the last few groups.
    for at in [from + 100, (from + end) / 2, end - 40_000] {
        let image = store.image()?;
        fs::write(image.path().join(mark), &old)?;
        flip(&newest_journal(image.path())?, 8 * at)?;
        check_refused(image.path(), &["is damaged at byte", "acknowledged"])?;
    }
    Ok(())
}

/// What a power cut may leave of what was not synced: a hole, with whole batches behind it.
#[test]
fn a_hole_in_what_was_not_synced_is_cut_off_with_all_behind_it_and_kept() -> Result<(), Failed> {
    let store = Written::open(43)?;
    let synced = written(&fs::read(newest_journal(store.folder.path())?)?);
    let kv = store.kv.as_ref().ok_or("it is open")?;
    for number in 0..40_u8 {
        kv.write(&[(WEEKS[1], vec![b'z', number].into(), Some(vec![number; 2_000].into()))], Relaxed)?;
    }
    let image = store.image()?;
    let journal = newest_journal(image.path())?;
    let bytes = fs::read(&journal)?;
    let hole = synced.next_multiple_of(4096) + 4096;
    let mut file = File::options().write(true).open(&journal)?;
    file.seek(SeekFrom::Start(hole as u64))?;
    file.write_all(&[0; 512])?;
    drop(file);
    assert!(!store.refused_or_whole(image.path(), "a hole")?);
    let kept = fs::read(journal.with_extension("jnl.cut-1"))?;
    let from = bytes[..written(&bytes)].len() - kept.len();
    assert!((synced - 4096..=hole).contains(&from), "cut at {from}, the hole is at {hole}");
    Ok(())
}

/// A write that a full disk kept from being finished, in a journal that was sealed after that.
#[test]
fn a_sealed_journal_with_an_unfinished_write_opens() -> Result<(), Failed> {
    let store = Written::open(47)?;
    let kv = store.kv.as_ref().ok_or("it is open")?;
    kv.write(&[(WEEKS[1], Bytes::from_static(b"zz"), Some(vec![7; 9_000].into()))], Relaxed)?;
    let image = store.image()?;
    let (sealed, _) = seal(image.path())?;
    let bytes = fs::read(&sealed)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).ok_or("it is written to")?;
    File::options().write(true).open(&sealed)?.set_len(end as u64 - 5_000)?;
    assert!(!store.refused_or_whole(image.path(), "an unfinished write")?);
    Ok(())
}

/// Cut parts do not fill the disk in the end.
#[test]
fn cut_parts_are_kept_up_to_a_number() -> Result<(), Failed> {
    let store = Written::closed(59)?;
    let image = store.image()?;
    for _ in 0..12 {
        let mut journal = File::options().append(true).open(newest_journal(image.path())?)?;
        journal.write_all(b"\x01torn")?;
        drop(journal);
        assert!(!store.refused_or_whole(image.path(), "garbage at the end")?);
    }
    let cuts = files(image.path())?.into_iter().filter(|path| path.to_string_lossy().contains(".jnl.cut-")).count();
    assert_eq!(cuts, 8);
    Ok(())
}
