//! All attributes of an event: as a map of display text, and as lossless typed JSON.
//!
//! Both read the attribute columns that one file or batch has, and its overflow:
//!
//! ```text
//! attributes_map(http.route, resource.service.name, …, overflow)   → {"http.route": "/cart", …}
//! typed_attributes(the same)                                       → {"http.route":"/cart","resource.…":…}
//! ```
//!
//! The map is for people: a bare key is the record's attribute, else the scope's, else the resource's, and
//! attributes hidden in this way have a name with their level (`resource.x`). `attributes['k']` is the map's value
//! of `k`. The JSON is for machines: it has physical names, and keeps types.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapBuilder, MapFieldNames, StringBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::overflow::{self, Objects};
use super::text;
use crate::event::{AttributeKey, Level, Value, plain_json, typed_json};

/// Names of the fields of the map, by Arrow's convention.
pub(super) fn map_names() -> MapFieldNames {
    MapFieldNames { entry: "entries".to_owned(), key: "keys".to_owned(), value: "values".to_owned() }
}

/// Type of the `attributes` column.
pub(crate) fn map_type() -> DataType {
    let names = map_names();
    let entries = Fields::from(vec![
        Field::new(names.key, DataType::Utf8, false),
        Field::new(names.value, DataType::Utf8, true),
    ]);
    DataType::Map(Arc::new(Field::new(names.entry, DataType::Struct(entries), false)), false)
}

/// One attribute column among the arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AttributeArgument {
    /// Key of the attribute.
    pub(crate) key: AttributeKey,
    /// True if the column holds typed JSON.
    pub(crate) json: bool,
}

/// Form of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// A map from SQL names to display text.
    Map,
    /// A typed JSON object from physical names to values.
    TypedJson,
}

/// `attributes_map` or `typed_attributes`. The arguments are the attribute columns, then the overflow if there
/// is one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct AllAttributes {
    form: Form,
    arguments: Vec<AttributeArgument>,
    signature: Signature,
}

impl AllAttributes {
    /// Creates the function over these columns.
    pub(crate) fn new(form: Form, arguments: Vec<AttributeArgument>) -> Self {
        // An event batch may have no attributes.
        let signature = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
        Self { form, arguments, signature: Signature::new(signature, Volatility::Immutable) }
    }

    /// Type of the result.
    pub(crate) fn data_type(form: Form) -> DataType {
        match form {
            Form::Map => map_type(),
            Form::TypedJson => DataType::Utf8View,
        }
    }

    fn map(&self, columns: &[ArrayRef], overflow: Option<&Objects<'_>>, rows: usize) -> Result<ArrayRef> {
        let display = |(column, argument): (&ArrayRef, &AttributeArgument)| {
            if argument.json { text::without_null(column) } else { text::display(column) }
        };
        let texts = columns.iter().zip(&self.arguments).map(display).collect::<Result<Vec<_>>>()?;
        let mut builder = MapBuilder::new(Some(map_names()), StringBuilder::new(), StringBuilder::new());
        let mut entries: Vec<(AttributeKey, Cow<'_, str>)> = Vec::new();
        for row in 0..rows {
            entries.clear();
            for (argument, text) in self.arguments.iter().zip(&texts) {
                if text.is_valid(row) {
                    let text = text.as_string_view().value(row);
                    let shown = if argument.json { plain_json::plain(text) } else { text.into() };
                    entries.push((argument.key.clone(), shown));
                }
            }
            for (name, raw) in overflow_entries(overflow, row) {
                let key = AttributeKey::from_physical_name(&name).filter(|_| !typed_json::is_null(raw.get()));
                entries.extend(key.map(|key| (key, overflow::display(raw).into())));
            }
            for (name, text) in named(&mut entries) {
                builder.keys().append_value(name);
                builder.values().append_value(text);
            }
            builder.append(true)?;
        }
        Ok(Arc::new(builder.finish()))
    }

    fn typed(&self, columns: &[ArrayRef], overflow: Option<&Objects<'_>>, rows: usize) -> Result<ArrayRef> {
        let names: Vec<String> = self.arguments.iter().map(|a| a.key.physical_name()).collect();
        let columns = columns.iter().map(as_view).collect::<Result<Vec<_>>>()?;
        let mut builder = StringViewBuilder::with_capacity(rows);
        let mut object = String::new();
        for row in 0..rows {
            let mut entries: Vec<(Cow<'_, str>, Entry<'_>)> = Vec::new();
            for ((name, argument), column) in names.iter().zip(&self.arguments).zip(&columns) {
                if let Some(value) = value(column, row, argument.json) {
                    entries.push((name.as_str().into(), Entry::Value(value)));
                }
            }
            for (name, raw) in overflow_entries(overflow, row) {
                entries.push((name.into(), Entry::Raw(raw.get())));
            }
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            object.clear();
            object.push('{');
            for (i, (name, entry)) in entries.iter().enumerate() {
                if i > 0 {
                    object.push(',');
                }
                typed_json::write_key(&mut object, name);
                match entry {
                    Entry::Value(value) => typed_json::write(&mut object, value),
                    Entry::Raw(raw) => object.push_str(raw),
                }
            }
            object.push('}');
            builder.append_value(&object);
        }
        Ok(Arc::new(builder.finish()))
    }
}

enum Entry<'a> {
    Value(Value<'a>),
    Raw(&'a str),
}

/// The entries of one row's overflow, by physical name.
fn overflow_entries<'a>(
    overflow: Option<&Objects<'a>>,
    row: usize,
) -> Vec<(String, &'a serde_json::value::RawValue)> {
    let object = overflow.and_then(|o| o.get(row));
    let entries = object.and_then(|o| typed_json::parse_object(o).ok()).unwrap_or_default();
    entries.into_iter().map(|(key, raw)| (typed_json::unescape_key(&key).to_owned(), raw)).collect()
}

/// Entries by their SQL names, sorted; those that a more specific level hides are named with their level.
fn named<'a, 'b>(entries: &'a mut [(AttributeKey, Cow<'b, str>)]) -> Vec<(String, &'a Cow<'b, str>)> {
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let mut named: Vec<(String, &Cow<'_, str>)> = Vec::with_capacity(entries.len());
    let mut taken = std::collections::HashSet::with_capacity(entries.len());
    for (key, text) in entries.iter() {
        let mut name = key.sql_name().into_owned();
        if !taken.insert(name.clone()) {
            name = format!("{}{}", key.level.prefix(), key.key);
            if key.level == Level::Record || !taken.insert(name.clone()) {
                continue;
            }
        }
        named.push((name, text));
    }
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named
}

/// Converts strings and bytes to views, so that one accessor suffices.
fn as_view(array: &ArrayRef) -> Result<ArrayRef> {
    let target = match array.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        _ => return Ok(Arc::clone(array)),
    };
    Ok(arrow::compute::cast(array, &target)?)
}

fn value(column: &ArrayRef, row: usize, json: bool) -> Option<Value<'_>> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Int64 => Some(Value::Int(column.as_primitive::<Int64Type>().value(row))),
        DataType::Float64 => Some(Value::Double(column.as_primitive::<Float64Type>().value(row))),
        DataType::Boolean => Some(Value::Bool(column.as_boolean().value(row))),
        DataType::Utf8View if json => Some(Value::Json(column.as_string_view().value(row))),
        DataType::Utf8View => Some(Value::Text(column.as_string_view().value(row))),
        DataType::BinaryView => Some(Value::Bytes(column.as_binary_view().value(row))),
        _ => None,
    }
}

impl ScalarUDFImpl for AllAttributes {
    fn name(&self) -> &'static str {
        match self.form {
            Form::Map => "attributes_map",
            Form::TypedJson => "typed_attributes",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(Self::data_type(self.form))
    }

    fn return_field_from_args(&self, _: datafusion::logical_expr::ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), Self::data_type(self.form), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays: Vec<ArrayRef> = args.args.iter().map(|a| a.to_array(rows)).collect::<Result<_>>()?;
        let (columns, rest) = arrays.split_at_checked(self.arguments.len()).ok_or_else(|| {
            DataFusionError::Internal(format!("{} got too few columns", ScalarUDFImpl::name(self)))
        })?;
        let overflow = rest.first().map(Objects::new).transpose()?;
        let array = match self.form {
            Form::Map => self.map(columns, overflow.as_ref(), rows)?,
            Form::TypedJson => self.typed(columns, overflow.as_ref(), rows)?,
        };
        Ok(ColumnarValue::Array(array))
    }
}
