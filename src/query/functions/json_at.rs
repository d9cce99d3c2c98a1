//! The value at a path in JSON text: `order['items'][2]['sku']`, `order.items`.
//!
//! An attribute whose value is a list or a map is JSON text to the engine, and any text from a producer may be JSON
//! too. A step that finds nothing yields null, never an error, as rows differ. The result may or may not be a
//! number, so it is [mixed](super::mixed).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray, StringViewBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use serde_json::value::RawValue;

use super::mixed::mark;
use super::number;
use super::text;
use crate::event::plain_json;

/// Name of the function.
pub(crate) const JSON_AT: &str = "json_at";

/// `json_at(json, step, …)`: a text step is a key of a map; a number is a place in a list, from 1, or from the end
/// if negative. Returns text: text values without quotes, lists and maps as JSON.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct JsonAt {
    signature: Signature,
}

impl JsonAt {
    /// The function.
    pub(crate) fn new() -> Self {
        Self { signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

/// One step of the path, for all rows.
enum Steps {
    Keys(StringViewArray),
    Places(Int64Array),
}

/// One step of the path.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Place(i64),
}

impl Steps {
    fn new(array: &ArrayRef) -> Result<Self> {
        if array.data_type().is_integer() {
            let places = arrow::compute::cast_with_options(array, &DataType::Int64, &text::SAFE)?;
            return Ok(Self::Places(places.as_primitive::<Int64Type>().clone()));
        }
        Ok(Self::Keys(text::display(array)?.as_string_view().clone()))
    }

    /// The step of a row; an array of one value holds the step of all rows.
    fn get(&self, row: usize) -> Option<Step<'_>> {
        match self {
            Self::Keys(keys) => {
                let row = if keys.len() == 1 { 0 } else { row };
                keys.is_valid(row).then(|| Step::Key(keys.value(row)))
            }
            Self::Places(places) => {
                let row = if places.len() == 1 { 0 } else { row };
                places.is_valid(row).then(|| Step::Place(places.value(row)))
            }
        }
    }
}

/// Value after one step.
fn step<'a>(json: &'a str, step: Step<'_>) -> Option<&'a RawValue> {
    match step {
        Step::Key(wanted) => {
            let entries = plain_json::entries(json)?;
            entries.into_iter().find(|(key, _)| key == wanted).map(|(_, value)| value)
        }
        Step::Place(place) => {
            let mut items = plain_json::items(json)?;
            let index = match place {
                1.. => usize::try_from(place - 1).ok()?,
                0 => return None,
                _ => items.len().checked_sub(usize::try_from(place.unsigned_abs()).ok()?)?,
            };
            (index < items.len()).then(|| items.swap_remove(index))
        }
    }
}

/// A JSON value as text; `None` for null.
pub(super) fn shown(raw: &RawValue) -> Option<String> {
    let json = raw.get();
    match json.as_bytes().first() {
        Some(b'n') => None,
        Some(b'"') => serde_json::from_str(json).ok(),
        Some(b'-' | b'0'..=b'9') => Some(number::other_spelling(json).unwrap_or_else(|| json.to_owned())),
        _ => Some(plain_value(json)),
    }
}

fn plain_value(json: &str) -> String {
    let plain = plain_json::plain(json);
    // Typed JSON's objects for bytes and special doubles are plain text now.
    match plain.as_bytes().first() {
        Some(b'"') => serde_json::from_str(&plain).unwrap_or_else(|_| plain.into_owned()),
        _ => plain.into_owned(),
    }
}

fn at(json: &str, steps: &[Steps], row: usize) -> Option<String> {
    let (first, rest) = steps.split_first()?;
    let mut value = step(json, first.get(row)?)?;
    for next in rest {
        value = step(value.get(), next.get(row)?)?;
    }
    shown(value)
}

impl ScalarUDFImpl for JsonAt {
    fn name(&self) -> &'static str {
        JSON_AT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let Some((json, steps)) = types.split_first() else {
            return datafusion::common::plan_err!("{JSON_AT} needs JSON text and a path");
        };
        if !is_text(json) && !json.is_null() {
            return datafusion::common::plan_err!("{JSON_AT} needs JSON text, not the type {json}");
        }
        match steps.iter().find(|ty| !is_text(ty) && !ty.is_integer() && !ty.is_null()) {
            Some(ty) => datafusion::common::plan_err!(
                "a list takes an integer place and a map takes a text key, not the type {ty}"
            ),
            None if steps.is_empty() => {
                datafusion::common::plan_err!("{JSON_AT} needs a path of keys or places")
            }
            None => Ok(DataType::Utf8View),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(mark(Field::new(JSON_AT, self.return_type(&types)?, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let Some((json, steps)) = args.args.split_first() else {
            return datafusion::common::internal_err!("{JSON_AT} needs arguments");
        };
        let array_of = |value: &ColumnarValue| match value {
            ColumnarValue::Scalar(scalar) => scalar.to_array(),
            ColumnarValue::Array(array) => Ok(Arc::clone(array)),
        };
        let steps = steps.iter().map(|s| Steps::new(&array_of(s)?)).collect::<Result<Vec<_>>>()?;
        let json = text::display(&json.to_array(rows)?)?;
        let mut builder = StringViewBuilder::with_capacity(rows);
        for (row, json) in json.as_string_view().iter().enumerate() {
            builder.append_option(json.and_then(|json| at(json, &steps, row)));
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}

/// True if values of this type are text.
pub(crate) fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str]) -> Steps {
        Steps::Keys(StringViewArray::from_iter_values(keys))
    }

    fn place(place: i64) -> Steps {
        Steps::Places(Int64Array::from(vec![place]))
    }

    const ORDER: &str = r#"{"id":"o-1","items":[{"sku":"a\"b"},{"sku":2.50}],"none":null,"ok":true}"#;

    #[test]
    fn paths_lead_to_what_a_person_reads() {
        for (steps, seen) in [
            (vec![keys(&["id"])], Some("o-1")),
            (vec![keys(&["items"]), place(1), keys(&["sku"])], Some("a\"b")),
            (vec![keys(&["items"]), place(-1), keys(&["sku"])], Some("2.5")),
            (vec![keys(&["items"]), place(2)], Some(r#"{"sku":2.50}"#)),
            (vec![keys(&["ok"])], Some("true")),
            (vec![keys(&["none"])], None),
            (vec![keys(&["items"]), place(0)], None),
            (vec![keys(&["items"]), place(3)], None),
            (vec![keys(&["items"]), place(i64::MIN)], None),
            (vec![keys(&["items"]), keys(&["sku"])], None),
            (vec![place(1)], None),
        ] {
            assert_eq!(at(ORDER, &steps, 0).as_deref(), seen);
        }
    }

    #[test]
    fn steps_may_differ_by_row() {
        let steps = [keys(&["id", "ok", "nope"])];
        let seen: Vec<_> = (0..3).map(|row| at(ORDER, &steps, row)).collect();
        assert_eq!(seen, [Some("o-1".to_owned()), Some("true".to_owned()), None]);
    }

    #[test]
    fn what_is_no_json_has_nothing_inside() {
        for text in ["", "text", "{", "[1", "{}x", "7"] {
            assert_eq!(at(text, &[keys(&["a"])], 0), None);
            assert_eq!(at(text, &[place(1)], 0), None);
        }
    }

    #[test]
    fn bytes_in_a_body_read_as_bytes_do() {
        assert_eq!(at(r#"{"b":{"$bytes":"AAE="}}"#, &[keys(&["b"])], 0).as_deref(), Some("AAE="));
    }
}
