//! Comparisons of ids, which are bytes in storage, with hexadecimal text.
//!
//! | written                               | becomes                                  |
//! |---------------------------------------|------------------------------------------|
//! | `trace_id = '4BF9…'`, `<`, IN, BETWEEN | the same with a literal of 16 bytes      |
//! | `trace_id = attributes['parent']`      | `trace_id = trace_id_from_hex(…)`        |
//! | `trace_id LIKE '4bf9%'`                | `trace_id BETWEEN 4bf900… AND 4bf9ff…`   |
//!
//! Literals allow pruning and filters in the scan. Text that is not an id is an error that says why.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{InList, Like};
use datafusion::logical_expr::{Between, BinaryExpr, Case, Expr, ExprSchemable, Operator, ScalarUDF};

use crate::query::functions::IdFromHex;

/// Rewrites the top of `expr`.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => rewrite_binary(binary, schema),
        Expr::InList(list) => rewrite_in(list, schema),
        Expr::Between(between) => {
            let Some(bytes) = id_bytes(&[&between.expr, &between.low, &between.high], schema) else {
                return Ok(Transformed::no(Expr::Between(between)));
            };
            Ok(Transformed::yes(Expr::Between(Between {
                expr: boxed(*between.expr, bytes, schema)?,
                low: boxed(*between.low, bytes, schema)?,
                high: boxed(*between.high, bytes, schema)?,
                negated: between.negated,
            })))
        }
        Expr::Like(like) => rewrite_like(like, schema),
        Expr::Case(case) => rewrite_case(case, schema),
        other => Ok(Transformed::no(other)),
    }
}

/// True for operators whose sides must have one type.
pub(super) fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn rewrite_binary(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Some(bytes) = id_bytes(&[&binary.left, &binary.right], schema) else {
        return Ok(Transformed::no(Expr::BinaryExpr(binary)));
    };
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr {
        left: boxed(*binary.left, bytes, schema)?,
        op: binary.op,
        right: boxed(*binary.right, bytes, schema)?,
    })))
}

fn rewrite_in(list: InList, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut sides: Vec<&Expr> = vec![&list.expr];
    sides.extend(&list.list);
    let Some(bytes) = id_bytes(&sides, schema) else {
        return Ok(Transformed::no(Expr::InList(list)));
    };
    let items = list.list.into_iter().map(|item| to_id(item, bytes, schema)).collect::<Result<_>>()?;
    Ok(Transformed::yes(Expr::InList(InList {
        expr: boxed(*list.expr, bytes, schema)?,
        list: items,
        negated: list.negated,
    })))
}

fn rewrite_case(mut case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Some(subject) = case.expr.take() else { return Ok(Transformed::no(Expr::Case(case))) };
    let mut sides: Vec<&Expr> = vec![&subject];
    sides.extend(case.when_then_expr.iter().map(|(when, _)| when.as_ref()));
    let Some(bytes) = id_bytes(&sides, schema) else {
        case.expr = Some(subject);
        return Ok(Transformed::no(Expr::Case(case)));
    };
    case.expr = Some(boxed(*subject, bytes, schema)?);
    case.when_then_expr = case
        .when_then_expr
        .into_iter()
        .map(|(when, then)| Ok((boxed(*when, bytes, schema)?, then)))
        .collect::<Result<_>>()?;
    Ok(Transformed::yes(Expr::Case(case)))
}

fn rewrite_like(like: Like, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Some(bytes) = id_bytes(&[&like.expr, &like.pattern], schema) else {
        return Ok(Transformed::no(Expr::Like(like)));
    };
    let pattern = text_literal(&like.pattern).and_then(Option::as_deref);
    let prefix = pattern
        .and_then(|p| p.strip_suffix('%'))
        .filter(|p| p.len() <= bytes as usize * 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
    let Some(prefix) = prefix else {
        return Err(DataFusionError::Plan(format!(
            "{} is an id: LIKE takes hexadecimal digits and a final % here, such as '4bf9%'",
            like.expr
        )));
    };
    let bound = |fill: char| {
        let digits = format!("{prefix}{}", String::from(fill).repeat(bytes as usize * 2 - prefix.len()));
        id_literal(&digits, bytes).map(Box::new)
    };
    Ok(Transformed::yes(Expr::Between(Between {
        expr: like.expr,
        negated: like.negated,
        low: bound('0')?,
        high: bound('f')?,
    })))
}

/// Length in bytes of the ids that text is compared with; `None` if there is nothing to rewrite.
fn id_bytes(sides: &[&Expr], schema: &DFSchema) -> Option<i32> {
    let types: Vec<_> = sides.iter().map(|side| side.get_type(schema).ok()).collect();
    let bytes = types.iter().find_map(|ty| match ty {
        Some(DataType::FixedSizeBinary(bytes @ (8 | 16))) => Some(*bytes),
        _ => None,
    })?;
    types.iter().flatten().any(is_text).then_some(bytes)
}

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}

fn boxed(expr: Expr, bytes: i32, schema: &DFSchema) -> Result<Box<Expr>> {
    Ok(Box::new(to_id(expr, bytes, schema)?))
}

/// Converts `expr` to an id: text literals are decoded now, other text when the statement runs.
fn to_id(expr: Expr, bytes: i32, schema: &DFSchema) -> Result<Expr> {
    match text_literal(&expr) {
        Some(Some(text)) => id_literal(text, bytes),
        Some(None) => Ok(Expr::Literal(ScalarValue::FixedSizeBinary(bytes, None), None)),
        None if expr.get_type(schema).is_ok_and(|ty| is_text(&ty)) => {
            let function = if bytes == 16 { IdFromHex::trace_id() } else { IdFromHex::span_id() };
            Ok(Arc::new(ScalarUDF::from(function)).call(vec![expr]))
        }
        None => Ok(expr),
    }
}

/// The text of a literal of type text, which may be null.
fn text_literal(expr: &Expr) -> Option<&Option<String>> {
    match expr {
        Expr::Literal(
            ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text),
            _,
        ) => Some(text),
        Expr::Alias(alias) => text_literal(&alias.expr),
        _ => None,
    }
}

fn id_literal(text: &str, bytes: i32) -> Result<Expr> {
    let digits = bytes as usize * 2;
    let what = if bytes == 16 { "a trace id" } else { "a span id" };
    let id = hex::decode(text).ok().filter(|id| id.len() * 2 == digits).ok_or_else(|| {
        let found = match text.chars().find(|c| !c.is_ascii_hexdigit()) {
            Some(c) => format!("{c:?} is not one"),
            None => format!("it has {}", text.len()),
        };
        DataFusionError::Plan(format!(
            "'{text}' is not {what}: it takes {digits} hexadecimal digits, {found}"
        ))
    })?;
    Ok(Expr::Literal(ScalarValue::FixedSizeBinary(bytes, Some(id)), None))
}

#[cfg(test)]
mod tests {
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::{col, lit};

    use super::*;
    use crate::event::schema;

    fn run(expr: Expr) -> Result<String> {
        let schema = DFSchema::try_from(schema::core_schema()).unwrap();
        rewrite(expr, &schema).map(|e| e.data.to_string())
    }

    #[test]
    fn text_beside_an_id_becomes_bytes_in_any_case_and_position() {
        let id = "4BF92f3577b34da6a3ce929d0e0e4736";
        let equal = run(col("trace_id").eq(lit(id))).unwrap();
        assert_eq!(run(lit(id.to_lowercase()).eq(col("trace_id"))).unwrap().len(), equal.len());
        assert!(equal.contains("FixedSizeBinary(16,"), "{equal}");
        assert!(run(col("span_id").in_list(vec![lit("00f067aa0ba902b7")], false)).unwrap().contains("(8,"));
        assert!(run(lit("00f067aa0ba902b7").in_list(vec![col("span_id")], false)).unwrap().contains("(8,"));
        assert!(run(col("trace_id").like(lit("4bf9%"))).unwrap().contains("BETWEEN"));
        assert!(run(col("trace_id").eq(col("name"))).unwrap().contains("trace_id_from_hex(name)"));
        assert_eq!(run(col("trace_id").eq(col("trace_id"))).unwrap(), "trace_id = trace_id");
    }

    #[test]
    fn text_that_is_no_id_is_an_error_that_says_why() {
        let message = |expr| run(expr).unwrap_err().strip_backtrace();
        assert!(message(col("trace_id").eq(lit("4bf9"))).contains("32 hexadecimal digits, it has 4"));
        assert!(message(col("span_id").eq(lit("xyz"))).contains("'x' is not one"));
        assert!(message(col("trace_id").like(lit("%4bf9"))).contains("LIKE takes hexadecimal digits"));
    }
}
