//! When is a stored object really stored?
//!
//! `object_store::local::LocalFileSystem` writes and renames, and never fsyncs: after a power loss the
//! object may be empty or absent although `put` said yes. [`DurableFileSystem`] reads through it, and
//! writes so that `put` returns only when file, name and directories are on disk. The order is: staged
//! file, fsync, link (create) or rename (overwrite), fsync of the directory. So a name never stands for
//! bytes that are not there.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// A directory as an object store whose `put` survives power loss.
#[derive(Debug)]
pub struct DurableFileSystem {
    inner: LocalFileSystem,
    root: PathBuf,
    fsyncs: Arc<AtomicU64>,
}

impl DurableFileSystem {
    /// The objects below the existing directory `root`.
    pub fn new(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let inner = LocalFileSystem::new_with_prefix(&root)?;
        // The prefix is canonical in there; directories are compared with it.
        let root = root.canonicalize().map_err(generic)?;
        Ok(Self { inner, root, fsyncs: Arc::default() })
    }

    /// Like [`new`](Self::new); creates the directory, and its parents, when it is not there.
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

    /// Calls of fsync so far.
    pub fn fsyncs(&self) -> u64 {
        self.fsyncs.load(Ordering::Relaxed)
    }

    /// Deletes the files of writes that a crash cut off. Returns how many.
    ///
    /// Nobody else may be writing.
    pub fn remove_staged(&self) -> Result<usize> {
        let mut staged = Vec::new();
        find_staged(&self.root, &mut staged).map_err(generic)?;
        for file in &staged {
            std::fs::remove_file(file).map_err(generic)?;
        }
        Ok(staged.len())
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

/// Adds the objects in `folder`, a path below `root`, and in its folders. What vanishes meanwhile is not there.
fn walk(root: &std::path::Path, folder: &str, found: &mut Vec<ObjectMeta>) -> io::Result<()> {
    let entries = match std::fs::read_dir(root.join(folder)) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        // Staged files have a '#' in their names; whatever else has other characters is not from us.
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

/// Adds the staged files in `folder` and in those of its folders that objects can be in.
fn find_staged(folder: &std::path::Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_staged = |(object, random): (&str, &str)| {
            object.bytes().all(is_of_object) && random.bytes().all(|byte| byte.is_ascii_digit())
        };
        if entry.file_type()?.is_dir() {
            if name.bytes().all(is_of_object) {
                find_staged(&entry.path(), found)?;
            }
        } else if name.split_once('#').is_some_and(is_staged) {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// Whether names of objects have this character.
fn is_of_object(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

fn generic(source: io::Error) -> Error {
    Error::Generic { store: "DurableFileSystem", source: Box::new(source) }
}

/// One write, on a thread that may block.
struct Placement {
    root: PathBuf,
    path: PathBuf,
    mode: PutMode,
    payload: PutPayload,
    fsyncs: Arc<AtomicU64>,
}

impl Placement {
    fn run(&self) -> Result<PutResult> {
        let directory = self.path.parent().unwrap_or(&self.root).to_owned();
        self.create_directories(&directory).map_err(generic)?;
        // The object store does not list names that end in '#' and digits.
        let staged = PathBuf::from(format!("{}#{}", self.path.display(), rand::random::<u64>()));
        let stored = self.stage(&staged).map_err(generic).and_then(|()| match &self.mode {
            PutMode::Create => {
                let linked = std::fs::hard_link(&staged, &self.path);
                let _ = std::fs::remove_file(&staged);
                linked.map_err(|source| match source.kind() {
                    io::ErrorKind::AlreadyExists => {
                        Error::AlreadyExists { path: self.path.display().to_string(), source: source.into() }
                    }
                    _ => generic(source),
                })
            }
            _ => std::fs::rename(&staged, &self.path).map_err(generic),
        });
        if stored.is_err() {
            let _ = std::fs::remove_file(&staged);
        }
        stored?;
        self.sync(&File::open(&directory).map_err(generic)?).map_err(generic)?;
        Ok(PutResult { e_tag: None, version: None })
    }

    fn stage(&self, staged: &std::path::Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(staged)?;
        for part in &self.payload {
            file.write_all(part)?;
        }
        self.sync(&file)
    }

    /// Creates `directory` and makes the names of all new directories durable, outermost first.
    fn create_directories(&self, directory: &std::path::Path) -> io::Result<()> {
        if directory.is_dir() {
            return Ok(());
        }
        if let Some(parent) = directory.parent().filter(|_| directory != self.root) {
            self.create_directories(parent)?;
            match std::fs::create_dir(directory) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => self.sync(&File::open(parent)?)?,
            }
        }
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        file.sync_all()
    }
}

#[async_trait]
impl ObjectStore for DurableFileSystem {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) {
            return self.not_offered("put with PutMode::Update");
        }
        let path = self.inner.path_to_filesystem(location)?;
        let (root, fsyncs) = (self.root.clone(), Arc::clone(&self.fsyncs));
        let placement = Placement { root, path, mode: opts.mode, payload, fsyncs };
        tokio::task::spawn_blocking(move || placement.run()).await?
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.not_offered("multipart put")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    /// All files whose names are those of objects, several times as fast as the store below: a writer looks
    /// through 20,000 when it starts.
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
        assert_eq!((store.remove_staged().unwrap(), store.remove_staged().unwrap()), (1, 0));
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
    }
}
