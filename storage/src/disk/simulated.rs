//! A disk in memory that behaves as badly as POSIX allows, by a seed.
//!
//! - A [`Machine`] outlives the programs that run on it. [`Machine::start`] begins a program: the disk
//!   that it gets works until the next crash or start, and then never again.
//! - A crash comes at a chosen operation, which may still have happened. When only the program died,
//!   what it wrote is seen by the next one though it is not durable; when the power failed, what was
//!   not synced is there or not ([`tree`]).
//! - A failed sync of a file gives its pending writes up for good and the next sync reports success, as
//!   Linux does.
//! - A full disk takes what fits and refuses the rest.
//! - Each operation takes time of a virtual clock, some take seconds of it.

pub(crate) mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use self::tree::{Inode, Tree};
use super::{Disk, File, FolderEntry, Lock, Metadata, Mode};
use crate::clock::Clock;

/// What a crash takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The program: what it wrote stays in the system's memory.
    Program,
    /// The machine: what was not synced may be lost.
    Power,
}

/// Operations that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Sync,
    /// Names: create, rename, remove, sync of folders.
    Folder,
}

/// How the disk betrays the rules, to prove that a simulation on it notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Syncs of files report success and do nothing.
    FileSync,
    /// So do syncs of folders.
    FolderSync,
}

/// A computer with one disk.
#[derive(Debug, Clone)]
pub(crate) struct Machine(Arc<Mutex<World>>);

#[derive(Debug)]
struct World {
    tree: Tree,
    random: SmallRng,
    /// Microseconds since the Unix epoch.
    now: i64,
    /// The program that runs; disks of others are dead.
    program: u64,
    crashed: Option<Crash>,
    /// Operations so far.
    operations: u64,
    crash_at: Option<(u64, Crash)>,
    /// Operations of a kind that fail from now on, and how many of them go well first.
    failing: Option<(Kind, u32, u32)>,
    /// Bytes that the disk can hold.
    capacity: Option<usize>,
    sabotage: Option<Sabotage>,
    locks: BTreeMap<Inode, u64>,
    /// What was done last, if someone wants to know.
    trace: Vec<String>,
    /// Whether the trace has every operation of the disk.
    traces_operations: bool,
}

impl Machine {
    pub(crate) fn new(seed: u64, now: i64) -> Self {
        Self(Arc::new(Mutex::new(World {
            tree: Tree::new(),
            random: SmallRng::seed_from_u64(seed),
            now,
            program: 0,
            crashed: None,
            operations: 0,
            crash_at: None,
            failing: None,
            capacity: None,
            sabotage: None,
            locks: BTreeMap::new(),
            trace: Vec::new(),
            traces_operations: false,
        })))
    }

    /// Begins a program. Whatever ran before is dead; a crash happens if none has.
    pub(crate) fn start(&self) -> SimulatedDisk {
        let mut world = self.0.lock();
        let World { tree, random, crashed, .. } = &mut *world;
        if *crashed == Some(Crash::Power) {
            tree.lose_power(random);
        }
        world.crashed = None;
        world.crash_at = None;
        world.locks.clear();
        world.program += 1;
        SimulatedDisk { machine: self.clone(), program: world.program }
    }

    /// Ends what runs, now.
    pub(crate) fn crash(&self, crash: Crash) {
        self.0.lock().crashed = Some(crash);
    }

    /// Ends what runs at the operation that is `after` others away.
    pub(crate) fn crash_after(&self, after: u64, crash: Crash) {
        let mut world = self.0.lock();
        world.crash_at = Some((world.operations + 1 + after, crash));
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.0.lock().crashed.is_some()
    }

    /// Makes `count` operations of a kind fail, after `first` that do not.
    pub(crate) fn fail(&self, kind: Kind, first: u32, count: u32) {
        self.0.lock().failing = Some((kind, first, count));
    }

    /// Leaves room for so many bytes more.
    pub(crate) fn fill(&self, room: usize) {
        let mut world = self.0.lock();
        world.capacity = Some(world.tree.used() + room);
    }

    /// Nothing fails any more.
    pub(crate) fn heal(&self) {
        let mut world = self.0.lock();
        world.capacity = None;
        world.failing = None;
        world.crash_at = None;
    }

    pub(crate) fn sabotage(&self, sabotage: Sabotage) {
        self.0.lock().sabotage = Some(sabotage);
    }

    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Adds every operation to the trace from now on.
    pub(crate) fn trace_operations(&self) {
        self.0.lock().traces_operations = true;
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&self, text: String) {
        self.0.lock().trace.push(text);
    }

    pub(crate) fn take_trace(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().trace)
    }

    pub(crate) fn now(&self) -> i64 {
        self.0.lock().now
    }

    pub(crate) fn set_clock(&self, now: i64) {
        self.0.lock().now = now;
    }

    /// The machine's clock.
    pub(crate) fn clock(&self) -> Clock {
        let machine = self.clone();
        Clock::new(move || machine.now())
    }

    /// What a file holds, seen from outside of the simulation.
    pub(crate) fn peek(&self, path: &Path) -> io::Result<Vec<u8>> {
        let tree = &mut self.0.lock().tree;
        let inode = tree.find(path)?;
        Ok(tree.content(inode)?.seen.clone())
    }

    /// Whether there is a folder, seen from outside of the simulation.
    pub(crate) fn peek_folder(&self, path: &Path) -> bool {
        self.0.lock().tree.list(path).is_ok()
    }

    /// Changes what a file holds, durably, from outside of the simulation.
    pub(crate) fn edit(&self, path: &Path, change: impl FnOnce(&str) -> String) {
        let World { tree, now, .. } = &mut *self.0.lock();
        let inode = tree.find(path).unwrap();
        let content = tree.content(inode).unwrap();
        let text = change(std::str::from_utf8(&content.seen).unwrap());
        content.set_length(0, *now);
        content.write(0, text.as_bytes(), *now);
        content.sync();
    }

    /// The files below a folder, seen from outside of the simulation.
    pub(crate) fn peek_files(&self, folder: &Path) -> Vec<PathBuf> {
        let world = self.0.lock();
        let mut files = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for (name, is_folder) in world.tree.list(&folder).unwrap_or_default() {
                let list = if is_folder { &mut folders } else { &mut files };
                list.push(folder.join(name));
            }
        }
        files
    }
}

impl World {
    /// Whether an operation of this kind is to fail.
    fn fails(&mut self, kind: Kind) -> bool {
        let Some((failing, first, count)) = &mut self.failing else { return false };
        if *failing != kind {
            return false;
        }
        if *first > 0 {
            *first -= 1;
            return false;
        }
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.failing = None;
        }
        true
    }

    fn record(&mut self, what: &'static str, path: &Path) {
        if self.traces_operations {
            self.trace.push(format!("  {} {what} {}", self.operations, path.display()));
        }
    }

    fn room(&self) -> usize {
        self.capacity.map_or(usize::MAX, |c| c.saturating_sub(self.tree.used()))
    }
}

fn off() -> io::Error {
    io::Error::other("the machine is off")
}

fn full() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error())
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

/// The disk of a machine, as one program has it.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedDisk {
    machine: Machine,
    program: u64,
}

impl SimulatedDisk {
    fn run<T>(
        &self,
        kind: Kind,
        what: &'static str,
        path: &Path,
        work: impl FnOnce(&mut World) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut world = self.machine.0.lock();
        if world.crashed.is_some() || world.program != self.program {
            return Err(off());
        }
        world.operations += 1;
        world.record(what, path);
        let slow = world.random.random_ratio(1, 200);
        let took = if slow { world.random.random_range(0..3_000_000) } else { 20 };
        world.now += took;
        if let Some((at, crash)) = world.crash_at
            && world.operations >= at
        {
            if world.random.random() {
                let _ = work(&mut world);
            }
            world.crashed = Some(crash);
            world.record("crash", path);
            return Err(off());
        }
        // A file's sync fails in its own way.
        if kind != Kind::Sync && world.fails(kind) {
            world.record("fail", path);
            return Err(broken());
        }
        work(&mut world)
    }

    fn file(&self, path: &Path, inode: Inode) -> Box<dyn File> {
        Box::new(SimulatedFile { disk: self.clone(), path: path.to_owned(), inode, at: 0 })
    }
}

fn describe(tree: &Tree, inode: Inode) -> io::Result<Metadata> {
    let (length, modified, is_folder) = tree.describe(inode)?;
    let since = Duration::from_micros(modified.unsigned_abs());
    Ok(Metadata { length: to_u64(length), modified: SystemTime::UNIX_EPOCH + since, is_folder })
}

fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        let (kind, what) = match mode {
            Mode::Read => (Kind::Read, "open"),
            Mode::Write => (Kind::Write, "open to write"),
            Mode::Create => (Kind::Folder, "create"),
        };
        let inode = self.run(kind, what, path, |world| match mode {
            Mode::Create if world.room() == 0 => Err(full()),
            Mode::Create => world.tree.create(path, world.now),
            Mode::Read | Mode::Write => world.tree.find(path),
        })?;
        Ok(self.file(path, inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(Kind::Folder, "rename", to, |world| world.tree.rename(from, to))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(Kind::Folder, "link", to, |world| world.tree.link(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.run(Kind::Folder, "remove", path, |world| world.tree.remove(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.run(Kind::Folder, "create folder", path, |world| match world.room() {
            0 => Err(full()),
            _ => world.tree.create_folder(path),
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.run(Kind::Folder, "sync folder", path, |world| {
            let inode = world.tree.find(path)?;
            if world.sabotage == Some(Sabotage::FolderSync) {
                return Ok(());
            }
            world.tree.sync_folder(inode)
        })
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<FolderEntry>> {
        let entries = self.run(Kind::Read, "list", path, |world| world.tree.list(path))?;
        let entry = |(name, is_folder)| FolderEntry { name, is_folder };
        Ok(entries.into_iter().map(entry).collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.run(Kind::Read, "stat", path, |world| describe(&world.tree, world.tree.find(path)?))
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.metadata(path).map(|_| path.to_owned())
    }

    fn blocks(&self) -> bool {
        // Several threads would make the order of operations a matter of luck.
        false
    }

    fn unique(&self) -> uuid::Uuid {
        uuid::Builder::from_random_bytes(self.machine.0.lock().random.random()).into_uuid()
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let program = self.program;
        let taken = self.run(Kind::Folder, "lock", path, |world| {
            let inode = match world.tree.find(path) {
                Ok(inode) => inode,
                Err(_) => world.tree.create(path, world.now)?,
            };
            if world.locks.contains_key(&inode) {
                return Ok(None);
            }
            world.locks.insert(inode, program);
            let now = world.now;
            let content = world.tree.content(inode)?;
            content.set_length(0, now);
            content.write(0, holder.as_bytes(), now);
            Ok(Some(inode))
        })?;
        Ok(taken.map(|inode| -> Box<dyn Lock> {
            Box::new(SimulatedLock { disk: self.clone(), inode })
        }))
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    path: PathBuf,
    inode: Inode,
    /// Where the next write goes.
    at: usize,
}

impl Write for SimulatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (at, inode) = (self.at, self.inode);
        let written = self.disk.run(Kind::Write, "write", &self.path, |world| {
            let length = world.tree.content(inode)?.seen.len();
            let room = world.room().saturating_add(length.saturating_sub(at));
            let fits = bytes.len().min(room);
            if fits == 0 && !bytes.is_empty() {
                return Err(full());
            }
            let now = world.now;
            // A crash at this very operation may leave a part of it.
            let dying = world.crash_at.is_some_and(|(at, _)| world.operations >= at);
            let fits = if dying { world.random.random_range(0..=fits) } else { fits };
            world.tree.content(inode)?.write(at, &bytes[..fits], now);
            Ok(fits)
        })?;
        self.at += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl File for SimulatedFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.run(Kind::Read, "read", &self.path, |world| {
            let seen = &world.tree.content(self.inode)?.seen;
            let found = seen.get(to_usize(offset)..).and_then(|rest| rest.get(..buffer.len()));
            buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.run(Kind::Sync, "sync", &self.path, |world| {
            let fails = world.fails(Kind::Sync);
            if fails {
                world.record("fail", &self.path);
            }
            let World { tree, random, sabotage, .. } = world;
            let content = tree.content(self.inode)?;
            if fails {
                content.fail_sync(random);
                return Err(broken());
            }
            if *sabotage != Some(Sabotage::FileSync) {
                content.sync();
            }
            Ok(())
        })
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.run(Kind::Write, "cut", &self.path, |world| {
            let now = world.now;
            world.tree.content(self.inode)?.set_length(to_usize(length), now);
            Ok(())
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|m| m.length)
    }

    fn metadata(&self) -> io::Result<Metadata> {
        self.disk.run(Kind::Read, "stat", &self.path, |world| describe(&world.tree, self.inode))
    }
}

#[derive(Debug)]
struct SimulatedLock {
    disk: SimulatedDisk,
    inode: Inode,
}

impl Lock for SimulatedLock {
    fn release(&self) {
        let mut world = self.disk.machine.0.lock();
        if world.locks.get(&self.inode) == Some(&self.disk.program) {
            world.locks.remove(&self.inode);
        }
    }
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.release();
    }
}
