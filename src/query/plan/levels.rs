//! Words of log levels beside the column `severity`.
//!
//! `severity` is `ERROR` whatever the producer wrote, but people ask for the word they know:
//!
//! | written                              | becomes                              |
//! |--------------------------------------|--------------------------------------|
//! | `severity = 'error'`                 | `severity IN ('ERROR', 'error')`     |
//! | `severity <> 'warning'`              | `severity NOT IN ('WARN', 'warning')` |
//! | `severity IN ('err', 'FATAL')`       | `severity IN ('ERROR', 'err', 'FATAL')` |
//!
//! The word itself stays, for events that version 0.1 stored with their own word. Names of levels and unknown words
//! are compared as written. The column of events carries a mark, which passes through views, subqueries and other
//! names; an attribute or an alias `severity` of something else has none.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use crate::event::severity;

/// Rewrites the top of `expr`.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Eq | Operator::NotEq), right }) => {
            let (column, word) = match (is_severity(&left, schema), is_severity(&right, schema)) {
                (true, false) => (&left, &right),
                (false, true) => (&right, &left),
                _ => return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            };
            match level_of(word) {
                Some(level) => {
                    let list = vec![level, (**word).clone()];
                    Transformed::yes(Expr::InList(InList {
                        expr: column.clone(),
                        list,
                        negated: op == Operator::NotEq,
                    }))
                }
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::InList(mut list) if is_severity(&list.expr, schema) => {
            let mut levels: Vec<Expr> = list.list.iter().filter_map(level_of).collect();
            levels.retain(|level| !list.list.contains(level));
            if levels.is_empty() {
                return Transformed::no(Expr::InList(list));
            }
            list.list.extend(levels);
            Transformed::yes(Expr::InList(list))
        }
        other => Transformed::no(other),
    }
}

fn is_severity(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr, Expr::Column(_))
        && expr.to_field(schema).is_ok_and(|(_, field)| severity::is_marked(&field))
}

/// The level that a literal is another word for.
fn level_of(word: &Expr) -> Option<Expr> {
    let Expr::Literal(literal, _) = word else { return None };
    let text = literal.try_as_str()??;
    let level = severity::number_of_name(text).and_then(severity::name_of_number)?;
    if level == text {
        return None;
    }
    let ty: DataType = literal.data_type();
    let level = ScalarValue::from(level).cast_to(&ty).ok()?;
    Some(Expr::Literal(level, None))
}
