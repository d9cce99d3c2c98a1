//! The first value that is not null, for expressions that the scan builds per file.
//!
//! DataFusion's `coalesce` cannot be used there: the optimizer turns it into a CASE, and has run before the scan
//! builds its expressions.

use arrow::array::{Array, ArrayRef};
use arrow::compute::{is_not_null, kernels::zip::zip};
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

/// `first_of(a, b, …)`: all arguments have one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct FirstOf {
    signature: Signature,
}

impl FirstOf {
    /// The function.
    pub(crate) fn new() -> Self {
        Self { signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for FirstOf {
    fn name(&self) -> &'static str {
        "first_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let first = types.first().cloned();
        first.ok_or_else(|| DataFusionError::Internal("first_of needs an argument".to_owned()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        Ok(ColumnarValue::Array(first(arrays.into_iter().map(Ok))?))
    }
}

/// First value per row that is not null, from arrays of one type and length.
pub(super) fn first(mut arrays: impl Iterator<Item = Result<ArrayRef>>) -> Result<ArrayRef> {
    let Some(result) = arrays.next() else {
        return Err(DataFusionError::Internal("first_of needs an argument".to_owned()));
    };
    let mut result = result?;
    for next in arrays {
        if result.null_count() == 0 {
            break;
        }
        let next = next?;
        if result.null_count() == result.len() {
            result = next;
        } else if next.null_count() < next.len() {
            result = zip(&is_not_null(&result)?, &result, &next)?;
        }
    }
    Ok(result)
}
