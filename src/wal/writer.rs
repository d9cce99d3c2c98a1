//! How do many producers share one fsync?
//!
//! One thread owns the log. Appenders put compressed batches into a bounded queue and wait; the thread
//! takes whatever has gathered, writes it with one `write` and one fsync, numbers the batches, hands them
//! to the *sink* (which makes them visible to queries) in order, and only then answers. While it waits for
//! the disk the next group gathers, so throughput does not hang on the latency of an fsync.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::record::{self, HEADER_BYTES};
use super::{Payload, Replay, SequenceNumber};
use crate::error::{Error, ErrorKind, Result};

/// Appends that may wait for the log thread; further ones wait for a place in the queue.
const QUEUE_APPENDS_MAX: usize = 256;
/// A group is written when it has this many bytes, even if more is waiting: it bounds the write buffer.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// Takes the batches that have become durable, in order. It must not block for long: the log waits for it.
pub type Sink<T> = Box<dyn FnMut(Vec<(SequenceNumber, T)>) + Send>;

/// Makes a log file durable; a test may make it fail.
type Sync = Arc<dyn Fn(&File) -> io::Result<()> + Send + std::marker::Sync>;

/// How the log is kept.
#[derive(Clone)]
pub struct WalOptions {
    /// A new file is begun when the current one has this many bytes.
    pub file_bytes: u64,
    pub(super) sync: Sync,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self { file_bytes: 64 << 20, sync: Arc::new(File::sync_data) }
    }
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
        std::fs::create_dir_all(dir)?;
        let files: VecDeque<_> = record::list(dir)?
            .into_iter()
            .map(|(first, path)| OldFile { first, damaged: replay.is_damaged(&path), path })
            .collect();
        let counters = Arc::new(Counters::default());
        counters.files.store(files.len() as u64, Ordering::Relaxed);
        let log = Log {
            dir: dir.to_owned(),
            options,
            next,
            files,
            active: None,
            counters: Arc::clone(&counters),
            poison: None,
        };
        let (queue, requests) = mpsc::channel(QUEUE_APPENDS_MAX);
        let thread = std::thread::Builder::new()
            .name("broadloom-wal".into())
            .spawn(move || run(log, requests, sink))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), counters })
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

/// The log thread: ends when the [`Wal`] is dropped and the queue is empty.
fn run<T>(mut log: Log, mut requests: mpsc::Receiver<Request<T>>, mut sink: Sink<T>) {
    while let Some(request) = requests.blocking_recv() {
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
    file: File,
    path: PathBuf,
    first: SequenceNumber,
    bytes: u64,
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
            Some(active) if active.bytes < self.options.file_bytes => active,
            full => {
                self.files.extend(full.map(|a| OldFile { first: a.first, path: a.path, damaged: false }));
                self.create(first)?
            }
        };
        let written = active.file.write_all_at(&bytes, active.bytes);
        let outcome =
            written.map_err(|error| self.undo(&active, &error)).and_then(|()| self.sync(&active.file));
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
        let create = || -> io::Result<File> {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            let header = record::encode_header(first);
            file.write_all(&header).inspect_err(|_| {
                // Without a record it is worth nothing, and its name is needed again.
                let _ = std::fs::remove_file(&path);
            })?;
            Ok(file)
        };
        let file = create().map_err(|e| refused(&path, &e))?;
        self.sync(&file)?;
        self.sync(&File::open(&self.dir)?)?;
        if let Some(parent) = self.dir.parent().filter(|_| first.0 == 1) {
            // The directory itself is as new as its first file.
            self.sync(&File::open(parent)?)?;
        }
        self.counters.files.fetch_add(1, Ordering::Relaxed);
        Ok(Active { file, path, first, bytes: HEADER_BYTES as u64 })
    }

    fn sync(&mut self, file: &File) -> Result<()> {
        self.counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        (self.options.sync)(file).map_err(|error| {
            self.poisoned(format!(
                "fsync of the log in {} failed: {error}; restart the process",
                self.dir.display()
            ))
        })
    }

    /// After a failed write: back to the last good byte, so that a full disk is no reason to restart.
    fn undo(&mut self, active: &Active, error: &io::Error) -> Error {
        match active.file.set_len(active.bytes) {
            Ok(()) => refused(&active.path, error),
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
                std::fs::rename(&file.path, &aside)?;
            } else {
                std::fs::remove_file(&file.path)?;
            }
            self.files.pop_front();
            removed = true;
            self.counters.files.fetch_sub(1, Ordering::Relaxed);
        }
        if removed { self.sync(&File::open(&self.dir)?) } else { Ok(()) }
    }
}

fn refused(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot write the log {}: {error}", path.display()))
}
