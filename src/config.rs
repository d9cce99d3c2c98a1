//! What can be set, as plain data, and where "now" comes from.
//!
//! Settings are structs handed down by part; reading flags, environment and files is the business of
//! the command line. A knob exists only where a constant will not do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::error::{Error, Result};

/// Where "now" comes from, so that everything under the server can be simulated.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Nanoseconds since the Unix epoch, UTC.
    fn now_ns(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ns(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// Everything a [`Database`](crate::Database) needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the data is; created when missing.
    pub data: Location,
    /// What matters when that is not on this machine.
    pub remote: RemoteSettings,
    /// Limits of what is kept in memory before it becomes a segment.
    pub buffer: BufferSettings,
    /// How messages that are delivered again are told.
    pub deliveries: DeliverySettings,
    /// Limits of queries.
    pub query: QuerySettings,
    /// What is found by index.
    pub index: IndexSettings,
    /// What is done to segments while the database is open.
    pub maintenance: MaintenanceSettings,
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
}

impl Settings {
    /// Default settings for the data in `data`: a directory, or a store's URL.
    pub fn new(data: impl Into<Location>) -> Self {
        Self {
            data: data.into(),
            remote: RemoteSettings::default(),
            buffer: BufferSettings::default(),
            deliveries: DeliverySettings::default(),
            query: QuerySettings::default(),
            index: IndexSettings::default(),
            maintenance: MaintenanceSettings::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Where the data of a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In a directory of this machine.
    Directory(PathBuf),
    /// In an object store, below a path: `s3://bucket/path`, `gs://…`, `az://…`.
    Store(Url),
}

impl Location {
    /// The directory.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Store(_) => None,
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    /// What has a scheme and `://` is a URL, everything else a path.
    fn from_str(text: &str) -> Result<Self> {
        let Some((scheme, path)) = text.split_once("://") else {
            return Ok(Self::Directory(text.into()));
        };
        if scheme == "file" {
            return Ok(Self::Directory(path.into()));
        }
        let url = Url::parse(text);
        let url = url.map_err(|e| Error::invalid(format!("{text} is not a URL: {e}")).with_source(e))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(Error::invalid(format!("{text} names no bucket: write {scheme}://bucket/path")));
        }
        Ok(Self::Store(url))
    }
}

impl<P: Into<PathBuf>> From<P> for Location {
    /// What is no URL is a directory.
    fn from(path: P) -> Self {
        let path = path.into();
        let parsed = path.to_str().and_then(|text| text.parse().ok());
        parsed.unwrap_or(Self::Directory(path))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => directory.display().fmt(f),
            Self::Store(url) => url.fmt(f),
        }
    }
}

/// What matters when the data is in an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteSettings {
    /// Where the log is.
    pub log: LogPlace,
    /// Whether to write, or back up, although events may be in a log that is out of reach: they are given up.
    pub abandon_log: bool,
    /// Directory for copies of what queries read; none keeps them in memory alone.
    pub cache: Option<PathBuf>,
    /// Size of the copies on disk, in bytes.
    pub cache_bytes: u64,
}

impl Default for RemoteSettings {
    fn default() -> Self {
        Self { log: LogPlace::Store, abandon_log: false, cache: None, cache_bytes: 10 << 30 }
    }
}

/// Where the log of a database is whose data is in an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    /// Beside the data: an event is acknowledged when the store has it, so that the machine may vanish. Another
    /// process may take over.
    Store,
    /// In a directory of this machine: acknowledged sooner, lost with its disk. Only who has the directory may
    /// write.
    Directory(PathBuf),
}

/// Limits of the buffer, the events that are acknowledged and not yet in a segment.
#[derive(Debug, Clone, Copy)]
pub struct BufferSettings {
    /// A flush starts when the buffer holds this many bytes.
    pub flush_bytes: usize,
    /// A flush starts when the buffer holds this many events.
    pub flush_rows: usize,
    /// A flush starts when the oldest buffered event has waited this long, in milliseconds.
    pub flush_age_ms: u64,
    /// Above this many bytes producers are told to wait.
    pub bytes_max: usize,
}

impl Default for BufferSettings {
    fn default() -> Self {
        Self { flush_bytes: 192 << 20, flush_rows: 256 << 10, flush_age_ms: 60_000, bytes_max: 512 << 20 }
    }
}

/// Limits of queries.
#[derive(Debug, Clone, Copy)]
pub struct QuerySettings {
    /// Memory that all queries together may hold, in bytes; beyond it they spill, then fail.
    pub memory_bytes_max: usize,
    /// Threads that one query may use.
    pub parallelism: usize,
    /// Memory that columns may take which queries ask for again and again, in bytes.
    pub column_bytes_max: usize,
    /// How many queries must have filtered or grouped by a column of a segment before it gets bitmaps.
    pub bitmap_asks: u32,
    /// How many queries must have read a column of a segment before its values are kept in memory.
    pub decoded_asks: u32,
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self {
            memory_bytes_max: 2 << 30,
            parallelism: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            column_bytes_max: 1 << 30,
            bitmap_asks: 1,
            decoded_asks: 1,
        }
    }
}

/// What is found by index, beside trace ids.
#[derive(Debug, Clone)]
pub struct IndexSettings {
    /// SQL names of attributes whose values are looked up often and stand in few events each, such as
    /// `user.id`. Segments that are written from now on get an index of each; it costs about six bytes per
    /// value and page.
    pub lookup_keys: Vec<String>,
    /// Memory for indexes that are open, in bytes; what has not been used for the longest time is closed.
    pub memory_bytes_max: usize,
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self { lookup_keys: Vec::new(), memory_bytes_max: 128 << 20 }
    }
}

/// How large segments become by merging.
///
/// A full one has so many events or so many bytes, whichever is reached first. What is held in memory during a merge
/// is a small multiple of these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLimits {
    /// Events, at most 1,048,576.
    pub rows: usize,
    /// Size of the object without its index, as far as the sizes of what is merged tell.
    pub bytes: u64,
}

impl SegmentLimits {
    /// So many events, and as many bytes as usual.
    pub fn of_rows(rows: usize) -> Self {
        Self { rows, ..Self::default() }
    }
}

impl Default for SegmentLimits {
    fn default() -> Self {
        Self { rows: 1 << 20, bytes: 128 << 20 }
    }
}

/// What is done to segments while a database is open for writing.
#[derive(Debug, Clone)]
pub struct MaintenanceSettings {
    /// Whether segments are merged in the background, as they come. Otherwise only
    /// [`compact`](crate::Database::compact) merges.
    pub background: bool,
    /// How large segments become.
    pub segment: SegmentLimits,
    /// How long objects are kept that nothing refers to any more, for queries of other processes that began
    /// before.
    pub grace: Duration,
    /// What is removed by and by.
    pub retention: RetentionSettings,
    /// How often it is looked at whether there is something to do, a second at most.
    pub check_every: Duration,
}

impl Default for MaintenanceSettings {
    fn default() -> Self {
        Self {
            background: false,
            segment: SegmentLimits::default(),
            grace: Duration::from_mins(10),
            retention: RetentionSettings::default(),
            check_every: Duration::from_secs(1),
        }
    }
}

/// How long events are kept, and how many. The default keeps all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionSettings {
    /// Of each event the first rule that fits decides; what none fits is kept.
    pub rules: Vec<RetentionRule>,
    /// When the segments are larger, in bytes with their indexes, the oldest are removed.
    pub bytes_max: Option<u64>,
}

/// How long some events are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// An SQL condition on events; none fits all.
    pub condition: Option<String>,
    /// How long after its time an event is kept at least.
    pub keep: Duration,
}

/// How messages of producers that are delivered again are told from new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliverySettings {
    /// How long a message is remembered; zero takes in every message.
    pub window: Duration,
    /// How many messages are remembered, about 100 bytes each.
    pub count_max: usize,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        // Collectors and SDKs give up after five minutes.
        Self { window: Duration::from_mins(15), count_max: 100_000 }
    }
}
