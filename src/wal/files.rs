//! How is the log kept in files?
//!
//! One file is written at a time. [`wal`](super) documents the format and the invariants for readers.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use async_trait::async_trait;
use futures::future::BoxFuture;
use uuid::Uuid;

use super::record::{self, HEADER_BYTES};
use super::writer::{Counters, Log, Start};
use super::{Payload, Replay, SequenceNumber};
use crate::disk::{Disk, DiskFile, SystemDisk};
use crate::error::{Error, ErrorKind, Result};

/// Settings of a log in files.
#[derive(Clone)]
pub struct WalOptions {
    /// Size in bytes at which a new file is begun.
    pub file_bytes: u64,
    /// Disk that holds the files.
    pub disk: Arc<dyn Disk>,
    pub(crate) start: Start,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self { file_bytes: 64 << 20, disk: Arc::new(SystemDisk), start: Arc::new(on_own_thread) }
    }
}

fn on_own_thread(log: BoxFuture<'static, ()>) -> io::Result<Option<JoinHandle<()>>> {
    let thread = std::thread::Builder::new().name("broadloom-wal".into());
    thread.spawn(move || futures::executor::block_on(log)).map(Some)
}

impl std::fmt::Debug for WalOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WalOptions").field("file_bytes", &self.file_bytes).finish_non_exhaustive()
    }
}

struct OldFile {
    first: SequenceNumber,
    path: PathBuf,
    damaged: bool,
}

struct Active {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    first: SequenceNumber,
    bytes: u64,
}

impl Active {
    /// True if records may be added. A file without records always has room: the next file would need the same
    /// name.
    fn has_room(&self, file_bytes: u64) -> bool {
        self.bytes < file_bytes || self.bytes == HEADER_BYTES as u64
    }
}

/// Log in the files of a directory. Its calls block on the disk.
pub struct FileLog {
    dir: PathBuf,
    options: WalOptions,
    next: SequenceNumber,
    files: VecDeque<OldFile>,
    /// Created by the first append, so that opening a database without writing creates no file.
    active: Option<Active>,
    counters: Arc<Counters>,
    poison: Option<String>,
    /// True once the directory's own entry in its parent has been fsynced.
    durable: bool,
}

impl FileLog {
    /// Opens the log in `dir`, which has been [replayed](super::replay) and [repaired](Replay::repair). `next` is
    /// the number of the next batch: above everything in the log and above the committed watermark.
    ///
    /// # Panics
    /// If the log already contains `next`: each number is used once.
    pub fn open(dir: &Path, replay: &Replay, next: SequenceNumber, options: WalOptions) -> Result<Self> {
        assert!(next > replay.last, "a sequence number is used once");
        let disk = options.disk.as_ref();
        if !disk.is_directory(dir) {
            disk.create_directory(dir)?;
        }
        let files: VecDeque<_> = record::list(disk, dir)?
            .into_iter()
            .map(|(first, path)| OldFile { first, damaged: replay.is_damaged(&path), path })
            .collect();
        let counters = Arc::new(Counters::default());
        counters.files.store(files.len() as u64, Ordering::Relaxed);
        Ok(Self {
            dir: dir.to_owned(),
            options,
            next,
            files,
            active: None,
            counters,
            poison: None,
            durable: false,
        })
    }

    fn write(&mut self, payloads: &[Payload]) -> Result<SequenceNumber> {
        if let Some(why) = &self.poison {
            return Err(Error::new(ErrorKind::Poisoned, why));
        }
        let first = self.next;
        let mut bytes = Vec::with_capacity(payloads.iter().map(|p| p.bytes().len() + 32).sum());
        for (i, payload) in payloads.iter().enumerate() {
            record::encode_record(&mut bytes, SequenceNumber(first.0 + i as u64), payload.bytes());
        }
        let mut active = match self.active.take() {
            Some(active) if active.has_room(self.options.file_bytes) => active,
            full => {
                self.files.extend(full.map(|a| OldFile { first: a.first, path: a.path, damaged: false }));
                self.create(first)?
            }
        };
        let written = active.file.write_all_at(&bytes, active.bytes);
        let outcome = written
            .map_err(|error| self.undo(&active, &error))
            .and_then(|()| self.sync(active.file.as_ref()));
        if outcome.is_ok() {
            active.bytes += bytes.len() as u64;
            self.next = SequenceNumber(first.0 + payloads.len() as u64);
            self.counters.records.fetch_add(payloads.len() as u64, Ordering::Relaxed);
            self.counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        self.active = Some(active);
        outcome.map(|()| first)
    }

    fn create(&mut self, first: SequenceNumber) -> Result<Active> {
        let path = self.dir.join(record::file_name(first));
        let disk = Arc::clone(&self.options.disk);
        let file = disk.create(&path).map_err(|e| refused(&path, &e))?;
        if let Err(error) = file.write_all_at(&record::encode_header(first), 0) {
            // The next attempt needs the same name.
            return Err(match disk.remove(&path) {
                Ok(()) => refused(&path, &error),
                Err(_) => self.poisoned(format!(
                    "{} can neither be written nor removed: {error}; restart the process",
                    path.display()
                )),
            });
        }
        self.sync(file.as_ref())?;
        self.sync_directory(&self.dir.clone())?;
        if !self.durable {
            // The directory may be new too.
            let parent = self.dir.parent().map(Path::to_owned);
            parent.map_or(Ok(()), |parent| self.sync_directory(&parent))?;
            self.durable = true;
        }
        self.counters.files.fetch_add(1, Ordering::Relaxed);
        Ok(Active { file, path, first, bytes: HEADER_BYTES as u64 })
    }

    fn sync(&mut self, file: &dyn DiskFile) -> Result<()> {
        self.counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        file.sync().map_err(|error| self.failed_to_sync(&error))
    }

    fn sync_directory(&mut self, directory: &Path) -> Result<()> {
        self.counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        self.options.disk.sync_directory(directory).map_err(|error| self.failed_to_sync(&error))
    }

    fn failed_to_sync(&mut self, error: &io::Error) -> Error {
        let dir = self.dir.display();
        self.poisoned(format!("fsync of the log in {dir} failed: {error}; restart the process"))
    }

    /// Truncates the file to its last good byte after a failed write, so that a full disk does not force a
    /// restart. The truncation is fsynced: otherwise whole records among the written bytes would reappear after
    /// a crash.
    fn undo(&mut self, active: &Active, error: &io::Error) -> Error {
        match active.file.set_len(active.bytes) {
            Ok(()) => match self.sync(active.file.as_ref()) {
                Ok(()) => refused(&active.path, error),
                Err(poisoned) => poisoned,
            },
            Err(_) => self.poisoned(format!(
                "write to {} failed half-way: {error}; restart the process",
                active.path.display()
            )),
        }
    }

    fn poisoned(&mut self, why: String) -> Error {
        self.poison = Some(why.clone());
        Error::new(ErrorKind::Poisoned, why)
    }

    fn remove_through(&mut self, through: SequenceNumber) -> Result<()> {
        assert!(through < self.next, "only what was written can be committed");
        if through.next() == self.next {
            // Everything is committed: the active file is deleted too, and the next append begins another.
            self.files.extend(self.active.take().map(|a| OldFile {
                first: a.first,
                path: a.path,
                damaged: false,
            }));
        }
        let mut removed = false;
        while let Some(file) = self.files.front() {
            let end = self
                .files
                .get(1)
                .map(|f| f.first)
                .or(self.active.as_ref().map(|a| a.first))
                .unwrap_or(self.next);
            if end > through.next() {
                break;
            }
            if file.damaged {
                let aside = file.path.with_extension("wal.damaged");
                tracing::warn!(file = %aside.display(), "a damaged log file is set aside instead of deleted");
                self.options.disk.rename(&file.path, &aside)?;
            } else {
                self.options.disk.remove(&file.path)?;
            }
            self.files.pop_front();
            removed = true;
            self.counters.files.fetch_sub(1, Ordering::Relaxed);
        }
        if removed { self.sync_directory(&self.dir.clone()) } else { Ok(()) }
    }
}

#[async_trait]
impl Log for FileLog {
    async fn append(&mut self, payloads: &[Payload]) -> Result<SequenceNumber> {
        self.write(payloads)
    }

    async fn truncate(&mut self, through: SequenceNumber) -> Result<()> {
        self.remove_through(through)
    }

    fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    fn start(&self) -> Start {
        Arc::clone(&self.options.start)
    }
}

fn refused(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot write the log {}: {error}", path.display()))
}

/// Returns the id of the log in `dir`, which must exist. The first call creates the id and stores it in the
/// file `ID`.
///
/// Fails with [`ErrorKind::Corrupt`] if the file `ID` does not hold a UUID.
pub fn identity(disk: &dyn Disk, dir: &Path) -> Result<String> {
    if let Some(id) = known_identity(disk, dir)? {
        return Ok(id);
    }
    let id = Uuid::new_v4().to_string();
    let staged = dir.join("ID.new");
    let _ = disk.remove(&staged);
    let file = disk.create(&staged)?;
    file.write_all_at(format!("{id}\n").as_bytes(), 0)?;
    file.sync()?;
    disk.rename(&staged, &dir.join("ID"))?;
    disk.sync_directory(dir)?;
    Ok(id)
}

/// Returns the id of the log in `dir`, or `None` if there is none yet. Fails as [`identity`] does.
pub fn known_identity(disk: &dyn Disk, dir: &Path) -> Result<Option<String>> {
    let path = dir.join("ID");
    let text = match disk.read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::from(error).context(format!("cannot read {}", path.display()))),
    };
    let id = std::str::from_utf8(&text).ok().and_then(|text| text.trim_end().parse::<Uuid>().ok());
    let id = id.ok_or_else(|| {
        Error::corrupt(format!(
            "{} does not hold the log's id (a UUID): restore it from a backup",
            path.display()
        ))
    })?;
    Ok(Some(id.to_string()))
}
