//! Reads one attribute out of the overflow column.
//!
//! The overflow is text, not a map, because of the Parquet reader: it evaluates filters on plain columns while it
//! decodes, but silently drops filters on nested columns after the plan has promised to apply them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryViewBuilder, BooleanBuilder, Float64Builder, Int64Builder, StringArray,
    StringViewArray, StringViewBuilder, new_null_array,
};
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use opentelemetry_proto::tonic::common::v1::any_value;
use serde_json::value::RawValue;

use super::number;
use super::text;
use crate::event::{plain_json, typed_json};

/// `overflow_get(overflow)`: the attribute of one physical name, as one SQL type; null if it is absent or cannot
/// be converted to that type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct OverflowGet {
    name: String,
    physical: String,
    /// The key as written in the JSON text, colon included.
    needle: String,
    data_type: DataType,
    signature: Signature,
}

impl OverflowGet {
    /// Reads the attribute `physical` as `data_type`.
    pub(crate) fn new(physical: &str, data_type: DataType) -> Self {
        let mut needle = String::new();
        typed_json::write_key(&mut needle, physical);
        Self {
            name: format!("overflow_get[{physical}]"),
            physical: physical.to_owned(),
            needle,
            data_type,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    fn find<'a>(&self, object: Option<&'a str>) -> Option<&'a RawValue> {
        let object = object.filter(|object| object.contains(&self.needle))?;
        let entries = typed_json::parse_object(object).ok()?;
        let found = entries.into_iter().find(|(key, _)| typed_json::unescape_key(key) == self.physical);
        found.map(|(_, value)| value).filter(|value| !typed_json::is_null(value.get()))
    }

    fn read<'a>(&self, objects: impl ExactSizeIterator<Item = Option<&'a str>>) -> ArrayRef {
        let rows = objects.len();
        let values = objects.map(|object| self.find(object).and_then(value_of));
        match &self.data_type {
            DataType::Int64 => {
                let mut builder = Int64Builder::with_capacity(rows);
                values.for_each(|value| {
                    builder.append_option(match value {
                        Some(any_value::Value::IntValue(i)) => Some(i),
                        _ => None,
                    });
                });
                Arc::new(builder.finish())
            }
            DataType::Float64 => {
                let mut builder = Float64Builder::with_capacity(rows);
                values.for_each(|value| {
                    builder.append_option(match value {
                        Some(any_value::Value::IntValue(i)) => Some(i as f64),
                        Some(any_value::Value::DoubleValue(d)) => Some(d),
                        _ => None,
                    });
                });
                Arc::new(builder.finish())
            }
            DataType::Boolean => {
                let mut builder = BooleanBuilder::with_capacity(rows);
                values.for_each(|value| {
                    builder.append_option(match value {
                        Some(any_value::Value::BoolValue(b)) => Some(b),
                        _ => None,
                    });
                });
                Arc::new(builder.finish())
            }
            DataType::BinaryView => {
                let mut builder = BinaryViewBuilder::with_capacity(rows);
                values.for_each(|value| {
                    builder.append_option(match value {
                        Some(any_value::Value::BytesValue(bytes)) => Some(bytes),
                        _ => None,
                    });
                });
                Arc::new(builder.finish())
            }
            other => new_null_array(other, rows),
        }
    }

    fn read_text<'a>(&self, objects: impl ExactSizeIterator<Item = Option<&'a str>>) -> ArrayRef {
        let mut builder = StringViewBuilder::with_capacity(objects.len());
        for object in objects {
            builder.append_option(self.find(object).map(display));
        }
        Arc::new(builder.finish())
    }

    fn get<'a>(&self, objects: impl ExactSizeIterator<Item = Option<&'a str>>) -> ArrayRef {
        if self.data_type == DataType::Utf8View { self.read_text(objects) } else { self.read(objects) }
    }
}

fn value_of(raw: &RawValue) -> Option<any_value::Value> {
    typed_json::parse_value(raw).ok()?.value
}

/// Text of a typed JSON value, the same as from a typed column.
pub(crate) fn display(raw: &RawValue) -> String {
    match value_of(raw) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::BoolValue(b)) => b.to_string(),
        Some(any_value::Value::IntValue(i)) => i.to_string(),
        Some(any_value::Value::DoubleValue(d)) => number::spell(d),
        Some(any_value::Value::BytesValue(bytes)) => text::display_bytes(&bytes),
        _ => plain_json::plain(raw.get()).into_owned(),
    }
}

/// Rows of the overflow column, in either string type.
pub(crate) enum Objects<'a> {
    /// The Parquet reader's default.
    Utf8(&'a StringArray),
    /// The type used everywhere else.
    View(&'a StringViewArray),
}

impl<'a> Objects<'a> {
    /// Views `array`; fails if it does not hold text.
    pub(crate) fn new(array: &'a ArrayRef) -> Result<Self> {
        match array.data_type() {
            DataType::Utf8 => Ok(Self::Utf8(array.as_string())),
            DataType::Utf8View => Ok(Self::View(array.as_string_view())),
            other => Err(DataFusionError::Internal(format!("the overflow column holds {other}, not text"))),
        }
    }

    /// The text of row `i`.
    pub(crate) fn get(&self, i: usize) -> Option<&'a str> {
        use arrow::array::Array as _;
        match self {
            Self::Utf8(array) => array.is_valid(i).then(|| array.value(i)),
            Self::View(array) => array.is_valid(i).then(|| array.value(i)),
        }
    }
}

impl ScalarUDFImpl for OverflowGet {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(array) = arrays.first() else {
            return Err(DataFusionError::Internal("overflow_get needs the overflow column".to_owned()));
        };
        Ok(ColumnarValue::Array(match Objects::new(array)? {
            Objects::Utf8(objects) => self.get(objects.iter()),
            Objects::View(objects) => self.get(objects.iter()),
        }))
    }
}
