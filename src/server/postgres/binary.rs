//! How is a value written in binary? As PostgreSQL sends it: big-endian, without its length.
//!
//! ```text
//! array:    dimensions (4) | has nulls (4) | type of items (4) | items (4) | first index (4) | (length (4) | item)…
//! numeric:  groups (2) | weight (2) | sign (2) | decimal places (2) | group of four decimal digits (2)…
//! interval: microseconds (8) | days (4) | months (4)
//! ```

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Field, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type,
};

use super::column::{self, Column, Kind, Scalar};
use super::{text, time};
use crate::error::{Error, Result};

/// Appends the value of `row`, which is not null.
pub(super) fn write(out: &mut Vec<u8>, column: &Column, array: &ArrayRef, row: usize) -> Result<()> {
    match column::item_field(&column.field).filter(|_| column.kind.is_array) {
        Some(item) => write_array(out, column.kind.scalar, &column::items(array, row), item),
        None => write_scalar(out, column.kind.scalar, array, row, &column.field),
    }
}

/// Appends what `write` writes after its length, which is four bytes.
pub(super) fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out)?;
    let length =
        i32::try_from(out.len() - start - 4).map_err(|_| Error::invalid("a value has more than 2 GiB"))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn write_array(out: &mut Vec<u8>, scalar: Scalar, items: &ArrayRef, field: &Field) -> Result<()> {
    let items = column::plain(items)?;
    let has_nulls = (0..items.len()).any(|row| column::is_null(&items, row));
    let dimensions = i32::from(!items.is_empty());
    for number in [dimensions, i32::from(has_nulls), scalar.oid().cast_signed()] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    if items.is_empty() {
        return Ok(());
    }
    let count = i32::try_from(items.len()).map_err(|_| Error::invalid("a list has more than 2^31 items"))?;
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    for row in 0..items.len() {
        if column::is_null(&items, row) {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
        } else {
            with_length(out, |out| write_scalar(out, scalar, &items, row, field))?;
        }
    }
    Ok(())
}

fn write_scalar(
    out: &mut Vec<u8>,
    scalar: Scalar,
    array: &ArrayRef,
    row: usize,
    field: &Field,
) -> Result<()> {
    match scalar {
        Scalar::Bool => out.push(array.as_boolean().value(row).into()),
        Scalar::Int2 => out.extend_from_slice(&(integer(array, row) as i16).to_be_bytes()),
        Scalar::Int4 => out.extend_from_slice(&(integer(array, row) as i32).to_be_bytes()),
        Scalar::Int8 => out.extend_from_slice(&integer(array, row).to_be_bytes()),
        Scalar::Float4 => out.extend_from_slice(&single(array, row).to_be_bytes()),
        Scalar::Float8 => {
            out.extend_from_slice(&array.as_primitive::<Float64Type>().value(row).to_be_bytes());
        }
        Scalar::Bytea => out.extend_from_slice(text::bytes(array, row)),
        Scalar::Date => {
            let day = time::day(array, row)?.saturating_sub(time::EPOCH_DAYS);
            out.extend_from_slice(&day.to_be_bytes());
        }
        Scalar::Time => out.extend_from_slice(&time::microseconds(array, row)?.to_be_bytes()),
        Scalar::Timestamp | Scalar::Timestamptz => {
            let time = time::microseconds(array, row)?.saturating_sub(time::EPOCH_MICROSECONDS);
            out.extend_from_slice(&time.to_be_bytes());
        }
        Scalar::Interval => {
            let interval = text::interval(array, row)?;
            out.extend_from_slice(&interval.microseconds.to_be_bytes());
            out.extend_from_slice(&interval.days.to_be_bytes());
            out.extend_from_slice(&interval.months.to_be_bytes());
        }
        Scalar::Numeric => write_numeric(out, &as_text(scalar, array, row, field)?),
        Scalar::Text | Scalar::Json => out.extend_from_slice(as_text(scalar, array, row, field)?.as_bytes()),
    }
    Ok(())
}

fn as_text(scalar: Scalar, array: &ArrayRef, row: usize, field: &Field) -> Result<String> {
    let column = Column { name: String::new(), kind: Kind::single(scalar), field: field.clone() };
    let mut out = String::new();
    text::write(&mut out, &column, array, row)?;
    Ok(out)
}

fn integer(array: &ArrayRef, row: usize) -> i64 {
    match array.data_type() {
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        _ => array.as_primitive::<Int64Type>().value(row),
    }
}

fn single(array: &ArrayRef, row: usize) -> f32 {
    match array.data_type() {
        DataType::Float16 => array.as_primitive::<Float16Type>().value(row).to_f32(),
        _ => array.as_primitive::<Float32Type>().value(row),
    }
}

/// Appends a number such as `-12.50`.
fn write_numeric(out: &mut Vec<u8>, text: &str) {
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    // Groups begin at the point, so both sides are filled up to fours.
    let before = "0".repeat((4 - whole.len() % 4) % 4);
    let after = "0".repeat((4 - fraction.len() % 4) % 4);
    let all = format!("{before}{whole}{fraction}{after}");
    let group = |group: &[u8]| {
        group.iter().fold(0_i16, |sum, digit| sum * 10 + i16::from(digit.saturating_sub(b'0')))
    };
    let groups: Vec<i16> = all.as_bytes().chunks(4).map(group).collect();
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let trailing = groups.iter().rev().take_while(|group| **group == 0).count();
    let kept = groups.get(leading..groups.len().saturating_sub(trailing)).unwrap_or_default();
    let weight = (whole.len().div_ceil(4) as i16) - 1 - leading as i16;
    let weight = if kept.is_empty() { 0 } else { weight };
    let sign = if is_negative { 0x4000_i16 } else { 0 };
    for number in [kept.len() as i16, weight, sign, fraction.len() as i16] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    for group in kept {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

/// A number in the binary form of numeric as text; `None` if it is none, or not finite.
pub(super) fn read_numeric(bytes: &[u8]) -> Option<String> {
    let mut words = bytes.chunks_exact(2).map(|word| i16::from_be_bytes([word[0], word[1]]));
    let (count, weight, sign, places) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let groups: Vec<i16> = words.collect();
    let is_right = groups.len() == usize::try_from(count).ok()?
        && groups.iter().all(|group| (0..10_000).contains(group));
    if !is_right
        || !(-2_000..2_000).contains(&weight)
        || !(0..2_000).contains(&places)
        || ![0, 0x4000].contains(&sign)
    {
        return None;
    }
    let at =
        |place: i16| usize::try_from(weight - place).ok().and_then(|i| groups.get(i)).copied().unwrap_or(0);
    let mut text = String::from(if sign == 0 { "" } else { "-" });
    let digits = |places: &mut dyn Iterator<Item = i16>| {
        places.fold(String::new(), |digits, place| digits + &format!("{:04}", at(place)))
    };
    let whole = digits(&mut (0..=weight.max(0)).rev());
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    let fraction = digits(&mut (1..=(places + 3) / 4).map(|place| -place));
    if places > 0 {
        text.push('.');
        text.push_str(fraction.get(..places as usize)?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ListArray, StringArray, TimestampNanosecondArray};

    use super::*;

    fn bytes(array: impl Array + 'static) -> Vec<u8> {
        let column = Column::of(&Field::new("x", array.data_type().clone(), true));
        let mut out = Vec::new();
        write(&mut out, &column, &(Arc::new(array) as ArrayRef), 0).unwrap();
        out
    }

    #[test]
    fn a_numeric_is_groups_of_four_digits() {
        let written = |text: &str| {
            let mut out = Vec::new();
            write_numeric(&mut out, text);
            out
        };
        assert_eq!(written("-12.50"), [0, 2, 0, 0, 0x40, 0, 0, 2, 0, 12, 0x13, 0x88]);
        assert_eq!(written("0"), [0, 0, 0, 0, 0, 0, 0, 0]);
        for number in
            ["18446744073709551615", "0.0001", "-0.00000012", "10000", "123456789.987654321", "0.00", "5"]
        {
            assert_eq!(read_numeric(&written(number)).as_deref(), Some(number));
        }
        assert_eq!(read_numeric(&[0, 1, 0, 0, 0xc0, 0, 0, 0, 0, 0]), None);
        assert_eq!(read_numeric(&[0, 9, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn times_count_from_2000_and_lists_say_what_they_hold() {
        let at_2000 = TimestampNanosecondArray::from(vec![946_684_800_000_001_999]).with_timezone("UTC");
        assert_eq!(bytes(at_2000), 1_i64.to_be_bytes());
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(7), None])]);
        let numbers: Vec<u8> =
            [1_i32, 1, 20, 2, 1, 8, 0, 7, -1].iter().flat_map(|n| n.to_be_bytes()).collect();
        assert_eq!(bytes(list), numbers);
        assert_eq!(bytes(StringArray::from(vec!["ü"])), "ü".as_bytes());
    }
}
