//! How are conditions on events combined? As syntax trees.
//!
//! The layers above parse the text once; after that, conditions are combined as trees. Work on a tree recurses, and so
//! does dropping one, so both run on a stack that is large enough for the deepest tree.

use std::fmt;
use std::mem::replace;
use std::sync::{Arc, LazyLock};

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{BinaryOperator, CaseWhen, Expr, Ident, Value};

use crate::event::schema;

/// Stack for the deepest tree that parsing accepts; untouched pages take no memory.
const STACK_BYTES: usize = 64 << 20;

/// Remaining stack below which a new one is allocated.
const STACK_MIN_BYTES: usize = 32 << 20;

/// Runs `work`, which recurses over a syntax tree, with enough stack.
pub(crate) fn with_stack<R>(work: impl FnOnce() -> R) -> R {
    stacker::maybe_grow(STACK_MIN_BYTES, STACK_BYTES, work)
}

/// A condition on one event, by its columns and attributes. Prints as SQL; cheap to clone.
#[derive(Clone)]
pub struct Condition(Arc<Expr>);

/// Placeholder for a tree that was moved out.
static NOTHING: LazyLock<Arc<Expr>> = LazyLock::new(|| Arc::new(Expr::Value(Value::Null.with_empty_span())));

impl Condition {
    /// Creates a condition from its tree.
    pub fn new(expr: Expr) -> Self {
        Self(Arc::new(expr))
    }

    /// Copies the tree. Work on the copy needs a large stack.
    pub fn expr(&self) -> Expr {
        with_stack(|| self.0.as_ref().clone())
    }

    fn into_expr(mut self) -> Expr {
        let expr = replace(&mut self.0, Arc::clone(&NOTHING));
        with_stack(|| Arc::unwrap_or_clone(expr))
    }

    /// Makes a condition that is `value` for every event.
    pub(super) fn always(value: bool) -> Self {
        Self::new(Expr::Value(Value::Boolean(value).with_empty_span()))
    }

    /// Matches the events before a time.
    pub(super) fn before(ns: i64) -> Self {
        Self::of_time(BinaryOperator::Lt, ns)
    }

    /// Matches the events at or after a time.
    pub(super) fn from(ns: i64) -> Self {
        Self::of_time(BinaryOperator::GtEq, ns)
    }

    fn of_time(op: BinaryOperator, ns: i64) -> Self {
        let column = Ident::with_quote('"', schema::column::TIMESTAMP);
        let time = Value::SingleQuotedString(time_text(ns)).with_empty_span();
        Self::new(binary(Expr::Identifier(column), op, Expr::Value(time)))
    }

    /// Matches the events that fulfil both conditions.
    pub(super) fn and(self, other: Self) -> Self {
        let nested = |expr| Expr::Nested(Box::new(expr));
        Self::new(binary(nested(self.into_expr()), BinaryOperator::And, nested(other.into_expr())))
    }

    /// For each event, the first of `cases` whose first condition it fulfils applies its second condition. If there is
    /// no such case, `otherwise` applies.
    pub(super) fn by_first(cases: Vec<(Self, Self)>, otherwise: Self) -> Self {
        if cases.is_empty() {
            return otherwise;
        }
        let case = |(condition, result): (Self, Self)| CaseWhen {
            condition: condition.into_expr(),
            result: result.into_expr(),
        };
        Self::new(Expr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: None,
            conditions: cases.into_iter().map(case).collect(),
            else_result: Some(Box::new(otherwise.into_expr())),
        })
    }
}

impl Drop for Condition {
    fn drop(&mut self) {
        let expr = replace(&mut self.0, Arc::clone(&NOTHING));
        with_stack(|| drop(expr));
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_stack(|| self.0.fmt(f))
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({self})")
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// Formats a time as SQL writes it.
fn time_text(ns: i64) -> String {
    chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
}
