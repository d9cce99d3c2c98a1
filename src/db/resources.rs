//! What do all databases of a process share?
//!
//! Everything that costs much and depends on no database: memory for queries and where they spill, caches of columns,
//! indexes, footers and masks, the registry of functions and views, and limits of the work in the background. Made
//! once, it is given to every [`Database::open_with`](crate::Database::open_with), so that its limits hold for all
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
//! - Caches are keyed by ids of segments, runs and masks, which are UUIDs: databases cannot meet in them. A copy of a
//!   database has the same ids and, since segments never change, the same bytes behind them.
//! - A database that is idle does not run: timers of all databases are those of the tokio runtime, and wake a task only
//!   when it has something to do. [`Resources::wakeups`] counts.

use std::path::PathBuf;
use std::sync::Arc;

use super::spill::SpillDirectory;
use crate::config::{IndexSettings, QuerySettings, Settings};
use crate::error::Result;
use crate::index::IndexCache;
use crate::maintenance::Capacity;
use crate::query::Engine;

/// Limits of what all databases of a process share.
#[derive(Debug, Clone)]
pub struct ResourceSettings {
    /// Memory of queries, and when columns are kept in memory.
    pub query: QuerySettings,
    /// Memory for indexes that are open, in bytes.
    pub index_bytes_max: usize,
    /// Directory in which queries get a private one for what they spill; none is that of temporary files.
    pub spill: Option<PathBuf>,
    /// Number of buffers that are made segments at one time.
    pub flushes_max: usize,
    /// Number of merges in the background at one time, each on a thread of low priority.
    pub merges_max: usize,
}

impl Default for ResourceSettings {
    /// One flush per processor, since encoding is all computation; half as many merges.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            query: QuerySettings::default(),
            index_bytes_max: IndexSettings::default().memory_bytes_max,
            spill: None,
            flushes_max: processors,
            merges_max: processors.div_ceil(2),
        }
    }
}

/// What all databases of a process share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Resources {
    engine: Engine,
    capacity: Arc<Capacity>,
    /// Dropped after the engine, which may be spilling.
    _spill: Arc<SpillDirectory>,
}

impl Resources {
    /// Resources with these limits.
    ///
    /// Fails when no directory can be made for what queries spill.
    pub fn new(settings: &ResourceSettings) -> Result<Self> {
        let parent = settings.spill.clone().unwrap_or_else(std::env::temp_dir);
        Self::spilling_to(settings, SpillDirectory::private(&parent)?)
    }

    /// The resources of one database alone, which this process has locked for writing.
    pub(super) fn of_writer(settings: &Settings) -> Result<Self> {
        match settings.data.directory() {
            Some(data) => Self::spilling_to(&limits(settings), SpillDirectory::of_data(data)),
            None => Self::new(&limits(settings)),
        }
    }

    /// The resources of one database alone, in whose directory this process changes nothing.
    pub(super) fn of_reader(settings: &Settings) -> Result<Self> {
        Self::new(&limits(settings))
    }

    fn spilling_to(settings: &ResourceSettings, spill: SpillDirectory) -> Result<Self> {
        let indexes = Arc::new(IndexCache::new(settings.index_bytes_max));
        let engine = Engine::new(&settings.query, indexes, spill.path())?;
        let capacity = Arc::new(Capacity::new(settings.flushes_max, settings.merges_max));
        Ok(Self { engine, capacity, _spill: Arc::new(spill) })
    }

    /// Number of times that a task in the background of a database has begun to run. An idle database adds nothing.
    pub fn wakeups(&self) -> u64 {
        self.capacity.wakeups()
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn capacity(&self) -> &Arc<Capacity> {
        &self.capacity
    }
}

fn limits(settings: &Settings) -> ResourceSettings {
    ResourceSettings {
        query: settings.query,
        index_bytes_max: settings.index.memory_bytes_max,
        ..ResourceSettings::default()
    }
}
