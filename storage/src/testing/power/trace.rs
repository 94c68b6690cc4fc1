//! What `strace` wrote, as calls that change files.

use std::{collections::HashMap, num::ParseIntError, path::Path};

/// One call that came to its end, or began to sync.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Open { fd: u64, path: String, creates: bool, truncates: bool, appends: bool },
    Write { fd: u64, at: Option<u64>, bytes: Vec<u8> },
    Copy { from: u64, to: u64, bytes: u64 },
    Seek { fd: u64, to: u64 },
    Length { fd: u64, bytes: u64 },
    SyncBegins { thread: u64, fd: u64 },
    SyncEnds { thread: u64 },
    Rename { from: String, to: String },
    Remove { path: String },
    MakeFolder { path: String },
    Duplicate { fd: u64, to: u64 },
    Close { fd: u64 },
    Acknowledged(String),
}

impl Call {
    /// What a disk may keep changes with it in more than bytes.
    pub(super) fn is_turning_point(&self) -> bool {
        match self {
            Self::Open { creates, truncates, .. } => *creates || *truncates,
            Self::Length { .. } | Self::SyncBegins { .. } | Self::SyncEnds { .. } => true,
            Self::Rename { .. } | Self::Remove { .. } | Self::MakeFolder { .. } | Self::Acknowledged(_) => true,
            Self::Write { .. } | Self::Copy { .. } | Self::Seek { .. } => false,
            Self::Duplicate { .. } | Self::Close { .. } => false,
        }
    }

    /// Whether a file gets a name that ends so.
    pub(super) fn makes(&self, name: &str) -> bool {
        match self {
            Self::Open { path, creates, .. } => *creates && path.ends_with(name),
            Self::Rename { to, .. } => to.ends_with(name),
            Self::MakeFolder { path } => path.ends_with(name),
            Self::Write { .. } | Self::Copy { .. } | Self::Seek { .. } | Self::Length { .. } => false,
            Self::SyncBegins { .. } | Self::SyncEnds { .. } | Self::Remove { .. } | Self::Duplicate { .. } => false,
            Self::Close { .. } | Self::Acknowledged(_) => false,
        }
    }
}

/// Paths are relative to `root`; what is written elsewhere is looked through for what was acknowledged.
///
/// A call that takes a while has two lines. A file that is closed counts as closed, and what is said as said, when the call
/// begins; bytes and names count when it ends; a sync makes durable what was there at its beginning, at its end.
pub(super) fn parse(
    text: &str,
    root: &Path,
    acknowledged: &impl Fn(&[u8]) -> Vec<String>,
) -> Result<Vec<Call>, ParseIntError> {
    let (mut calls, mut unfinished) = (Vec::new(), HashMap::new());
    let root = root.to_str().unwrap_or_default();
    for line in text.lines() {
        let Some((thread, line)) = line.split_once(' ') else { continue };
        let (thread, line) = (thread.parse::<u64>()?, line.trim_start());
        if let Some(begun) = line.strip_suffix("<unfinished ...>") {
            let begun = begun.trim_end();
            calls.extend(beginning(begun, thread, root, acknowledged));
            unfinished.insert(thread, begun.to_owned());
            continue;
        }
        let resumed = line.strip_prefix("<... ").and_then(|line| line.split_once(" resumed>"));
        let (line, was_split) = match resumed {
            Some((_, rest)) => (unfinished.remove(&thread).unwrap_or_default() + rest, true),
            None => (line.to_owned(), false),
        };
        let Some((call, result)) = line.rsplit_once(" = ") else { continue };
        if !was_split {
            calls.extend(beginning(call, thread, root, acknowledged));
        }
        let result = result.split(['<', ' ']).next().unwrap_or_default();
        let Ok(result) = result.parse::<u64>() else { continue };
        match synced(call) {
            Some(_) => calls.push(Call::SyncEnds { thread }),
            None => calls.extend(call_of(call, result, root)),
        }
    }
    Ok(calls)
}

fn beginning(call: &str, thread: u64, root: &str, acknowledged: &impl Fn(&[u8]) -> Vec<String>) -> Vec<Call> {
    if let Some(fd) = synced(call) {
        return vec![Call::SyncBegins { thread, fd }];
    }
    let Some((name, rest)) = call.split_once('(') else { return Vec::new() };
    let first = rest.split(", ").next().unwrap_or_default();
    match name {
        "close" => number(first).map(|fd| Call::Close { fd }).into_iter().collect(),
        "write" | "writev" | "sendto" | "sendmsg" if !is_below(first, root) => {
            let pieces = rest.split(", ").filter(|arg| arg.contains('"'));
            let bytes: Vec<u8> = pieces.flat_map(text).collect();
            acknowledged(&bytes).into_iter().map(Call::Acknowledged).collect()
        }
        _ => Vec::new(),
    }
}

fn synced(call: &str) -> Option<u64> {
    call.strip_prefix("fsync(").or(call.strip_prefix("fdatasync(")).and_then(number)
}

fn call_of(call: &str, result: u64, root: &str) -> Option<Call> {
    let (name, rest) = call.split_once('(')?;
    let args: Vec<&str> = rest.trim_end().trim_end_matches(')').split(", ").collect();
    let first = *args.first()?;
    let fd = || number(first);
    let is_data = matches!(name, "write" | "pwrite64" | "writev" | "pwritev");
    if is_data && !is_below(first, root) {
        return None;
    }
    Some(match name {
        "openat" => {
            let flags = args.get(2)?;
            let has = |flag: &str| flags.split('|').any(|of| of == flag);
            let path = path_at(first, args.get(1)?, root)?;
            let (creates, truncates) = (has("O_CREAT"), has("O_TRUNC"));
            Call::Open { fd: result, path, creates, truncates, appends: has("O_APPEND") }
        }
        "write" | "pwrite64" => {
            let mut bytes = text(args.get(1)?);
            bytes.truncate(result as usize);
            let at = if name == "pwrite64" { Some(number(args.get(3)?)?) } else { None };
            Call::Write { fd: fd()?, at, bytes }
        }
        "writev" | "pwritev" => {
            let pieces = args.iter().filter_map(|arg| arg.split_once("iov_base=")).flat_map(|(_, piece)| text(piece));
            let bytes: Vec<u8> = pieces.take(result as usize).collect();
            let at = if name == "pwritev" { number(args.last()?) } else { None };
            Call::Write { fd: fd()?, at, bytes }
        }
        "copy_file_range" => Call::Copy { from: fd()?, to: number(args.get(2)?)?, bytes: result },
        "sendfile" => Call::Copy { from: number(args.get(1)?)?, to: fd()?, bytes: result },
        "lseek" => Call::Seek { fd: fd()?, to: result },
        "ftruncate" => Call::Length { fd: fd()?, bytes: number(args.get(1)?)? },
        "rename" => Call::Rename { from: path_at("", first, root)?, to: path_at("", args.get(1)?, root)? },
        "renameat" | "renameat2" => {
            Call::Rename { from: path_at(first, args.get(1)?, root)?, to: path_at(args.get(2)?, args.get(3)?, root)? }
        }
        "unlink" | "rmdir" => Call::Remove { path: path_at("", first, root)? },
        "unlinkat" => Call::Remove { path: path_at(first, args.get(1)?, root)? },
        "mkdir" => Call::MakeFolder { path: path_at("", first, root)? },
        "mkdirat" => Call::MakeFolder { path: path_at(first, args.get(1)?, root)? },
        "fcntl" if call.contains("F_DUPFD") => Call::Duplicate { fd: fd()?, to: result },
        _ => return None,
    })
}

/// The number at the start: of a file, or a plain one.
fn number(arg: &str) -> Option<u64> {
    arg.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Whether an open file is below the folder: its path is beside its number.
fn is_below(file: &str, root: &str) -> bool {
    let path = file.split_once('<').map(|(_, path)| hex(path.trim_end_matches('>'))).unwrap_or_default();
    path.starts_with(root.as_bytes())
}

/// Bytes between the quotes, all as `\xhh`.
fn text(arg: &str) -> Vec<u8> {
    let quoted = arg.split('"').nth(1).unwrap_or_default();
    hex(quoted)
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |letter: u8| (letter as char).to_digit(16).unwrap_or(0) as u8;
    text.as_bytes().chunks_exact(4).map(|byte| digit(byte[2]) << 4 | digit(byte[3])).collect()
}

fn path_at(folder: &str, name: &str, root: &str) -> Option<String> {
    let name = String::from_utf8(text(name)).ok()?;
    let path = if name.starts_with('/') {
        name
    } else {
        let folder = folder.split_once('<').map(|(_, rest)| rest.trim_end_matches('>')).unwrap_or_default();
        format!("{}/{name}", String::from_utf8(hex(folder)).ok()?)
    };
    Some(path.strip_prefix(root)?.trim_matches('/').to_owned())
}
