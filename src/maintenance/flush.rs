//! How does the buffer become segments, exactly once?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutPayload};

use super::background::on_own_thread;
use super::births::decide;
use super::{Arrival, Live};
use crate::catalog::{Catalog, Change, Keys};
use crate::config::{Clock, IndexSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventBatch;
use crate::index::IndexBuilder;
use crate::index::segment_index::BuiltIndex;
use crate::segment::{self, Built, NewSegment, SegmentId, SegmentMeta};
use crate::wal::{SequenceNumber, Wal};

/// Moves the buffer into segments. One flush at a time; appends go on meanwhile.
#[derive(Debug)]
pub struct Flusher {
    live: Arc<Live>,
    catalog: Arc<Catalog>,
    store: Arc<dyn ObjectStore>,
    wal: Arc<Wal<Arrival>>,
    clock: Arc<dyn Clock>,
    index: IndexSettings,
    one_at_a_time: tokio::sync::Mutex<()>,
    flushes: AtomicU64,
}

/// What a flush has done.
#[derive(Debug, Clone)]
pub struct Flushed {
    /// The new segment.
    pub segment: SegmentMeta,
    /// The log up to here is in segments.
    pub through: SequenceNumber,
}

impl Flusher {
    /// Flushes from `live` through `store` into `catalog`, and truncates `wal`.
    pub fn new(
        live: Arc<Live>,
        catalog: Arc<Catalog>,
        store: Arc<dyn ObjectStore>,
        wal: Arc<Wal<Arrival>>,
        clock: Arc<dyn Clock>,
        index: IndexSettings,
    ) -> Self {
        Self {
            live,
            catalog,
            store,
            wal,
            clock,
            index,
            one_at_a_time: tokio::sync::Mutex::default(),
            flushes: AtomicU64::new(0),
        }
    }

    /// Segments written so far.
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// Makes one segment of the oldest `rows_max` events; `None` when there are none.
    ///
    /// When it fails, the events stay in buffer and log, and the next flush tries again.
    ///
    /// # Panics
    /// If the segment has other events than were sealed, or a commit leaves the watermark behind.
    pub async fn flush(&self, rows_max: usize) -> Result<Option<Flushed>> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        // Should an earlier commit have got through although it failed for us, learn of it first.
        self.live.committed(&self.catalog.snapshot());
        let Some((sealed, range)) = self.live.seal(rows_max.min(segment::ROWS_MAX)) else {
            return Ok(None);
        };
        let (keys, rows) = (Keys::of(&sealed.batches), sealed.rows as u64);
        let (id, birth) = self.live.births().segment(self.clock.now_ns());
        let segment = store_segment(&self.store, id, sealed.batches, &self.index).await?;
        assert_eq!(segment.meta.rows, rows, "a segment has the events of the batches that it is made of");
        let deliveries = self.live.deliveries().within(range);
        let add = vec![segment.clone()];
        let change = Change { add, keys, deliveries, wal: Some(range), ..Change::default() };
        let committed = decide(vec![birth], self.catalog.commit(change)).await;
        // After a conflict too: the catalog now knows what the other commit moved.
        self.live.committed(&self.catalog.snapshot());
        let watermark = committed?.wal_watermark;
        assert!(watermark >= range.through, "what was committed is behind the watermark");
        self.flushes.fetch_add(1, Ordering::Relaxed);
        let segment = segment.meta;
        tracing::info!(
            rows = segment.rows,
            bytes = segment.bytes,
            through = range.through.0,
            "flushed the buffer into a segment"
        );
        if let Err(error) = self.wal.truncate(range.through).await {
            // The watermark already says that the log's copy does not count; the next flush deletes it.
            tracing::warn!(%error, "could not truncate the log");
        }
        Ok(Some(Flushed { segment, through: range.through }))
    }

    /// Merges runs of small batches in the buffer, so that queries meet few. Not while a flush has sealed
    /// some of them.
    pub async fn merge_small(&self) -> Result<()> {
        let _no_flush = self.one_at_a_time.lock().await;
        while let Some(run) = self.live.small_run() {
            let merge = move || EventBatch::concat(&run.batches).map(|merged| (run, merged));
            let merged = tokio::task::spawn_blocking(merge).await;
            let (run, merged) =
                merged.map_err(|e| Error::internal("merging batches failed").with_source(e))??;
            self.live.replace_run(&run, Arc::new(merged));
        }
        Ok(())
    }
}

/// Encodes `batches` and stores the segment and its index durably; it counts once it is committed.
///
/// Until then the caller keeps the [`Birth`](super::Birth) of `id`.
pub async fn store_segment(
    store: &Arc<dyn ObjectStore>,
    id: SegmentId,
    batches: Vec<Arc<EventBatch>>,
    index: &IndexSettings,
) -> Result<NewSegment> {
    let builder = IndexBuilder::new(index);
    let build = on_own_thread(move || {
        let built = segment::build(id, &batches, &builder)?;
        let index = builder.finish(&built)?;
        Ok::<_, Error>((built, index))
    });
    let (built, index) = build.await??;
    store_built(store, built, index).await
}

/// Stores a segment and its index durably.
pub async fn store_built(
    store: &Arc<dyn ObjectStore>,
    built: Built,
    index: BuiltIndex,
) -> Result<NewSegment> {
    let Built { mut segment, object, .. } = built;
    segment.meta.index = Some(index.bytes());
    store_object(store, &segment.meta.index_path(), index.object).await?;
    store_object(store, &segment.meta.path(), object.into()).await?;
    Ok(segment)
}

/// Stores a new object durably.
pub(super) async fn store_object(store: &Arc<dyn ObjectStore>, path: &str, object: PutPayload) -> Result<()> {
    let stored = store.put_opts(&Path::from(path), object, PutMode::Create.into()).await;
    stored
        .map(drop)
        .map_err(|e| Error::new(ErrorKind::Unavailable, format!("cannot store {path}: {e}")).with_source(e))
}
