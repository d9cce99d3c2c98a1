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
    /// Nowhere: this was meant to be a URL and is none. Whatever opens it fails and says why.
    Unusable {
        /// What was written.
        text: String,
        /// What is wrong, in words that name it.
        why: String,
    },
}

/// How URLs of stores begin.
const SCHEMES: [&str; 10] = ["s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "http", "https"];
/// What else a person may have meant by a URL.
const OTHER_SCHEMES: [&str; 5] = ["file", "s3n", "gcs", "wasb", "wasbs"];

impl Location {
    /// The directory.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Store(_) | Self::Unusable { .. } => None,
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    /// What has a scheme and `://` is a URL, everything else a path; `gs:/bucket` is neither.
    fn from_str(text: &str) -> Result<Self> {
        let Some((scheme, path)) = text.split_once("://") else { return path_or_slip(text) };
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "file" {
            return match path {
                "" => Err(Error::invalid(format!("{text} names no directory: write file:///path"))),
                path => Ok(Self::Directory(path.into())),
            };
        }
        if !SCHEMES.contains(&scheme.as_str()) {
            return Err(Error::invalid(format!(
                "{text}: there is no store {scheme}://; data is kept in a directory, s3://, gs:// or az://"
            )));
        }
        let url = Url::parse(text);
        let url = url.map_err(|e| Error::invalid(format!("{text} is not a URL: {e}")).with_source(e))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(Error::invalid(format!("{text} names no bucket: write {scheme}://bucket/path")));
        }
        if url.query().is_some() || url.fragment().is_some() {
            let message = "a store's URL is its bucket and a path: options come from the environment";
            return Err(Error::invalid(format!("{text} has a ? or a #, and {message}")));
        }
        Ok(Self::Store(url))
    }
}

/// A path, unless it begins as URLs do.
fn path_or_slip(text: &str) -> Result<Location> {
    let slip = text.split_once(':').filter(|(scheme, _)| {
        SCHEMES.iter().chain(&OTHER_SCHEMES).any(|known| known.eq_ignore_ascii_case(scheme))
    });
    match slip {
        None => Ok(Location::Directory(text.into())),
        Some((scheme, path)) if scheme.eq_ignore_ascii_case("file") && path.starts_with('/') => {
            Ok(Location::Directory(path.into()))
        }
        Some((scheme, path)) => {
            let path = path.trim_start_matches('/');
            let message = format!("write {scheme}://{path}, or ./{text} if it is a directory");
            Err(Error::invalid(format!("{text} is not a URL: {message}")))
        }
    }
}

impl<P: Into<PathBuf>> From<P> for Location {
    /// As from text; what is wrong with it is found out by whoever opens it.
    fn from(path: P) -> Self {
        let path = path.into();
        match path.to_str().map(|text| (text, text.parse())) {
            None => Self::Directory(path),
            Some((_, Ok(location))) => location,
            Some((text, Err(error))) => {
                Self::Unusable { text: text.to_owned(), why: error.message().to_owned() }
            }
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => directory.display().fmt(f),
            Self::Store(url) => url.fmt(f),
            Self::Unusable { text, .. } => text.fmt(f),
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
    /// Time from a commit to a look at what can be merged or deleted, at most a second; objects that only queries
    /// keep are looked at again after as long.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_path_or_a_store() {
        for path in ["./data", "/var/data", "C:\\data", "a:b", "s3/x", "data:1", "é"] {
            assert_eq!(Location::from(path), Location::Directory(path.into()));
        }
        for (url, path) in [("file:///var/x", "/var/x"), ("file:/var/x", "/var/x"), ("FILE:///x", "/x")] {
            assert_eq!(Location::from(url), Location::Directory(path.into()));
        }
        for url in
            ["s3://bucket/path", "S3://bucket", "gs://b", "az://c/d/e", "https://x.blob.core.windows.net/c"]
        {
            let Location::Store(parsed) = Location::from(url) else { panic!("{url}") };
            assert_eq!(parsed, Url::parse(url).unwrap());
        }
    }

    #[test]
    fn a_mistyped_url_is_no_directory() {
        for (text, says) in [
            ("s3:///p", "names no bucket: write s3://bucket/path"),
            ("s4://x", "there is no store s4://"),
            ("gs:/b", "write gs://b"),
            ("s3:bucket/x", "write s3://bucket/x"),
            ("gcs:b", "./gcs:b if it is a directory"),
            ("gs://", "names no bucket"),
            ("://x", "there is no store"),
            ("s3://bucket/p?region=eu", "environment"),
            ("s3://bad host/x", "s3://bad host/x"),
            ("file://", "names no directory"),
        ] {
            let Location::Unusable { text: shown, why } = Location::from(text) else { panic!("{text}") };
            assert_eq!(shown, text);
            assert!(why.contains(text) && why.contains(says), "{why}");
            assert_eq!(text.parse::<Location>().unwrap_err().message(), why);
            assert_eq!(Location::from(text).to_string(), text);
        }
    }
}
