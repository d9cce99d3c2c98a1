//! Rewrites of a planned statement that need types: ids as text ([`hex`](super::hex)), text beside numbers
//! ([`compare`](super::compare)), attributes of several types ([`mixed`](super::mixed)), what is calculated of
//! text ([`calculate`](super::calculate)), and differences of unsigned integers
//! ([`arithmetic`](super::arithmetic)). And what has to be looked at that needs types: time zones
//! ([`zones`](super::zones)).
//!
//! They run before type coercion, which would refuse the first and make the second fail on the first value
//! that is not a number.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::walk::rewrite_node;
use super::{arithmetic, calculate, choose, compare, hex, mixed, zones};
use crate::query::functions::Reading;

/// Applies all rewrites to every expression of `plan`, subqueries included. Idempotent.
pub(crate) fn rewrite_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let rewritten = rewrite_node(ordered(node), &rewrite_expr)?;
        // Also where only the input is another: what is known of a column is in all schemas above it.
        Ok(Transformed::yes(rewritten.data.recompute_schema()?))
    })
    .data()
}

/// `ORDER BY` as it is meant.
fn ordered(plan: LogicalPlan) -> LogicalPlan {
    let LogicalPlan::Sort(mut sort) = plan else { return plan };
    let schema = merge_schema(&[&sort.input]);
    sort.expr = sort.expr.into_iter().map(|expr| mixed::order(expr, &schema, Reading::Key).data).collect();
    LogicalPlan::Sort(sort)
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    zones::check(&expr, schema)?;
    hex::rewrite(expr, schema)?
        .transform_data(|expr| mixed::rewrite(expr, schema))?
        .transform_data(|expr| Ok(compare::rewrite(expr, schema)))?
        .transform_data(|expr| Ok(calculate::rewrite(expr, schema)))?
        .transform_data(|expr| choose::rewrite(expr, schema))?
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
