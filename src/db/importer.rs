//! How is a lot of data loaded quickly?
//!
//! It bypasses the log and the buffer. Batches are collected until they fill a segment, which is encoded, stored
//! and committed in the background while the next batches are collected. Events are committed in the order of
//! their appends, so progress is one number: the first n events are in.

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

/// Memory of batches that starts a segment. Twice this is held, one collecting and one encoding; with columns and
/// output an import stays under 300 MB.
const SEGMENT_BYTES: usize = 96 << 20;
/// Number of events that starts a segment. Small events compress well, and one core reads one segment.
const SEGMENT_ROWS: usize = 256 << 10;

/// A bulk load. Dropping it discards the events that are not committed yet.
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

/// Progress of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportProgress {
    /// Events appended so far.
    pub appended_rows: u64,
    /// Number of events committed, counted from the first: these are durable and visible.
    pub committed_rows: u64,
    /// Segments written.
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
    /// The error may be an earlier batch's; the import cannot continue after it.
    pub async fn append(&mut self, batch: EventBatch) -> Result<()> {
        if batch.rows() > ROWS_MAX {
            let message = format!("the batch has {} events, the limit is {ROWS_MAX}: split it", batch.rows());
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

    /// Commits everything that was appended. Each call ends a segment, however small: call it at the end, or when a
    /// producer waits for an acknowledgement.
    pub async fn commit(&mut self) -> Result<ImportProgress> {
        self.seal().await?;
        self.finish_building().await?;
        Ok(self.progress)
    }

    /// Returns the current progress.
    pub fn progress(&self) -> ImportProgress {
        self.progress
    }

    /// Starts a segment of the collected batches, once the previous one is committed.
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
