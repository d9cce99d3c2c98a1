//! A batch of events: dense core columns, sparse attribute columns.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array, make_array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::take;
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};

use super::sparse::scatter;
use super::{AttributeKey, AttributeType, TypeSet, Value, is_wide, schema, typed_json};
use crate::error::{Error, Result};

/// A range of timestamps, both ends inclusive, in nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TimeRange {
    /// Earliest timestamp.
    pub min_ns: i64,
    /// Latest timestamp, inclusive.
    pub max_ns: i64,
}

impl TimeRange {
    /// Smallest range that contains both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { min_ns: self.min_ns.min(other.min_ns), max_ns: self.max_ns.max(other.max_ns) }
    }
}

/// All values of one type of one attribute key.
#[derive(Debug, Clone)]
pub struct AttributeColumn {
    key: AttributeKey,
    ty: AttributeType,
    rows: ScalarBuffer<u32>,
    values: ArrayRef,
}

impl AttributeColumn {
    pub(super) fn new(
        key: AttributeKey,
        ty: AttributeType,
        rows: ScalarBuffer<u32>,
        values: ArrayRef,
    ) -> Self {
        Self { key, ty, rows, values }
    }

    /// Creates a column of the values in `array` that are not null. `array` has type [`AttributeType::data_type`].
    pub fn from_dense(key: AttributeKey, ty: AttributeType, array: &ArrayRef) -> Result<Self> {
        let rows: ScalarBuffer<u32> =
            (0..array.len() as u32).filter(|row| array.is_valid(*row as usize)).collect();
        let values = if rows.len() == array.len() {
            Arc::clone(array)
        } else {
            take(array, &UInt32Array::new(rows.clone(), None), None)?
        };
        // Some array types keep validity bits that are all set; the values of a column have none.
        let values = if values.nulls().is_some() {
            make_array(values.to_data().into_builder().nulls(None).build()?)
        } else {
            values
        };
        Ok(Self::new(key, ty, rows, values))
    }

    /// Key of the attribute.
    pub fn key(&self) -> &AttributeKey {
        &self.key
    }

    /// Type of all its values.
    pub fn attribute_type(&self) -> AttributeType {
        self.ty
    }

    /// Types that SQL must allow for: the column's type, and whether an integer is wide. Empty if all values are JSON
    /// nulls.
    pub fn types(&self) -> TypeSet {
        let of_type = TypeSet::default().with(self.ty);
        match self.ty {
            AttributeType::Int => {
                let mut values = self.values.as_primitive::<Int64Type>().values().iter();
                if values.any(|value| is_wide(*value)) { of_type.with_wide_integers() } else { of_type }
            }
            AttributeType::Json => {
                let mut values = self.values.as_string_view().iter().flatten();
                if values.all(typed_json::is_null) { TypeSet::default() } else { of_type }
            }
            _ => of_type,
        }
    }

    /// Row numbers with a value, ascending.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Values, without nulls, in the order of [`rows`](Self::rows); of type
    /// [`AttributeType::data_type`].
    pub fn values(&self) -> &ArrayRef {
        &self.values
    }

    /// Value at index `i` of [`values`](Self::values).
    ///
    /// # Panics
    /// If `i` is out of range.
    pub fn value(&self, i: usize) -> Value<'_> {
        match self.ty {
            AttributeType::Int => Value::Int(self.values.as_primitive::<Int64Type>().value(i)),
            AttributeType::Double => Value::Double(self.values.as_primitive::<Float64Type>().value(i)),
            AttributeType::Bool => Value::Bool(self.values.as_boolean().value(i)),
            AttributeType::Text => Value::Text(self.values.as_string_view().value(i)),
            AttributeType::Bytes => Value::Bytes(self.values.as_binary_view().value(i)),
            AttributeType::Json => Value::Json(self.values.as_string_view().value(i)),
        }
    }

    /// Builds an array with one item per row of a batch of `rows` rows; null for rows without a value.
    pub fn dense(&self, rows: usize) -> Result<ArrayRef> {
        scatter(&self.rows, &self.values, rows)
    }
}

/// A batch of events. Immutable; share it in an `Arc`.
#[derive(Debug, Clone)]
pub struct EventBatch {
    core: RecordBatch,
    attributes: Vec<AttributeColumn>,
    time: Option<TimeRange>,
    memory_bytes: usize,
}

impl EventBatch {
    /// Checks the invariants that the rest of the code relies on; the parts come from a builder or from disk.
    ///
    /// Fails with [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the parts do not fit together.
    pub(super) fn new(core: RecordBatch, mut attributes: Vec<AttributeColumn>) -> Result<Self> {
        check_core(&core)?;
        for column in &attributes {
            check_attribute(column, core.num_rows())?;
        }
        attributes.sort_by(|a, b| (&a.key, a.ty).cmp(&(&b.key, b.ty)));
        if attributes.windows(2).any(|w| w[0].key == w[1].key && w[0].ty == w[1].ty) {
            return Err(Error::corrupt("event batch: an attribute column occurs twice"));
        }
        let time = time_range(&core);
        let memory_bytes = memory_bytes(&core, &attributes);
        Ok(Self { core, attributes, time, memory_bytes })
    }

    /// Creates a batch from columns read from a table: core columns with a value, in the order and with the types of
    /// [`schema::core_schema`], and attributes of the same number of rows.
    ///
    /// Fails with [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the columns do not fit this description.
    pub fn from_columns(core: RecordBatch, attributes: Vec<AttributeColumn>) -> Result<Self> {
        Self::new(core, attributes)
    }

    /// Number of events.
    pub fn rows(&self) -> usize {
        self.core.num_rows()
    }

    /// True if there are no events.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// Core columns with a value, in the order and with the types of [`schema::core_schema`]. An absent column is null
    /// in every row.
    pub fn core(&self) -> &RecordBatch {
        &self.core
    }

    /// Attribute columns, ordered by key and type.
    pub fn attributes(&self) -> &[AttributeColumn] {
        &self.attributes
    }

    /// Columns of one key, one per type.
    pub fn attribute(&self, key: &AttributeKey) -> &[AttributeColumn] {
        let start = self.attributes.partition_point(|c| c.key < *key);
        let end = self.attributes.partition_point(|c| c.key <= *key);
        &self.attributes[start..end]
    }

    /// Range of the timestamps; `None` if there are no events.
    pub fn time_range(&self) -> Option<TimeRange> {
        self.time
    }

    /// Memory of the batch in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

/// Checks that all columns are core columns of the right type, in order, and that no required one is missing.
pub(super) fn check_core(core: &RecordBatch) -> Result<()> {
    let mut next = 0;
    for field in core.schema_ref().fields() {
        let index = schema::core_index(field.name()).filter(|i| *i >= next).ok_or_else(|| {
            Error::corrupt(format!("event batch: {:?} is not a core column or is out of order", field.name()))
        })?;
        let expected = schema::core_columns()[index].field.data_type();
        if field.data_type() != expected {
            return Err(Error::corrupt(format!(
                "event batch: column {:?} is {}, expected {expected}",
                field.name(),
                field.data_type()
            )));
        }
        next = index + 1;
    }
    let present: HashSet<_> = core.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
    for column in schema::core_columns().iter().filter(|c| !c.field.is_nullable()) {
        if !present.contains(column.field.name().as_str()) {
            return Err(Error::corrupt(format!("event batch: column {:?} is missing", column.field.name())));
        }
    }
    Ok(())
}

fn check_attribute(column: &AttributeColumn, rows: usize) -> Result<()> {
    let ok = column.rows.len() == column.values.len()
        && column.values.null_count() == 0
        && *column.values.data_type() == column.ty.data_type()
        && column.rows.windows(2).all(|w| w[0] < w[1])
        && column.rows.last().is_none_or(|row| (*row as usize) < rows);
    if ok {
        Ok(())
    } else {
        Err(Error::corrupt(format!(
            "event batch: attribute column {:?} does not fit {rows} rows",
            column.key.physical_name()
        )))
    }
}

fn time_range(core: &RecordBatch) -> Option<TimeRange> {
    let times = core.column_by_name(schema::column::TIMESTAMP)?;
    let times = times.as_primitive::<TimestampNanosecondType>();
    Some(TimeRange { min_ns: arrow::compute::min(times)?, max_ns: arrow::compute::max(times)? })
}

fn memory_bytes(core: &RecordBatch, attributes: &[AttributeColumn]) -> usize {
    let attributes: usize = attributes
        .iter()
        .map(|c| {
            size_of::<AttributeColumn>()
                + c.key.key.len()
                + c.rows.len() * 4
                + c.values.get_array_memory_size()
        })
        .sum();
    core.get_array_memory_size() + attributes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{
        CoreEvent, EventBatchBuilder, Exemplar, Level, Link, NumberValue, Signal, SpanId, TraceId,
    };

    /// A batch with every core column and an attribute of every type.
    fn wide(rows: usize, keys: &[String]) -> EventBatch {
        let mut builder = EventBatchBuilder::new();
        for i in 0..rows {
            let id = TraceId::new([i as u8 + 1; 16]);
            let span = SpanId::new([i as u8 + 1; 8]);
            let link = Link { trace_id: Some(id), attributes: "{}", ..Link::default() };
            let exemplar =
                Exemplar { span_id: Some(span), value: Some(NumberValue::Int(7)), ..Exemplar::default() };
            let links = [link, Link::default()];
            builder.push(&CoreEvent {
                timestamp_ns: 1_700_000_000_000_000_000 - i as i64,
                signal: Signal::ALL[i % 4],
                trace_id: Some(id),
                span_id: (i % 2 == 0).then_some(span),
                name: Some("a name longer than twelve bytes"),
                duration_ns: Some(-1),
                value: Some(NumberValue::Int(i as i64)),
                links: if i == 0 { &[] } else { &links },
                exemplars: &[exemplar],
                bounds: Some(&[0.5, 1.0]),
                bucket_counts: Some(&[1, 2, u64::MAX]),
                quantiles: Some(&[(0.5, 2.0)]),
                ..CoreEvent::default()
            });
            for (k, key) in keys.iter().enumerate().filter(|(k, _)| (k + i) % 3 != 0) {
                let id = builder.key(Level::ALL[k % 4], key);
                builder.attribute(
                    id,
                    match (k + i) % 6 {
                        0 => Value::Int(i as i64),
                        1 => Value::Double(f64::NEG_INFINITY),
                        2 => Value::Bool(true),
                        3 => Value::Text(key),
                        4 => Value::Bytes(&[0, 255]),
                        _ => Value::Json("[1,null]"),
                    },
                );
            }
        }
        builder.finish().unwrap()
    }

    fn assert_same(a: &EventBatch, b: &EventBatch) {
        assert_eq!(a.core(), b.core());
        assert_eq!(a.attributes().len(), b.attributes().len());
        for (a, b) in a.attributes().iter().zip(b.attributes()) {
            assert_eq!((a.key(), a.attribute_type(), a.rows()), (b.key(), b.attribute_type(), b.rows()));
            assert_eq!(a.values(), b.values());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_codec_round_trips(rows in 0_usize..20, keys in proptest::collection::vec(".{0,20}", 0..8)) {
            let batch = wide(rows, &keys);
            assert_same(&batch, &EventBatch::decode(&batch.encode().unwrap()).unwrap());
        }

        #[test]
        fn damaged_attribute_bytes_are_errors_never_panics(cut in 0.0..1.0_f64, flip in 0_u8..=255) {
            let keys: Vec<String> = (0..7).map(|i| format!("key {i}")).collect();
            let batch = wide(9, &keys);
            let mut bytes = batch.encode().unwrap();
            let core = 8 + u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
            let at = core + ((bytes.len() - core - 1) as f64 * cut) as usize;
            prop_assert!(EventBatch::decode(&bytes[..at]).is_err());
            bytes[at] ^= flip;
            let _ = EventBatch::decode(&bytes);
        }
    }

    #[test]
    fn a_small_batch_of_many_columns_is_small() {
        let mut builder = EventBatchBuilder::new();
        builder.push(&CoreEvent::default());
        for i in 0..200 {
            let key = builder.key(Level::Record, &format!("key.{i}"));
            builder.attribute(key, Value::Text("longer than twelve bytes"));
        }
        let bytes = builder.finish().unwrap().memory_bytes();
        assert!(bytes < 200 * 512, "200 texts take {bytes} bytes");
    }
}
