//! How are tables (Parquet, Arrow) read, batch by batch?

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::schema::types::SchemaDescriptor;

use super::source::{Chunk, Payload, Plan, at};
use crate::error::{Error, Result, contained};
use crate::event::ipc::BatchReader;
use crate::ingest::sniff::Layout;

/// Length of the prefix of an Arrow IPC file: `ARROW1` and two bytes of padding.
const ARROW_MAGIC_BYTES: usize = 8;

/// Most bytes that the compressed buffers of a batch in an Arrow IPC file may decompress to.
const ARROW_PLAIN_BYTES_MAX: u64 = 1 << 30;

/// Rows of a table decoded at once.
const TABLE_ROWS: usize = 8192;

/// Reads a table batch by batch; returns the number of rows.
pub(super) fn rows(
    reader: impl Read,
    path: Option<&Path>,
    plan: &Arc<Plan>,
    take: &mut impl FnMut(Chunk) -> bool,
) -> Result<u64> {
    let invalid = |e: &dyn std::fmt::Display| Error::invalid(format!("{}: {e}", plan.layout.name()));
    match plan.layout {
        Layout::Parquet => {
            let file = seekable(reader, path)?;
            let batches = contained(|| ParquetBatches::open(&file).map_err(|e| invalid(&e)))?;
            give_rows(batches, plan, take)
        }
        Layout::ArrowFile => {
            let mut file = BufReader::new(reader);
            file.read_exact(&mut [0; ARROW_MAGIC_BYTES])?;
            give_rows(BatchReader::new(file, ARROW_PLAIN_BYTES_MAX), plan, take)
        }
        _ => give_rows(BatchReader::new(BufReader::new(reader), ARROW_PLAIN_BYTES_MAX), plan, take),
    }
}

/// Returns a file with the bytes of `reader`: the original, or a temporary copy if that is compressed or a pipe.
fn seekable(mut reader: impl Read, path: Option<&Path>) -> Result<File> {
    if let Some(path) = path {
        let mut file = File::open(path)?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic)?;
        if &magic == b"PAR1" {
            file.seek(SeekFrom::Start(0))?;
            return Ok(file);
        }
    }
    let mut copy = tempfile::tempfile()?;
    std::io::copy(&mut reader, &mut copy)?;
    copy.seek(SeekFrom::Start(0))?;
    Ok(copy)
}

fn give_rows<E: std::fmt::Display>(
    mut batches: impl Iterator<Item = Result<RecordBatch, E>>,
    plan: &Arc<Plan>,
    take: &mut impl FnMut(Chunk) -> bool,
) -> Result<u64> {
    let mut before = 0;
    while let Some(batch) = contained(|| Ok(batches.next())).map_err(|e| at(plan, before, e))? {
        let batch = batch.map_err(|e| at(plan, before, Error::invalid(e.to_string())))?;
        for start in (0..batch.num_rows()).step_by(TABLE_ROWS) {
            let part = batch.slice(start, TABLE_ROWS.min(batch.num_rows() - start));
            let behind = before + part.num_rows() as u64;
            if !take(Chunk { plan: Arc::clone(plan), payload: Payload::Rows(part), before, behind }) {
                return Ok(behind);
            }
            before = behind;
        }
    }
    Ok(before)
}

/// Reader of a Parquet file's rows.
///
/// Times of the old type INT96 have a larger range than 64 bits of nanoseconds, and the reader wraps those beyond it to
/// another year. So columns with such times are read twice: as nanoseconds, and as microseconds, which cover every
/// year. If a batch contains a time out of range, its column is the one in microseconds, and a decoder that needs a
/// time rejects the value.
struct ParquetBatches {
    batches: ParquetRecordBatchReader,
    /// Second reader of the columns with INT96 times, in microseconds, and the indexes of these columns.
    in_micros: Option<(ParquetRecordBatchReader, Vec<usize>)>,
}

impl ParquetBatches {
    fn open(file: &File) -> Result<Self, ParquetError> {
        let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::default())?;
        let reader = |metadata, columns: Option<ProjectionMask>| {
            let table = ParquetRecordBatchReaderBuilder::new_with_metadata(file.try_clone()?, metadata);
            let table = table.with_batch_size(TABLE_ROWS);
            columns.into_iter().fold(table, ParquetRecordBatchReaderBuilder::with_projection).build()
        };
        let (schema, columns) = in_micros(metadata.schema(), metadata.parquet_schema());
        let in_micros = if columns.is_empty() {
            None
        } else {
            let options = ArrowReaderOptions::new().with_schema(schema);
            let hinted = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?;
            let mask = ProjectionMask::roots(hinted.parquet_schema(), columns.iter().copied());
            Some((reader(hinted, Some(mask))?, columns))
        };
        Ok(Self { batches: reader(metadata, None)?, in_micros })
    }
}

impl Iterator for ParquetBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let broken = |e: arrow::error::ArrowError| Error::invalid(e.to_string()).with_source(e);
        let batch = match self.batches.next()? {
            Ok(batch) => batch,
            Err(e) => return Some(Err(broken(e))),
        };
        let Some((in_micros, columns)) = &mut self.in_micros else { return Some(Ok(batch)) };
        let micros = match in_micros.next() {
            Some(Ok(micros)) if micros.num_rows() == batch.num_rows() => micros,
            Some(Err(e)) => return Some(Err(broken(e))),
            _ => return Some(Err(Error::invalid("the columns have different numbers of rows"))),
        };
        Some(without_wrapped(&batch, &micros, columns).map_err(broken))
    }
}

/// Returns the schema with microseconds for INT96 times, and the indexes of the columns that have them.
fn in_micros(schema: &SchemaRef, parquet: &SchemaDescriptor) -> (SchemaRef, Vec<usize>) {
    let mut leaves = parquet.columns().iter().map(|leaf| leaf.physical_type() == PhysicalType::INT96);
    let fields: Vec<_> = schema.fields().iter().map(|field| field_in_micros(field, &mut leaves)).collect();
    let changed = |(_, (new, old)): &(usize, (&FieldRef, &FieldRef))| new.data_type() != old.data_type();
    let columns = fields.iter().zip(schema.fields()).enumerate().filter(changed).map(|(i, _)| i).collect();
    (Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())), columns)
}

/// Returns the field with microseconds for INT96 times; `leaves` yields for each primitive field, in order, whether it
/// is INT96.
fn field_in_micros(field: &FieldRef, leaves: &mut impl Iterator<Item = bool>) -> FieldRef {
    let inner = |inner: &FieldRef, leaves: &mut _| field_in_micros(inner, leaves);
    let ty = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|f| inner(f, leaves)).collect()),
        DataType::List(item) => DataType::List(inner(item, leaves)),
        DataType::LargeList(item) => DataType::LargeList(inner(item, leaves)),
        DataType::FixedSizeList(item, n) => DataType::FixedSizeList(inner(item, leaves), *n),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries, leaves), *sorted),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) if leaves.next() == Some(true) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => return Arc::clone(field),
        _ => {
            leaves.next();
            return Arc::clone(field);
        }
    };
    Arc::new(Field::clone(field).with_data_type(ty))
}

/// Replaces the columns of `batch` that contain a time out of the range of nanoseconds by those of `micros`.
fn without_wrapped(
    batch: &RecordBatch,
    micros: &RecordBatch,
    columns: &[usize],
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut fields: Vec<_> = batch.schema_ref().fields().iter().cloned().collect();
    let mut arrays = batch.columns().to_vec();
    for ((i, array), field) in columns.iter().zip(micros.columns()).zip(micros.schema_ref().fields()) {
        if is_far(array) {
            arrays[*i] = Arc::clone(array);
            fields[*i] = Arc::clone(field);
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

/// True if a time in the array, at any depth, is out of the range of nanoseconds.
fn is_far(array: &ArrayRef) -> bool {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            times.iter().flatten().any(|micros| micros.checked_mul(1_000).is_none())
        }
        DataType::Struct(_) => array.as_struct().columns().iter().any(is_far),
        DataType::List(_) => is_far(array.as_list::<i32>().values()),
        DataType::LargeList(_) => is_far(array.as_list::<i64>().values()),
        DataType::FixedSizeList(..) => is_far(array.as_fixed_size_list().values()),
        DataType::Map(..) => array.as_map().entries().columns().iter().any(is_far),
        _ => false,
    }
}
