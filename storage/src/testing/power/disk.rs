//! A disk with a cache: what was synced is on it, and of the rest any part may be.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::Path,
};

use super::{Dice, Model, Names, content::Content, trace::Call};

type Node = usize;
type Name = (Node, String);
const ROOT: Node = 0;

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
pub(super) struct Disk {
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
    pub(super) fn of(root: &Path) -> io::Result<Self> {
        let mut disk = Self { nodes: vec![Kept { is_folder: true, ..Kept::default() }], ..Self::default() };
        disk.load(root, ROOT)?;
        disk.lasting = disk.names.clone();
        Ok(disk)
    }

    fn load(&mut self, folder: &Path, parent: Node) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let (path, is_folder) = {
                let entry = entry?;
                (entry.path(), entry.file_type()?.is_dir())
            };
            let now = if is_folder { Content::default() } else { Content::read(&path)? };
            let node = self.nodes.len();
            self.nodes.push(Kept { is_folder, synced: now.clone(), now });
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.names.insert((parent, name), node);
            if is_folder {
                self.load(&path, node)?;
            }
        }
        Ok(())
    }

    pub(super) fn apply(&mut self, call: &Call, model: Model) {
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
                let (node, start) = (file.node, file.at);
                file.at += bytes;
                let copied = self.nodes[node].now.bytes(start, *bytes as usize);
                self.write(*to, None, &copied);
            }
            Call::Seek { fd, to } => {
                if let Some(file) = self.open.get_mut(fd) {
                    file.at = *to;
                }
            }
            Call::Length { fd, bytes } => {
                if let Some(file) = self.open.get(fd) {
                    self.nodes[file.node].now.set_length(*bytes);
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
        let start = if file.appends { content.length() } else { at.unwrap_or(file.at) };
        if at.is_none() {
            file.at = start + bytes.len() as u64;
        }
        content.write(start, bytes);
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
    pub(super) fn after_cut(&self, to: &Path, model: Model, dice: &mut Dice) -> io::Result<()> {
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
    ) -> io::Result<()> {
        fs::create_dir_all(to)?;
        for ((_, name), node) in names.range((folder, String::new())..(folder + 1, String::new())) {
            let (file, path) = (&self.nodes[*node], to.join(name));
            if file.is_folder {
                self.write_folder(*node, &path, names, model, dice)?;
            } else {
                torn(&file.synced, &file.now, model.block, dice).save(&path)?;
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
    let differs = synced.differing(now, block);
    let kind = dice.below(5);
    let (start, hole) = (dice.below(differs.len() as u64 + 1), dice.below(differs.len() as u64));
    let mut content = synced.clone();
    for (order, number) in differs.into_iter().enumerate() {
        let order = order as u64;
        let is_written = match kind {
            0 => false,
            1 => true,
            2 => order < start,
            3 => order != hole,
            _ => dice.below(2) == 0,
        };
        if is_written {
            content.take_block(now, number, block);
        }
    }
    let is_longer = kind != 0 && (kind != 4 || dice.below(2) == 0);
    content.set_length(if is_longer { now.length() } else { synced.length() });
    content
}
