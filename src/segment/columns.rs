//! Which values can the columns of a segment hold?
//!
//! Queries prune segments by these statistics. The JSON is compact because there is one entry per column and
//! segment:
//!
//! ```text
//! {"columns":[["http.route",3,1200,"/cart","/pay"],["timestamp",null,0,…,…], …],      sorted by name
//!  "overflow":["retry.count", …]}                        attributes with a value in the overflow of some row
//!  column = [physical name, attribute type code or null for a core column, nulls, min, max]
//! ```

use parquet::basic::{LogicalType, Type as ParquetType};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use serde::{Deserialize, Serialize};

use super::overflow;
use crate::event::{AttributeKey, AttributeType, schema};

/// Longest text kept as a minimum or maximum, in bytes.
const BOUND_BYTES_MAX: usize = 64;

/// Statistics of the columns of a segment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SegmentColumns {
    /// The columns, sorted by name.
    pub columns: Vec<ColumnMeta>,
    /// Physical names of the attributes in the overflow, sorted; `None` if there are too many to list.
    pub overflow: Option<Vec<String>>,
}

/// Statistics of one column of a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "ColumnTuple", into = "ColumnTuple")]
pub struct ColumnMeta {
    /// Physical name.
    pub name: String,
    /// Type of the attribute; `None` for core columns and the overflow.
    pub attribute_type: Option<AttributeType>,
    /// Number of rows without a value.
    pub null_count: u64,
    /// Exact smallest and largest value, for numbers and short text (at most 64 bytes).
    pub bounds: Option<(Bound, Bound)>,
}

/// A minimum or maximum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound<T = String> {
    /// Bound of an integer or timestamp column.
    Int(i64),
    /// Bound of a double column; finite.
    Double(f64),
    /// Bound of a text column.
    Text(T),
}

impl Bound {
    /// Borrows the bound.
    pub fn borrowed(&self) -> Bound<&str> {
        match self {
            Self::Int(value) => Bound::Int(*value),
            Self::Double(value) => Bound::Double(*value),
            Self::Text(text) => Bound::Text(text),
        }
    }
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

impl SegmentColumns {
    /// Returns the column with this physical name. O(log n).
    pub fn get(&self, name: &str) -> Option<&ColumnMeta> {
        self.columns.binary_search_by(|c| c.name.as_str().cmp(name)).ok().map(|i| &self.columns[i])
    }

    /// True if some attribute values of this segment are in the overflow, not in a column.
    pub fn has_overflow(&self) -> bool {
        self.get(schema::OVERFLOW).is_some()
    }

    /// True if the overflow may have values of the attribute with this physical name.
    pub fn may_overflow(&self, name: &str) -> bool {
        let listed = |keys: &Vec<String>| keys.binary_search_by(|key| key.as_str().cmp(name)).is_ok();
        self.has_overflow() && self.overflow.as_ref().is_none_or(listed)
    }

    /// Approximate memory use in bytes.
    pub fn memory_bytes(&self) -> usize {
        let column = |c: &ColumnMeta| size_of::<ColumnMeta>() + 2 * c.name.len();
        let listed = |names: &Vec<String>| names.iter().map(|n| size_of::<String>() + n.len()).sum();
        self.columns.iter().map(column).sum::<usize>() + self.overflow.as_ref().map_or(0, listed)
    }

    /// Reads the statistics from a segment's footer.
    pub(super) fn from_footer(footer: &ParquetMetaData) -> Self {
        let mut columns: Vec<ColumnMeta> = Vec::new();
        for leaf in footer.row_groups().iter().flat_map(RowGroupMetaData::columns) {
            let name = &leaf.column_path().parts()[0];
            // A nested core column has several leaves; they count as one column.
            if columns.last().is_none_or(|c| c.name != *name) {
                columns.push(column_meta(name, leaf));
            }
        }
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        Self { columns, overflow: overflow::listed(footer) }
    }
}

/// Size of the largest column before compression, all its leaves included, in bytes.
pub(super) fn largest_bytes(group: &RowGroupMetaData) -> u64 {
    let root = |leaf: &ColumnChunkMetaData| leaf.column_path().parts().first().cloned();
    let columns = group.columns().chunk_by(|a, b| root(a) == root(b));
    let bytes = |leaf: &ColumnChunkMetaData| u64::try_from(leaf.uncompressed_size()).unwrap_or(0);
    columns.map(|leaves| leaves.iter().map(bytes).fold(0, u64::saturating_add)).max().unwrap_or(0)
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

/// Type of the attribute values in this column.
pub(super) fn attribute_type(leaf: &ColumnChunkMetaData) -> AttributeType {
    match (leaf.column_type(), leaf.column_descr().logical_type_ref()) {
        (ParquetType::BOOLEAN, _) => AttributeType::Bool,
        (ParquetType::DOUBLE, _) => AttributeType::Double,
        (ParquetType::BYTE_ARRAY, Some(LogicalType::Json)) => AttributeType::Json,
        (ParquetType::BYTE_ARRAY, Some(LogicalType::String)) => AttributeType::Text,
        (ParquetType::BYTE_ARRAY, _) => AttributeType::Bytes,
        _ => AttributeType::Int,
    }
}

/// True if the column's statistics can become bounds: unsigned integers do not fit [`Bound::Int`], and SQL does
/// not order bytes and JSON.
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
