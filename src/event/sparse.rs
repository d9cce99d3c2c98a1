//! How are the values of a column collected, if not every row has one?
//!
//! A column is a list of row numbers and a list of their values. Absent values cost nothing, so a batch may have as
//! many columns as it has distinct keys. [`scatter`] builds the dense Arrow array.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, FixedSizeBinaryBuilder, Float64Builder, Int64Builder,
    ListArray, PrimitiveArray, StringViewArray, StringViewBuilder, StructArray, TimestampNanosecondBuilder,
    UInt32Array, UInt32Builder, make_view,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::{
    ArrowPrimitiveType, Field, Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type,
    UInt64Type,
};

use super::core_event::{Exemplar, Link};
use super::{AttributeType, Value, schema};
use crate::error::Result;

/// Collects the values of one column.
pub(super) trait Values: Default {
    type Item<'a>;
    fn push(&mut self, item: Self::Item<'_>);
    fn finish(self) -> ArrayRef;
}

/// Row numbers and values, in the order of rows.
#[derive(Default)]
pub(super) struct Sparse<V> {
    rows: Vec<u32>,
    values: V,
}

impl<V: Values> Sparse<V> {
    pub(super) fn push(&mut self, row: u32, item: V::Item<'_>) {
        self.rows.push(row);
        self.values.push(item);
    }

    /// Row number of the last value.
    pub(super) fn last_row(&self) -> Option<u32> {
        self.rows.last().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn finish(self) -> (ScalarBuffer<u32>, ArrayRef) {
        (self.rows.into(), self.values.finish())
    }

    /// Builds an array with one item per row; null for rows without a value.
    pub(super) fn finish_dense(self, rows: usize) -> Result<ArrayRef> {
        let (numbers, values) = self.finish();
        scatter(&numbers, &values, rows)
    }
}

/// Builds an array of length `rows` with `values[i]` at `numbers[i]` and null elsewhere.
pub(super) fn scatter(numbers: &[u32], values: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    if numbers.len() == rows {
        return Ok(Arc::clone(values));
    }
    let mut indices: Vec<Option<u32>> = vec![None; rows];
    for (i, row) in numbers.iter().enumerate() {
        indices[*row as usize] = Some(i as u32);
    }
    Ok(take(values, &UInt32Array::from(indices), None)?)
}

/// Numbers of one Arrow type.
pub(super) struct Numbers<T: ArrowPrimitiveType>(Vec<T::Native>);

impl<T: ArrowPrimitiveType> Default for Numbers<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: ArrowPrimitiveType> Values for Numbers<T> {
    type Item<'a> = T::Native;
    fn push(&mut self, item: T::Native) {
        self.0.push(item);
    }
    fn finish(self) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(self.0.into(), None))
    }
}

pub(super) type Ints = Numbers<Int64Type>;
pub(super) type Ints32 = Numbers<Int32Type>;
pub(super) type Counts = Numbers<UInt64Type>;
pub(super) type Counts32 = Numbers<UInt32Type>;
pub(super) type Doubles = Numbers<Float64Type>;

/// Nanoseconds since the epoch.
#[derive(Default)]
pub(super) struct Times(Vec<i64>);

impl Values for Times {
    type Item<'a> = i64;
    fn push(&mut self, item: i64) {
        self.0.push(item);
    }
    fn finish(self) -> ArrayRef {
        Arc::new(times(self.0))
    }
}

fn times(values: Vec<i64>) -> PrimitiveArray<TimestampNanosecondType> {
    PrimitiveArray::new(values.into(), None).with_timezone("UTC")
}

#[derive(Default)]
pub(super) struct Bools(Vec<bool>);

impl Values for Bools {
    type Item<'a> = bool;
    fn push(&mut self, item: bool) {
        self.0.push(item);
    }
    fn finish(self) -> ArrayRef {
        Arc::new(BooleanArray::from(self.0))
    }
}

/// Text of one column.
#[derive(Default)]
pub(super) struct Texts(Views);

impl Values for Texts {
    type Item<'a> = &'a str;
    fn push(&mut self, item: &str) {
        self.0.push(item.as_bytes());
    }
    fn finish(self) -> ArrayRef {
        let (views, blocks) = self.0.finish();
        Arc::new(StringViewArray::new(views, blocks, None))
    }
}

/// Bytes of one column.
#[derive(Default)]
pub(super) struct Bytes(Views);

impl Values for Bytes {
    type Item<'a> = &'a [u8];
    fn push(&mut self, item: &[u8]) {
        self.0.push(item);
    }
    fn finish(self) -> ArrayRef {
        let (views, blocks) = self.0.finish();
        Arc::new(BinaryViewArray::new(views, blocks, None))
    }
}

/// Size at which a new block of text is started. Offsets in views are 32 bits, and Arrow reads them as signed.
const BLOCK_BYTES_MAX: usize = 1 << 30;

/// Longest value, in bytes, that a view stores itself, without a block.
const INLINE_BYTES_MAX: usize = 12;

/// Arrow's views, and the blocks with the bytes of longer values.
///
/// Arrow's own builder is not used for two reasons. Its first block has 16 KiB even for a short column, which
/// adds up to megabytes for the hundreds of columns of a small batch. And here a value that equals the previous one,
/// as the attributes of a resource do on every row, is a view of the same bytes.
#[derive(Default)]
struct Views {
    entries: Vec<u128>,
    full_blocks: Vec<Buffer>,
    block: Vec<u8>,
}

impl Views {
    fn push(&mut self, item: &[u8]) {
        let view = make_view(item, self.full_blocks.len() as u32, self.block.len() as u32);
        if item.len() <= INLINE_BYTES_MAX {
            self.entries.push(view);
            return;
        }
        if let Some(last) = self.repeated(view, item) {
            self.entries.push(last);
            return;
        }
        if self.block.len() + item.len() > BLOCK_BYTES_MAX && !self.block.is_empty() {
            self.full_blocks.push(std::mem::take(&mut self.block).into());
            return self.push(item);
        }
        self.block.extend_from_slice(item);
        self.entries.push(view);
    }

    /// Returns the last view if its bytes are in the current block and equal `item`.
    fn repeated(&self, view: u128, item: &[u8]) -> Option<u128> {
        let last = *self.entries.last()?;
        // A view consists, from the low end, of length, first four bytes, block and offset, 32 bits each. If the last
        // value has no block, its length differs.
        let (block, offset) = ((last >> 64) as u32 as usize, (last >> 96) as usize);
        if last as u64 != view as u64 || block != self.full_blocks.len() {
            return None;
        }
        (self.block.get(offset..offset + item.len())? == item).then_some(last)
    }

    fn finish(mut self) -> (ScalarBuffer<u128>, Vec<Buffer>) {
        self.entries.shrink_to_fit();
        if !self.block.is_empty() {
            self.block.shrink_to_fit();
            self.full_blocks.push(self.block.into());
        }
        (self.entries.into(), self.full_blocks)
    }
}

/// Ids of `N` bytes.
pub(super) struct Ids<const N: usize>(Vec<u8>);

impl<const N: usize> Default for Ids<N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<const N: usize> Values for Ids<N> {
    type Item<'a> = &'a [u8; N];
    fn push(&mut self, item: &[u8; N]) {
        self.0.extend_from_slice(item);
    }
    fn finish(self) -> ArrayRef {
        Arc::new(arrow::array::FixedSizeBinaryArray::new(N as i32, self.0.into(), None))
    }
}

/// Lists of numbers.
pub(super) struct Lists<T: ArrowPrimitiveType> {
    ends: Vec<i32>,
    items: Vec<T::Native>,
}

impl<T: ArrowPrimitiveType> Default for Lists<T> {
    fn default() -> Self {
        Self { ends: vec![0], items: Vec::new() }
    }
}

impl<T: ArrowPrimitiveType> Values for Lists<T> {
    type Item<'a> = &'a [T::Native];
    fn push(&mut self, item: &[T::Native]) {
        self.items.extend_from_slice(item);
        self.ends.push(self.items.len() as i32);
    }
    fn finish(self) -> ArrayRef {
        list(self.ends, Arc::new(PrimitiveArray::<T>::new(self.items.into(), None)))
    }
}

fn list(ends: Vec<i32>, items: ArrayRef) -> ArrayRef {
    let field = Field::new_list_field(items.data_type().clone(), true);
    Arc::new(ListArray::new(Arc::new(field), OffsetBuffer::new(ends.into()), items, None))
}

/// Lists of pairs of quantile and value.
pub(super) struct Quantiles {
    ends: Vec<i32>,
    quantile: Vec<f64>,
    value: Vec<f64>,
}

impl Default for Quantiles {
    fn default() -> Self {
        Self { ends: vec![0], quantile: Vec::new(), value: Vec::new() }
    }
}

impl Values for Quantiles {
    type Item<'a> = &'a [(f64, f64)];
    fn push(&mut self, item: &[(f64, f64)]) {
        self.quantile.extend(item.iter().map(|(q, _)| q));
        self.value.extend(item.iter().map(|(_, v)| v));
        self.ends.push(self.quantile.len() as i32);
    }
    fn finish(self) -> ArrayRef {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(PrimitiveArray::<Float64Type>::new(self.quantile.into(), None)),
            Arc::new(PrimitiveArray::<Float64Type>::new(self.value.into(), None)),
        ];
        list(self.ends, Arc::new(StructArray::new(schema::quantile_fields(), columns, None)))
    }
}

/// Lists of span links.
pub(super) struct LinkLists {
    ends: Vec<i32>,
    trace_id: FixedSizeBinaryBuilder,
    span_id: FixedSizeBinaryBuilder,
    trace_state: StringViewBuilder,
    attributes: StringViewBuilder,
    dropped: UInt32Builder,
    flags: UInt32Builder,
}

impl Default for LinkLists {
    fn default() -> Self {
        Self {
            ends: vec![0],
            trace_id: FixedSizeBinaryBuilder::new(16),
            span_id: FixedSizeBinaryBuilder::new(8),
            trace_state: StringViewBuilder::new(),
            attributes: StringViewBuilder::new(),
            dropped: UInt32Builder::new(),
            flags: UInt32Builder::new(),
        }
    }
}

/// Appends an id or a null; the id must have the builder's width.
fn push_id(builder: &mut FixedSizeBinaryBuilder, id: Option<&[u8]>) {
    match id {
        Some(id) => builder.append_value(id).expect("the width of an id is that of its column"),
        None => builder.append_null(),
    }
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

impl Values for LinkLists {
    type Item<'a> = &'a [Link<'a>];
    fn push(&mut self, item: &[Link<'_>]) {
        for link in item {
            push_id(&mut self.trace_id, link.trace_id.as_ref().map(|id| &id.as_bytes()[..]));
            push_id(&mut self.span_id, link.span_id.as_ref().map(|id| &id.as_bytes()[..]));
            self.trace_state.append_option(non_empty(link.trace_state));
            self.attributes.append_option(non_empty(link.attributes));
            self.dropped.append_value(link.dropped_attributes_count);
            self.flags.append_value(link.flags);
        }
        self.ends.push(arrow::array::ArrayBuilder::len(&self.flags) as i32);
    }
    fn finish(mut self) -> ArrayRef {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            Arc::new(self.trace_state.finish()),
            Arc::new(self.attributes.finish()),
            Arc::new(self.dropped.finish()),
            Arc::new(self.flags.finish()),
        ];
        list(self.ends, Arc::new(StructArray::new(schema::link_fields(), columns, None)))
    }
}

/// Lists of exemplars.
pub(super) struct ExemplarLists {
    ends: Vec<i32>,
    timestamp: TimestampNanosecondBuilder,
    value: Float64Builder,
    value_int: Int64Builder,
    trace_id: FixedSizeBinaryBuilder,
    span_id: FixedSizeBinaryBuilder,
    attributes: StringViewBuilder,
}

impl Default for ExemplarLists {
    fn default() -> Self {
        Self {
            ends: vec![0],
            timestamp: TimestampNanosecondBuilder::new(),
            value: Float64Builder::new(),
            value_int: Int64Builder::new(),
            trace_id: FixedSizeBinaryBuilder::new(16),
            span_id: FixedSizeBinaryBuilder::new(8),
            attributes: StringViewBuilder::new(),
        }
    }
}

impl Values for ExemplarLists {
    type Item<'a> = &'a [Exemplar<'a>];
    fn push(&mut self, item: &[Exemplar<'_>]) {
        for exemplar in item {
            self.timestamp.append_option(exemplar.timestamp_ns);
            self.value.append_option(exemplar.value.map(super::NumberValue::as_f64));
            self.value_int.append_option(exemplar.value.and_then(super::NumberValue::as_int));
            push_id(&mut self.trace_id, exemplar.trace_id.as_ref().map(|id| &id.as_bytes()[..]));
            push_id(&mut self.span_id, exemplar.span_id.as_ref().map(|id| &id.as_bytes()[..]));
            self.attributes.append_option(non_empty(exemplar.attributes));
        }
        self.ends.push(arrow::array::ArrayBuilder::len(&self.timestamp) as i32);
    }
    fn finish(mut self) -> ArrayRef {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.timestamp.finish().with_timezone("UTC")),
            Arc::new(self.value.finish()),
            Arc::new(self.value_int.finish()),
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            Arc::new(self.attributes.finish()),
        ];
        list(self.ends, Arc::new(StructArray::new(schema::exemplar_fields(), columns, None)))
    }
}

/// Collects the values of one attribute key and type.
pub(super) enum AttributeValues {
    Int(Sparse<Ints>),
    Double(Sparse<Doubles>),
    Bool(Sparse<Bools>),
    /// Text and typed JSON.
    Text(Sparse<Texts>),
    Bytes(Sparse<Bytes>),
}

impl AttributeValues {
    pub(super) fn new(ty: AttributeType) -> Self {
        match ty {
            AttributeType::Int => Self::Int(Sparse::default()),
            AttributeType::Double => Self::Double(Sparse::default()),
            AttributeType::Bool => Self::Bool(Sparse::default()),
            AttributeType::Text | AttributeType::Json => Self::Text(Sparse::default()),
            AttributeType::Bytes => Self::Bytes(Sparse::default()),
        }
    }

    /// Adds a value of the column's type; the first value of a row counts, others are ignored.
    pub(super) fn push(&mut self, row: u32, value: Value<'_>) {
        match (self, value) {
            (Self::Int(s), Value::Int(v)) if s.last_row() != Some(row) => s.push(row, v),
            (Self::Double(s), Value::Double(v)) if s.last_row() != Some(row) => s.push(row, v),
            (Self::Bool(s), Value::Bool(v)) if s.last_row() != Some(row) => s.push(row, v),
            (Self::Text(s), Value::Text(v) | Value::Json(v)) if s.last_row() != Some(row) => s.push(row, v),
            (Self::Bytes(s), Value::Bytes(v)) if s.last_row() != Some(row) => s.push(row, v),
            _ => {}
        }
    }

    pub(super) fn finish(self) -> (ScalarBuffer<u32>, ArrayRef) {
        match self {
            Self::Int(s) => s.finish(),
            Self::Double(s) => s.finish(),
            Self::Bool(s) => s.finish(),
            Self::Text(s) => s.finish(),
            Self::Bytes(s) => s.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn repeated_text_is_held_once() {
        let text = ["", "short", "longer than twelve bytes", "longer but another text!", "long"];
        let mut texts = Texts::default();
        let pushed: Vec<&str> = text.into_iter().flat_map(|text| [text; 100]).chain(text).collect();
        for text in &pushed {
            texts.push(text);
        }
        let array = texts.finish();
        let array = array.as_string_view();
        assert_eq!(array.iter().flatten().collect::<Vec<_>>(), pushed);
        let held: usize = array.data_buffers().iter().map(Buffer::len).sum();
        assert_eq!(held, 2 * (text[2].len() + text[3].len()));
    }
}
