//! How do many producers share one fsync?
//!
//! One thread owns the log. Appenders put compressed batches into a bounded queue and wait; the thread
//! takes whatever has gathered, writes it with one `write` and one fsync, numbers the batches, hands them
//! to the *sink* (which makes them visible to queries) in order, and only then answers. While it waits for
//! the disk the next group gathers, so throughput does not hang on the latency of an fsync.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::record::{self, HEADER_BYTES};
use super::{Payload, Replay, SequenceNumber};
use crate::disk::{Disk, DiskFile, SystemDisk};
use crate::error::{Error, ErrorKind, Result};

/// Appends that may wait for the log thread; further ones wait for a place in the queue.
const QUEUE_APPENDS_MAX: usize = 256;
/// A group is written when it has this many bytes, even if more is waiting: it bounds the write buffer.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// Takes the batches that have become durable, in order. It must not block for long: the log waits for it.
pub type Sink<T> = Box<dyn FnMut(Vec<(SequenceNumber, T)>) + Send>;

/// Starts the loop of the log, and returns the thread that it runs on, if it has one.
type Start = Arc<dyn Fn(BoxFuture<'static, ()>) -> io::Result<Option<JoinHandle<()>>> + Send + Sync>;

/// How the log is kept.
#[derive(Clone)]
pub struct WalOptions {
    /// A new file is begun when the current one has this many bytes.
    pub file_bytes: u64,
    /// Where the files are.
    pub disk: Arc<dyn Disk>,
    /// A simulator runs the loop itself.
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

/// What the log has done since it was opened.
#[derive(Debug, Default, Clone, Copy)]
pub struct WalStats {
    /// Batches made durable.
    pub records: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Calls of fsync.
    pub fsyncs: u64,
    /// Files present.
    pub files: u64,
}

#[derive(Debug, Default)]
struct Counters {
    records: AtomicU64,
    bytes: AtomicU64,
    fsyncs: AtomicU64,
    files: AtomicU64,
}

enum Request<T> {
    Append { payload: Payload, item: T, done: oneshot::Sender<Result<SequenceNumber>> },
    Truncate { through: SequenceNumber, done: oneshot::Sender<Result<()>> },
}

/// The log of one data directory, open for appending. Dropping it finishes what is queued.
pub struct Wal<T> {
    queue: Option<mpsc::Sender<Request<T>>>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
}

impl<T> std::fmt::Debug for Wal<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wal").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Wal<T> {
    /// Starts the log thread on `dir`, which has been [replayed](super::replay) and
    /// [repaired](Replay::repair). `next` is the number of the next batch: above everything in the log and
    /// above the committed watermark.
    ///
    /// # Panics
    /// When `next` is in the log already: numbers are used once.
    pub fn start(
        dir: &Path,
        replay: &Replay,
        next: SequenceNumber,
        options: WalOptions,
        sink: Sink<T>,
    ) -> Result<Self> {
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
        let start = Arc::clone(&options.start);
        let log = Log {
            dir: dir.to_owned(),
            options,
            next,
            files,
            active: None,
            counters: Arc::clone(&counters),
            poison: None,
            durable: false,
        };
        let (queue, requests) = mpsc::channel(QUEUE_APPENDS_MAX);
        let thread = start(Box::pin(run(log, requests, sink)))?;
        Ok(Self { queue: Some(queue), thread, counters })
    }

    /// Returns once `payload` is durable and the sink has seen `item`.
    ///
    /// [`ErrorKind::Unavailable`] when the disk refused the bytes (it may be full): nothing was stored, and
    /// a later append may succeed. [`ErrorKind::Poisoned`] after a failed fsync.
    pub async fn append(&self, payload: Payload, item: T) -> Result<SequenceNumber> {
        let (done, answer) = oneshot::channel();
        self.send(Request::Append { payload, item, done }).await?;
        answer.await.map_err(|_| stopped())?
    }

    /// Deletes the files that hold only batches up to `through`, which must be committed.
    pub async fn truncate(&self, through: SequenceNumber) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.send(Request::Truncate { through, done }).await?;
        answer.await.map_err(|_| stopped())?
    }

    async fn send(&self, request: Request<T>) -> Result<()> {
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(request).await.map_err(|_| stopped())
    }
}

impl<T> Wal<T> {
    /// What the log has done so far.
    pub fn stats(&self) -> WalStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { records, bytes, fsyncs, files } = self.counters.as_ref();
        WalStats { records: load(records), bytes: load(bytes), fsyncs: load(fsyncs), files: load(files) }
    }
}

impl<T> Drop for Wal<T> {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log thread panicked");
        }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Poisoned, "the log thread has stopped: restart the process")
}

/// The loop of the log: ends when the [`Wal`] is dropped and the queue is empty. Blocks on the disk.
async fn run<T>(mut log: Log, mut requests: mpsc::Receiver<Request<T>>, mut sink: Sink<T>) {
    while let Some(request) = requests.recv().await {
        let mut group = Group::default();
        let mut next = Some(request);
        while let Some(request) = next.take() {
            match request {
                Request::Append { payload, item, done } => group.push(payload, item, done),
                // Files are deleted only between groups: numbers of the gathered ones come first.
                Request::Truncate { through, done } => {
                    std::mem::take(&mut group).commit(&mut log, &mut sink);
                    let _ = done.send(log.truncate(through));
                }
            }
            if group.bytes < GROUP_BYTES_MAX {
                next = requests.try_recv().ok();
            }
        }
        group.commit(&mut log, &mut sink);
    }
}

/// Batches that become durable together.
struct Group<T> {
    payloads: Vec<Payload>,
    items: Vec<T>,
    answers: Vec<oneshot::Sender<Result<SequenceNumber>>>,
    bytes: usize,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { payloads: Vec::new(), items: Vec::new(), answers: Vec::new(), bytes: 0 }
    }
}

impl<T> Group<T> {
    fn push(&mut self, payload: Payload, item: T, done: oneshot::Sender<Result<SequenceNumber>>) {
        self.bytes += payload.bytes().len();
        self.payloads.push(payload);
        self.items.push(item);
        self.answers.push(done);
    }

    fn commit(self, log: &mut Log, sink: &mut Sink<T>) {
        if self.payloads.is_empty() {
            return;
        }
        match log.append(&self.payloads) {
            Ok(first) => {
                let numbers = (first.0..).map(SequenceNumber);
                sink(numbers.clone().zip(self.items).collect());
                for (seq, answer) in numbers.zip(self.answers) {
                    // A caller that went away is still stored: it cannot know, and will send again.
                    let _ = answer.send(Ok(seq));
                }
            }
            Err(error) => {
                tracing::error!(%error, batches = self.answers.len(), "could not append to the log");
                for answer in self.answers {
                    let _ = answer.send(Err(Error::new(error.kind(), error.message())));
                }
            }
        }
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
    /// Whether records may be added. A file without any has the name that the next one would need.
    fn has_room(&self, file_bytes: u64) -> bool {
        self.bytes < file_bytes || self.bytes == HEADER_BYTES as u64
    }
}

/// The files, as the log thread sees them.
struct Log {
    dir: PathBuf,
    options: WalOptions,
    next: SequenceNumber,
    files: VecDeque<OldFile>,
    /// Created by the first append, so that opening a database for nothing leaves nothing behind.
    active: Option<Active>,
    counters: Arc<Counters>,
    poison: Option<String>,
    /// Whether the name of the directory itself is known to be on disk.
    durable: bool,
}

impl Log {
    /// Makes `payloads` durable and says the number of the first.
    fn append(&mut self, payloads: &[Payload]) -> Result<SequenceNumber> {
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
            // Its name is needed again.
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
            // The directory may be as new as its first file.
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

    /// After a failed write: back to the last good byte, so that a full disk is no reason to restart. Whole
    /// records among the bytes that were written would come to light after a crash, so they are cut off
    /// durably.
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

    fn truncate(&mut self, through: SequenceNumber) -> Result<()> {
        assert!(through < self.next, "only what was written can be committed");
        if through.next() == self.next {
            // Everything is committed: the active file goes too, and the next append begins another.
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
                tracing::warn!(file = %aside.display(), "keeping a damaged log file aside");
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

fn refused(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot write the log {}: {error}", path.display()))
}
