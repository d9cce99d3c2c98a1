//! Integer operators that do not wrap around.
//!
//! Once types are settled, `a + b`, `a - b`, `a * b` and `-a` of integers become [`Checked`] functions, whose
//! result is right or an error. It is done in the logical plan because the planner calculates constants by itself:
//! `9223372036854775807 + 1` is never seen by a physical operator. Division and remainder are checked anyway.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;

use super::functions::{Checked, Operation};
use super::rewrite::rewrite_expressions;

/// Puts functions that check in the place of operators. Runs after type coercion. Idempotent.
#[derive(Debug)]
pub(super) struct CheckedArithmetic {
    add: Arc<ScalarUDF>,
    subtract: Arc<ScalarUDF>,
    multiply: Arc<ScalarUDF>,
    negate: Arc<ScalarUDF>,
}

impl Default for CheckedArithmetic {
    fn default() -> Self {
        let function = |operation| Arc::new(ScalarUDF::from(Checked::new(operation)));
        Self {
            add: function(Operation::Add),
            subtract: function(Operation::Subtract),
            multiply: function(Operation::Multiply),
            negate: function(Operation::Negate),
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
            Expr::Negative(negated) if is_integer(&negated) => self.call(Operation::Negate, vec![*negated]),
            other => Transformed::no(other),
        }
    }
}

impl AnalyzerRule for CheckedArithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, &|expr, schema| Ok(self.rewrite(expr, schema)))
    }

    fn name(&self) -> &'static str {
        "broadloom_checked_arithmetic"
    }
}
