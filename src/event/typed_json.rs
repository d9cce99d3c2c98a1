//! How is OTLP's `AnyValue` written as JSON text without loss (*typed JSON*)?
//!
//! Typed JSON looks like the JSON that a person would write. A value that JSON cannot express is an object with a
//! single key that begins with `$`. Producers' keys that begin with `$` get another `$` in front.
//!
//! ```text
//! value   = "null"                          no value
//!         | "true" | "false"
//!         | integer                         int:    no '.', no exponent
//!         | number                          double: with '.' or exponent, shortest form that reads back equal
//!         | {"$double": "NaN" | "Infinity" | "-Infinity"}
//!         | string
//!         | {"$bytes": base64}
//!         | "[" value, … "]"                array
//!         | "{" string ":" value, … "}"     key-value list, order and duplicates kept
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{AttributeType, Value};
use crate::error::{Error, Result};

/// Deepest nesting that is read. Protobuf messages nest at most 100 deep (prost's limit), which is 50
/// levels of values, so JSON written by this process is never refused.
const DEPTH_MAX: usize = 128;

/// Typed JSON of a missing value.
pub const NULL: &str = "null";

/// Appends `value` to `out` as typed JSON.
pub fn write_any(out: &mut String, value: Option<&AnyValue>) {
    use any_value::Value as V;
    match value.and_then(|v| v.value.as_ref()) {
        None | Some(V::StringValueStrindex(_)) => out.push_str(NULL),
        Some(V::StringValue(text)) => write(out, &Value::Text(text)),
        Some(V::BoolValue(b)) => write(out, &Value::Bool(*b)),
        Some(V::IntValue(i)) => write(out, &Value::Int(*i)),
        Some(V::DoubleValue(d)) => write(out, &Value::Double(*d)),
        Some(V::BytesValue(bytes)) => write(out, &Value::Bytes(bytes)),
        Some(V::ArrayValue(array)) => {
            out.push('[');
            for (i, item) in array.values.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_any(out, Some(item));
            }
            out.push(']');
        }
        Some(V::KvlistValue(list)) => write_list(out, &list.values),
    }
}

/// Appends a key-value list to `out`, as an object.
pub fn write_list(out: &mut String, list: &[KeyValue]) {
    out.push('{');
    for (i, entry) in list.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_key(out, &entry.key);
        write_any(out, entry.value.as_ref());
    }
    out.push('}');
}

/// Appends an object's key, escaped, and the colon.
pub fn write_key(out: &mut String, key: &str) {
    if key.starts_with('$') {
        write_text(out, &format!("${key}"));
    } else {
        write_text(out, key);
    }
    out.push(':');
}

/// Appends one attribute's value to `out` as typed JSON.
pub fn write(out: &mut String, value: &Value<'_>) {
    use std::fmt::Write as _;
    match value {
        Value::Int(i) => {
            // Writing to a String cannot fail.
            let _ = write!(out, "{i}");
        }
        Value::Double(d) => match serde_json::Number::from_f64(*d) {
            Some(number) => out.push_str(&number.to_string()),
            None => out.push_str(match d {
                d if d.is_nan() => r#"{"$double":"NaN"}"#,
                d if *d > 0.0 => r#"{"$double":"Infinity"}"#,
                _ => r#"{"$double":"-Infinity"}"#,
            }),
        },
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Text(text) => write_text(out, text),
        Value::Bytes(bytes) => {
            out.push_str(r#"{"$bytes":""#);
            BASE64.encode_string(bytes, out);
            out.push_str("\"}");
        }
        Value::Json(json) => out.push_str(json),
    }
}

fn write_text(out: &mut String, text: &str) {
    let plain = text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
    if plain {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Reads typed JSON.
///
/// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) on text that [`write_any`] cannot have
/// written and that has no natural meaning, for example integers beyond 64 bits.
pub fn parse(json: &str) -> Result<AnyValue> {
    let raw: &RawValue = serde_json::from_str(json).map_err(invalid)?;
    parse_raw(raw, DEPTH_MAX)
}

/// Reads an object as a list of keys and values, in order, duplicates included.
pub fn parse_object(json: &str) -> Result<Vec<(String, &RawValue)>> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, &'de RawValue)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    let entries = reader.deserialize_map(Entries).map_err(invalid)?;
    reader.end().map_err(invalid)?;
    Ok(entries)
}

/// True if typed JSON is a missing value, which SQL reads as NULL.
pub fn is_null(json: &str) -> bool {
    json == "null"
}

/// Removes the `$` that [`write_key`] added to a key.
pub fn unescape_key(key: &str) -> &str {
    if key.starts_with("$$") { &key[1..] } else { key }
}

/// Type of the attribute value that [`write`] wrote as `raw`, judged by its first bytes; the value is not checked.
pub fn type_of(raw: &RawValue) -> AttributeType {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b't' | b'f') => AttributeType::Bool,
        Some(b'"') => AttributeType::Text,
        Some(b'{') if text.starts_with(r#"{"$bytes":"#) => AttributeType::Bytes,
        Some(b'{') if text.starts_with(r#"{"$double":"#) => AttributeType::Double,
        Some(b'[' | b'{' | b'n') => AttributeType::Json,
        _ if text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) => AttributeType::Double,
        _ => AttributeType::Int,
    }
}

/// Reads one raw value, as [`parse_object`] yields it.
pub fn parse_value(raw: &RawValue) -> Result<AnyValue> {
    parse_raw(raw, DEPTH_MAX)
}

fn parse_raw(raw: &RawValue, depth: usize) -> Result<AnyValue> {
    if depth == 0 {
        return Err(Error::invalid(format!("typed JSON is nested deeper than {DEPTH_MAX} levels")));
    }
    use any_value::Value as V;
    let text = raw.get();
    let value = match text.as_bytes().first() {
        Some(b'n') => None,
        Some(b't') => Some(V::BoolValue(true)),
        Some(b'f') => Some(V::BoolValue(false)),
        Some(b'"') => Some(V::StringValue(serde_json::from_str(text).map_err(invalid)?)),
        Some(b'[') => Some(parse_array(text, depth)?),
        Some(b'{') => Some(parse_map(text, depth)?),
        _ => Some(parse_number(text)?),
    };
    Ok(AnyValue { value })
}

fn parse_number(text: &str) -> Result<any_value::Value> {
    let bad = || Error::invalid(format!("typed JSON: {text} is neither a 64-bit integer nor a double"));
    if text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) {
        text.parse().map(any_value::Value::DoubleValue).map_err(|_| bad())
    } else {
        text.parse().map(any_value::Value::IntValue).map_err(|_| bad())
    }
}

/// Reads an array as a list of items.
pub fn parse_list(json: &str) -> Result<Vec<&RawValue>> {
    struct Items;
    impl<'de> Visitor<'de> for Items {
        type Value = Vec<&'de RawValue>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element()? {
                items.push(item);
            }
            Ok(items)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    let items = reader.deserialize_seq(Items).map_err(invalid)?;
    reader.end().map_err(invalid)?;
    Ok(items)
}

fn parse_array(text: &str, depth: usize) -> Result<any_value::Value> {
    let items = parse_list(text)?;
    let values = items.into_iter().map(|item| parse_raw(item, depth - 1)).collect::<Result<_>>()?;
    Ok(any_value::Value::ArrayValue(ArrayValue { values }))
}

fn parse_map(text: &str, depth: usize) -> Result<any_value::Value> {
    let entries = parse_object(text)?;
    if let [(key, value)] = entries.as_slice() {
        match key.as_str() {
            "$bytes" => {
                let text: String = serde_json::from_str(value.get()).map_err(invalid)?;
                let bytes = BASE64
                    .decode(text)
                    .map_err(|e| Error::invalid(format!("typed JSON: $bytes is not base64: {e}")))?;
                return Ok(any_value::Value::BytesValue(bytes));
            }
            "$double" => {
                let value = match value.get() {
                    "\"NaN\"" => f64::NAN,
                    "\"Infinity\"" => f64::INFINITY,
                    "\"-Infinity\"" => f64::NEG_INFINITY,
                    other => {
                        return Err(Error::invalid(format!(
                            "typed JSON: $double is {other}, expected \"NaN\", \"Infinity\" or \"-Infinity\""
                        )));
                    }
                };
                return Ok(any_value::Value::DoubleValue(value));
            }
            _ => {}
        }
    }
    let values = entries
        .into_iter()
        .map(|(key, value)| {
            Ok(KeyValue {
                key: unescape_key(&key).to_owned(),
                value: Some(parse_raw(value, depth - 1)?),
                ..KeyValue::default()
            })
        })
        .collect::<Result<_>>()?;
    Ok(any_value::Value::KvlistValue(KeyValueList { values }))
}

#[expect(clippy::needless_pass_by_value, reason = "shaped for map_err")]
fn invalid(e: serde_json::Error) -> Error {
    Error::invalid(format!("typed JSON: {e}"))
}

#[cfg(test)]
mod tests {
    use super::any_value::Value as V;
    use super::*;

    fn any(value: V) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn entry(key: &str, value: AnyValue) -> KeyValue {
        KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
    }

    #[test]
    fn every_value_survives_the_round_trip() {
        let list = vec![
            entry("", any(V::StringValue("a \"quoted\"\n\u{1}ünï".into()))),
            entry("twice", any(V::IntValue(i64::MIN))),
            entry("twice", any(V::DoubleValue(5.0))),
            entry("$bytes", any(V::BytesValue(vec![0, 255]))),
            entry("$$", any(V::DoubleValue(-0.0))),
            entry("inf", any(V::DoubleValue(f64::NEG_INFINITY))),
            entry("big", any(V::DoubleValue(1.797_693_134_862_315_7e308))),
            entry("none", AnyValue { value: None }),
            entry(
                "list",
                any(V::ArrayValue(ArrayValue {
                    values: vec![
                        any(V::BoolValue(true)),
                        any(V::KvlistValue(KeyValueList { values: vec![] })),
                    ],
                })),
            ),
            entry(
                "looks like bytes",
                any(V::KvlistValue(KeyValueList {
                    values: vec![entry("$bytes", any(V::StringValue("AA==".into())))],
                })),
            ),
        ];
        let value = any(V::KvlistValue(KeyValueList { values: list }));
        let mut json = String::new();
        write_any(&mut json, Some(&value));
        assert_eq!(parse(&json).unwrap(), value, "{json}");
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "not JSON: {json}");
    }

    #[test]
    fn not_a_number_is_kept() {
        let mut json = String::new();
        write(&mut json, &Value::Double(f64::NAN));
        let Some(V::DoubleValue(d)) = parse(&json).unwrap().value else { panic!("{json}") };
        assert!(d.is_nan());
    }

    #[test]
    fn the_type_of_a_value_is_told_from_its_text() {
        let values = [
            Value::Int(-5),
            Value::Double(5.0),
            Value::Double(-1e300),
            Value::Double(f64::NAN),
            Value::Bool(false),
            Value::Text("{\"$bytes\":1}"),
            Value::Bytes(&[0, 255]),
            Value::Json("[1.5]"),
            Value::Json(r#"{"$$bytes":"AA=="}"#),
            Value::Json("{}"),
            Value::Json("null"),
        ];
        for value in values {
            let mut json = String::new();
            write(&mut json, &value);
            let raw: &RawValue = serde_json::from_str(&json).unwrap();
            assert_eq!(type_of(raw), value.attribute_type(), "{json}");
        }
    }

    #[test]
    fn hostile_text_is_an_error() {
        for bad in ["", "{", "[1", "99999999999999999999", "{\"$bytes\":\"*\"}", "nope", "1 2"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("{}{}", "[".repeat(200), "]".repeat(200))).is_err());
    }
}
