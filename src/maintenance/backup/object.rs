//! Which objects are copied, and are they as they were written?

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::catalog::CatalogSnapshot;
use crate::error::{Error, Problem, Result};
use crate::index::checksums::{Block, Checksums, Damaged};
use crate::index::sidecar::Sidecar;
use crate::segment::{SegmentMeta, mask};

/// An object to be copied.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) kind: ObjectKind,
}

#[derive(Debug)]
pub(super) enum ObjectKind {
    /// Segment, with the checksums from its side-car, if known.
    Segment(Option<Checksums>),
    /// Side-car or run; its own bytes hold its checksums.
    Index,
    Mask,
}

impl Object {
    /// True if its bytes alone show whether they are as written.
    pub(super) fn is_comparable(&self) -> bool {
        !matches!(self.kind, ObjectKind::Segment(None))
    }

    /// Verifies the object's `bytes`, and returns the problems.
    pub(super) async fn damage(&self, bytes: &Bytes) -> Vec<Problem> {
        if bytes.len() as u64 != self.bytes {
            return vec![Problem::differs(&self.path, "its size in bytes", self.bytes, bytes.len())];
        }
        let unreadable = |error: &Error| Problem::unreadable(&self.path, error);
        match &self.kind {
            ObjectKind::Segment(None) => Vec::new(),
            ObjectKind::Segment(Some(checksums)) => {
                // Safe, as the blocks are those of an object of exactly this size.
                let of_block = |block: &Block| &bytes[block.bytes.start as usize..block.bytes.end as usize];
                let damaged = checksums.blocks().filter_map(|block| block.compare(of_block(&block)));
                damaged.map(|damaged| self.differs(&damaged)).collect()
            }
            ObjectKind::Index => match self.sidecar(bytes).await {
                Ok(sidecar) => sidecar.verify().await.iter().map(unreadable).collect(),
                Err(error) => vec![unreadable(&error)],
            },
            ObjectKind::Mask => mask::parse(bytes).err().iter().map(unreadable).collect(),
        }
    }

    fn differs(&self, Damaged { bytes: Range { start, end }, expected, found }: &Damaged) -> Problem {
        let what = format!("checksum of bytes {start} to {end}");
        Problem::differs(&self.path, what, format!("{expected:08x}"), format!("{found:08x}"))
    }

    async fn sidecar(&self, bytes: &Bytes) -> Result<Sidecar> {
        let memory = InMemory::new();
        memory.put(&Path::from(self.path.as_str()), bytes.clone().into()).await?;
        Sidecar::open(Arc::new(memory), &self.path, self.bytes).await
    }
}

/// Lists paths and sizes of all objects that a catalog names.
pub(super) fn named(catalog: &CatalogSnapshot) -> impl Iterator<Item = (String, u64)> {
    let of_segment = |segment: &Arc<SegmentMeta>| {
        let index = segment.index.map(|bytes| (segment.index_path(), bytes));
        let mask = segment.mask_path().zip(segment.mask.map(|mask| mask.bytes));
        [Some((segment.path(), segment.bytes)), index, mask].into_iter().flatten()
    };
    let runs = catalog.runs.runs().iter().map(|run| (run.path(), run.bytes));
    catalog.segments.iter().flat_map(of_segment).chain(runs)
}

/// Reads a whole object; fails with [`NotFound`](crate::ErrorKind::NotFound) when it does not exist.
pub(super) async fn read(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<Bytes> {
    let object = store.get(path).await.map_err(|e| Error::from(e).context(path))?;
    object.bytes().await.map_err(|e| Error::from(e).context(path))
}
