//! Lists and maps in text: subscripts and operators, once the types of their operands are known.
//!
//! | written                             | becomes                                            |
//! |-------------------------------------|----------------------------------------------------|
//! | `accept[1]`, `order['items'][2]`     | `json_at(accept, 1)`, `json_at(order, 'items', 2)` |
//! | `accept[1:2]`                        | `json_list(accept)[1:2]`                           |
//! | `body -> 'a'`, `body ->> 'a'`        | `json_as_text(body, 'a')`                          |
//!
//! The resolver cannot do this, as it does not know types. Lists, maps and structs are left to the planner.

use std::sync::Arc;

use datafusion::common::{DFSchema, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, ScalarUDF, lit};

use crate::query::functions::{JSON_AT, JsonAt, JsonList, JsonReading, is_text, json_operator};

/// Plans subscripts and operators that read JSON text.
#[derive(Debug)]
pub(crate) struct JsonText {
    at: Arc<ScalarUDF>,
    list: Arc<ScalarUDF>,
}

impl JsonText {
    /// The planner.
    pub(crate) fn new() -> Self {
        let list = JsonList::new(JsonReading::Items);
        Self { at: Arc::new(JsonAt::new().into()), list: Arc::new(list.into()) }
    }

    /// `json_at(expr, step)`, or `expr` with one more step if it is already a path.
    fn at(&self, expr: Expr, step: Expr) -> Expr {
        let (json, mut steps) = match expr {
            Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == JSON_AT => (None, args),
            other => (Some(other), Vec::new()),
        };
        steps.push(step);
        let args = json.into_iter().chain(steps).collect();
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&self.at), args))
    }
}

impl ExprPlanner for JsonText {
    fn plan_field_access(
        &self,
        RawFieldAccessExpr { expr, field_access }: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let ty = expr.get_type(schema)?;
        if ty.is_nested() || ty.is_null() || matches!(expr, Expr::Placeholder(_)) {
            return Ok(PlannerResult::Original(RawFieldAccessExpr { expr, field_access }));
        }
        if !is_text(&ty) {
            return plan_err!("{expr} has neither items nor entries: its type is {ty}");
        }
        Ok(match field_access {
            GetFieldAccess::NamedStructField { name } => PlannerResult::Planned(self.at(expr, lit(name))),
            GetFieldAccess::ListIndex { key } => PlannerResult::Planned(self.at(expr, *key)),
            range @ GetFieldAccess::ListRange { .. } => {
                let list = ScalarFunction::new_udf(Arc::clone(&self.list), vec![expr]);
                let expr = Expr::ScalarFunction(list);
                PlannerResult::Original(RawFieldAccessExpr { expr, field_access: range })
            }
        })
    }

    fn plan_binary_op(
        &self,
        RawBinaryExpr { op, left, right }: RawBinaryExpr,
        _: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        Ok(match json_operator(&op) {
            Some(function) => PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(
                function,
                vec![left, right],
            ))),
            None => PlannerResult::Original(RawBinaryExpr { op, left, right }),
        })
    }
}
