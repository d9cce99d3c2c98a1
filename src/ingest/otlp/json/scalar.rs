//! Readers for the scalars of protobuf's JSON mapping.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::super::record::Defect;

/// Reads base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Most characters of an unexpected value that a message shows.
const SHOWN_MAX: usize = 60;

pub(super) fn unexpected(expected: &str, found: &Value) -> Defect {
    let found: String = found.to_string().chars().take(SHOWN_MAX).collect();
    Defect::new(format!("expected {expected}, found {found}"))
}

pub(super) fn text(value: Value) -> Result<String, Defect> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(unexpected("text", &other)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "shaped like the others, to be passed to `each`")]
pub(super) fn boolean(value: Value) -> Result<bool, Defect> {
    value.as_bool().ok_or_else(|| unexpected("true or false", &value))
}

#[expect(clippy::needless_pass_by_value, reason = "as above")]
pub(super) fn double(value: Value) -> Result<f64, Defect> {
    let read = match &value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok().filter(|d: &f64| d.is_finite()),
        },
        _ => None,
    };
    read.ok_or_else(|| unexpected("a number", &value))
}

/// Reads an integer of any width from a number or text; `1e3` and `5.0` are integers too.
fn integer<T: TryFrom<i128>>(value: &Value, expected: &str) -> Result<T, Defect> {
    let of_float = |d: f64| (d.fract() == 0.0 && d.abs() < 2_f64.powi(64)).then_some(d as i128);
    let read = match value {
        Value::Number(number) => {
            let exact = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
            exact.or_else(|| number.as_f64().and_then(of_float))
        }
        Value::String(text) => {
            text.parse::<i128>().ok().or_else(|| text.parse::<f64>().ok().and_then(of_float))
        }
        _ => None,
    };
    read.and_then(|i| T::try_from(i).ok()).ok_or_else(|| unexpected(expected, value))
}

#[expect(clippy::needless_pass_by_value, reason = "as above")]
pub(super) fn int64(value: Value) -> Result<i64, Defect> {
    integer(&value, "a signed 64-bit integer")
}

#[expect(clippy::needless_pass_by_value, reason = "as above")]
pub(super) fn uint64(value: Value) -> Result<u64, Defect> {
    integer(&value, "an unsigned 64-bit integer")
}

#[expect(clippy::needless_pass_by_value, reason = "as above")]
pub(super) fn int32(value: Value) -> Result<i32, Defect> {
    integer(&value, "a signed 32-bit integer")
}

#[expect(clippy::needless_pass_by_value, reason = "as above")]
pub(super) fn uint32(value: Value) -> Result<u32, Defect> {
    integer(&value, "an unsigned 32-bit integer")
}

/// Reads an enum: its number, or a name that `number` knows.
pub(super) fn enumeration(value: Value, number: impl Fn(&str) -> Option<i32>) -> Result<i32, Defect> {
    match value.as_str().and_then(number) {
        Some(number) => Ok(number),
        None => int32(value),
    }
}

/// Reads an id in hex of any case.
pub(super) fn id(value: Value) -> Result<Vec<u8>, Defect> {
    let text = text(value)?;
    hex::decode(&text).map_err(|_| unexpected("an id in hex", &Value::String(text)))
}

pub(super) fn bytes(value: Value) -> Result<Vec<u8>, Defect> {
    let text = text(value)?;
    let standard = text.replace('-', "+").replace('_', "/");
    BASE64.decode(standard).map_err(|_| unexpected("base64", &Value::String(text)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers_come_as_numbers_and_as_text() {
        assert_eq!(uint64(json!(u64::MAX)), Ok(u64::MAX));
        assert_eq!(uint64(json!("18446744073709551615")), Ok(u64::MAX));
        assert_eq!(int64(json!("-9223372036854775808")), Ok(i64::MIN));
        assert_eq!(int64(json!(1e3)), Ok(1000));
        assert_eq!(int64(json!("5.0")), Ok(5));
        for bad in [
            json!(0.5),
            json!("x"),
            json!(""),
            json!("18446744073709551616"),
            json!(1e300),
            json!("NaN"),
            json!([]),
        ] {
            assert!(uint64(bad.clone()).is_err(), "{bad}");
        }
        assert!(uint64(json!(-1)).is_err());
        assert!(uint32(json!(1_u64 << 32)).is_err());
    }

    #[test]
    fn doubles_may_be_text() {
        assert!(double(json!("NaN")).unwrap().is_nan());
        assert_eq!(double(json!("-Infinity")), Ok(f64::NEG_INFINITY));
        assert_eq!(double(json!("1.5")), Ok(1.5));
        assert_eq!(double(json!(3)), Ok(3.0));
        assert!(double(json!("inf")).is_err());
    }

    #[test]
    fn base64_of_all_kinds_is_read() {
        for text in ["-_8=", "+/8=", "+/8", "-_8"] {
            assert_eq!(bytes(json!(text)), Ok(vec![0xfb, 0xff]), "{text}");
        }
        assert!(bytes(json!("*")).is_err());
    }

    #[test]
    fn long_values_are_cut_in_messages() {
        let defect = text(json!(vec!["ü"; 1000])).unwrap_err().to_string();
        assert!(defect.len() < 150, "{defect}");
    }
}
