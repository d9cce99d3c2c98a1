//! What can be set, and where does "now" come from?
//!
//! Settings are plain structs; each part of the program gets its own. Options, environment and configuration file
//! are read by `cli` alone. A setting exists only where a constant is not enough.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::error::{Error, Result};

/// Source of the current time, so that everything below the server can be simulated.
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

/// Settings of a [`Database`](crate::Database).
#[derive(Debug, Clone)]
pub struct Settings {
    /// Data directory or object store. [`Database::open`](crate::Database::open) creates a directory that is missing.
    pub data: Location,
    /// Settings for data in an object store.
    pub remote: RemoteSettings,
    /// Limits of the buffer: acknowledged events that are not yet in a segment.
    pub buffer: BufferSettings,
    /// Detection of redelivered messages.
    pub deliveries: DeliverySettings,
    /// Limits of queries.
    pub query: QuerySettings,
    /// Attributes to index, and memory for indexes.
    pub index: IndexSettings,
    /// Merging, retention and removal of segments.
    pub maintenance: MaintenanceSettings,
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
}

impl Settings {
    /// Default settings for `data`: a directory, or an object store's URL.
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

/// Place of a database's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A path in an object store: `s3://bucket/path`, `gs://…`, `az://…`.
    Store(Url),
    /// A malformed URL. Opening it fails with the reason.
    Unusable {
        /// The text as written.
        text: String,
        /// The reason; contains the text.
        why: String,
    },
}

/// URL schemes of object stores.
const SCHEMES: [&str; 10] = ["s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "http", "https"];
/// Other URL schemes, which people write by mistake.
const OTHER_SCHEMES: [&str; 5] = ["file", "s3n", "gcs", "wasb", "wasbs"];

impl Location {
    /// The directory; `None` for an object store or a malformed URL.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Store(_) | Self::Unusable { .. } => None,
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    /// Text with a scheme and `://` is a URL, everything else a path.
    ///
    /// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for text that is neither, such as
    /// `gs:/bucket`.
    fn from_str(text: &str) -> Result<Self> {
        let Some((scheme, path)) = text.split_once("://") else { return path_or_slip(text) };
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "file" {
            return match path {
                "" => Err(Error::invalid(format!("{text} names no directory; write file:///path"))),
                path => Ok(Self::Directory(path.into())),
            };
        }
        if !SCHEMES.contains(&scheme.as_str()) {
            return Err(Error::invalid(format!(
                "{text}: there is no store {scheme}://; write a directory, or an s3://, gs:// or az:// URL"
            )));
        }
        let url = Url::parse(text);
        let url = url.map_err(|e| Error::invalid(format!("{text} is not a URL: {e}")).with_source(e))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(Error::invalid(format!("{text} names no bucket: write {scheme}://bucket/path")));
        }
        if url.query().is_some() || url.fragment().is_some() {
            let message = "write bucket and path only; options of the store come from the environment";
            return Err(Error::invalid(format!("{text} has a ? or a #: {message}")));
        }
        Ok(Self::Store(url))
    }
}

/// Parses text without `://`: a path, unless it begins like a mistyped URL.
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
    /// Parses the path like text. An error becomes [`Location::Unusable`], and is reported when it is opened.
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

/// Settings for data in an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteSettings {
    /// Place of the write-ahead log.
    pub log: LogPlace,
    /// True to write or back up although the previous writer's log cannot be reached. Events that are only in that log
    /// are lost.
    pub abandon_log: bool,
    /// Directory that caches what queries read; `None` caches in memory only.
    pub cache: Option<PathBuf>,
    /// Size of the cache on disk, in bytes; at least 64 MiB is used.
    pub cache_bytes: u64,
}

impl Default for RemoteSettings {
    fn default() -> Self {
        Self { log: LogPlace::Store, abandon_log: false, cache: None, cache_bytes: 10 << 30 }
    }
}

/// Place of the write-ahead log of a database whose data is in an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    /// In the object store: an event is acknowledged when the store has it, so that this machine may be lost and
    /// another process can take over.
    Store,
    /// In a directory of this machine: events are acknowledged sooner, and lost with its disk. Only a process with
    /// this directory may write.
    Directory(PathBuf),
}

/// Limits of the buffer: acknowledged events that are not yet in a segment.
#[derive(Debug, Clone, Copy)]
pub struct BufferSettings {
    /// A flush starts when the buffer holds this many bytes.
    pub flush_bytes: usize,
    /// A flush starts when the buffer holds this many events.
    pub flush_rows: usize,
    /// A flush starts when the oldest buffered event has waited this long, in milliseconds.
    pub flush_age_ms: u64,
    /// Most bytes of buffered events; appends beyond it fail with
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy), and producers retry.
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
    /// Memory for all queries together, in bytes; beyond it they spill to disk, then fail.
    pub memory_bytes_max: usize,
    /// Threads that one query may use.
    pub parallelism: usize,
    /// Memory for columns that queries read repeatedly, in bytes.
    pub column_bytes_max: usize,
    /// Queries that filter or group by a column of a segment before it gets bitmaps.
    pub bitmap_asks: u32,
    /// Queries that read a column of a segment before its values are kept in memory.
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

/// Attributes that are indexed besides trace ids, and memory for open indexes.
#[derive(Debug, Clone)]
pub struct IndexSettings {
    /// SQL names of attributes that are often looked up by value and whose values occur in few events each, such as
    /// `user.id`. Segments written from now on get an index of each; it costs about six bytes per value and page.
    pub lookup_keys: Vec<String>,
    /// Memory for open indexes, in bytes; beyond it the least used are closed.
    pub memory_bytes_max: usize,
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self { lookup_keys: Vec::new(), memory_bytes_max: 128 << 20 }
    }
}

/// Size of merged segments.
///
/// A segment is full when it reaches one of the limits. A merge takes a small multiple of these bytes in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLimits {
    /// Events, at most 1,048,576.
    pub rows: usize,
    /// Bytes of the object without its index, estimated from the sizes of the merged segments.
    pub bytes: u64,
}

impl SegmentLimits {
    /// Limits of `rows` events and the default number of bytes.
    pub fn of_rows(rows: usize) -> Self {
        Self { rows, ..Self::default() }
    }
}

impl Default for SegmentLimits {
    fn default() -> Self {
        Self { rows: 1 << 20, bytes: 128 << 20 }
    }
}

/// Maintenance of segments while a database is open for writing.
#[derive(Debug, Clone)]
pub struct MaintenanceSettings {
    /// True if segments are merged, expired events removed and unused objects deleted in the background. Otherwise
    /// [`compact`](crate::Database::compact) does this.
    pub background: bool,
    /// Size of merged segments.
    pub segment: SegmentLimits,
    /// Time for which objects that are no longer referenced are kept, for running queries of other processes.
    pub grace: Duration,
    /// Rules and limit by which old events are removed.
    pub retention: RetentionSettings,
    /// Time from a commit to the check for maintenance work, at most one second. Objects that only queries keep are
    /// checked again after as long.
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

/// Rules for how long, and the limit for how many, events are kept. The default keeps everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionSettings {
    /// The first rule that fits an event decides; an event that no rule fits is kept.
    pub rules: Vec<RetentionRule>,
    /// Total size of segments and indexes, in bytes, above which the oldest segments are removed.
    pub bytes_max: Option<u64>,
}

/// Retention rule: how long the events that fit a condition are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// SQL condition on events; `None` fits every event.
    pub condition: Option<String>,
    /// Time for which an event is kept at least, from its timestamp.
    pub keep: Duration,
}

/// Detection of producers' messages that are delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliverySettings {
    /// Time for which a message is remembered; zero stores every message.
    pub window: Duration,
    /// Most messages that are remembered, about 100 bytes each.
    pub count_max: usize,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        // Collectors and SDKs stop retrying after five minutes.
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
