//! How does the buffer become segments, exactly once?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutPayload};

use super::background::on_own_thread;
use super::{Arrival, Ground};
use crate::catalog::{Change, Keys};
use crate::config::IndexSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventBatch;
use crate::index::IndexBuilder;
use crate::index::segment_index::BuiltIndex;
use crate::segment::{self, Built, NewSegment, SegmentId, SegmentMeta};
use crate::wal::{SequenceNumber, Wal};

/// Moves the buffer into segments. One flush at a time; appends go on meanwhile.
#[derive(Debug)]
pub struct Flusher {
    ground: Ground,
    wal: Arc<Wal<Arrival>>,
    index: IndexSettings,
    one_at_a_time: tokio::sync::Mutex<()>,
    flushes: AtomicU64,
}

/// Result of a flush.
#[derive(Debug, Clone)]
pub struct Flushed {
    /// New segment.
    pub segment: SegmentMeta,
    /// Last batch of the log that is in segments.
    pub through: SequenceNumber,
}

impl Flusher {
    /// Creates a flusher of the buffer of `ground`, which indexes segments by `index` and truncates `wal`.
    pub fn new(ground: Ground, wal: Arc<Wal<Arrival>>, index: IndexSettings) -> Self {
        let (one_at_a_time, flushes) = Default::default();
        Self { ground, wal, index, one_at_a_time, flushes }
    }

    /// Number of segments written so far.
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// Writes one segment of the oldest events, about `rows_max`; `None` when there are none.
    ///
    /// When it fails, the events stay in buffer and log, and the next flush retries.
    ///
    /// # Panics
    /// If the segment has other events than were sealed.
    pub async fn flush(&self, rows_max: usize) -> Result<Option<Flushed>> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let Ground { live, catalog, store, clock, capacity, .. } = &self.ground;
        let encoding = capacity.flush().await?;
        // An earlier commit may have got through although it failed for us: take it over first.
        live.committed(&catalog.snapshot());
        let Some((sealed, range)) = live.seal(rows_max.min(segment::ROWS_MAX)) else {
            return Ok(None);
        };
        let (keys, rows) = (Keys::of(&sealed.batches), sealed.rows as u64);
        let (id, birth) = live.births().segment(clock.now_ns());
        let (built, index) = build(id, sealed.batches, &self.index).await?;
        drop(encoding);
        let meta = built.segment.meta.clone();
        assert_eq!(meta.rows, rows, "a segment has the events of the batches that it is made of");
        let paths = [meta.path(), meta.index_path()];
        let stored = store_built(store, built, index).await;
        let segment = match stored {
            Ok(segment) => segment,
            Err(error) => {
                self.ground.discard(&paths).await;
                return Err(error);
            }
        };
        let deliveries = live.deliveries().within(range);
        let add = vec![segment.clone()];
        let change = Change { add, keys, deliveries, wal: Some(range), ..Change::default() };
        if let Err(error) = self.ground.commit(vec![birth], change).await {
            if error.kind() == ErrorKind::Conflict {
                self.ground.discard(&paths).await;
            }
            return Err(error);
        }
        self.flushes.fetch_add(1, Ordering::Relaxed);
        let segment = segment.meta;
        tracing::info!(
            rows = segment.rows,
            bytes = segment.bytes,
            through = range.through.0,
            "flushed the buffer into a segment"
        );
        if let Err(error) = self.wal.truncate(range.through).await {
            // The watermark already excludes the log's copy; the next flush deletes it.
            tracing::warn!(%error, "could not truncate the log");
        }
        Ok(Some(Flushed { segment, through: range.through }))
    }

    /// Merges runs of small batches in the buffer, so that queries read few. Does not run while a flush has sealed
    /// some of them.
    pub async fn merge_small(&self) -> Result<()> {
        let _no_flush = self.one_at_a_time.lock().await;
        let live = &self.ground.live;
        while let Some(run) = live.small_run() {
            let merge = move || EventBatch::concat(&run.batches).map(|merged| (run, merged));
            let merged = tokio::task::spawn_blocking(merge).await;
            let (run, merged) =
                merged.map_err(|e| Error::internal("merging batches failed").with_source(e))??;
            live.replace_run(&run, Arc::new(merged));
        }
        Ok(())
    }
}

/// Encodes `batches` and stores the segment and its index durably; the caller commits it.
///
/// Until then the caller keeps the [`Birth`](super::Birth) of `id`.
pub async fn store_segment(
    store: &Arc<dyn ObjectStore>,
    id: SegmentId,
    batches: Vec<Arc<EventBatch>>,
    index: &IndexSettings,
) -> Result<NewSegment> {
    let (built, index) = build(id, batches, index).await?;
    store_built(store, built, index).await
}

async fn build(
    id: SegmentId,
    batches: Vec<Arc<EventBatch>>,
    index: &IndexSettings,
) -> Result<(Built, BuiltIndex)> {
    let builder = IndexBuilder::new(index);
    let build = on_own_thread(move || {
        let built = segment::build(id, &batches, &builder)?;
        let index = builder.finish(&built)?;
        Ok::<_, Error>((built, index))
    });
    build.await?
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
