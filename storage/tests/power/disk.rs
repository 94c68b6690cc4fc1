//! A disk with a cache: what was synced is on it, and of the rest any part may be.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::Write,
    path::Path,
};

use crate::{Dice, Failed, trace::Call};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// As on ext4: names reach the disk in their order, and any sync takes along all before it.
    Ordered,
    /// POSIX alone: in any order, until their folder is synced.
    Any,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub(crate) names: Names,
    pub(crate) block: usize,
    pub(crate) counts_syncs: bool,
}

type Node = usize;
type Name = (Node, String);
const ROOT: Node = 0;

/// What follows `bytes` up to `length` is zeros.
#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    length: u64,
}

#[derive(Clone, Default)]
struct Kept {
    is_folder: bool,
    now: Content,
    synced: Content,
}

#[derive(Clone, Copy)]
struct OpenFile {
    node: Node,
    at: u64,
    appends: bool,
}

/// Names that change together.
type Change = Vec<(Name, Option<Node>)>;

#[derive(Clone, Default)]
pub(crate) struct Disk {
    nodes: Vec<Kept>,
    names: BTreeMap<Name, Node>,
    lasting: BTreeMap<Name, Node>,
    /// Names that are not on the disk yet, oldest first.
    changes: Vec<Change>,
    open: HashMap<u64, OpenFile>,
    /// By thread: what is synced by a sync that began, and how many names changed before it.
    syncing: HashMap<u64, (Node, Content, usize)>,
    forgotten: usize,
}

impl Disk {
    /// What is below a folder, all of it on the disk.
    pub(crate) fn of(root: &Path) -> Result<Self, Failed> {
        let mut disk = Self { nodes: vec![Kept { is_folder: true, ..Kept::default() }], ..Self::default() };
        disk.load(root, ROOT)?;
        disk.lasting = disk.names.clone();
        Ok(disk)
    }

    fn load(&mut self, folder: &Path, parent: Node) -> Result<(), Failed> {
        for entry in fs::read_dir(folder)? {
            let (path, is_folder) = {
                let entry = entry?;
                (entry.path(), entry.file_type()?.is_dir())
            };
            let mut now = Content::default();
            if !is_folder {
                now.bytes = fs::read(&path)?;
                now.length = now.bytes.len() as u64;
                let end = now.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                now.bytes.truncate(end);
            }
            let node = self.nodes.len();
            self.nodes.push(Kept { is_folder, synced: now.clone(), now });
            let name = path.file_name().and_then(|name| name.to_str()).ok_or("a name")?;
            self.names.insert((parent, name.to_owned()), node);
            if is_folder {
                self.load(&path, node)?;
            }
        }
        Ok(())
    }

    pub(crate) fn apply(&mut self, call: &Call, model: Model) {
        match call {
            Call::Open { fd, path, creates, truncates, appends } => {
                self.open.remove(fd);
                if let Some(node) = self.find(path).or_else(|| creates.then(|| self.make(path, false)).flatten()) {
                    if *truncates {
                        self.nodes[node].now = Content::default();
                    }
                    self.open.insert(*fd, OpenFile { node, at: 0, appends: *appends });
                }
            }
            Call::Write { fd, at, bytes } => self.write(*fd, *at, bytes),
            Call::Copy { from, to, bytes } => {
                let Some(file) = self.open.get_mut(from) else { return };
                let (node, start) = (file.node, file.at as usize);
                file.at += bytes;
                let content = &self.nodes[node].now;
                let end = start + *bytes as usize;
                let copied = (start..end).map(|at| content.bytes.get(at).copied().unwrap_or(0)).collect::<Vec<_>>();
                self.write(*to, None, &copied);
            }
            Call::Seek { fd, to } => {
                if let Some(file) = self.open.get_mut(fd) {
                    file.at = *to;
                }
            }
            Call::Length { fd, bytes } => {
                if let Some(file) = self.open.get(fd) {
                    let content = &mut self.nodes[file.node].now;
                    content.bytes.truncate(*bytes as usize);
                    content.length = *bytes;
                }
            }
            Call::SyncBegins { thread, fd } => {
                if let Some(file) = self.open.get(fd) {
                    let now = self.nodes[file.node].now.clone();
                    self.syncing.insert(*thread, (file.node, now, self.forgotten + self.changes.len()));
                }
            }
            Call::SyncEnds { thread } => {
                if let Some((node, content, changes)) = self.syncing.remove(thread)
                    && model.counts_syncs
                {
                    self.nodes[node].synced = content;
                    self.names_last(node, changes, model.names);
                }
            }
            Call::Rename { from, to } => self.rename(from, to),
            Call::Remove { path } => {
                if let Some(name) = self.name(path).filter(|name| self.names.remove(name).is_some()) {
                    self.changes.push(vec![(name, None)]);
                }
            }
            Call::MakeFolder { path } => {
                self.make(path, true);
            }
            Call::Duplicate { fd, to } => {
                if let Some(file) = self.open.get(fd).copied() {
                    self.open.insert(*to, file);
                }
            }
            Call::Close { fd } => {
                self.open.remove(fd);
            }
            Call::Acknowledged(_) => {}
        }
    }

    fn find(&self, path: &str) -> Option<Node> {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.into_iter().try_fold(ROOT, |folder, name| self.names.get(&(folder, name.to_owned())).copied())
    }

    fn name(&self, path: &str) -> Option<Name> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Some((self.find(folder)?, name.to_owned()))
    }

    fn make(&mut self, path: &str, is_folder: bool) -> Option<Node> {
        let (name, node) = (self.name(path)?, self.nodes.len());
        self.nodes.push(Kept { is_folder, ..Kept::default() });
        self.names.insert(name.clone(), node);
        self.changes.push(vec![(name, Some(node))]);
        Some(node)
    }

    fn rename(&mut self, from: &str, to: &str) {
        let (Some(from), Some(to)) = (self.name(from), self.name(to)) else { return };
        if let Some(node) = self.names.remove(&from) {
            self.names.insert(to.clone(), node);
            self.changes.push(vec![(from, None), (to, Some(node))]);
        }
    }

    fn write(&mut self, fd: u64, at: Option<u64>, bytes: &[u8]) {
        let Some(file) = self.open.get_mut(&fd) else { return };
        let content = &mut self.nodes[file.node].now;
        let start = if file.appends { content.length } else { at.unwrap_or(file.at) };
        let end = start + bytes.len() as u64;
        if at.is_none() {
            file.at = end;
        }
        content.bytes.resize(content.bytes.len().max(end as usize), 0);
        content.bytes[start as usize..end as usize].copy_from_slice(bytes);
        content.length = content.length.max(end);
    }

    /// A sync of this node is over, before which so many names had changed.
    fn names_last(&mut self, node: Node, changes: usize, names: Names) {
        let before = changes.saturating_sub(self.forgotten);
        let mut kept = Vec::new();
        for (number, change) in std::mem::take(&mut self.changes).into_iter().enumerate() {
            let of_it = change.iter().any(|((folder, _), _)| *folder == node);
            if number < before && (names == Names::Ordered || of_it) {
                put(&mut self.lasting, &change);
                self.forgotten += 1;
            } else {
                kept.push(change);
            }
        }
        self.changes = kept;
    }

    /// What the disk may hold after a cut.
    pub(crate) fn after_cut(&self, to: &Path, model: Model, dice: &mut Dice) -> Result<(), Failed> {
        let (mut names, prefix) = (self.lasting.clone(), dice.below(self.changes.len() as u64 + 1) as usize);
        for (number, change) in self.changes.iter().enumerate() {
            let lasts = match model.names {
                Names::Ordered => number < prefix,
                Names::Any => dice.below(2) == 0,
            };
            if lasts {
                put(&mut names, change);
            }
        }
        self.write_folder(ROOT, to, &names, model, dice)
    }

    fn write_folder(
        &self,
        folder: Node,
        to: &Path,
        names: &BTreeMap<Name, Node>,
        model: Model,
        dice: &mut Dice,
    ) -> Result<(), Failed> {
        fs::create_dir_all(to)?;
        for ((_, name), node) in names.range((folder, String::new())..(folder + 1, String::new())) {
            let (file, path) = (&self.nodes[*node], to.join(name));
            if file.is_folder {
                self.write_folder(*node, &path, names, model, dice)?;
            } else {
                let content = torn(&file.synced, &file.now, model.block, dice);
                let mut file = File::create(path)?;
                file.write_all(&content.bytes)?;
                file.set_len(content.length)?;
            }
        }
        Ok(())
    }
}

fn put(names: &mut BTreeMap<Name, Node>, change: &Change) {
    for (name, node) in change {
        match node {
            Some(node) => names.insert(name.clone(), *node),
            None => names.remove(name),
        };
    }
}

/// Of what changed since the sync: nothing, all, a start, all but a hole, or any blocks.
fn torn(synced: &Content, now: &Content, block: usize, dice: &mut Dice) -> Content {
    let end = synced.bytes.len().max(now.bytes.len());
    let at = |content: &Content, at: usize| content.bytes.get(at).copied().unwrap_or(0);
    let differs: Vec<usize> = (0..end.div_ceil(block))
        .filter(|number| {
            (number * block..((number + 1) * block).min(end)).any(|byte| at(synced, byte) != at(now, byte))
        })
        .collect();
    let kind = dice.below(5);
    let (start, hole) = (dice.below(differs.len() as u64 + 1), dice.below(differs.len() as u64));
    let mut bytes: Vec<u8> = (0..end).map(|byte| at(synced, byte)).collect();
    for (order, number) in differs.iter().enumerate() {
        let order = order as u64;
        let is_written = match kind {
            0 => false,
            1 => true,
            2 => order < start,
            3 => order != hole,
            _ => dice.below(2) == 0,
        };
        if is_written {
            let written = number * block..((number + 1) * block).min(end);
            bytes[written.clone()].iter_mut().zip(written).for_each(|(byte, place)| *byte = at(now, place));
        }
    }
    let is_longer = kind != 0 && (kind != 4 || dice.below(2) == 0);
    let length = if is_longer { now.length } else { synced.length };
    bytes.truncate(length as usize);
    Content { bytes, length }
}
