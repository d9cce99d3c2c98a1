//! How is Arrow's IPC stream read from untrusted bytes?
//!
//! Arrow's own readers allocate as many bytes as a message announces before they know that the message has them, and
//! panic if the parts of a message do not fit together. So a message is read as far as the bytes go, then checked,
//! and only then decoded:
//!
//! ```text
//! stream  = message* [0xFFFFFFFF 0:u32]
//! message = [0xFFFFFFFF] length:u32 metadata[length] body      the metadata has the length of the body
//! ```
//!
//! The file format is a stream between a magic number and a footer; the footer is not needed:
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

/// Longest metadata of a message, in bytes. 100,000 columns need a tenth of it.
const METADATA_BYTES_MAX: u32 = 256 << 20;
/// Longest body of a message, in bytes.
const BODY_BYTES_MAX: u64 = 1 << 32;
/// Buffer allocated before reading, in bytes; it grows with the data.
const READ_BYTES_FIRST: u64 = 64 << 10;
/// Start of a message since version 0.15 of the format.
const CONTINUATION: [u8; 4] = [0xFF; 4];
/// Most rows of a batch whose columns have few bytes, because they are of type Null or run-length encoded.
const ROWS_WITHOUT_BYTES_MAX: u64 = 1 << 20;

/// Iterator over the batches of a stream. Ends after the first error.
pub struct BatchReader<R> {
    reader: R,
    /// Most bytes of the buffers of one message together, decompressed.
    plain_bytes_max: u64,
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
    done: bool,
}

impl<R: Read> BatchReader<R> {
    /// Creates a reader; `reader` must be at the start of the messages. `plain_bytes_max` limits the decompressed size
    /// of the buffers of a message, in bytes; 0 forbids compressed buffers.
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

    /// Reads metadata and body of the next message; `None` at the end.
    fn read_message(&mut self) -> Result<Option<(Vec<u8>, Buffer)>> {
        let mut length = self.read(4)?;
        if length == CONTINUATION {
            length = self.read(4)?;
        }
        let length = match length.first_chunk() {
            // A stream may end without an end mark.
            None if length.is_empty() => return Ok(None),
            Some([0, 0, 0, 0]) => return Ok(None),
            None => return Err(Error::corrupt("the Arrow stream ends within a message")),
            Some(length) => u32::from_le_bytes(*length),
        };
        if length > METADATA_BYTES_MAX {
            return Err(Error::corrupt(format!(
                "the metadata of an Arrow message has {length} bytes, the limit is {METADATA_BYTES_MAX}"
            )));
        }
        let metadata = self.read(u64::from(length))?;
        let announced = message(&metadata)?.bodyLength();
        let length =
            u64::try_from(announced).ok().filter(|length| *length <= BODY_BYTES_MAX).ok_or_else(|| {
                Error::corrupt(format!(
                    "the body of an Arrow message has {announced} bytes, the limit is {BODY_BYTES_MAX}"
                ))
            })?;
        let body = self.read(length)?;
        if body.len() as u64 != length {
            let found = body.len();
            return Err(Error::corrupt(format!(
                "the Arrow stream ends within a message: expected {length} bytes, found {found}"
            )));
        }
        Ok(Some((metadata, Buffer::from_vec(body))))
    }

    /// Reads `bytes` bytes, or fewer if the input ends.
    fn read(&mut self, bytes: u64) -> Result<Vec<u8>> {
        let mut read = Vec::with_capacity(bytes.min(READ_BYTES_FIRST) as usize);
        self.reader.by_ref().take(bytes).read_to_end(&mut read)?;
        Ok(read)
    }

    fn take(&mut self, metadata: &[u8], body: &Buffer) -> Result<Option<RecordBatch>> {
        let message = message(metadata)?;
        let without = |what: &str| Error::corrupt(format!("an Arrow message lacks {what}"));
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
            other => Err(Error::corrupt(format!(
                "an Arrow message has type {other:?}; expected a schema, dictionary or batch"
            ))),
        }
    }

    fn schema(&self) -> Result<Arc<Schema>> {
        self.schema.clone().ok_or_else(|| Error::corrupt("the Arrow stream has values before its schema"))
    }
}

impl<R: Read> Iterator for BatchReader<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.read_batch().transpose();
        // After an error, the start of the next message is unknown.
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

fn message(metadata: &[u8]) -> Result<Message<'_>> {
    ipc::root_as_message(metadata).map_err(|e| Error::corrupt(format!("not an Arrow message: {e}")))
}

/// Checks that the buffers of a batch are within the body, are not too large after decompression, and are long enough
/// for its rows.
fn check(batch: &ipc::RecordBatch<'_>, body: &[u8], plain_bytes_max: u64) -> Result<()> {
    let mut plain_bytes = body.len() as u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let range = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let bytes = range.and_then(|(start, length)| body.get(start..start.checked_add(length)?));
        let bytes = bytes.ok_or_else(|| {
            let (offset, length) = (buffer.offset(), buffer.length());
            Error::corrupt(format!(
                "a buffer ({length} bytes at offset {offset}) is outside of its body of {} bytes",
                body.len()
            ))
        })?;
        if batch.compression().is_some() && !bytes.is_empty() {
            let plain = bytes.first_chunk().map(|length| i64::from_le_bytes(*length));
            // -1 marks a buffer that is not compressed.
            let plain = plain.filter(|plain| *plain >= -1);
            let plain = plain.ok_or_else(|| Error::corrupt("a compressed buffer lacks its length"))?;
            plain_bytes = plain_bytes.saturating_add(u64::try_from(plain).unwrap_or(0));
        }
    }
    if batch.compression().is_some() && plain_bytes > plain_bytes_max {
        return Err(Error::corrupt(format!(
            "a batch has {plain_bytes} bytes after decompression, the limit is {plain_bytes_max}"
        )));
    }
    // A row needs at least one bit.
    let rows_max = plain_bytes.saturating_mul(8).max(ROWS_WITHOUT_BYTES_MAX);
    let nodes = batch.nodes().into_iter().flatten().map(ipc::FieldNode::length);
    let rows = nodes
        .chain([batch.length()])
        .find(|rows| u64::try_from(*rows).is_ok_and(|n| n > rows_max) || *rows < 0);
    rows.map_or(Ok(()), |rows| {
        Err(Error::corrupt(format!("a batch claims {rows} rows in {plain_bytes} bytes")))
    })
}
