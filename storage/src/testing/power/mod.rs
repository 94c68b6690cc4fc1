//! Power cuts: the file calls of a real process are recorded, and disks are built as a cut at any moment may leave them.
//!
//! A backend is held against it by a process that says what it acknowledged: [`Recorder`] runs it under `strace`, and
//! [`Recording::cuts`] makes folders, each with what was acknowledged before the cut. What a store does with such a folder
//! is for the test to ask: it opens, and has all of that. With [`Model::counts_syncs`] off it must lose, or the test tests
//! nothing.

mod content;
mod disk;
mod trace;

use std::{
    ffi::OsStr,
    fs,
    io::{self, Error},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::{TempDir, tempdir};

use self::{disk::Disk, trace::Call};
use super::Dice;

/// What changes files, and what says something to others.
const CALLS: &str = "openat,write,pwrite64,writev,pwritev,sendto,sendmsg,lseek,fsync,fdatasync,ftruncate,rename,renameat,\
                     renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,close,copy_file_range,sendfile,fcntl";
/// The last lines are written soon after the process ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// When the names of files are on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// As on ext4: names reach the disk in their order, and any sync takes along all before it.
    Ordered,
    /// POSIX alone: in any order, until their folder is synced.
    Any,
}

/// What a disk does.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// When names are on it.
    pub names: Names,
    /// Bytes that it writes whole; a divisor of 64 KiB.
    pub block: usize,
    /// Whether a sync makes anything durable.
    pub counts_syncs: bool,
}

impl Model {
    /// Disks that keep their promise.
    pub const HONEST: [Self; 4] = [
        Self { names: Names::Ordered, block: 512, counts_syncs: true },
        Self { names: Names::Ordered, block: 4096, counts_syncs: true },
        Self { names: Names::Any, block: 512, counts_syncs: true },
        Self { names: Names::Any, block: 4096, counts_syncs: true },
    ];
    /// One on which what was acknowledged must be lost now and then.
    pub const LYING: Self = Self { names: Names::Any, block: 512, counts_syncs: false };
}

/// Records what a process does to the files below a folder.
pub struct Recorder {
    root: PathBuf,
    before: Disk,
    log: TempDir,
}

impl Recorder {
    /// Whether this machine can record.
    pub fn is_there() -> bool {
        let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    }

    /// The folder is taken as it is now, all of it on the disk.
    pub fn new(root: &Path) -> io::Result<Self> {
        Ok(Self { root: root.to_owned(), before: Disk::of(root)?, log: tempdir()? })
    }

    /// Runs a program under the recorder. It keeps its process id.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-y", "-xx", "-s", "100000000", "-e", &format!("trace={CALLS}"), "-o"]);
        command.arg(self.log()).arg(program);
        command
    }

    /// What it did, when it has ended. `acknowledged` finds what was acknowledged in bytes that were written elsewhere than
    /// below the folder: into a pipe, or a socket.
    pub fn finish(self, acknowledged: impl Fn(&[u8]) -> Vec<String>) -> io::Result<Recording> {
        let began = Instant::now();
        let log = loop {
            let log = fs::read_to_string(self.log())?;
            let process = log.split_once(' ').map_or("", |(process, _)| process);
            let has_ended =
                |line: &str| line.strip_prefix(process).is_some_and(|rest| rest.trim_start().starts_with("+++ "));
            if log.ends_with('\n') && log.lines().next_back().is_some_and(has_ended) {
                break log;
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::other("the recorded process does not end"));
            }
            thread::sleep(Duration::from_millis(10));
        };
        let calls = trace::parse(&log, &self.root, &acknowledged).map_err(Error::other)?;
        Ok(Recording { before: self.before, acknowledged_before: Vec::new(), calls })
    }

    fn log(&self) -> PathBuf {
        self.log.path().join("calls")
    }
}

/// What a process did, from a disk that was as it is here.
pub struct Recording {
    before: Disk,
    acknowledged_before: Vec<String>,
    calls: Vec<Call>,
}

/// A disk after a cut.
pub struct Cut {
    /// The folder.
    pub image: TempDir,
    /// What was acknowledged before the cut, oldest first.
    pub acknowledged: Vec<String>,
    /// After so many calls.
    pub calls: usize,
}

impl Recording {
    /// With this acknowledged before it began.
    pub fn after(self, acknowledged_before: Vec<String>) -> Self {
        Self { acknowledged_before, ..self }
    }

    /// How many calls there are.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// How often a file below the folder whose name ends so got that name.
    pub fn made(&self, name: &str) -> usize {
        self.calls.iter().filter(|call| call.makes(name)).count()
    }

    /// How often one was removed.
    pub fn removed(&self, name: &str) -> usize {
        self.calls.iter().filter(|call| matches!(call, Call::Remove { path } if path.ends_with(name))).count()
    }

    /// Disks after a cut, in the order of their moments: one half of them anywhere, the other at a sync or a change of
    /// names.
    pub fn cuts(&self, model: Model, images: u32, dice: &mut Dice) -> Cuts<'_> {
        let changes: Vec<_> = (0..self.calls.len()).filter(|at| self.calls[*at].is_turning_point()).collect();
        let mut moments: Vec<_> = (0..images)
            .map(|image| match (image % 2, changes.is_empty()) {
                (0, false) => changes[dice.below(changes.len() as u64) as usize] + dice.below(2) as usize,
                _ => dice.below(self.calls.len() as u64 + 1) as usize,
            })
            .collect();
        moments.sort_unstable();
        self.cuts_at(moments, model, dice)
    }

    /// A disk after a cut at a moment: of so many calls.
    pub fn cut_after(&self, calls: usize, model: Model, dice: &mut Dice) -> io::Result<Cut> {
        self.cuts_at(vec![calls], model, dice).next().ok_or_else(|| Error::other("there is a cut"))?
    }

    fn cuts_at(&self, moments: Vec<usize>, model: Model, dice: &mut Dice) -> Cuts<'_> {
        Cuts {
            recording: self,
            model,
            dice: Dice::new(dice.roll()),
            disk: self.before.clone(),
            done: 0,
            acknowledged: self.acknowledged_before.clone(),
            moments: moments.into_iter(),
        }
    }
}

/// Disks after cuts, one at a time.
pub struct Cuts<'a> {
    recording: &'a Recording,
    model: Model,
    dice: Dice,
    disk: Disk,
    done: usize,
    acknowledged: Vec<String>,
    moments: std::vec::IntoIter<usize>,
}

impl Iterator for Cuts<'_> {
    type Item = io::Result<Cut>;

    fn next(&mut self) -> Option<io::Result<Cut>> {
        let moment = self.moments.next()?;
        for call in &self.recording.calls[self.done..moment] {
            match call {
                Call::Acknowledged(what) => self.acknowledged.push(what.clone()),
                call => self.disk.apply(call, self.model),
            }
        }
        self.done = moment;
        Some(tempdir().and_then(|image| {
            self.disk.after_cut(image.path(), self.model, &mut self.dice)?;
            Ok(Cut { image, acknowledged: self.acknowledged.clone(), calls: moment })
        }))
    }
}
