//! An attribute that holds text, compared or calculated with as if it were a number.
//!
//! Keys whose values came with several types read as text. Left alone, the planner would cast the column
//! to a number and the query would fail on the first value that is none.
//!
//! | written                          | becomes                                               |
//! |----------------------------------|-------------------------------------------------------|
//! | `code = 200`, `<>`, IN (200, 201) | `code = '200'`                                        |
//! | `code > 399`, BETWEEN, `code + 1` | `try_cast(code AS DOUBLE) > 399`: others are null     |
//! | `sum(code)`, `avg(code)`, …       | `sum(try_cast(code AS DOUBLE))`                       |

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, Operator, TryCast};

use super::hex::is_comparison;
use crate::event::KeyDictionary;

/// Rewrites the top of `expr`.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(binary) => rewrite_binary(binary, schema),
        Expr::InList(list) if is_text_expr(&list.expr, schema) => rewrite_in(list, schema),
        Expr::Between(between) if is_text_expr(&between.expr, schema) => {
            let numbers = is_numeric(&between.low, schema) || is_numeric(&between.high, schema);
            if !numbers {
                return Transformed::no(Expr::Between(between));
            }
            let expr = Box::new(as_number(*between.expr));
            Transformed::yes(Expr::Between(Between { expr, ..between }))
        }
        other => Transformed::no(other),
    }
}

fn rewrite_binary(binary: BinaryExpr, schema: &DFSchema) -> Transformed<Expr> {
    let (left, right) = (&binary.left, &binary.right);
    let text = (is_text_expr(left, schema), is_text_expr(right, schema));
    let number = (is_numeric(left, schema), is_numeric(right, schema));
    let BinaryExpr { left, op, right } = binary;
    let rebuild = |left, right| Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    if is_equality(op) {
        match (text, as_text(&left), as_text(&right)) {
            ((true, false), _, Some(literal)) => return rebuild(left, Box::new(literal)),
            ((false, true), Some(literal), _) => return rebuild(Box::new(literal), right),
            _ => {}
        }
    }
    if is_comparison(op) || is_arithmetic(op) {
        match (text, number) {
            ((true, _), (_, true)) => return rebuild(Box::new(as_number(*left)), right),
            ((_, true), (true, _)) => return rebuild(left, Box::new(as_number(*right))),
            ((true, true), _) if is_arithmetic(op) => {
                return rebuild(Box::new(as_number(*left)), Box::new(as_number(*right)));
            }
            _ => {}
        }
    }
    Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))
}

fn rewrite_in(list: InList, schema: &DFSchema) -> Transformed<Expr> {
    if !list.list.iter().any(|item| is_numeric(item, schema) || as_text(item).is_some()) {
        return Transformed::no(Expr::InList(list));
    }
    let items: Option<Vec<Expr>> = list
        .list
        .iter()
        .map(|item| as_text(item).or_else(|| (!is_numeric(item, schema)).then(|| item.clone())))
        .collect();
    Transformed::yes(Expr::InList(match items {
        Some(items) => InList { list: items, ..list },
        None => InList { expr: Box::new(as_number(*list.expr)), ..list },
    }))
}

fn is_equality(op: Operator) -> bool {
    use Operator::{Eq, IsDistinctFrom, IsNotDistinctFrom, NotEq};
    matches!(op, Eq | NotEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn is_arithmetic(op: Operator) -> bool {
    use Operator::{Divide, Minus, Modulo, Multiply, Plus};
    matches!(op, Divide | Minus | Modulo | Multiply | Plus)
}

/// Whether `expr` is text that varies by row; literals are the planner's to cast.
fn is_text_expr(expr: &Expr, schema: &DFSchema) -> bool {
    let literal = matches!(expr, Expr::Literal(..) | Expr::Placeholder(_));
    !literal && matches!(expr.get_type(schema), Ok(DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8))
}

fn is_numeric(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|ty| ty.is_numeric())
}

/// A literal that has one spelling as text: integers and booleans.
fn as_text(expr: &Expr) -> Option<Expr> {
    let Expr::Literal(value, metadata) = expr else { return None };
    let text = match value {
        ScalarValue::Boolean(Some(b)) => b.to_string(),
        value if value.data_type().is_integer() && !value.is_null() => value.to_string(),
        _ => return None,
    };
    Some(Expr::Literal(ScalarValue::Utf8View(Some(text)), metadata.clone()))
}

fn as_number(expr: Expr) -> Expr {
    Expr::TryCast(TryCast::new(Box::new(expr), DataType::Float64))
}

/// Aggregates of numbers that refuse text while the statement is planned, before any rewrite of the plan
/// can run.
pub(super) const NUMERIC_AGGREGATES: [&str; 12] = [
    "sum",
    "avg",
    "median",
    "stddev",
    "stddev_pop",
    "var_samp",
    "var",
    "var_pop",
    "approx_median",
    "approx_percentile_cont",
    "corr",
    "percentile_cont",
];

/// Reads attributes that hold text as numbers where an aggregate needs numbers.
#[derive(Debug)]
pub(super) struct NumericAggregates {
    keys: Arc<KeyDictionary>,
}

impl NumericAggregates {
    /// For attributes of the types that `keys` knows.
    pub(super) fn new(keys: Arc<KeyDictionary>) -> Self {
        Self { keys }
    }

    fn is_text_attribute(&self, expr: &Expr) -> bool {
        let Expr::Column(column) = expr else { return false };
        let Some(key) = attribute_of_column(&column.name) else { return false };
        let known = self.keys.lookup(&key);
        known.is_none_or(|attribute| attribute.data_type() == DataType::Utf8View)
    }
}

/// The key of a column called `attributes['key']`.
fn attribute_of_column(name: &str) -> Option<String> {
    let key = name.strip_prefix("attributes['")?.strip_suffix("']")?;
    Some(key.replace("''", "'"))
}

impl ExprPlanner for NumericAggregates {
    fn plan_aggregate(&self, mut expr: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        if NUMERIC_AGGREGATES.contains(&expr.func.name()) {
            for arg in &mut expr.args {
                if self.is_text_attribute(arg) {
                    *arg = as_number(arg.clone());
                }
            }
        }
        Ok(PlannerResult::Original(expr))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;
    use crate::event::schema;

    fn run(expr: Expr) -> String {
        let schema = DFSchema::try_from(schema::core_schema()).unwrap();
        rewrite(expr, &schema).data.to_string()
    }

    #[test]
    fn equality_compares_as_text_and_order_as_numbers() {
        assert_eq!(run(col("name").eq(lit(200_i64))), "name = Utf8View(\"200\")");
        assert_eq!(run(lit(200_i64).not_eq(col("name"))), "Utf8View(\"200\") != name");
        assert_eq!(run(col("name").eq(lit(true))), "name = Utf8View(\"true\")");
        assert_eq!(run(col("name").gt(lit(200_i64))), "TRY_CAST(name AS Float64) > Int64(200)");
        assert_eq!(run(col("name").eq(lit(0.5))), "TRY_CAST(name AS Float64) = Float64(0.5)");
        assert_eq!(run(col("name") + lit(1_i64)), "TRY_CAST(name AS Float64) + Int64(1)");
        assert_eq!(
            run(col("name").in_list(vec![lit(1_i64), lit("a")], false)),
            "name IN ([Utf8View(\"1\"), Utf8(\"a\")])"
        );
        let between = run(col("name").between(lit(1_i64), lit(2_i64)));
        assert!(between.starts_with("TRY_CAST(name AS Float64) BETWEEN"), "{between}");
    }

    #[test]
    fn what_has_one_type_is_left_alone() {
        for expr in [
            col("duration_ns").gt(lit(5_i64)),
            col("name").eq(lit("x")),
            col("name").eq(col("kind")),
            col("duration_ns").eq(lit("5")),
            col("timestamp") - lit("1 hour"),
        ] {
            assert_eq!(run(expr.clone()), expr.to_string());
        }
    }
}
