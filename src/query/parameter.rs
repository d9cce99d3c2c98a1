//! Values of `$1`, `$2`, … in a statement.
//!
//! Parameters are JSON values, except that integers keep all their digits: `18446744073709551615` does not
//! become a double.

use std::fmt;

use chrono::{DateTime, SecondsFormat};
use datafusion::common::ScalarValue;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result};

/// Most digits of an integer, as of a `decimal(38, 0)`.
const DIGITS_MAX: u8 = 38;

/// A value of a parameter. Prints, and is serialized, as JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    /// NULL of any type.
    Null,
    /// A boolean.
    Boolean(bool),
    /// An integer of at most 38 digits: `bigint` if it fits, else `bigint unsigned`, else `decimal(38, 0)`.
    Integer(i128),
    /// A number with a point or an exponent.
    Double(f64),
    /// A text.
    Text(String),
    /// A time, in nanoseconds since 1970, UTC. As JSON it is a text.
    Timestamp(i64),
}

impl Parameter {
    /// Reads a parameter: as JSON if it is null, a boolean, a number or a string in quotes (`7`, `true`, `null`,
    /// `"7"`), else as plain text.
    ///
    /// Fails with [`InvalidInput`](crate::ErrorKind::InvalidInput) on an integer of more than 38 digits.
    pub fn read(text: &str) -> Result<Self> {
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Array(_) | Value::Object(_)) | Err(_) => Ok(Self::Text(text.to_owned())),
            Ok(value) => Self::of(value, text),
        }
    }

    /// Converts `value`, whose JSON is `json`.
    fn of(value: Value, json: &str) -> Result<Self> {
        match value {
            Value::Null => Ok(Self::Null),
            Value::Bool(value) => Ok(Self::Boolean(value)),
            Value::String(text) => Ok(Self::Text(text)),
            Value::Number(number) => {
                let digits = json.trim();
                if digits.contains(['.', 'e', 'E']) {
                    return Ok(Self::Double(number.as_f64().unwrap_or(f64::NAN)));
                }
                let integer = digits.parse::<i128>().ok();
                let fits = |integer: &i128| integer.unsigned_abs() < 10_u128.pow(DIGITS_MAX.into());
                integer.filter(fits).map(Self::Integer).ok_or_else(|| {
                    Error::invalid(format!(
                        "parameter {digits}: an integer has at most {DIGITS_MAX} digits; for a double, write it with a \
                         point or an exponent"
                    ))
                })
            }
            other => Err(Error::invalid(format!(
                "parameter {other}: a parameter is null, a boolean, a number or a string"
            ))),
        }
    }
}

impl From<&Parameter> for ScalarValue {
    fn from(parameter: &Parameter) -> Self {
        match parameter {
            Parameter::Null => Self::Null,
            Parameter::Boolean(value) => Self::Boolean(Some(*value)),
            Parameter::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => Self::Int64(Some(value)),
                (_, Ok(value)) => Self::UInt64(Some(value)),
                _ => Self::Decimal128(Some(*value), DIGITS_MAX, 0),
            },
            Parameter::Double(value) => Self::Float64(Some(*value)),
            Parameter::Text(text) => Self::Utf8(Some(text.clone())),
            Parameter::Timestamp(ns) => Self::TimestampNanosecond(Some(*ns), Some("UTC".into())),
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{}", Value::from(*value)),
            Self::Text(text) => write!(f, "{}", Value::from(text.as_str())),
            Self::Timestamp(ns) => {
                let time = DateTime::from_timestamp_nanos(*ns);
                write!(f, "\"{}\"", time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
            }
        }
    }
}

impl Serialize for Parameter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = RawValue::from_string(self.to_string());
        json.map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Parameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let value = serde_json::from_str(json.get()).map_err(D::Error::custom)?;
        Self::of(value, json.get()).map_err(|e| D::Error::custom(e.message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_json_where_it_is_one_value_of_it() {
        let text = |text: &str| Parameter::Text(text.to_owned());
        for (written, read) in [
            ("null", Parameter::Null),
            ("true", Parameter::Boolean(true)),
            (" 7 ", Parameter::Integer(7)),
            ("-0", Parameter::Integer(0)),
            ("7.0", Parameter::Double(7.0)),
            ("1e3", Parameter::Double(1000.0)),
            ("\"7\"", text("7")),
            ("seven", text("seven")),
            ("[1]", text("[1]")),
            ("{}", text("{}")),
            ("", text("")),
        ] {
            assert_eq!(Parameter::read(written).unwrap(), read, "{written}");
        }
    }

    #[test]
    fn integers_keep_their_digits() {
        let scalar = |text: &str| ScalarValue::from(&Parameter::read(text).unwrap());
        assert_eq!(scalar("9223372036854775807"), ScalarValue::Int64(Some(i64::MAX)));
        assert_eq!(scalar("-9223372036854775808"), ScalarValue::Int64(Some(i64::MIN)));
        assert_eq!(scalar("9223372036854775808"), ScalarValue::UInt64(Some(1 << 63)));
        assert_eq!(scalar("18446744073709551615"), ScalarValue::UInt64(Some(u64::MAX)));
        let large = "18446744073709551616";
        assert_eq!(scalar(large), ScalarValue::Decimal128(Some(1 << 64), 38, 0));
        assert_eq!(scalar(&"9".repeat(38)), ScalarValue::Decimal128(Some(10_i128.pow(38) - 1), 38, 0));
        let error = Parameter::read(&"9".repeat(39)).unwrap_err();
        assert!(error.message().contains("at most 38 digits"), "{error}");
        assert_eq!(scalar("1e39"), ScalarValue::Float64(Some(1e39)));
    }

    #[test]
    fn json_keeps_them_there_and_back() {
        let json = r#"[null,true,18446744073709551616,-7,0.5,"a\"b"]"#;
        let read: Vec<Parameter> = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
        let error = serde_json::from_str::<Vec<Parameter>>("[[1]]").unwrap_err();
        assert!(error.to_string().contains("null, a boolean, a number or a string"), "{error}");
    }
}
