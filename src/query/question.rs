//! What can be queried, and within which limits?
//!
//! A question is SQL text or a syntax tree. Text is parsed to a tree first; names are resolved in the tree
//! either way. Other query languages, and code that queries, build trees and never print SQL.

use std::time::Duration;

use sqlparser::ast::{BinaryOperator, Query, Select, SelectItem};

use super::language::{Ask, Tree, build};
use super::parameter::Parameter;
use super::resolve::EVENTS;
use crate::error::Result;
use crate::event::{Signal, TraceId, schema};

/// A read-only statement, with the values of its parameters and the limits of its answer.
#[derive(Debug, Clone)]
pub struct Question {
    /// The statement.
    pub ask: Ask,
    /// Values of `$1`, `$2`, ….
    pub params: Vec<Parameter>,
    /// Time after which the query fails with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    pub timeout: Option<Duration>,
    /// Largest number of rows. If there are more, the stream ends with
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) after that many.
    pub row_limit: Option<usize>,
}

impl Question {
    /// Creates a question without parameters or limits.
    pub fn new(ask: Ask) -> Self {
        Self { ask, params: Vec::new(), timeout: None, row_limit: None }
    }

    /// Creates a question of one SQL statement.
    pub fn sql(sql: impl Into<String>) -> Self {
        Self::new(Ask::Sql(sql.into()))
    }

    /// Makes `count`, `sum`, `avg`, quantiles and `approx_distinct` estimate what they would be without sampling, as
    /// `SET weighted = on` does.
    #[must_use]
    pub fn weighted(self) -> Self {
        Self { ask: Ask::Weighted(Box::new(self.ask)), ..self }
    }

    /// Creates a question of a syntax tree. Its names are resolved as in SQL text.
    ///
    /// Fails with [`InvalidInput`](crate::ErrorKind::InvalidInput) when the tree is too deep; see [`Tree::new`].
    pub fn query(query: Query) -> Result<Self> {
        Tree::new(query).map(|tree| Self::new(Ask::Query(tree)))
    }

    /// Creates a question for the spans and span events of the trace `id`: all core columns, and the attributes
    /// as [`schema::TYPED_ATTRIBUTES`], which is all that OTLP needs. Rows come in no particular order.
    pub fn trace(id: TraceId) -> Result<Self> {
        let core = schema::core_schema();
        let names = core.fields().iter().map(|field| field.name().as_str()).chain([schema::TYPED_ATTRIBUTES]);
        let items = names.map(|name| SelectItem::UnnamedExpr(build::name(name)));
        let is_of_trace = build::binary(
            build::name(schema::column::TRACE_ID),
            BinaryOperator::Eq,
            build::text(id.to_string()),
        );
        let signals = [Signal::Span, Signal::SpanEvent].map(|signal| build::text(signal.as_str()));
        let is_of_span = build::one_of(build::name(schema::column::SIGNAL), signals.into());
        let condition = build::binary(is_of_trace, BinaryOperator::And, is_of_span);
        let select = build::select(items.collect(), build::table(EVENTS));
        Self::query(build::query_of(Select { selection: Some(condition), ..select }))
    }
}
