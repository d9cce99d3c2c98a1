//! What do all lives of one simulation share? The model, the clock and chance; and the comparison of the model with
//! the database.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::model::{Fate, Model};
use super::store::PutTimes;
use crate::config::{BufferSettings, Clock, QuerySettings, Settings};
use crate::db::Database;
use crate::disk::chaos::Chaos;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{CoreEvent, EventBatch, EventBatchBuilder, Level, TraceId, Value};
use crate::maintenance::GRACE;
use crate::query::ReadSnapshot;
use crate::segment::mask::deleted_rows;

/// Each reading of the clock takes this long, so that ids sort in the order in which they were made.
const TICK_NS: i64 = 1_000_000;
/// Start of the simulated time: 2026-11-21.
const START_NS: i64 = 1_795_219_200_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;

/// A clock that advances with every reading.
#[derive(Debug)]
pub(super) struct SimulatedClock(AtomicI64);

impl Clock for SimulatedClock {
    fn now_ns(&self) -> i64 {
        self.0.fetch_add(TICK_NS, Ordering::Relaxed)
    }
}

impl SimulatedClock {
    pub(super) fn leap(&self, duration: Duration) {
        self.0.fetch_add(duration.as_nanos() as i64, Ordering::Relaxed);
    }

    /// Returns the time without advancing it.
    pub(super) fn peek_ns(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Place of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogIn {
    /// In the directory of the objects, which only one process can use.
    Directory,
    /// In the store, as objects too.
    Store,
    /// On the process's machine. Once the database was closed there, another machine takes over without this log.
    Machine,
}

/// Model, chance and time of a simulation.
#[derive(Debug)]
pub(super) struct World {
    pub(super) chaos: Chaos,
    pub(super) clock: Arc<SimulatedClock>,
    pub(super) model: RefCell<Model>,
    /// Grace period of the objects of merged segments.
    pub(super) grace: Duration,
    pub(super) data: PathBuf,
    /// Put times of the objects of all lives.
    pub(super) put_at: PutTimes,
    pub(super) log: LogIn,
    /// Number of the machine with the log, where the log is not in the store.
    pub(super) machine: Cell<u64>,
    /// True if the last writing process has closed the database.
    pub(super) closed: Cell<bool>,
    /// Number of processes that have begun to open the database.
    pub(super) lives: Cell<u64>,
    /// Event numbers of the segments read so far, with the checksum of their bytes.
    segments: RefCell<HashMap<String, (u32, Vec<i64>)>>,
    /// Broken promises found so far.
    pub(super) wrong: RefCell<Vec<String>>,
    pub(super) done: RefCell<BTreeMap<&'static str, u64>>,
}

impl World {
    /// `data` is a spill directory on the real disk, and the data directory's name on the simulated disk.
    pub(super) fn new(chaos: Chaos, data: PathBuf) -> Rc<Self> {
        let grace = if chaos.one_in(2) { GRACE } else { Duration::ZERO };
        let log = match chaos.below(4) {
            0 | 1 => LogIn::Store,
            2 => LogIn::Directory,
            _ => LogIn::Machine,
        };
        Rc::new(Self {
            chaos,
            log,
            machine: Cell::default(),
            closed: Cell::default(),
            clock: Arc::new(SimulatedClock(AtomicI64::new(START_NS))),
            model: RefCell::default(),
            grace,
            data,
            put_at: PutTimes::default(),
            lives: Cell::default(),
            segments: RefCell::default(),
            wrong: RefCell::default(),
            done: RefCell::default(),
        })
    }

    /// Settings without background work: actors decide when to flush.
    pub(super) fn settings(&self) -> Settings {
        let mut settings = Settings::new(&self.data);
        settings.clock = Arc::clone(&self.clock) as _;
        settings.buffer = BufferSettings {
            flush_bytes: usize::MAX,
            flush_rows: usize::MAX,
            flush_age_ms: u64::MAX,
            bytes_max: usize::MAX,
        };
        settings.query = QuerySettings { parallelism: 1, ..QuerySettings::default() };
        settings
    }

    pub(super) fn count(&self, what: &'static str) {
        *self.done.borrow_mut().entry(what).or_default() += 1;
    }

    pub(super) fn report(&self, what: impl Into<String>) {
        let what = what.into();
        self.chaos.note("WRONG", std::path::Path::new(""), what.clone());
        self.wrong.borrow_mut().push(what);
    }

    /// Makes events with these numbers in the attribute `n`.
    pub(super) fn batch(&self, numbers: std::ops::Range<i64>) -> EventBatch {
        let mut builder = EventBatchBuilder::new();
        let n = builder.key(Level::Record, "n");
        let rare =
            builder.key(Level::Resource, ["service.name", "host.name", "k8s.pod.name"][self.chaos.below(3)]);
        for i in numbers {
            let timestamp_ns = START_NS - self.chaos.below(2) as i64 * DAY_NS + self.chaos.below(50) as i64;
            builder.push(&CoreEvent { timestamp_ns, trace_id: Some(trace(i)), ..CoreEvent::default() });
            builder.attribute(n, Value::Int(i));
            builder.attribute(rare, Value::Text("x"));
        }
        builder.finish().expect("a small batch")
    }

    /// Compares a snapshot's events with the answers that all producers had got before it was taken.
    pub(super) async fn compare(&self, who: &str, snapshot: &ReadSnapshot, told: &[Fate]) {
        let taken_ns = self.clock.peek_ns();
        let seen = match self.events(snapshot).await {
            Ok(seen) => seen,
            Err(error) => {
                let kept = Duration::from_nanos((self.clock.peek_ns() - taken_ns) as u64) < self.grace;
                if error.kind() != ErrorKind::Unavailable && (error.kind() != ErrorKind::NotFound || kept) {
                    self.report(format!("{who} cannot read: {error}"));
                }
                return;
            }
        };
        self.count("comparisons");
        if seen.len() as u64 != snapshot.rows() {
            self.report(format!(
                "{who} sees {} events where the catalog has {}",
                seen.len(),
                snapshot.rows()
            ));
        }
        if let Err(what) = self.model.borrow().check(&seen, told) {
            self.report(format!("{who}: {what}"));
        }
    }

    /// Reads the numbers of all events in a snapshot.
    pub(super) async fn events(&self, snapshot: &ReadSnapshot) -> Result<Vec<i64>> {
        let mut seen = Vec::new();
        for column in snapshot.buffer.iter().flat_map(|batch| batch.attributes()) {
            if column.key().level == Level::Record {
                seen.extend(column.values().as_primitive::<Int64Type>().values());
            }
        }
        for segment in &snapshot.catalog.segments {
            let path = segment.path();
            let object = snapshot.store.get(&Path::from(path.as_str())).await?.bytes().await?;
            let crc = crc32c::crc32c(&object);
            let known = self.segments.borrow().get(&path).cloned();
            let (before, numbers) = match known {
                Some(known) => known,
                None => (crc, numbers(object)?),
            };
            if before != crc {
                return Err(Error::corrupt(format!("{path} was changed")));
            }
            let deleted = deleted_rows(&snapshot.store, segment).await?.unwrap_or_default();
            let rows = (0_u32..).zip(&numbers).filter(|(row, _)| !deleted.contains(*row));
            seen.extend(rows.map(|(_, n)| *n));
            self.segments.borrow_mut().insert(path, (crc, numbers));
        }
        Ok(seen)
    }

    /// Compares results of SQL with the model; nothing else may be running.
    pub(super) async fn query(&self, database: &Database) {
        let told = self.model.borrow().told_anywhere();
        if database.snapshot().rows() == 0 {
            // No attribute is known yet.
            return;
        }
        match self.ask(database, "SELECT n FROM events").await {
            Err(error) => self.report(format!("a query fails: {error}")),
            Ok(seen) => {
                if let Err(what) = self.model.borrow().check(&seen, &told) {
                    self.report(format!("a query: {what}"));
                }
                let count = self.ask(database, "SELECT count(*) FROM events").await;
                if count.ok().as_deref() != Some(&[seen.len() as i64]) {
                    self.report("count(*) says otherwise");
                }
                let Some(one) = seen.get(self.chaos.below(seen.len())) else { return };
                let sql = format!(
                    "SELECT n FROM events WHERE trace_id = '{}'",
                    hex::encode(trace(*one).as_bytes())
                );
                let found = self.ask(database, &sql).await;
                if found.ok().as_deref() != Some(&[*one]) {
                    self.report(format!("event {one} is not found by its trace"));
                }
            }
        }
        self.count("SQL comparisons");
    }

    async fn ask(&self, database: &Database, sql: &str) -> Result<Vec<i64>> {
        let batches = database.sql(sql).await?.collect().await?;
        let columns = batches.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>());
        Ok(columns.flat_map(|column| column.values().to_vec()).collect())
    }
}

/// Trace id of event `n`: every event has a trace of its own.
fn trace(n: i64) -> TraceId {
    TraceId::new((n as u128 + 1).to_be_bytes())
}

/// Reads the numbers of all events in a segment, deleted ones too.
pub(super) fn numbers(object: Bytes) -> Result<Vec<i64>> {
    let mut numbers = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(object)?.build()? {
        let batch = batch?;
        let column = batch.column_by_name("n").ok_or_else(|| Error::corrupt("a segment without numbers"))?;
        if column.null_count() > 0 {
            return Err(Error::corrupt("an event without its number"));
        }
        numbers.extend(column.as_primitive::<Int64Type>().values());
    }
    Ok(numbers)
}
