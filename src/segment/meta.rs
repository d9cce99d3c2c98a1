//! What do we always remember of a segment?
//!
//! [`SegmentMeta`] is small and of constant size: a catalog of 10,000 segments is in memory as a whole.
//! What the columns hold is more, and kept apart: [`SegmentColumns`](super::SegmentColumns). A commit has
//! both, as a [`NewSegment`]:
//!
//! ```text
//! {"id":"0193…","bytes":1048576,"index":2048,"rows":200000,"time":{"min_ns":…,"max_ns":…},
//!  "columns":[…], "overflow":[…]}
//! ```
//!
//! The object's path follows from the id and the newest event.

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
/// The segment format that this program writes and reads.
pub(super) const FORMAT: &str = "1";

/// No object is as large.
const OBJECT_BYTES_MAX: u64 = 1 << 40;

/// Identifies a segment; ids sort by time of creation (UUIDv7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SegmentId(Uuid);

impl SegmentId {
    /// A new id, made at `now_ns`.
    pub fn new(now_ns: i64) -> Self {
        let ms = u64::try_from(now_ns / 1_000_000).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(ms, &rand::random()).into_uuid())
    }
}

impl SegmentId {
    /// The id that stands in a binary format.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The id as it stands in binary formats.
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
        s.parse().map(Self).map_err(|e| Error::invalid(format!("'{s}' is no segment id")).with_source(e))
    }
}

/// Sizes are added up.
const SIZE_MAX: u128 = 1 << 40;
/// The largest column of a segment may have so many times the bytes of its object.
const COLUMN_BYTES_PER_BYTE: u64 = 2;

// serde hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What is always known of one segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentMeta {
    /// Its id.
    pub id: SegmentId,
    /// Size of the object.
    pub bytes: u64,
    /// Size of its largest column before compression; 0 where it was not written down.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub column_bytes: u64,
    /// Size of its index, the side-car object; none when it has none, and is read without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Number of events in the object, deleted ones too.
    pub rows: u64,
    /// Range of the timestamps.
    pub time: TimeRange,
    /// Which of the events are deleted; none when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
}

/// A segment as a commit adds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct NewSegment {
    /// What is always known of it.
    pub meta: SegmentMeta,
    /// What its columns hold.
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
    /// Path of the object in the store: it begins with the UTC day of the newest event.
    pub fn path(&self) -> String {
        let Self { id, time, .. } = self;
        let day = chrono::DateTime::from_timestamp_nanos(time.max_ns).date_naive();
        format!("segments/{:04}/{:02}/{:02}/{id}.parquet", day.year(), day.month(), day.day())
    }

    /// Whether a segment can be like this. What was read may say anything; sums of what is plausible fit.
    pub fn is_plausible(&self) -> bool {
        let sizes = [self.bytes, self.index.unwrap_or(0), self.mask.map_or(0, |mask| mask.bytes)];
        self.rows <= ROWS_MAX as u64 && sizes.iter().all(|bytes| *bytes <= OBJECT_BYTES_MAX)
    }

    /// How much `rows` of its events, which are alike, are of a full segment: in events, of which that has as many as
    /// `limits` say. At least their number.
    ///
    /// A column is in memory as a whole when it is merged, and may be far larger than the object. So it too has a limit.
    pub fn size(&self, rows: u64, limits: &SegmentLimits) -> u64 {
        let bytes = self.bytes.max(self.column_bytes / COLUMN_BYTES_PER_BYTE);
        let full = u128::from(limits.bytes.max(1)) * u128::from(self.rows.max(1));
        let by_bytes = u128::from(rows) * u128::from(bytes) * limits.rows as u128 / full;
        (by_bytes.min(SIZE_MAX) as u64).max(rows)
    }

    /// Events that are not deleted.
    pub fn live_rows(&self) -> u64 {
        self.rows.saturating_sub(self.mask.map_or(0, |mask| mask.rows))
    }

    /// Path of the mask, if it has one: beside the object.
    pub fn mask_path(&self) -> Option<String> {
        let mask = self.mask?;
        Some(format!("{}.{}.mask", self.path().trim_end_matches(".parquet"), mask.id))
    }

    /// Path of its index, if it has one: beside the object.
    pub fn index_path(&self) -> String {
        format!("{}.index", self.path().trim_end_matches(".parquet"))
    }
}

impl NewSegment {
    /// What the footer of a segment's object of `bytes` says.
    ///
    /// Fails with [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when the file is no segment.
    pub fn from_footer(bytes: u64, footer: &ParquetMetaData) -> Result<Self> {
        let corrupt = |what: &str| Error::corrupt(format!("not a segment: {what}"));
        let value = |key: &str| {
            let pairs = footer.file_metadata().key_value_metadata().into_iter().flatten();
            pairs.filter(|kv| kv.key == key).find_map(|kv| kv.value.as_deref())
        };
        match value(FORMAT_KEY) {
            Some(FORMAT) => {}
            Some(other) => return Err(corrupt(&format!("format {other}, this program reads {FORMAT}"))),
            None => return Err(corrupt(&format!("the footer lacks {FORMAT_KEY}"))),
        }
        let id = value(ID_KEY).ok_or_else(|| corrupt(&format!("the footer lacks {ID_KEY}")))?.parse()?;
        let [group] = footer.row_groups() else { return Err(corrupt("expected one row group")) };
        let columns = SegmentColumns::from_footer(footer);
        let Some(Some((Bound::Int(min_ns), Bound::Int(max_ns)))) =
            columns.get(column::TIMESTAMP).map(|c| c.bounds.clone())
        else {
            return Err(corrupt("no range of timestamps"));
        };
        let (rows, time) = (group.num_rows() as u64, TimeRange { min_ns, max_ns });
        let column_bytes = columns::largest_bytes(group);
        let meta = SegmentMeta { id, bytes, column_bytes, index: None, rows, time, mask: None };
        if !meta.is_plausible() {
            return Err(corrupt(&format!("{rows} rows")));
        }
        Ok(Self { meta, columns: Arc::new(columns) })
    }
}
