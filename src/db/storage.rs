//! Where are a database's objects and its log?
//!
//! | settings | objects | log | one writer by |
//! |---|---|---|---|
//! | a directory | there | there, in `wal/` | `LOCK`, held by the system ([`lock`](super::lock)) |
//! | a store | there | there, in `wal/` | claims ([`catalog::claim`](crate::catalog::claim)), and a sign of life ([`lease`](super::lease)) |
//! | a store, log in a directory | in the store | in the directory | claims, and `LOCK` in the directory |

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use uuid::Uuid;

use super::lease::StoreLease;
use super::lock::DirectoryLock;
use crate::catalog::Claim;
use crate::config::{Location, LogPlace, RemoteSettings, Settings};
use crate::error::{Error, Result};
use crate::maintenance::Hold;
use crate::store::cache::BlockCache;
use crate::store::placement::Placement;
use crate::store::{DurableFileSystem, RemoteStore};
use crate::wal::{self, ObjectLogOptions, SequenceNumber, WalOptions};

/// Object store, log and write protection of one database.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    pub(super) store: Arc<dyn ObjectStore>,
    /// Puts objects into a directory; none for a store.
    pub(super) placement: Option<Arc<Placement>>,
    pub(super) log: LogStorage,
    /// This process's claim to be the only committer; none where `LOCK` in the data directory is enough.
    pub(super) claim: Option<Claim>,
    pub(super) lease: Option<Arc<StoreLease>>,
    pub(super) cache: Option<Arc<BlockCache>>,
}

/// Place of the log.
#[derive(Debug, Clone)]
pub(super) enum LogStorage {
    /// Files in a directory.
    Files { directory: PathBuf, options: WalOptions },
    /// Objects in a store, over the log's own connections.
    Objects { store: Arc<dyn ObjectStore>, options: ObjectLogOptions },
}

/// A file or object of the log that may hold batches.
#[derive(Debug, Clone)]
pub(super) struct LogFile {
    /// File name, without a directory.
    pub(super) name: String,
    /// Number of its first batch, from its name.
    pub(super) first: Option<SequenceNumber>,
    pub(super) bytes: u64,
}

impl LogFile {
    fn new(name: String, bytes: u64) -> Self {
        let first = name.split('.').next().and_then(|number| number.parse().ok()).map(SequenceNumber);
        Self { name, first, bytes }
    }
}

impl LogStorage {
    /// Lists the log's files that may hold batches, in any order.
    pub(super) async fn files(&self) -> Result<Vec<LogFile>> {
        match self {
            Self::Files { directory, .. } => {
                let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
                let files = entries.filter_map(|entry| {
                    let name = entry.file_name().into_string().ok()?;
                    // Not batches: the writer's lock, and the log's identity.
                    let is_other = name == "LOCK" || name == "ID";
                    (!is_other).then_some(LogFile::new(name, entry.metadata().ok()?.len()))
                });
                Ok(files.collect())
            }
            Self::Objects { store, .. } => {
                let objects = wal::list_objects(store).await?.into_iter();
                let batches = objects.filter(|(_, object)| !wal::is_fence(object));
                let name = |path: &object_store::path::Path| path.filename().unwrap_or_default().to_owned();
                Ok(batches.map(|(_, object)| LogFile::new(name(&object.location), object.size)).collect())
            }
        }
    }
}

impl Storage {
    /// Keeps objects and log in the directory `data`.
    pub(super) fn in_directory(files: DurableFileSystem, data: &Path) -> Self {
        let placement = Some(Arc::clone(files.placement()));
        let log = LogStorage::Files { directory: data.join("wal"), options: WalOptions::default() };
        Self { store: Arc::new(files), placement, log, claim: None, lease: None, cache: None }
    }

    /// Opens the place in `settings` for writing. Hold the returned lock until the last write has ended.
    pub(super) async fn open(settings: &Settings) -> Result<(Self, Arc<Hold>)> {
        let now_ns = settings.clock.now_ns();
        let url = match &settings.data {
            Location::Directory(_) if settings.remote.log != LogPlace::Store => {
                let message = "a database in a directory keeps its log there too: leave out --wal";
                return Err(Error::invalid(message));
            }
            Location::Directory(data) => {
                let files = DurableFileSystem::create(data).map_err(|e| {
                    Error::from(e).context(format!("cannot use {} as data directory", data.display()))
                })?;
                let lock = DirectoryLock::acquire(data, now_ns)?;
                return Ok((Self::in_directory(files, data), Arc::new(lock)));
            }
            Location::Store(url) => url,
            Location::Unusable { why, .. } => return Err(Error::invalid(why)),
        };
        let cache = cache(&settings.remote).await?;
        let store: Arc<dyn ObjectStore> = Arc::new(RemoteStore::open(url, Some(Arc::clone(&cache)))?);
        let cache = Some(cache);
        let owner = super::lock::owner(now_ns);
        let writer = Uuid::new_v4().to_string();
        match &settings.remote.log {
            LogPlace::Store => {
                let log = LogStorage::Objects {
                    store: RemoteStore::client(url)?,
                    options: ObjectLogOptions::default(),
                };
                let lease =
                    StoreLease::acquire(Arc::clone(&store), owner.clone(), &settings.data, now_ns).await?;
                let (lease, claim) = (Arc::new(lease), Claim { writer, log: None, owner, released: false });
                let lock: Arc<Hold> = Arc::clone(&lease) as _;
                Ok((
                    Self { store, placement: None, log, claim: Some(claim), lease: Some(lease), cache },
                    lock,
                ))
            }
            LogPlace::Directory(directory) => {
                std::fs::create_dir_all(directory).map_err(|e| {
                    Error::from(e).context(format!("cannot keep the log in {}", directory.display()))
                })?;
                let lock = DirectoryLock::acquire(directory, now_ns)?;
                let options = WalOptions::default();
                let id = wal::identity(options.disk.as_ref(), directory)?;
                let log = LogStorage::Files { directory: directory.clone(), options };
                let claim = Claim { writer, log: Some(id), owner, released: false };
                Ok((
                    Self { store, placement: None, log, claim: Some(claim), lease: None, cache },
                    Arc::new(lock),
                ))
            }
        }
    }

    /// Opens the place in `settings` for reading; none when the directory is missing.
    pub(super) async fn open_read_only(settings: &Settings) -> Result<Option<Self>> {
        match &settings.data {
            Location::Directory(data) if !data.is_dir() => Ok(None),
            Location::Directory(data) => Ok(Some(Self::in_directory(DurableFileSystem::new(data)?, data))),
            Location::Unusable { why, .. } => Err(Error::invalid(why)),
            Location::Store(url) => {
                let cache = cache(&settings.remote).await?;
                let store = RemoteStore::open(url, Some(Arc::clone(&cache)))?;
                let store: Arc<dyn ObjectStore> = Arc::new(store);
                let log = match &settings.remote.log {
                    LogPlace::Store => LogStorage::Objects {
                        store: Arc::clone(&store),
                        options: ObjectLogOptions::default(),
                    },
                    LogPlace::Directory(directory) => {
                        LogStorage::Files { directory: directory.clone(), options: WalOptions::default() }
                    }
                };
                Ok(Some(Self { store, placement: None, log, claim: None, lease: None, cache: Some(cache) }))
            }
        }
    }

    /// Number of fsync calls for objects; zero in a store.
    pub(super) fn fsyncs(&self) -> u64 {
        self.placement.as_ref().map_or(0, |placement| placement.fsyncs())
    }
}

/// Opens the cache on disk; in memory when no directory is set, or another process uses it.
async fn cache(settings: &RemoteSettings) -> Result<Arc<BlockCache>> {
    match &settings.cache {
        Some(directory) => BlockCache::open(directory, settings.cache_bytes).await.map(Arc::new),
        None => Ok(Arc::new(BlockCache::in_memory())),
    }
}
