//! Arrow's IPC stream, out of bytes that nobody vouches for.
//!
//! Arrow's own readers make room for as many bytes as a message announces before they look whether there are as
//! many, and panic where parts of a message do not fit. So a message is read as far as it goes, then checked,
//! and only then decoded:
//!
//! ```text
//! stream  = message* [0xFFFFFFFF 0:u32]
//! message = [0xFFFFFFFF] length:u32 metadata[length] body      the metadata says how long the body is
//! ```
//!
//! The file format is a stream between a magic number and a footer, which is not needed:
//! <https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc>

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{read_dictionary, read_record_batch};
use arrow::ipc::{self, Message, MessageHeader};

use crate::error::{Error, Result, contained};

/// Longest metadata of a message: that of 100,000 columns is a tenth of it.
const METADATA_BYTES_MAX: u32 = 256 << 20;
/// Longest body of a message.
const BODY_BYTES_MAX: u64 = 1 << 32;
/// Room made before anything is read; more comes as there is more.
const READ_BYTES_FIRST: u64 = 64 << 10;
/// Starts a message since version 0.15 of the format.
const CONTINUATION: [u8; 4] = [0xFF; 4];
/// Rows that a batch may have though its columns have few bytes: they are of type Null, or in long runs.
const ROWS_WITHOUT_BYTES_MAX: u64 = 1 << 20;

/// The batches of a stream.
pub struct BatchReader<R> {
    reader: R,
    /// How large the buffers of one message may become when they are decompressed, together.
    plain_bytes_max: u64,
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
    done: bool,
}

impl<R: Read> BatchReader<R> {
    /// Reads from where messages begin. `plain_bytes_max` is how many bytes compressed buffers of a message may
    /// become; 0 when there must be none.
    pub fn new(reader: R, plain_bytes_max: u64) -> Self {
        Self { reader, plain_bytes_max, schema: None, dictionaries: HashMap::new(), done: false }
    }

    fn read_batch(&mut self) -> Result<Option<RecordBatch>> {
        while let Some((metadata, body)) = self.read_message()? {
            let found = contained(|| self.take(&metadata, &body))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Metadata and body of the next message; none at the end.
    fn read_message(&mut self) -> Result<Option<(Vec<u8>, Buffer)>> {
        let mut length = self.read(4)?;
        if length == CONTINUATION {
            length = self.read(4)?;
        }
        let length = match length.first_chunk() {
            // Streams need no mark at their end.
            None if length.is_empty() => return Ok(None),
            Some([0, 0, 0, 0]) => return Ok(None),
            None => return Err(Error::corrupt("it ends within a message")),
            Some(length) => u32::from_le_bytes(*length),
        };
        if length > METADATA_BYTES_MAX {
            return Err(Error::corrupt(format!(
                "a message announces {length} bytes of metadata, at most {METADATA_BYTES_MAX} are read"
            )));
        }
        let metadata = self.read(u64::from(length))?;
        let announced = message(&metadata)?.bodyLength();
        let length =
            u64::try_from(announced).ok().filter(|length| *length <= BODY_BYTES_MAX).ok_or_else(|| {
                Error::corrupt(format!(
                    "a message announces {announced} bytes, at most {BODY_BYTES_MAX} are read"
                ))
            })?;
        let body = self.read(length)?;
        if body.len() as u64 != length {
            let found = body.len();
            return Err(Error::corrupt(format!(
                "it ends within a message: expected {length} bytes, found {found}"
            )));
        }
        Ok(Some((metadata, Buffer::from_vec(body))))
    }

    /// As many bytes, or as many as there are.
    fn read(&mut self, bytes: u64) -> Result<Vec<u8>> {
        let mut read = Vec::with_capacity(bytes.min(READ_BYTES_FIRST) as usize);
        self.reader.by_ref().take(bytes).read_to_end(&mut read)?;
        Ok(read)
    }

    fn take(&mut self, metadata: &[u8], body: &Buffer) -> Result<Option<RecordBatch>> {
        let message = message(metadata)?;
        let without = |what: &str| Error::corrupt(format!("a message without {what}"));
        match message.header_type() {
            MessageHeader::Schema => {
                let schema = message.header_as_schema().ok_or_else(|| without("its schema"))?;
                self.schema = Some(Arc::new(fb_to_schema(schema)));
                Ok(None)
            }
            MessageHeader::DictionaryBatch => {
                let dictionary =
                    message.header_as_dictionary_batch().ok_or_else(|| without("its dictionary"))?;
                let values = dictionary.data().ok_or_else(|| without("the values of its dictionary"))?;
                check(&values, body, self.plain_bytes_max)?;
                let (schema, version) = (self.schema()?, message.version());
                read_dictionary(body, dictionary, &schema, &mut self.dictionaries, &version)?;
                Ok(None)
            }
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch().ok_or_else(|| without("its batch"))?;
                check(&batch, body, self.plain_bytes_max)?;
                let (schema, version) = (self.schema()?, message.version());
                read_record_batch(body, batch, schema, &self.dictionaries, None, &version)
                    .map(Some)
                    .map_err(|e| Error::corrupt(e.to_string()).with_source(e))
            }
            other => Err(Error::corrupt(format!("a message of type {other:?}"))),
        }
    }

    fn schema(&self) -> Result<Arc<Schema>> {
        self.schema.clone().ok_or_else(|| Error::corrupt("values before the schema"))
    }
}

impl<R: Read> Iterator for BatchReader<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.read_batch().transpose();
        // Behind an error there is no telling where a message begins.
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

fn message(metadata: &[u8]) -> Result<Message<'_>> {
    ipc::root_as_message(metadata).map_err(|e| Error::corrupt(format!("a message that is none: {e}")))
}

/// Whether the buffers of a batch are in the body, are not too large when they are decompressed, and can be
/// those of as many rows.
fn check(batch: &ipc::RecordBatch<'_>, body: &[u8], plain_bytes_max: u64) -> Result<()> {
    let mut plain_bytes = body.len() as u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let range = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let bytes = range.and_then(|(start, length)| body.get(start..start.checked_add(length)?));
        let bytes = bytes.ok_or_else(|| {
            let (offset, length) = (buffer.offset(), buffer.length());
            Error::corrupt(format!("{length} bytes at {offset} of a body of {} bytes", body.len()))
        })?;
        if batch.compression().is_some() && !bytes.is_empty() {
            let plain = bytes.first_chunk().map(|length| i64::from_le_bytes(*length));
            // -1 is for what is not compressed.
            let plain = plain.filter(|plain| *plain >= -1);
            let plain = plain.ok_or_else(|| Error::corrupt("a compressed buffer without its length"))?;
            plain_bytes = plain_bytes.saturating_add(u64::try_from(plain).unwrap_or(0));
        }
    }
    if batch.compression().is_some() && plain_bytes > plain_bytes_max {
        return Err(Error::corrupt(format!(
            "a batch that is {plain_bytes} bytes when it is decompressed, at most {plain_bytes_max} are"
        )));
    }
    // A row takes a bit at least.
    let rows_max = plain_bytes.saturating_mul(8).max(ROWS_WITHOUT_BYTES_MAX);
    let nodes = batch.nodes().into_iter().flatten().map(ipc::FieldNode::length);
    let rows = nodes
        .chain([batch.length()])
        .find(|rows| u64::try_from(*rows).is_ok_and(|n| n > rows_max) || *rows < 0);
    rows.map_or(Ok(()), |rows| Err(Error::corrupt(format!("{rows} rows in {plain_bytes} bytes"))))
}
