//! A key that some events have as an attribute, and others inside a map: `order.id`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::first_of::first;
use super::mixed::mark;
use super::text;

/// Name of the function.
pub(crate) const FIRST_TEXT: &str = "first_text";

/// `first_text(a, b, …)`: the first value that is not null, as text.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct FirstText {
    signature: Signature,
}

impl FirstText {
    /// The function.
    pub(crate) fn new() -> Self {
        Self { signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for FirstText {
    fn name(&self) -> &'static str {
        FIRST_TEXT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(mark(Field::new(FIRST_TEXT, DataType::Utf8View, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays =
            args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        Ok(ColumnarValue::Array(first(arrays.iter().map(text::display))?))
    }
}
