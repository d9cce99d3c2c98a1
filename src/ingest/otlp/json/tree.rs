//! How is JSON parsed so that a field given twice is read as in protobuf?
//!
//! JSON does not define the meaning of a name that occurs twice in an object; most readers keep only the last value.
//! For a list of spans, that would be silent loss. So, as in protobuf, lists are concatenated, objects are merged, and
//! for other values the last one counts, unless it is `null`, which sets nothing.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// Parses a document. Nesting is limited to 128 levels.
pub(super) fn parse(json: &str) -> serde_json::Result<Value> {
    serde_json::from_str::<Tree>(json).map(|tree| tree.0)
}

struct Tree(Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Tree(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((name, Tree(value))) = map.next_entry::<String, Tree>()? {
            set(&mut fields, name, value);
        }
        Ok(Value::Object(fields))
    }
}

/// Sets a field, or merges the value into the one that was set before.
fn set(fields: &mut Map<String, Value>, name: String, value: Value) {
    match fields.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(value);
        }
        Entry::Occupied(mut entry) => match (entry.get_mut(), value) {
            (Value::Array(before), Value::Array(more)) => before.extend(more),
            (Value::Object(before), Value::Object(more)) => {
                more.into_iter().for_each(|(name, value)| set(before, name, value));
            }
            (_, Value::Null) => {}
            (before, value) => *before = value,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_given_twice_is_as_in_protobuf() {
        for (text, value) in [
            (r#"{"a":[1],"a":[2]}"#, json!({"a": [1, 2]})),
            (r#"{"a":{"x":1,"y":[1]},"a":{"x":2,"y":[2]}}"#, json!({"a": {"x": 2, "y": [1, 2]}})),
            (r#"{"a":1,"a":2}"#, json!({"a": 2})),
            (r#"{"a":1,"a":null}"#, json!({"a": 1})),
            (
                r#"[true,null,-1,18446744073709551615,1.5,"x",{}]"#,
                json!([true, null, -1, u64::MAX, 1.5, "x", {}]),
            ),
        ] {
            assert_eq!(parse(text).unwrap(), value, "{text}");
        }
        assert!(parse("{} x").is_err());
        assert!(parse(&"[".repeat(1000)).is_err());
    }
}
