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
//! beside it. Several databases in one process know nothing of each other.
//!
//! # The story of a write
//!
//! [`append`](Database::append) asks for room, encodes and compresses the batch, and hands it to the
//! [log](crate::wal). When the log has it on disk, the batch is put into the [buffer](crate::buffer) and
//! the producer is answered. A task of this module [flushes](crate::maintenance) the buffer when it is full
//! or old. [`Importer`] goes straight to segments instead, for bulk loads.
//!
//! [`writer`] is the write path, [`recovery`] what happens at open, [`importer`] the bulk path,
//! [`backup`] copies a database and brings it back, [`check`] says whether all that is stored is what was written, [`inspect`]
//! what is in a file, [`overview`] what is in a directory.

mod deletion;
mod lock;
mod maintain;
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
use datafusion::prelude::SessionContext;
use parking_lot::RwLock;

use crate::catalog::Catalog;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventBatch, TraceId};
use crate::maintenance::Live;
use crate::query::{Checked, Engine, QueryRequest, QueryResult, ReadSnapshot};
use crate::wal::{DeliveryId, SequenceNumber};

pub use crate::catalog::Deletion;
pub use crate::maintenance::{BackupProgress, BackupReport, DeleteRequest};
pub use crate::maintenance::{
    CompactionOptions, CompactionProgress, CompactionReport, MaintenanceCounts, SegmentTotals,
};
pub use deletion::DeletionReceipt;
pub use importer::{ImportProgress, Importer};
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
    /// None when read-only, and after close.
    writer: RwLock<Option<Arc<Writer>>>,
    read_only: bool,
}

impl Database {
    /// Opens the database in `settings.data` for reading and writing; creates it when there is none.
    ///
    /// Replays the log, and starts a task on the current tokio runtime that flushes the buffer. Fails with
    /// [`ErrorKind::Conflict`] while another process writes there, [`ErrorKind::Corrupt`] when the catalog
    /// is damaged. Damaged records of the log are reported to the system's log and skipped.
    pub async fn open(settings: Settings) -> Result<Self> {
        recovery::open(settings).await
    }

    /// Opens the existing database in `settings.data` as it is now, for reading; a writer may be at work.
    ///
    /// Changes nothing in the directory. Later writes are seen after [`refresh`](Self::refresh).
    pub async fn open_read_only(settings: Settings) -> Result<Self> {
        recovery::open_read_only(settings).await
    }

    /// Adds events. When it returns, they survive a crash and the next query sees them.
    ///
    /// Fails with [`ErrorKind::Busy`] when the buffer is full and [`ErrorKind::Unavailable`] when the disk is:
    /// retry later; with [`ErrorKind::TooLarge`] when a batch has more events than a segment. After any failure but [`ErrorKind::Poisoned`] nothing was stored. Dropping the future may or may not store it.
    pub async fn append(&self, batch: EventBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let limits = self.inner.settings.buffer;
        self.writer()?.append(Arc::new(batch), None, limits).await.map(|_: SequenceNumber| ())
    }

    /// Like [`append`](Self::append) the events of the message `id` of a producer, unless it was taken in
    /// before, within what [`DeliverySettings`](crate::config::DeliverySettings) remember: then nothing is
    /// added. Returns whether it was new.
    ///
    /// When it returns, the events are durable, whichever delivery brought them; also across restarts.
    pub async fn deliver(&self, id: DeliveryId, batch: EventBatch) -> Result<bool> {
        if batch.is_empty() {
            return Ok(true);
        }
        self.writer()?.deliver(id, Arc::new(batch), self.inner.settings.buffer).await
    }

    /// Starts a bulk load: events go straight into segments, and count once they are committed.
    pub fn importer(&self) -> Result<Importer> {
        Ok(Importer::new(self.writer()?, Arc::clone(&self.inner.storage.store), &self.inner.settings))
    }

    /// Returns once every event that was appended before is in a segment.
    pub async fn flush(&self) -> Result<()> {
        self.writer()?.flush_all().await
    }

    /// Merges small segments, and such that overlap in time, so that queries open fewer. Events stay as they
    /// are; flushes and queries go on. `progress` is called now and then.
    ///
    /// What is done when it fails, or is dropped, stays done. It does nothing when there is nothing to gain.
    pub async fn compact(
        &self,
        options: CompactionOptions,
        progress: impl FnMut(CompactionProgress) + Send,
    ) -> Result<CompactionReport> {
        self.writer()?.compact(options, progress).await
    }

    /// Deletes the events that fit a condition, of those that were appended before: no later query sees them.
    ///
    /// Their objects are written again without them by and by, in the background or by
    /// [`rewrite_deleted`](Self::rewrite_deleted); the receipt says which are still there. Fails with
    /// [`ErrorKind::InvalidInput`] when the condition is wrong, or needs more than one event to be decided.
    pub async fn delete(&self, request: &DeleteRequest) -> Result<DeletionReceipt> {
        let writer = self.writer()?;
        writer.flush_all().await?;
        let deletion = writer.masker().delete(request).await?;
        self.deletion(&deletion.id).await
    }

    /// How many events in how many segments [`delete`](Self::delete) would delete.
    pub async fn count_deletable(&self, request: &DeleteRequest) -> Result<(u64, u64)> {
        let writer = self.writer()?;
        writer.flush_all().await?;
        writer.masker().count(request).await
    }

    /// What has become of an earlier deletion; [`ErrorKind::NotFound`] when there was none.
    pub async fn deletion(&self, id: &str) -> Result<DeletionReceipt> {
        deletion::receipt(&self.inner, id).await
    }

    /// Writes the segments again that have deleted events, without these, and deletes the objects that have
    /// not been needed for the time of grace. Settings of the database do this in the background.
    pub async fn rewrite_deleted(&self, options: CompactionOptions) -> Result<()> {
        self.writer()?.compactor().rewrite_deleted(options).await
    }

    /// Removes what has expired by the settings of the database, which also do so in the background. Returns
    /// how many events.
    pub async fn apply_retention(&self) -> Result<u64> {
        let writer = self.writer()?;
        writer.retainer().apply(writer.stop()).await
    }

    /// Flushes, ends the background task and gives the directory back. Queries still work; appends fail.
    ///
    /// Dropping a database without closing it loses nothing: the log has the events. The directory is then
    /// given back when a flush, import or merge that is under way has ended.
    pub async fn close(&self) -> Result<()> {
        let writer = self.inner.writer.write().take();
        match writer {
            Some(writer) => writer.close().await,
            None => Ok(()),
        }
    }

    /// What a query that starts now sees.
    pub fn snapshot(&self) -> ReadSnapshot {
        let (catalog, buffer) = self.inner.live.view();
        let keys = Arc::clone(self.inner.live.keys());
        ReadSnapshot { catalog, buffer, keys, store: Arc::clone(&self.inner.storage.store) }
    }

    /// Starts a statement on what was appended before.
    ///
    /// Fails with [`ErrorKind::InvalidInput`] when the statement is wrong, with a place in it where there
    /// is one; what goes wrong later comes through the stream. Dropping the result ends the query.
    pub async fn query(&self, request: QueryRequest) -> Result<QueryResult> {
        self.inner.engine.query(&self.snapshot(), request).await
    }

    /// Plans a statement without running it: its columns, or what is wrong with it. See [`Engine::check`].
    pub async fn check(&self, request: &QueryRequest) -> Result<Checked> {
        self.inner.engine.check(&self.snapshot(), request).await
    }

    /// [`query`](Self::query) without parameters or limits.
    pub async fn sql(&self, sql: impl Into<String>) -> Result<QueryResult> {
        self.query(QueryRequest::new(sql)).await
    }

    /// A session of DataFusion on what was appended before, for programs that have an engine of their own;
    /// see [`Engine::session_context`].
    pub fn session_context(&self) -> SessionContext {
        self.inner.engine.session_context(&self.snapshot())
    }

    /// The spans of a trace with their events, at most `rows_max`, with all that OTLP needs; see
    /// [`Engine::trace`].
    pub async fn trace(&self, id: TraceId, rows_max: usize) -> Result<Vec<RecordBatch>> {
        self.inner.engine.trace(&self.snapshot(), id, rows_max).await
    }

    /// For a read-only database: looks again at what the writer has done.
    pub async fn refresh(&self) -> Result<()> {
        if self.inner.read_only { recovery::refresh(&self.inner).await } else { Ok(()) }
    }

    /// Counts for a person or a monitoring system.
    pub fn stats(&self) -> DatabaseStats {
        stats::collect(&self.inner)
    }

    /// The settings that it was opened with.
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
mod tests;
