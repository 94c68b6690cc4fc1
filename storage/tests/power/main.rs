//! Power cuts: each disk that a cut may leave opens, has everything that was acknowledged, and nothing that overtook
//! something missing.
//!
//! Recorded are: a store from its beginning, with new and dropped partitions, tables and opening again; the repair of one
//! that a cut has torn; a journal that gets full and is removed; and the repair of that.
//!
//! Needs `strace`; without it the test says that it did not run. `POSTRIDER_POWER_IMAGES=125` builds more images of each
//! of four models, `POSTRIDER_POWER_BACKEND=sled` asks the other backend (and counts), `POSTRIDER_SEED=…` repeats a run:
//! `cargo test -p postrider-storage --features testing --test power -- --nocapture`.

#![cfg(target_os = "linux")]

mod writer;

use std::{env, error::Error, path::Path, process::Stdio};

use postrider_storage::testing::{
    Dice,
    power::{Model, Recorder, Recording},
};
use tempfile::tempdir;

type Failed = Box<dyn Error>;

/// Images of each model, unless `POSTRIDER_POWER_IMAGES` says more.
const IMAGES: u32 = 7;

/// How many images were whole.
#[derive(Debug, Default)]
struct Count {
    images: u32,
    whole: u32,
    not_opened: u32,
    /// Images in which groups are missing, and how many in the worst of them.
    lost: u32,
    worst: u64,
}

/// Runs this program's `the_writer` on a folder.
fn record(root: &Path, what: &str, acknowledged: u64) -> Result<Recording, Failed> {
    let recorder = Recorder::new(root)?;
    let ended = recorder
        .command(env::current_exe()?)
        .args(["--exact", "the_writer", "--nocapture", "--test-threads=1"])
        .env("POSTRIDER_POWER_WRITER", root)
        .env("POSTRIDER_POWER_WHAT", what)
        .stdout(Stdio::null())
        .status()?;
    assert!(ended.success(), "the writer ended well");
    let said = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.lines().filter_map(|line| Some(line.trim().strip_prefix("acknowledged ")?.to_owned())).collect()
    };
    Ok(recorder.finish(said)?.after(vec![acknowledged.to_string()]))
}

/// How many groups were acknowledged.
fn groups(acknowledged: &[String]) -> u64 {
    acknowledged.iter().filter_map(|groups| groups.parse().ok()).max().unwrap_or(0)
}

/// Records how a store goes on from a disk that a cut has torn: the repair is cut as well.
fn record_repair(torn: &Recording, part: f64, what: &str, dice: &mut Dice) -> Result<Recording, Failed> {
    let moment = (torn.calls() as f64 * part) as usize;
    let cut = torn.cut_after(moment, Model::HONEST[0], dice)?;
    record(cut.image.path(), what, groups(&cut.acknowledged))
}

/// An error with its causes.
fn words(error: &dyn Error) -> String {
    error.source().map_or(error.to_string(), |cause| format!("{error}: {}", words(cause)))
}

fn try_images(recordings: &[(Recording, Is)], model: Model, images: u32, dice: &mut Dice) -> Result<Count, Failed> {
    let mut count = Count::default();
    for (number, (recording, is)) in recordings.iter().enumerate() {
        let share = (images as usize + recordings.len() - 1 - number) / recordings.len();
        for cut in recording.cuts(model, share as u32, dice) {
            let cut = cut?;
            let acknowledged = groups(&cut.acknowledged);
            count.images += 1;
            let is_full = |root| if *is == Is::Filled { writer::has_filler(root) } else { Ok(true) };
            match writer::groups_in(cut.image.path()).and_then(|there| Ok((there, is_full(cut.image.path())?))) {
                Ok((there, true)) if there >= acknowledged => count.whole += 1,
                Ok((there, _)) => {
                    println!("{model:?}, {is:?}, cut after {}: {there} of {acknowledged} groups", cut.calls);
                    count.lost += 1;
                    count.worst = count.worst.max(acknowledged.saturating_sub(there));
                }
                Err(error) => {
                    println!("{model:?}, {is:?}, cut after {}: {}", cut.calls, words(&*error));
                    count.not_opened += 1;
                }
            }
        }
    }
    println!("{model:?}: {count:?}");
    Ok(count)
}

/// What a recording began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Fresh,
    Filled,
}

/// Not a test of its own: what the recorded process does.
#[test]
fn the_writer() -> Result<(), Failed> {
    let Some(root) = env::var_os("POSTRIDER_POWER_WRITER") else { return Ok(()) };
    match env::var("POSTRIDER_POWER_WHAT")?.as_str() {
        "journal" => writer::write_beyond_a_journal(Path::new(&root)),
        _ => writer::write(Path::new(&root)),
    }
}

fn record_all(dice: &mut Dice) -> Result<Vec<(Recording, Is)>, Failed> {
    let root = tempdir()?;
    let first = record(root.path(), "store", 0)?;
    let repair = record_repair(&first, 0.66, "store", dice)?;
    let mut recordings = vec![(first, Is::Fresh), (repair, Is::Fresh)];
    if writer::backend() == "fjall" {
        let root = tempdir()?;
        writer::fill(root.path())?;
        let full = record(root.path(), "journal", 0)?;
        assert!(full.made("/1.jnl") > 0, "the journal got full, and the next one was begun");
        assert!(full.removed("/0.jnl") > 0, "the full one was removed");
        assert!(full.made("/0.jnl") > 0, "it was written anew before");
        let repair = record_repair(&full, 0.8, "store", dice)?;
        recordings.extend([(full, Is::Filled), (repair, Is::Filled)]);
    }
    Ok(recordings)
}

#[test]
fn after_a_power_cut_everything_acknowledged_is_there_and_nothing_overtook() -> Result<(), Failed> {
    if !Recorder::is_there() {
        println!("NOT RUN: install strace to record what a power cut could take");
        return Ok(());
    }
    let (mut dice, _) = Dice::seeded();
    let images = env::var("POSTRIDER_POWER_IMAGES").ok().and_then(|images| images.parse().ok()).unwrap_or(IMAGES);
    let recordings = record_all(&mut dice)?;
    let is_promised = writer::backend() == "fjall";
    for model in Model::HONEST {
        let count = try_images(&recordings, model, images, &mut dice)?;
        assert!(count.whole == count.images || !is_promised, "{count:?}");
    }
    // A disk that counts no sync loses, or this tests nothing.
    let control = try_images(&recordings, Model::LYING, images, &mut dice)?;
    assert!(control.whole < control.images, "{control:?}");
    Ok(())
}
