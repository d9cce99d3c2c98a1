//! Which Parquet columns do these events need?
//!
//! Each segment decides from its own data. A key gets a column if enough rows have it and there are not too many
//! keys; the column has the type of most of its values. Everything else, rare keys and values of minority types,
//! goes into one text column, [`schema::OVERFLOW`]: per row a typed JSON object from physical names to values. So a
//! million distinct keys cost bytes, never schema.
//!
//! ```text
//!   timestamp … sample_weight | http.route  resource.service.name … | overflow
//!        core columns          |  attributes with a column           | {"retry.count":"three"}
//! ```
//!
//! A [`PhysicalLayout`] is the decision (pure), made from [`ValueCounts`]. [`PhysicalLayout::materialize`]
//! applies it to batches, one column at a time, so that a wide segment is never in memory as a whole. The scan of
//! the buffer reads batches through the same layout, without limits, so that a query sees one shape everywhere.
//! Compaction decides again from the contents of its segments.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimestampNanosecondType};
use arrow_schema::extension::Json;

use super::batch::AttributeColumn;
use super::overflow::OverflowBuilder;
use super::{AttributeKey, AttributeType, EventBatch, schema};
use crate::error::Result;

/// Longest key with a column, in bytes; longer keys overflow.
const COLUMN_KEY_BYTES_MAX: usize = 256;

/// Conditions for a key to get a column.
#[derive(Debug, Clone, Copy)]
pub struct LayoutLimits {
    /// Most attribute columns; the keys with the most values get them.
    pub columns_max: usize,
    /// Most rows per value of a key: a rarer key gets no column.
    pub rows_per_value_max: usize,
}

impl LayoutLimits {
    /// Limits for segments. A column costs about a kilobyte of metadata; a value in the overflow costs its name.
    pub const SEGMENT: Self = Self { columns_max: 1000, rows_per_value_max: 2000 };

    /// No limits, for batches that are read in memory: only minority types and keys that are too long overflow.
    pub const UNLIMITED: Self = Self { columns_max: usize::MAX, rows_per_value_max: usize::MAX };
}

/// Source of a physical column's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A core column, by its index in [`schema::core_columns`].
    Core(usize),
    /// The values of this key with this type.
    Attribute(AttributeKey, AttributeType),
    /// All values without a column.
    Overflow,
}

/// One column of a layout.
#[derive(Debug, Clone)]
pub struct PhysicalColumn {
    /// Physical name, type in memory, and the JSON extension if its values are typed JSON.
    pub field: FieldRef,
    /// Source of its values.
    pub source: Source,
}

/// Physical columns of a set of events, in order: core, attributes by physical name, overflow.
#[derive(Debug, Clone)]
pub struct PhysicalLayout {
    columns: Vec<PhysicalColumn>,
    by_name: HashMap<String, usize>,
}

impl PhysicalLayout {
    /// Decides the columns for the events of all `batches` together.
    pub fn decide(batches: &[Arc<EventBatch>], limits: LayoutLimits) -> Self {
        Self::of_counts(&ValueCounts::of(batches), limits)
    }

    /// Decides the columns for events with these numbers of values.
    pub fn of_counts(counts: &ValueCounts, limits: LayoutLimits) -> Self {
        let ValueCounts { rows, core, attributes } = counts;
        let total: usize = attributes.values().flatten().sum();
        let mut owners: Vec<(&AttributeKey, AttributeType, usize)> = attributes
            .iter()
            .filter(|(key, _)| key.key.len() <= COLUMN_KEY_BYTES_MAX)
            .map(|(key, counts)| (key, majority(counts), counts.iter().sum()))
            .filter(|(_, _, count): &(_, _, usize)| count.saturating_mul(limits.rows_per_value_max) >= *rows)
            .collect();
        owners.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(b.0)));
        owners.truncate(limits.columns_max);
        let held: usize = owners.iter().map(|(key, ty, _)| attributes[*key][*ty as usize]).sum();

        let mut columns: Vec<_> = core.iter().map(|i| core_column(*i)).collect();
        let mut owned: Vec<_> = owners.into_iter().map(|(key, ty, _)| attribute_column(key, ty)).collect();
        owned.sort_by(|a, b| a.field.name().cmp(b.field.name()));
        columns.append(&mut owned);
        if held < total {
            let field =
                Field::new(schema::OVERFLOW, DataType::Utf8View, true).with_extension_type(Json::default());
            columns.push(PhysicalColumn { field: Arc::new(field), source: Source::Overflow });
        }
        let by_name = columns.iter().enumerate().map(|(i, c)| (c.field.name().clone(), i)).collect();
        Self { columns, by_name }
    }

    /// Columns, in order.
    pub fn columns(&self) -> &[PhysicalColumn] {
        &self.columns
    }

    /// Position of the column with this physical name.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Arrow schema of all columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|c| Arc::clone(&c.field)).collect::<Vec<_>>()))
    }

    /// Builds the values of one column in the row order `order`. O(rows + values).
    ///
    /// # Panics
    /// If `column` is out of range, or `order` was made for other batches.
    pub fn materialize(
        &self,
        column: usize,
        batches: &[Arc<EventBatch>],
        order: &RowOrder,
    ) -> Result<ArrayRef> {
        let column = &self.columns[column];
        match &column.source {
            Source::Core(_) => {
                let parts = batches.iter().map(|b| b.core().column_by_name(column.field.name()));
                let parts: Vec<_> = parts.map(|array| array.map(|array| (None, Arc::clone(array)))).collect();
                gather(column.field.data_type(), &parts, order)
            }
            Source::Attribute(key, ty) => {
                let parts = batches.iter().map(|batch| {
                    let column = batch.attribute(key).iter().find(|c| c.attribute_type() == *ty)?;
                    Some((Some(column.rows()), Arc::clone(column.values())))
                });
                gather(column.field.data_type(), &parts.collect::<Vec<_>>(), order)
            }
            Source::Overflow => Ok(self.overflow(batches, order)),
        }
    }

    /// Lists the physical names of attributes that have values in the overflow.
    pub fn overflowing(&self, batches: &[Arc<EventBatch>]) -> BTreeSet<String> {
        let columns = batches.iter().flat_map(|batch| batch.attributes());
        let names = columns.map(|column| (column, column.key().physical_name()));
        let overflows =
            |(column, name): &(&AttributeColumn, String)| !self.holds(name, column.attribute_type());
        names.filter(overflows).map(|(_, name)| name).collect()
    }

    /// True if the values of this type of the attribute with this physical name have a column.
    pub fn holds(&self, name: &str, ty: AttributeType) -> bool {
        let Some(index) = self.index_of(name) else { return false };
        matches!(&self.columns[index].source, Source::Attribute(_, owner) if *owner == ty)
    }

    fn overflow(&self, batches: &[Arc<EventBatch>], order: &RowOrder) -> ArrayRef {
        let mut builder = OverflowBuilder::new(order.len());
        for (batch, positions) in batches.iter().zip(&order.positions) {
            for column in batch.attributes() {
                let name = column.key().physical_name();
                if self.holds(&name, column.attribute_type()) {
                    continue;
                }
                for (i, row) in column.rows().iter().enumerate() {
                    builder.push(positions[*row as usize] as usize, &name, &column.value(i));
                }
            }
        }
        builder.finish()
    }
}

/// Input of a layout decision: core columns with values, and the number of values by key and type.
#[derive(Debug, Clone, Default)]
pub struct ValueCounts {
    rows: usize,
    /// Core columns with values, by position in [`schema::core_columns`].
    core: BTreeSet<usize>,
    attributes: HashMap<AttributeKey, [usize; 6]>,
}

impl ValueCounts {
    /// Counts the values of all `batches` together.
    pub fn of(batches: &[Arc<EventBatch>]) -> Self {
        let mut counts = Self::default();
        for batch in batches {
            counts.add_rows(batch.rows());
            batch.core().schema_ref().fields().iter().for_each(|field| counts.add_core(field.name()));
            for column in batch.attributes() {
                counts.add(column.key(), column.attribute_type(), column.rows().len());
            }
        }
        counts
    }

    /// Counts events.
    pub fn add_rows(&mut self, rows: usize) {
        self.rows += rows;
    }

    /// Notes that the core column `name` has values; other names are ignored.
    pub fn add_core(&mut self, name: &str) {
        self.core.extend(schema::core_index(name));
    }

    /// Counts values of a key with this type.
    pub fn add(&mut self, key: &AttributeKey, ty: AttributeType, values: usize) {
        if !self.attributes.contains_key(key) {
            self.attributes.insert(key.clone(), [0; 6]);
        }
        if let Some(counts) = self.attributes.get_mut(key) {
            counts[ty as usize] += values;
        }
    }
}

/// Type of most values; the first one if several are equally frequent.
fn majority(counts: &[usize; 6]) -> AttributeType {
    AttributeType::ALL.into_iter().rev().max_by_key(|ty| counts[*ty as usize]).unwrap_or(AttributeType::Text)
}

fn core_column(index: usize) -> PhysicalColumn {
    let field = Arc::new(schema::core_columns()[index].field.clone());
    PhysicalColumn { field, source: Source::Core(index) }
}

/// Field of a column with the values of one type of the attribute with this physical name.
pub fn attribute_field(name: &str, ty: AttributeType) -> Field {
    let field = Field::new(name, ty.data_type(), true);
    if ty == AttributeType::Json { field.with_extension_type(Json::default()) } else { field }
}

fn attribute_column(key: &AttributeKey, ty: AttributeType) -> PhysicalColumn {
    let field = Arc::new(attribute_field(&key.physical_name(), ty));
    PhysicalColumn { field, source: Source::Attribute(key.clone(), ty) }
}

/// Output order of the rows of several batches.
#[derive(Debug, Clone)]
pub struct RowOrder {
    /// Position in the output, by batch and row.
    positions: Vec<Vec<u32>>,
    len: usize,
}

impl RowOrder {
    /// Keeps the order of batches and rows.
    pub fn as_arrived(batches: &[Arc<EventBatch>]) -> Self {
        let mut next = 0..;
        let positions = batches.iter().map(|b| next.by_ref().take(b.rows()).collect()).collect();
        Self { positions, len: batches.iter().map(|b| b.rows()).sum() }
    }

    /// Creates the order that lists rows as (batch, row); every row of every batch must occur exactly once.
    ///
    /// # Panics
    /// If a batch or row is out of range.
    pub fn new(batches: &[Arc<EventBatch>], order: &[(u32, u32)]) -> Self {
        let mut positions: Vec<Vec<u32>> = batches.iter().map(|b| vec![0; b.rows()]).collect();
        for (position, (batch, row)) in order.iter().enumerate() {
            positions[*batch as usize][*row as usize] = position as u32;
        }
        Self { positions, len: order.len() }
    }

    /// Orders the rows of several parts by descending timestamp; ties stay in the order of parts and rows.
    /// `timestamps` has the timestamps of each part. O(n log parts) if every part is already in order.
    pub fn newest_first(timestamps: &[&[i64]]) -> Self {
        let rows = |part: &&[i64]| part.len();
        let mut order: Vec<(i64, u32, u32)> = Vec::with_capacity(timestamps.iter().map(rows).sum());
        for (part, timestamps) in timestamps.iter().enumerate() {
            order.extend(timestamps.iter().enumerate().map(|(row, ts)| (*ts, part as u32, row as u32)));
        }
        // The sort is stable, and fast on runs that are already sorted.
        order.sort_by_key(|(ts, ..)| Reverse(*ts));
        let mut positions: Vec<Vec<u32>> = timestamps.iter().map(|part| vec![0; part.len()]).collect();
        for (position, (_, part, row)) in order.iter().enumerate() {
            positions[*part as usize][*row as usize] = position as u32;
        }
        Self { positions, len: order.len() }
    }

    /// True if there is a single part whose order does not change.
    fn is_as_arrived(&self) -> bool {
        self.positions.len() == 1 && self.positions[0].iter().enumerate().all(|(i, p)| i == *p as usize)
    }

    /// Positions of rows in the output, by part and row.
    pub fn positions(&self) -> &[Vec<u32>] {
        &self.positions
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Timestamps of a batch, nanoseconds since the epoch.
pub fn timestamps(batch: &EventBatch) -> &[i64] {
    let column = batch.core().column_by_name(schema::column::TIMESTAMP);
    column.map_or(&[], |column| column.as_primitive::<TimestampNanosecondType>().values())
}

/// One part's values of a column: the rows with a value (`None` for all rows), and the values.
pub type Part<'a> = (Option<&'a [u32]>, ArrayRef);

/// Builds a column from the values of `parts` in the row order `order`; null for rows without a value.
///
/// # Panics
/// If `order` was made for other parts.
pub fn gather(ty: &DataType, parts: &[Option<Part<'_>>], order: &RowOrder) -> Result<ArrayRef> {
    if let [Some((None, values))] = parts
        && order.is_as_arrived()
    {
        return Ok(Arc::clone(values));
    }
    let null = new_null_array(ty, 1);
    let mut arrays: Vec<&dyn Array> = vec![null.as_ref()];
    let mut indices = vec![(0, 0); order.len()];
    let mut filled = 0;
    for (part, positions) in parts.iter().zip(&order.positions) {
        let Some((rows, values)) = part else { continue };
        let array = arrays.len();
        arrays.push(values.as_ref());
        filled += values.len();
        match rows {
            None => positions.iter().enumerate().for_each(|(i, p)| indices[*p as usize] = (array, i)),
            Some(rows) => {
                rows.iter()
                    .enumerate()
                    .for_each(|(i, row)| indices[positions[*row as usize] as usize] = (array, i));
            }
        }
    }
    if filled == order.len() && arrays.len() > 1 {
        // Every row has a value: without the null array, the result needs no null mask.
        arrays.remove(0);
        for (array, _) in &mut indices {
            *array -= 1;
        }
    }
    Ok(interleave(&arrays, &indices)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::event::{CoreEvent, EventBatchBuilder, Level, Value};

    fn batch(rows: &[&[(&str, Value<'_>)]]) -> Arc<EventBatch> {
        let mut builder = EventBatchBuilder::new();
        for (i, attributes) in rows.iter().enumerate() {
            builder.push(&CoreEvent { timestamp_ns: i as i64, ..CoreEvent::default() });
            for (key, value) in *attributes {
                let key = builder.key(Level::Record, key);
                builder.attribute(key, *value);
            }
        }
        Arc::new(builder.finish().unwrap())
    }

    #[test]
    fn the_majority_type_owns_the_column_and_the_rest_overflows() {
        let batches = [
            batch(&[&[("k", Value::Int(1))], &[("k", Value::Text("two")), ("x", Value::Bool(true))]]),
            batch(&[&[("k", Value::Int(3))]]),
        ];
        let layout = PhysicalLayout::decide(&batches, LayoutLimits::UNLIMITED);
        let order = RowOrder::new(&batches, &[(1, 0), (0, 1), (0, 0)]);
        let k = layout.materialize(layout.index_of("k").unwrap(), &batches, &order).unwrap();
        assert_eq!(k.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(3), None, Some(1)]);
        assert_eq!(layout.overflowing(&batches).into_iter().collect::<Vec<_>>(), ["k"]);
        let rest = layout.materialize(layout.index_of("overflow").unwrap(), &batches, &order).unwrap();
        assert_eq!(rest.as_string_view().iter().collect::<Vec<_>>(), [None, Some(r#"{"k":"two"}"#), None]);
    }

    #[test]
    fn rare_keys_and_keys_beyond_the_limit_overflow() {
        let rows: Vec<Vec<(&str, Value<'_>)>> = (0..10)
            .map(|i| {
                if i == 0 {
                    vec![("often", Value::Int(i)), ("rare", Value::Int(i))]
                } else {
                    vec![("often", Value::Int(i))]
                }
            })
            .collect();
        let rows: Vec<&[(&str, Value<'_>)]> = rows.iter().map(Vec::as_slice).collect();
        let batches = [batch(&rows)];
        let names = |limits| {
            let layout = PhysicalLayout::decide(&batches, limits);
            let attributes = layout.columns().iter().filter(|c| !matches!(c.source, Source::Core(_)));
            attributes.map(|c| c.field.name().clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(LayoutLimits::UNLIMITED), ["often", "rare"]);
        assert_eq!(names(LayoutLimits { columns_max: 1, ..LayoutLimits::UNLIMITED }), ["often", "overflow"]);
        assert_eq!(names(LayoutLimits { columns_max: 9, rows_per_value_max: 5 }), ["often", "overflow"]);
    }
}
