//! What do all databases of a process share?
//!
//! Everything that is costly and independent of any one database: memory and spill directory of queries; caches of
//! columns, indexes, footers and masks; the registry of functions and views; memory of buffered events; limits of
//! background work. Create it once and pass it to every [`Database::open_with`](crate::Database::open_with): its limits then hold for all these
//! databases together:
//!
//! ```no_run
//! # async fn example() -> broadloom::Result<()> {
//! use broadloom::{Database, config::Settings, db::{Resources, ResourceSettings}};
//!
//! let resources = Resources::new(&ResourceSettings::default())?;
//! let shop = Database::open_with(Settings::new("./shop"), &resources).await?;
//! let blog = Database::open_with(Settings::new("./blog"), &resources).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Invariants
//!
//! - Caches are keyed by ids of segments, runs and masks, which are UUIDs, so entries of different databases never
//!   collide. A copy of a database has the same ids and, since segments never change, the same bytes behind them.
//! - An idle database does not run. All databases use timers of the tokio runtime, which wake a task only when it has
//!   work. [`Resources::wakeups`] counts the wake-ups.

use std::path::PathBuf;
use std::sync::Arc;

use super::spill::SpillDirectory;
use crate::config::{BufferSettings, IndexSettings, QuerySettings, Settings};
use crate::error::Result;
use crate::index::IndexCache;
use crate::maintenance::{Buffers, Capacity};
use crate::query::Engine;

/// Limits shared by all databases of a process.
#[derive(Debug, Clone)]
pub struct ResourceSettings {
    /// Memory of queries, and of columns kept in memory.
    pub query: QuerySettings,
    /// Memory for open indexes, in bytes.
    pub index_bytes_max: usize,
    /// Memory for buffered events of all databases together, in bytes. Appends beyond it fail with
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy), and the databases that hold most are flushed. Each database has its
    /// own limit too: [`BufferSettings::bytes_max`].
    pub buffer_bytes_max: usize,
    /// Parent of the private spill directory of queries; none means the system's directory for temporary files.
    pub spill: Option<PathBuf>,
    /// Flushes at one time.
    pub flushes_max: usize,
    /// Background merges at one time, each on a thread of low priority.
    pub merges_max: usize,
}

impl Default for ResourceSettings {
    /// One flush per processor, since encoding only computes; half as many merges. Buffers may hold twice as much as
    /// that of one database.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            query: QuerySettings::default(),
            index_bytes_max: IndexSettings::default().memory_bytes_max,
            buffer_bytes_max: BufferSettings::default().bytes_max.saturating_mul(2),
            spill: None,
            flushes_max: processors,
            merges_max: processors.div_ceil(2),
        }
    }
}

/// Resources shared by all databases of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Resources {
    engine: Engine,
    capacity: Arc<Capacity>,
    buffers: Arc<Buffers>,
    /// Dropped after the engine, which may still be spilling.
    _spill: Arc<SpillDirectory>,
}

impl Resources {
    /// Creates resources with these limits.
    ///
    /// Fails when the spill directory cannot be created.
    pub fn new(settings: &ResourceSettings) -> Result<Self> {
        let parent = settings.spill.clone().unwrap_or_else(std::env::temp_dir);
        Self::spilling_to(settings, SpillDirectory::private(&parent)?)
    }

    /// Creates resources for a single database that this process has locked for writing.
    pub(super) fn of_writer(settings: &Settings) -> Result<Self> {
        match settings.data.directory() {
            Some(data) => Self::spilling_to(&limits(settings), SpillDirectory::of_data(data)),
            None => Self::new(&limits(settings)),
        }
    }

    /// Creates resources for a single database that this process only reads: nothing changes in its directory.
    pub(super) fn of_reader(settings: &Settings) -> Result<Self> {
        Self::new(&limits(settings))
    }

    fn spilling_to(settings: &ResourceSettings, spill: SpillDirectory) -> Result<Self> {
        let indexes = Arc::new(IndexCache::new(settings.index_bytes_max));
        let engine = Engine::new(&settings.query, indexes, spill.path())?;
        let capacity = Arc::new(Capacity::new(settings.flushes_max, settings.merges_max));
        let buffers = Arc::new(Buffers::new(settings.buffer_bytes_max));
        Ok(Self { engine, capacity, buffers, _spill: Arc::new(spill) })
    }

    /// Number of wake-ups of background tasks, of all databases. An idle database adds none.
    pub fn wakeups(&self) -> u64 {
        self.capacity.wakeups()
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn capacity(&self) -> &Arc<Capacity> {
        &self.capacity
    }

    pub(super) fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }
}

fn limits(settings: &Settings) -> ResourceSettings {
    ResourceSettings {
        query: settings.query,
        index_bytes_max: settings.index.memory_bytes_max,
        buffer_bytes_max: settings.buffer.bytes_max,
        ..ResourceSettings::default()
    }
}
