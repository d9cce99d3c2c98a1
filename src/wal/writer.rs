//! How do many producers share one fsync?
//!
//! One thread owns the log. Appenders put compressed batches into a bounded queue and wait; the thread
//! takes whatever has gathered, makes it durable as one (one `write` and one fsync, or one object), hands the
//! batches to the *sink* (which makes them visible to queries) in order, and only then answers. While it waits
//! the next group gathers, so throughput does not hang on the latency of an fsync or a request.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::{Payload, SequenceNumber};
use crate::error::{Error, ErrorKind, Result};

/// Appends that may wait for the log thread; further ones wait for a place in the queue.
const QUEUE_APPENDS_MAX: usize = 256;
/// A group is written when it has this many bytes, even if more is waiting: it bounds the write buffer.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// Takes the batches that have become durable, in order. It must not block for long: the log waits for it.
pub type Sink<T> = Box<dyn FnMut(Vec<(SequenceNumber, T)>) + Send>;

/// Starts the loop of the log, and returns the thread that it runs on, if it has one. A simulator runs it itself.
pub(crate) type Start =
    Arc<dyn Fn(BoxFuture<'static, ()>) -> io::Result<Option<JoinHandle<()>>> + Send + Sync>;

/// Where batches become durable. One thread calls.
#[async_trait]
pub trait Log: Send {
    /// Makes `payloads` durable and says the number of the first.
    ///
    /// After any failure but [`ErrorKind::Poisoned`] none of them is stored, nor will be.
    async fn append(&mut self, payloads: &[Payload]) -> Result<SequenceNumber>;

    /// Deletes what holds only batches up to `through`, which are committed.
    async fn truncate(&mut self, through: SequenceNumber) -> Result<()>;

    /// What it counts.
    fn counters(&self) -> Arc<Counters>;

    /// What its loop runs on.
    fn start(&self) -> Start;
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

/// [`WalStats`] as they come about.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) fsyncs: AtomicU64,
    pub(super) files: AtomicU64,
}

enum Request<T> {
    Append { payload: Payload, item: T, done: oneshot::Sender<Result<SequenceNumber>> },
    Truncate { through: SequenceNumber, done: oneshot::Sender<Result<()>> },
}

/// A log that is open for appending. Dropping it finishes what is queued.
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
    /// Starts the loop of `log`, which hands over to `sink` what is durable.
    pub fn start(log: Box<dyn Log>, sink: Sink<T>) -> Result<Self> {
        let (counters, start) = (log.counters(), log.start());
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

/// The loop of the log: ends when the [`Wal`] is dropped and the queue is empty. Blocks where the log does.
async fn run<T>(mut log: Box<dyn Log>, mut requests: mpsc::Receiver<Request<T>>, mut sink: Sink<T>) {
    while let Some(request) = requests.recv().await {
        let mut group = Group::default();
        let mut next = Some(request);
        while let Some(request) = next.take() {
            match request {
                Request::Append { payload, item, done } => group.push(payload, item, done),
                // Files are deleted only between groups: numbers of the gathered ones come first.
                Request::Truncate { through, done } => {
                    std::mem::take(&mut group).commit(log.as_mut(), &mut sink).await;
                    let _ = done.send(log.truncate(through).await);
                }
            }
            if group.bytes < GROUP_BYTES_MAX {
                next = requests.try_recv().ok();
            }
        }
        group.commit(log.as_mut(), &mut sink).await;
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

    async fn commit(self, log: &mut dyn Log, sink: &mut Sink<T>) {
        if self.payloads.is_empty() {
            return;
        }
        match log.append(&self.payloads).await {
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
                    let _ = answer.send(Err(error.duplicate()));
                }
            }
        }
    }
}
