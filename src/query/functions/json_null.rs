//! JSON's null is SQL's.
//!
//! A producer may name an attribute and give it no value. Events keep that as the typed JSON `null`; to a query the
//! attribute is not there.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{cast, nullif};
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::event::typed_json;

/// `json_value(column)`: text that is typed JSON, without nulls of JSON.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct JsonValue {
    signature: Signature,
}

impl JsonValue {
    /// The function.
    pub(crate) fn new() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

/// Typed JSON as views, in which JSON's null is null.
pub(super) fn without_null(array: &ArrayRef) -> Result<ArrayRef> {
    let array = cast(array, &DataType::Utf8View)?;
    let views = array.as_string_view();
    let is_null = |row| views.is_valid(row) && typed_json::is_null(views.value(row));
    let nulls: BooleanArray = (0..views.len()).map(|row| Some(is_null(row))).collect();
    if nulls.true_count() == 0 {
        return Ok(array);
    }
    Ok(nullif(&array, &nulls)?)
}

impl ScalarUDFImpl for JsonValue {
    fn name(&self) -> &'static str {
        "json_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(array) = arrays.first() else {
            return Err(DataFusionError::Internal("json_value needs an argument".to_owned()));
        };
        Ok(ColumnarValue::Array(without_null(array)?))
    }
}
