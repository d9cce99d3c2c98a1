//! Integer operators that do not wrap around.
//!
//! After type coercion, `a + b`, `a - b`, `a * b` and `-a` of integers become [`Checked`] functions, which return
//! the right result or an error. The logical plan is rewritten because the planner folds constants: no physical
//! operator ever sees `9223372036854775807 + 1`. Division and remainder are checked anyway.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::{
    AggregateUDF, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF,
};
use datafusion::optimizer::AnalyzerRule;

use super::walk::rewrite_expressions;
use crate::query::functions::{self, Checked, Operation};

/// Replaces operators by checked functions. Runs after type coercion. Idempotent.
#[derive(Debug)]
pub(crate) struct CheckedArithmetic {
    add: Arc<ScalarUDF>,
    subtract: Arc<ScalarUDF>,
    multiply: Arc<ScalarUDF>,
    negate: Arc<ScalarUDF>,
    sum: Arc<AggregateUDF>,
}

impl Default for CheckedArithmetic {
    fn default() -> Self {
        let function = |operation| Arc::new(ScalarUDF::from(Checked::new(operation)));
        Self {
            add: function(Operation::Add),
            subtract: function(Operation::Subtract),
            multiply: function(Operation::Multiply),
            negate: function(Operation::Negate),
            sum: Arc::new(functions::sum()),
        }
    }
}

impl CheckedArithmetic {
    fn function(&self, operation: Operation) -> &Arc<ScalarUDF> {
        match operation {
            Operation::Add => &self.add,
            Operation::Subtract => &self.subtract,
            Operation::Multiply => &self.multiply,
            Operation::Negate => &self.negate,
        }
    }

    fn call(&self, operation: Operation, args: Vec<Expr>) -> Transformed<Expr> {
        Transformed::yes(self.function(operation).call(args))
    }

    /// Rewrites the top of `expr`.
    fn rewrite(&self, expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
        let is_integer = |expr: &Expr| expr.get_type(schema).is_ok_and(|ty| ty.is_integer());
        match expr {
            Expr::BinaryExpr(binary) => match Operation::of(binary.op) {
                Some(operation) if is_integer(&binary.left) && is_integer(&binary.right) => {
                    self.call(operation, vec![*binary.left, *binary.right])
                }
                _ => Transformed::no(Expr::BinaryExpr(binary)),
            },
            // From programs that embed us and use DataFusion's function objects.
            Expr::AggregateFunction(mut call) if wraps_around(&call.func) => {
                call.func = Arc::clone(&self.sum);
                Transformed::yes(Expr::AggregateFunction(call))
            }
            Expr::Negative(negated) if is_integer(&negated) => self.call(Operation::Negate, vec![*negated]),
            other => Transformed::no(other),
        }
    }
}

/// Rewrites the top of `expr`, before type coercion: a difference of unsigned integers may be negative, so it gets
/// the type that the difference of an unsigned and a signed integer has.
pub(super) fn widen(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::BinaryExpr(binary) = expr else { return Transformed::no(expr) };
    let BinaryExpr { left, op, right } = binary;
    let unsigned = |side: &Expr| side.get_type(schema).ok().filter(DataType::is_unsigned_integer);
    let wide = match (op, unsigned(&left), unsigned(&right)) {
        (Operator::Minus, Some(left), Some(right)) => {
            let largest = [left, right].contains(&DataType::UInt64);
            Some(if largest { DataType::Decimal128(20, 0) } else { DataType::Int64 })
        }
        _ => None,
    };
    let Some(wide) = wide else { return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })) };
    let [left, right] = [left, right].map(|side| Box::new(Expr::Cast(Cast::new(side, wide.clone()))));
    Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
}

/// True for DataFusion's own sum.
fn wraps_around(function: &AggregateUDF) -> bool {
    let function: &dyn Any = function.inner().as_ref();
    function.is::<Sum>()
}

impl AnalyzerRule for CheckedArithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, &|expr, schema| Ok(self.rewrite(expr, schema)))
    }

    fn name(&self) -> &'static str {
        "broadloom_checked_arithmetic"
    }
}
