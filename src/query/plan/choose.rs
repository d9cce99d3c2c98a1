//! Attributes of several types in `greatest`, `least` and `nullif`.
//!
//! During planning DataFusion gives the arguments of these functions one type. So [`Chooser`] stands in for each of
//! them. [`rewrite`] then replaces it by an expression that compares a [mixed](super::mixed) attribute as `=` and
//! `<` do, else by the function itself.
//!
//! | written                       | becomes                                                |
//! |-------------------------------|--------------------------------------------------------|
//! | `greatest(x, 5)`, `least(x, y)` | `mixed_greatest(x, '5')`, `mixed_least(x, y)`          |
//! | `nullif(x, 5.0)`              | `mixed_unless(x, x = '5')`                             |
//! | `nullif(5, x)`                | `CASE WHEN '5' = x THEN NULL ELSE 5 END`               |

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    BinaryExpr, Case, ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use super::mixed::{self, is_mixed};
use crate::query::functions::{Choice, MixedChoice, is_marked, mark};

/// Functions that choose one of their arguments by comparing them.
const FUNCTIONS: [&str; 3] = ["greatest", "least", "nullif"];

/// Replaces the functions [`FUNCTIONS`] of `state` by stand-ins.
pub(super) fn register(state: &mut SessionState) {
    for name in FUNCTIONS {
        let Ok(inner) = state.udf(name) else { continue };
        let signature = Signature::user_defined(Volatility::Immutable);
        let _ = state.register_udf(Arc::new(Chooser { inner, signature }.into()));
    }
}

/// Stand-in for a function that chooses by comparing.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Chooser {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Chooser {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        // The first argument decides the result of nullif.
        let which = if self.name() == "nullif" { 1 } else { args.arg_fields.len() };
        if args.arg_fields.iter().take(which).any(|field| is_marked(field)) {
            return Ok(Arc::new(mark(Field::new(self.name(), DataType::Utf8View, true))));
        }
        let fields = fields_with_udf(args.arg_fields, self.inner.as_ref())?;
        self.inner.return_field_from_args(ReturnFieldArgs { arg_fields: &fields, ..args })
    }

    /// Leaves text as it is: only its field shows whether it is mixed.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.iter().any(DataType::is_string) {
            return Ok(types.to_vec());
        }
        let fields: Vec<FieldRef> =
            types.iter().map(|ty| Arc::new(Field::new("", ty.clone(), true))).collect();
        let fields = fields_with_udf(&fields, self.inner.as_ref())?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}

/// Rewrites the top of `expr`.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(call) = expr else { return Ok(Transformed::no(expr)) };
    let Some(stand_in) = call.func.inner().downcast_ref::<Chooser>() else {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    };
    let inner = Arc::clone(&stand_in.inner);
    if !call.args.iter().any(|arg| is_mixed(arg, schema)) {
        return Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: inner, args: call.args })));
    }
    let chosen = |choice, args| Arc::new(ScalarUDF::from(MixedChoice::new(choice))).call(args);
    let spelled = |args: Vec<Expr>| args.into_iter().map(|arg| mixed::as_spelling(arg, schema)).collect();
    let rewritten = match inner.name() {
        "greatest" => chosen(Choice::Greatest, spelled(call.args)),
        "least" => chosen(Choice::Least, spelled(call.args)),
        _ => match <[Expr; 2]>::try_from(call.args) {
            Ok([value, other]) => {
                let (left, right) = (Box::new(value.clone()), Box::new(other));
                let equal = Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right });
                let equal = mixed::rewrite(equal, schema)?.data;
                if is_mixed(&value, schema) {
                    chosen(Choice::Unless, vec![value, equal])
                } else {
                    let null = Expr::Literal(ScalarValue::Null, None);
                    let when_then_expr = vec![(Box::new(equal), Box::new(null))];
                    Expr::Case(Case { expr: None, when_then_expr, else_expr: Some(Box::new(value)) })
                }
            }
            Err(args) => Expr::ScalarFunction(ScalarFunction { func: inner, args }),
        },
    };
    Ok(Transformed::yes(rewritten))
}
