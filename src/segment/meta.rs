//! What do we remember of a segment, without opening it?
//!
//! [`SegmentMeta`] is what the catalog stores and what queries prune by. Its JSON is compact because
//! there is one entry per column and segment:
//!
//! ```text
//! {"id":"0193…","path":"segments/2026/11/21/0193….parquet","bytes":1048576,"index":2048,"rows":200000,
//!  "time":{"min_ns":…,"max_ns":…},
//!  "columns":[["http.route",3,1200,"/cart","/pay"],["timestamp",null,0,…,…], …],      sorted by name
//!  "overflow":["retry.count", …]}                        attributes that have no column in some row
//!  column = [physical name, attribute type code or null for a core column, nulls, min, max]
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use parquet::basic::{LogicalType, Type as ParquetType};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::event::schema::{self, column};
use crate::event::{AttributeKey, AttributeType, TimeRange};

/// Footer key: version of the segment format.
pub(super) const FORMAT_KEY: &str = "broadloom.format";
/// Footer key: id of the segment.
pub(super) const ID_KEY: &str = "broadloom.segment";
/// Footer key: which attributes the overflow has, as a JSON array of physical names.
pub(super) const OVERFLOW_KEY: &str = "broadloom.overflow";
/// The segment format that this program writes and reads.
pub(super) const FORMAT: &str = "1";
/// Longest text that is kept as a minimum or maximum, in bytes.
const BOUND_BYTES_MAX: usize = 64;
/// Longest list of attributes in the overflow that is kept, in bytes: a segment costs the catalog about as
/// much for its columns.
const OVERFLOW_BYTES_MAX: usize = 32 << 10;

/// What a footer says of the attributes in the overflow; nothing when they are too many.
pub(super) fn overflow_keys(names: BTreeSet<String>) -> Option<String> {
    let json = serde_json::Value::from_iter(names).to_string();
    (json.len() <= OVERFLOW_BYTES_MAX).then_some(json)
}

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

/// What is known of one segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentMeta {
    /// Its id.
    pub id: SegmentId,
    /// Path of the object in the store.
    pub path: String,
    /// Size of the object.
    pub bytes: u64,
    /// Size of its index, the side-car object; none when it has none, and is read without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Number of events.
    pub rows: u64,
    /// Range of the timestamps.
    pub time: TimeRange,
    /// Its columns, sorted by name.
    pub columns: Vec<ColumnMeta>,
    /// Physical names of the attributes in the overflow, sorted; none when they are too many to list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Vec<String>>,
}

/// What is known of one column of a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "ColumnTuple", into = "ColumnTuple")]
pub struct ColumnMeta {
    /// Physical name.
    pub name: String,
    /// Type of the attribute; none for core columns and the overflow.
    pub attribute_type: Option<AttributeType>,
    /// How many rows have no value.
    pub null_count: u64,
    /// Smallest and largest value, exact, where they are small to store: numbers and short text.
    pub bounds: Option<(Bound, Bound)>,
}

/// A minimum or maximum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// Of an integer or timestamp column.
    Int(i64),
    /// Of a double column; finite.
    Double(f64),
    /// Of a text column.
    Text(String),
}

#[derive(Serialize, Deserialize)]
struct ColumnTuple(String, Option<u8>, u64, Option<Bound>, Option<Bound>);

impl From<ColumnTuple> for ColumnMeta {
    fn from(ColumnTuple(name, code, null_count, min, max): ColumnTuple) -> Self {
        Self {
            name,
            attribute_type: code.and_then(AttributeType::from_code),
            null_count,
            bounds: min.zip(max),
        }
    }
}

impl From<ColumnMeta> for ColumnTuple {
    fn from(column: ColumnMeta) -> Self {
        let (min, max) = column.bounds.unzip();
        Self(column.name, column.attribute_type.map(|ty| ty as u8), column.null_count, min, max)
    }
}

impl SegmentMeta {
    /// The object path of a segment whose newest event is at `newest_ns`: it begins with the UTC day.
    pub fn object_path(id: SegmentId, newest_ns: i64) -> String {
        let day = chrono::DateTime::from_timestamp_nanos(newest_ns).format("%Y/%m/%d");
        format!("segments/{day}/{id}.parquet")
    }

    /// The column with this physical name. O(log n).
    pub fn column(&self, name: &str) -> Option<&ColumnMeta> {
        self.columns.binary_search_by(|c| c.name.as_str().cmp(name)).ok().map(|i| &self.columns[i])
    }

    /// Whether some attribute values of this segment have no column of their own.
    pub fn has_overflow(&self) -> bool {
        self.column(schema::OVERFLOW).is_some()
    }

    /// Whether the overflow may have values of the attribute with this physical name.
    pub fn may_overflow(&self, name: &str) -> bool {
        let listed = |keys: &Vec<String>| keys.binary_search_by(|key| key.as_str().cmp(name)).is_ok();
        self.has_overflow() && self.overflow.as_ref().is_none_or(listed)
    }

    /// What the footer of a segment's object says. `path` and `bytes` are the object's.
    ///
    /// Fails with [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when the file is no segment.
    pub fn from_footer(path: &str, bytes: u64, footer: &ParquetMetaData) -> Result<Self> {
        let corrupt = |what: &str| Error::corrupt(format!("{path} is no segment: {what}"));
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
        let mut columns: Vec<ColumnMeta> = Vec::new();
        for leaf in group.columns() {
            let name = &leaf.column_path().parts()[0];
            // A nested core column has several leaves; it is one column to us.
            if columns.last().is_none_or(|c| c.name != *name) {
                columns.push(column_meta(name, leaf));
            }
        }
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        let rows = group.num_rows() as u64;
        let mut meta = Self {
            id,
            path: path.to_owned(),
            bytes,
            index: None,
            rows,
            time: TimeRange { min_ns: 0, max_ns: 0 },
            columns,
            overflow: value(OVERFLOW_KEY).and_then(|keys| serde_json::from_str(keys).ok()),
        };
        let Some(Some((Bound::Int(min_ns), Bound::Int(max_ns)))) =
            meta.column(column::TIMESTAMP).map(|c| c.bounds.clone())
        else {
            return Err(corrupt("no range of timestamps"));
        };
        meta.time = TimeRange { min_ns, max_ns };
        Ok(meta)
    }
}

fn column_meta(name: &str, leaf: &ColumnChunkMetaData) -> ColumnMeta {
    let flat = leaf.column_path().parts().len() == 1;
    let statistics = leaf.statistics().filter(|_| flat);
    let attribute_type = AttributeKey::from_physical_name(name).map(|_| attribute_type(leaf));
    ColumnMeta {
        name: name.to_owned(),
        attribute_type,
        null_count: statistics.and_then(Statistics::null_count_opt).unwrap_or(0),
        bounds: statistics.filter(|_| has_signed_or_text_order(leaf)).and_then(bounds),
    }
}

fn attribute_type(leaf: &ColumnChunkMetaData) -> AttributeType {
    match (leaf.column_type(), leaf.column_descr().logical_type_ref()) {
        (ParquetType::BOOLEAN, _) => AttributeType::Bool,
        (ParquetType::DOUBLE, _) => AttributeType::Double,
        (ParquetType::BYTE_ARRAY, Some(LogicalType::Json)) => AttributeType::Json,
        (ParquetType::BYTE_ARRAY, Some(LogicalType::String)) => AttributeType::Text,
        (ParquetType::BYTE_ARRAY, _) => AttributeType::Bytes,
        _ => AttributeType::Int,
    }
}

/// Unsigned integers have no place in [`Bound::Int`]; bytes and JSON have no order that SQL asks for.
fn has_signed_or_text_order(leaf: &ColumnChunkMetaData) -> bool {
    match (leaf.column_type(), leaf.column_descr().logical_type_ref()) {
        (ParquetType::BYTE_ARRAY, logical) => matches!(logical, Some(LogicalType::String)),
        (_, Some(LogicalType::Integer(integer))) => integer.is_signed,
        _ => true,
    }
}

fn bounds(statistics: &Statistics) -> Option<(Bound, Bound)> {
    match statistics {
        Statistics::Int64(s) => Some((Bound::Int(*s.min_opt()?), Bound::Int(*s.max_opt()?))),
        Statistics::Double(s) => {
            let (min, max) = (*s.min_opt()?, *s.max_opt()?);
            (min.is_finite() && max.is_finite()).then_some((Bound::Double(min), Bound::Double(max)))
        }
        Statistics::ByteArray(s) if s.min_is_exact() && s.max_is_exact() => {
            let text = |bytes: &[u8]| {
                let text = std::str::from_utf8(bytes).ok().filter(|t| t.len() <= BOUND_BYTES_MAX)?;
                Some(Bound::Text(text.to_owned()))
            };
            Some((text(s.min_opt()?.data())?, text(s.max_opt()?.data())?))
        }
        _ => None,
    }
}
