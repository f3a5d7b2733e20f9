//! What a simulated disk holds: for each file and folder what a program sees, and what is durable.
//!
//! A write, a cut and a change of a folder's entry are seen at once and become durable with a sync.
//! Until then each of them is pending, and a power loss decides for each on its own whether it
//! happened: a write also in part, sector by sector, in any order.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path};

use rand::Rng;
use rand::rngs::SmallRng;

/// What a power loss writes whole or not at all.
const SECTOR: usize = 512;

pub(crate) type Inode = u64;

const ROOT: Inode = 0;

#[derive(Debug, Clone)]
enum Node {
    Folder(Folder),
    File(Content),
}

/// Names, as they are seen and as they are durable.
#[derive(Debug, Clone, Default)]
struct Folder {
    seen: BTreeMap<OsString, Inode>,
    durable: BTreeMap<OsString, Inode>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pub(crate) seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Edit>,
    /// Microseconds since the Unix epoch.
    pub(crate) modified: i64,
}

#[derive(Debug, Clone)]
enum Edit {
    Write { offset: usize, bytes: Vec<u8> },
    Cut(usize),
}

/// A change of an entry that is not durable.
#[derive(Debug, Clone)]
struct Change {
    number: u64,
    folder: Inode,
    name: OsString,
    to: Option<Inode>,
    /// The old name of a renamed file goes only if the new one is there.
    after: Option<u64>,
}

/// How a power loss treats what is pending.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Everything,
    Nothing,
    Some,
}

impl Loss {
    fn draw(random: &mut SmallRng) -> Self {
        match random.random_range(0..6) {
            0 => Self::Everything,
            1 => Self::Nothing,
            _ => Self::Some,
        }
    }

    fn keeps(self, random: &mut SmallRng) -> bool {
        match self {
            Self::Everything => false,
            Self::Nothing => true,
            Self::Some => random.random(),
        }
    }
}

/// All files and folders of a disk.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    nodes: BTreeMap<Inode, Node>,
    changes: Vec<Change>,
    next_inode: Inode,
    next_change: u64,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let nodes = BTreeMap::from([(ROOT, Node::Folder(Folder::default()))]);
        Self { nodes, changes: Vec::new(), next_inode: ROOT + 1, next_change: 0 }
    }

    fn folder(&mut self, inode: Inode) -> io::Result<&mut Folder> {
        match self.nodes.get_mut(&inode) {
            Some(Node::Folder(folder)) => Ok(folder),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(crate) fn content(&mut self, inode: Inode) -> io::Result<&mut Content> {
        match self.nodes.get_mut(&inode) {
            Some(Node::File(content)) => Ok(content),
            Some(Node::Folder(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The file or folder that a path names.
    pub(crate) fn find(&self, path: &Path) -> io::Result<Inode> {
        let mut at = ROOT;
        for component in path.components() {
            let name = match component {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(name) => name,
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            };
            let Some(Node::Folder(folder)) = self.nodes.get(&at) else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            at = *folder.seen.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    fn find_parent<'a>(&self, path: &'a Path) -> io::Result<(Inode, &'a OsStr)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Ok((self.find(parent)?, name))
    }

    fn change(
        &mut self,
        folder: Inode,
        name: &OsStr,
        to: Option<Inode>,
        after: Option<u64>,
    ) -> io::Result<u64> {
        let seen = &mut self.folder(folder)?.seen;
        match to {
            Some(inode) => seen.insert(name.to_owned(), inode),
            None => seen.remove(name),
        };
        let number = self.next_change;
        self.next_change += 1;
        self.changes.push(Change { number, folder, name: name.to_owned(), to, after });
        Ok(number)
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<Inode> {
        let (folder, name) = self.find_parent(path)?;
        if self.folder(folder)?.seen.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.next_inode;
        self.next_inode += 1;
        self.nodes.insert(inode, node);
        self.change(folder, name, Some(inode), None)?;
        Ok(inode)
    }

    pub(crate) fn create(&mut self, path: &Path, now: i64) -> io::Result<Inode> {
        self.add(path, Node::File(Content { modified: now, ..Content::default() }))
    }

    pub(crate) fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        self.add(path, Node::Folder(Folder::default())).map(|_| ())
    }

    pub(crate) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        let (folder, name) = self.find_parent(to)?;
        if self.folder(folder)?.seen.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(folder, name, Some(inode), None).map(|_| ())
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        let (old_folder, old_name) = self.find_parent(from)?;
        let (folder, name) = self.find_parent(to)?;
        let number = self.change(folder, name, Some(inode), None)?;
        self.change(old_folder, old_name, None, Some(number)).map(|_| ())
    }

    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path)?;
        self.content(inode)?;
        let (folder, name) = self.find_parent(path)?;
        self.change(folder, name, None, None).map(|_| ())
    }

    /// Length, modification time, and whether it is a folder.
    pub(crate) fn describe(&self, inode: Inode) -> io::Result<(usize, i64, bool)> {
        match self.nodes.get(&inode) {
            Some(Node::File(content)) => Ok((content.seen.len(), content.modified, false)),
            Some(Node::Folder(_)) => Ok((0, 0, true)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Entries of a folder, oldest first, and whether each is a folder.
    pub(crate) fn list(&self, path: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let Some(Node::Folder(folder)) = self.nodes.get(&self.find(path)?) else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        let mut entries: Vec<_> = folder.seen.iter().collect();
        // Names are random; the order of a run must not be.
        entries.sort_unstable_by_key(|(_, inode)| **inode);
        let is_folder = |inode| matches!(self.nodes.get(inode), Some(Node::Folder(_)));
        Ok(entries.into_iter().map(|(name, inode)| (name.clone(), is_folder(inode))).collect())
    }

    /// Bytes of all files that have a name.
    pub(crate) fn used(&self) -> usize {
        let named = self.nodes.values().filter_map(|node| match node {
            Node::Folder(folder) => Some(folder.seen.values()),
            Node::File(_) => None,
        });
        let inodes: std::collections::BTreeSet<_> = named.flatten().collect();
        inodes.into_iter().filter_map(|inode| self.describe(*inode).ok()).map(|d| d.0).sum()
    }

    /// Makes a folder's entries durable.
    pub(crate) fn sync_folder(&mut self, inode: Inode) -> io::Result<()> {
        self.folder(inode)?;
        // An old name goes no sooner than the new one comes.
        let mut wanted: Vec<u64> = Vec::new();
        for change in self.changes.iter().rev() {
            if change.folder == inode || wanted.contains(&change.number) {
                wanted.push(change.number);
                wanted.extend(change.after);
            }
        }
        let changes = std::mem::take(&mut self.changes);
        for change in changes {
            if wanted.contains(&change.number) {
                self.settle(change);
            } else {
                self.changes.push(change);
            }
        }
        Ok(())
    }

    fn settle(&mut self, change: Change) {
        if let Ok(folder) = self.folder(change.folder) {
            match change.to {
                Some(inode) => folder.durable.insert(change.name, inode),
                None => folder.durable.remove(&change.name),
            };
        }
    }

    /// The power fails and comes back: what is pending happened or did not, and is seen so.
    pub(crate) fn lose_power(&mut self, random: &mut SmallRng) {
        let loss = Loss::draw(random);
        let mut kept: Vec<u64> = Vec::new();
        let first = self.changes.first().map_or(0, |c| c.number);
        for change in std::mem::take(&mut self.changes) {
            let possible = change.after.is_none_or(|n| n < first || kept.contains(&n));
            if loss.keeps(random) && possible {
                kept.push(change.number);
                self.settle(change);
            }
        }
        for node in self.nodes.values_mut() {
            match node {
                Node::Folder(folder) => folder.seen = folder.durable.clone(),
                Node::File(content) => content.lose_power(random),
            }
        }
        self.forget_unnamed();
    }

    /// Drops what no name leads to.
    fn forget_unnamed(&mut self) {
        let mut named = std::collections::BTreeSet::from([ROOT]);
        let mut folders = vec![ROOT];
        while let Some(inode) = folders.pop() {
            let Some(Node::Folder(folder)) = self.nodes.get(&inode) else { continue };
            for inode in folder.seen.values() {
                if named.insert(*inode) {
                    folders.push(*inode);
                }
            }
        }
        self.nodes.retain(|inode, _| named.contains(inode));
    }
}

impl Content {
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8], now: i64) {
        self.pending.push(Edit::Write { offset, bytes: bytes.to_vec() });
        put(&mut self.seen, offset, bytes);
        self.modified = now;
    }

    pub(crate) fn set_length(&mut self, length: usize, now: i64) {
        self.pending.push(Edit::Cut(length));
        self.seen.resize(length, 0);
        self.modified = now;
    }

    /// Makes everything that was not given up durable.
    pub(crate) fn sync(&mut self) {
        for edit in std::mem::take(&mut self.pending) {
            match edit {
                Edit::Write { offset, bytes } => put(&mut self.durable, offset, &bytes),
                Edit::Cut(length) => self.durable.resize(length, 0),
            }
        }
    }

    /// A sync fails: what is pending reaches the disk or never will, and nobody is told again.
    pub(crate) fn fail_sync(&mut self, random: &mut SmallRng) {
        let seen = self.seen.clone();
        self.lose_power(random);
        if random.random() {
            // The pages stay in memory, marked clean.
            self.seen = seen;
        }
    }

    fn lose_power(&mut self, random: &mut SmallRng) {
        let loss = Loss::draw(random);
        for edit in std::mem::take(&mut self.pending) {
            match edit {
                Edit::Cut(length) => {
                    if loss.keeps(random) {
                        self.durable.resize(length, 0);
                    }
                }
                Edit::Write { offset, bytes } => {
                    let torn = matches!(loss, Loss::Some) && random.random();
                    if !torn {
                        if loss.keeps(random) {
                            put(&mut self.durable, offset, &bytes);
                        }
                        continue;
                    }
                    let mut at = offset;
                    let mut rest = bytes.as_slice();
                    while !rest.is_empty() {
                        let length = rest.len().min(SECTOR - at % SECTOR);
                        let (sector, after) = rest.split_at(length);
                        if random.random() {
                            put(&mut self.durable, at, sector);
                        }
                        (at, rest) = (at + length, after);
                    }
                    if random.random() && self.durable.len() < at {
                        // The new length got there, the bytes did not.
                        self.durable.resize(at, 0);
                    }
                }
            }
        }
        self.seen = self.durable.clone();
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}
