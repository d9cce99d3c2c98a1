//! Which value does a parameter have? Its bytes, in text or binary, by its type.
//!
//! Numbers, booleans, texts and times are values; everything else is passed on as text, which the statement may cast.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

use super::binary;
use super::column::{self, Format, Scalar};
use super::failure::Failure;
use super::time::{EPOCH_DAYS, EPOCH_MICROSECONDS};
use crate::query::Parameter;

/// Type of UUIDs, which are texts here.
const UUID: u32 = 2950;
/// Type of JSON in binary, which has its version in front.
const JSONB: u32 = 3802;

/// Decodes the value of parameter `$number`, of type `oid`.
pub(super) fn decode(number: usize, oid: u32, format: Format, bytes: &[u8]) -> Result<Parameter, Failure> {
    if column::is_array(oid) {
        let message =
            format!("parameter ${number} is an array; write a parameter for each item: x IN ($1, $2)");
        return Err(Failure::refused("0A000", message));
    }
    let value = match format {
        Format::Text => std::str::from_utf8(bytes).ok().and_then(|text| of_text(oid, text)),
        Format::Binary => of_binary(oid, bytes),
    };
    value.ok_or_else(|| {
        let known = Scalar::ALL.iter().find(|scalar| scalar.oid() == oid);
        let ty = known.map_or_else(|| format!("the type {oid}"), |scalar| scalar.standard_name().to_owned());
        let (code, form) = match format {
            Format::Text => ("22P02", "text"),
            Format::Binary => ("22P03", "binary"),
        };
        let message = format!("parameter ${number} is no value of {ty} in the {form} format, or of a type that parameters cannot have");
        Failure::refused(code, message)
    })
}

/// Decodes the value of parameter `$number`, an array of one dimension, to a text such as `{1,2}`.
pub(super) fn decode_array(number: usize, format: Format, bytes: &[u8]) -> Result<Parameter, Failure> {
    let items = match format {
        Format::Text => std::str::from_utf8(bytes).ok().and_then(items_of_text),
        Format::Binary => items(bytes),
    };
    // Items are told apart by their commas.
    let is_simple = |items: &Vec<String>| !items.iter().any(|item| item.contains([',', '"', '\\', '{', '}']));
    let items = items.filter(is_simple).map(|items| Parameter::Text(format!("{{{}}}", items.join(","))));
    items.ok_or_else(|| {
        let message = format!("parameter ${number} is no array of simple items");
        Failure::refused("22P02", message)
    })
}

/// The items of an array such as `{a,"b"}`, without their quotes.
fn items_of_text(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let unquoted = |item: &str| {
        item.strip_prefix('"').and_then(|item| item.strip_suffix('"')).unwrap_or(item).to_owned()
    };
    Some(inner.split(',').map(str::trim).filter(|item| !item.is_empty()).map(unquoted).collect())
}

/// The items of an array in binary, as texts.
fn items(bytes: &[u8]) -> Option<Vec<String>> {
    let (head, mut rest) = bytes.split_first_chunk::<12>()?;
    let [dimensions, _, oid] =
        [0, 4, 8].map(|at| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
    if dimensions == 0 {
        return Some(Vec::new());
    }
    (dimensions == 1).then_some(())?;
    let (count, after) = rest.split_first_chunk::<4>()?;
    let (_lower_bound, after) = after.split_first_chunk::<4>()?;
    rest = after;
    let mut items = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let value = after.get(..length)?;
        items.push(match of_binary(oid, value)? {
            Parameter::Integer(number) => number.to_string(),
            Parameter::Text(text) => text,
            _ => return None,
        });
        rest = &after[length..];
    }
    rest.is_empty().then_some(items)
}

fn scalar(oid: u32) -> Option<Scalar> {
    Scalar::ALL.iter().copied().find(|scalar| scalar.oid() == oid)
}

fn of_text(oid: u32, text: &str) -> Option<Parameter> {
    let trimmed = text.trim();
    Some(match scalar(oid) {
        Some(Scalar::Bool) => Parameter::Boolean(boolean(trimmed)?),
        Some(Scalar::Int2 | Scalar::Int4 | Scalar::Int8) => {
            Parameter::Integer(trimmed.parse::<i64>().ok()?.into())
        }
        Some(Scalar::Float4 | Scalar::Float8) => Parameter::Double(double(trimmed)?),
        Some(Scalar::Numeric) => numeric(trimmed)?,
        Some(Scalar::Timestamp | Scalar::Timestamptz | Scalar::Date) => {
            Parameter::Timestamp(timestamp(trimmed)?)
        }
        Some(Scalar::Bytea) => Parameter::Text(text.strip_prefix("\\x")?.to_owned()),
        _ => Parameter::Text(text.to_owned()),
    })
}

fn of_binary(oid: u32, bytes: &[u8]) -> Option<Parameter> {
    let text = |bytes: &[u8]| Some(Parameter::Text(std::str::from_utf8(bytes).ok()?.to_owned()));
    let Some(scalar) = scalar(oid) else {
        return match oid {
            UUID if bytes.len() == 16 => {
                Some(Parameter::Text(uuid::Uuid::from_slice(bytes).ok()?.to_string()))
            }
            JSONB => text(bytes.strip_prefix(&[1])?),
            // Names and texts of unknown, fixed and limited length, and numbers of rows.
            19 | 705 | 1042 | 1043 => text(bytes),
            26 => Some(Parameter::Integer(u32::from_be_bytes(bytes.try_into().ok()?).into())),
            _ => None,
        };
    };
    Some(match scalar {
        Scalar::Bool => Parameter::Boolean(bytes.first().filter(|_| bytes.len() == 1)? != &0),
        Scalar::Int2 => Parameter::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        Scalar::Int4 => Parameter::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        Scalar::Int8 => Parameter::Integer(i64::from_be_bytes(bytes.try_into().ok()?).into()),
        Scalar::Float4 => Parameter::Double(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        Scalar::Float8 => Parameter::Double(f64::from_be_bytes(bytes.try_into().ok()?)),
        Scalar::Numeric => numeric(&binary::read_numeric(bytes)?)?,
        Scalar::Text | Scalar::Json => return text(bytes),
        Scalar::Bytea => Parameter::Text(hex::encode(bytes)),
        Scalar::Timestamp | Scalar::Timestamptz => {
            nanoseconds(i64::from_be_bytes(bytes.try_into().ok()?).checked_add(EPOCH_MICROSECONDS)?)?
        }
        Scalar::Date => {
            let days = i64::from(i32::from_be_bytes(bytes.try_into().ok()?)) + i64::from(EPOCH_DAYS);
            nanoseconds(days * 86_400_000_000)?
        }
        Scalar::Time => {
            let microseconds = i64::from_be_bytes(bytes.try_into().ok()?);
            let (seconds, rest) = (microseconds.div_euclid(1_000_000), microseconds.rem_euclid(1_000_000));
            let time =
                NaiveTime::from_num_seconds_from_midnight_opt(seconds.try_into().ok()?, rest as u32 * 1_000)?;
            Parameter::Text(time.format("%H:%M:%S%.f").to_string())
        }
        Scalar::Interval => {
            let (microseconds, rest) = bytes.split_first_chunk::<8>()?;
            let (days, months) = rest.split_first_chunk::<4>()?;
            let months = i32::from_be_bytes(months.try_into().ok()?);
            let (days, microseconds) = (i32::from_be_bytes(*days), i64::from_be_bytes(*microseconds));
            Parameter::Text(format!("{months} months {days} days {microseconds} microseconds"))
        }
    })
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn double(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// An integer if it has no fraction, else a double.
fn numeric(text: &str) -> Option<Parameter> {
    if let Ok(integer) = text.parse::<i128>()
        && integer.unsigned_abs() < 10_u128.pow(38)
    {
        return Some(Parameter::Integer(integer));
    }
    double(text).map(Parameter::Double)
}

fn nanoseconds(microseconds: i64) -> Option<Parameter> {
    microseconds.checked_mul(1_000).map(Parameter::Timestamp)
}

/// A time in ISO 8601, in UTC where it has no offset; a date is its midnight.
fn timestamp(text: &str) -> Option<i64> {
    let text = text.replacen(' ', "T", 1);
    let text = text.trim_end_matches([' ']).replace(" +", "+");
    for form in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"] {
        if let Ok(time) = DateTime::parse_from_str(&text, form) {
            return time.timestamp_nanos_opt();
        }
    }
    let naive = text.trim_end_matches(['Z', 'z']);
    for form in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(naive, form) {
            return time.and_utc().timestamp_nanos_opt();
        }
    }
    NaiveDate::parse_from_str(naive, "%Y-%m-%d")
        .ok()?
        .and_time(NaiveTime::MIN)
        .and_utc()
        .timestamp_nanos_opt()
}

/// Decodes bytes as every type: the first byte is the format, the next four the type.
#[cfg(any(test, fuzzing))]
pub(crate) fn decode_any(bytes: &[u8]) {
    let Some((format, rest)) = bytes.split_first() else { return };
    let Some((oid, value)) = rest.split_first_chunk::<4>() else { return };
    let format = if *format == 0 { Format::Text } else { Format::Binary };
    let _ = decode(1, u32::from_be_bytes(*oid), format, value);
    for scalar in Scalar::ALL {
        let _ = decode(1, scalar.oid(), format, value);
    }
    let _ = decode_array(1, format, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_their_type() {
        let text = |text: &str| Parameter::Text(text.to_owned());
        let noon = Parameter::Timestamp(1_767_614_400_000_000_000);
        for (scalar, bytes, wanted) in [
            (Scalar::Int8, "-7", Parameter::Integer(-7)),
            (Scalar::Bool, "t", Parameter::Boolean(true)),
            (Scalar::Float8, "Infinity", Parameter::Double(f64::INFINITY)),
            (Scalar::Numeric, "18446744073709551615", Parameter::Integer(u64::MAX.into())),
            (Scalar::Numeric, "1.5", Parameter::Double(1.5)),
            (Scalar::Text, " a ", text(" a ")),
            (Scalar::Bytea, "\\x00ff", text("00ff")),
            (Scalar::Timestamptz, "2026-01-05 12:00:00+00", noon.clone()),
            (Scalar::Timestamptz, "2026-01-05T14:00:00.000+02:00", noon.clone()),
            (Scalar::Timestamptz, "2026-01-05T12:00:00Z", noon.clone()),
            (Scalar::Timestamp, "2026-01-05 12:00", noon.clone()),
            (Scalar::Date, "1970-01-02", Parameter::Timestamp(86_400_000_000_000)),
        ] {
            let read = decode(1, scalar.oid(), Format::Text, bytes.as_bytes());
            assert_eq!(read.unwrap_or_else(|e| panic!("{bytes}: {e}")), wanted, "{bytes}");
        }
        let binary = |scalar: Scalar, bytes: &[u8]| decode(1, scalar.oid(), Format::Binary, bytes).ok();
        assert_eq!(binary(Scalar::Int2, &[0xff, 0xf9]), Some(Parameter::Integer(-7)));
        assert_eq!(binary(Scalar::Date, &[0, 0, 0, 1]), Some(Parameter::Timestamp(946_771_200_000_000_000)));
        assert_eq!(binary(Scalar::Int4, &[0]), None);
        assert_eq!(binary(Scalar::Timestamptz, &i64::MAX.to_be_bytes()), None);
        let interval = [&3_000_000_i64.to_be_bytes()[..], &[0, 0, 0, 2, 0, 0, 0, 1]].concat();
        assert_eq!(binary(Scalar::Interval, &interval), Some(text("1 months 2 days 3000000 microseconds")));
        assert!(decode(1, 600, Format::Binary, b"x").is_err());
        assert!(decode(1, 1016, Format::Text, b"{1}").unwrap_err().to_string().contains("x IN ($1, $2)"));
        let list: Vec<u8> = [1_i32, 0, 26, 2, 1, 4, 7, 4, 8].iter().flat_map(|n| n.to_be_bytes()).collect();
        assert_eq!(decode_array(1, Format::Binary, &list).unwrap(), text("{7,8}"));
        assert_eq!(decode_array(1, Format::Text, b"{a, \"b\"}").unwrap(), text("{a,b}"));
        assert!(decode_array(1, Format::Binary, &list[..30]).is_err());
        assert!(decode_array(1, Format::Text, b"{{1},{2}}").is_err());
        assert!(decode(2, 23, Format::Text, b"seven").unwrap_err().to_string().contains("$2"));
    }
}
