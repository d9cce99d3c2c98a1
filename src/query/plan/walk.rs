//! Visits the expressions of a plan, each with the schema that it is over.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Applies `rewrite` to every part of every expression of `plan`, subqueries included. Columns keep their names.
pub(super) fn rewrite_expressions(plan: LogicalPlan, rewrite: &Rewrite<'_>) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let rewritten = rewrite_node(node, rewrite)?;
        if rewritten.transformed {
            return Ok(Transformed::yes(rewritten.data.recompute_schema()?));
        }
        Ok(rewritten)
    })
    .data()
}

/// Changes the top of an expression over a schema.
pub(super) type Rewrite<'a> = dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>> + 'a;

/// Applies `rewrite` to every part of the expressions of one node. Columns keep their names.
pub(super) fn rewrite_node(plan: LogicalPlan, rewrite: &Rewrite<'_>) -> Result<Transformed<LogicalPlan>> {
    let schema = node_schema(&plan);
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| rewrite(expr, &schema))?;
        Ok(if rewritten.transformed { rewritten.update_data(|e| name.restore(e)) } else { rewritten })
    })
}

/// Schema of the columns that the expressions of a node refer to.
fn node_schema(plan: &LogicalPlan) -> DFSchema {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = plan {
        // Filters of a scan refer to all of the table's columns.
        if let Ok(all) = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema()) {
            schema.merge(&all);
        }
    }
    schema
}
