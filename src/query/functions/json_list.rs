//! Converts JSON text to lists and maps, for functions that take those.
//!
//! The resolver wraps the arguments of `array_has`, `unnest`, `cardinality` and similar functions in these. They
//! return lists and maps unchanged, so that one rule serves attributes, columns and results of functions.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Builder, ListBuilder, MapBuilder, StringBuilder, StringViewArray,
    StringViewBuilder,
};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use serde_json::value::RawValue;

use super::attributes::{map_names, map_type};
use super::json_at::{is_text, shown};
use super::text;
use crate::event::plain_json;

/// Type to which JSON text is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum JsonReading {
    /// A list of the items, as text.
    Items,
    /// A list of the items, or of the values of a map, as text.
    Entries,
    /// A list of the items, as numbers; other items are null.
    Numbers,
    /// A map from keys to values, as text.
    Map,
}

impl JsonReading {
    /// All readings.
    pub(crate) const ALL: [Self; 4] = [Self::Items, Self::Entries, Self::Numbers, Self::Map];

    /// Name of the function.
    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Items => "json_list",
            Self::Entries => "json_entries",
            Self::Numbers => "json_numbers",
            Self::Map => "json_map",
        }
    }

    fn data_type(self) -> DataType {
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        match self {
            Self::Items | Self::Entries => list(DataType::Utf8View),
            Self::Numbers => list(DataType::Float64),
            Self::Map => map_type(),
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Items | Self::Numbers => "a list",
            Self::Entries => "a list or a map",
            Self::Map => "a map",
        }
    }

    /// True if values of this type are left unchanged.
    fn is_identity(self, ty: &DataType) -> bool {
        match ty {
            DataType::Null => true,
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_) => self != Self::Map,
            DataType::Map(..) => matches!(self, Self::Map | Self::Entries),
            _ => false,
        }
    }
}

/// `json_list(x)` and similar functions: null if `x` is not JSON of the right kind.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct JsonList {
    reading: JsonReading,
    signature: Signature,
}

impl JsonList {
    /// The function of this reading.
    pub(crate) fn new(reading: JsonReading) -> Self {
        Self { reading, signature: Signature::any(1, Volatility::Immutable) }
    }

    fn read(&self, texts: &StringViewArray) -> Result<ArrayRef> {
        Ok(match self.reading {
            JsonReading::Items => text_lists(texts, plain_json::items),
            JsonReading::Entries => text_lists(texts, |json| {
                let values =
                    |entries: Vec<(String, _)>| entries.into_iter().map(|(_, value)| value).collect();
                plain_json::items(json).or_else(|| plain_json::entries(json).map(values))
            }),
            JsonReading::Numbers => number_lists(texts),
            JsonReading::Map => maps(texts)?,
        })
    }
}

fn text_lists<'a>(
    texts: &'a StringViewArray,
    items: impl Fn(&'a str) -> Option<Vec<&'a RawValue>>,
) -> ArrayRef {
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    for text in texts {
        let found = text.and_then(&items);
        for item in found.iter().flatten() {
            lists.values().append_option(shown(item));
        }
        lists.append(found.is_some());
    }
    Arc::new(lists.finish())
}

fn number_lists(texts: &StringViewArray) -> ArrayRef {
    let mut lists = ListBuilder::new(Float64Builder::new());
    for text in texts {
        let found = text.and_then(plain_json::items);
        for item in found.iter().flatten() {
            lists.values().append_option(shown(item).and_then(|text| text.parse().ok()));
        }
        lists.append(found.is_some());
    }
    Arc::new(lists.finish())
}

fn maps(texts: &StringViewArray) -> Result<ArrayRef> {
    let mut maps = MapBuilder::new(Some(map_names()), StringBuilder::new(), StringBuilder::new());
    for text in texts {
        let found = text.and_then(plain_json::entries);
        for (i, (key, value)) in found.iter().flatten().enumerate() {
            // A repeated key means its first value, as in a path.
            let is_first = found.iter().flatten().position(|(other, _)| other == key) == Some(i);
            if is_first {
                maps.keys().append_value(key);
                maps.values().append_option(shown(value));
            }
        }
        maps.append(found.is_some())?;
    }
    Ok(Arc::new(maps.finish()))
}

impl ScalarUDFImpl for JsonList {
    fn name(&self) -> &'static str {
        self.reading.function()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [ty] if self.reading.is_identity(ty) => Ok(ty.clone()),
            [ty] if is_text(ty) => Ok(self.reading.data_type()),
            [ty] => {
                datafusion::common::plan_err!("{} is needed here, not the type {ty}", self.reading.what())
            }
            _ => datafusion::common::plan_err!("{} takes one argument", self.reading.function()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        match args.arg_fields {
            [field] if self.reading.is_identity(field.data_type()) => Ok(Arc::clone(field)),
            fields => {
                let types: Vec<_> = fields.iter().map(|field| field.data_type().clone()).collect();
                Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
            }
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return datafusion::common::internal_err!("{} takes one argument", self.reading.function());
        };
        if self.reading.is_identity(&value.data_type()) {
            return Ok(value.clone());
        }
        let texts = text::display(&value.to_array(args.number_rows)?)?;
        Ok(ColumnarValue::Array(self.read(texts.as_string_view())?))
    }
}

#[cfg(test)]
mod tests {
    use arrow::util::display::array_value_to_string;

    use super::*;

    fn read(reading: JsonReading, texts: &[&str]) -> Vec<String> {
        let array = JsonList::new(reading).read(&StringViewArray::from_iter_values(texts)).unwrap();
        (0..array.len()).map(|row| array_value_to_string(&array, row).unwrap()).collect()
    }

    #[test]
    fn lists_have_items_and_other_text_has_none() {
        let texts = [r#"["a",1,2.5,true,null,[3],{"k":"v"}]"#, "[]", r#"{"a":1}"#, "text", ""];
        assert_eq!(
            read(JsonReading::Items, &texts),
            [r#"[a, 1, 2.5, true, , [3], {"k":"v"}]"#, "[]", "", "", ""]
        );
        assert_eq!(read(JsonReading::Entries, &texts)[1..3], ["[]", "[1]"]);
        assert_eq!(read(JsonReading::Numbers, &texts)[0], "[, 1.0, 2.5, , , , ]");
    }

    #[test]
    fn maps_have_keys_once() {
        assert_eq!(
            read(JsonReading::Map, &[r#"{"a":1,"b":[2],"a":3}"#, "{}", "[]"]),
            ["{a: 1, b: [2]}", "{}", ""]
        );
    }

    #[test]
    fn what_is_a_list_stays_as_it_is_and_what_cannot_be_one_is_refused() {
        let list = DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)));
        let items = JsonList::new(JsonReading::Items);
        assert_eq!(items.return_type(std::slice::from_ref(&list)).unwrap(), list);
        assert!(JsonList::new(JsonReading::Map).return_type(&[list]).is_err());
        let error = items.return_type(&[DataType::Int64]).unwrap_err().to_string();
        assert!(error.contains("a list is needed here, not the type Int64"), "{error}");
    }
}
