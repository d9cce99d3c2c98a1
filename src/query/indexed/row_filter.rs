//! Filters rows by their number after decoding.
//!
//! A row selection of many small pieces costs the Parquet reader more than decoding the skipped rows would: it
//! processes every piece several times. If many rows match, it is faster to decode all rows and to filter the
//! batches, as this module does for the stream of one file.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, BooleanBufferBuilder, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{BatchCoalescer, filter_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::common::cast::as_boolean_array;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use futures::{Stream, StreamExt};
use roaring::RoaringBitmap;

use super::dense::dense;
use super::morsel::{BatchStream, FileRows};

/// Rows of an output batch.
const BATCH_ROWS: usize = 8192;
/// Largest gap between matching rows that is decoded rather than skipped, in rows.
const GAP_ROWS: u32 = 4096;

/// Selection of the rows that are read.
#[derive(Debug, Clone)]
pub(super) struct RowFilter {
    /// One bit for each row that is read, in order.
    pub(super) keep: BooleanBuffer,
    /// Further condition, over the columns that are read.
    pub(super) residual: Option<Arc<dyn PhysicalExpr>>,
    /// Columns of the result: the first of the columns that are read.
    pub(super) output: SchemaRef,
}

/// Ranges of a file that have matching rows, with small gaps filled.
pub(super) fn coarse(rows: &RoaringBitmap) -> Vec<Range<usize>> {
    let mut iter = rows.iter();
    let mut pieces: Vec<Range<usize>> = Vec::new();
    while let Some(range) = iter.next_range() {
        let (start, end) = (*range.start() as usize, *range.end() as usize + 1);
        match pieces.last_mut() {
            Some(last) if start - last.end <= GAP_ROWS as usize => last.end = end,
            _ => pieces.push(start..end),
        }
    }
    pieces
}

/// The bits of the rows in `pieces`, one after another.
pub(super) fn bits(rows: &RoaringBitmap, pieces: &[Range<usize>]) -> Result<BooleanBuffer> {
    let all = dense(rows, pieces.last().map_or(0, |last| last.end))?;
    let mut bits = BooleanBufferBuilder::new(pieces.iter().map(ExactSizeIterator::len).sum());
    for piece in pieces {
        bits.append_buffer(&all.slice(piece.start, piece.len()));
    }
    Ok(bits.finish())
}

/// The rows of `input` that `filter` keeps, in batches of a good size.
fn filtered(
    input: BatchStream,
    filter: Arc<RowFilter>,
) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
    let output = BatchCoalescer::new(Arc::clone(&filter.output), BATCH_ROWS);
    futures::stream::try_unfold(
        (Some(input), output, 0, filter),
        |(mut input, mut output, mut read, filter)| async move {
            loop {
                if let Some(batch) = output.next_completed_batch() {
                    return Ok(Some((batch, (input, output, read, filter))));
                }
                let Some(stream) = &mut input else { return Ok(None) };
                if let Some(batch) = stream.next().await.transpose()? {
                    let rows = read..read + batch.num_rows();
                    read = rows.end;
                    filter.push(batch, rows, &mut output)?;
                    continue;
                }
                input = None;
                if read != filter.keep.len() {
                    let message = format!("expected {} rows, read {read}", filter.keep.len());
                    return Err(DataFusionError::Internal(message));
                }
                output.finish_buffered_batch()?;
            }
        },
    )
}

impl RowFilter {
    /// Filters `reading`, the rows of a file that was just opened.
    pub(super) fn over(self, reading: FileRows) -> FileRows {
        let filter = Arc::new(self);
        reading.mapped(move |rows| filtered(rows, Arc::clone(&filter)).boxed())
    }

    fn push(&self, batch: RecordBatch, rows: Range<usize>, output: &mut BatchCoalescer) -> Result<()> {
        if rows.end > self.keep.len() {
            return Err(DataFusionError::Internal(format!("read more than {} rows", self.keep.len())));
        }
        let keep = BooleanArray::new(self.keep.slice(rows.start, rows.len()), None);
        let kept = keep.true_count();
        let Some(residual) = &self.residual else {
            match kept {
                0 => {}
                n if n == rows.len() => output.push_batch(batch)?,
                _ => output.push_batch_with_filter(batch, &keep)?,
            }
            return Ok(());
        };
        if kept == 0 {
            return Ok(());
        }
        let batch = if kept == rows.len() { batch } else { filter_record_batch(&batch, &keep)? };
        let verdict = residual.evaluate(&batch)?.into_array(batch.num_rows())?;
        let columns: Vec<usize> = (0..self.output.fields().len()).collect();
        output.push_batch_with_filter(batch.project(&columns)?, as_boolean_array(&verdict)?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_hold_all_rows_and_bits_tell_which(rows in prop::collection::vec(0..60_000_u32, 0..50)) {
            let rows: RoaringBitmap = rows.into_iter().collect();
            let pieces = coarse(&rows);
            let bits = bits(&rows, &pieces).unwrap();
            let read = pieces.iter().cloned().flatten();
            let kept: RoaringBitmap =
                read.zip(bits.iter()).filter(|(_, keep)| *keep).map(|(row, _)| row as u32).collect();
            prop_assert_eq!(kept, rows);
        }
    }
}
