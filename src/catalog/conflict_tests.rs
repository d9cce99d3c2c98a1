//! Does a commit survive a store that answers 409 although no object is there?

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::*;
use crate::config::SystemClock;
use crate::error::ErrorKind;

/// Store that refuses a number of conditional puts as if their objects existed, as `object_store` reports a 409.
#[derive(Debug)]
struct Conflicting {
    inner: InMemory,
    conflicts_left: AtomicUsize,
}

impl Conflicting {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: InMemory::new(), conflicts_left: AtomicUsize::new(0) })
    }
}

impl fmt::Display for Conflicting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conflicting")
    }
}

#[async_trait]
impl ObjectStore for Conflicting {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let left = &self.conflicts_left;
        let conflict = options.mode == PutMode::Create
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if conflict {
            let source = "409 ConditionalRequestConflict".into();
            return Err(Error::AlreadyExists { path: path.to_string(), source });
        }
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn load(store: &Arc<Conflicting>) -> Catalog {
    Catalog::load(Arc::clone(store) as _, Arc::new(SystemClock)).await.unwrap()
}

fn change(n: u64) -> Change {
    Change { keys: vec![(format!("key{n}"), 1)].into(), ..Change::default() }
}

#[tokio::test]
async fn a_commit_that_is_refused_for_an_object_that_is_not_there_is_put_again() {
    let store = Conflicting::new();
    let catalog = load(&store).await;
    for (n, conflicts) in [0, 1, 3].into_iter().enumerate() {
        store.conflicts_left.store(conflicts, Ordering::SeqCst);
        let version = catalog.commit(change(n as u64)).await.unwrap().version;
        assert_eq!(version, n as u64 + 1);
    }
    assert_eq!(load(&store).await.snapshot().version, 3);

    // Another process's commit does exist, and comes first.
    let other = load(&store).await;
    other.commit(change(7)).await.unwrap();
    store.conflicts_left.store(1, Ordering::SeqCst);
    assert_eq!(catalog.commit(change(8)).await.unwrap().version, 5);

    // Retries are limited if the store keeps answering so.
    store.conflicts_left.store(usize::MAX, Ordering::SeqCst);
    let error = catalog.commit(change(9)).await.unwrap_err();
    assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
    assert!(error.message().contains("cannot store catalog commit 6"), "{error}");
    store.conflicts_left.store(0, Ordering::SeqCst);
    assert_eq!(catalog.commit(change(9)).await.unwrap().version, 6);
}

#[tokio::test]
async fn a_checkpoint_that_is_refused_for_an_object_that_is_not_there_is_put_again() {
    let store = Conflicting::new();
    let catalog = load(&store).await;
    for n in 1..=64 {
        // One for the commit, one for the checkpoint.
        store.conflicts_left.store(if n == 64 { 2 } else { 0 }, Ordering::SeqCst);
        catalog.commit(change(n)).await.unwrap();
    }
    let inner: Arc<dyn ObjectStore> = Arc::clone(&store) as _;
    assert_eq!(log::checkpoints(&inner).await.unwrap().len(), 1);
}
