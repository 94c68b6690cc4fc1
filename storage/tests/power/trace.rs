//! What `strace` wrote, as calls that change files.

use std::{collections::HashMap, path::Path};

use crate::Failed;

/// One call that came to its end, or began to sync.
#[derive(Clone, Debug)]
pub(crate) enum Call {
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
    Acknowledged(u64),
}

/// Paths are relative to `root`; what is elsewhere is left out.
pub(crate) fn parse(text: &str, root: &Path) -> Result<Vec<Call>, Failed> {
    let (mut calls, mut unfinished) = (Vec::new(), HashMap::new());
    let root = root.to_str().ok_or("a path in UTF-8")?;
    for line in text.lines() {
        let Some((thread, line)) = line.split_once(' ') else { continue };
        let (thread, line) = (thread.parse::<u64>()?, line.trim_start());
        if let Some(begun) = line.strip_suffix("<unfinished ...>") {
            let begun = begun.trim_end();
            if let Some(fd) = synced(begun) {
                calls.push(Call::SyncBegins { thread, fd });
            }
            unfinished.insert(thread, begun.to_owned());
            continue;
        }
        let resumed = line.strip_prefix("<... ").and_then(|line| line.split_once(" resumed>"));
        let (line, was_split) = match resumed {
            Some((_, rest)) => (unfinished.remove(&thread).unwrap_or_default() + rest, true),
            None => (line.to_owned(), false),
        };
        let Some((call, result)) = line.rsplit_once(" = ") else { continue };
        let result = result.split(['<', ' ']).next().unwrap_or_default();
        let Ok(result) = result.parse::<u64>() else { continue };
        if let Some(fd) = synced(call) {
            if !was_split {
                calls.push(Call::SyncBegins { thread, fd });
            }
            calls.push(Call::SyncEnds { thread });
            continue;
        }
        calls.extend(call_of(call, result, root));
    }
    Ok(calls)
}

fn synced(call: &str) -> Option<u64> {
    call.strip_prefix("fsync(").or(call.strip_prefix("fdatasync(")).and_then(number)
}

fn call_of(call: &str, result: u64, root: &str) -> Option<Call> {
    let (name, rest) = call.split_once('(')?;
    let args: Vec<&str> = rest.trim_end().trim_end_matches(')').split(", ").collect();
    let fd = || number(args.first()?);
    Some(match name {
        "openat" => {
            let flags = args.get(2)?;
            let has = |flag: &str| flags.split('|').any(|of| of == flag);
            let path = path_at(args[0], args.get(1)?, root)?;
            let (creates, truncates) = (has("O_CREAT"), has("O_TRUNC"));
            Call::Open { fd: result, path, creates, truncates, appends: has("O_APPEND") }
        }
        "write" => {
            let mut bytes = text(args.get(1)?);
            bytes.truncate(result as usize);
            let said = String::from_utf8_lossy(&bytes);
            match said.trim().strip_prefix("acknowledged ").and_then(|groups| groups.parse().ok()) {
                Some(groups) if fd()? == 1 => Call::Acknowledged(groups),
                _ => Call::Write { fd: fd()?, at: None, bytes },
            }
        }
        "pwrite64" => {
            let mut bytes = text(args.get(1)?);
            bytes.truncate(result as usize);
            Call::Write { fd: fd()?, at: Some(number(args.get(3)?)?), bytes }
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
        "rename" => Call::Rename { from: path_at("", args[0], root)?, to: path_at("", args.get(1)?, root)? },
        "renameat" | "renameat2" => {
            Call::Rename { from: path_at(args[0], args.get(1)?, root)?, to: path_at(args.get(2)?, args.get(3)?, root)? }
        }
        "unlink" | "rmdir" => Call::Remove { path: path_at("", args[0], root)? },
        "unlinkat" => Call::Remove { path: path_at(args[0], args.get(1)?, root)? },
        "mkdir" => Call::MakeFolder { path: path_at("", args[0], root)? },
        "mkdirat" => Call::MakeFolder { path: path_at(args[0], args.get(1)?, root)? },
        "fcntl" if call.contains("F_DUPFD") => Call::Duplicate { fd: fd()?, to: result },
        "close" => Call::Close { fd: fd()? },
        _ => return None,
    })
}

/// The number at the start: of a file, or a plain one.
fn number(arg: &str) -> Option<u64> {
    arg.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
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
