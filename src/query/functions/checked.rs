//! Integer arithmetic that returns the right result or an error.
//!
//! DataFusion's operators wrap around. [`arithmetic`](crate::query::plan::arithmetic) replaces them by these
//! functions; SQL cannot name them. They print like the operator, so that columns keep their names.

use std::fmt;

use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric::{add, mul, neg, sub};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a * b`
    Multiply,
    /// `-a`
    Negate,
}

impl Operation {
    /// Operation of `op`, if it can overflow integers.
    pub(crate) fn of(op: Operator) -> Option<Self> {
        match op {
            Operator::Plus => Some(Self::Add),
            Operator::Minus => Some(Self::Subtract),
            Operator::Multiply => Some(Self::Multiply),
            _ => None,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Negate => "(-)",
        }
    }
}

/// An operation on one type of integers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Checked {
    operation: Operation,
    signature: Signature,
}

impl Checked {
    /// The function.
    pub(crate) fn new(operation: Operation) -> Self {
        Self { operation, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        self.operation.sign()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(match names.as_slice() {
            [one] => format!("(- {one})"),
            sides => sides.join(&format!(" {} ", self.operation.sign())),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(no_arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let first = args.arg_fields.first().ok_or_else(no_arguments)?;
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Field::new(self.name(), first.data_type().clone(), nullable).into())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>;
        let kernel: Kernel = match self.operation {
            Operation::Add => add,
            Operation::Subtract => sub,
            Operation::Multiply => mul,
            Operation::Negate => |value, _| neg(value.get().0),
        };
        let (first, last) = args.args.first().zip(args.args.last()).ok_or_else(no_arguments)?;
        apply(first, last, kernel).map_err(|e| overflow(e, &first.data_type()))
    }
}

fn no_arguments() -> DataFusionError {
    DataFusionError::Internal("arithmetic needs an argument".to_owned())
}

/// Error of an operation whose result does not fit in `data_type`.
fn overflow(error: DataFusionError, data_type: &DataType) -> DataFusionError {
    let root = error.find_root();
    let DataFusionError::ArrowError(arrow, _) = root else { return error };
    let ArrowError::ArithmeticOverflow(text) = arrow.as_ref() else { return error };
    DataFusionError::Execution(does_not_fit(text, data_type))
}

/// Message of an overflow. `text` is arrow's: "Overflow happened on: 5000000000000000000 * 2".
pub(crate) fn does_not_fit(text: &str, data_type: impl fmt::Display) -> String {
    let operation = text.rsplit_once(": ").map_or(text, |(_, operation)| operation);
    format!("{operation} does not fit in {data_type}: cast the operands to double, or to decimal(38, 0)")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use datafusion::common::ScalarValue;
    use datafusion::config::ConfigOptions;
    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn run(operation: Operation, args: Vec<ColumnarValue>) -> Result<ColumnarValue> {
        let fields: Vec<FieldRef> =
            args.iter().map(|a| Arc::new(Field::new("a", a.data_type(), true))).collect();
        let return_field = Arc::new(Field::new("r", args[0].data_type(), true));
        Checked::new(operation).invoke_with_args(ScalarFunctionArgs {
            args,
            arg_fields: fields,
            number_rows: 1,
            return_field,
            config_options: Arc::new(ConfigOptions::default()),
        })
    }

    fn scalar(value: impl Into<ScalarValue>) -> ColumnarValue {
        ColumnarValue::Scalar(value.into())
    }

    #[test]
    fn results_that_fit_come_and_others_are_errors_that_name_them() {
        let columns = || ColumnarValue::Array(Arc::new(Int64Array::from(vec![Some(5), None])));
        let sum = run(Operation::Add, vec![columns(), scalar(1_i64)]).unwrap().into_array(2).unwrap();
        assert_eq!(sum.as_ref(), &Int64Array::from(vec![Some(6), None]));
        for (operation, args, wanted) in [
            (
                Operation::Add,
                vec![scalar(i64::MAX), columns()],
                "9223372036854775807 + 5 does not fit in Int64",
            ),
            (Operation::Subtract, vec![scalar(1_u64), scalar(2_u64)], "1 - 2 does not fit in UInt64"),
            (Operation::Multiply, vec![scalar(200_u8), scalar(2_u8)], "200 * 2 does not fit in UInt8"),
            (Operation::Negate, vec![scalar(i64::MIN)], "-9223372036854775808 does not fit in Int64"),
        ] {
            let error = run(operation, args).unwrap_err().strip_backtrace();
            assert!(error.contains(wanted) && error.contains("cast"), "{error}");
        }
    }

    #[test]
    fn it_is_called_what_the_operator_would_be() {
        let udf = |operation| datafusion::logical_expr::ScalarUDF::from(Checked::new(operation));
        let (a, one) = (col("t.a"), lit(1_i64));
        for (op, operation) in [
            (Operator::Plus, Operation::Add),
            (Operator::Minus, Operation::Subtract),
            (Operator::Multiply, Operation::Multiply),
        ] {
            let operator = datafusion::logical_expr::binary_expr(a.clone(), op, one.clone());
            let function = udf(operation).call(vec![a.clone(), one.clone()]);
            assert_eq!(function.schema_name().to_string(), operator.schema_name().to_string());
        }
        let negated = udf(Operation::Negate).call(vec![a.clone()]);
        assert_eq!(negated.schema_name().to_string(), Expr::Negative(Box::new(a)).schema_name().to_string());
    }
}
