//! What does the catalog keep in memory for each segment?
//!
//! [`SegmentMeta`] is small and of constant size, so a catalog of 10,000 segments fits in memory. The column
//! statistics are larger and kept apart: [`SegmentColumns`](super::SegmentColumns). A commit has both, as a
//! [`NewSegment`]:
//!
//! ```text
//! {"id":"0193…","bytes":1048576,"index":2048,"rows":200000,"time":{"min_ns":…,"max_ns":…},
//!  "columns":[…], "overflow":[…]}
//! ```
//!
//! The object's path follows from the id and the newest event's timestamp.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::Datelike;
use parquet::file::metadata::ParquetMetaData;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::columns::{self, Bound, ColumnMeta, SegmentColumns};
use super::mask::Mask;
use super::writer::ROWS_MAX;
use crate::config::SegmentLimits;
use crate::error::{Error, Result};
use crate::event::TimeRange;
use crate::event::schema::column;

/// Footer key: version of the segment format.
pub(super) const FORMAT_KEY: &str = "broadloom.format";
/// Footer key: id of the segment.
pub(super) const ID_KEY: &str = "broadloom.segment";
/// Version of the segment format that this program writes and reads.
pub(super) const FORMAT: &str = "1";

/// Upper bound for the size of any object, in bytes.
const OBJECT_BYTES_MAX: u64 = 1 << 40;

/// Identifies a segment; ids sort by time of creation (UUIDv7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SegmentId(Uuid);

impl SegmentId {
    /// Makes a new id with the time `now_ns`.
    pub fn new(now_ns: i64) -> Self {
        let ms = u64::try_from(now_ns / 1_000_000).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(ms, &rand::random()).into_uuid())
    }
}

impl SegmentId {
    /// Id from its 16 bytes in a binary format.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes of the id, as binary formats store them.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl From<SegmentId> for String {
    fn from(id: SegmentId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for SegmentId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for SegmentId {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        s.parse()
            .map(Self)
            .map_err(|e| Error::invalid(format!("'{s}' is not a segment id (a UUID)")).with_source(e))
    }
}

/// Cap on [`SegmentMeta::size`], so that sums of sizes do not overflow.
const SIZE_MAX: u128 = 1 << 40;
/// Bytes of the largest column, before compression, that count as one byte of the object in [`SegmentMeta::size`].
const COLUMN_BYTES_PER_BYTE: u64 = 2;

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Facts about a segment that the catalog always has in memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentMeta {
    /// Id of the segment.
    pub id: SegmentId,
    /// Size of the object in bytes.
    pub bytes: u64,
    /// Size of the largest column before compression; 0 if it was not recorded.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub column_bytes: u64,
    /// Size of the index, a side-car object; `None` if the segment has none, so queries read it without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Number of events in the object, deleted ones included.
    pub rows: u64,
    /// Range of the timestamps, both ends inclusive.
    pub time: TimeRange,
    /// Mask of the deleted events; `None` if no event is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
}

/// A segment in a commit that adds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct NewSegment {
    /// Facts always kept in memory.
    pub meta: SegmentMeta,
    /// Column statistics.
    pub columns: Arc<SegmentColumns>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    meta: SegmentMeta,
    columns: Vec<ColumnMeta>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    overflow: Option<Vec<String>>,
}

impl From<Stored> for NewSegment {
    fn from(Stored { meta, columns, overflow }: Stored) -> Self {
        Self { meta, columns: Arc::new(SegmentColumns { columns, overflow }) }
    }
}

impl From<NewSegment> for Stored {
    fn from(NewSegment { meta, columns }: NewSegment) -> Self {
        let SegmentColumns { columns, overflow } = Arc::unwrap_or_clone(columns);
        Self { meta, columns, overflow }
    }
}

impl SegmentMeta {
    /// Path of the object in the store. Its folders are the UTC day of the newest event.
    pub fn path(&self) -> String {
        let Self { id, time, .. } = self;
        let day = chrono::DateTime::from_timestamp_nanos(time.max_ns).date_naive();
        format!("segments/{:04}/{:02}/{:02}/{id}.parquet", day.year(), day.month(), day.day())
    }

    /// True if rows and sizes are within the limits of a segment. Metadata that was read may have any values; sums
    /// of plausible ones do not overflow.
    pub fn is_plausible(&self) -> bool {
        let sizes = [self.bytes, self.index.unwrap_or(0), self.mask.map_or(0, |mask| mask.bytes)];
        self.rows <= ROWS_MAX as u64 && sizes.iter().all(|bytes| *bytes <= OBJECT_BYTES_MAX)
    }

    /// Share of a full segment that `rows` of its events take, in events: a full segment has `limits.rows`. Assumes
    /// that all events have the same size. At least `rows`.
    ///
    /// A merge has a whole column in memory, which may be far larger than the object. So the largest column counts too.
    pub fn size(&self, rows: u64, limits: &SegmentLimits) -> u64 {
        let bytes = self.bytes.max(self.column_bytes / COLUMN_BYTES_PER_BYTE);
        let full = u128::from(limits.bytes.max(1)) * u128::from(self.rows.max(1));
        let by_bytes = u128::from(rows) * u128::from(bytes) * limits.rows as u128 / full;
        (by_bytes.min(SIZE_MAX) as u64).max(rows)
    }

    /// Number of events that are not deleted.
    pub fn live_rows(&self) -> u64 {
        self.rows.saturating_sub(self.mask.map_or(0, |mask| mask.rows))
    }

    /// Path of the mask, beside the object, if it has one.
    pub fn mask_path(&self) -> Option<String> {
        let mask = self.mask?;
        Some(format!("{}.{}.mask", self.path().trim_end_matches(".parquet"), mask.id))
    }

    /// Path of its index, beside the object, whether or not it has one.
    pub fn index_path(&self) -> String {
        format!("{}.index", self.path().trim_end_matches(".parquet"))
    }
}

impl NewSegment {
    /// Rebuilds the entry from the footer of an object of `bytes` bytes.
    ///
    /// Fails with [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the file is not a segment, and with
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it is one of another format.
    pub fn from_footer(bytes: u64, footer: &ParquetMetaData) -> Result<Self> {
        let corrupt = |what: &str| Error::corrupt(format!("not a segment: {what}"));
        let value = |key: &str| {
            let pairs = footer.file_metadata().key_value_metadata().into_iter().flatten();
            pairs.filter(|kv| kv.key == key).find_map(|kv| kv.value.as_deref())
        };
        match value(FORMAT_KEY) {
            Some(FORMAT) => {}
            Some(other) => {
                return Err(Error::invalid(format!(
                    "segment format {other}, this program reads {FORMAT}: use the Broadloom that wrote it"
                )));
            }
            None => return Err(corrupt(&format!("the footer lacks {FORMAT_KEY}"))),
        }
        let id = value(ID_KEY).ok_or_else(|| corrupt(&format!("the footer lacks {ID_KEY}")))?.parse()?;
        let [group] = footer.row_groups() else { return Err(corrupt("expected one row group")) };
        let columns = SegmentColumns::from_footer(footer);
        let Some(Some((Bound::Int(min_ns), Bound::Int(max_ns)))) =
            columns.get(column::TIMESTAMP).map(|c| c.bounds.clone())
        else {
            return Err(corrupt("the footer lacks the range of timestamps"));
        };
        let (rows, time) = (group.num_rows() as u64, TimeRange { min_ns, max_ns });
        let column_bytes = columns::largest_bytes(group);
        let meta = SegmentMeta { id, bytes, column_bytes, index: None, rows, time, mask: None };
        if !meta.is_plausible() {
            return Err(corrupt(&format!("{rows} rows in {bytes} bytes exceed the limits of a segment")));
        }
        Ok(Self { meta, columns: Arc::new(columns) })
    }
}
