//! Applies the rewrites of a planned statement that need types: ids as text ([`hex`](super::hex)), words of
//! log levels ([`levels`](super::levels)), text compared with numbers ([`compare`](super::compare)), attributes of
//! several types ([`mixed`](super::mixed)), calculations with text ([`calculate`](super::calculate)), and differences
//! of unsigned integers ([`arithmetic`](super::arithmetic)), tests of booleans ([`truth`](super::truth)). Also checks time zones ([`zones`](super::zones)).
//!
//! They run before type coercion, which would refuse ids as text, and would make text compared with numbers fail on
//! the first value that is not a number.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::walk::rewrite_node;
use super::{arithmetic, calculate, choose, compare, hex, levels, mixed, truth, zones};
use crate::query::functions::Reading;

/// Applies all rewrites to every expression of `plan`, subqueries included. Idempotent.
pub(crate) fn rewrite_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let rewritten = if truth::has_conditions(&node) {
            rewrite_node(ordered(node), &rewrite_expr)?
        } else {
            let with_truth = |expr, schema: &DFSchema| {
                rewrite_expr(expr, schema)?.transform_data(|expr| Ok(truth::rewrite(expr, schema)))
            };
            rewrite_node(ordered(node), &with_truth)?
        };
        // Also if only the input changed: marks of a column are in all schemas above it.
        Ok(Transformed::yes(rewritten.data.recompute_schema()?))
    })
    .data()
}

/// Rewrites the sort expressions of `ORDER BY`.
fn ordered(plan: LogicalPlan) -> LogicalPlan {
    let LogicalPlan::Sort(mut sort) = plan else { return plan };
    let schema = merge_schema(&[&sort.input]);
    sort.expr = sort.expr.into_iter().map(|expr| mixed::order(expr, &schema, Reading::Key).data).collect();
    LogicalPlan::Sort(sort)
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    zones::check(&expr, schema)?;
    hex::rewrite(expr, schema)?
        .transform_data(|expr| Ok(levels::rewrite(expr, schema)))?
        .transform_data(|expr| mixed::rewrite(expr, schema))?
        .transform_data(|expr| Ok(compare::rewrite(expr, schema)))?
        .transform_data(|expr| Ok(calculate::rewrite(expr, schema)))?
        .transform_data(|expr| choose::rewrite(expr, schema))?
        .transform_data(|expr| Ok(arithmetic::widen(expr, schema)))
}

/// [`rewrite_plan`] as a rule, for plans not made by [`Engine`](crate::query::Engine), such as `DataFrame`s.
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
