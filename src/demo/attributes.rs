//! Constructors for OTLP attributes.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

/// Creates an attribute with any value.
pub(super) fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// Creates a text attribute.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

/// Creates an integer attribute.
pub(super) fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

/// Creates a floating-point attribute.
pub(super) fn double(key: &str, value: f64) -> KeyValue {
    attribute(key, Value::DoubleValue(value))
}

/// Creates a boolean attribute.
pub(super) fn boolean(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

/// Creates an attribute with an array of texts.
pub(super) fn texts(key: &str, values: &[&str]) -> KeyValue {
    attribute(key, text_array(values))
}

/// Creates an array of texts.
pub(super) fn text_array(values: &[&str]) -> Value {
    let values =
        values.iter().map(|v| AnyValue { value: Some(Value::StringValue((*v).to_owned())) }).collect();
    Value::ArrayValue(ArrayValue { values })
}

/// Creates an attribute with a map.
pub(super) fn map(key: &str, values: Vec<KeyValue>) -> KeyValue {
    attribute(key, Value::KvlistValue(KeyValueList { values }))
}
