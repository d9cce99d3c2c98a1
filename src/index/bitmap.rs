//! Which rows of a segment have each value of a column?
//!
//! A column of few values gets one roaring bitmap of rows per value. A predicate over the column is then
//! evaluated once per *value* instead of once per row. Predicates over several columns combine by AND, OR
//! and NOT of bitmaps, and a count is the size of a bitmap.
//!
//! The bitmaps invert what Parquet already stores: a dictionary, and a code per row. So they are built from
//! the column when a query needs it, and kept in memory. On disk they would take four to eight times the
//! space of the codes, for every attribute, queried or not (`docs/design/indexes.md` has the figures).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_empty_array};
use arrow::compute::{cast, interleave};
use arrow::datatypes::{DataType, Int32Type, TimestampNanosecondType};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use roaring::RoaringBitmap;

/// Most distinct values of a column, per segment, for which it gets a bitmap per value. Bitmaps of more values
/// would skip little and take much memory.
pub const VALUES_MAX: usize = 2048;

/// Code of a row without a value.
const NULL: u32 = u32::MAX;

/// Bitmaps of the rows of one column in one segment.
#[derive(Debug, Clone)]
pub struct ColumnBitmaps {
    rows: u32,
    present: RoaringBitmap,
    values: Option<Values>,
}

/// Distinct values of a column, and the rows of each.
#[derive(Debug, Clone)]
pub struct Values {
    array: ArrayRef,
    rows: Vec<RoaringBitmap>,
}

impl Values {
    /// Distinct values without nulls, in order of first appearance.
    pub fn array(&self) -> &ArrayRef {
        &self.array
    }

    /// Rows of each value, in the order of [`array`](Self::array). They do not overlap.
    pub fn rows(&self) -> &[RoaringBitmap] {
        &self.rows
    }
}

impl ColumnBitmaps {
    /// Bitmaps of a column without any value.
    pub fn absent(rows: u32) -> Self {
        let values = Values { array: new_empty_array(&DataType::Null), rows: Vec::new() };
        Self { rows, present: RoaringBitmap::new(), values: Some(values) }
    }

    /// Number of rows of the segment.
    pub fn row_count(&self) -> u32 {
        self.rows
    }

    /// Rows that have a value.
    pub fn present(&self) -> &RoaringBitmap {
        &self.present
    }

    /// Rows of each value; `None` if there are more than [`VALUES_MAX`] values.
    pub fn values(&self) -> Option<&Values> {
        self.values.as_ref()
    }

    /// Approximate memory use in bytes.
    pub fn memory_bytes(&self) -> usize {
        let values = self.values.as_ref();
        let bitmaps = values.into_iter().flat_map(|v| &v.rows).chain([&self.present]);
        let array = values.map_or(0, |v| v.array.get_array_memory_size());
        bitmaps.map(bitmap_bytes).sum::<usize>() + array + size_of::<Self>()
    }
}

/// Approximate memory of a bitmap in bytes: the contents of its containers and their overhead.
fn bitmap_bytes(bitmap: &RoaringBitmap) -> usize {
    let statistics = bitmap.statistics();
    let held = statistics.n_bytes_array_containers
        + statistics.n_bytes_run_containers
        + statistics.n_bytes_bitset_containers;
    held as usize + statistics.n_containers as usize * 32 + size_of::<RoaringBitmap>()
}

/// Bitmap of all rows of a segment of `rows` rows.
pub fn all_rows(rows: u32) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    all.insert_range(0..rows);
    all
}

/// Builds [`ColumnBitmaps`] from successive arrays.
///
/// Text should come as `Dictionary(Int32, Utf8)`, as Parquet stores it: then each value is processed once
/// per dictionary instead of once per row.
#[derive(Debug)]
pub struct BitmapBuilder {
    codes: Vec<u32>,
    /// Array and index of the first occurrence of each value.
    first: Vec<(ArrayRef, usize)>,
    known: HashMap<OwnedRow, u32>,
    rows: Option<RowConverter>,
    /// Last dictionary, and the codes of those of its values that were used so far.
    last: Option<(ArrayRef, Vec<u32>)>,
    too_many: bool,
}

impl Default for BitmapBuilder {
    fn default() -> Self {
        let (codes, first, known) = (Vec::new(), Vec::new(), HashMap::new());
        Self { codes, first, known, rows: None, last: None, too_many: false }
    }
}

impl BitmapBuilder {
    /// Adds the next rows. Fails for types that have no dictionary form, such as lists.
    pub fn push(&mut self, array: &ArrayRef) -> Result<(), ArrowError> {
        if self.too_many {
            self.codes.extend((0..array.len()).map(|i| if array.is_valid(i) { 0 } else { NULL }));
            return Ok(());
        }
        match array.data_type() {
            DataType::Dictionary(key, _) if **key == DataType::Int32 => self.push_dictionary(array),
            DataType::FixedSizeBinary(_) => {
                // Ids: only their presence matters.
                self.too_many = true;
                self.push(array)
            }
            DataType::Boolean => {
                // Arrow cannot pack booleans into dictionaries, so they go as 0 and 1.
                let bytes = cast(array, &DataType::UInt8)?;
                let ty = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::UInt8));
                self.push_dictionary(&cast(&bytes, &ty)?)
            }
            ty => {
                let ty = DataType::Dictionary(Box::new(DataType::Int32), Box::new(ty.clone()));
                let packed = cast(array, &ty)?;
                self.push_dictionary(&packed)
            }
        }
    }

    fn push_dictionary(&mut self, array: &ArrayRef) -> Result<(), ArrowError> {
        let array = array.as_dictionary::<Int32Type>();
        let values = array.values();
        let (last, mut mapped) = match self.last.take() {
            Some((last, mapped)) if last.to_data().ptr_eq(&values.to_data()) => (last, mapped),
            _ => (Arc::clone(values), vec![NULL; values.len()]),
        };
        self.codes.reserve(array.len());
        for key in array.keys() {
            let Some(key) = key else {
                self.codes.push(NULL);
                continue;
            };
            let key = key as usize;
            if mapped[key] == NULL && values.is_valid(key) {
                mapped[key] = if self.too_many { 0 } else { self.code(values, key)? };
            }
            self.codes.push(mapped[key]);
        }
        self.last = Some((last, mapped));
        Ok(())
    }

    /// Code of value `i` of `values`.
    fn code(&mut self, values: &ArrayRef, i: usize) -> Result<u32, ArrowError> {
        if self.rows.is_none() {
            self.rows = Some(RowConverter::new(vec![SortField::new(values.data_type().clone())])?);
        }
        let Some(converter) = &self.rows else { return Ok(NULL) };
        let row = converter.convert_columns(&[values.slice(i, 1)])?.row(0).owned();
        if let Some(code) = self.known.get(&row) {
            return Ok(*code);
        }
        if self.first.len() == VALUES_MAX {
            // From here on only presence is recorded.
            self.too_many = true;
            return Ok(0);
        }
        let code = self.first.len() as u32;
        self.known.insert(row, code);
        self.first.push((Arc::clone(values), i));
        Ok(code)
    }

    /// Returns the bitmaps of all pushed rows, with the values as `value_type`.
    pub fn finish(self, value_type: &DataType) -> Result<ColumnBitmaps, ArrowError> {
        let rows = u32::try_from(self.codes.len())
            .map_err(|_| ArrowError::InvalidArgumentError("more than 2^32 rows".to_owned()))?;
        if self.too_many {
            let with_value = self.codes.iter().zip(0..).filter(|(code, _)| **code != NULL);
            let mut present =
                RoaringBitmap::from_sorted_iter(with_value.map(|(_, row)| row)).map_err(order)?;
            present.optimize();
            return Ok(ColumnBitmaps { rows, present, values: None });
        }
        let bitmaps = by_code(&self.codes, self.first.len())?;
        let mut present = RoaringBitmap::new();
        for bitmap in &bitmaps {
            present |= bitmap;
        }
        present.optimize();
        let array = distinct(&self.first, value_type)?;
        Ok(ColumnBitmaps { rows, present, values: Some(Values { array, rows: bitmaps }) })
    }
}

/// Counting sort of the rows by code: each code's rows are then a sorted run.
fn by_code(codes: &[u32], count: usize) -> Result<Vec<RoaringBitmap>, ArrowError> {
    let mut starts = vec![0_usize; count + 1];
    for code in codes.iter().filter(|code| **code != NULL) {
        starts[*code as usize + 1] += 1;
    }
    for i in 0..count {
        starts[i + 1] += starts[i];
    }
    let mut next = starts.clone();
    let mut sorted = vec![0_u32; starts[count]];
    for (code, row) in codes.iter().zip(0_u32..) {
        if *code != NULL {
            let place = &mut next[*code as usize];
            sorted[*place] = row;
            *place += 1;
        }
    }
    let bitmap = |i: usize| {
        let rows = sorted[starts[i]..starts[i + 1]].iter().copied();
        let mut bitmap = RoaringBitmap::from_sorted_iter(rows).map_err(order)?;
        bitmap.optimize();
        Ok(bitmap)
    };
    (0..count).map(bitmap).collect()
}

fn order(_: roaring::NonSortedIntegers) -> ArrowError {
    ArrowError::ComputeError("rows out of order".to_owned())
}

fn distinct(first: &[(ArrayRef, usize)], value_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if first.is_empty() {
        return Ok(new_empty_array(value_type));
    }
    let arrays: Vec<&dyn Array> = first.iter().map(|(array, _)| array.as_ref()).collect();
    let indices: Vec<(usize, usize)> = first.iter().enumerate().map(|(i, (_, row))| (i, *row)).collect();
    let values = interleave(&arrays, &indices)?;
    if *value_type == DataType::Boolean {
        let values: BooleanArray = cast(&values, &DataType::UInt32)
            .map(|v| {
                v.as_any()
                    .downcast_ref::<UInt32Array>()
                    .map(|v| v.iter().map(|b| b.map(|b| b == 1)).collect())
            })?
            .unwrap_or_else(|| BooleanArray::new_null(values.len()));
        return Ok(Arc::new(values));
    }
    cast(&values, value_type)
}

/// First row of each second of a segment, whose rows are newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondRuns {
    /// Seconds since the epoch and first row, newest first.
    starts: Vec<(i64, u32)>,
    rows: u32,
}

/// Nanoseconds per second.
pub const SECOND_NS: i64 = 1_000_000_000;

impl SecondRuns {
    /// Number of rows of the segment.
    pub fn row_count(&self) -> u32 {
        self.rows
    }

    /// Every second that has rows, with its range of rows, newest first.
    pub fn iter(&self) -> impl Iterator<Item = (i64, std::ops::Range<u32>)> + '_ {
        let ends = self.starts.iter().skip(1).map(|(_, row)| *row).chain([self.rows]);
        self.starts.iter().zip(ends).map(|((second, start), end)| (*second, *start..end))
    }

    /// Number `n` of rows at or after the beginning of `second`: these are rows `0..n`.
    pub fn rows_since(&self, second: i64) -> u32 {
        let newer = self.starts.partition_point(|(s, _)| *s >= second);
        self.starts.get(newer).map_or(self.rows, |(_, row)| *row)
    }

    /// Memory use in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.starts.capacity() * size_of::<(i64, u32)>() + size_of::<Self>()
    }
}

/// Builds [`SecondRuns`] from timestamps, newest first.
#[derive(Debug, Default)]
pub struct SecondRunsBuilder {
    starts: Vec<(i64, u32)>,
    rows: u32,
    unordered: bool,
}

impl SecondRunsBuilder {
    /// Adds the next timestamps, in nanoseconds.
    pub fn push(&mut self, timestamps: &ArrayRef) {
        let Some(timestamps) = timestamps.as_primitive_opt::<TimestampNanosecondType>() else {
            self.unordered = true;
            return;
        };
        self.unordered |= timestamps.null_count() > 0;
        for ns in timestamps.values() {
            let second = ns.div_euclid(SECOND_NS);
            match self.starts.last() {
                Some((last, _)) if *last == second => {}
                Some((last, _)) if *last < second => self.unordered = true,
                _ => self.starts.push((second, self.rows)),
            }
            self.rows += 1;
        }
    }

    /// Returns the runs; `None` if the timestamps were not newest first.
    pub fn finish(self) -> Option<SecondRuns> {
        (!self.unordered).then_some(SecondRuns { starts: self.starts, rows: self.rows })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Int64Array, StringArray, TimestampNanosecondArray};
    use proptest::prelude::*;

    use super::*;

    fn rows(bitmaps: &ColumnBitmaps) -> Vec<(String, Vec<u32>)> {
        let values = bitmaps.values().unwrap();
        let text = cast(values.array(), &DataType::Utf8).unwrap();
        let text = text.as_string::<i32>();
        (0..text.len()).map(|i| (text.value(i).to_owned(), values.rows()[i].iter().collect())).collect()
    }

    #[test]
    fn every_value_has_its_rows_across_dictionaries() {
        let one: DictionaryArray<Int32Type> = [Some("a"), None, Some("b"), Some("a")].into_iter().collect();
        let two: DictionaryArray<Int32Type> = [Some("b"), Some("c"), None].into_iter().collect();
        let mut builder = BitmapBuilder::default();
        builder.push(&(Arc::new(one) as _)).unwrap();
        builder.push(&(Arc::new(two) as _)).unwrap();
        let bitmaps = builder.finish(&DataType::Utf8).unwrap();
        assert_eq!(bitmaps.row_count(), 7);
        let expected = [("a", vec![0, 3]), ("b", vec![2, 4]), ("c", vec![5])];
        assert_eq!(rows(&bitmaps), expected.map(|(v, r)| (v.to_owned(), r)));
        assert_eq!(bitmaps.present().iter().collect::<Vec<_>>(), [0, 2, 3, 4, 5]);
    }

    #[test]
    fn booleans_and_numbers_have_bitmaps_and_many_values_only_presence() {
        let mut builder = BitmapBuilder::default();
        builder
            .push(&(Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])) as _))
            .unwrap();
        let bitmaps = builder.finish(&DataType::Boolean).unwrap();
        let expected = [("true", vec![0, 3]), ("false", vec![2])];
        assert_eq!(rows(&bitmaps), expected.map(|(v, r)| (v.to_owned(), r)));

        let many: Int64Array = (0..5000).map(|i| (i % 2 == 0).then_some(i)).collect();
        let mut builder = BitmapBuilder::default();
        builder.push(&(Arc::new(many.clone()) as _)).unwrap();
        builder.push(&(Arc::new(many) as _)).unwrap();
        let bitmaps = builder.finish(&DataType::Int64).unwrap();
        assert!(bitmaps.values().is_none());
        assert_eq!(bitmaps.present().len(), 5000);
        assert!(!bitmaps.present().contains(5001));
    }

    #[test]
    fn seconds_have_their_rows_and_disorder_is_noticed() {
        let ns = [5 * SECOND_NS + 7, 5 * SECOND_NS, 3 * SECOND_NS, -1, -SECOND_NS];
        let mut builder = SecondRunsBuilder::default();
        builder.push(&(Arc::new(TimestampNanosecondArray::from(ns.to_vec())) as _));
        let runs = builder.finish().unwrap();
        assert_eq!(runs.iter().collect::<Vec<_>>(), [(5, 0..2), (3, 2..3), (-1, 3..5)]);
        assert_eq!([6, 5, 4, 3, 0, -1].map(|s| runs.rows_since(s)), [0, 2, 2, 3, 3, 5]);

        let mut builder = SecondRunsBuilder::default();
        builder.push(&(Arc::new(TimestampNanosecondArray::from(vec![1, 2 * SECOND_NS])) as _));
        assert_eq!(builder.finish(), None);
    }

    proptest! {
        #[test]
        fn bitmaps_are_the_column_inverted(values in prop::collection::vec(prop::option::of(0..50_i64), 0..3000)) {
            let mut builder = BitmapBuilder::default();
            for part in values.chunks(700) {
                builder.push(&(Arc::new(part.iter().copied().collect::<Int64Array>()) as _)).unwrap();
            }
            let bitmaps = builder.finish(&DataType::Int64).unwrap();
            let mut back = vec![None; values.len()];
            if let Some(distinct) = bitmaps.values() {
                let array = distinct.array().as_primitive::<arrow::datatypes::Int64Type>();
                for (value, rows) in array.values().iter().zip(distinct.rows()) {
                    rows.iter().for_each(|row| back[row as usize] = Some(*value));
                }
            }
            prop_assert_eq!(back, values);
        }

        #[test]
        fn text_of_any_kind_survives(values in prop::collection::vec(prop::option::of("[a-c]{0,2}"), 0..300)) {
            let mut builder = BitmapBuilder::default();
            builder.push(&(Arc::new(StringArray::from(values.clone())) as _)).unwrap();
            let bitmaps = builder.finish(&DataType::Utf8View).unwrap();
            let present: Vec<bool> = (0..values.len() as u32).map(|i| bitmaps.present().contains(i)).collect();
            prop_assert_eq!(present, values.iter().map(Option::is_some).collect::<Vec<_>>());
        }
    }
}
