//! How do reading, decoding and storing run at the same time, in bounded memory and in order?
//!
//! ```text
//! reader thread ──chunks──▶ 2 decoders ──events──▶ put back in order ──▶ importer (segments)
//!       ▲                                                │
//!       └──────────────── a permit per chunk ────────────┘
//! ```
//! A chunk holds one of [`CHUNKS_MAX`] permits from reading until its events are handed to the importer. This
//! bounds memory, whichever step is the slowest. Chunks are numbered when they are read and handed over in that
//! order, so "the first n events are committed" says how far each file is stored.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::decode::{self, Events, Options};
use super::inputs::Input;
use super::source::{self, Chunk, Failure, Plan};
use crate::error::{Error, Result};

/// Most chunks in memory: one for each thread, and a few that wait.
const CHUNKS_MAX: usize = 6;

/// Decoding threads.
const DECODERS: usize = 2;

/// Output of the pipeline, in the order of the files.
#[derive(Debug)]
pub(super) enum Step {
    /// Events of a chunk.
    Events {
        plan: Arc<Plan>,
        events: Events,
        /// Position behind the chunk, in units of [`Plan::unit`].
        behind: u64,
    },
    /// End of an input; `failure` if it was not read completely.
    End { index: usize, failure: Option<Failure> },
}

enum Work {
    Decode(Chunk),
    End { index: usize, failure: Option<Failure> },
}

/// Running threads. Dropping it ends them.
pub(super) struct Pipeline {
    steps: mpsc::Receiver<(u64, Step)>,
    /// Steps that arrived before their turn, by number.
    early: BTreeMap<u64, Step>,
    next: u64,
    permits: Option<SyncSender<()>>,
    threads: Vec<JoinHandle<()>>,
    read: Arc<AtomicU64>,
}

impl Pipeline {
    /// Starts reading the inputs.
    pub(super) fn start(inputs: Vec<Input>, options: Options) -> Result<Self> {
        let (permits, permit_queue) = sync_channel(CHUNKS_MAX);
        for _ in 0..CHUNKS_MAX {
            permits.send(()).map_err(|_| Error::internal("the queue of permits closed"))?;
        }
        let (work, work_queue) = sync_channel(CHUNKS_MAX);
        let (step, steps) = mpsc::channel(CHUNKS_MAX);
        let read = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        let work_queue = Arc::new(Mutex::new(work_queue));
        let options = Arc::new(options);
        for i in 0..DECODERS {
            let (work, step, options) = (Arc::clone(&work_queue), step.clone(), Arc::clone(&options));
            threads.push(spawn(&format!("import-decode-{i}"), move || run_decoder(&work, &step, &options))?);
        }
        let counter = Arc::clone(&read);
        threads.push(spawn("import-read", move || {
            run_reader(&inputs, &options, &counter, &permit_queue, &work);
        })?);
        Ok(Self { steps, early: BTreeMap::new(), next: 0, permits: Some(permits), threads, read })
    }

    /// The next step; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.early.remove(&self.next) {
                self.next += 1;
                return Some(step);
            }
            let (number, step) = self.steps.recv().await?;
            self.early.insert(number, step);
        }
    }

    /// Returns a chunk's permit after its events were handed over, so that another chunk is read.
    pub(super) fn done(&self) {
        if let Some(permits) = &self.permits {
            // This fails only if the reader is gone.
            let _ = permits.try_send(());
        }
    }

    /// Bytes read from files so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.permits = None;
        self.steps.close();
        // A reader that waits for a terminal or a pipe may never wake up. It holds no resources and is not joined;
        // the other threads see the closed queues and end.
        self.threads.retain(JoinHandle::is_finished);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    Ok(std::thread::Builder::new().name(name.to_owned()).spawn(work)?)
}

fn run_reader(
    inputs: &[Input],
    options: &Options,
    read: &Arc<AtomicU64>,
    permits: &Receiver<()>,
    work: &SyncSender<(u64, Work)>,
) {
    let mut number = 0;
    let mut send = |item| {
        let sent = work.send((number, item)).is_ok();
        number += 1;
        sent
    };
    for (index, input) in inputs.iter().enumerate() {
        let ended = source::read(input, index, options, read, |chunk| {
            permits.recv().is_ok() && send(Work::Decode(chunk))
        });
        if !send(Work::End { index, failure: ended.err() }) {
            return;
        }
    }
}

fn run_decoder(work: &Mutex<Receiver<(u64, Work)>>, steps: &mpsc::Sender<(u64, Step)>, options: &Options) {
    loop {
        let Ok((number, item)) = work.lock().recv() else { return };
        let step = match item {
            Work::Decode(chunk) => {
                let events = decode::decode(&chunk, options);
                Step::Events { plan: chunk.plan, events, behind: chunk.behind }
            }
            Work::End { index, failure } => Step::End { index, failure },
        };
        if steps.blocking_send((number, step)).is_err() {
            return;
        }
    }
}

/// Progress in an input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Number of events up to here.
    pub(super) events: u64,
    /// Position behind their records, in units of [`Plan::unit`].
    pub(super) behind: u64,
}

/// Maps the first n events to positions in their files.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    appended: u64,
    /// Chunks that may not be durable yet: total events appended up to the chunk's end, its input, and the events and
    /// position there.
    pending: VecDeque<(u64, usize, Position)>,
    /// Durable progress, by input.
    durable: BTreeMap<usize, Position>,
    /// Appended events, by input.
    events: BTreeMap<usize, u64>,
}

impl Ledger {
    /// Records that a chunk with `events` events was handed over.
    pub(super) fn appended(&mut self, index: usize, events: u64, behind: u64) {
        self.appended += events;
        let of_file = self.events.entry(index).or_default();
        *of_file += events;
        self.pending.push_back((self.appended, index, Position { events: *of_file, behind }));
    }

    /// Records that the first `events` events are durable.
    pub(super) fn committed(&mut self, events: u64) {
        while let Some((appended, index, position)) = self.pending.front().copied()
            && appended <= events
        {
            self.durable.insert(index, position);
            self.pending.pop_front();
        }
    }

    /// Durable progress in an input.
    pub(super) fn durable(&self, index: usize) -> Position {
        self.durable.get(&index).copied().unwrap_or_default()
    }

    /// Number of events of an input that were handed over.
    pub(super) fn events(&self, index: usize) -> u64 {
        self.events.get(&index).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_durable_is_known_by_file() {
        let mut ledger = Ledger::default();
        ledger.appended(0, 10, 12);
        ledger.appended(0, 5, 20);
        ledger.appended(1, 7, 9);
        ledger.committed(14);
        assert_eq!(ledger.durable(0), Position { events: 10, behind: 12 });
        assert_eq!(ledger.durable(1), Position::default());
        ledger.committed(22);
        assert_eq!(ledger.durable(0), Position { events: 15, behind: 20 });
        assert_eq!(ledger.durable(1), Position { events: 7, behind: 9 });
        assert_eq!((ledger.events(0), ledger.events(1), ledger.events(2)), (15, 7, 0));
    }
}
