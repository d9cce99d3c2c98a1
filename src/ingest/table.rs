//! How do the rows of Arrow record batches, for example from Parquet files, become events?
//!
//! Broadloom's own segments, and the Parquet or Arrow output of its queries, are recognised by their core
//! columns and read column by column, without loss. Any other table is read row by row: columns are fields
//! as in CSV ([`super::fields`]) and keep their types; structs and maps flatten to dotted names, lists become
//! typed JSON. Decimals become doubles. Dates and times of any unit become nanoseconds, or text if they are out
//! of range. Types without a counterpart (intervals, times of day) become text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, RecordBatch, StructArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, DurationNanosecondType, Field, Float64Type, Int64Type, TimeUnit, UInt64Type,
};

use super::fields::FieldMap;
use super::ndjson::typed_json_of;
use super::record::{Assembler, Decoded, FieldId, Hints, Refused, Scalar};
use crate::error::{Error, Result};
use crate::event::overflow::{self, OverflowValues};
use crate::event::{AttributeColumn, AttributeKey, AttributeType, EventBatch, Value, schema, typed_json};

/// Decodes the rows of a batch. [`Refused::position`] counts rows.
///
/// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a column has a type that cannot be
/// read; the message names the column.
pub fn decode(batch: &RecordBatch, map: &FieldMap, now_ns: i64) -> Result<Decoded> {
    if map.is_empty() && is_own(batch) {
        return Ok(Decoded { batch: own(batch)?, refused: Vec::new(), hints: Hints::default() });
    }
    let mut out = Assembler::new(map, now_ns);
    let mut columns = Vec::new();
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let found = Found { name: field.name(), holds_json: is_json(field), array, mask: None };
        found.open(&mut out, &mut columns)?;
    }
    let mut refused = Vec::new();
    for row in 0..batch.num_rows() {
        out.begin();
        let committed =
            columns.iter().try_for_each(|column| column.give(row, &mut out)).and_then(|()| out.commit());
        if let Err(reason) = committed {
            refused.push(Refused { position: row as u64, column: None, bytes: 0..0, reason });
        }
    }
    let (batch, hints) = out.finish()?;
    Ok(Decoded { batch, refused, hints })
}

fn is_json(field: &Field) -> bool {
    field.extension_type_name() == Some("arrow.json")
}

/// True if the columns are those of an event table.
fn is_own(batch: &RecordBatch) -> bool {
    use schema::column::{SAMPLE_WEIGHT, SIGNAL, TIMESTAMP};
    let own_type = |ty: &DataType| {
        matches!(ty, DataType::Int64 | DataType::Float64 | DataType::Boolean) || is_text(ty) || is_bytes(ty)
    };
    let required = |name: &str| batch.column_by_name(name).is_some_and(|c| c.null_count() == 0);
    [TIMESTAMP, SIGNAL, SAMPLE_WEIGHT].into_iter().all(required)
        && matches!(
            batch.column_by_name(TIMESTAMP).map(arrow::array::Array::data_type),
            Some(DataType::Timestamp(TimeUnit::Nanosecond, _))
        )
        && batch.schema_ref().fields().iter().all(|field| match field.name().as_str() {
            schema::OVERFLOW => is_text(field.data_type()),
            schema::ATTRIBUTES | schema::TYPED_ATTRIBUTES => false,
            name => schema::core_index(name).is_some() || own_type(field.data_type()),
        })
}

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_bytes(ty: &DataType) -> bool {
    matches!(ty, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// Reads an event table column by column.
fn own(batch: &RecordBatch) -> Result<EventBatch> {
    let mut core = Vec::new();
    let mut attributes = Vec::new();
    for column in schema::core_columns() {
        let Some(array) = batch.column_by_name(column.field.name()) else { continue };
        if array.null_count() < array.len() || !column.field.is_nullable() {
            core.push((
                Arc::new(column.field.clone()),
                convert(column.field.name(), array, column.field.data_type())?,
            ));
        }
    }
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let Some(key) = AttributeKey::from_physical_name(field.name()) else { continue };
        let ty = match field.data_type() {
            DataType::Int64 => AttributeType::Int,
            DataType::Float64 => AttributeType::Double,
            DataType::Boolean => AttributeType::Bool,
            ty if is_bytes(ty) => AttributeType::Bytes,
            _ if is_json(field) => AttributeType::Json,
            _ => AttributeType::Text,
        };
        if array.null_count() < array.len() {
            attributes.push(AttributeColumn::from_dense(
                key,
                ty,
                &convert(field.name(), array, &ty.data_type())?,
            )?);
        }
    }
    if let Some(overflow) = batch.column_by_name(schema::OVERFLOW) {
        attributes.extend(overflowed(&convert(schema::OVERFLOW, overflow, &DataType::Utf8View)?)?);
    }
    let (fields, arrays): (Vec<_>, Vec<_>) = core.into_iter().unzip();
    let core = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), arrays)?;
    EventBatch::from_columns(core, attributes)
}

fn convert(name: &str, array: &ArrayRef, ty: &DataType) -> Result<ArrayRef> {
    if array.data_type() == ty {
        return Ok(Arc::clone(array));
    }
    cast(array, ty).map_err(|e| Error::invalid(format!("column {name:?}: {e}")).with_source(e))
}

/// Reads the attributes in an overflow column: one typed JSON object per row, from physical names to values.
fn overflowed(overflow: &ArrayRef) -> Result<Vec<AttributeColumn>> {
    let mut values = OverflowValues::default();
    for (row, object) in overflow.as_string_view().iter().enumerate() {
        for entry in object.map(overflow::entries).transpose()?.unwrap_or_default() {
            if let Some(key) = AttributeKey::from_physical_name(&entry.name) {
                values.push(key, row as u32, &entry)?;
            }
        }
    }
    Ok(values.finish())
}

/// A column of a foreign table, ready to be read by row.
struct Column {
    field: FieldId,
    /// Nulls of the structs around the column.
    mask: Option<NullBuffer>,
    cells: Cells,
}

enum Cells {
    Int(ArrayRef),
    UInt(ArrayRef),
    Double(ArrayRef),
    Bool(ArrayRef),
    Text(ArrayRef),
    JsonText(ArrayRef),
    Bytes(ArrayRef),
    /// Numbers since the epoch.
    Time(ArrayRef, TimeUnit),
    Duration(ArrayRef),
    Nested(ArrayRef),
    /// Entries become fields named after the column and their key.
    Map(ArrayRef, String),
}

/// Type to which values of `ty` are converted before they are read.
fn plain(ty: &DataType) -> DataType {
    use DataType as D;
    let item = |field: &Field| Arc::new(Field::new_list_field(plain(field.data_type()), true));
    match ty {
        D::Int8 | D::Int16 | D::Int32 | D::Int64 | D::UInt8 | D::UInt16 | D::UInt32 => D::Int64,
        D::UInt64 => D::UInt64,
        D::Float16
        | D::Float32
        | D::Float64
        | D::Decimal32(..)
        | D::Decimal64(..)
        | D::Decimal128(..)
        | D::Decimal256(..) => D::Float64,
        D::Boolean => D::Boolean,
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => D::Binary,
        // Not converted to nanoseconds: times out of range would be lost.
        D::Timestamp(..) | D::Date32 | D::Date64 | D::Map(..) => ty.clone(),
        D::Duration(_) => D::Duration(TimeUnit::Nanosecond),
        D::List(field) | D::LargeList(field) | D::FixedSizeList(field, _) => D::List(item(field)),
        D::Struct(fields) => {
            D::Struct(fields.iter().map(|f| Field::new(f.name(), plain(f.data_type()), true)).collect())
        }
        D::Dictionary(_, values) => plain(values),
        _ => D::Utf8View,
    }
}

/// A column as the table has it.
struct Found<'a> {
    name: &'a str,
    /// True if its text is declared as JSON.
    holds_json: bool,
    array: &'a ArrayRef,
    /// Nulls of the structs around the column.
    mask: Option<NullBuffer>,
}

impl Found<'_> {
    /// Opens the column; a struct is flattened to several.
    fn open(self, out: &mut Assembler, columns: &mut Vec<Column>) -> Result<()> {
        let Self { name, holds_json, array, mask } = self;
        if *array.data_type() == DataType::Null {
            return Ok(());
        }
        if let Some(parts) = array.as_any().downcast_ref::<StructArray>() {
            let mask = NullBuffer::union(mask.as_ref(), parts.nulls());
            for (field, part) in parts.fields().iter().zip(parts.columns()) {
                let name = format!("{name}.{}", field.name());
                let part = Found { name: &name, holds_json: is_json(field), array: part, mask: mask.clone() };
                part.open(out, columns)?;
            }
            return Ok(());
        }
        let array = convert(name, array, &plain(array.data_type()))?;
        let cells = match array.data_type() {
            DataType::Int64 => Cells::Int(array),
            DataType::UInt64 => Cells::UInt(array),
            DataType::Float64 => Cells::Double(array),
            DataType::Boolean => Cells::Bool(array),
            DataType::Binary => Cells::Bytes(array),
            DataType::Timestamp(unit, _) => {
                let unit = *unit;
                Cells::Time(convert(name, &array, &DataType::Int64)?, unit)
            }
            DataType::Date32 | DataType::Date64 => {
                let days = convert(name, &array, &DataType::Date64)?;
                Cells::Time(convert(name, &days, &DataType::Int64)?, TimeUnit::Millisecond)
            }
            DataType::Duration(_) => Cells::Duration(array),
            DataType::Map(..) => Cells::Map(array, name.to_owned()),
            DataType::Utf8View if holds_json => Cells::JsonText(array),
            DataType::Utf8View => Cells::Text(array),
            _ => Cells::Nested(array),
        };
        columns.push(Column { field: out.field(name), mask, cells });
        Ok(())
    }
}

impl Column {
    /// Passes the value of a row, unless it is null, to the assembler.
    fn give(&self, row: usize, out: &mut Assembler) -> Result<(), String> {
        if self.mask.as_ref().is_some_and(|mask| mask.is_null(row)) || self.array().is_null(row) {
            return Ok(());
        }
        let field = self.field;
        match &self.cells {
            Cells::Int(a) => out.set(field, Scalar::Int(a.as_primitive::<Int64Type>().value(row))),
            Cells::UInt(a) => {
                let value = a.as_primitive::<UInt64Type>().value(row);
                out.set(field, i64::try_from(value).map_or(Scalar::UInt(value), Scalar::Int));
            }
            Cells::Double(a) => out.set(field, Scalar::Double(a.as_primitive::<Float64Type>().value(row))),
            Cells::Bool(a) => out.set(field, Scalar::Bool(a.as_boolean().value(row))),
            Cells::Text(a) => out.set_text(field, a.as_string_view().value(row)),
            Cells::JsonText(a) => match typed_json_of(a.as_string_view().value(row)) {
                Ok(json) => set_json(out, field, |text| text.push_str(&json)),
                Err(_) => out.set_text(field, a.as_string_view().value(row)),
            },
            Cells::Bytes(a) => out.set_bytes(field, a.as_binary::<i32>().value(row)),
            Cells::Time(a, unit) => {
                let value = a.as_primitive::<Int64Type>().value(row);
                match value.checked_mul(nanoseconds(*unit)) {
                    Some(ns) => out.set(field, Scalar::Time(ns)),
                    None => out.set_far_time(field, &far_time(value, *unit)),
                }
            }
            Cells::Duration(a) => {
                out.set(field, Scalar::Duration(a.as_primitive::<DurationNanosecondType>().value(row)));
            }
            Cells::Nested(a) => set_json(out, field, |text| write_json(a, row, text)),
            Cells::Map(map, name) => return give_entries(map.as_map(), name, row, out),
        }
        Ok(())
    }

    fn array(&self) -> &dyn Array {
        match &self.cells {
            Cells::Map(a, _)
            | Cells::Int(a)
            | Cells::UInt(a)
            | Cells::Double(a)
            | Cells::Bool(a)
            | Cells::Text(a)
            | Cells::JsonText(a)
            | Cells::Bytes(a)
            | Cells::Time(a, _)
            | Cells::Duration(a)
            | Cells::Nested(a) => a,
        }
    }
}

fn nanoseconds(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// Writes a time that does not fit into nanoseconds as text.
fn far_time(value: i64, unit: TimeUnit) -> String {
    let per_second = 1_000_000_000 / nanoseconds(unit);
    let fraction = value.rem_euclid(per_second) * nanoseconds(unit);
    match chrono::DateTime::from_timestamp(value.div_euclid(per_second), fraction as u32) {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        None => format!("{value} {} since 1970", unit_name(unit)),
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "µs",
        TimeUnit::Nanosecond => "ns",
    }
}

fn set_json(out: &mut Assembler, field: FieldId, write: impl FnOnce(&mut String)) {
    let written: Result<(), std::convert::Infallible> = out.set_json(field, |text| {
        write(text);
        Ok(())
    });
    match written {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

/// Passes each entry of a map to the assembler as a field.
fn give_entries(map: &MapArray, name: &str, row: usize, out: &mut Assembler) -> Result<(), String> {
    let entries = map.value(row);
    let [keys, values] = entries.columns() else { return Err(format!("column {name:?}: not a map")) };
    let unreadable = |e: Error| e.message().to_owned();
    let keys = convert(name, keys, &DataType::Utf8View).map_err(unreadable)?;
    let mut columns = Vec::new();
    for i in (0..keys.len()).filter(|i| keys.is_valid(*i)) {
        let key = format!("{name}.{}", keys.as_string_view().value(i));
        columns.clear();
        let found = Found { name: &key, holds_json: false, array: &values.slice(i, 1), mask: None };
        found.open(out, &mut columns).map_err(unreadable)?;
        columns.iter().try_for_each(|column| column.give(0, out))?;
    }
    Ok(())
}

/// Appends the value of a row, converted by [`plain`], as typed JSON.
fn write_json(array: &dyn Array, row: usize, out: &mut String) {
    if array.is_null(row) {
        out.push_str("null");
        return;
    }
    match array.data_type() {
        DataType::Int64 => typed_json::write(out, &Value::Int(array.as_primitive::<Int64Type>().value(row))),
        DataType::UInt64 => {
            let value = array.as_primitive::<UInt64Type>().value(row);
            typed_json::write(out, &i64::try_from(value).map_or(Value::Double(value as f64), Value::Int));
        }
        DataType::Float64 => {
            typed_json::write(out, &Value::Double(array.as_primitive::<Float64Type>().value(row)));
        }
        DataType::Boolean => typed_json::write(out, &Value::Bool(array.as_boolean().value(row))),
        DataType::Utf8View => typed_json::write(out, &Value::Text(array.as_string_view().value(row))),
        DataType::Binary => typed_json::write(out, &Value::Bytes(array.as_binary::<i32>().value(row))),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            out.push('[');
            for i in 0..items.len() {
                if i > 0 {
                    out.push(',');
                }
                write_json(&items, i, out);
            }
            out.push(']');
        }
        DataType::Struct(fields) => {
            out.push('{');
            for (i, (field, part)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                if i > 0 {
                    out.push(',');
                }
                typed_json::write_key(out, field.name());
                write_json(part, row, out);
            }
            out.push('}');
        }
        // Times, and maps inside of lists: as Arrow displays them.
        _ => {
            let text = arrow::util::display::array_value_to_string(array, row).unwrap_or_default();
            typed_json::write(out, &Value::Text(&text));
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Date32Array, Float32Array, Int32Array, Int64Builder, ListBuilder, MapBuilder, StringArray,
        StringBuilder, TimestampMillisecondArray, UInt64Array,
    };

    use super::*;
    use crate::event::physical::{LayoutLimits, PhysicalLayout, RowOrder};
    use crate::event::{CoreEvent, EventBatchBuilder};
    use crate::event::{Level, Link, Signal, TraceId};
    use crate::ingest::record::testing::{core, shown};

    #[test]
    fn columns_of_any_type_become_fields() {
        let inner = StructArray::from(vec![
            (
                Arc::new(Field::new("code", DataType::Int32, true)),
                Arc::new(Int32Array::from(vec![Some(200), None])) as ArrayRef,
            ),
            (
                Arc::new(Field::new("big", DataType::UInt64, true)),
                Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some(3)])) as ArrayRef,
            ),
        ]);
        let mut list = ListBuilder::new(Int64Builder::new());
        list.append_value([Some(1), None]);
        list.append_null();
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        map.keys().append_value("k");
        map.values().append_value("v");
        map.append(true).unwrap();
        map.append(false).unwrap();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("ts", Arc::new(TimestampMillisecondArray::from(vec![1_675_079_506_123, 1]))),
            ("level", Arc::new(StringArray::from(vec![Some("info"), None]))),
            ("http", Arc::new(inner)),
            ("list", Arc::new(list.finish())),
            ("SpanAttributes", Arc::new(map.finish())),
            ("day", Arc::new(Date32Array::from(vec![None, Some(1)]))),
            ("f", Arc::new(Float32Array::from(vec![0.5, 2.0]))),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
        let decoded = decode(&batch, &FieldMap::default(), 0).unwrap();
        assert_eq!(decoded.refused, []);
        let b = &decoded.batch;
        assert_eq!(core(b, 0, "timestamp"), "2023-01-30T11:51:46.123Z");
        assert_eq!(core(b, 0, "severity_number"), "9");
        assert_eq!(
            shown(b, 0),
            [
                "f = Double(0.5)",
                "http.big = Text(\"18446744073709551615\")",
                "http.code = Int(200)",
                "k = Text(\"v\")",
                "list = Json(\"[1,null]\")",
            ]
        );
        assert_eq!(
            shown(b, 1),
            ["day = Text(\"1970-01-02T00:00:00Z\")", "f = Double(2.0)", "http.big = Int(3)"]
        );
    }

    #[test]
    fn times_that_cannot_be_kept_are_out_of_range() {
        use arrow::array::{Date64Array, TimestampMicrosecondArray, TimestampSecondArray};
        const YEAR_9999: i64 = 253_402_300_799;
        let columns: [ArrayRef; 5] = [
            Arc::new(TimestampSecondArray::from(vec![YEAR_9999, -30_610_224_000, i64::MAX])),
            Arc::new(TimestampMillisecondArray::from(vec![YEAR_9999 * 1_000, -30_610_224_000_000, i64::MIN])),
            Arc::new(TimestampMicrosecondArray::from(vec![
                YEAR_9999 * 1_000_000,
                -62_135_596_800_000_000,
                i64::MAX,
            ])),
            Arc::new(Date32Array::from(vec![2_932_896, -719_162, i32::MAX])),
            Arc::new(Date64Array::from(vec![YEAR_9999 * 1_000, -62_135_596_800_000, i64::MAX])),
        ];
        for column in columns {
            let ty = column.data_type().clone();
            let batch =
                RecordBatch::try_from_iter([("ts", Arc::clone(&column)), ("valid_to", column)]).unwrap();
            let decoded = decode(&batch, &FieldMap::default(), 0).unwrap();
            assert_eq!((decoded.batch.rows(), decoded.refused.len()), (0, 3), "{ty}");
            for refused in &decoded.refused {
                assert!(
                    refused.reason.contains("out of range: times from 1677 to 2262"),
                    "{ty}: {}",
                    refused.reason
                );
            }
            // If another field has a valid time, they become text.
            let map = FieldMap::parse(&[] as &[&str], &["time=2025-01-01"]).unwrap();
            let decoded = decode(&batch, &map, 0).unwrap();
            assert_eq!(decoded.refused, []);
            assert!(shown(&decoded.batch, 0)[1].starts_with("valid_to = Text(\"9999-12-31T"), "{ty}");
        }
    }

    /// Writes a table to Parquet without the Arrow schema that some writers embed, and reads it back.
    fn through_parquet(table: &RecordBatch) -> RecordBatch {
        let options = parquet::arrow::arrow_writer::ArrowWriterOptions::new().with_skip_arrow_metadata(true);
        let mut writer =
            parquet::arrow::ArrowWriter::try_new_with_options(Vec::new(), table.schema(), options).unwrap();
        writer.write(table).unwrap();
        let bytes = bytes::Bytes::from(writer.into_inner().unwrap());
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        reader.build().unwrap().next().unwrap().unwrap()
    }

    /// Events in the layout of a segment, with room for 0, 3 or 100 attribute columns, come back equal.
    #[test]
    fn our_own_tables_come_back_without_loss() {
        let mut builder = EventBatchBuilder::new();
        let link =
            Link { trace_id: TraceId::from_slice(&[1; 16]), attributes: "{\"a\":1}", ..Link::default() };
        for row in 0..3_i64 {
            builder.push(&CoreEvent {
                timestamp_ns: row,
                signal: Signal::Span,
                name: Some("x"),
                links: if row == 1 { &[] } else { std::slice::from_ref(&link) },
                bounds: Some(&[0.5]),
                ..CoreEvent::default()
            });
            for (level, key, value) in [
                (Level::Record, "name", Value::Text("collides")),
                (Level::Record, "$", if row == 0 { Value::Int(7) } else { Value::Text("seven") }),
                (Level::Resource, "r", Value::Bytes(&[0, 255])),
                (Level::Scope, "s", Value::Double(f64::INFINITY)),
                (Level::Record, "j", Value::Json("[1,2.0,null]")),
                (Level::Record, "b", Value::Bool(row == 1)),
            ] {
                let key = builder.key(level, key);
                builder.attribute(key, value);
            }
        }
        let batch = Arc::new(builder.finish().unwrap());
        for attribute_columns_max in [0, 3, 100] {
            let limits = LayoutLimits { columns_max: attribute_columns_max, rows_per_value_max: usize::MAX };
            let batches = [Arc::clone(&batch)];
            let layout = PhysicalLayout::decide(&batches, limits);
            let order = RowOrder::as_arrived(&batches);
            let columns = (0..layout.columns().len())
                .map(|i| layout.materialize(i, &batches, &order).unwrap())
                .collect();
            let table = RecordBatch::try_new(layout.schema(), columns).unwrap();
            let table = through_parquet(&table);
            assert!(is_own(&table));
            let back = decode(&table, &FieldMap::default(), 0).unwrap().batch;
            assert_eq!(back.core(), batch.core(), "{attribute_columns_max} columns");
            let attributes = |b: &EventBatch| -> Vec<_> {
                let column = |c: &AttributeColumn| {
                    (c.key().clone(), c.attribute_type(), c.rows().to_vec(), Arc::clone(c.values()))
                };
                b.attributes().iter().map(column).collect()
            };
            assert_eq!(attributes(&back), attributes(&batch), "{attribute_columns_max} columns");
        }
    }
}
