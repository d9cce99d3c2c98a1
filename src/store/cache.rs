//! Which parts of remote objects are cached on the local disk?
//!
//! Blocks of [`BLOCK_BYTES`]. If a query reads any part of a block, the whole block is fetched: a request to a
//! remote store costs tens of milliseconds, whether for a page or for a block. Objects never change, so a cached
//! block is always valid. `foyer` keeps the blocks that are used repeatedly, in memory and in one file of a fixed
//! size, also across restarts. If the cache fails, reads continue without it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use foyer::{
    BlockEngineConfig, Cache, CacheBuilder, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy, RecoverMode,
};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, Result};

use crate::error::{self, Error, ErrorKind};

/// Size of a block, the unit of fetching and caching.
const BLOCK_BYTES: u64 = 256 << 10;
/// Memory for blocks being written to disk and for the most used ones.
const MEMORY_BYTES: usize = 64 << 20;
/// Unit in which the cache writes to disk and evicts from it.
const DISK_PIECE_BYTES: usize = 16 << 20;
/// Most concurrent requests to the store.
const REQUESTS_AT_ONCE: usize = 8;

/// Key of a block: path of the object, and number of the block.
type Key = String;

fn key(location: &Path, block: u64) -> Key {
    format!("{location}#{block}")
}

/// Cache of blocks of objects.
#[derive(Debug)]
pub(crate) struct BlockCache {
    place: Place,
    hits: AtomicU64,
    misses: AtomicU64,
    /// Lock that keeps other processes out of the directory.
    _lock: Option<File>,
}

#[derive(Debug)]
enum Place {
    Disk(HybridCache<Key, Bytes>),
    Memory(Cache<Key, Bytes>),
}

impl BlockCache {
    /// Opens a cache of at most `bytes` in `directory`, and creates the directory. If another process has it, the
    /// cache is in memory only.
    pub(crate) async fn open(directory: &FilePath, bytes: u64) -> error::Result<Self> {
        let unusable = |e: String| {
            let directory = directory.display();
            Error::new(ErrorKind::Unavailable, format!("cannot keep a cache in {directory}: {e}"))
        };
        std::fs::create_dir_all(directory).map_err(|e| unusable(e.to_string()))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("LOCK"));
        let lock = lock.map_err(|e| unusable(e.to_string()))?;
        if lock.try_lock().is_err() {
            tracing::debug!(directory = %directory.display(), "another process uses the cache directory; caching in memory only");
            return Ok(Self::in_memory());
        }
        let device = FsDeviceBuilder::new(directory.join("blocks"))
            .with_capacity((bytes as usize).max(4 * DISK_PIECE_BYTES))
            .build()
            .map_err(|e| unusable(e.to_string()))?;
        let cache = HybridCacheBuilder::new()
            .with_name("objects")
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .memory(MEMORY_BYTES)
            .with_weighter(|key: &Key, block: &Bytes| key.len() + block.len())
            .storage()
            .with_engine_config(BlockEngineConfig::new(device).with_block_size(DISK_PIECE_BYTES))
            .with_recover_mode(RecoverMode::Quiet)
            .build();
        let cache = cache.await.map_err(|e| unusable(e.to_string()))?;
        Ok(Self { place: Place::Disk(cache), ..Self::in_memory() }.locked(lock))
    }

    /// Makes a cache that ends with the process.
    pub(crate) fn in_memory() -> Self {
        let weight = |key: &Key, block: &Bytes| key.len() + block.len();
        let cache = CacheBuilder::new(MEMORY_BYTES).with_weighter(weight).build();
        Self { place: Place::Memory(cache), hits: AtomicU64::new(0), misses: AtomicU64::new(0), _lock: None }
    }

    fn locked(self, lock: File) -> Self {
        Self { _lock: Some(lock), ..self }
    }

    /// Number of blocks found in the cache, and number fetched.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// Reads `ranges` of an object, which must never change, through the cache.
    pub(crate) async fn get_ranges(
        &self,
        store: &Arc<dyn ObjectStore>,
        location: &Path,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>> {
        let blocks_of = |range: &Range<u64>| range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES);
        let wanted: BTreeSet<u64> = ranges.iter().flat_map(blocks_of).collect();
        let mut blocks = BTreeMap::new();
        let mut missing: Vec<Range<u64>> = Vec::new();
        for block in wanted {
            if let Some(bytes) = self.find(location, block).await {
                blocks.insert(block, bytes);
                continue;
            }
            match missing.last_mut() {
                Some(last) if last.end == block => last.end += 1,
                _ => missing.push(block..block + 1),
            }
        }
        self.hits.fetch_add(blocks.len() as u64, Ordering::Relaxed);
        let fetched = stream::iter(missing).map(|missing| async move {
            let range = missing.start * BLOCK_BYTES..missing.end * BLOCK_BYTES;
            let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
            let bytes = store.get_opts(location, options).await?.bytes().await?;
            Ok::<_, object_store::Error>((missing, bytes))
        });
        let fetched: Vec<_> = fetched.buffer_unordered(REQUESTS_AT_ONCE).try_collect().await?;
        for (missing, bytes) in fetched {
            self.misses.fetch_add(missing.end - missing.start, Ordering::Relaxed);
            for (i, block) in missing.enumerate() {
                let start = (i * BLOCK_BYTES as usize).min(bytes.len());
                let end = (start + BLOCK_BYTES as usize).min(bytes.len());
                // Copied: a slice would keep the whole response in memory.
                let bytes = Bytes::copy_from_slice(&bytes[start..end]);
                self.keep(location, block, bytes.clone());
                blocks.insert(block, bytes);
            }
        }
        Ok(ranges.iter().map(|range| cut(&blocks, range)).collect())
    }

    async fn find(&self, location: &Path, block: u64) -> Option<Bytes> {
        let key = key(location, block);
        match &self.place {
            Place::Memory(cache) => cache.get(&key).map(|entry| entry.value().clone()),
            Place::Disk(cache) => match cache.get(&key).await {
                Ok(entry) => entry.map(|entry| entry.value().clone()),
                Err(error) => {
                    tracing::warn!(%error, "cannot read the cache on disk; fetching from the store");
                    None
                }
            },
        }
    }

    fn keep(&self, location: &Path, block: u64, bytes: Bytes) {
        let key = key(location, block);
        match &self.place {
            Place::Memory(cache) => drop(cache.insert(key, bytes)),
            Place::Disk(cache) => drop(cache.insert(key, bytes)),
        }
    }
}

/// Cuts `range` out of `blocks`, which have all of it; shorter if the object ends before.
///
/// The bytes are copied, so that a small range does not keep whole blocks in memory.
fn cut(blocks: &BTreeMap<u64, Bytes>, range: &Range<u64>) -> Bytes {
    let mut all = BytesMut::with_capacity((range.end - range.start) as usize);
    for (block, bytes) in blocks.range(range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES)) {
        let base = block * BLOCK_BYTES;
        let start = (range.start.max(base) - base) as usize;
        let end = (range.end.min(base + BLOCK_BYTES) - base) as usize;
        all.extend_from_slice(&bytes[start.min(bytes.len())..end.min(bytes.len())]);
    }
    all.freeze()
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use proptest::prelude::*;

    use super::*;

    const BYTES: usize = 3 * BLOCK_BYTES as usize + 1_000;

    fn object() -> Vec<u8> {
        (0..BYTES).map(|i| (i / 7 % 256) as u8).collect()
    }

    async fn store() -> (Arc<dyn ObjectStore>, Path) {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let path = Path::from("segments/x");
        store.put(&path, object().into()).await.unwrap();
        (store, path)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn ranges_are_those_of_the_object(starts in prop::collection::vec((0..BYTES, 0..BYTES), 1..5)) {
            let ranges: Vec<_> =
                starts.iter().map(|(a, b)| (*a.min(b)) as u64..(*a.max(b)) as u64).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (once, again) = runtime.block_on(async {
                let (store, path) = store().await;
                let cache = BlockCache::in_memory();
                let once = cache.get_ranges(&store, &path, &ranges).await.unwrap();
                (once, cache.get_ranges(&store, &path, &ranges).await.unwrap())
            });
            let object = object();
            let expected: Vec<_> =
                ranges.iter().map(|range| &object[range.start as usize..range.end as usize]).collect();
            prop_assert_eq!(&once, &expected);
            prop_assert_eq!(&again, &expected);
        }
    }

    #[tokio::test]
    async fn blocks_outlive_the_process_on_disk() {
        let directory = tempfile::tempdir().unwrap();
        let (store, path) = store().await;
        let whole = 0..BYTES as u64;
        let cache = BlockCache::open(directory.path(), 64 << 20).await.unwrap();
        let read = cache.get_ranges(&store, &path, std::slice::from_ref(&whole)).await.unwrap();
        assert_eq!((read[0].len(), cache.counts()), (BYTES, (0, 4)));
        let beside = BlockCache::open(directory.path(), 64 << 20).await.unwrap();
        assert!(matches!(beside.place, Place::Memory(_)), "one process at a time");
        let Place::Disk(disk) = &cache.place else { panic!("not on disk") };
        disk.close().await.unwrap();
        drop(cache);
        // The object is deleted, but its blocks are still cached.
        store.delete(&path).await.unwrap();
        let cache = BlockCache::open(directory.path(), 64 << 20).await.unwrap();
        let read = cache.get_ranges(&store, &path, &[whole]).await.unwrap();
        assert_eq!((read[0].as_ref(), cache.counts()), (object().as_slice(), (4, 0)));
    }
}
