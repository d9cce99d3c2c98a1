//! `x IS TRUE` and its relatives in places other than conditions, as comparisons.
//!
//! DataFusion's logical plan knows that `x IS NOT TRUE` is never null; its physical plan calculates
//! `x IS DISTINCT FROM true` instead, which may be null by its types. A GROUP BY above such a column then fails, as its
//! input is not what was planned. So the logical plan has the comparison too. Conditions stay as they are: pruning reads
//! them.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, binary_expr, lit};

/// True if the expressions of a node are conditions.
pub(super) fn has_conditions(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Join(_) | LogicalPlan::TableScan(_))
}

/// Turns a test of a boolean into a comparison.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    use Operator::{IsDistinctFrom, IsNotDistinctFrom};
    let (operator, truth) = match &expr {
        Expr::IsTrue(_) => (IsNotDistinctFrom, true),
        Expr::IsNotTrue(_) => (IsDistinctFrom, true),
        Expr::IsFalse(_) => (IsNotDistinctFrom, false),
        Expr::IsNotFalse(_) => (IsDistinctFrom, false),
        _ => return Transformed::no(expr),
    };
    match expr {
        Expr::IsTrue(inner) | Expr::IsNotTrue(inner) | Expr::IsFalse(inner) | Expr::IsNotFalse(inner)
            if matches!(inner.get_type(schema), Ok(DataType::Boolean)) =>
        {
            Transformed::yes(binary_expr(*inner, operator, lit(truth)))
        }
        other => Transformed::no(other),
    }
}
