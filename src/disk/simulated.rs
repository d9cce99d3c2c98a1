//! A disk in memory that keeps no more than it must.
//!
//! It has two states: what processes see, and what is durable. [`SimulatedDisk::power_loss`] makes a disk of
//! the durable one and of any part of what was on its way: nothing, all, a prefix cut within a write, or some
//! sectors and not others. [`SimulatedDisk::kill`] keeps what processes saw, as a kernel does whose process
//! was killed; what was not durable is still not durable. What a failed fsync gave up is tried again then: a
//! real kernel may go on to take it for clean, and nobody can find out.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::chaos::Chaos;
use super::{Disk, DiskFile, Entry};

/// Parts of a write of this size reach the disk or not, in any order.
const SECTOR_BYTES: usize = 512;

/// A disk in memory. Clones are the same disk.
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
    /// Changes of names that are not durable, oldest first, with their directory.
    pending: Vec<(PathBuf, Rename)>,
    /// Changes that a failed fsync gave up: the next ones do not write them.
    given_up: Vec<(PathBuf, Rename)>,
    operations: u64,
    /// The machine stops before this operation.
    stop_at: Option<u64>,
    stopped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Directory,
}

/// A name goes, a name comes, or both at once.
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
    /// Writes that a failed fsync gave up: the next ones do not write them.
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
    /// What is left after the power was lost.
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

/// Some of the writes, the last of them in part.
fn prefix(writes: &[Write], file: &mut Vec<u8>, chaos: &Chaos) {
    let (last, whole) = writes[..=chaos.below(writes.len())].split_last().expect("at least one write");
    for write in whole {
        write.apply(file);
    }
    if let Write::Bytes { offset, bytes } = last {
        put(file, *offset, &bytes[..chaos.below(bytes.len())]);
    }
}

/// Any sectors of the writes.
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
    /// An empty disk with the directory `root`.
    pub(crate) fn new(root: &Path, chaos: Chaos) -> Self {
        let names: BTreeMap<_, _> = root.ancestors().map(|path| (path.to_owned(), Node::Directory)).collect();
        let state = State { seen: names.clone(), durable: names, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), chaos }
    }

    /// The machine stops after `operations` more, in the middle of whatever goes on then.
    pub(crate) fn stop_after(&self, operations: u64) {
        let mut state = self.state.lock();
        state.stop_at = Some(state.operations + operations);
    }

    /// The machine does not stop by itself any more.
    pub(crate) fn stop_never(&self) {
        self.state.lock().stop_at = None;
    }

    /// The machine stops now: nothing is written any more.
    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
    }

    /// Whether the machine has stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// The disk as the next process finds it when the last one was killed.
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

    /// The disk as the next process finds it after the power was lost.
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
        // What is in a directory that is not there is not there.
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
                // A kernel may take for clean what it failed to write.
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
                // A kernel may take for clean what it failed to write.
                content.given_up.append(&mut content.pending);
            }
            failed
        })
    }
}
