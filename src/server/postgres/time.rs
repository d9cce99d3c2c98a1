//! Times as PostgreSQL counts them: in microseconds and days.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use chrono::{DateTime, Utc};

use crate::error::{Error, Result};

/// Microseconds from 1970 to 2000, from where PostgreSQL counts.
pub(super) const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;
/// Days from 1970 to 2000.
pub(super) const EPOCH_DAYS: i32 = 10_957;

/// A timestamp (since 1970), time of day or duration in microseconds; the rest of nanoseconds is cut off.
pub(super) fn microseconds(array: &ArrayRef, row: usize) -> Result<i64> {
    let (value, unit) = match array.data_type() {
        DataType::Timestamp(unit, _) => (timestamp(array, row, *unit), *unit),
        DataType::Duration(unit) => (duration(array, row, *unit), *unit),
        DataType::Time32(TimeUnit::Second) => {
            (array.as_primitive::<Time32SecondType>().value(row).into(), TimeUnit::Second)
        }
        DataType::Time32(_) => {
            (array.as_primitive::<Time32MillisecondType>().value(row).into(), TimeUnit::Millisecond)
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            (array.as_primitive::<Time64NanosecondType>().value(row), TimeUnit::Nanosecond)
        }
        DataType::Time64(_) => {
            (array.as_primitive::<Time64MicrosecondType>().value(row), TimeUnit::Microsecond)
        }
        other => return Err(Error::internal(format!("{other} is not a time"))),
    };
    let microseconds = match unit {
        TimeUnit::Second => value.checked_mul(1_000_000),
        TimeUnit::Millisecond => value.checked_mul(1_000),
        TimeUnit::Microsecond => Some(value),
        TimeUnit::Nanosecond => Some(value.div_euclid(1_000)),
    };
    microseconds.ok_or_else(out_of_range)
}

fn timestamp(array: &ArrayRef, row: usize, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row),
    }
}

fn duration(array: &ArrayRef, row: usize, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => array.as_primitive::<DurationSecondType>().value(row),
        TimeUnit::Millisecond => array.as_primitive::<DurationMillisecondType>().value(row),
        TimeUnit::Microsecond => array.as_primitive::<DurationMicrosecondType>().value(row),
        TimeUnit::Nanosecond => array.as_primitive::<DurationNanosecondType>().value(row),
    }
}

/// Days since 1970.
pub(super) fn day(array: &ArrayRef, row: usize) -> Result<i32> {
    match array.data_type() {
        DataType::Date32 => Ok(array.as_primitive::<Date32Type>().value(row)),
        DataType::Date64 => {
            let days = array.as_primitive::<Date64Type>().value(row).div_euclid(86_400_000);
            i32::try_from(days).map_err(|_| out_of_range())
        }
        other => Err(Error::internal(format!("{other} is not a date"))),
    }
}

/// The instant so many microseconds after 1970.
pub(super) fn instant(microseconds: i64) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(microseconds).ok_or_else(out_of_range)
}

fn out_of_range() -> Error {
    Error::invalid("a time does not fit in PostgreSQL's microseconds")
}
