//! What is copied, and is it what was written?

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
    /// With what its side-car knows of it.
    Segment(Option<Checksums>),
    /// A side-car or a run.
    Index,
    Mask,
}

impl Object {
    /// Whether it can be told by its bytes alone that they are what was written.
    pub(super) fn is_comparable(&self) -> bool {
        !matches!(self.kind, ObjectKind::Segment(None))
    }

    /// What is wrong with these bytes of it.
    pub(super) async fn damage(&self, bytes: &Bytes) -> Vec<Problem> {
        if bytes.len() as u64 != self.bytes {
            return vec![Problem::differs(&self.path, "its size in bytes", self.bytes, bytes.len())];
        }
        let unreadable = |error: &Error| Problem::unreadable(&self.path, error);
        match &self.kind {
            ObjectKind::Segment(None) => Vec::new(),
            ObjectKind::Segment(Some(checksums)) => {
                // The blocks are those of so many bytes.
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

/// Paths and sizes of all that a catalog names.
pub(super) fn named(catalog: &CatalogSnapshot) -> impl Iterator<Item = (String, u64)> {
    let of_segment = |segment: &Arc<SegmentMeta>| {
        let index = segment.index.map(|bytes| (segment.index_path(), bytes));
        let mask = segment.mask_path().zip(segment.mask.map(|mask| mask.bytes));
        [Some((segment.path(), segment.bytes)), index, mask].into_iter().flatten()
    };
    let runs = catalog.runs.runs().iter().map(|run| (run.path(), run.bytes));
    catalog.segments.iter().flat_map(of_segment).chain(runs)
}

/// All of an object; fails with [`NotFound`](crate::ErrorKind::NotFound) when it is not there.
pub(super) async fn read(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<Bytes> {
    let object = store.get(path).await.map_err(|e| Error::from(e).context(path))?;
    object.bytes().await.map_err(|e| Error::from(e).context(path))
}
