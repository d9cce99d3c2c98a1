//! Text attributes that are compared or calculated with as numbers.
//!
//! Some producers send numbers as text. The planner would cast the column to a number, and the query would fail on
//! the first value that is not one. Keys that hold both numbers and other values are [`mixed`](super::mixed).
//!
//! | written                          | becomes                                               |
//! |----------------------------------|-------------------------------------------------------|
//! | `code = 200`, `<>`, IN (200, 201) | `code = '200'`                                        |
//! | `code > 399`, BETWEEN, `code + 1` | `try_cast(code AS DOUBLE) > 399`: others are null     |
//!
//! An integer column is compared with a whole double as integers: the planner would convert the column to doubles,
//! which have fewer digits. `duration_ns > 1e9` becomes `duration_ns > 1000000000`.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, Operator, TryCast};

use super::hex::is_comparison;
use super::mixed::{is_mixed, number_of};
use crate::query::functions::number;

/// Rewrites the top of `expr`.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if is_comparison(op) && (is_integer(&left, schema) || is_integer(&right, schema)) =>
        {
            let sides = (as_integer(*left), as_integer(*right));
            let new = sides.0.transformed || sides.1.transformed;
            let (left, right) = (Box::new(sides.0.data), Box::new(sides.1.data));
            let expr = Expr::BinaryExpr(BinaryExpr { left, op, right });
            if new { Transformed::yes(expr) } else { rewrite_top(expr, schema) }
        }
        Expr::InList(list) if is_integer(&list.expr, schema) => {
            let items = list.list.into_iter().map(as_integer).map(|item| item.data).collect();
            Transformed::yes(Expr::InList(InList { list: items, ..list }))
        }
        Expr::Between(between) if is_integer(&between.expr, schema) => {
            let low = Box::new(as_integer(*between.low).data);
            let high = Box::new(as_integer(*between.high).data);
            Transformed::yes(Expr::Between(Between { low, high, ..between }))
        }
        other => rewrite_top(other, schema),
    }
}

fn rewrite_top(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(binary) => rewrite_binary(binary, schema),
        Expr::InList(list) if is_text_expr(&list.expr, schema) => rewrite_in(list, schema),
        Expr::Between(between) if is_text_expr(&between.expr, schema) => {
            let numbers = is_numeric(&between.low, schema) || is_numeric(&between.high, schema);
            if !numbers {
                return Transformed::no(Expr::Between(between));
            }
            let expr = Box::new(as_number(*between.expr, schema));
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
            ((true, _), (_, true)) => return rebuild(Box::new(as_number(*left, schema)), right),
            ((_, true), (true, _)) => return rebuild(left, Box::new(as_number(*right, schema))),
            ((true, true), _) if is_arithmetic(op) => {
                return rebuild(Box::new(as_number(*left, schema)), Box::new(as_number(*right, schema)));
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
        None => InList { expr: Box::new(as_number(*list.expr, schema)), ..list },
    }))
}

/// True if `expr` is 64-bit integers that vary by row.
fn is_integer(expr: &Expr, schema: &DFSchema) -> bool {
    !matches!(expr, Expr::Literal(..)) && matches!(expr.get_type(schema), Ok(DataType::Int64))
}

/// Turns a literal double that is whole into an integer.
fn as_integer(expr: Expr) -> Transformed<Expr> {
    if let Expr::Literal(ScalarValue::Float64(Some(value)), metadata) = &expr
        && let Some(integer) = number::integer(*value)
    {
        return Transformed::yes(Expr::Literal(ScalarValue::Int64(Some(integer)), metadata.clone()));
    }
    Transformed::no(expr)
}

fn is_equality(op: Operator) -> bool {
    use Operator::{Eq, IsDistinctFrom, IsNotDistinctFrom, NotEq};
    matches!(op, Eq | NotEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn is_arithmetic(op: Operator) -> bool {
    use Operator::{Divide, Minus, Modulo, Multiply, Plus};
    matches!(op, Divide | Minus | Modulo | Multiply | Plus)
}

/// True if `expr` is text that varies by row. The planner casts literals.
pub(super) fn is_text_expr(expr: &Expr, schema: &DFSchema) -> bool {
    let literal = matches!(expr, Expr::Literal(..) | Expr::Placeholder(_));
    !literal && matches!(expr.get_type(schema), Ok(DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8))
}

fn is_numeric(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|ty| ty.is_numeric())
}

/// Text of a literal that has only one spelling: integers and booleans.
fn as_text(expr: &Expr) -> Option<Expr> {
    let Expr::Literal(value, metadata) = expr else { return None };
    let text = match value {
        ScalarValue::Boolean(Some(b)) => b.to_string(),
        value if value.data_type().is_integer() && !value.is_null() => value.to_string(),
        _ => return None,
    };
    Some(Expr::Literal(ScalarValue::Utf8View(Some(text)), metadata.clone()))
}

/// Converts text to a number, or to null if it is not one.
pub(super) fn as_number(expr: Expr, schema: &DFSchema) -> Expr {
    if is_mixed(&expr, schema) {
        return number_of(expr);
    }
    Expr::TryCast(TryCast::new(Box::new(expr), DataType::Float64))
}

/// Key of a column named `attributes['key']`.
pub(super) fn attribute_of_column(name: &str) -> Option<String> {
    let key = name.strip_prefix("attributes['")?.strip_suffix("']")?;
    Some(key.replace("''", "'"))
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
    fn integers_keep_their_digits_beside_doubles() {
        assert_eq!(run(col("duration_ns").gt(lit(1e9))), "duration_ns > Int64(1000000000)");
        assert_eq!(run(lit(1e18).eq(col("duration_ns"))), "Int64(1000000000000000000) = duration_ns");
        assert_eq!(run(col("duration_ns").gt(lit(0.5))), "duration_ns > Float64(0.5)");
        let list = col("duration_ns").in_list(vec![lit(2.0), lit(2.5)], false);
        assert_eq!(run(list), "duration_ns IN ([Int64(2), Float64(2.5)])");
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
