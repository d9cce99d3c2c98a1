//! How is a segment read one column at a time?
//!
//! For compaction, which must never have a wide segment in memory: only the footer and the requested column
//! are fetched and decoded. Everything here blocks; the encoding threads call it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericByteViewArray, ListArray, RecordBatch, StructArray, new_empty_array,
};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::compute::{cast, concat};
use arrow::datatypes::{ByteViewType, DataType, Field, Fields, Schema, TimestampNanosecondType};
use bytes::{Buf, Bytes};
use futures::executor::block_on;
use object_store::path::Path;
use object_store::{GetOptions, GetResultPayload, ObjectStore};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader,
    RowGroupMetaData,
};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use parquet::schema::types::{SchemaDescriptor, Type};
use roaring::RoaringBitmap;
use tokio::runtime::Handle;

use super::columns::attribute_type;
use super::mask::deleted_rows;
use super::meta::SegmentMeta;
use super::writer::ROWS_MAX;
use crate::error::{Error, Result, contained};
use crate::event::schema::column;
use crate::event::{AttributeKey, AttributeType, schema};

/// Largest object, in bytes, that is fetched in one request and kept. It has a few kilobytes per column, so one
/// request per column would take longer.
pub(super) const WHOLE_BYTES_MAX: u64 = 512 << 10;
/// Bytes first read from an object's end: most footers fit.
const FOOTER_BYTES: u64 = 64 << 10;

/// Reads objects from threads that may block.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    runtime: Handle,
}

impl Objects {
    /// Reads from `store` on the current runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, runtime: Handle::current() }
    }

    fn deleted(&self, segment: &SegmentMeta) -> Result<Option<RoaringBitmap>> {
        self.runtime.block_on(deleted_rows(&self.store, segment))
    }

    fn range(&self, path: &Path, range: Range<u64>) -> Result<Bytes> {
        let expected = range.end.saturating_sub(range.start);
        let options = GetOptions::new().with_range(Some(range.clone()));
        let found = self.runtime.block_on(self.store.get_opts(path, options))?;
        // This thread reads files itself and soon frees the bytes. If a thread of the runtime read them, the allocator
        // would keep the memory for that thread: successive merges left up to 50 MiB in each idle thread.
        let bytes = match &found.payload {
            GetResultPayload::File(..) => block_on(found.bytes()),
            GetResultPayload::Stream(_) => self.runtime.block_on(found.bytes()),
        }?;
        // A store returns fewer bytes if the object is shorter.
        if bytes.len() as u64 != expected {
            let (at, found) = (range.start, bytes.len());
            return Err(Error::corrupt(format!("{path}: expected {expected} bytes at {at}, found {found}")));
        }
        Ok(bytes)
    }
}

/// One column of an opened segment.
#[derive(Debug)]
pub(super) struct SegmentColumn {
    /// Type of the attribute; `None` for core columns and the overflow.
    pub(super) attribute: Option<(AttributeKey, AttributeType)>,
    /// Rows that have a value; for nested columns, all rows.
    pub(super) values: usize,
    /// Position among the columns of the file.
    root: usize,
    /// Positions of its leaves among all leaves.
    leaves: Range<usize>,
}

/// An opened segment. Only rows that are not deleted count as its rows.
#[derive(Debug)]
pub(super) struct SegmentReader {
    objects: Objects,
    path: Path,
    /// The whole object, if it is small.
    object: Option<Bytes>,
    footer: ParquetMetaData,
    columns: HashMap<String, SegmentColumn>,
    /// Rows of the object, deleted ones included.
    rows: usize,
    /// Positions in the object of the rows that are not deleted; `None` if no row is deleted.
    live: Option<RoaringBitmap>,
}

impl SegmentReader {
    /// Reads the footer of a segment, and keeps the whole object if it is at most `whole_bytes_max` large.
    ///
    /// Fails with [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the object is not a segment.
    pub(super) fn open(objects: Objects, segment: &SegmentMeta, whole_bytes_max: u64) -> Result<Self> {
        let path = Path::from(segment.path());
        let whole = segment.bytes <= whole_bytes_max;
        let object = whole.then(|| objects.range(&path, 0..segment.bytes)).transpose()?;
        let fetch = |range: Range<u64>| match &object {
            Some(object) => Ok(object.slice(range.start as usize..range.end as usize)),
            None => objects.range(&path, range),
        };
        let footer = contained(|| footer(segment.bytes, fetch)).map_err(|e| e.context(&path))?;
        let [group] = footer.row_groups() else {
            return Err(Error::corrupt(format!("{path}: expected one row group")));
        };
        let rows = usize::try_from(group.num_rows()).ok().filter(|rows| *rows <= ROWS_MAX);
        let rows = rows.ok_or_else(|| {
            Error::corrupt(format!("{path}: expected at most {ROWS_MAX} rows, found {}", group.num_rows()))
        })?;
        let columns = columns(group);
        let live = objects.deleted(segment)?.map(|deleted| {
            let mut live = RoaringBitmap::new();
            live.insert_range(0..rows as u32);
            live - deleted
        });
        Ok(Self { objects, path, object, footer, columns, rows, live })
    }

    /// Bytes of the object kept in memory.
    pub(super) fn kept(&self) -> u64 {
        self.object.as_ref().map_or(0, |object| object.len() as u64)
    }

    /// Number of events that are not deleted.
    pub(super) fn rows(&self) -> usize {
        self.live.as_ref().map_or(self.rows, |live| live.len() as usize)
    }

    /// Number of events, deleted ones included. [`SegmentColumn::values`] counts among these.
    pub(super) fn rows_with_deleted(&self) -> usize {
        self.rows
    }

    /// All columns by physical name, in no particular order.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, &SegmentColumn)> {
        self.columns.iter().map(|(name, column)| (name.as_str(), column))
    }

    /// Path of the object.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Parquet footer of the object.
    pub(super) fn footer(&self) -> &ParquetMetaData {
        &self.footer
    }

    /// Byte range of a column in the object; empty if there is no such column.
    pub(super) fn bytes_of(&self, name: &str) -> Range<u64> {
        self.columns.get(name).map_or(0..0, |column| self.byte_range(column))
    }

    /// Reads all values of the column `name`, in their stored type.
    pub(super) fn read_as_stored(&self, name: &str) -> Result<ArrayRef> {
        let column = self.columns.get(name);
        let column =
            column.ok_or_else(|| Error::internal(format!("{} has no column {name:?}", self.path)))?;
        self.decode(column, 0..self.rows())
    }

    /// Type of the attribute values in the column with this physical name.
    pub(super) fn attribute_type(&self, name: &str) -> Option<AttributeType> {
        self.columns.get(name)?.attribute.as_ref().map(|(_, ty)| *ty)
    }

    /// Reads all timestamps, and checks that they descend.
    pub(super) fn timestamps(&self) -> Result<ScalarBuffer<i64>> {
        let times = self.read(column::TIMESTAMP, 0..self.rows(), &schema::timestamp_type())?;
        let times =
            times.ok_or_else(|| Error::corrupt(format!("{}: it has no column of timestamps", self.path)))?;
        let times = times.as_primitive::<TimestampNanosecondType>();
        if times.null_count() > 0 || times.values().windows(2).any(|pair| pair[0] < pair[1]) {
            return Err(Error::corrupt(format!("{}: the events are not newest first", self.path)));
        }
        Ok(times.values().clone())
    }

    /// Reads the values of a column in a range of rows, as `ty`; `None` if there is no such column.
    ///
    /// Fetches and decodes the column up to the end of the range.
    pub(super) fn read(&self, name: &str, rows: Range<usize>, ty: &DataType) -> Result<Option<ArrayRef>> {
        let Some(column) = self.columns.get(name) else { return Ok(None) };
        if rows.is_empty() {
            return Ok(Some(new_empty_array(ty)));
        }
        let array = self.decode(column, rows).map_err(|e| e.context(format!("{}, {name:?}", self.path)))?;
        if array.data_type() == ty { Ok(Some(array)) } else { Ok(Some(cast(&array, ty)?)) }
    }

    fn decode(&self, column: &SegmentColumn, rows: Range<usize>) -> Result<ArrayRef> {
        contained(|| self.decode_column(column, rows))
    }

    fn decode_column(&self, column: &SegmentColumn, rows: Range<usize>) -> Result<ArrayRef> {
        let metadata = Arc::new(narrow(&self.footer, column)?);
        let inferred = ArrowReaderMetadata::try_new(Arc::clone(&metadata), ArrowReaderOptions::new())?;
        let schema = Arc::new(Schema::new(as_views(inferred.schema().fields())));
        let options = ArrowReaderOptions::new().with_schema(schema);
        let metadata = ArrowReaderMetadata::try_new(metadata, options)?;
        let selection = self.selection(&rows);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.chunk(column)?, metadata)
            .with_batch_size(rows.len())
            .with_row_selection(selection)
            .build()?;
        let batches = reader.collect::<std::result::Result<Vec<RecordBatch>, _>>()?;
        let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(0).as_ref()).collect();
        let array = match batches.as_slice() {
            [only] => Arc::clone(only.column(0)),
            _ => concat(&arrays)?,
        };
        if array.len() == rows.len() {
            Ok(without_pages(array))
        } else {
            Err(Error::corrupt(format!("expected {} values, found {}", rows.len(), array.len())))
        }
    }

    /// Selects the rows of the object that correspond to `rows`, which skip deleted ones.
    fn selection(&self, rows: &Range<usize>) -> RowSelection {
        let Some(live) = &self.live else {
            return RowSelection::from(vec![RowSelector::skip(rows.start), RowSelector::select(rows.len())]);
        };
        let place = |row: usize| live.select(row as u32).unwrap_or(u32::MAX);
        let mut places = live.range(place(rows.start)..=place(rows.end - 1));
        let ranges = std::iter::from_fn(|| {
            places.next_range().map(|range| *range.start() as usize..*range.end() as usize + 1)
        });
        let last = place(rows.end - 1) as usize + 1;
        // The iterator may return all of a range that extends beyond the end.
        let ranges = ranges.map(|range| range.start..range.end.min(last)).collect::<Vec<_>>();
        RowSelection::from_consecutive_ranges(ranges.into_iter(), self.rows)
    }

    fn byte_range(&self, column: &SegmentColumn) -> Range<u64> {
        let ranges = self.footer.row_group(0).columns()[column.leaves.clone()].iter().map(|leaf| {
            // Parquet's own function panics if they are negative.
            let start = leaf.dictionary_page_offset().unwrap_or(leaf.data_page_offset());
            let [start, len] = [start, leaf.compressed_size()].map(|n| u64::try_from(n).unwrap_or(0));
            start..start.saturating_add(len)
        });
        ranges.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0)
    }

    /// Fetches the bytes of a column.
    fn chunk(&self, column: &SegmentColumn) -> Result<Chunk> {
        if let Some(object) = &self.object {
            return Ok(Chunk { start: 0, bytes: object.clone() });
        }
        let range = self.byte_range(column);
        Ok(Chunk { start: range.start, bytes: self.objects.range(&self.path, range)? })
    }
}

/// Reads the footer of an object of `size` bytes.
fn footer(size: u64, fetch: impl Fn(Range<u64>) -> Result<Bytes>) -> Result<ParquetMetaData> {
    let mut tail = FOOTER_BYTES.min(size);
    loop {
        let bytes = fetch(size - tail..size)?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&bytes, size) {
            Ok(()) => return Ok(reader.finish()?),
            Err(ParquetError::NeedMoreData(needed)) if (tail..=size).contains(&(needed as u64)) => {
                tail = needed as u64;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn columns(group: &RowGroupMetaData) -> HashMap<String, SegmentColumn> {
    let mut columns: HashMap<String, SegmentColumn> = HashMap::new();
    let rows = group.num_rows() as usize;
    for (i, leaf) in group.columns().iter().enumerate() {
        let [name, nested @ ..] = leaf.column_path().parts() else { continue };
        let root = columns.len();
        let found = columns.entry(name.clone()).or_insert_with(|| SegmentColumn {
            attribute: AttributeKey::from_physical_name(name).map(|key| (key, attribute_type(leaf))),
            values: if nested.is_empty() { rows - nulls(leaf).min(rows) } else { rows },
            root,
            leaves: i..i,
        });
        found.leaves.end = i + 1;
    }
    columns
}

fn nulls(leaf: &ColumnChunkMetaData) -> usize {
    leaf.statistics().and_then(Statistics::null_count_opt).unwrap_or(0) as usize
}

/// Returns `footer` with only one column.
fn narrow(
    footer: &ParquetMetaData,
    column: &SegmentColumn,
) -> std::result::Result<ParquetMetaData, ParquetError> {
    let file = footer.file_metadata();
    let field = Arc::clone(&file.schema_descr().root_schema().get_fields()[column.root]);
    let root = Type::group_type_builder("schema").with_fields(vec![field]).build()?;
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(root)));
    let group = footer.row_group(0);
    let group = RowGroupMetaData::builder(Arc::clone(&schema))
        .set_num_rows(group.num_rows())
        .set_column_metadata(group.columns()[column.leaves.clone()].to_vec())
        .build()?;
    let file = FileMetaData::new(file.version(), file.num_rows(), None, None, schema, None);
    Ok(ParquetMetaDataBuilder::new(file).set_row_groups(vec![group]).build())
}

/// Changes text and bytes to view types, which Broadloom uses throughout.
fn as_views(fields: &Fields) -> Fields {
    let view = |field: &Field| field.clone().with_data_type(as_view(field.data_type()));
    fields.iter().map(|field| view(field)).collect()
}

fn as_view(ty: &DataType) -> DataType {
    match ty {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        DataType::List(item) => {
            DataType::List(Arc::new(item.as_ref().clone().with_data_type(as_view(item.data_type()))))
        }
        DataType::Struct(fields) => DataType::Struct(as_views(fields)),
        other => other.clone(),
    }
}

/// Copies the array's texts out of the pages it was decoded from, if it uses less than half of them: otherwise a
/// slice of a few rows would keep megabytes, and a merge has hundreds of slices.
fn without_pages(array: ArrayRef) -> ArrayRef {
    // Texts of a dictionary are used many times, and each use would be copied.
    fn wastes<V: ByteViewType>(views: &GenericByteViewArray<V>) -> bool {
        let kept: usize = views.data_buffers().iter().map(Buffer::len).sum();
        kept / 2 > views.total_buffer_bytes_used()
    }
    match array.data_type() {
        DataType::Utf8View if wastes(array.as_string_view()) => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView if wastes(array.as_binary_view()) => Arc::new(array.as_binary_view().gc()),
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let values = without_pages(Arc::clone(list.values()));
            let nulls = list.nulls().cloned();
            Arc::new(ListArray::new(Arc::clone(item), list.offsets().clone(), values, nulls))
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            let values = array.as_struct();
            let columns = values.columns().iter().map(|column| without_pages(Arc::clone(column))).collect();
            Arc::new(StructArray::new(fields.clone(), columns, values.nulls().cloned()))
        }
        _ => array,
    }
}

/// A range of an object's bytes, addressed by offset in the object.
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Chunk {
    fn from(&self, start: u64) -> std::result::Result<Bytes, ParquetError> {
        let skip = start.checked_sub(self.start).filter(|skip| *skip <= self.bytes.len() as u64);
        let skip = skip.ok_or_else(|| ParquetError::EOF(format!("offset {start} is outside the column")))?;
        Ok(self.bytes.slice(skip as usize..))
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> std::result::Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> std::result::Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} extend beyond the column")));
        }
        Ok(bytes.slice(..length))
    }
}
