//! Arrow IPC and Parquet.
//!
//! Text in memory is Utf8View, which some Arrow readers do not support yet: output uses plain strings and
//! binaries.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::Encoder;
use crate::error::{Error, Result};

/// Rows per row group of a Parquet answer; bounds the answer's memory.
const ROW_GROUP_ROWS: usize = 128 << 10;

/// Bytes that a writer has written and no chunk has taken yet.
#[derive(Debug, Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn plain_field(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(plain_type(field.data_type())))
}

fn plain_type(ty: &DataType) -> DataType {
    match ty {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(plain_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        other => other.clone(),
    }
}

fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        // The plan promises nullability, but not every batch keeps it.
        .map(|field| plain_field(field).as_ref().clone().with_nullable(true))
        .collect();
    Arc::new(Schema::new(fields))
}

fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                Ok(cast(column, field.data_type())?)
            }
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// An Arrow IPC stream.
pub(super) struct ArrowStream {
    schema: SchemaRef,
    writer: StreamWriter<Sink>,
    sink: Sink,
}

impl ArrowStream {
    /// Creates an encoder for rows of `schema`.
    pub(super) fn new(schema: &Schema) -> Result<Self> {
        let schema = plain_schema(schema);
        let sink = Sink::default();
        let writer = StreamWriter::try_new(sink.clone(), &schema)?;
        Ok(Self { schema, writer, sink })
    }
}

impl Encoder for ArrowStream {
    fn start(&mut self) -> Result<Vec<u8>> {
        Ok(self.sink.take())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        self.writer.write(&plain_batch(batch, &self.schema)?)?;
        Ok(self.sink.take())
    }

    fn finish(&mut self) -> Result<Vec<u8>> {
        self.writer.finish()?;
        Ok(self.sink.take())
    }
}

/// A Parquet file.
pub(super) struct Parquet {
    schema: SchemaRef,
    writer: Option<ArrowWriter<Sink>>,
    sink: Sink,
}

impl Parquet {
    /// Creates an encoder for rows of `schema`.
    pub(super) fn new(schema: &Schema) -> Result<Self> {
        let schema = plain_schema(schema);
        let sink = Sink::default();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(sink.clone(), Arc::clone(&schema), Some(properties))
            .map_err(|e| Error::invalid(format!("the result cannot be written as Parquet: {e}")))?;
        Ok(Self { schema, writer: Some(writer), sink })
    }
}

impl Encoder for Parquet {
    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        if let Some(writer) = &mut self.writer {
            writer.write(&plain_batch(batch, &self.schema)?)?;
        }
        Ok(self.sink.take())
    }

    fn finish(&mut self) -> Result<Vec<u8>> {
        if let Some(writer) = self.writer.take() {
            writer.close()?;
        }
        Ok(self.sink.take())
    }
}
