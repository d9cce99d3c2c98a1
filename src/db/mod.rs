//! How does a program use a database?
//!
//! ```no_run
//! # async fn example(batch: broadloom::event::EventBatch) -> broadloom::Result<()> {
//! use broadloom::{Database, config::Settings};
//!
//! let database = Database::open(Settings::new("./broadloom-data")).await?;
//! database.append(batch).await?; // durable, and visible to the next query
//! database.close().await
//! # }
//! ```
//!
//! A [`Database`] is a handle: cheap to clone, safe to use from many tasks. One process writes to a data
//! directory at a time ([`lock`]); any number of others may [`open_read_only`](Database::open_read_only)
//! beside it. Several databases in one process are independent; they may share [`Resources`].
//!
//! # The story of a write
//!
//! [`append`](Database::append) reserves memory in the buffer, encodes and compresses the batch, and hands it to
//! the [log](crate::wal). Once the log is on disk, the batch enters the [buffer](crate::buffer) and the producer
//! is answered. [`maintenance`](crate::maintenance::duties) flushes the buffer when it is full or old.
//! [`Importer`] writes segments directly instead, for bulk loads.
//!
//! [`writer`] is the write path, [`importer`] the bulk path, [`recovery`] the steps of opening. [`resources`] are
//! shared by databases. [`backup`] copies and restores a database, [`check`] verifies all stored bytes,
//! [`inspect`] shows one file, [`overview`] a whole directory.

mod deletion;
mod lock;
mod spill;
mod resources;
mod recovery;
mod stats;
mod writer;
mod importer;
mod lease;
mod storage;
pub mod backup;
pub mod check;
pub mod inspect;
pub mod overview;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::prelude::SessionContext;
use parking_lot::RwLock;

use crate::catalog::Catalog;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventBatch, TraceId};
use crate::maintenance::{Arrivals, Live};
use crate::query::complete::Vocabulary;
use crate::query::{Ask, Checked, Engine, Prepared, QueryResult, Question, ReadSnapshot};
use crate::wal::{DeliveryId, SequenceNumber};

pub use crate::catalog::Deletion;
pub use crate::maintenance::{BackupProgress, BackupReport, DeleteRequest};
pub use crate::maintenance::{
    CompactionOptions, CompactionProgress, CompactionReport, Duty, DutyState, MaintenanceCounts,
    SegmentTotals,
};
pub use deletion::DeletionReceipt;
pub use importer::{ImportProgress, Importer};
pub use resources::{ResourceSettings, Resources};
pub use stats::DatabaseStats;
use storage::Storage;
use writer::Writer;

/// A database in a data directory.
#[derive(Debug, Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    storage: Storage,
    live: Arc<Live>,
    engine: Engine,
    /// Memory, caches and spill directory of the engine; outlives it.
    resources: Resources,
    /// None when read-only, and after close.
    writer: RwLock<Option<Arc<Writer>>>,
    read_only: bool,
}

impl Database {
    /// Opens the database in `settings.data` for reading and writing; creates it if it is missing.
    ///
    /// Replays the log, and starts a task on the current tokio runtime that flushes the buffer. Fails with
    /// [`ErrorKind::Conflict`] while another process writes there, [`ErrorKind::Corrupt`] when the catalog
    /// is damaged. Damaged records of the log are reported to the system's log and skipped.
    pub async fn open(settings: Settings) -> Result<Self> {
        recovery::open(settings, None).await
    }

    /// [`open`](Self::open)s a database that shares `resources` with others. Their limits replace `settings.query`
    /// and the memory limit of `settings.index`.
    pub async fn open_with(settings: Settings, resources: &Resources) -> Result<Self> {
        recovery::open(settings, Some(resources)).await
    }

    /// Opens the existing database in `settings.data` as it is now, for reading; a writer may be running.
    ///
    /// Changes nothing in the directory. Later writes are seen after [`refresh`](Self::refresh).
    pub async fn open_read_only(settings: Settings) -> Result<Self> {
        recovery::open_read_only(settings, None).await
    }

    /// Like [`open_read_only`](Self::open_read_only), with `resources` shared as in [`open_with`](Self::open_with).
    pub async fn open_read_only_with(settings: Settings, resources: &Resources) -> Result<Self> {
        recovery::open_read_only(settings, Some(resources)).await
    }

    /// Adds events. When it returns, they survive a crash and the next query sees them.
    ///
    /// Fails with [`ErrorKind::Busy`] when the buffer is full and [`ErrorKind::Unavailable`] when the disk is:
    /// retry later; with [`ErrorKind::TooLarge`] when a batch has more events than a segment. After any failure but
    /// [`ErrorKind::Poisoned`] nothing was stored. If the future is dropped, the batch may or may not be stored.
    pub async fn append(&self, batch: EventBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let limits = self.inner.settings.buffer;
        self.writer()?.append(Arc::new(batch), None, limits).await.map(|_: SequenceNumber| ())
    }

    /// [`append`](Self::append)s the events of a producer's message `id`, unless the message was stored before and
    /// is still within the window of [`DeliverySettings`](crate::config::DeliverySettings). Returns true if it was
    /// new.
    ///
    /// When it returns, the events are durable, whichever delivery brought them. Duplicates are found across
    /// restarts too.
    pub async fn deliver(&self, id: DeliveryId, batch: EventBatch) -> Result<bool> {
        if batch.is_empty() {
            return Ok(true);
        }
        self.writer()?.deliver(id, Arc::new(batch), self.inner.settings.buffer).await
    }

    /// Starts a bulk load: events go straight into segments, and are visible once committed.
    pub fn importer(&self) -> Result<Importer> {
        Ok(Importer::new(self.writer()?, Arc::clone(&self.inner.storage.store), &self.inner.settings))
    }

    /// Returns once every event that was appended before is in a segment.
    pub async fn flush(&self) -> Result<()> {
        self.writer()?.flush_all().await
    }

    /// Merges small segments and segments that overlap in time, so that queries open fewer. Events do not change;
    /// flushes and queries go on. `progress` is called for every new segment.
    ///
    /// Merges committed before a failure or a drop stay. Does nothing when there is nothing to gain. Retention runs
    /// first; neither a failing retention rule nor an object that cannot be deleted stops the merges:
    /// see [`duties`](Self::duties).
    pub async fn compact(
        &self,
        options: CompactionOptions,
        progress: impl FnMut(CompactionProgress) + Send,
    ) -> Result<CompactionReport> {
        self.writer()?.maintenance().compact(options, progress).await
    }

    /// Deletes the previously appended events that match a condition: no later query sees them.
    ///
    /// Their objects are rewritten without them later, in the background or by
    /// [`rewrite_deleted`](Self::rewrite_deleted); the receipt lists the objects that still hold them. Fails with
    /// [`ErrorKind::InvalidInput`] when the condition is wrong, or cannot be evaluated on one event alone.
    pub async fn delete(&self, request: &DeleteRequest) -> Result<DeletionReceipt> {
        let writer = self.writer()?;
        writer.flush_all().await?;
        let deletion = writer.maintenance().masker().delete(request).await?;
        self.deletion(&deletion.id).await
    }

    /// Counts the events that [`delete`](Self::delete) would delete, and the segments that they are in.
    pub async fn count_deletable(&self, request: &DeleteRequest) -> Result<(u64, u64)> {
        let writer = self.writer()?;
        writer.flush_all().await?;
        writer.maintenance().masker().count(request).await
    }

    /// Returns the state of an earlier deletion; [`ErrorKind::NotFound`] when the id is unknown.
    pub async fn deletion(&self, id: &str) -> Result<DeletionReceipt> {
        deletion::receipt(&self.inner, id).await
    }

    /// Rewrites the segments that have deleted events without them, and deletes the objects whose grace period is
    /// over. The database settings can do this in the background.
    pub async fn rewrite_deleted(&self, options: CompactionOptions) -> Result<()> {
        self.writer()?.maintenance().rewrite_deleted(options).await
    }

    /// Removes the events that have expired by the retention settings, as the background does; returns their
    /// number. A rule that fails does not stop the others; its error is returned after them.
    pub async fn apply_retention(&self) -> Result<u64> {
        self.writer()?.maintenance().retain().await
    }

    /// Fails with [`ErrorKind::Poisoned`], and the reason, when no append will work until the process is restarted:
    /// after a failed fsync, or because another process has taken over. A closed database fails with
    /// [`ErrorKind::Unavailable`]; a read-only one is ready.
    pub fn readiness(&self) -> Result<()> {
        if self.inner.read_only { Ok(()) } else { self.writer()?.readiness() }
    }

    /// State of each maintenance duty that was tried since the database was opened for writing. A failing duty is
    /// retried and does not stop the others.
    pub fn duties(&self) -> Vec<DutyState> {
        self.writer().map(|writer| writer.maintenance().states()).unwrap_or_default()
    }

    /// Flushes, ends the background task and releases the directory's lock. Queries still work; appends fail.
    ///
    /// Dropping a database without closing it loses nothing: the log has the events. The lock is then released
    /// when a running flush, import or merge has ended.
    pub async fn close(&self) -> Result<()> {
        let writer = self.inner.writer.write().take();
        match writer {
            Some(writer) => writer.close().await,
            None => Ok(()),
        }
    }

    /// Returns the data that a query starting now sees.
    pub fn snapshot(&self) -> ReadSnapshot {
        let (catalog, buffer) = self.inner.live.view();
        let keys = Arc::clone(self.inner.live.keys());
        ReadSnapshot { catalog, buffer, keys, store: Arc::clone(&self.inner.storage.store) }
    }

    /// Returns the data that a query starting now sees, and the events that arrive from then on: together every event,
    /// each once. Those of bulk imports do not arrive.
    pub(crate) fn watch(&self) -> (ReadSnapshot, Arrivals) {
        let (catalog, buffer, arrivals) = self.inner.live.watch();
        let keys = Arc::clone(self.inner.live.keys());
        (ReadSnapshot { catalog, buffer, keys, store: Arc::clone(&self.inner.storage.store) }, arrivals)
    }

    /// Starts a query on the data of `snapshot`.
    pub(crate) async fn query_on(&self, snapshot: &ReadSnapshot, question: Question) -> Result<QueryResult> {
        self.inner.engine.query(snapshot, question).await
    }

    /// Names that a statement can use.
    pub(crate) fn vocabulary(&self) -> Vocabulary {
        self.inner.engine.vocabulary(self.inner.live.keys())
    }

    /// Starts a query on everything that was appended before.
    ///
    /// Fails with [`ErrorKind::InvalidInput`] when the statement is wrong, with the position if it is known; later
    /// errors come through the stream. Dropping the result ends the query.
    pub async fn query(&self, question: Question) -> Result<QueryResult> {
        self.inner.engine.query(&self.snapshot(), question).await
    }

    /// Plans a statement without running it: its columns, or what is wrong with it. See [`Engine::check`].
    pub async fn check(&self, question: &Question) -> Result<Checked> {
        self.inner.engine.check(&self.snapshot(), question).await
    }

    /// Plans a statement whose parameters have no values yet; see [`Engine::prepare`].
    pub async fn prepare(&self, ask: Ask, declared: &[Option<DataType>]) -> Result<Prepared> {
        self.inner.engine.prepare(&self.snapshot(), ask, declared).await
    }

    /// [`query`](Self::query) without parameters or limits.
    pub async fn sql(&self, sql: impl Into<String>) -> Result<QueryResult> {
        self.query(Question::sql(sql)).await
    }

    /// Returns a DataFusion session on everything that was appended before, for programs with their own engine;
    /// see [`Engine::session_context`].
    pub fn session_context(&self) -> SessionContext {
        self.inner.engine.session_context(&self.snapshot())
    }

    /// Returns the spans of a trace with their events and all columns that OTLP needs; see [`Question::trace`].
    /// Fails with [`ErrorKind::LimitExceeded`] when there are more than `rows_max`.
    pub async fn trace(&self, id: TraceId, rows_max: usize) -> Result<Vec<RecordBatch>> {
        let question = Question { row_limit: Some(rows_max), ..Question::trace(id)? };
        let spans = self.query(question).await?.collect().await;
        spans.map_err(|e| e.context(format!("trace {id}")))
    }

    /// Loads the writer's later commits and log into a read-only database; does nothing on a writable one.
    pub async fn refresh(&self) -> Result<()> {
        if self.inner.read_only { recovery::refresh(&self.inner).await } else { Ok(()) }
    }

    /// Returns counts for people and monitoring systems.
    pub fn stats(&self) -> DatabaseStats {
        stats::collect(&self.inner)
    }

    /// Settings that the database was opened with.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    fn writer(&self) -> Result<Arc<Writer>> {
        self.inner.writer.read().clone().ok_or_else(|| {
            let data = &self.inner.settings.data;
            if self.inner.read_only {
                Error::invalid(format!("{data} was opened read-only"))
            } else {
                Error::new(ErrorKind::Unavailable, format!("{data} was closed: open it again"))
            }
        })
    }
}

impl Inner {
    async fn load_catalog(&self) -> Result<Catalog> {
        Catalog::load(Arc::clone(&self.storage.store), Arc::clone(&self.settings.clock)).await
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod tests;
