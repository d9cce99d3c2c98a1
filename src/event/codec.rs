//! How is an [`EventBatch`] encoded as bytes for the write-ahead log?
//!
//! All integers are little-endian. Core columns are an Arrow IPC stream of one batch. Attribute columns follow
//! separately, because each has its own number of rows, which Arrow IPC cannot express.
//!
//! ```text
//! batch  = "EVB1" core-length:u32 core:bytes columns:u32 column*
//! column = level:u8 type:u8 key-length:u32 key:utf8 count:u32 rows values
//! rows   = 0:u8                          every row has a value
//!        | 1:u8 row:u32 × count          ascending
//! values = i64 × count | f64 × count     Int, Double
//!        | u8 × count                    Bool
//!        | length:u32 × count bytes      Text, Bytes, Json
//! ```

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryViewBuilder, BooleanArray, Float64Array, Int64Array, RecordBatch,
    StringViewBuilder,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{Float64Type, Int64Type};
use arrow::ipc::writer::StreamWriter;

use super::batch::{AttributeColumn, EventBatch, check_core};
use super::ipc::BatchReader;
use super::{AttributeKey, AttributeType, Level};
use crate::error::{Error, Result};

const MAGIC: &[u8; 4] = b"EVB1";
const ALL_ROWS: u8 = 0;
const LISTED_ROWS: u8 = 1;

impl EventBatch {
    /// Encodes the batch.
    ///
    /// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a part is longer than 4 GiB.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(self.memory_bytes() / 2 + 1024);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[0; 4]);
        let mut writer = StreamWriter::try_new(&mut out, self.core().schema_ref())?;
        writer.write(self.core())?;
        writer.finish()?;
        drop(writer);
        let core_length = length(out.len() - 8)?;
        out[4..8].copy_from_slice(&core_length);
        out.extend_from_slice(&length(self.attributes().len())?);
        for column in self.attributes() {
            encode_column(&mut out, column, self.rows())?;
        }
        Ok(out)
    }

    /// Reverses [`encode`](Self::encode).
    ///
    /// Fails with [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) on other bytes; never panics.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader { bytes, offset: 0 };
        if reader.take(4)? != MAGIC {
            return Err(Error::corrupt("event batch: the first four bytes are not EVB1"));
        }
        let core_length = reader.u32()? as usize;
        let core = decode_core(reader.take(core_length)?)?;
        let columns = reader.u32()?;
        let mut attributes = Vec::new();
        for _ in 0..columns {
            attributes.push(decode_column(&mut reader, core.num_rows())?);
        }
        if reader.offset != bytes.len() {
            return Err(reader.error("the end of the batch"));
        }
        Self::new(core, attributes)
    }
}

fn length(n: usize) -> Result<[u8; 4]> {
    u32::try_from(n).map(u32::to_le_bytes).map_err(|_| {
        Error::invalid(format!(
            "a part of the event batch has {n} bytes, the limit is 4 GiB: use smaller batches"
        ))
    })
}

fn encode_column(out: &mut Vec<u8>, column: &AttributeColumn, rows: usize) -> Result<()> {
    let key = column.key();
    out.push(key.level as u8);
    out.push(column.attribute_type() as u8);
    out.extend_from_slice(&length(key.key.len())?);
    out.extend_from_slice(key.key.as_bytes());
    out.extend_from_slice(&length(column.rows().len())?);
    if column.rows().len() == rows {
        out.push(ALL_ROWS);
    } else {
        out.push(LISTED_ROWS);
        column.rows().iter().for_each(|row| out.extend_from_slice(&row.to_le_bytes()));
    }
    encode_values(out, column);
    Ok(())
}

fn encode_values(out: &mut Vec<u8>, column: &AttributeColumn) {
    let values = column.values();
    match column.attribute_type() {
        AttributeType::Int => {
            let values = values.as_primitive::<Int64Type>().values();
            values.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
        }
        AttributeType::Double => {
            let values = values.as_primitive::<Float64Type>().values();
            values.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
        }
        AttributeType::Bool => {
            out.extend(values.as_boolean().values().iter().map(u8::from));
        }
        AttributeType::Text | AttributeType::Json => {
            let values = values.as_string_view();
            for view in values.views() {
                out.extend_from_slice(&(*view as u32).to_le_bytes());
            }
            values.iter().flatten().for_each(|v| out.extend_from_slice(v.as_bytes()));
        }
        AttributeType::Bytes => {
            let values = values.as_binary_view();
            for view in values.views() {
                out.extend_from_slice(&(*view as u32).to_le_bytes());
            }
            values.iter().flatten().for_each(|v| out.extend_from_slice(v));
        }
    }
}

fn decode_core(bytes: &[u8]) -> Result<RecordBatch> {
    let batch = BatchReader::new(bytes, 0).next();
    let batch = batch.ok_or_else(|| Error::corrupt("event batch: core columns are missing"))?;
    let core = batch.map_err(|e| e.context("event batch: core columns"))?;
    // Attributes are checked against the number of rows.
    check_core(&core)?;
    Ok(core)
}

fn decode_column(reader: &mut Reader<'_>, rows: usize) -> Result<AttributeColumn> {
    let level = Level::from_code(reader.u8()?).ok_or_else(|| reader.error("a level"))?;
    let ty = AttributeType::from_code(reader.u8()?).ok_or_else(|| reader.error("a type"))?;
    let key_length = reader.u32()? as usize;
    let key = reader.utf8(key_length)?;
    let count = reader.u32()? as usize;
    if count > rows {
        return Err(reader.error("a number of values not above the number of rows"));
    }
    let numbers: ScalarBuffer<u32> = match reader.u8()? {
        ALL_ROWS if count == rows => (0..rows as u32).collect(),
        LISTED_ROWS => reader.words::<4>(count)?.map(u32::from_le_bytes).collect(),
        _ => return Err(reader.error("the row numbers of a column")),
    };
    let values = decode_values(reader, ty, count)?;
    Ok(AttributeColumn::new(AttributeKey::new(level, key), ty, numbers, values))
}

fn decode_values(reader: &mut Reader<'_>, ty: AttributeType, count: usize) -> Result<ArrayRef> {
    Ok(match ty {
        AttributeType::Int => {
            Arc::new(Int64Array::from_iter_values(reader.words(count)?.map(i64::from_le_bytes)))
        }
        AttributeType::Double => {
            Arc::new(Float64Array::from_iter_values(reader.words(count)?.map(f64::from_le_bytes)))
        }
        AttributeType::Bool => {
            Arc::new(BooleanArray::from(reader.take(count)?.iter().map(|b| *b != 0).collect::<Vec<_>>()))
        }
        AttributeType::Text | AttributeType::Json => {
            let lengths: Vec<usize> = reader.lengths(count)?;
            let mut builder = StringViewBuilder::with_capacity(count);
            for length in lengths {
                builder.append_value(reader.utf8(length)?);
            }
            Arc::new(builder.finish())
        }
        AttributeType::Bytes => {
            let lengths: Vec<usize> = reader.lengths(count)?;
            let mut builder = BinaryViewBuilder::with_capacity(count);
            for length in lengths {
                builder.append_value(reader.take(length)?);
            }
            Arc::new(builder.finish())
        }
    })
}

/// Reads from untrusted bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, expected: &str) -> Error {
        Error::corrupt(format!(
            "event batch: expected {expected} at byte {} of {}",
            self.offset,
            self.bytes.len()
        ))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.offset..];
        let taken = rest.get(..n).ok_or_else(|| self.error(&format!("{n} more bytes")))?;
        self.offset += n;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32> {
        let bytes: &[u8; 4] = self.take(4)?.try_into().map_err(|_| Error::internal("four bytes are four"))?;
        Ok(u32::from_le_bytes(*bytes))
    }

    fn utf8(&mut self, n: usize) -> Result<&'a str> {
        let bytes = self.take(n)?;
        std::str::from_utf8(bytes).map_err(|_| self.error("UTF-8 text to end"))
    }

    fn words<const N: usize>(&mut self, count: usize) -> Result<impl Iterator<Item = [u8; N]> + use<'a, N>> {
        Ok(self.take(count * N)?.as_chunks::<N>().0.iter().copied())
    }

    fn lengths(&mut self, count: usize) -> Result<Vec<usize>> {
        Ok(self.words(count)?.map(|w| u32::from_le_bytes(w) as usize).collect())
    }
}
