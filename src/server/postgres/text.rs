//! How is a value written as text?

use std::fmt::Write as _;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Field, Float16Type, Float32Type, Float64Type, IntervalDayTimeType, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType,
};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::column::{self, Column, Scalar};
use super::time;
use crate::error::Result;
use crate::query::output::cell;

/// Appends the value of `row`, which is not null.
pub(super) fn write(out: &mut String, column: &Column, array: &ArrayRef, row: usize) -> Result<()> {
    match column::item_field(&column.field).filter(|_| column.kind.is_array) {
        Some(item) => write_array(out, column.kind.scalar, &column::items(array, row), item),
        None => write_scalar(out, column.kind.scalar, array, row, &column.field),
    }
}

/// Appends a list as `{1,NULL,"a b"}`.
fn write_array(out: &mut String, scalar: Scalar, items: &ArrayRef, field: &Field) -> Result<()> {
    let items = column::plain(items)?;
    let mut text = String::new();
    out.push('{');
    for row in 0..items.len() {
        if row > 0 {
            out.push(',');
        }
        if column::is_null(&items, row) {
            out.push_str("NULL");
            continue;
        }
        text.clear();
        write_scalar(&mut text, scalar, &items, row, field)?;
        write_item(out, &text);
    }
    out.push('}');
    Ok(())
}

fn write_item(out: &mut String, text: &str) {
    let special = |c: char| "{},\"\\".contains(c) || c.is_whitespace();
    if !text.is_empty() && !text.contains(special) && !text.eq_ignore_ascii_case("null") {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        if c == '"' || c == '\\' {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

fn write_scalar(out: &mut String, scalar: Scalar, array: &ArrayRef, row: usize, field: &Field) -> Result<()> {
    match scalar {
        Scalar::Bool => out.push(if array.as_boolean().value(row) { 't' } else { 'f' }),
        Scalar::Float4 | Scalar::Float8 => write_float(out, array, row),
        Scalar::Bytea => {
            out.push_str("\\x");
            out.push_str(&hex::encode(bytes(array, row)));
        }
        Scalar::Date => write_date(out, time::day(array, row)?),
        Scalar::Time => write_time(out, time::microseconds(array, row)?),
        Scalar::Timestamp => write_timestamp(out, time::microseconds(array, row)?, None)?,
        Scalar::Timestamptz => {
            let zone = match array.data_type() {
                DataType::Timestamp(_, zone) => zone.as_deref(),
                _ => None,
            };
            write_timestamp(out, time::microseconds(array, row)?, Some(zone.unwrap_or("UTC")))?;
        }
        Scalar::Interval => write_interval(out, interval(array, row)?),
        Scalar::Text | Scalar::Json | Scalar::Int2 | Scalar::Int4 | Scalar::Int8 | Scalar::Numeric => {
            write_as_elsewhere(out, array, row, field)?;
        }
    }
    Ok(())
}

/// Appends what other protocols write, too.
fn write_as_elsewhere(out: &mut String, array: &ArrayRef, row: usize, field: &Field) -> Result<()> {
    match array.data_type() {
        DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        _ => out.push_str(&cell::display(array, row, field)?),
    }
    Ok(())
}

/// The bytes of a value.
pub(super) fn bytes(array: &ArrayRef, row: usize) -> &[u8] {
    match array.data_type() {
        DataType::Binary => array.as_binary::<i32>().value(row),
        DataType::LargeBinary => array.as_binary::<i64>().value(row),
        DataType::BinaryView => array.as_binary_view().value(row),
        _ => &[],
    }
}

fn write_float(out: &mut String, array: &ArrayRef, row: usize) {
    match array.data_type() {
        DataType::Float64 => write_number(out, array.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => write_number(out, array.as_primitive::<Float32Type>().value(row)),
        DataType::Float16 => write_number(out, array.as_primitive::<Float16Type>().value(row).to_f32()),
        _ => {}
    }
}

/// Appends the shortest text that reads back as the number, with an exponent where it would be long.
fn write_number<F: Into<f64> + Copy + std::fmt::Display + std::fmt::LowerExp>(out: &mut String, value: F) {
    let wide: f64 = value.into();
    // Writing to a String cannot fail.
    let _ = match wide.abs() {
        _ if wide.is_nan() => write!(out, "NaN"),
        _ if wide.is_infinite() => write!(out, "{}Infinity", if wide < 0.0 { "-" } else { "" }),
        size if size != 0.0 && !(1e-4..1e15).contains(&size) => write!(out, "{value:e}"),
        _ => write!(out, "{value}"),
    };
}

fn write_date(out: &mut String, day: i32) {
    // Writing to a String cannot fail.
    let _ = match NaiveDate::from_epoch_days(day) {
        Some(date) => write!(out, "{}", date.format("%Y-%m-%d")),
        None => write!(out, "{}infinity", if day < 0 { "-" } else { "" }),
    };
}

fn write_fraction(out: &mut String, microseconds: u32) {
    if microseconds > 0 {
        let digits = format!("{microseconds:06}");
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

fn write_time(out: &mut String, microseconds: i64) {
    let (seconds, fraction) = (microseconds.div_euclid(1_000_000), microseconds.rem_euclid(1_000_000));
    let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds as u32, 0).unwrap_or_default();
    let _ = write!(out, "{}", time.format("%H:%M:%S"));
    write_fraction(out, fraction as u32);
}

/// Appends a time in `zone`, with its offset; `None` is a time without one.
fn write_timestamp(out: &mut String, microseconds: i64, zone: Option<&str>) -> Result<()> {
    let time: DateTime<Utc> = time::instant(microseconds)?;
    // Writing to a String cannot fail.
    if let Some(zone) = zone.and_then(|zone| zone.parse::<Tz>().ok()) {
        let local = time.with_timezone(&zone);
        let _ = write!(out, "{}", local.format("%Y-%m-%d %H:%M:%S"));
        write_fraction(out, local.timestamp_subsec_micros());
        let offset = local.format("%:z").to_string();
        out.push_str(offset.strip_suffix(":00").unwrap_or(&offset));
    } else {
        let _ = write!(out, "{}", time.format("%Y-%m-%d %H:%M:%S"));
        write_fraction(out, time.timestamp_subsec_micros());
        out.push_str(if zone.is_some() { "+00" } else { "" });
    }
    Ok(())
}

/// A length of time: months, days and microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    /// Months.
    pub(super) months: i32,
    /// Days.
    pub(super) days: i32,
    /// Microseconds.
    pub(super) microseconds: i64,
}

/// The length of time in `row`.
pub(super) fn interval(array: &ArrayRef, row: usize) -> Result<Interval> {
    let none = Interval { months: 0, days: 0, microseconds: 0 };
    Ok(match array.data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => {
            Interval { months: array.as_primitive::<IntervalYearMonthType>().value(row), ..none }
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let value = array.as_primitive::<IntervalDayTimeType>().value(row);
            Interval { days: value.days, microseconds: i64::from(value.milliseconds) * 1_000, ..none }
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Interval { months: value.months, days: value.days, microseconds: value.nanoseconds / 1_000 }
        }
        _ => Interval { microseconds: time::microseconds(array, row)?, ..none },
    })
}

/// Appends `1 year 2 mons -3 days 04:05:06.7`.
fn write_interval(out: &mut String, interval: Interval) {
    let Interval { months, days, microseconds } = interval;
    let mut parts = Vec::new();
    let mut part = |count: i32, unit: &str| {
        if count != 0 {
            parts.push(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }));
        }
    };
    part(months / 12, "year");
    part(months % 12, "mon");
    part(days, "day");
    if microseconds != 0 || parts.is_empty() {
        let size = microseconds.unsigned_abs();
        let (seconds, fraction) = (size / 1_000_000, size % 1_000_000);
        let sign = if microseconds < 0 { "-" } else { "" };
        let mut clock = format!("{sign}{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write_fraction(&mut clock, fraction as u32);
        parts.push(clock);
    }
    out.push_str(&parts.join(" "));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, ListArray, StringArray,
        TimestampNanosecondArray, UInt64Array,
    };
    use arrow::datatypes::Int64Type;

    use super::*;

    fn text(array: impl Array + 'static) -> String {
        let column = Column::of(&Field::new("x", array.data_type().clone(), true));
        let mut out = String::new();
        write(&mut out, &column, &(Arc::new(array) as ArrayRef), 0).unwrap();
        out
    }

    #[test]
    fn values_are_written_as_postgresql_writes_them() {
        let ns = 1_767_607_200_123_456_789;
        for (written, wanted) in [
            (text(BooleanArray::from(vec![true])), "t"),
            (text(UInt64Array::from(vec![u64::MAX])), "18446744073709551615"),
            (text(Decimal128Array::from(vec![-1250]).with_precision_and_scale(10, 2).unwrap()), "-12.50"),
            (text(Float64Array::from(vec![25.49])), "25.49"),
            (text(Float64Array::from(vec![1e300])), "1e300"),
            (text(Float64Array::from(vec![f64::NEG_INFINITY])), "-Infinity"),
            (text(StringArray::from(vec!["ü"])), "ü"),
            (text(BinaryArray::from(vec![&b"\x00\xff"[..]])), "\\x00ff"),
            (text(Date32Array::from(vec![-1])), "1969-12-31"),
            (text(TimestampNanosecondArray::from(vec![ns])), "2026-01-05 10:00:00.123456"),
            (
                text(TimestampNanosecondArray::from(vec![ns]).with_timezone("UTC")),
                "2026-01-05 10:00:00.123456+00",
            ),
            (
                text(TimestampNanosecondArray::from(vec![-1]).with_timezone("+05:30")),
                "1970-01-01 05:29:59.999999+05:30",
            ),
            (text(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None])])), "{1,NULL}"),
        ] {
            assert_eq!(written, wanted);
        }
    }

    #[test]
    fn items_are_quoted_where_they_would_be_read_wrongly() {
        let mut out = String::new();
        for item in ["a", "", "a b", "x,y", "null", "\"\\", "{"] {
            write_item(&mut out, item);
            out.push(' ');
        }
        assert_eq!(out, "a \"\" \"a b\" \"x,y\" \"null\" \"\\\"\\\\\" \"{\" ");
    }

    #[test]
    fn lengths_of_time_are_written_with_their_parts() {
        let text = |months, days, microseconds| {
            let mut out = String::new();
            write_interval(&mut out, Interval { months, days, microseconds });
            out
        };
        assert_eq!(text(14, 1, -3_723_500_000), "1 year 2 mons 1 day -01:02:03.5");
        assert_eq!(text(0, 0, 0), "00:00:00");
    }
}
