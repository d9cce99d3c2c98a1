//! How do many producers share one fsync?
//!
//! One thread owns the log. Appenders put compressed batches into a bounded queue and wait. The thread takes all
//! queued batches as one group, makes the group durable (one `write` and one fsync, or one object), hands the
//! batches in order to the *sink*, which makes them visible to queries, and only then answers. Meanwhile the next
//! group gathers, so throughput does not depend on the latency of an fsync or a request.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::{Payload, SequenceNumber};
use crate::error::{Error, ErrorKind, Result};

/// Size of the queue to the log thread, in appends. Further appends wait for a place in it.
const QUEUE_APPENDS_MAX: usize = 256;
/// Size at which a group is written even if more appends are queued. Bounds the write buffer.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// Receives durable batches, in order. It must not block for long: the log waits for it.
pub type Sink<T> = Box<dyn FnMut(Vec<(SequenceNumber, T)>) + Send>;

/// Starts the log's loop and returns its thread, if it has one. A simulator polls the loop itself.
pub(crate) type Start =
    Arc<dyn Fn(BoxFuture<'static, ()>) -> io::Result<Option<JoinHandle<()>>> + Send + Sync>;

/// Storage that makes batches durable. Only one thread calls it.
#[async_trait]
pub trait Log: Send {
    /// Makes `payloads` durable and returns the sequence number of the first.
    ///
    /// After any error except [`ErrorKind::Poisoned`], none of them is stored, nor will be.
    async fn append(&mut self, payloads: &[Payload]) -> Result<SequenceNumber>;

    /// Deletes files or objects that hold only batches up to `through`, which are committed.
    async fn truncate(&mut self, through: SequenceNumber) -> Result<()>;

    /// Live counters behind [`WalStats`].
    fn counters(&self) -> Arc<Counters>;

    /// Returns the function that starts the log's loop.
    fn start(&self) -> Start;
}

/// Counts of the log's work since it was opened.
#[derive(Debug, Default, Clone, Copy)]
pub struct WalStats {
    /// Batches made durable.
    pub records: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Calls of fsync.
    pub fsyncs: u64,
    /// Files or objects that exist now.
    pub files: u64,
}

/// Live counters; [`WalStats`] is a snapshot of them.
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

/// A log that is open for appending. Dropping it first finishes the queued appends.
pub struct Wal<T> {
    queue: Option<mpsc::Sender<Request<T>>>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
    poison: Arc<OnceLock<String>>,
}

impl<T> std::fmt::Debug for Wal<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wal").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Wal<T> {
    /// Starts the loop of `log`, which passes durable batches to `sink`.
    pub fn start(log: Box<dyn Log>, sink: Sink<T>) -> Result<Self> {
        let (counters, start) = (log.counters(), log.start());
        let (queue, requests) = mpsc::channel(QUEUE_APPENDS_MAX);
        let poison = Arc::<OnceLock<String>>::default();
        let thread = start(Box::pin(run(log, requests, sink, Arc::clone(&poison))))?;
        Ok(Self { queue: Some(queue), thread, counters, poison })
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
    /// Reason for which every append fails from now on, if there is one.
    pub fn poison(&self) -> Option<String> {
        let is_stopped = self.queue.as_ref().is_none_or(mpsc::Sender::is_closed);
        self.poison.get().cloned().or_else(|| is_stopped.then(|| stopped().message().to_owned()))
    }

    /// Counts since the log was opened.
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

/// Loop of the log. Ends when the [`Wal`] is dropped and the queue is empty. Blocks where the log does.
async fn run<T>(
    mut log: Box<dyn Log>,
    mut requests: mpsc::Receiver<Request<T>>,
    mut sink: Sink<T>,
    poison: Arc<OnceLock<String>>,
) {
    while let Some(request) = requests.recv().await {
        let mut group = Group::default();
        let mut next = Some(request);
        while let Some(request) = next.take() {
            match request {
                Request::Append { payload, item, done } => group.push(payload, item, done),
                // Files are deleted only between groups, so the gathered group is written first.
                Request::Truncate { through, done } => {
                    std::mem::take(&mut group).commit(log.as_mut(), &mut sink, &poison).await;
                    let truncated = log.truncate(through).await;
                    note(&poison, truncated.as_ref().err());
                    let _ = done.send(truncated);
                }
            }
            if group.bytes < GROUP_BYTES_MAX {
                next = requests.try_recv().ok();
            }
        }
        group.commit(log.as_mut(), &mut sink, &poison).await;
    }
}

/// Remembers the first error after which nothing works any more.
fn note(poison: &OnceLock<String>, error: Option<&Error>) {
    if let Some(error) = error.filter(|error| error.kind() == ErrorKind::Poisoned) {
        let _ = poison.set(error.message().to_owned());
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

    async fn commit(self, log: &mut dyn Log, sink: &mut Sink<T>, poison: &OnceLock<String>) {
        if self.payloads.is_empty() {
            return;
        }
        match log.append(&self.payloads).await {
            Ok(first) => {
                let numbers = (first.0..).map(SequenceNumber);
                sink(numbers.clone().zip(self.items).collect());
                for (seq, answer) in numbers.zip(self.answers) {
                    // The batch stays stored if its caller went away. The caller cannot know that and will retry.
                    let _ = answer.send(Ok(seq));
                }
            }
            Err(error) => {
                note(poison, Some(&error));
                tracing::error!(%error, batches = self.answers.len(), "could not append to the log");
                for answer in self.answers {
                    let _ = answer.send(Err(error.duplicate()));
                }
            }
        }
    }
}
