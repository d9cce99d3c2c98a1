//! How do events become a segment object?
//!
//! Column by column, on two threads: each materialises, encodes and compresses one column of all rows, and drops
//! it before the next. So memory is about two dense columns plus the compressed output, however wide the events
//! are. The events come as batches ([`build`]) or from other segments ([`merge`](super::merge)); both are
//! [`Columns`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{FieldRef, Schema};
use bytes::Bytes;
use parking_lot::Mutex;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::file::metadata::{KeyValue, ParquetMetaData, SortingColumn};
use parquet::file::writer::SerializedFileWriter;

use super::encoding::{self, ColumnEncoding, Tuning};
use super::meta::{FORMAT, FORMAT_KEY, ID_KEY, NewSegment, SegmentId};
use super::observer::ColumnObserver;
use super::overflow;
use crate::error::{Error, Result};
use crate::event::EventBatch;
use crate::event::physical::{self, LayoutLimits, PhysicalLayout, RowOrder};
use crate::event::schema::column;

/// Most rows of a segment. A segment is one row group, and one core reads it.
pub const ROWS_MAX: usize = 1 << 20;
/// Most columns encoded at the same time; each needs the memory of a dense column.
pub(super) const THREADS_MAX: usize = 2;
/// Pages of a column sampled to decide whether compression pays.
const SAMPLE_PAGES: usize = 4;

/// A segment that is not stored yet.
#[derive(Debug)]
pub struct Built {
    /// The catalog's entry for it.
    pub segment: NewSegment,
    /// The Parquet footer, with both page indexes.
    pub footer: ParquetMetaData,
    /// The Parquet object.
    pub object: Bytes,
}

/// Events to be written as a segment: a layout of columns, and the values in the order of the segment's rows.
pub(super) trait Columns: Sync {
    /// Columns in order. Some may turn out to have no values.
    fn layout(&self) -> &PhysicalLayout;

    /// Values of the `i`th column, newest event first.
    fn column(&self, i: usize) -> Result<ArrayRef>;

    /// Physical names of the attributes that are in the overflow of some row.
    fn overflowing(&self) -> BTreeSet<String>;
}

/// Encodes the events of `batches` as the segment `id`; `observer` receives the columns that it wants.
/// CPU-bound, so not for an async thread.
///
/// # Panics
/// If there is no event, or more than [`ROWS_MAX`].
pub fn build(id: SegmentId, batches: &[Arc<EventBatch>], observer: &dyn ColumnObserver) -> Result<Built> {
    build_tuned(id, batches, observer, &Tuning::SEGMENT)
}

/// [`build`] with other settings than [`Tuning::SEGMENT`], for measurements.
#[doc(hidden)]
pub fn build_tuned(
    id: SegmentId,
    batches: &[Arc<EventBatch>],
    observer: &dyn ColumnObserver,
    tuning: &Tuning,
) -> Result<Built> {
    let timestamps: Vec<_> = batches.iter().map(|batch| physical::timestamps(batch)).collect();
    let order = RowOrder::newest_first(&timestamps);
    assert!((1..=ROWS_MAX).contains(&order.len()), "callers split and skip");
    let layout = PhysicalLayout::decide(batches, LayoutLimits::SEGMENT);
    encode(id, &Batches { parts: batches, order, layout }, observer, tuning, THREADS_MAX)
}

/// Batches of a flush or an import.
struct Batches<'a> {
    parts: &'a [Arc<EventBatch>],
    order: RowOrder,
    layout: PhysicalLayout,
}

impl Columns for Batches<'_> {
    fn layout(&self) -> &PhysicalLayout {
        &self.layout
    }

    fn column(&self, i: usize) -> Result<ArrayRef> {
        self.layout.materialize(i, self.parts, &self.order)
    }

    fn overflowing(&self) -> BTreeSet<String> {
        self.layout.overflowing(self.parts)
    }
}

/// Encodes `columns` as the segment `id`, on up to `threads` threads.
pub(super) fn encode(
    id: SegmentId,
    columns: &dyn Columns,
    observer: &dyn ColumnObserver,
    tuning: &Tuning,
    threads: usize,
) -> Result<Built> {
    let encoded = encode_columns(columns, observer, tuning, threads)?;
    assemble(id, encoded, overflow::pair(&columns.overflowing()), tuning)
}

/// A column and its chunks (several if it is nested); `None` if no row has a value.
type Encoded = Option<(FieldRef, Vec<ArrowColumnChunk>)>;

/// Encodes the columns that have values, in order.
fn encode_columns(
    columns: &dyn Columns,
    observer: &dyn ColumnObserver,
    tuning: &Tuning,
    threads: usize,
) -> Result<Vec<(FieldRef, Vec<ArrowColumnChunk>)>> {
    let count = columns.layout().columns().len();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(threads));
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Result<Encoded>>>> = Mutex::new((0..count).map(|_| None).collect());
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                return;
            }
            let encoded = encode_column(columns, i, observer, tuning);
            done.lock()[i] = Some(encoded);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut all = Vec::with_capacity(count);
    for encoded in done.into_inner() {
        all.extend(encoded.ok_or_else(|| Error::internal("a column was not encoded"))??);
    }
    Ok(all)
}

fn encode_column(
    columns: &dyn Columns,
    i: usize,
    observer: &dyn ColumnObserver,
    tuning: &Tuning,
) -> Result<Encoded> {
    let field = &columns.layout().columns()[i].field;
    let values = columns.column(i)?;
    if field.is_nullable() && values.null_count() == values.len() {
        return Ok(None);
    }
    if observer.wants(field) {
        observer.observe(field, &values);
    }
    let mut encoding = encoding::choose(field, &values, tuning);
    if !is_worth_compressing(field, &values, encoding, tuning)? {
        encoding = encoding.uncompressed();
    }
    Ok(Some((Arc::clone(field), chunks(field, &values, encoding, tuning)?)))
}

/// True if compression saves enough in a sample.
fn is_worth_compressing(
    field: &FieldRef,
    values: &ArrayRef,
    encoding: ColumnEncoding,
    tuning: &Tuning,
) -> Result<bool> {
    let sample = sample(values, tuning.page_rows)?;
    let chunks = chunks(field, &sample, encoding, tuning)?;
    let saved = |chunk: &ArrowColumnChunk| {
        let metadata = &chunk.close().metadata;
        metadata.uncompressed_size() - metadata.compressed_size()
    };
    let saved = chunks.iter().map(saved).sum::<i64>() as f64;
    let present = |values: &ArrayRef| (values.len() - values.null_count()) as f64;
    let of_all = saved * present(values) / present(&sample);
    Ok(of_all >= values.len() as f64 * tuning.compression_saves_min)
}

/// Samples pages of a column, spread evenly over its values: these may all be of one hour.
fn sample(values: &ArrayRef, page_rows: usize) -> Result<ArrayRef> {
    if values.len() <= SAMPLE_PAGES * page_rows {
        return Ok(Arc::clone(values));
    }
    let present = values.len() - values.null_count();
    let wanted: Vec<usize> = (0..SAMPLE_PAGES).map(|i| (2 * i + 1) * present / (2 * SAMPLE_PAGES)).collect();
    let of_values: Vec<usize> = match values.nulls() {
        None => wanted,
        Some(nulls) => {
            let valid = nulls.valid_indices().enumerate();
            valid.filter(|(i, _)| wanted.contains(i)).map(|(_, row)| row).collect()
        }
    };
    let mut rows: Vec<usize> = of_values.into_iter().map(|row| row - row % page_rows).collect();
    rows.dedup();
    let pages: Vec<ArrayRef> =
        rows.into_iter().map(|row| values.slice(row, page_rows.min(values.len() - row))).collect();
    let pages: Vec<&dyn Array> = pages.iter().map(AsRef::as_ref).collect();
    Ok(concat(&pages)?)
}

/// Encodes the column chunks of one column: one per leaf.
fn chunks(
    field: &FieldRef,
    values: &ArrayRef,
    encoding: ColumnEncoding,
    tuning: &Tuning,
) -> Result<Vec<ArrowColumnChunk>> {
    // A file of this one column provides a column writer with the column's own properties.
    let schema = Arc::new(Schema::new(vec![Arc::clone(field)]));
    let properties = Arc::new(encoding.properties(tuning));
    let parquet = ArrowSchemaConverter::new().convert(&schema)?;
    let file = SerializedFileWriter::new(std::io::sink(), parquet.root_schema_ptr(), properties)?;
    let mut writers = ArrowRowGroupWriterFactory::new(&file, schema).create_column_writers(0)?;
    for (leaf, writer) in compute_leaves(field, values)?.iter().zip(&mut writers) {
        writer.write(leaf)?;
    }
    writers.into_iter().map(|writer| Ok(writer.close()?)).collect()
}

/// Assembles the encoded columns into one file, in memory.
fn assemble(
    id: SegmentId,
    columns: Vec<(FieldRef, Vec<ArrowColumnChunk>)>,
    overflow: KeyValue,
    tuning: &Tuning,
) -> Result<Built> {
    let (fields, chunks): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    // Core columns of one leaf come first, so a column's position is that of its leaf.
    let sorting = fields
        .iter()
        .position(|field| field.name() == column::TIMESTAMP)
        .map(|i| vec![SortingColumn { column_idx: i as i32, descending: true, nulls_first: false }]);
    let parquet = ArrowSchemaConverter::new().convert(&Schema::new(fields))?;
    let pair = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let pairs = vec![pair(FORMAT_KEY, FORMAT.to_owned()), pair(ID_KEY, id.to_string()), overflow];
    let properties =
        tuning.properties().set_key_value_metadata(Some(pairs)).set_sorting_columns(sorting).build();
    let bytes: u64 = chunks.iter().flatten().map(|c| c.close().bytes_written).sum();
    // One kilobyte per column for indexes and footer.
    let mut object = Vec::with_capacity(bytes as usize + chunks.len() * 1024);
    let mut file = SerializedFileWriter::new(&mut object, parquet.root_schema_ptr(), Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    for chunk in chunks.into_iter().flatten() {
        chunk.append_to_row_group(&mut group)?;
    }
    group.close()?;
    let footer = file.close()?;
    let segment = NewSegment::from_footer(object.len() as u64, &footer)?;
    Ok(Built { segment, footer, object: object.into() })
}
