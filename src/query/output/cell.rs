//! Writes one value as text; see the table in the [module](super) header.

use std::fmt::Write as _;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Field, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_schema::extension::Json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat};

use crate::error::Result;

/// True if values of the column are JSON text.
pub(crate) fn is_json(field: &Field) -> bool {
    field.try_extension_type::<Json>().is_ok()
}

/// Appends `text` as a JSON string.
pub(crate) fn write_json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends the value of `row` as JSON.
pub(crate) fn write_json(out: &mut String, array: &ArrayRef, row: usize, field: &Field) -> Result<()> {
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Null => out.push_str("null"),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let items = list_items(array, row);
            write_sequence(out, '[', ']', items.len(), |out, i| write_json(out, &items, i, item))?;
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct();
            write_sequence(out, '{', '}', fields.len(), |out, i| {
                write_json_text(out, fields[i].name());
                out.push(':');
                write_json(out, columns.column(i), row, &fields[i])
            })?;
        }
        DataType::Map(entries, _) => {
            let entry = array.as_map().value(row);
            let (keys, values) = (entry.column(0), entry.column(1));
            let DataType::Struct(fields) = entries.data_type() else { return Ok(()) };
            write_sequence(out, '{', '}', entry.len(), |out, i| {
                write_json_text(out, &display(keys, i, &fields[0])?);
                out.push(':');
                write_json(out, values, i, &fields[1])
            })?;
        }
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            write_json(out, dictionary.values(), dictionary.normalized_keys()[row], field)?;
        }
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        ty if ty.is_floating() => match float(array, row) {
            Some(value) if value.is_finite() => out.push_str(&display(array, row, field)?),
            _ => out.push_str("null"),
        },
        ty if ty.is_numeric() => out.push_str(&display(array, row, field)?),
        ty if is_text(ty) && is_json(field) => out.push_str(&display(array, row, field)?),
        _ => write_json_text(out, &display(array, row, field)?),
    }
    Ok(())
}

/// The value of `row` as text: nested values as JSON, null as the empty text.
pub(crate) fn display(array: &ArrayRef, row: usize, field: &Field) -> Result<String> {
    if array.is_null(row) {
        return Ok(String::new());
    }
    Ok(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).to_owned(),
        DataType::Utf8View => array.as_string_view().value(row).to_owned(),
        DataType::FixedSizeBinary(_) => hex::encode(array.as_fixed_size_binary().value(row)),
        DataType::Binary => BASE64.encode(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => BASE64.encode(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => BASE64.encode(array.as_binary_view().value(row)),
        DataType::Timestamp(unit, zone) => timestamp(array, row, *unit, zone.as_deref()),
        DataType::Date32 => {
            array.as_primitive::<Date32Type>().value_as_date(row).map_or_else(String::new, |d| d.to_string())
        }
        DataType::Date64 => {
            array.as_primitive::<Date64Type>().value_as_date(row).map_or_else(String::new, |d| d.to_string())
        }
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).to_string(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).to_string(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).to_string(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).to_string(),
        DataType::Float64 => float_text(array.as_primitive::<Float64Type>().value(row)),
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(_, _)
        | DataType::Struct(_)
        | DataType::Map(_, _) => {
            let mut json = String::new();
            write_json(&mut json, array, row, field)?;
            json
        }
        _ => ArrayFormatter::try_new(array.as_ref(), &FormatOptions::default())?.value(row).to_string(),
    })
}

/// The shortest text that reads back as the double, with an exponent where it would be long.
fn float_text(value: f64) -> String {
    match serde_json::Number::from_f64(value) {
        Some(number) => number.to_string(),
        None => value.to_string(),
    }
}

/// The timestamp in its zone, with the offset; in UTC if it has no zone.
fn timestamp(array: &ArrayRef, row: usize, unit: TimeUnit, zone: Option<&str>) -> String {
    let time = match unit {
        TimeUnit::Nanosecond => {
            Some(DateTime::from_timestamp_nanos(array.as_primitive::<TimestampNanosecondType>().value(row)))
        }
        TimeUnit::Microsecond => {
            DateTime::from_timestamp_micros(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        TimeUnit::Millisecond => {
            DateTime::from_timestamp_millis(array.as_primitive::<TimestampMillisecondType>().value(row))
        }
        TimeUnit::Second => {
            DateTime::from_timestamp(array.as_primitive::<TimestampSecondType>().value(row), 0)
        }
    };
    let Some(time) = time else { return String::new() };
    match zone.filter(|zone| !UTC.contains(zone)).and_then(|zone| zone.parse::<Tz>().ok()) {
        Some(zone) => time.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Nanos, false),
        None => time.to_rfc3339_opts(SecondsFormat::Nanos, true),
    }
}

/// Names of zones that are shown as `Z`.
const UTC: [&str; 6] = ["UTC", "+00:00", "+00", "Etc/UTC", "Zulu", "Z"];

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn float(array: &ArrayRef, row: usize) -> Option<f64> {
    match array.data_type() {
        DataType::Float64 => Some(array.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => Some(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float16 => Some(f64::from(array.as_primitive::<Float16Type>().value(row))),
        _ => None,
    }
}

fn list_items(array: &ArrayRef, row: usize) -> ArrayRef {
    match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        _ => array.as_fixed_size_list().value(row),
    }
}

fn write_sequence(
    out: &mut String,
    open: char,
    close: char,
    len: usize,
    mut item: impl FnMut(&mut String, usize) -> Result<()>,
) -> Result<()> {
    out.push(open);
    for i in 0..len {
        if i > 0 {
            out.push(',');
        }
        item(out, i)?;
    }
    out.push(close);
    Ok(())
}
