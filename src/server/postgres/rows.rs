//! How do rows become messages?
//!
//! On the threads of queries, so that a session only passes bytes on. A chunk holds whole messages and knows where each
//! row ends, as a portal may send some of the rows now and the others later.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::column::{self, Column, Format, Kind, Scalar};
use super::copy::{BINARY_HEADER, BINARY_TRAILER, CopyFormat, CopyStyle};
use super::{binary, text};
use crate::error::{Error, Result};
use crate::query::QueryResult;

/// Bytes after which a chunk ends.
const CHUNK_BYTES: usize = 128 << 10;

/// Most columns of an answer: messages count them in 16 bits.
const COLUMNS_MAX: usize = i16::MAX as usize;

/// Form in which rows are written.
#[derive(Debug, Clone)]
pub(super) enum Layout {
    /// DataRow, with the formats of the columns: none is text, one is for all.
    Rows {
        /// Formats of the columns.
        formats: Vec<Format>,
        /// Types that the client was told before, which must hold.
        promised: Option<Arc<[Kind]>>,
    },
    /// CopyData.
    Copy(CopyStyle),
}

impl Layout {
    /// Rows as text.
    pub(super) fn text() -> Self {
        Self::Rows { formats: Vec::new(), promised: None }
    }

    /// Format of column `index`.
    pub(super) fn format(&self, index: usize) -> Format {
        match self {
            Self::Rows { formats, .. } if formats.len() > 1 => {
                formats.get(index).copied().unwrap_or(Format::Text)
            }
            Self::Rows { formats, .. } => formats.first().copied().unwrap_or(Format::Text),
            Self::Copy(style) if style.format == CopyFormat::Binary => Format::Binary,
            Self::Copy(_) => Format::Text,
        }
    }
}

/// A part of an answer: first the columns, then chunks of rows.
#[derive(Debug)]
pub(super) enum Encoded {
    /// Columns.
    Columns(Arc<[Column]>),
    /// Rows.
    Rows(Chunk),
}

/// Encoded rows.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Whole messages.
    pub(super) bytes: Bytes,
    /// Byte after each row.
    pub(super) ends: Vec<usize>,
}

/// The columns of `found`, with the types that were promised. Fails if one has another type now, and if there are not
/// as many formats as columns.
pub(super) fn columns(schema: &arrow::datatypes::Schema, layout: &Layout) -> Result<Arc<[Column]>> {
    let mut columns: Vec<Column> = schema.fields().iter().map(|field| Column::of(field)).collect();
    if columns.len() > COLUMNS_MAX {
        return Err(Error::invalid(format!(
            "the answer has {} columns; at most {COLUMNS_MAX} can be sent",
            columns.len()
        )));
    }
    let Layout::Rows { formats, promised } = layout else { return Ok(columns.into()) };
    if formats.len() > 1 && formats.len() != columns.len() {
        return Err(Error::invalid(format!("{} formats for {} columns", formats.len(), columns.len())));
    }
    if let Some(promised) = promised {
        let is_kept = promised.len() == columns.len();
        for (column, kind) in columns.iter_mut().zip(promised.iter()) {
            // Everything can be written as text.
            if column.kind != *kind && *kind != Kind::single(Scalar::Text) {
                return Err(changed());
            }
            column.kind = *kind;
        }
        if !is_kept {
            return Err(changed());
        }
    }
    Ok(columns.into())
}

fn changed() -> Error {
    Error::invalid("cached plan must not change result type: prepare the statement again")
}

/// The columns and rows of `found`, as they come.
pub(super) fn encode(
    found: QueryResult,
    layout: Layout,
) -> impl Stream<Item = Result<Encoded>> + Send + 'static {
    let begun = columns(&found.schema, &layout).map(|columns| {
        let head = Encoded::Columns(Arc::clone(&columns));
        let rows = Rows { found, writer: Writer::new(layout, columns), batch: None, step: Step::Head };
        futures::stream::once(std::future::ready(Ok(head))).chain(chunks(rows))
    });
    match begun {
        Ok(stream) => stream.left_stream(),
        Err(error) => futures::stream::once(std::future::ready(Err(error))).right_stream(),
    }
}

/// Chunks of rows that are there already.
pub(super) fn encode_batch(batch: &RecordBatch, layout: Layout) -> Result<(Arc<[Column]>, Chunk)> {
    let columns = columns(batch.schema_ref(), &layout)?;
    let mut writer = Writer::new(layout, Arc::clone(&columns));
    let (mut out, mut ends) = (Vec::new(), Vec::new());
    let batch = Batch::of(batch)?;
    for row in 0..batch.rows {
        writer.write_row(&mut out, &batch, row)?;
        ends.push(out.len());
    }
    Ok((columns, Chunk { bytes: out.into(), ends }))
}

/// Rows that are being encoded.
struct Rows {
    found: QueryResult,
    writer: Writer,
    /// A batch, and its next row.
    batch: Option<(Batch, usize)>,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Head,
    Rows,
    End,
}

fn chunks(rows: Rows) -> impl Stream<Item = Result<Encoded>> + Send + 'static {
    futures::stream::unfold(rows, async |mut rows| {
        let next = rows.next().await.transpose()?;
        if next.is_err() {
            rows.step = Step::End;
        }
        Some((next.map(Encoded::Rows), rows))
    })
}

impl Rows {
    async fn next(&mut self) -> Result<Option<Chunk>> {
        match self.step {
            Step::Head => {
                self.step = Step::Rows;
                let mut out = Vec::new();
                self.writer.write_head(&mut out)?;
                if !out.is_empty() {
                    return Ok(Some(Chunk { bytes: out.into(), ends: Vec::new() }));
                }
            }
            Step::Rows => {}
            Step::End => return Ok(None),
        }
        let (batch, mut row) = loop {
            match self.batch.take() {
                Some((batch, row)) if row < batch.rows => break (batch, row),
                _ => {
                    let Some(batch) = self.found.stream.next().await else { return self.last() };
                    self.batch = Some((Batch::of(&batch?)?, 0));
                }
            }
        };
        let (mut out, mut ends) = (Vec::with_capacity(CHUNK_BYTES), Vec::new());
        while row < batch.rows && out.len() < CHUNK_BYTES {
            self.writer.write_row(&mut out, &batch, row)?;
            ends.push(out.len());
            row += 1;
        }
        self.batch = Some((batch, row));
        Ok(Some(Chunk { bytes: out.into(), ends }))
    }

    /// The messages after the rows, if there are any.
    fn last(&mut self) -> Result<Option<Chunk>> {
        self.step = Step::End;
        let mut out = Vec::new();
        self.writer.write_tail(&mut out)?;
        let last = Chunk { bytes: out.into(), ends: Vec::new() };
        Ok(Some(last).filter(|last| !last.bytes.is_empty()))
    }
}

/// Rows of a batch, without dictionaries.
struct Batch {
    columns: Vec<ArrayRef>,
    rows: usize,
}

impl Batch {
    fn of(batch: &RecordBatch) -> Result<Self> {
        let columns = batch.columns().iter().map(column::plain).collect::<Result<_, _>>()?;
        Ok(Self { columns, rows: batch.num_rows() })
    }
}

/// Writes rows as messages.
struct Writer {
    layout: Layout,
    columns: Arc<[Column]>,
    /// Bytes that the first message begins with: clients expect the header of COPY there.
    prefix: &'static [u8],
}

impl Writer {
    fn new(layout: Layout, columns: Arc<[Column]>) -> Self {
        let prefix = match &layout {
            Layout::Copy(style) if style.format == CopyFormat::Binary => BINARY_HEADER,
            _ => &[],
        };
        Self { layout, columns, prefix }
    }

    /// Appends the line before the rows.
    fn write_head(&self, out: &mut Vec<u8>) -> Result<()> {
        let Layout::Copy(style) = &self.layout else { return Ok(()) };
        if !style.has_header {
            return Ok(());
        }
        message(out, b'd', |out| {
            for (index, column) in self.columns.iter().enumerate() {
                style.write_value(out, index, Some(&column.name));
            }
            out.push(b'\n');
            Ok(())
        })
    }

    /// Appends what comes after the rows.
    fn write_tail(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let prefix = std::mem::take(&mut self.prefix);
        match &self.layout {
            Layout::Copy(style) if style.format == CopyFormat::Binary => message(out, b'd', |out| {
                out.extend_from_slice(prefix);
                out.extend_from_slice(BINARY_TRAILER);
                Ok(())
            }),
            _ => Ok(()),
        }
    }

    fn write_row(&mut self, out: &mut Vec<u8>, batch: &Batch, row: usize) -> Result<()> {
        let prefix = std::mem::take(&mut self.prefix);
        match &self.layout {
            Layout::Copy(style) if style.format != CopyFormat::Binary => message(out, b'd', |out| {
                let mut value = String::new();
                for (index, (column, array)) in self.columns.iter().zip(&batch.columns).enumerate() {
                    let is_null = column::is_null(array, row);
                    if !is_null {
                        value.clear();
                        text::write(&mut value, column, array, row)?;
                    }
                    style.write_value(out, index, Some(value.as_str()).filter(|_| !is_null));
                }
                out.push(b'\n');
                Ok(())
            }),
            layout => {
                let kind = if matches!(layout, Layout::Copy(_)) { b'd' } else { b'D' };
                message(out, kind, |out| {
                    out.extend_from_slice(prefix);
                    self.write_values(out, batch, row)
                })
            }
        }
    }

    /// Appends the number of values, and each with its length.
    fn write_values(&self, out: &mut Vec<u8>, batch: &Batch, row: usize) -> Result<()> {
        out.extend_from_slice(&(self.columns.len() as i16).to_be_bytes());
        let mut value = String::new();
        for (index, (column, array)) in self.columns.iter().zip(&batch.columns).enumerate() {
            if column::is_null(array, row) {
                out.extend_from_slice(&(-1_i32).to_be_bytes());
                continue;
            }
            // A value of another type than was promised is the text of its own type.
            let is_own = column.kind == Kind::of(&column.field);
            match self.layout.format(index) {
                Format::Binary if is_own => {
                    binary::with_length(out, |out| binary::write(out, column, array, row))?;
                }
                _ => {
                    value.clear();
                    let column = if is_own { column.clone() } else { Column::of(&column.field) };
                    text::write(&mut value, &column, array, row)?;
                    binary::with_length(out, |out| {
                        out.extend_from_slice(value.as_bytes());
                        Ok(())
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// Appends a message whose content `write` appends.
fn message(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.push(kind);
    out.extend_from_slice(&[0; 4]);
    write(out)?;
    let length =
        i32::try_from(out.len() - start - 1).map_err(|_| Error::invalid("a row has more than 2 GiB"))?;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn batch() -> RecordBatch {
        let numbers = Arc::new(Int64Array::from(vec![Some(7), None])) as ArrayRef;
        RecordBatch::try_from_iter([("n", numbers), ("t", Arc::new(StringArray::from(vec!["a", ""])))])
            .unwrap()
    }

    #[test]
    fn a_row_is_a_message_and_its_end_is_known() {
        let (columns, chunk) = encode_batch(&batch(), Layout::text()).unwrap();
        assert_eq!(columns.iter().map(|c| c.kind.oid()).collect::<Vec<_>>(), [20, 25]);
        let first = b"D\0\0\0\x10\0\x02\0\0\0\x017\0\0\0\x01a";
        let second = b"D\0\0\0\x0e\0\x02\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(chunk.bytes, [&first[..], second].concat());
        assert_eq!(chunk.ends, [first.len(), first.len() + second.len()]);
    }

    #[test]
    fn formats_are_for_all_columns_or_for_each() {
        let layout = |formats: &[Format]| Layout::Rows { formats: formats.to_vec(), promised: None };
        let (_, chunk) = encode_batch(&batch(), layout(&[Format::Binary])).unwrap();
        assert!(chunk.bytes.starts_with(b"D\0\0\0\x17\0\x02\0\0\0\x08\0\0\0\0\0\0\0\x07\0\0\0\x01a"));
        let (_, each) = encode_batch(&batch(), layout(&[Format::Binary, Format::Text])).unwrap();
        assert_eq!(each.bytes, chunk.bytes);
        assert!(encode_batch(&batch(), layout(&[Format::Text; 3])).is_err());
    }

    #[test]
    fn types_that_were_promised_are_kept_or_refused() {
        let promise = |scalars: [Scalar; 2]| {
            let promised = Some(scalars.map(Kind::single).to_vec().into());
            encode_batch(&batch(), Layout::Rows { formats: vec![Format::Binary], promised })
        };
        let (columns, chunk) = promise([Scalar::Text, Scalar::Text]).unwrap();
        assert_eq!(columns[0].kind.oid(), 25);
        assert!(chunk.bytes.starts_with(b"D\0\0\0\x10\0\x02\0\0\0\x017"));
        assert!(promise([Scalar::Float8, Scalar::Text]).is_err());
    }
}
