//! Calculations with attributes that are text but hold numbers.
//!
//! Functions and aggregates of numbers refuse text during planning, before any rewrite of the plan can run. So
//! [`Lenient`] stands in for each of them: it accepts text as numbers. [`rewrite`] then replaces it by the function
//! itself, applied to the numbers in the text.
//!
//! | written                      | becomes                                                              |
//! |------------------------------|----------------------------------------------------------------------|
//! | `sum(x)`, `p99(x)`, `round(x)` | `sum(number_of(x))` of a [mixed](super::mixed) attribute            |
//! | `sum(x)`                     | `sum(try_cast(x AS DOUBLE))` of an attribute that is all text        |
//! | `min(x)`, `max(x)`           | `mixed_min(x)`, `mixed_max(x)` of a mixed attribute                  |
//! | `x + 1`                      | `number_of(x) + 1`, while it is planned                              |
//! | `-x`                         | `-number_of(x)`                                                      |
//! | `array_agg(x ORDER BY x)`    | `array_agg(x ORDER BY mixed_key(x))`                                 |

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, ScalarFunction, Sort, WindowFunction, WindowFunctionParams,
};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::type_coercion::functions::{UDFCoercionExt, fields_with_udf};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Expr, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, WindowFunctionDefinition,
    binary_expr,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::choose;
use super::compare::{self, as_number, is_text_expr};
use super::mixed::{self, is_mixed, number_of};
use crate::query::functions::number::Texts;
use crate::query::functions::{Extreme, JSON_AS_TEXT, Reading, UnaryMinus};

/// Aggregates of numbers.
const AGGREGATES: [&str; 12] = [
    "sum",
    "avg",
    "median",
    "stddev",
    "stddev_pop",
    "var",
    "var_pop",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "corr",
    "percentile_cont",
];

/// Broadloom's quantiles, which take text as it is.
const QUANTILES: [&str; 7] = ["p50", "p75", "p90", "p95", "p99", "p999", "quantile"];

/// Functions of numbers.
const FUNCTIONS: [&str; 27] = [
    "abs", "acos", "asin", "atan", "atan2", "cbrt", "ceil", "cos", "cosh", "degrees", "exp", "floor",
    "isnan", "iszero", "ln", "log", "log10", "log2", "nanvl", "power", "radians", "round", "signum", "sin",
    "sqrt", "tan", "trunc",
];

/// Replaces the number functions of `state` by stand-ins.
pub(crate) fn register(state: &mut SessionState) {
    let _ = state.register_expr_planner(Arc::new(Arithmetic));
    choose::register(state);
    for name in AGGREGATES {
        let Ok(inner) = state.udaf(name) else { continue };
        let aliases = inner.aliases().to_vec();
        let _ = state.register_udaf(Arc::new(Lenient::new(inner, aliases).into()));
    }
    for name in FUNCTIONS {
        let Ok(inner) = state.udf(name) else { continue };
        let aliases = inner.aliases().to_vec();
        let _ = state.register_udf(Arc::new(Lenient::new(inner, aliases).into()));
    }
}

/// Plans arithmetic with text, for which DataFusion finds no type.
#[derive(Debug)]
struct Arithmetic;

impl ExprPlanner for Arithmetic {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let op = match expr.op {
            BinaryOperator::Plus => Operator::Plus,
            BinaryOperator::Minus => Operator::Minus,
            BinaryOperator::Multiply => Operator::Multiply,
            BinaryOperator::Divide => Operator::Divide,
            BinaryOperator::Modulo => Operator::Modulo,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        if !is_mixed(&expr.left, schema) && !is_mixed(&expr.right, schema) {
            return Ok(PlannerResult::Original(expr));
        }
        let planned = binary_expr(expr.left, op, expr.right);
        let name = planned.schema_name().to_string();
        Ok(PlannerResult::Planned(compare::rewrite(planned, schema).data.alias(name)))
    }
}

/// Stand-in for a function that would refuse text.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Lenient<F> {
    inner: Arc<F>,
    aliases: Vec<String>,
    signature: Signature,
}

impl<F> Lenient<F> {
    fn new(inner: Arc<F>, aliases: Vec<String>) -> Self {
        Self { inner, aliases, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl<F: UDFCoercionExt> Lenient<F> {
    /// Argument types of the function if called with `types`, where text counts as a number.
    fn coerced(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let number = |ty: &DataType| if ty.is_string() { DataType::Float64 } else { ty.clone() };
        let fields = types.iter().map(|ty| Arc::new(Field::new("", number(ty), true)));
        let fields: Vec<FieldRef> = fields.collect();
        let fields = fields_with_udf(&fields, self.inner.as_ref())?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }
}

impl ScalarUDFImpl for Lenient<ScalarUDF> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.coerced(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}

impl AggregateUDFImpl for Lenient<AggregateUDF> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.human_display(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.display_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.coerced(types)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.supports_within_group_clause()
    }
}

/// Rewrites the top of `expr`.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::ScalarFunction(mut call) if call.func.inner().is::<UnaryMinus>() => {
            let negated = call.args.pop().unwrap_or_default();
            let is_text = is_text_expr(&negated, schema);
            let negated = if is_text { as_number(negated, schema) } else { negated };
            Transformed::yes(Expr::Negative(Box::new(negated)))
        }
        Expr::ScalarFunction(call) => match call.func.inner().downcast_ref::<Lenient<ScalarUDF>>() {
            Some(lenient) => {
                let func = Arc::clone(&lenient.inner);
                let number = |arg| if is_mixed(&arg, schema) { number_of(arg) } else { arg };
                let args = call.args.into_iter().map(number).collect();
                Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
            }
            None => Transformed::no(Expr::ScalarFunction(call)),
        },
        Expr::AggregateFunction(AggregateFunction { func, mut params }) => {
            let (func, new) = aggregate(func, &mut params.args, &mut params.order_by, schema, Reading::Key);
            let call = Expr::AggregateFunction(AggregateFunction { func, params });
            if new { Transformed::yes(call) } else { Transformed::no(call) }
        }
        Expr::WindowFunction(window) => {
            let WindowFunction { fun, mut params } = *window;
            let (fun, new) = match fun {
                WindowFunctionDefinition::AggregateUDF(func) => {
                    let (func, new) =
                        aggregate(func, &mut params.args, &mut params.order_by, schema, Reading::Digits);
                    (WindowFunctionDefinition::AggregateUDF(func), new)
                }
                fun @ WindowFunctionDefinition::WindowUDF(_) => {
                    let new = order(&mut params.order_by, schema, Reading::Digits);
                    (fun, new)
                }
            };
            let call = Expr::WindowFunction(Box::new(WindowFunction { fun, params }));
            if new { Transformed::yes(call) } else { Transformed::no(call) }
        }
        other => Transformed::no(other),
    }
}

/// Rewrites the call of an aggregate. Returns the function to call, and whether anything changed.
fn aggregate(
    func: Arc<AggregateUDF>,
    args: &mut [Expr],
    order_by: &mut [Sort],
    schema: &DFSchema,
    key: fn(Texts) -> Reading,
) -> (Arc<AggregateUDF>, bool) {
    let lenient = func.inner().downcast_ref::<Lenient<AggregateUDF>>();
    if let Some(lenient) = lenient {
        for arg in args.iter_mut() {
            *arg = number(std::mem::take(arg), schema);
        }
        if lenient.inner.supports_within_group_clause() {
            // The ordered expression is the argument.
            let ordered = order_by.iter_mut().map(|sort| &mut sort.expr);
            for expr in ordered {
                *expr = number(std::mem::take(expr), schema);
            }
        } else {
            order(order_by, schema, key);
        }
        return (Arc::clone(&lenient.inner), true);
    }
    let mut new = order(order_by, schema, key);
    let mixed = args.first().is_some_and(|arg| is_mixed(arg, schema));
    if !mixed {
        return (func, new);
    }
    match func.name() {
        name @ ("min" | "max") => {
            return (Arc::new(AggregateUDF::from(Extreme::new(name == "max"))), true);
        }
        name if QUANTILES.contains(&name) => {
            if let Some(arg) = args.first_mut() {
                *arg = number_of(std::mem::take(arg));
                new = true;
            }
        }
        _ => {}
    }
    (func, new)
}

/// Rewrites sort expressions. Returns whether anything changed.
fn order(order_by: &mut [Sort], schema: &DFSchema, key: fn(Texts) -> Reading) -> bool {
    let mut new = false;
    for sort in order_by {
        if is_mixed(&sort.expr, schema) {
            *sort = mixed::order(sort.clone(), schema, key).data;
            new = true;
        }
    }
    new
}

/// Converts text of an attribute or from JSON to a number. Other text stays, and is refused.
fn number(expr: Expr, schema: &DFSchema) -> Expr {
    // A function that is called by an alias has the alias as its name.
    let named = match &expr {
        Expr::Alias(alias) => alias.expr.as_ref(),
        other => other,
    };
    let is_attribute = match named {
        Expr::Column(column) => column.name.starts_with("attributes['"),
        Expr::ScalarFunction(call) => call.func.name() == JSON_AS_TEXT,
        _ => false,
    };
    let means_number = is_mixed(&expr, schema) || is_attribute && is_text_expr(&expr, schema);
    if means_number { as_number(expr, schema) } else { expr }
}
