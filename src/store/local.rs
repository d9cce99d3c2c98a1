//! When is an object in a directory durable?
//!
//! `object_store::local::LocalFileSystem` writes and renames but never fsyncs: after a power loss the object may
//! be empty or absent although `put` succeeded. [`DurableFileSystem`] uses it for reading, except for ranges.
//! Its own `put` returns only when file, name and directories are on disk: [`placement`](super::placement) has
//! the steps.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryFutureExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::placement::{Placement, generic};
use crate::disk::SystemDisk;

/// A directory as an object store whose `put` survives power loss.
#[derive(Debug)]
pub struct DurableFileSystem {
    inner: LocalFileSystem,
    root: PathBuf,
    placement: Arc<Placement>,
}

impl DurableFileSystem {
    /// Opens the store of the objects below the existing directory `root`.
    pub fn new(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let inner = LocalFileSystem::new_with_prefix(&root)?;
        // `inner` makes its prefix canonical, and paths are compared with `root`.
        let root = root.canonicalize().map_err(generic)?;
        let placement = Arc::new(Placement::new(Arc::new(SystemDisk), root.clone()));
        Ok(Self { inner, root, placement })
    }

    /// Like [`new`](Self::new), but creates the directory and its parents, durably, if they do not exist.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let mut missing: Vec<_> =
            root.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
        missing.reverse();
        for dir in missing {
            match std::fs::create_dir(dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(generic(e)),
                _ => {}
            }
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or_else(|| std::path::Path::new("."));
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(generic)?;
        }
        Self::new(root)
    }

    /// The part that puts objects.
    pub(crate) fn placement(&self) -> &Arc<Placement> {
        &self.placement
    }

    /// Number of fsync calls so far.
    pub fn fsyncs(&self) -> u64 {
        self.placement.fsyncs()
    }

    fn not_offered<T>(&self, operation: &str) -> Result<T> {
        Err(Error::NotImplemented { operation: operation.to_owned(), implementer: self.to_string() })
    }
}

impl fmt::Display for DurableFileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableFileSystem({})", self.root.display())
    }
}

/// Reserves a buffer for the range; fails if there is not enough memory.
fn room(range: &Range<u64>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length)?;
    Ok(bytes)
}

/// Adds the objects below `folder`, a path below `root`, to `found`. Files that disappear meanwhile are skipped.
fn walk(root: &std::path::Path, folder: &str, found: &mut Vec<ObjectMeta>) -> io::Result<()> {
    let entries = match std::fs::read_dir(root.join(folder)) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        // Staged files have a '#' in their names. Other characters mean a file that Broadloom did not write.
        let Some(name) = name.to_str().filter(|name| name.bytes().all(is_of_object)) else { continue };
        let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        if entry.file_type()?.is_dir() {
            walk(root, &path, found)?;
            continue;
        }
        let metadata = match entry.metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        found.push(ObjectMeta {
            location: Path::parse(&path).map_err(io::Error::other)?,
            last_modified: metadata.modified()?.into(),
            size: metadata.len(),
            e_tag: None,
            version: None,
        });
    }
    Ok(())
}

/// True if names of objects may have this character.
fn is_of_object(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

#[async_trait]
impl ObjectStore for DurableFileSystem {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) {
            return self.not_offered("put with PutMode::Update");
        }
        let path = self.inner.path_to_filesystem(location)?;
        let placement = Arc::clone(&self.placement);
        let placed = tokio::task::spawn_blocking(move || placement.place(&path, &payload, &opts.mode));
        placed.await?.map(|()| PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.not_offered("multipart put")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    /// Reads into buffers allocated by the calling thread, which soon frees them. The reading threads are many and
    /// mostly idle, and the allocator would keep memory that they had allocated for them.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let path = self.inner.path_to_filesystem(location)?;
        let ranges = ranges.to_vec();
        let mut parts = ranges.iter().map(room).collect::<io::Result<Vec<_>>>().map_err(generic)?;
        let read = tokio::task::spawn_blocking(move || {
            let file = File::open(path)?;
            for (range, part) in ranges.iter().zip(&mut parts) {
                // Zeroed on this thread: the first access to new memory costs as much as reading.
                part.resize(range.end.saturating_sub(range.start) as usize, 0);
                file.read_exact_at(part, range.start)?;
            }
            Ok::<_, io::Error>(parts)
        });
        match read.await? {
            Ok(parts) => Ok(parts.into_iter().map(Bytes::from).collect()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(Error::NotFound { path: location.to_string(), source: Box::new(e) })
            }
            Err(e) => Err(generic(io::Error::new(e.kind(), format!("{location}: {e}")))),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    /// Lists all files with names of objects. Several times faster than `LocalFileSystem`: a writer lists 20,000
    /// objects when it starts.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = prefix.map_or_else(String::new, ToString::to_string);
        let root = self.root.clone();
        let walk = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            walk(&root, &folder, &mut found).map_err(generic)?;
            Ok::<_, Error>(found)
        });
        let listed = async move { Ok::<_, Error>(stream::iter(walk.await??).map(Ok)) };
        listed.try_flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        self.not_offered("copy")
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn put_creates_once_and_overwrites_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableFileSystem::new(dir.path()).unwrap();
        let path = Path::from("a/b/c.json");
        store.put_opts(&path, "one".into(), PutMode::Create.into()).await.unwrap();
        let again = store.put_opts(&path, "two".into(), PutMode::Create.into()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
        store.put(&path, "three".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "three");
    }

    #[tokio::test]
    async fn ranges_are_read_as_they_are_asked_for_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableFileSystem::new(dir.path()).unwrap();
        let path = Path::from("a/b");
        store.put(&path, "0123456789".into()).await.unwrap();
        let read = store.get_ranges(&path, &[7..10, 0..2, 4..4]).await.unwrap();
        assert_eq!(read, ["789", "01", ""]);
        assert!(store.get_ranges(&path, &[]).await.unwrap().is_empty());
        for beyond in [8..11, 20..21, 0..u64::MAX, 0..1 << 60] {
            let error = store.get_ranges(&path, &[0..1, beyond.clone()]).await.unwrap_err();
            assert!(matches!(error, Error::Generic { .. }), "{beyond:?}: {error:?}");
        }
        let first = std::slice::from_ref(&(0..1));
        let absent = store.get_ranges(&Path::from("a/c"), first).await.unwrap_err();
        assert!(matches!(&absent, Error::NotFound { path, .. } if path == "a/c"), "{absent:?}");
    }

    #[tokio::test]
    async fn nothing_staged_is_left_or_listed() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableFileSystem::new(dir.path()).unwrap();
        let path = Path::from("x/y");
        store.put_opts(&path, "one".into(), PutMode::Create.into()).await.unwrap();
        let _ = store.put_opts(&path, "two".into(), PutMode::Create.into()).await;
        std::fs::write(dir.path().join("x/y#123"), "left by a crash").unwrap();
        let listed: Vec<_> = store.list(None).map_ok(|o| o.location.to_string()).try_collect().await.unwrap();
        assert_eq!(listed, ["x/y"]);
        assert_eq!(std::fs::read_dir(dir.path().join("x")).unwrap().count(), 2);
        store.put(&Path::from("x/z/w.json"), "three".into()).await.unwrap();
        store.put(&Path::from("xx"), "".into()).await.unwrap();
        let list = async |prefix: &str| {
            let objects: Vec<_> = store.list(Some(&Path::from(prefix))).try_collect().await.unwrap();
            let mut found: Vec<_> = objects.into_iter().map(|o| (o.location.to_string(), o.size)).collect();
            found.sort();
            found
        };
        assert_eq!(list("x").await, [("x/y".to_owned(), 3), ("x/z/w.json".to_owned(), 5)]);
        assert_eq!((list("x/y").await.len(), list("nowhere").await.len()), (0, 0));
    }

    #[tokio::test]
    async fn file_and_every_new_directory_are_fsynced() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableFileSystem::new(dir.path()).unwrap();
        store.put(&Path::from("a/b/c"), "one".into()).await.unwrap();
        assert_eq!(store.fsyncs(), 4, "the file, its directory, and the two parents that got a new name");
        store.put(&Path::from("a/b/d"), "one".into()).await.unwrap();
        assert_eq!(store.fsyncs(), 6, "the file and its directory");
        let again = DurableFileSystem::new(dir.path()).unwrap();
        again.put(&Path::from("a/b/e"), "one".into()).await.unwrap();
        assert_eq!(again.fsyncs(), 4, "the previous process may not have fsynced the directories");
    }

    #[tokio::test]
    async fn what_a_killed_process_was_writing_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableFileSystem::new(dir.path()).unwrap();
        store.placement().settle().unwrap();
        store.put(&Path::from("segments/2026/x.parquet"), "one".into()).await.unwrap();
        let files = ["x.parquet#123", "notes#later", "y#", "#7"]
            .map(|name| dir.path().join("segments/2026").join(name));
        for file in &files {
            std::fs::write(file, "left").unwrap();
        }
        store.placement().settle().unwrap();
        assert_eq!(files.map(|file| file.exists()), [false, true, true, false]);
        assert!(store.get(&Path::from("segments/2026/x.parquet")).await.is_ok());
    }
}
