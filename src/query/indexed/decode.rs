//! Decodes a column of a Parquet file into memory.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, StringDictionaryBuilder, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use datafusion::error::Result;
use futures::TryStreamExt;
use object_store::ObjectStore;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::basic::{Encoding, LogicalType};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::condition::is_countable;
use super::inverted::Inverted;
use crate::event::schema::{self, column};
use crate::index::bitmap::{BitmapBuilder, ColumnBitmaps, SecondRunsBuilder};
use crate::query::scan::metadata::{MetadataCache, NarrowReader};
use crate::segment::SegmentMeta;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 64 << 10;
/// Average occurrences of a text value from which text gets a dictionary; judged after [`SAMPLE_ROWS`] rows.
const REPEATS_MIN: usize = 4;
const SAMPLE_ROWS: usize = 16 << 10;
/// Memory of a text's view, in bytes.
const VIEW_BYTES: usize = size_of::<u128>();

/// Source of columns: a store, and a cache of footers.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) footers: Arc<MetadataCache>,
}

impl Files {
    /// Decodes one column of a segment and inverts it.
    pub(super) async fn invert(
        &self,
        segment: &Arc<SegmentMeta>,
        name: &str,
        ty: &DataType,
    ) -> Result<Inverted> {
        if name != column::TIMESTAMP && !is_countable(ty) {
            return Ok(Inverted::Unfit);
        }
        let (reader, footer) = self.open(segment, name).await?;
        let Some(chunk) = chunk(&footer) else {
            let rows = u32::try_from(segment.rows).unwrap_or(u32::MAX);
            return Ok(Inverted::Bitmaps(Arc::new(ColumnBitmaps::absent(rows))));
        };
        if !is_readable_as(chunk, ty) {
            return Ok(Inverted::Unfit);
        }
        // Parquet has text as a dictionary and a code per row.
        let read_as = if *ty == DataType::Utf8View { coded() } else { ty.clone() };
        let mut batches = batches(reader, name, read_as).await?;
        if name == column::TIMESTAMP {
            let mut runs = SecondRunsBuilder::default();
            while let Some(values) = batches.try_next().await? {
                runs.push(&values);
            }
            return Ok(runs.finish().map_or(Inverted::Unfit, |runs| Inverted::Seconds(Arc::new(runs))));
        }
        let mut bitmaps = BitmapBuilder::default();
        while let Some(values) = batches.try_next().await? {
            bitmaps.push(&values)?;
        }
        Ok(Inverted::Bitmaps(Arc::new(bitmaps.finish(ty)?)))
    }

    /// Decodes one column of a segment, of type `ty`. Text that repeats becomes a dictionary of views with the
    /// smallest codes that fit; other columns stay as they are. `None` if the file's type does not fit `ty`, or if
    /// the column would take more than `bytes_max` bytes.
    pub(super) async fn decode(
        &self,
        segment: &Arc<SegmentMeta>,
        name: &str,
        ty: &DataType,
        bytes_max: usize,
    ) -> Result<Option<ArrayRef>> {
        let (reader, footer) = self.open(segment, name).await?;
        let Some(chunk) = chunk(&footer) else { return Ok(Some(nulls(ty, segment.rows as usize))) };
        if !is_readable_as(chunk, ty) {
            return Ok(None);
        }
        let is_coded = *ty == DataType::Utf8View && is_dictionary(chunk);
        let row_bytes = match ty {
            DataType::Utf8View if is_coded => size_of::<i32>(),
            DataType::Utf8View => VIEW_BYTES,
            DataType::FixedSizeBinary(bytes) => *bytes as usize,
            ty => ty.primitive_width().unwrap_or(1),
        };
        let text_bytes = if *ty == DataType::Utf8View { chunk.uncompressed_size() as usize } else { 0 };
        if (segment.rows as usize).saturating_mul(row_bytes).saturating_add(text_bytes) > bytes_max {
            return Ok(None);
        }
        let read_as = if is_coded { coded() } else { ty.clone() };
        let parts: Vec<ArrayRef> = batches(reader, name, read_as).await?.try_collect().await?;
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        if parts.is_empty() {
            return Ok(None);
        }
        let mut whole = concat(&parts)?;
        if is_coded {
            whole = smallest(&whole)?;
        } else if let Some(coded) = repeating(&whole)? {
            whole = coded;
        }
        Ok((whole.len() as u64 == segment.rows).then_some(whole))
    }

    async fn open(
        &self,
        segment: &Arc<SegmentMeta>,
        name: &str,
    ) -> Result<(NarrowReader, Arc<ParquetMetaData>)> {
        let mut reader = NarrowReader::of_column(&self.store, &self.footers, segment, name);
        let footer = reader.get_metadata(None).await?;
        Ok((reader, footer))
    }
}

/// Type for reading text that has a dictionary in Parquet.
fn coded() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The column that was opened, if the file has it: a segment is one row group.
fn chunk(footer: &ParquetMetaData) -> Option<&ColumnChunkMetaData> {
    footer.row_groups().first()?.columns().first()
}

/// True if a column can be read as `ty`. Typed JSON is text here, but a type of its own to the Parquet reader.
fn is_readable_as(chunk: &ColumnChunkMetaData, ty: &DataType) -> bool {
    *ty != DataType::Utf8View || chunk.column_descr().logical_type_ref() == Some(&LogicalType::String)
}

/// True if the values of all rows are in the dictionary.
fn is_dictionary(chunk: &ColumnChunkMetaData) -> bool {
    // The writer also lists PLAIN for the dictionary page, so look at the data pages' encodings.
    match chunk.page_encoding_stats_mask() {
        Some(mask) => mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY),
        None => false,
    }
}

async fn batches(
    reader: NarrowReader,
    name: &str,
    read_as: DataType,
) -> Result<futures::stream::BoxStream<'static, Result<ArrayRef>>> {
    let nullable = schema::core_index(name).is_none_or(|i| schema::core_columns()[i].field.is_nullable());
    let file = Arc::new(Schema::new(vec![Field::new(name, read_as, nullable)]));
    let options = ArrowReaderOptions::new().with_schema(file);
    let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await?;
    let batches = builder.with_batch_size(BATCH_ROWS).build()?;
    Ok(Box::pin(batches.map_ok(|batch| Arc::clone(batch.column(0))).map_err(Into::into)))
}

/// A column of nulls.
fn nulls(ty: &DataType, rows: usize) -> ArrayRef {
    match ty {
        DataType::Utf8View => {
            let coded = DataType::Dictionary(Box::new(DataType::UInt8), Box::new(DataType::Utf8View));
            new_null_array(&coded, rows)
        }
        ty => new_null_array(ty, rows),
    }
}

/// Dictionary of text that has none in Parquet, if its values repeat.
fn repeating(array: &ArrayRef) -> Result<Option<ArrayRef>> {
    let Some(text) = array.as_string_view_opt() else { return Ok(None) };
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    let mut distinct = 0;
    for (row, value) in text.iter().enumerate() {
        match value {
            Some(value) => distinct = distinct.max(builder.append(value)? as usize + 1),
            None => builder.append_null(),
        }
        if row >= SAMPLE_ROWS && distinct * REPEATS_MIN > row {
            return Ok(None);
        }
    }
    Ok(Some(smallest(&(Arc::new(builder.finish()) as _))?))
}

/// A dictionary with its values as views, and the narrowest codes that fit.
fn smallest(array: &ArrayRef) -> Result<ArrayRef> {
    let Some(dictionary) = array.as_dictionary_opt::<Int32Type>() else { return Ok(Arc::clone(array)) };
    let values = cast(dictionary.values(), &DataType::Utf8View)?;
    let wide: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::try_new(dictionary.keys().clone(), values)?);
    let key = match dictionary.values().len() {
        0..=0xff => DataType::UInt8,
        0x100..=0xffff => DataType::UInt16,
        _ => return Ok(wide),
    };
    Ok(cast(&wide, &DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8View)))?)
}
