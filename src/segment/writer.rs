//! How do batches become a segment object?
//!
//! Column by column: one column of all rows is [materialised](crate::event::physical), encoded,
//! compressed and dropped before the next one, by two threads. So memory is about two dense columns plus
//! the compressed output, however wide the events are.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::AsArray;
use arrow::datatypes::{Schema, TimestampNanosecondType};
use bytes::Bytes;
use parking_lot::Mutex;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::writer::SerializedFileWriter;

use super::columns::{OVERFLOW_KEY, overflow_keys};
use super::encoding;
use super::meta::{FORMAT, FORMAT_KEY, ID_KEY, NewSegment, SegmentId};
use super::observer::ColumnObserver;
use crate::error::{Error, Result};
use crate::event::EventBatch;
use crate::event::physical::{LayoutLimits, PhysicalLayout, RowOrder};
use crate::event::schema::column;

/// Most rows of a segment: one row group each, and one core reads it.
pub const ROWS_MAX: usize = 1 << 20;
/// Columns that are encoded at the same time; each costs the memory of a dense column.
const THREADS_MAX: usize = 2;

/// A segment that is not stored yet.
#[derive(Debug)]
pub struct Built {
    /// What the catalog will know of it.
    pub segment: NewSegment,
    /// The Parquet object.
    pub object: Bytes,
}

/// Encodes the events of `batches` as the segment `id`; `observer` sees the columns that it wants. CPU-bound, so not for an async thread.
///
/// # Panics
/// When there is no event or more than [`ROWS_MAX`].
pub fn build(id: SegmentId, batches: &[Arc<EventBatch>], observer: &dyn ColumnObserver) -> Result<Built> {
    let order = newest_first(batches);
    assert!((1..=ROWS_MAX).contains(&order.len()), "callers split and skip");
    let layout = PhysicalLayout::decide(batches, LayoutLimits::SEGMENT);
    let chunks = encode_columns(&layout, batches, &order, observer)?;
    assemble(id, &layout, chunks, overflow_keys(layout.overflowing(batches)))
}

/// Rows by descending timestamp; the sort is stable, so ties keep the order of arrival.
fn newest_first(batches: &[Arc<EventBatch>]) -> RowOrder {
    let mut rows: Vec<(i64, u32, u32)> = Vec::with_capacity(batches.iter().map(|b| b.rows()).sum());
    for (b, batch) in batches.iter().enumerate() {
        if let Some(timestamps) = batch.core().column_by_name(column::TIMESTAMP) {
            let timestamps = timestamps.as_primitive::<TimestampNanosecondType>().values().iter();
            rows.extend(timestamps.enumerate().map(|(row, ts)| (*ts, b as u32, row as u32)));
        }
    }
    rows.sort_by_key(|(ts, ..)| Reverse(*ts));
    let rows: Vec<_> = rows.into_iter().map(|(_, batch, row)| (batch, row)).collect();
    RowOrder::new(batches, &rows)
}

type Encoded = Result<Vec<ArrowColumnChunk>>;

/// The chunks of every column, in order. A nested column has several.
fn encode_columns(
    layout: &PhysicalLayout,
    batches: &[Arc<EventBatch>],
    order: &RowOrder,
    observer: &dyn ColumnObserver,
) -> Encoded {
    let count = layout.columns().len();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS_MAX));
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Encoded>>> = Mutex::new((0..count).map(|_| None).collect());
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                return;
            }
            let encoded = encode_column(layout, i, batches, order, observer);
            done.lock()[i] = Some(encoded);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut chunks = Vec::with_capacity(count);
    for encoded in done.into_inner() {
        chunks.append(&mut encoded.ok_or_else(|| Error::internal("a column was not encoded"))??);
    }
    Ok(chunks)
}

fn encode_column(
    layout: &PhysicalLayout,
    i: usize,
    batches: &[Arc<EventBatch>],
    order: &RowOrder,
    observer: &dyn ColumnObserver,
) -> Encoded {
    let field = &layout.columns()[i].field;
    let values = layout.materialize(i, batches, order)?;
    if observer.wants(field) {
        observer.observe(field, &values);
    }
    // A file of this one column gives us a column writer with the column's own properties.
    let schema = Arc::new(Schema::new(vec![Arc::clone(field)]));
    let properties = Arc::new(encoding::choose(field, &values).properties());
    let parquet = ArrowSchemaConverter::new().convert(&schema)?;
    let file = SerializedFileWriter::new(std::io::sink(), parquet.root_schema_ptr(), properties)?;
    let mut writers = ArrowRowGroupWriterFactory::new(&file, schema).create_column_writers(0)?;
    for (leaf, writer) in compute_leaves(field, &values)?.iter().zip(&mut writers) {
        writer.write(leaf)?;
    }
    writers.into_iter().map(|writer| Ok(writer.close()?)).collect()
}

/// Puts the encoded columns into one file, in memory.
fn assemble(
    id: SegmentId,
    layout: &PhysicalLayout,
    chunks: Vec<ArrowColumnChunk>,
    overflow: Option<String>,
) -> Result<Built> {
    let parquet = ArrowSchemaConverter::new().convert(&layout.schema())?;
    let pair = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let sorting = layout.index_of(column::TIMESTAMP).map(|i| {
        // Core columns of one leaf come first, so the position of the column is that of the leaf.
        vec![SortingColumn { column_idx: i as i32, descending: true, nulls_first: false }]
    });
    let mut pairs = vec![pair(FORMAT_KEY, FORMAT.to_owned()), pair(ID_KEY, id.to_string())];
    pairs.extend(overflow.map(|keys| pair(OVERFLOW_KEY, keys)));
    let properties =
        encoding::base_properties().set_key_value_metadata(Some(pairs)).set_sorting_columns(sorting).build();
    let bytes: u64 = chunks.iter().map(|c| c.close().bytes_written).sum();
    // A kilobyte of indexes and footer a column.
    let mut object = Vec::with_capacity(bytes as usize + chunks.len() * 1024);
    let mut file = SerializedFileWriter::new(&mut object, parquet.root_schema_ptr(), Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    for chunk in chunks {
        chunk.append_to_row_group(&mut group)?;
    }
    group.close()?;
    let footer = file.close()?;
    let segment = NewSegment::from_footer(object.len() as u64, &footer)?;
    Ok(Built { segment, object: object.into() })
}
