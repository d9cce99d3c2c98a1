//! What may be left on a disk after a crash?
//!
//! This disk in memory has two states: visible to processes, and durable. [`SimulatedDisk::power_loss`] makes a
//! disk of the durable state and any part of the pending writes: nothing, all, a prefix cut within a write, or
//! random sectors. [`SimulatedDisk::kill`] keeps the visible state, as a kernel does when a process is killed;
//! pending writes stay pending. Writes that a failed fsync gave up become pending again after a kill: a real
//! kernel may go on to treat their pages as clean, which no process can detect.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::chaos::Chaos;
use super::{Disk, DiskFile, Entry};

/// Size of the parts of a write that reach the disk independently, in any order.
const SECTOR_BYTES: usize = 512;

/// A disk in memory. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    chaos: Chaos,
}

#[derive(Debug, Clone, Default)]
struct State {
    files: Vec<Content>,
    seen: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// Changes of names that are not durable yet, oldest first, with their directory.
    pending: Vec<(PathBuf, Rename)>,
    /// Changes that a failed fsync gave up: later fsyncs do not write them.
    given_up: Vec<(PathBuf, Rename)>,
    operations: u64,
    /// Number of the operation before which the machine stops.
    stop_at: Option<u64>,
    stopped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Directory,
}

/// Removal of a name, addition of one, or both atomically.
#[derive(Debug, Clone)]
struct Rename {
    gone: Option<PathBuf>,
    new: Option<(PathBuf, Node)>,
}

impl Rename {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((path, node)) = &self.new {
            names.insert(path.clone(), *node);
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Write>,
    /// Writes that a failed fsync gave up: later fsyncs do not write them.
    given_up: Vec<Write>,
}

#[derive(Debug, Clone)]
enum Write {
    Bytes { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Write {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Bytes { offset, bytes } => put(file, *offset, bytes),
            Self::Length(length) => file.resize(*length, 0),
        }
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl Content {
    /// Returns the content that is left after a power loss.
    fn after_power_loss(self, chaos: &Chaos) -> Self {
        let mut durable = self.durable;
        if !self.pending.is_empty() {
            match chaos.below(4) {
                0 => {}
                1 => self.pending.iter().for_each(|write| write.apply(&mut durable)),
                2 => prefix(&self.pending, &mut durable, chaos),
                _ => sectors(&self.pending, &mut durable, chaos),
            }
        }
        Self { seen: durable.clone(), durable, ..Self::default() }
    }
}

/// Applies a prefix of the writes, the last of them in part.
fn prefix(writes: &[Write], file: &mut Vec<u8>, chaos: &Chaos) {
    let (last, whole) = writes[..=chaos.below(writes.len())].split_last().expect("at least one write");
    for write in whole {
        write.apply(file);
    }
    if let Write::Bytes { offset, bytes } = last {
        put(file, *offset, &bytes[..chaos.below(bytes.len())]);
    }
}

/// Applies random sectors of the writes.
fn sectors(writes: &[Write], file: &mut Vec<u8>, chaos: &Chaos) {
    for write in writes {
        let Write::Bytes { offset, bytes } = write else {
            if chaos.one_in(2) {
                write.apply(file);
            }
            continue;
        };
        let mut at = *offset;
        while at < offset + bytes.len() {
            let end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
            let end = end.min(offset + bytes.len());
            if chaos.one_in(2) {
                put(file, at, &bytes[at - offset..end - offset]);
            }
            at = end;
        }
    }
}

impl SimulatedDisk {
    /// Makes an empty disk with the directory `root`.
    pub(crate) fn new(root: &Path, chaos: Chaos) -> Self {
        let names: BTreeMap<_, _> = root.ancestors().map(|path| (path.to_owned(), Node::Directory)).collect();
        let state = State { seen: names.clone(), durable: names, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), chaos }
    }

    /// Makes the machine stop after `operations` more operations, in the middle of any work.
    pub(crate) fn stop_after(&self, operations: u64) {
        let mut state = self.state.lock();
        state.stop_at = Some(state.operations + operations);
    }

    /// Cancels [`stop_after`](Self::stop_after).
    pub(crate) fn stop_never(&self) {
        self.state.lock().stop_at = None;
    }

    /// Stops the machine: all later operations fail.
    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
    }

    /// True if the machine has stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Returns the disk as the next process finds it after a kill.
    pub(crate) fn kill(&self) -> Self {
        self.chaos.count("kill");
        let mut state = self.state.lock().clone();
        (state.stopped, state.stop_at) = (false, None);
        let State { pending, given_up, files, .. } = &mut state;
        pending.splice(..0, given_up.drain(..));
        for Content { pending, given_up, .. } in files {
            pending.splice(..0, given_up.drain(..));
        }
        Self { state: Arc::new(Mutex::new(state)), chaos: self.chaos.clone() }
    }

    /// Returns the disk as the next process finds it after a power loss.
    pub(crate) fn power_loss(&self) -> Self {
        self.chaos.count("power loss");
        let State { files, mut durable, pending, .. } = self.state.lock().clone();
        // A file system with a journal keeps the order of changes in a directory; not all have one.
        let ordered = !self.chaos.one_in(4);
        let mut ended: Vec<&PathBuf> = Vec::new();
        for (directory, rename) in &pending {
            if ended.contains(&directory) {
                continue;
            }
            if self.chaos.one_in(2) {
                rename.apply(&mut durable);
            } else if ordered {
                ended.push(directory);
            }
        }
        // Entries of a lost directory are lost too.
        let lost: Vec<_> = durable
            .keys()
            .filter(|path| !path.ancestors().all(|a| durable.contains_key(a)))
            .cloned()
            .collect();
        durable.retain(|path, _| !lost.contains(path));
        let files = files.into_iter().map(|file| file.after_power_loss(&self.chaos)).collect();
        let state = State { files, seen: durable.clone(), durable, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), chaos: self.chaos.clone() }
    }

    /// Carries out an operation, unless the machine has stopped.
    fn operate<T>(
        &self,
        what: &'static str,
        path: &Path,
        operation: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        state.operations += 1;
        if state.stop_at.is_some_and(|at| state.operations >= at) && !state.stopped {
            state.stopped = true;
            self.chaos.note("STOP before", path, what);
        }
        if state.stopped {
            return Err(io::Error::other("the machine has stopped"));
        }
        let done = operation(&mut state);
        let error = done.as_ref().err().map(|e| format!("FAILED {e}"));
        self.chaos.note(what, path, error.unwrap_or_default());
        done
    }

    fn fail(&self, fault: &'static str, kind: io::ErrorKind) -> io::Result<()> {
        if self.chaos.strikes(fault) { Err(io::Error::new(kind, fault)) } else { Ok(()) }
    }
}

impl State {
    fn change(&mut self, directory: &Path, rename: Rename) {
        rename.apply(&mut self.seen);
        self.pending.push((directory.to_owned(), rename));
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let directory = path.parent().filter(|parent| self.seen.get(*parent) == Some(&Node::Directory));
        let directory = directory.ok_or(io::ErrorKind::NotFound)?.to_owned();
        if self.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(&directory, Rename { gone: None, new: Some((path.to_owned(), node)) });
        Ok(())
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.seen.get(path) {
            Some(Node::File(file)) => Ok(*file),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("files are in directories")
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.operate("create", path, |state| {
            self.fail("create fails: no space", io::ErrorKind::StorageFull)?;
            state.add(path, Node::File(state.files.len()))?;
            state.files.push(Content::default());
            Ok(state.files.len() - 1)
        })?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.operate("open", path, |state| state.file(path))?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.operate("read", path, |state| {
            self.fail("read fails", io::ErrorKind::Other)?;
            Ok(state.files[state.file(path)?].seen.clone())
        })
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.operate("list", directory, |state| {
            if state.seen.get(directory) != Some(&Node::Directory) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let below =
                state.seen.range(directory.to_owned()..).take_while(|(path, _)| path.starts_with(directory));
            let inside = below.filter(|(path, _)| path.parent() == Some(directory));
            let entry = |(path, node): (&PathBuf, &Node)| Entry {
                path: path.clone(),
                is_directory: *node == Node::Directory,
            };
            Ok(inside.map(entry).collect())
        })
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.state.lock().seen.get(path) == Some(&Node::Directory)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.operate("mkdir", path, |state| state.add(path, Node::Directory))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate("link to", to, |state| {
            let file = state.file(from)?;
            state.add(to, Node::File(file))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        assert_eq!(from.parent(), to.parent(), "a rename across directories is not simulated");
        self.operate("rename to", to, |state| {
            self.fail("rename fails", io::ErrorKind::Other)?;
            let node = Node::File(state.file(from)?);
            state
                .change(parent(to), Rename { gone: Some(from.to_owned()), new: Some((to.to_owned(), node)) });
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate("remove", path, |state| {
            self.fail("remove fails", io::ErrorKind::Other)?;
            state.file(path)?;
            state.change(parent(path), Rename { gone: Some(path.to_owned()), new: None });
            Ok(())
        })
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.operate("sync directory", directory, |state| {
            let (here, other): (Vec<_>, _) =
                std::mem::take(&mut state.pending).into_iter().partition(|(d, _)| d == directory);
            state.pending = other;
            let failed = self.fail("directory fsync fails", io::ErrorKind::Other);
            if failed.is_ok() {
                for (_, rename) in here {
                    rename.apply(&mut state.durable);
                }
            } else {
                // A kernel may mark pages as clean that it failed to write.
                let given_up = self.chaos.one_in(2);
                if given_up { &mut state.given_up } else { &mut state.pending }.extend(here);
            }
            failed
        })
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    path: PathBuf,
    file: usize,
}

impl SimulatedFile {
    fn write(state: &mut State, file: usize, write: Write) {
        write.apply(&mut state.files[file].seen);
        state.files[file].pending.push(write);
    }
}

impl DiskFile for SimulatedFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.operate("write", &self.path, |state| {
            let failed = self.disk.fail("write fails: no space", io::ErrorKind::StorageFull);
            let fits = if failed.is_ok() { bytes.len() } else { self.disk.chaos.below(bytes.len()) };
            let write = Write::Bytes { offset: offset as usize, bytes: bytes[..fits].to_vec() };
            Self::write(state, self.file, write);
            failed
        })
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.disk.operate("truncate", &self.path, |state| {
            self.disk.fail("truncation fails", io::ErrorKind::Other)?;
            Self::write(state, self.file, Write::Length(bytes as usize));
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operate("sync", &self.path, |state| {
            let content = &mut state.files[self.file];
            let failed = self.disk.fail("fsync fails", io::ErrorKind::Other);
            if failed.is_ok() {
                content.pending.drain(..).for_each(|write| write.apply(&mut content.durable));
            } else if self.disk.chaos.one_in(2) {
                // A kernel may mark pages as clean that it failed to write.
                content.given_up.append(&mut content.pending);
            }
            failed
        })
    }
}
