//! `-x` of any type, until type coercion.
//!
//! The planner refuses a minus before text during planning, before any rewrite can convert the text to numbers. So
//! the resolver writes a call of this function, and [`calculate`](crate::query::plan::calculate) restores the
//! operator.

use arrow::compute::kernels::numeric::neg;
use arrow::datatypes::DataType;
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

/// Name of the function.
pub(crate) const UNARY_MINUS: &str = "unary_minus";

/// `unary_minus(x)`: `-x`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct UnaryMinus {
    signature: Signature,
}

impl UnaryMinus {
    /// The function.
    pub(crate) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// Type of `-x` for `x` of this type; text counts as a number. `None` if the type has no negative values.
fn negative(of: &DataType) -> Option<DataType> {
    use DataType::{Duration, Interval, Null, UInt8, UInt16, UInt32, UInt64};
    match of {
        UInt8 | UInt16 | UInt32 | UInt64 => None,
        Null | Interval(_) | Duration(_) => Some(of.clone()),
        text if text.is_string() => Some(DataType::Float64),
        number if number.is_numeric() => Some(of.clone()),
        _ => None,
    }
}

impl ScalarUDFImpl for UnaryMinus {
    fn name(&self) -> &'static str {
        UNARY_MINUS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [of] = types else { return plan_err!("{UNARY_MINUS} takes one argument, not {}", types.len()) };
        let Some(negative) = negative(of) else {
            return plan_err!("unary minus takes a signed number or an interval, not {of}");
        };
        Ok(vec![negative])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.coerce_types(types).map(|mut types| types.swap_remove(0))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let negated = arrays.iter().map(|array| neg(array)).next();
        let Some(negated) = negated else { return plan_err!("{UNARY_MINUS} takes one argument, not 0") };
        Ok(ColumnarValue::Array(negated?))
    }
}
