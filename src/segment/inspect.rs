//! What does a segment or a mask contain?
//!
//! For people who examine a file: encoding and size of every leaf of every column, from the footer; and the rows
//! that a mask lists.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::statistics::Statistics;
use serde::Serialize;

use super::columns::{Bound, SegmentColumns};
use super::footer::check_places;
use super::mask;
use super::meta::{FORMAT_KEY, ID_KEY};
use crate::error::Result;
use crate::event::schema::column;

/// Contents of a segment's footer.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentContent {
    /// Id of the segment; `None` if the footer lacks it, as the copy in a side-car does.
    pub segment: Option<String>,
    /// Version of the segment format.
    pub format: Option<String>,
    /// Name and version of the program that wrote it.
    pub created_by: Option<String>,
    /// Number of events.
    pub rows: u64,
    /// Timestamp of the oldest event, in nanoseconds since the Unix epoch.
    pub from_ns: Option<i64>,
    /// Timestamp of the newest event, in nanoseconds since the Unix epoch.
    pub to_ns: Option<i64>,
    /// Total size of all columns as stored.
    pub stored_bytes: u64,
    /// Total size of all columns before compression.
    pub plain_bytes: u64,
    /// Physical names of the attributes in the overflow; `None` if there are too many to list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Vec<String>>,
    /// The leaves of all columns, in order.
    pub columns: Vec<StoredColumn>,
}

/// A column, or one leaf of a nested one.
#[derive(Debug, Clone, Serialize)]
pub struct StoredColumn {
    /// Physical name; for a nested column, the path of the leaf.
    pub column: String,
    /// Parquet's physical type, then the logical type if there is one.
    pub r#type: String,
    /// Parquet encodings used.
    pub encodings: Vec<String>,
    /// Compression codec of its pages.
    pub compression: String,
    /// Offset in the object, in bytes.
    pub offset: u64,
    /// Size as stored.
    pub bytes: u64,
    /// Size before compression.
    pub plain_bytes: u64,
    /// Number of data pages, if the offset index lists them.
    pub pages: Option<usize>,
    /// Number of nulls, if the statistics have it.
    pub nulls: Option<u64>,
    /// Smallest value, if it is exact and at most 64 bytes.
    pub min: Option<Bound>,
    /// Largest value, under the same condition.
    pub max: Option<Bound>,
}

impl StoredColumn {
    /// Byte range in the object.
    pub fn place(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.bytes)
    }
}

/// Reads the footer of an object, with its page indexes.
///
/// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if it is not a Parquet file.
pub async fn footer(store: &Arc<dyn ObjectStore>, object: &ObjectMeta) -> Result<ParquetMetaData> {
    let metadata = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
    let object_bytes = Object { store: store.as_ref(), path: &object.location };
    let footer = metadata.load_and_finish(object_bytes, object.size).await?;
    check_places(&footer, object.size)?;
    Ok(footer)
}

/// Object from which parts of a footer are fetched.
struct Object<'a> {
    store: &'a dyn ObjectStore,
    path: &'a Path,
}

impl MetadataFetch for Object<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, std::result::Result<Bytes, ParquetError>> {
        let fetched = self.store.get_range(self.path, range);
        fetched.map(|bytes| bytes.map_err(|e| ParquetError::External(Box::new(e)))).boxed()
    }
}

/// Describes the contents of `footer`.
pub fn describe(footer: &ParquetMetaData) -> SegmentContent {
    let file = footer.file_metadata();
    let value = |key: &str| {
        let pairs = file.key_value_metadata().into_iter().flatten();
        pairs.filter(|pair| pair.key == key).find_map(|pair| pair.value.clone())
    };
    let known = SegmentColumns::from_footer(footer);
    let pages = footer.offset_index().and_then(|groups| groups.first());
    let leaves = footer.row_groups().iter().flat_map(RowGroupMetaData::columns).enumerate();
    let columns: Vec<StoredColumn> = leaves
        .map(|(i, leaf)| {
            let pages = pages.and_then(|leaves| Some(leaves.get(i)?.page_locations().len()));
            stored(leaf, pages, &known)
        })
        .collect();
    let (from_ns, to_ns) = match known.get(column::TIMESTAMP).and_then(|column| column.bounds.as_ref()) {
        Some((Bound::Int(from_ns), Bound::Int(to_ns))) => (Some(*from_ns), Some(*to_ns)),
        _ => (None, None),
    };
    SegmentContent {
        segment: value(ID_KEY),
        format: value(FORMAT_KEY),
        created_by: file.created_by().map(str::to_owned),
        rows: file.num_rows() as u64,
        from_ns,
        to_ns,
        stored_bytes: columns.iter().map(|column| column.bytes).sum(),
        plain_bytes: columns.iter().map(|column| column.plain_bytes).sum(),
        overflow: known.overflow,
        columns,
    }
}

fn stored(leaf: &ColumnChunkMetaData, pages: Option<usize>, known: &SegmentColumns) -> StoredColumn {
    let path = leaf.column_path().parts();
    let bounds = known.get(&path[0]).filter(|_| path.len() == 1).and_then(|column| column.bounds.clone());
    let (min, max) = bounds.unzip();
    let physical = leaf.column_type();
    let r#type = match leaf.column_descr().logical_type_ref() {
        Some(logical) => {
            let logical = format!("{logical:?}");
            // Without the fields: `Timestamp { … }`.
            let name = logical.split([' ', '(', '{']).next().unwrap_or_default();
            format!("{physical} {}", name.to_uppercase())
        }
        None => physical.to_string(),
    };
    let compression = format!("{:?}", leaf.compression());
    let (offset, bytes) = leaf.byte_range();
    StoredColumn {
        column: path.join("."),
        r#type,
        encodings: leaf.encodings().map(|encoding| encoding.to_string()).collect(),
        compression: compression.split('(').next().unwrap_or_default().to_owned(),
        offset,
        bytes,
        plain_bytes: leaf.uncompressed_size() as u64,
        pages,
        nulls: leaf.statistics().and_then(Statistics::null_count_opt),
        min,
        max,
    }
}

/// Contents of a mask.
#[derive(Debug, Clone, Serialize)]
pub struct MaskContent {
    /// Id of the masked segment, from the file's name.
    pub segment: Option<String>,
    /// Number of deleted rows.
    pub rows: u64,
    /// Deleted rows as ranges of adjacent rows.
    pub ranges: Vec<RowRange>,
}

/// A range of adjacent rows.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RowRange {
    /// First row.
    pub first: u32,
    /// Last row, inclusive.
    pub last: u32,
}

/// Reads the mask `bytes`, stored under `path`.
///
/// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if it is damaged.
pub fn mask(path: &str, bytes: &Bytes) -> Result<MaskContent> {
    let rows = mask::parse(bytes)?;
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let mut each = rows.iter();
    let ranges = std::iter::from_fn(|| each.next_range());
    let ranges = ranges.map(|range| RowRange { first: *range.start(), last: *range.end() }).collect();
    Ok(MaskContent { segment: name.split('.').next().map(str::to_owned), rows: rows.len(), ranges })
}
