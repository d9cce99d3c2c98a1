//! Which rows of a segment have not been deleted?

use std::sync::Arc;

use object_store::ObjectStore;
use roaring::RoaringBitmap;

use crate::error::Result;
use crate::index::byte_cache::ByteCache;
use crate::segment::SegmentMeta;
use crate::segment::mask::{MaskId, deleted_rows};

/// Most memory of cached masks, in bytes.
const BYTES_MAX: usize = 32 << 20;

/// Cache of the live rows of masked segments, shared by all queries of a database.
#[derive(Debug)]
pub(crate) struct MaskCache(ByteCache<MaskId, Arc<RoaringBitmap>>);

impl Default for MaskCache {
    fn default() -> Self {
        Self(ByteCache::new(BYTES_MAX))
    }
}

impl MaskCache {
    /// Rows of `segment` that are not deleted; `None` if no row is deleted.
    ///
    /// Fails if the mask cannot be read: a query must not show deleted events.
    pub(crate) async fn live(
        &self,
        store: &Arc<dyn ObjectStore>,
        segment: &SegmentMeta,
    ) -> Result<Option<Arc<RoaringBitmap>>> {
        let Some(mask) = segment.mask else { return Ok(None) };
        if let Some(live) = self.0.get(&mask.id) {
            return Ok(Some(live));
        }
        let mut live = RoaringBitmap::new();
        live.insert_range(0..u32::try_from(segment.rows).unwrap_or(u32::MAX));
        live -= deleted_rows(store, segment).await?.unwrap_or_default();
        let live = Arc::new(live);
        self.0.put(mask.id, Arc::clone(&live), live.serialized_size());
        Ok(Some(live))
    }
}
