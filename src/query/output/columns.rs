//! Rows as JSON by column, for programs that draw: names once, and a list of values per column.
//!
//! Values read as in [`cell`](super::cell), except that integers beyond ±(2⁵³ − 1) are text, since readers of JSON
//! make doubles of numbers.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use serde_json::{Value, json};

use super::{cell, distinct_names};
use crate::error::Result;

/// Largest integer that every double below it can tell from its neighbours.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// Name and type of each column: `[{"name": "http.route", "type": "text"}]`.
///
/// Types are `text`, `json`, `integer`, `double`, `decimal`, `boolean`, `timestamp`, `date`, `id` (hexadecimal),
/// `bytes` (base64), `list`, `map`, `interval`, `null`, and `other`.
pub fn columns(schema: &SchemaRef) -> Value {
    distinct_names(schema)
        .fields()
        .iter()
        .map(|field| json!({ "name": field.name(), "type": type_name(field) }))
        .collect()
}

fn type_name(field: &Field) -> &'static str {
    match field.data_type() {
        DataType::Dictionary(_, value) => type_name(&Field::new("", value.as_ref().clone(), true)),
        _ if cell::is_json(field) => "json",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Boolean => "boolean",
        ty if ty.is_integer() => "integer",
        ty if ty.is_floating() => "double",
        ty if ty.is_decimal() => "decimal",
        DataType::Timestamp(_, _) => "timestamp",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::FixedSizeBinary(_) => "id",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes",
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => "list",
        DataType::Struct(_) | DataType::Map(_, _) => "map",
        DataType::Duration(_) | DataType::Interval(_) | DataType::Time32(_) | DataType::Time64(_) => {
            "interval"
        }
        DataType::Null => "null",
        _ => "other",
    }
}

/// Appends the values of `batch`: `[["/cart", "/checkout"], [12, 7]]`.
pub fn write_data(out: &mut String, batch: &RecordBatch) -> Result<()> {
    let schema: &Schema = batch.schema_ref();
    out.push('[');
    for (i, (array, field)) in batch.columns().iter().zip(schema.fields()).enumerate() {
        out.push_str(if i > 0 { ",[" } else { "[" });
        for row in 0..batch.num_rows() {
            if row > 0 {
                out.push(',');
            }
            if is_beyond(array, row) {
                cell::write_json_text(out, &cell::display(array, row, field)?);
            } else {
                cell::write_json(out, array, row, field)?;
            }
        }
        out.push(']');
    }
    out.push(']');
    Ok(())
}

/// Is the value an integer that a double may not hold?
fn is_beyond(array: &ArrayRef, row: usize) -> bool {
    if array.is_null(row) {
        return false;
    }
    match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).unsigned_abs() > EXACT_MAX,
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row) > EXACT_MAX,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray, UInt64Array};

    use super::*;

    #[test]
    fn integers_that_doubles_cannot_hold_are_text() {
        let batch = RecordBatch::try_from_iter([
            (
                "i",
                Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(-7), None, Some(1 << 53)])) as ArrayRef,
            ),
            ("u", Arc::new(UInt64Array::from(vec![u64::MAX, 0, EXACT_MAX, 1]))),
            ("x", Arc::new(Float64Array::from(vec![0.5, f64::NAN, 1e300, -0.0]))),
            ("s", Arc::new(StringArray::from(vec!["a\"b", "", "\u{1}", "ü"]))),
        ])
        .unwrap();
        let mut out = String::new();
        write_data(&mut out, &batch).unwrap();
        let values: Value = serde_json::from_str(&out).unwrap();
        let integers = json!(["-9223372036854775808", -7, null, "9007199254740992"]);
        assert_eq!(values[0], integers);
        assert_eq!(values[1], json!(["18446744073709551615", 0, 9_007_199_254_740_991_u64, 1]));
        assert_eq!(values[2], json!([0.5, null, 1e300, -0.0]));
        assert_eq!(values[3], json!(["a\"b", "", "\u{1}", "ü"]));
        let names = columns(&batch.schema());
        assert_eq!(names[0], json!({ "name": "i", "type": "integer" }));
        assert_eq!(names[3], json!({ "name": "s", "type": "text" }));
    }
}
