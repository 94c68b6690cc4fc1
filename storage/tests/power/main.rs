//! Power cuts: the file calls of a real process are recorded, and disks are built as a cut at any moment may leave them.
//! Each opens, has everything that was acknowledged, and nothing that overtook something missing.
//!
//! Needs `strace`; without it the test says that it did not run. `POSTRIDER_POWER_IMAGES=500` builds more images of each
//! model, `POSTRIDER_POWER_BACKEND=sled` asks the other backend (and counts), `POSTRIDER_SEED=…` repeats a run:
//! `cargo test -p postrider-storage --test power -- --nocapture`.

mod disk;
mod trace;
mod writer;

use std::{
    env,
    error::Error,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::tempdir;

use self::{
    disk::{Disk, Model, Names},
    trace::{Call, parse},
};

pub(crate) type Failed = Box<dyn Error>;

/// xorshift: the same images from the same seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }
}

/// What a process did, from a disk that was as it is here.
struct Recording {
    before: Disk,
    acknowledged_before: u64,
    calls: Vec<Call>,
}

/// How many images were whole.
#[derive(Debug, Default)]
struct Count {
    images: u32,
    whole: u32,
    worst: u64,
}

fn record(root: &Path, acknowledged_before: u64) -> Result<Recording, Failed> {
    let (before, log) = (Disk::of(root)?, tempdir()?);
    let log = log.path().join("calls");
    let calls = "openat,write,pwrite64,writev,pwritev,lseek,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,\
                 unlinkat,mkdir,mkdirat,rmdir,close,copy_file_range,sendfile,fcntl";
    let ended = Command::new("strace")
        .args(["-f", "-y", "-xx", "-s", "100000000", "-e", &format!("trace={calls}"), "-o"])
        .arg(&log)
        .arg(env::current_exe()?)
        .args(["--exact", "the_writer", "--nocapture", "--test-threads=1"])
        .env("POSTRIDER_POWER_WRITER", root)
        .stdout(Stdio::null())
        .status()?;
    assert!(ended.success(), "the writer ended well");
    Ok(Recording { before, acknowledged_before, calls: parse(&std::fs::read_to_string(log)?, root)? })
}

/// Builds one image of a cut and opens it; how many groups are missing that were acknowledged.
fn check_cut(recording: &Recording, model: Model, dice: &mut Dice) -> Result<(u64, Result<u64, String>), Failed> {
    let cut = dice.below(recording.calls.len() as u64 + 1) as usize;
    let (mut disk, mut acknowledged) = (recording.before.clone(), recording.acknowledged_before);
    for call in &recording.calls[..cut] {
        match call {
            Call::Acknowledged(groups) => acknowledged = acknowledged.max(*groups),
            call => disk.apply(call, model),
        }
    }
    let image = tempdir()?;
    disk.after_cut(image.path(), model, dice)?;
    Ok((acknowledged, writer::groups_in(image.path()).map_err(|error| words(&*error))))
}

/// An error with its causes.
fn words(error: &dyn Error) -> String {
    error.source().map_or(error.to_string(), |cause| format!("{error}: {}", words(cause)))
}

fn try_images(recordings: &[Recording], model: Model, images: u32, seed: u64) -> Result<Count, Failed> {
    let (mut dice, mut count) = (Dice(seed), Count::default());
    for number in 0..images {
        let recording = &recordings[number as usize % recordings.len()];
        let (acknowledged, there) = check_cut(recording, model, &mut dice)?;
        count.images += 1;
        match there {
            Ok(there) if there >= acknowledged => count.whole += 1,
            Ok(there) => count.worst = count.worst.max(acknowledged - there),
            Err(error) => println!("image {number}, {model:?}: {error}"),
        }
    }
    println!("{model:?}: {} of {} whole; at worst {} groups lost", count.whole, count.images, count.worst);
    Ok(count)
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default).max(1)
}

/// Not a test of its own: what the recorded process does.
#[test]
fn the_writer() -> Result<(), Failed> {
    env::var_os("POSTRIDER_POWER_WRITER").map_or(Ok(()), |root| writer::write(Path::new(&root)))
}

#[test]
fn after_a_power_cut_everything_acknowledged_is_there_and_nothing_overtook() -> Result<(), Failed> {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        println!("NOT RUN: install strace to record what a power cut could take");
        return Ok(());
    }
    let seed = number("POSTRIDER_SEED", std::process::id().into());
    let images = number("POSTRIDER_POWER_IMAGES", 10) as u32;
    println!("POSTRIDER_SEED={seed}");
    let root = tempdir()?;
    let first = record(root.path(), 0)?;
    // Goes on from a disk that a cut has torn: the repair is cut as well.
    let torn = tempdir()?;
    let (mut disk, mut acknowledged, mut dice) = (first.before.clone(), 0, Dice(seed));
    let model = Model { names: Names::Ordered, block: 512, counts_syncs: true };
    for call in &first.calls[..first.calls.len() * 2 / 3] {
        match call {
            Call::Acknowledged(groups) => acknowledged = *groups,
            call => disk.apply(call, model),
        }
    }
    disk.after_cut(torn.path(), model, &mut dice)?;
    let recordings = [first, record(torn.path(), acknowledged)?];
    let is_promised = writer::backend() == "fjall";
    for (names, block) in [(Names::Ordered, 512), (Names::Ordered, 4096), (Names::Any, 512), (Names::Any, 4096)] {
        let count = try_images(&recordings, Model { names, block, counts_syncs: true }, images, seed)?;
        assert!(count.whole == count.images || !is_promised, "{count:?}");
    }
    // A disk that counts no sync loses, or this tests nothing.
    let control = try_images(&recordings, Model { names: Names::Any, block: 512, counts_syncs: false }, images, seed)?;
    assert!(control.whole < control.images, "{control:?}");
    Ok(())
}
