//! Decoders of the catalog: commits and checkpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::parts::parts;
use super::storage::{runtime, store_of};
use crate::catalog::{Catalog, CatalogSnapshot, Change, check};
use crate::config::SystemClock;
use crate::error::ErrorKind;
use crate::event::KeyDictionary;
use crate::index::blocks::BlocksWriter;
use crate::index::sidecar::SidecarWriter;

/// Reads a catalog of commits, one per line.
pub(super) fn commit(bytes: &[u8]) {
    runtime().block_on(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for (line, version) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            let path = Path::from(format!("catalog/log/{version:020}.json"));
            store.put(&path, Bytes::copy_from_slice(line).into()).await.expect("memory takes everything");
        }
        read(&store).await;
    });
}

/// Reads a checkpoint. The first part is the head, the others are blocks: `name-length:u8 name content`. Also
/// reads the head as a document of the first format.
pub(super) fn checkpoint(bytes: &[u8]) {
    let parts = parts(bytes);
    let Some((head, parts)) = parts.split_first() else { return };
    let head = zstd::bulk::compress(head, 1).expect("anything can be compressed");
    let mut blocks = BTreeMap::new();
    for part in parts {
        let [length, rest @ ..] = part else { continue };
        let (name, content) = rest.split_at(usize::from(*length).min(rest.len()));
        blocks.insert(String::from_utf8_lossy(name).into_owned(), content);
    }
    let mut writer = SidecarWriter::new();
    let mut columns = BlocksWriter::new();
    for (name, plain) in blocks {
        columns.add(&name, plain).expect("anything can be compressed");
    }
    columns.finish("columns", &mut writer);
    writer.section("head", head.clone());
    runtime().block_on(async {
        read(&store_of("catalog/checkpoint/00000000000000000064.checkpoint", writer.finish()).await).await;
        read(&store_of("catalog/checkpoint/00000000000000000064.json.zst", head).await).await;
    });
}

/// Opens the catalog in `store`, reads everything in it, and commits to it.
async fn read(store: &Arc<dyn ObjectStore>) {
    check::check(store).await.expect("the store can be listed");
    let Ok(catalog) = Catalog::load(Arc::clone(store), Arc::new(SystemClock)).await else { return };
    look_at(&catalog.snapshot()).await;
    catalog.keys().fill(&KeyDictionary::default());
    let Ok(after) = catalog.commit(Change::default()).await else { return };
    match Catalog::load(Arc::clone(store), Arc::new(SystemClock)).await {
        Ok(again) => assert_eq!(*again.snapshot(), *after, "the committed state can be read"),
        Err(error) => panic!("the committed state cannot be read: {error}"),
    }
    assert_eq!(catalog.is_behind().await.map_err(|error| error.kind()), Ok::<_, ErrorKind>(false));
}

/// Makes all the calls that queries and maintenance make.
async fn look_at(snapshot: &CatalogSnapshot) {
    let _ = (snapshot.rows(), snapshot.rows_stored(), snapshot.bytes(), snapshot.memory_bytes());
    let columns = snapshot.columns(&["timestamp", "http.route", "overflow"]).await;
    for segment in &snapshot.segments {
        let _ = (segment.path(), segment.mask_path(), segment.index_path(), segment.live_rows());
        let columns = columns.of(segment.id);
        for name in ["timestamp", "http.route", "overflow", "unasked"] {
            let _ = (columns.get(name), columns.may_overflow(name), columns.lists_overflow());
        }
    }
}
