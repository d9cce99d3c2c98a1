//! How are attributes written to the overflow column, and read from it?
//!
//! The overflow of a row is a typed JSON object from physical names to values; rows without overflow are
//! null:
//!
//! ```text
//! {"retry.count":"three","resource.attributes.name":{"$bytes":"AAE="}}
//! ```
//!
//! [`OverflowBuilder`] writes the column; [`entries`] reads a row; [`OverflowValues`] collects entries into
//! ordinary attribute columns again.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use serde_json::value::RawValue;

use super::batch::AttributeColumn;
use super::sparse::AttributeValues;
use super::{AttributeKey, AttributeType, Level, Value, schema, typed_json};
use crate::error::{Error, Result};

/// One value in the overflow of a row.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Physical name of the attribute.
    pub name: String,
    /// Type of the value.
    pub ty: AttributeType,
    /// Value as typed JSON.
    pub json: &'a RawValue,
}

impl Entry<'_> {
    /// Key of the attribute.
    ///
    /// Fails with [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if no attribute can have this name.
    pub fn key(&self) -> Result<AttributeKey> {
        let key = AttributeKey::from_physical_name(&self.name);
        key.ok_or_else(|| {
            Error::corrupt(format!("{:?} in the overflow is a reserved name, not an attribute", self.name))
        })
    }
}

/// Checks that all values of one row's object can be read. Fails like [`entries`], [`Entry::key`] and
/// [`OverflowValues::push`].
pub fn check(object: &str) -> Result<()> {
    for entry in entries(object)? {
        entry.key()?;
        typed_json::parse_value(entry.json)?;
    }
    Ok(())
}

/// Reads the entries of one row's object, in order.
///
/// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if `object` is not a JSON object.
pub fn entries(object: &str) -> Result<Vec<Entry<'_>>> {
    let entries = typed_json::parse_object(object)?;
    Ok(entries
        .into_iter()
        .map(|(key, json)| Entry { ty: typed_json::type_of(json), name: current(unescaped(key)), json })
        .collect())
}

fn unescaped(mut key: String) -> String {
    if typed_json::unescape_key(&key).len() < key.len() {
        key.remove(0);
    }
    key
}

/// Current physical name of an attribute. If its old name has become that of a core column, the attribute was renamed.
fn current(name: String) -> String {
    if schema::is_later(&name) { AttributeKey::new(Level::Record, name).physical_name() } else { name }
}

/// Collects an overflow column, row by row in any order.
#[derive(Debug)]
pub struct OverflowBuilder {
    /// Objects by row, without the closing brace; empty text for a row without overflow.
    objects: Vec<String>,
}

impl OverflowBuilder {
    /// Creates a column of `rows` rows, all null.
    pub fn new(rows: usize) -> Self {
        Self { objects: vec![String::new(); rows] }
    }

    /// Adds a value to the overflow of a row.
    ///
    /// # Panics
    /// If `row` is out of range.
    pub fn push(&mut self, row: usize, name: &str, value: &Value<'_>) {
        typed_json::write(self.begin(row, name), value);
    }

    /// Adds a value that is already typed JSON.
    ///
    /// # Panics
    /// If `row` is out of range.
    pub fn push_json(&mut self, row: usize, name: &str, json: &RawValue) {
        self.begin(row, name).push_str(json.get());
    }

    fn begin(&mut self, row: usize, name: &str) -> &mut String {
        let object = &mut self.objects[row];
        object.push(if object.is_empty() { '{' } else { ',' });
        typed_json::write_key(object, name);
        object
    }

    /// Returns the column: text, null for rows without overflow.
    pub fn finish(self) -> ArrayRef {
        let mut builder = StringViewBuilder::with_capacity(self.objects.len());
        for mut object in self.objects {
            if object.is_empty() {
                builder.append_null();
            } else {
                object.push('}');
                builder.append_value(object);
            }
        }
        Arc::new(builder.finish())
    }
}

/// Collects values from the overflow, row after row.
#[derive(Default)]
pub struct OverflowValues {
    columns: HashMap<(AttributeKey, AttributeType), AttributeValues>,
}

impl OverflowValues {
    /// Adds the value of `key` in `row`; rows must be in ascending order.
    ///
    /// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the value is not typed JSON.
    pub fn push(&mut self, key: AttributeKey, row: u32, entry: &Entry<'_>) -> Result<()> {
        let parsed = typed_json::parse_value(entry.json)?.value;
        let value = match &parsed {
            Some(Any::IntValue(value)) => Value::Int(*value),
            Some(Any::DoubleValue(value)) => Value::Double(*value),
            Some(Any::BoolValue(value)) => Value::Bool(*value),
            Some(Any::StringValue(value)) => Value::Text(value),
            Some(Any::BytesValue(value)) => Value::Bytes(value),
            _ => Value::Json(entry.json.get()),
        };
        let ty = value.attribute_type();
        self.columns.entry((key, ty)).or_insert_with(|| AttributeValues::new(ty)).push(row, value);
        Ok(())
    }

    /// Returns the columns, in no particular order.
    pub fn finish(self) -> Vec<AttributeColumn> {
        let columns = self.columns.into_iter().map(|((key, ty), values)| {
            let (rows, values) = values.finish();
            AttributeColumn::new(key, ty, rows, values)
        });
        columns.collect()
    }
}

impl std::fmt::Debug for OverflowValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.columns.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    #[test]
    fn an_attribute_whose_name_became_a_core_column_is_still_one() {
        let entries = entries(r#"{"severity_text":5,"severity":1}"#).unwrap();
        assert_eq!(entries[0].name, "attributes.severity_text");
        assert_eq!(entries[0].key().unwrap(), AttributeKey::new(Level::Record, "severity_text"));
        assert!(entries[1].key().is_err(), "it always was a core column");
    }

    #[test]
    fn what_overflows_comes_back_as_it_was() {
        let values = [
            ("i", Value::Int(i64::MIN)),
            ("d", Value::Double(-0.0)),
            ("inf", Value::Double(f64::INFINITY)),
            ("b", Value::Bool(true)),
            ("$t", Value::Text("\"quoted\"")),
            ("bytes", Value::Bytes(&[0, 255])),
            ("j", Value::Json(r#"{"a":[1,2.0,null]}"#)),
        ];
        let mut builder = OverflowBuilder::new(3);
        for (name, value) in &values {
            builder.push(2, name, value);
        }
        let column = builder.finish();
        assert!(column.is_null(0) && column.is_null(1));
        let mut read = OverflowValues::default();
        for entry in entries(column.as_string_view().value(2)).unwrap() {
            read.push(AttributeKey::new(Level::Record, entry.name.as_str()), 7, &entry).unwrap();
        }
        let columns = read.finish();
        assert_eq!(columns.len(), values.len());
        for (name, value) in &values {
            let column = columns.iter().find(|c| &*c.key().key == *name).unwrap();
            assert_eq!((column.rows(), column.value(0)), (&[7][..], *value));
        }
    }

    #[test]
    fn raw_values_pass_through_unread() {
        let mut builder = OverflowBuilder::new(1);
        let text = r#"{"$$x":1.50,"y":{"k":[ ]}}"#;
        for entry in entries(text).unwrap() {
            builder.push_json(0, &entry.name, entry.json);
        }
        assert_eq!(builder.finish().as_string_view().value(0), text);
    }
}
