//! JSON, NDJSON and CSV.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Encoder, cell};
use crate::error::{Error, Result};

/// JSON objects, as an array or one per line.
pub(super) struct Json {
    schema: SchemaRef,
    /// Every key with its colon, escaped once.
    keys: Vec<String>,
    array: bool,
    first: bool,
}

impl Json {
    /// An array of objects.
    pub(super) fn array(schema: SchemaRef) -> Self {
        Self::new(schema, true)
    }

    /// An object per line.
    pub(super) fn lines(schema: SchemaRef) -> Self {
        Self::new(schema, false)
    }

    fn new(schema: SchemaRef, array: bool) -> Self {
        let keys = schema
            .fields()
            .iter()
            .map(|field| {
                let mut key = String::new();
                cell::write_json_text(&mut key, field.name());
                key.push(':');
                key
            })
            .collect();
        Self { schema, keys, array, first: true }
    }
}

impl Encoder for Json {
    fn start(&mut self) -> Result<Vec<u8>> {
        Ok(if self.array { b"[".to_vec() } else { Vec::new() })
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        let mut out = String::with_capacity(batch.num_rows() * 64);
        for row in 0..batch.num_rows() {
            if self.array {
                out.push_str(if self.first { "\n" } else { ",\n" });
                self.first = false;
            }
            out.push('{');
            for (i, (key, field)) in self.keys.iter().zip(self.schema.fields()).enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(key);
                cell::write_json(&mut out, batch.column(i), row, field)?;
            }
            out.push('}');
            if !self.array {
                out.push('\n');
            }
        }
        Ok(out.into_bytes())
    }

    fn finish(&mut self) -> Result<Vec<u8>> {
        Ok(match (self.array, self.first) {
            (false, _) => Vec::new(),
            (true, true) => b"]\n".to_vec(),
            (true, false) => b"\n]\n".to_vec(),
        })
    }
}

/// Comma-separated values.
pub(super) struct Csv {
    schema: SchemaRef,
}

impl Csv {
    /// Creates an encoder that writes a header first.
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

fn csv_error(e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("writing CSV failed").with_source(e)
}

impl Encoder for Csv {
    fn start(&mut self) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(self.schema.fields().iter().map(|f| f.name())).map_err(csv_error)?;
        writer.into_inner().map_err(|e| csv_error(e.into_error()))
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::with_capacity(batch.num_rows() * 32));
        for row in 0..batch.num_rows() {
            for (column, field) in batch.columns().iter().zip(self.schema.fields()) {
                writer.write_field(cell::display(column, row, field)?).map_err(csv_error)?;
            }
            writer.write_record(None::<&[u8]>).map_err(csv_error)?;
        }
        writer.into_inner().map_err(|e| csv_error(e.into_error()))
    }
}
