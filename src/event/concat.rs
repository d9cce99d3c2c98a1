//! Concatenation of batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema};

use super::batch::AttributeColumn;
use super::{AttributeKey, AttributeType, EventBatch, schema};
use crate::error::Result;

impl EventBatch {
    /// Concatenates the events of all `batches`, in order: many small batches are slower to query than a large one.
    pub fn concat(batches: &[Arc<Self>]) -> Result<Self> {
        Self::new(concat_core(batches)?, concat_attributes(batches)?)
    }
}

fn concat_core(batches: &[Arc<EventBatch>]) -> Result<RecordBatch> {
    let mut fields: Vec<Field> = Vec::new();
    let mut columns = Vec::new();
    for column in schema::core_columns() {
        let field = &column.field;
        let parts: Vec<_> =
            batches.iter().map(|b| (b.rows(), b.core().column_by_name(field.name()))).collect();
        if field.is_nullable() && parts.iter().all(|(_, part)| part.is_none()) {
            continue;
        }
        let null = |rows| new_null_array(field.data_type(), rows);
        let parts: Vec<_> =
            parts.into_iter().map(|(n, part)| part.map_or_else(|| null(n), Arc::clone)).collect();
        columns.push(concat_arrays(&parts)?);
        fields.push(field.clone());
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn concat_attributes(batches: &[Arc<EventBatch>]) -> Result<Vec<AttributeColumn>> {
    type Parts = (Vec<u32>, Vec<ArrayRef>);
    let mut columns: BTreeMap<(&AttributeKey, AttributeType), Parts> = BTreeMap::new();
    let mut offset = 0;
    for batch in batches {
        for column in batch.attributes() {
            let (rows, values) = columns.entry((column.key(), column.attribute_type())).or_default();
            rows.extend(column.rows().iter().map(|row| row + offset));
            values.push(Arc::clone(column.values()));
        }
        offset += batch.rows() as u32;
    }
    let column = |((key, ty), (rows, values)): ((&AttributeKey, _), Parts)| {
        Ok(AttributeColumn::new(key.clone(), ty, ScalarBuffer::from(rows), concat_arrays(&values)?))
    };
    columns.into_iter().map(column).collect()
}

/// Concatenates arrays. Copies text and bytes into one buffer; otherwise the old buffers would stay in memory, each
/// for a few bytes.
fn concat_arrays(parts: &[ArrayRef]) -> Result<ArrayRef> {
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let all = concat(&parts)?;
    Ok(match all.data_type() {
        DataType::Utf8View => Arc::new(all.as_string_view().gc()),
        DataType::BinaryView => Arc::new(all.as_binary_view().gc()),
        _ => all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CoreEvent, EventBatchBuilder, Level, SpanId, Value};

    /// Rows `range` of a stream in which keys appear, disappear and change their type.
    fn batch(range: std::ops::Range<i64>) -> Arc<EventBatch> {
        let mut builder = EventBatchBuilder::new();
        for i in range {
            let key = builder.key(Level::Record, ["a", "b", "c"][(i % 3) as usize]);
            let text = format!("a text that is longer than twelve bytes {i}");
            let span_id = SpanId::from_slice(&i.to_be_bytes()).filter(|_| i > 4);
            builder.push(&CoreEvent { timestamp_ns: i, name: Some(&text), span_id, ..CoreEvent::default() });
            builder.attribute(key, if i % 2 == 0 { Value::Int(i) } else { Value::Text(&text) });
        }
        Arc::new(builder.finish().unwrap())
    }

    #[test]
    fn parts_together_are_the_whole() {
        let parts = [batch(0..1), batch(1..4), batch(4..5), batch(5..20)];
        let joined = EventBatch::concat(&parts).unwrap();
        let whole = batch(0..20);
        assert_eq!(joined.core(), whole.core());
        // The bytes under nulls may differ, so the printed values are compared.
        assert_eq!(format!("{:?}", joined.attributes()), format!("{:?}", whole.attributes()));
        assert_eq!(joined.time_range(), whole.time_range());
    }
}
