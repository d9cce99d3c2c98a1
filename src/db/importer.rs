//! How is a lot of data loaded quickly?
//!
//! Without the log and the buffer: batches are collected, and when there are enough for a good segment it
//! is encoded, stored and committed in the background while the next ones are collected. Events are
//! committed in the order in which they were appended, so "the first n events are in" says all.

use std::sync::Arc;

use object_store::ObjectStore;
use tokio::task::JoinHandle;

use super::writer::Writer;
use crate::catalog::{Change, Keys};
use crate::config::{Clock, IndexSettings, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventBatch;
use crate::maintenance::{Birth, decide, store_segment};
use crate::segment::{NewSegment, ROWS_MAX, SegmentMeta};

/// A segment is begun with so much memory of batches. Twice that is held, collecting and encoding: with
/// columns and output it stays under 300 MB.
const SEGMENT_BYTES: usize = 96 << 20;
/// Or with so many events: small events compress well, and one core reads one segment.
const SEGMENT_ROWS: usize = 256 << 10;

/// A bulk load. What was not committed when it is dropped is not in the database.
#[derive(Debug)]
pub struct Importer {
    writer: Arc<Writer>,
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    index: IndexSettings,
    collected: Vec<Arc<EventBatch>>,
    rows: usize,
    bytes: usize,
    building: Option<JoinHandle<Result<SegmentMeta>>>,
    progress: ImportProgress,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportProgress {
    /// Events handed in.
    pub appended_rows: u64,
    /// Of these the first so many are committed: durable and visible.
    pub committed_rows: u64,
    /// Segments made of them.
    pub segments: u64,
    /// Size of these segments.
    pub segment_bytes: u64,
}

impl Importer {
    pub(super) fn new(writer: Arc<Writer>, store: Arc<dyn ObjectStore>, settings: &Settings) -> Self {
        Self {
            writer,
            store,
            clock: Arc::clone(&settings.clock),
            index: settings.index.clone(),
            collected: Vec::new(),
            rows: 0,
            bytes: 0,
            building: None,
            progress: ImportProgress::default(),
        }
    }

    /// Adds events; returns at once unless a segment has to be finished first. They are durable and
    /// visible once [`progress`](Self::progress) counts them as committed.
    ///
    /// An error may be that of an earlier batch; the import cannot go on after it.
    pub async fn append(&mut self, batch: EventBatch) -> Result<()> {
        if batch.rows() > ROWS_MAX {
            let message = format!("batch of {} events, at most {ROWS_MAX} go in one: split it", batch.rows());
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        if self.rows + batch.rows() > ROWS_MAX {
            self.seal().await?;
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.rows += batch.rows();
        self.bytes += batch.memory_bytes();
        self.progress.appended_rows += batch.rows() as u64;
        self.collected.push(Arc::new(batch));
        if self.bytes >= SEGMENT_BYTES || self.rows >= SEGMENT_ROWS {
            self.seal().await?;
        }
        Ok(())
    }

    /// Commits everything that was appended. Each call ends a segment, however small: call it at the end,
    /// or when somebody has to be told.
    pub async fn commit(&mut self) -> Result<ImportProgress> {
        self.seal().await?;
        self.finish_building().await?;
        Ok(self.progress)
    }

    /// How far the import is.
    pub fn progress(&self) -> ImportProgress {
        self.progress
    }

    /// Starts a segment of what was collected, once the previous one is committed.
    async fn seal(&mut self) -> Result<()> {
        self.finish_building().await?;
        if self.collected.is_empty() {
            return Ok(());
        }
        let batches = std::mem::take(&mut self.collected);
        (self.rows, self.bytes) = (0, 0);
        let (writer, store) = (Arc::clone(&self.writer), Arc::clone(&self.store));
        let (now_ns, index) = (self.clock.now_ns(), self.index.clone());
        self.building = Some(tokio::spawn(async move {
            let keys = Keys::of(&batches);
            let (id, birth) = writer.live().births().segment(now_ns);
            let segment = store_segment(&store, id, batches, &index).await?;
            commit(&writer, birth, segment, keys).await
        }));
        Ok(())
    }

    async fn finish_building(&mut self) -> Result<()> {
        let Some(building) = self.building.take() else { return Ok(()) };
        let segment =
            building.await.map_err(|e| Error::internal("the import task failed").with_source(e))??;
        self.progress.committed_rows += segment.rows;
        self.progress.segments += 1;
        self.progress.segment_bytes += segment.bytes;
        Ok(())
    }
}

async fn commit(writer: &Writer, birth: Birth, segment: NewSegment, keys: Keys) -> Result<SegmentMeta> {
    let change = Change { add: vec![segment.clone()], keys: keys.clone(), ..Change::default() };
    let snapshot = decide(vec![birth], writer.catalog().commit(change)).await?;
    keys.fill(writer.live().keys());
    writer.live().committed(&snapshot);
    Ok(segment.meta)
}
