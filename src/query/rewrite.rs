//! Rewrites of a planned statement that need types: ids as text ([`hex`](super::hex)), text beside numbers
//! ([`compare`](super::compare)), attributes of several types ([`mixed`](super::mixed)), what is calculated of
//! text ([`calculate`](super::calculate)), and differences of unsigned integers
//! ([`arithmetic`](super::arithmetic)). And what has to be looked at that needs types: time zones
//! ([`zones`](super::zones)).
//!
//! They run before type coercion, which would refuse the first and make the second fail on the first value
//! that is not a number.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::functions::Reading;
use super::{arithmetic, calculate, compare, hex, mixed, zones};

/// Applies all rewrites to every expression of `plan`, subqueries included. Idempotent.
pub(crate) fn rewrite_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let rewritten = rewrite_node(ordered(node), &rewrite_expr)?;
        // Also where only the input is another: what is known of a column is in all schemas above it.
        Ok(Transformed::yes(rewritten.data.recompute_schema()?))
    })
    .data()
}

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

fn rewrite_node(plan: LogicalPlan, rewrite: &Rewrite<'_>) -> Result<Transformed<LogicalPlan>> {
    let schema = node_schema(&plan);
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| rewrite(expr, &schema))?;
        Ok(if rewritten.transformed { rewritten.update_data(|e| name.restore(e)) } else { rewritten })
    })
}

/// `ORDER BY` as it is meant.
fn ordered(plan: LogicalPlan) -> LogicalPlan {
    let LogicalPlan::Sort(mut sort) = plan else { return plan };
    let schema = merge_schema(&[&sort.input]);
    sort.expr = sort.expr.into_iter().map(|expr| mixed::order(expr, &schema, Reading::Key).data).collect();
    LogicalPlan::Sort(sort)
}

/// What the expressions of a node refer to.
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

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    zones::check(&expr, schema)?;
    hex::rewrite(expr, schema)?
        .transform_data(|expr| mixed::rewrite(expr, schema))?
        .transform_data(|expr| Ok(compare::rewrite(expr, schema)))?
        .transform_data(|expr| Ok(calculate::rewrite(expr, schema)))?
        .transform_data(|expr| Ok(arithmetic::widen(expr, schema)))
}

/// [`rewrite_plan`] for those who plan without us: `DataFrame`s of an embedder.
#[derive(Debug)]
pub(crate) struct RewriteRule;

impl AnalyzerRule for RewriteRule {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_plan(plan)
    }

    fn name(&self) -> &'static str {
        "broadloom_literals"
    }
}
