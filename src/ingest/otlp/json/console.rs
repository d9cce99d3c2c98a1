//! Metrics as the console exporter of OpenTelemetry's Python SDK prints them.
//!
//! It prints the protocol's groups with names in snake_case, and differs inside of them: attributes are plain
//! objects, a metric's points are in `data` whatever their kind, the value of a number is `value`, and ids of
//! exemplars are integers.
//!
//! Source: `opentelemetry-sdk` 1.45 for Python, `sdk/metrics/_internal/point.py`.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value};
use opentelemetry_proto::tonic::metrics::v1::{exemplar, number_data_point};
use serde_json::{Map, Value};

use super::super::record::Defect;
use super::scalar::{double, unexpected};

/// Digits of the largest 64-bit integer. JSON's reader would round longer ones.
const DIGITS_MAX: usize = 20;

/// Writes ids of traces that are integers of 128 bits in hex, as text.
pub(super) fn with_ids_in_hex(text: Cow<'_, str>) -> Cow<'_, str> {
    const NAME: &str = "\"trace_id\"";
    let mut written = String::new();
    let mut rest = 0;
    for (at, _) in text.match_indices(NAME) {
        let value = text[at + NAME.len()..].trim_start().strip_prefix(':').map(str::trim_start);
        let Some(value) = value.filter(|_| !text[..at].ends_with('\\')) else { continue };
        let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Some(id) = value[..digits].parse::<u128>().ok().filter(|_| digits >= DIGITS_MAX) else {
            continue;
        };
        let begin = text.len() - text[at..].len() + (text[at..].len() - value.len());
        written.push_str(&text[rest..begin]);
        written.extend(["\"", hex::encode(id.to_be_bytes()).as_str(), "\""]);
        rest = begin + digits;
    }
    if written.is_empty() {
        return text;
    }
    written.push_str(&text[rest..]);
    Cow::Owned(written)
}

/// Attributes of a plain object.
pub(super) fn attributes(object: Map<String, Value>) -> Vec<KeyValue> {
    object.into_iter().map(|(key, value)| key_value(key, value)).collect()
}

fn key_value(key: String, value: Value) -> KeyValue {
    KeyValue { key, value: Some(any(value)), ..KeyValue::default() }
}

/// Nesting is bounded by the JSON reader.
fn any(value: Value) -> AnyValue {
    let value = match value {
        Value::Null => None,
        Value::Bool(bool) => Some(any_value::Value::BoolValue(bool)),
        Value::Number(number) => Some(match number.as_i64() {
            Some(int) => any_value::Value::IntValue(int),
            None => any_value::Value::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        }),
        Value::String(text) => Some(any_value::Value::StringValue(text)),
        Value::Array(items) => {
            let values = items.into_iter().map(any).collect();
            Some(any_value::Value::ArrayValue(ArrayValue { values }))
        }
        Value::Object(fields) => {
            let values = attributes(fields);
            Some(any_value::Value::KvlistValue(KeyValueList { values }))
        }
    };
    AnyValue { value }
}

/// Kind of the points in a metric's `data`.
pub(super) enum Kind {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
}

impl Kind {
    pub(super) fn of(data: &Value) -> Self {
        let point = data.get("data_points").and_then(|points| points.get(0));
        let has = |name| point.is_some_and(|point| point.get(name).is_some());
        if has("explicit_bounds") {
            Self::Histogram
        } else if has("scale") {
            Self::ExponentialHistogram
        } else if data.get("is_monotonic").is_some() {
            Self::Sum
        } else {
            Self::Gauge
        }
    }
}

/// Value of a point.
pub(super) fn point_value(value: Value) -> Result<number_data_point::Value, Defect> {
    match value.as_i64() {
        Some(int) => Ok(number_data_point::Value::AsInt(int)),
        None => double(value).map(number_data_point::Value::AsDouble),
    }
}

/// Value of an exemplar.
pub(super) fn exemplar_value(value: Value) -> Result<exemplar::Value, Defect> {
    match value.as_i64() {
        Some(int) => Ok(exemplar::Value::AsInt(int)),
        None => double(value).map(exemplar::Value::AsDouble),
    }
}

/// Bytes of a span's id that is an integer.
pub(super) fn span_id(value: &Value) -> Result<Vec<u8>, Defect> {
    let id = value.as_u64().ok_or_else(|| unexpected("an id in hex, or as an integer of 64 bits", value))?;
    Ok(id.to_be_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_integers_under_trace_id_alone_become_hex() {
        let written = |text| with_ids_in_hex(Cow::Borrowed(text)).into_owned();
        assert_eq!(
            written(
                r#"{"trace_id" : 236501245031626105801094378953780842527, "x": "\"trace_id\": 236501245031626105801094378953780842527"}"#
            ),
            format!(
                r#"{{"trace_id" : "{:032x}", "x": "\"trace_id\": 236501245031626105801094378953780842527"}}"#,
                236_501_245_031_626_105_801_094_378_953_780_842_527_u128
            )
        );
        for same in [
            r#"{"trace_id": "0af7651916cd43dd8448eb211c80319c"}"#,
            r#"{"trace_id": null}"#,
            r#"{"trace_id": 12}"#,
            r#"{"trace_id"}"#,
            r#"{"trace_id": 999999999999999999999999999999999999999999999}"#,
        ] {
            assert_eq!(written(same), same);
        }
    }
}
