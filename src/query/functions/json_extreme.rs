//! The largest and the smallest item of a list from JSON, whose items are text.
//!
//! If all items are numbers, they are compared as numbers: the largest of `[9, 10]` is 10.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions_nested::min_max::{array_max_udf, array_min_udf};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::json_at::is_text;
use super::text;

/// The largest or the smallest item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ListExtreme {
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

impl ListExtreme {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Max, Self::Min];

    /// Name of the function.
    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Max => "json_max",
            Self::Min => "json_min",
        }
    }

    /// The function for lists of anything but text.
    fn typed(self) -> Arc<ScalarUDF> {
        match self {
            Self::Max => array_max_udf(),
            Self::Min => array_min_udf(),
        }
    }

    /// The item of a list.
    fn of<'a>(self, items: &[&'a str]) -> Option<&'a str> {
        let numbers: Option<Vec<f64>> = items.iter().map(|item| item.parse().ok()).collect();
        let better = |order: Ordering| match self {
            Self::Max => order.is_gt(),
            Self::Min => order.is_lt(),
        };
        let order = |a: usize, b: usize| match &numbers {
            Some(numbers) => numbers[a].total_cmp(&numbers[b]),
            None => items[a].cmp(items[b]),
        };
        let best = (0..items.len()).reduce(|best, next| if better(order(next, best)) { next } else { best });
        best.map(|index| items[index])
    }
}

/// `json_max(list)` and `json_min(list)`: `array_max` and `array_min` for lists of text.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct JsonExtreme {
    extreme: ListExtreme,
    signature: Signature,
}

impl JsonExtreme {
    /// The function.
    pub(crate) fn new(extreme: ListExtreme) -> Self {
        Self { extreme, signature: Signature::any(1, Volatility::Immutable) }
    }
}

fn is_text_list(ty: &DataType) -> bool {
    matches!(ty, DataType::List(item) if is_text(item.data_type()))
}

impl ScalarUDFImpl for JsonExtreme {
    fn name(&self) -> &'static str {
        self.extreme.function()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [ty] if is_text_list(ty) => Ok(DataType::Utf8View),
            _ => self.extreme.typed().return_type(types),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(list) = args.args.first().filter(|list| is_text_list(&list.data_type())) else {
            return self.extreme.typed().invoke_with_args(args);
        };
        let lists = list.to_array(args.number_rows)?;
        let mut builder = StringViewBuilder::with_capacity(lists.len());
        for items in lists.as_list::<i32>().iter() {
            let texts: Option<ArrayRef> = items.as_ref().map(text::display).transpose()?;
            let items: Vec<&str> = texts.iter().flat_map(|t| t.as_string_view().iter().flatten()).collect();
            builder.append_option(self.extreme.of(&items));
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_as_numbers_and_anything_else_as_text() {
        assert_eq!(ListExtreme::Max.of(&["9", "10", "2.5"]), Some("10"));
        assert_eq!(ListExtreme::Min.of(&["9", "10", "-2.5"]), Some("-2.5"));
        assert_eq!(ListExtreme::Max.of(&["9", "10", "many"]), Some("many"));
        assert_eq!(ListExtreme::Min.of(&["b", "a"]), Some("a"));
        assert_eq!(ListExtreme::Max.of(&[]), None);
    }
}
