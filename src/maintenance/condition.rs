//! Conditions on events, as syntax trees.
//!
//! Text is parsed once, by the layers above; from then on conditions are combined as trees.

use std::fmt;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{BinaryOperator, CaseWhen, Expr, Ident, Value};

use crate::event::schema;

/// A condition on one event, by its columns and attributes. Prints as SQL.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition(Expr);

impl Condition {
    /// Takes the tree of a condition.
    pub fn new(expr: Expr) -> Self {
        Self(expr)
    }

    /// The tree.
    pub fn expr(&self) -> &Expr {
        &self.0
    }

    /// A condition that every event fulfils, or none.
    pub(super) fn always(value: bool) -> Self {
        Self(Expr::Value(Value::Boolean(value).with_empty_span()))
    }

    /// The events before a time.
    pub(super) fn before(ns: i64) -> Self {
        Self::of_time(BinaryOperator::Lt, ns)
    }

    /// The events at or after a time.
    pub(super) fn from(ns: i64) -> Self {
        Self::of_time(BinaryOperator::GtEq, ns)
    }

    fn of_time(op: BinaryOperator, ns: i64) -> Self {
        let column = Ident::with_quote('"', schema::column::TIMESTAMP);
        let time = Value::SingleQuotedString(time_text(ns)).with_empty_span();
        Self(binary(Expr::Identifier(column), op, Expr::Value(time)))
    }

    /// The events that fulfil both.
    pub(super) fn and(self, other: Self) -> Self {
        let nested = |expr| Expr::Nested(Box::new(expr));
        Self(binary(nested(self.0), BinaryOperator::And, nested(other.0)))
    }

    /// Decides by the first of `cases` whose first condition an event fulfils: then by the second one. Where none
    /// fits, `otherwise` decides.
    pub(super) fn by_first(cases: Vec<(Self, Self)>, otherwise: Self) -> Self {
        if cases.is_empty() {
            return otherwise;
        }
        let case = |(Self(condition), Self(result))| CaseWhen { condition, result };
        Self(Expr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: None,
            conditions: cases.into_iter().map(case).collect(),
            else_result: Some(Box::new(otherwise.0)),
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// A time as SQL has it.
fn time_text(ns: i64) -> String {
    chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
}
