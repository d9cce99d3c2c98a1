//! Attributes with values of several types, numbers among them: they read as text, but queries mean the numbers.
//!
//! Their fields carry a mark, and expressions over a marked column are rewritten as in the table. The mark passes
//! through views, subqueries, aliases and `UNION ALL`. A cast removes it, so `CAST(x AS VARCHAR)` is ordinary text.
//! [`number`](crate::query::functions::number) defines the spelling of numbers and their order.
//!
//! | written                               | becomes                                                   |
//! |---------------------------------------|-----------------------------------------------------------|
//! | `x = 200.0`, `<>`, IN, CASE           | `x = '200'`                                               |
//! | `x = '200.0'`                         | `x IN ('200.0', '200')`, as a column of numbers takes it  |
//! | `x = duration_ns`                     | `x = number_text(duration_ns)`                            |
//! | `x > 399`, `x > '399'`, BETWEEN       | `number_key(x) > key of 399`: texts are null              |
//! | `x > 'abc'`, `x > y`                  | `mixed_key(x) > mixed_key(y)`: texts are above numbers    |
//! | ORDER BY `x`, in windows too          | ORDER BY `mixed_key(x)`: numbers, then texts              |
//! | ORDER BY `x` DESC                     | ORDER BY `mixed_key_desc(x)` DESC: numbers, then texts    |

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{InList, InSubquery, Sort};
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Expr, ExprSchemable, LogicalPlanBuilder, Operator, ScalarUDF, Subquery,
};

use super::hex::is_comparison;
use crate::query::functions::number::{self, Texts};
use crate::query::functions::{Mixed, Reading, is_marked};

/// True if `expr` is, or passes on, a marked column.
pub(super) fn is_mixed(expr: &Expr, schema: &DFSchema) -> bool {
    let passes_on = !matches!(expr, Expr::Literal(..) | Expr::Placeholder(_) | Expr::BinaryExpr(_));
    passes_on && expr.to_field(schema).is_ok_and(|(_, field)| is_marked(&field))
}

/// The number in `expr`, or null.
pub(super) fn number_of(expr: Expr) -> Expr {
    call(Reading::Number, expr)
}

/// Rewrites `sort` to order by keys, with the reading that `key` chooses.
pub(super) fn order(sort: Sort, schema: &DFSchema, key: fn(Texts) -> Reading) -> Transformed<Sort> {
    if !is_mixed(&sort.expr, schema) {
        return Transformed::no(sort);
    }
    let texts = if sort.asc { Texts::Last } else { Texts::First };
    Transformed::yes(Sort { expr: call(key(texts), sort.expr), ..sort })
}

/// Rewrites the top of a comparison with a mixed side.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => compare(binary, schema),
        Expr::Between(between) => compare_between(between, schema),
        Expr::InList(list) => compare_list(list, schema),
        Expr::InSubquery(list) => return compare_subquery(list, schema),
        Expr::Case(case) => compare_case(case, schema),
        Expr::Negative(expr) if is_mixed(&expr, schema) => {
            Transformed::yes(Expr::Negative(Box::new(number_of(*expr))))
        }
        other => Transformed::no(other),
    })
}

/// One side of a comparison.
enum Side {
    /// A marked column.
    Mixed,
    /// A literal, by the spelling of its number.
    Literal(String),
    /// Another number.
    Number,
    /// Text that may or may not be a number.
    Text,
    Null,
    /// A value that does not compare with text.
    Other,
}

impl Side {
    fn of(expr: &Expr, schema: &DFSchema) -> Self {
        if let Expr::Literal(value, _) = expr {
            return Self::of_literal(value);
        }
        if is_mixed(expr, schema) {
            return Self::Mixed;
        }
        match expr.get_type(schema) {
            Ok(ty) if ty.is_numeric() => Self::Number,
            Ok(DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8) => Self::Text,
            _ => Self::Other,
        }
    }

    fn of_literal(value: &ScalarValue) -> Self {
        if value.is_null() {
            return Self::Null;
        }
        if value.data_type().is_numeric() {
            return spelling(value).map_or(Self::Number, Self::Literal);
        }
        match value.try_as_str().flatten() {
            Some(text) if number::value(text).is_some() => Self::Literal(text.to_owned()),
            Some(text) => number::other_spelling(text).map_or(Self::Text, Self::Literal),
            None => Self::Other,
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Literal(_) | Self::Number)
    }
}

fn compare(binary: BinaryExpr, schema: &DFSchema) -> Transformed<Expr> {
    use Operator::{Eq, IsDistinctFrom, IsNotDistinctFrom, NotEq};
    let BinaryExpr { left, op, right } = binary;
    let mixed = (is_mixed(&left, schema), is_mixed(&right, schema));
    let rebuild = |left, right| Expr::BinaryExpr(BinaryExpr { left, op, right });
    if mixed == (false, false) {
        return Transformed::no(rebuild(left, right));
    }
    if !matches!(op, Eq | NotEq | IsDistinctFrom | IsNotDistinctFrom) {
        return match keys([*left, *right], schema) {
            Ok([left, right]) => Transformed::yes(rebuild(Box::new(left), Box::new(right))),
            Err([left, right]) => Transformed::no(rebuild(Box::new(left), Box::new(right))),
        };
    }
    let (column, other) = if mixed.0 { (left, right) } else { (right, left) };
    let (other, second) = spellings(*other, schema);
    if let (Some(second), Eq | NotEq) = (second, op) {
        let list = vec![other, second];
        return Transformed::yes(Expr::InList(InList { expr: column, list, negated: op == NotEq }));
    }
    let (left, right) = if mixed.0 { (column, Box::new(other)) } else { (Box::new(other), column) };
    Transformed::yes(rebuild(left, right))
}

fn compare_between(between: Between, schema: &DFSchema) -> Transformed<Expr> {
    let Between { expr, negated, low, high } = between;
    let sides = [*expr, *low, *high];
    let rebuild = |[expr, low, high]: [Expr; 3]| {
        Expr::Between(Between { expr: Box::new(expr), negated, low: Box::new(low), high: Box::new(high) })
    };
    if !sides.iter().any(|side| is_mixed(side, schema)) {
        return Transformed::no(rebuild(sides));
    }
    match keys(sides, schema) {
        Ok(keys) => Transformed::yes(rebuild(keys)),
        Err(sides) => Transformed::no(rebuild(sides)),
    }
}

fn compare_list(list: InList, schema: &DFSchema) -> Transformed<Expr> {
    let InList { expr, list, negated } = list;
    if is_mixed(&expr, schema) {
        let list = list.into_iter().map(|item| spellings(item, schema));
        let list = list.flat_map(|(item, second)| [item].into_iter().chain(second)).collect();
        return Transformed::yes(Expr::InList(InList { expr, list, negated }));
    }
    if !list.iter().any(|item| is_mixed(item, schema)) || !Side::of(&expr, schema).is_number() {
        return Transformed::no(Expr::InList(InList { expr, list, negated }));
    }
    let expr = Box::new(as_spelling(*expr, schema));
    let list = list.into_iter().map(|item| as_spelling(item, schema)).collect();
    Transformed::yes(Expr::InList(InList { expr, list, negated }))
}

fn compare_subquery(list: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let InSubquery { expr, subquery, negated } = list;
    let found = subquery.subquery.schema().fields().first().cloned();
    let of_numbers = found.as_ref().is_some_and(|field| field.data_type().is_numeric());
    if is_mixed(&expr, schema) && of_numbers {
        let name = subquery.subquery.schema().columns().into_iter().next();
        let spelled = name.map(|column: Column| call(Reading::Spelling, Expr::Column(column)));
        let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).project(spelled)?.build()?;
        let subquery = Subquery { subquery: plan.into(), ..subquery };
        return Ok(Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery, negated })));
    }
    if found.is_some_and(|field| is_marked(&field)) && Side::of(&expr, schema).is_number() {
        let expr = Box::new(as_spelling(*expr, schema));
        return Ok(Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery, negated })));
    }
    Ok(Transformed::no(Expr::InSubquery(InSubquery { expr, subquery, negated })))
}

fn compare_case(mut case: Case, schema: &DFSchema) -> Transformed<Expr> {
    let subject = case.expr.as_ref().map(|subject| Side::of(subject, schema));
    let any_mixed = case.when_then_expr.iter().any(|(when, _)| is_mixed(when, schema));
    match subject {
        Some(Side::Mixed) => {}
        Some(side) if side.is_number() && any_mixed => {}
        _ => return Transformed::no(Expr::Case(case)),
    }
    case.expr = case.expr.map(|subject| Box::new(as_spelling(*subject, schema)));
    let whens = case.when_then_expr.into_iter();
    case.when_then_expr = whens.map(|(when, then)| (Box::new(as_spelling(*when, schema)), then)).collect();
    Transformed::yes(Expr::Case(case))
}

/// Keys, as bytes, that compare like `sides`, one of which is mixed. If a side is a number, texts have no key.
/// `Err` with the unchanged sides if one does not compare.
fn keys<const N: usize>(sides: [Expr; N], schema: &DFSchema) -> std::result::Result<[Expr; N], [Expr; N]> {
    let of = sides.each_ref().map(|side| Side::of(side, schema));
    if of.iter().any(|side| matches!(side, Side::Other)) {
        return Err(sides);
    }
    let texts = if of.iter().any(Side::is_number) { Texts::Without } else { Texts::Last };
    let mut of = of.into_iter();
    Ok(sides.map(|side| match of.next() {
        Some(Side::Literal(spelling)) => key_literal(&spelling, texts),
        Some(Side::Null) | None => Expr::Literal(ScalarValue::Binary(None), None),
        Some(Side::Number) => call(Reading::Key(texts), call(Reading::Spelling, side)),
        Some(Side::Mixed | Side::Text | Side::Other) => call(Reading::Key(texts), side),
    }))
}

fn key_literal(text: &str, texts: Texts) -> Expr {
    let mut key = Vec::new();
    let key = number::key(&mut key, text, texts).then_some(key);
    Expr::Literal(ScalarValue::Binary(key), None)
}

/// Texts that a mixed column must equal to equal `expr`. For a number: its spelling. For a literal text: itself,
/// and the number's spelling if it is another spelling of a number.
fn spellings(expr: Expr, schema: &DFSchema) -> (Expr, Option<Expr>) {
    let text = match &expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    };
    match text.and_then(number::other_spelling) {
        Some(spelling) => (expr, Some(text_literal(spelling))),
        None => (as_spelling(expr, schema), None),
    }
}

/// `expr` as text: numbers by their spelling, booleans too.
pub(super) fn as_spelling(expr: Expr, schema: &DFSchema) -> Expr {
    match &expr {
        Expr::Literal(ScalarValue::Boolean(Some(value)), _) => text_literal(value.to_string()),
        Expr::Literal(value, _) if value.data_type().is_numeric() && !value.is_null() => {
            match spelling(value) {
                Some(spelling) => text_literal(spelling),
                None => expr,
            }
        }
        _ if matches!(Side::of(&expr, schema), Side::Number) => call(Reading::Spelling, expr),
        _ => expr,
    }
}

/// Spelling of a literal number.
fn spelling(value: &ScalarValue) -> Option<String> {
    if value.data_type().is_integer() {
        return Some(value.to_string());
    }
    match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(Some(number))) => Some(number::spell(number)),
        _ => None,
    }
}

fn text_literal(text: String) -> Expr {
    Expr::Literal(ScalarValue::Utf8View(Some(text)), None)
}

fn call(reading: Reading, expr: Expr) -> Expr {
    std::sync::Arc::new(ScalarUDF::from(Mixed::new(reading))).call(vec![expr])
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::{col, lit};

    use super::*;
    use crate::query::functions::mark;

    fn schema() -> DFSchema {
        let x = mark(Field::new("x", DataType::Utf8View, true));
        let plain = [("t", DataType::Utf8View), ("n", DataType::Int64)];
        let plain = plain.map(|(name, ty)| Field::new(name, ty, true));
        DFSchema::try_from(Schema::new([x].into_iter().chain(plain).collect::<Vec<_>>())).unwrap()
    }

    fn run(expr: Expr) -> String {
        rewrite(expr, &schema()).unwrap().data.to_string()
    }

    #[test]
    fn equality_is_that_of_spellings() {
        assert_eq!(run(col("x").eq(lit(200_i64))), "x = Utf8View(\"200\")");
        assert_eq!(run(col("x").not_eq(lit(200.0))), "x != Utf8View(\"200\")");
        assert_eq!(run(lit(0.5).eq(col("x"))), "Utf8View(\"0.5\") = x");
        assert_eq!(run(col("x").eq(lit(true))), "x = Utf8View(\"true\")");
        assert_eq!(run(col("x").eq(lit("200"))), "x = Utf8(\"200\")");
        assert_eq!(run(col("x").not_eq(lit("2e2"))), "x NOT IN ([Utf8(\"2e2\"), Utf8View(\"200\")])");
        assert_eq!(run(col("x").eq(col("n"))), "x = number_text(n)");
        assert_eq!(
            run(col("x").in_list(vec![lit(1_i64), lit(2.5), lit("a")], true)),
            "x NOT IN ([Utf8View(\"1\"), Utf8View(\"2.5\"), Utf8(\"a\")])"
        );
    }

    #[test]
    fn order_is_that_of_numbers_and_then_of_texts() {
        assert_eq!(run(col("x").gt(lit(5_i64))), "number_key(x) > Binary(\"19,128,1,53,0,53\")");
        assert_eq!(run(col("x").gt(lit("5.0"))), "number_key(x) > Binary(\"19,128,1,53,0,53\")");
        assert_eq!(run(col("x").lt(lit("a"))), "mixed_key(x) < mixed_key(Utf8(\"a\"))");
        assert_eq!(run(col("n").lt(col("x"))), "number_key(number_text(n)) < number_key(x)");
        let between = run(col("x").between(lit(1_i64), lit(2_i64)));
        assert!(between.starts_with("number_key(x) BETWEEN Binary("), "{between}");
        let desc = order(col("x").sort(false, false), &schema(), Reading::Key).data.to_string();
        assert_eq!(desc, "mixed_key_desc(x) DESC NULLS LAST");
    }

    #[test]
    fn other_columns_are_left_alone() {
        for expr in [col("t").eq(lit(5_i64)), col("t").gt(lit("5")), col("n").between(lit(1_i64), lit(2_i64))]
        {
            assert_eq!(run(expr.clone()), expr.to_string());
        }
        assert!(!order(col("t").sort(true, false), &schema(), Reading::Key).transformed);
    }
}
